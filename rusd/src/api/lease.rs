//! The Lease service.

use rusd_proto::etcdserverpb::lease_server::Lease;
use rusd_proto::etcdserverpb::{
    InternalRaftRequest, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest,
    LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest,
    LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use rusd_state::apply::Response as Applied;
use rusd_state::quota;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::kv::{check_space, propose, response, unexpected, wait_for_barrier};
use super::{header, status};
use crate::background::leases::LeaseError;
use crate::member::Member;

/// Keep-alive answers waiting for a client. Full: the next renewal of its stream waits.
const ANSWERS_QUEUED_MAX: usize = 16;

/// Serves Lease.
#[derive(Debug)]
pub(super) struct LeaseService {
    pub(super) member: Member,
    pub(super) stop: CancellationToken,
}

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let mut request = request.into_inner();
        check_space(&self.member, quota::COST_OF_LEASE).await?;
        while request.id == 0 {
            request.id = rand::random::<i64>() & i64::MAX;
        }
        let request =
            InternalRaftRequest { lease_grant: Some(request), ..InternalRaftRequest::default() };
        let mut response = response!(propose(&self.member, request).await?, LeaseGrant);
        header::fill(&self.member, &mut response.header);
        Ok(Response::new(response))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let request = request.into_inner();
        let request =
            InternalRaftRequest { lease_revoke: Some(request), ..InternalRaftRequest::default() };
        let mut response = response!(propose(&self.member, request).await?, LeaseRevoke);
        header::fill(&self.member, &mut response.header);
        Ok(Response::new(response))
    }

    type LeaseKeepAliveStream = ReceiverStream<Result<LeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (answers, answers_out) = mpsc::channel(ANSWERS_QUEUED_MAX);
        let (member, stop) = (self.member.clone(), self.stop.clone());
        tokio::spawn(async move {
            let renewing = keep_alive(&member, request.into_inner(), &answers);
            match stop.run_until_cancelled(renewing).await {
                Some(Ok(())) => {}
                // The client may be gone.
                Some(Err(status)) => drop(answers.send(Err(status)).await),
                None => drop(answers.try_send(Err(status::of(LeaseError::Stopped)))),
            }
        });
        Ok(Response::new(ReceiverStream::new(answers_out)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let found = match self.member.leases.time_to_live(id).await {
            Ok(found) => found,
            Err(LeaseError::NotFound) => {
                let header = Some(header::current(&self.member));
                let gone = LeaseTimeToLiveResponse {
                    header,
                    id,
                    ttl: -1,
                    ..LeaseTimeToLiveResponse::default()
                };
                return Ok(Response::new(gone));
            }
            Err(error) => return Err(status::of(error)),
        };
        let mut attached = Vec::new();
        if keys {
            // The leader told the time; the keys are this member's, which may be behind.
            wait_for_barrier(&self.member).await?;
            attached = self.member.view.lease(id).map(|lease| lease.keys).unwrap_or_default();
        }
        Ok(Response::new(LeaseTimeToLiveResponse {
            header: Some(header::current(&self.member)),
            id,
            ttl: found.ttl,
            granted_ttl: found.granted_ttl,
            keys: attached,
        }))
    }

    async fn lease_leases(
        &self,
        _request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let leases = self.member.leases.ids().into_iter().map(|id| LeaseStatus { id }).collect();
        let header = Some(header::current(&self.member));
        Ok(Response::new(LeaseLeasesResponse { header, leases }))
    }
}

/// Renews one lease after the other until the client has no more, or is gone.
async fn keep_alive(
    member: &Member,
    mut requests: Streaming<LeaseKeepAliveRequest>,
    answers: &mpsc::Sender<Result<LeaseKeepAliveResponse, Status>>,
) -> Result<(), Status> {
    while let Some(LeaseKeepAliveRequest { id }) = requests.message().await? {
        // The header is made first: a lease revoked at revision 3 must not be told to have been
        // renewed at 4.
        let header = Some(header::current(member));
        let ttl = match member.leases.renew(id).await {
            Ok(ttl) => ttl,
            Err(LeaseError::NotFound) => 0,
            Err(error) => return Err(status::of(error)),
        };
        if answers.send(Ok(LeaseKeepAliveResponse { header, id, ttl })).await.is_err() {
            break;
        }
    }
    Ok(())
}
