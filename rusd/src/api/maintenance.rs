//! The Maintenance service: how the member is.

use std::sync::Arc;

use rusd_proto::etcdserverpb::alarm_request::AlarmAction;
use rusd_proto::etcdserverpb::maintenance_server::Maintenance;
use rusd_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeInfo,
    DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse,
    MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest,
    StatusResponse,
};
use tokio::sync::Semaphore;
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

use super::header;
use super::kv::run_blocking;
use super::status::{self, Rejection};
use crate::member::Member;
use crate::metrics::Metrics;
use crate::version;

/// The quota that etcd has when none is given.
const QUOTA_BYTES: i64 = 2 * 1024 * 1024 * 1024;
/// Hashes computed at one time; each reads the whole history.
const HASHES_MAX: usize = 1;

/// Serves Maintenance.
#[derive(Debug)]
pub(super) struct MaintenanceService {
    member: Member,
    metrics: Arc<Metrics>,
    hashes: Arc<Semaphore>,
}

impl MaintenanceService {
    pub(super) fn new(member: Member, metrics: Arc<Metrics>) -> Self {
        MaintenanceService { member, metrics, hashes: Arc::new(Semaphore::new(HASHES_MAX)) }
    }
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let progress = &self.member.progress;
        let leader = progress.leader();
        let db_size = self.metrics.engine_bytes();
        let no_leader = (leader == 0).then(|| Rejection::NoLeader.text().to_owned());
        Ok(Response::new(StatusResponse {
            header: Some(header::current(&self.member)),
            version: version::ETCD_VERSION.to_owned(),
            db_size,
            leader,
            raft_index: progress.committed(),
            raft_term: progress.term(),
            raft_applied_index: progress.applied(),
            errors: no_leader.into_iter().collect(),
            db_size_in_use: db_size,
            is_learner: progress.is_learner(),
            storage_version: version::STORAGE_VERSION.to_owned(),
            db_size_quota: QUOTA_BYTES,
            downgrade_info: Some(DowngradeInfo::default()),
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<HashKvRequest>,
    ) -> Result<Response<HashKvResponse>, Status> {
        let (view, revision) = (self.member.view.clone(), request.into_inner().revision);
        let hashing = run_blocking(&self.hashes, move || view.hash_kv(revision));
        let found = hashing.await?.map_err(status::of_read)?;
        Ok(Response::new(HashKvResponse {
            header: Some(header::at(&self.member, found.current_revision)),
            hash: found.hash,
            compact_revision: found.compact_revision,
            hash_revision: found.revision,
        }))
    }

    async fn alarm(
        &self,
        request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        match AlarmAction::try_from(request.into_inner().action) {
            // Nothing raises an alarm yet, so there is none.
            Ok(AlarmAction::Get) => {
                let header = Some(header::current(&self.member));
                Ok(Response::new(AlarmResponse { header, ..AlarmResponse::default() }))
            }
            Ok(AlarmAction::Activate | AlarmAction::Deactivate) | Err(_) => {
                Err(Rejection::Unimplemented.into())
            }
        }
    }

    async fn defragment(
        &self,
        _request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        Err(Rejection::Unimplemented.into())
    }

    async fn hash(&self, _request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        Err(Rejection::Unimplemented.into())
    }

    type SnapshotStream = Empty<Result<SnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        _request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(Rejection::Unimplemented.into())
    }

    async fn move_leader(
        &self,
        _request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        Err(Rejection::Unimplemented.into())
    }

    async fn downgrade(
        &self,
        _request: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        Err(Rejection::Unimplemented.into())
    }
}
