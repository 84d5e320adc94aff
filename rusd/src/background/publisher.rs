//! Tells the cluster what a member is called and where clients reach it.
//!
//! Once in each life, through the log, as etcd does before it calls itself ready. A member that was
//! added has no name until then, and does not count as started.

use std::time::Duration;

use rusd_proto::etcdserverpb::InternalRaftRequest;
use rusd_proto::membershippb::{Attributes, ClusterMemberAttrSetRequest};

use crate::consensus::proposer::Proposer;

/// Pause between attempts.
const RETRY: Duration = Duration::from_millis(100);

/// What is told.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// The way into the log.
    pub proposer: Proposer,
    /// The member.
    pub member_id: u64,
    /// `--name`
    pub name: String,
    /// `--advertise-client-urls`
    pub client_urls: Vec<String>,
}

impl Publisher {
    /// Returns when it is in the membership. Waits for a leader as long as it takes.
    pub async fn run(self) {
        let attributes = Attributes { name: self.name, client_urls: self.client_urls };
        let request = InternalRaftRequest {
            cluster_member_attr_set: Some(ClusterMemberAttrSetRequest {
                member_id: self.member_id,
                member_attributes: Some(attributes),
            }),
            ..InternalRaftRequest::default()
        };
        while let Err(error) = self.proposer.propose(request.clone()).await {
            tracing::warn!(%error, "failed to publish local member to cluster through raft");
            tokio::time::sleep(RETRY).await;
        }
    }
}
