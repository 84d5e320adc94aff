//! The Maintenance service: how the member is, and what an operator does about it.

use std::sync::Arc;

use rusd_proto::etcdserverpb::maintenance_server::Maintenance;
use rusd_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse,
    DowngradeInfo, DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest,
    HashResponse, InternalRaftRequest, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest,
    StatusRequest, StatusResponse,
};
use rusd_state::apply::Response as Applied;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::header;
use super::kv::{propose, response, unexpected};
use super::snapshot;
use super::status::{self, Rejection};
use crate::member::Member;
use crate::metrics::Metrics;
use crate::version;

/// Snapshots sent at one time; each holds all history that it reads.
const SNAPSHOTS_MAX: usize = 4;

/// Serves Maintenance.
#[derive(Debug)]
pub(super) struct MaintenanceService {
    member: Member,
    metrics: Arc<Metrics>,
    snapshots: Arc<Semaphore>,
}

impl MaintenanceService {
    pub(super) fn new(member: Member, metrics: Arc<Metrics>) -> Self {
        MaintenanceService { member, metrics, snapshots: Arc::new(Semaphore::new(SNAPSHOTS_MAX)) }
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
        let alarms = self.member.view.alarms();
        Ok(Response::new(StatusResponse {
            header: Some(header::current(&self.member)),
            version: version::ETCD_VERSION.to_owned(),
            db_size,
            leader,
            raft_index: progress.committed(),
            raft_term: progress.term(),
            raft_applied_index: progress.applied(),
            errors: no_leader.into_iter().chain(alarms.iter().map(alarm_text)).collect(),
            db_size_in_use: self.metrics.engine_bytes_in_use(),
            is_learner: progress.is_learner(),
            storage_version: version::STORAGE_VERSION.to_owned(),
            db_size_quota: self.member.quota.shown(),
            downgrade_info: Some(DowngradeInfo::default()),
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<HashKvRequest>,
    ) -> Result<Response<HashKvResponse>, Status> {
        let revision = request.into_inner().revision;
        let found = self.member.hasher.hash_kv(revision).await.map_err(status::of_hash)?;
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
        let alarm = Some(request.into_inner());
        let request = InternalRaftRequest { alarm, ..InternalRaftRequest::default() };
        let mut response = response!(propose(&self.member, request).await?, Alarm);
        header::fill(&self.member, &mut response.header);
        Ok(Response::new(response))
    }

    async fn defragment(
        &self,
        _request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        self.member.defragmenter.defragment().await.map_err(status::of_defragment)?;
        // etcd's answer has no header.
        Ok(Response::new(DefragmentResponse::default()))
    }

    async fn hash(&self, _request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        let (hash, revision) = self.member.hasher.hash().await.map_err(status::of_hash)?;
        let header = Some(header::at(&self.member, revision));
        Ok(Response::new(HashResponse { header, hash }))
    }

    type SnapshotStream = snapshot::Pieces;

    async fn snapshot(
        &self,
        _request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Ok(Response::new(snapshot::start(&self.member, &self.snapshots).await?))
    }

    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        if !self.member.progress.is_leader() {
            return Err(Rejection::NotLeader.into());
        }
        let target = request.into_inner().target_id;
        let members = self.member.view.members();
        if !members.iter().any(|member| member.id == target && !member.is_learner) {
            return Err(Rejection::BadLeaderTransferee.into());
        }
        self.member.leader_transfer.to(target).await.map_err(status::of)?;
        // etcd's answer has no header.
        Ok(Response::new(MoveLeaderResponse::default()))
    }

    async fn downgrade(
        &self,
        _request: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        Err(Rejection::Unimplemented.into())
    }
}

/// An alarm as etcd shows it among a member's errors.
fn alarm_text(alarm: &AlarmMember) -> String {
    let member = match alarm.member_id {
        0 => String::new(),
        id => format!("memberID:{id} "),
    };
    match AlarmType::try_from(alarm.alarm) {
        Ok(kind) => format!("{member}alarm:{}", kind.as_str_name()),
        Err(_) => format!("{member}alarm:{}", alarm.alarm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_shown_as_etcd_shows_them() {
        let text = |alarm, member_id| alarm_text(&AlarmMember { member_id, alarm });
        assert_eq!(text(1, 5), "memberID:5 alarm:NOSPACE");
        assert_eq!(text(2, 0), "alarm:CORRUPT");
        assert_eq!(text(99, u64::MAX), "memberID:18446744073709551615 alarm:99");
    }
}
