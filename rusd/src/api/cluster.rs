//! The Cluster service: who the members are, and who shall be one.

use std::time::Duration;

use rusd_proto::etcdserverpb::cluster_server::Cluster;
use rusd_proto::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse, ResponseHeader,
};
use rusd_state::members::Member as ClusterMember;
use tonic::{Request, Response, Status};

use super::header;
use super::kv::wait_for_barrier;
use super::peers;
use super::status::{self, Rejection};
use super::validate;
use crate::consensus::reconfigure::ReconfigureError;
use crate::member::Member;

/// Pause before the leader is asked again for a promotion that it could not decide.
const PROMOTE_RETRY: Duration = Duration::from_millis(50);

/// Serves Cluster.
#[derive(Debug)]
pub(super) struct ClusterService {
    pub(super) member: Member,
}

impl ClusterService {
    /// etcd gives no revision here: membership has none.
    fn header(&self) -> ResponseHeader {
        header::at(&self.member, 0)
    }

    /// Only the leader knows whether a learner is ready, so it is asked over HTTP, as in etcd.
    async fn promote(&self, id: u64) -> Result<Vec<ClusterMember>, Status> {
        let limit = self.member.limits.request_timeout;
        let promoting = async {
            loop {
                match self.member.reconfigurer.promote(id).await {
                    Err(ReconfigureError::NotLeader) => {}
                    outcome => return outcome.map_err(status::of),
                }
                if let Some(decided) = self.promote_at_leader(id).await {
                    return decided.map_err(Status::from);
                }
                tokio::time::sleep(PROMOTE_RETRY).await;
            }
        };
        let late = |_elapsed| match self.member.progress.leader() {
            0 => Rejection::NoLeader,
            _ => Rejection::Timeout,
        };
        tokio::time::timeout(limit, promoting).await.map_err(late)?
    }

    async fn promote_at_leader(&self, id: u64) -> Option<Result<Vec<ClusterMember>, Rejection>> {
        let leader = self.member.progress.leader();
        let members = self.member.view.members();
        let leader = members.into_iter().find(|member| member.id == leader)?;
        for url in leader.peer_ur_ls {
            match peers::ask_to_promote(&self.member, &url, id).await {
                Ok(members) => return Some(Ok(members)),
                Err(peers::AskError::Refused(refusal)) => return Some(Err(refusal)),
                Err(peers::AskError::Failed(error)) => {
                    tracing::warn!(url, error, "the leader did not promote a member");
                }
            }
        }
        None
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        if request.into_inner().linearizable {
            wait_for_barrier(&self.member).await?;
        }
        let members = self.member.view.members();
        Ok(Response::new(MemberListResponse { header: Some(self.header()), members }))
    }

    async fn member_add(
        &self,
        request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        let MemberAddRequest { peer_ur_ls, is_learner } = request.into_inner();
        let urls = validate::member_urls(&peer_ur_ls).ok_or(Rejection::MemberUrlsBad)?;
        let adding = self.member.reconfigurer.add(urls, is_learner);
        let (added, members) = adding.await.map_err(status::of)?;
        let header = Some(self.header());
        Ok(Response::new(MemberAddResponse { header, member: Some(added), members }))
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        let removing = self.member.reconfigurer.remove(request.into_inner().id);
        let members = removing.await.map_err(status::of)?;
        Ok(Response::new(MemberRemoveResponse { header: Some(self.header()), members }))
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
        let updating = self.member.reconfigurer.update(id, peer_ur_ls);
        let members = updating.await.map_err(status::of)?;
        Ok(Response::new(MemberUpdateResponse { header: Some(self.header()), members }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        let members = self.promote(request.into_inner().id).await?;
        Ok(Response::new(MemberPromoteResponse { header: Some(self.header()), members }))
    }
}
