//! The cluster's version: the oldest of its members' versions, decided by the leader and noted in
//! the log. It only rises.

use std::sync::Arc;
use std::time::Duration;

use rusd_proto::etcdserverpb::InternalRaftRequest;
use rusd_proto::membershippb::ClusterVersionSetRequest;
use rusd_state::View;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::consensus::join::{major_minor, versions_of};
use crate::consensus::peer_http::PeerAsker;
use crate::consensus::progress::Progress;
use crate::consensus::proposer::Proposer;
use crate::consensus::read_barrier::ReadBarrier;
use crate::version;

/// Time between two looks at the members' versions, as in etcd.
const INTERVAL: Duration = Duration::from_secs(4);
/// How long a member may take to tell its version.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The version of a cluster whose members do not all tell theirs, as in etcd.
const UNKNOWN: (u64, u64) = (3, 0);

/// Decides the cluster's version while this member leads.
#[derive(Debug)]
pub struct ClusterVersion {
    /// The members, and the version as it is.
    pub view: View,
    /// Who leads.
    pub progress: Arc<Progress>,
    /// Passes when the leader has committed in its term.
    pub read_barrier: ReadBarrier,
    /// Asks the members for theirs.
    pub asker: PeerAsker,
    /// Notes the version.
    pub proposer: Proposer,
}

impl ClusterVersion {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.monitor()).await;
    }

    async fn monitor(&self) {
        let mut leader_changes = self.progress.leader_changes();
        loop {
            if self.progress.is_leader() && self.read_barrier.wait().await.is_ok() {
                self.update().await;
            }
            // Time is up, or there is a new leader: either way it is looked at again.
            drop(tokio::time::timeout(INTERVAL, leader_changes.changed()).await);
        }
    }

    async fn update(&self) {
        let now = self.view.cluster_version();
        let oldest = self.oldest().await;
        let Some((major, minor)) = decide(major_minor(&Value::from(now)), oldest) else { return };
        let ver = format!("{major}.{minor}.0");
        tracing::info!(cluster_version = ver, "setting the cluster version");
        let request = InternalRaftRequest {
            cluster_version_set: Some(ClusterVersionSetRequest { ver }),
            ..InternalRaftRequest::default()
        };
        if let Err(error) = self.proposer.propose(request).await {
            tracing::warn!(%error, "failed to update cluster version");
        }
    }

    /// The oldest version of all members; none if one does not tell.
    async fn oldest(&self) -> Option<(u64, u64)> {
        let mut oldest = version::major_minor();
        for member in self.view.members() {
            if member.id == self.progress.member_id() {
                continue;
            }
            let versions = versions_of(&self.asker, &member, ANSWER_TIMEOUT).await?;
            oldest = oldest.min(major_minor(&versions["etcdserver"])?);
        }
        Some(oldest)
    }
}

/// The version to set, if it must be another one.
fn decide(now: Option<(u64, u64)>, oldest: Option<(u64, u64)>) -> Option<(u64, u64)> {
    match now {
        None => Some(oldest.unwrap_or(UNKNOWN)),
        Some(now) => oldest.filter(|oldest| now < *oldest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_only_rises() {
        assert_eq!(decide(None, Some((3, 7))), Some((3, 7)));
        assert_eq!(decide(None, None), Some((3, 0)), "a member does not tell");
        assert_eq!(decide(Some((3, 0)), Some((3, 7))), Some((3, 7)));
        assert_eq!(decide(Some((3, 7)), Some((3, 7))), None);
        assert_eq!(decide(Some((3, 7)), Some((3, 6))), None);
        assert_eq!(decide(Some((3, 7)), None), None);
    }
}
