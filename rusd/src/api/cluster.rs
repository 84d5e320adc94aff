//! The Cluster service: who the members are.

use rusd_proto::etcdserverpb::cluster_server::Cluster;
use rusd_proto::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse,
};
use tonic::{Request, Response, Status};

use super::header;
use super::kv::wait_for_barrier;
use super::status::Rejection;
use crate::member::Member;

/// Serves Cluster.
#[derive(Debug)]
pub(super) struct ClusterService {
    pub(super) member: Member,
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
        // etcd gives no revision here: membership has none.
        let header = Some(header::at(&self.member, 0));
        Ok(Response::new(MemberListResponse { header, members }))
    }

    async fn member_add(
        &self,
        _request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        Err(Rejection::Unimplemented.into())
    }

    async fn member_remove(
        &self,
        _request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        Err(Rejection::Unimplemented.into())
    }

    async fn member_update(
        &self,
        _request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        Err(Rejection::Unimplemented.into())
    }

    async fn member_promote(
        &self,
        _request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        Err(Rejection::Unimplemented.into())
    }
}
