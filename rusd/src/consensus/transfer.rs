//! Handing leadership to another member.

use std::sync::Arc;
use std::time::Duration;

use rusd_state::View;
use tokio_util::sync::CancellationToken;

use super::inbox::{Inbox, PeerInput};
use super::links::Links;
use super::progress::Progress;

/// The other member did not become leader in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("leader transfer took too long")]
pub struct TransferTimeout;

/// Hands leadership over. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LeaderTransfer {
    inbox: Inbox,
    progress: Arc<Progress>,
    times: TransferTimes,
}

/// How long a transfer may take.
#[derive(Debug, Clone, Copy)]
pub struct TransferTimes {
    /// Raft gives a transfer up after this; writes wait meanwhile.
    pub election_timeout: Duration,
    /// Longest wait in all.
    pub timeout: Duration,
}

impl LeaderTransfer {
    /// Transfers through `inbox`.
    pub fn new(inbox: Inbox, progress: Arc<Progress>, times: TransferTimes) -> Self {
        LeaderTransfer { inbox, progress, times }
    }

    /// Returns when `target` leads. A target that lags is asked again and again, with time between
    /// for the writes that wait.
    pub async fn to(&self, target: u64) -> Result<(), TransferTimeout> {
        let transferring = async {
            let mut leader_changes = self.progress.leader_changes();
            while leader_changes.leader() != target {
                // If the driver is busy or gone, the next attempt or the time-out tells.
                self.inbox.message(PeerInput::TransferLeader(target)).ok();
                let attempt = 2 * self.times.election_timeout;
                drop(tokio::time::timeout(attempt, leader_changes.changed()).await);
            }
        };
        let within = tokio::time::timeout(self.times.timeout, transferring).await;
        within.map_err(|_elapsed| TransferTimeout)
    }
}

/// Hands leadership over before this member stops, so that its cluster need not wait for an election.
#[derive(Debug)]
pub struct HandOver {
    /// Does it.
    pub transfer: LeaderTransfer,
    /// Who may lead.
    pub view: View,
    /// Who is reached.
    pub links: Arc<Links>,
}

impl HandOver {
    /// Hands over to the voter that is reached for the longest time, as etcd does. Ends early when
    /// somebody else leads, or nobody.
    pub async fn run(&self, stop: &CancellationToken) {
        let progress = &self.transfer.progress;
        let own = progress.member_id();
        let members = self.view.members();
        let voters = members.iter().filter(|member| !member.is_learner).map(|member| member.id);
        let voters: Vec<u64> = voters.collect();
        if !progress.is_leader() || voters.iter().all(|voter| *voter == own) {
            return;
        }
        let Some(target) = self.links.longest_open(voters) else {
            tracing::warn!("leadership transfer failed: unhealthy cluster");
            return;
        };
        let target_name = format!("{target:x}");
        tracing::info!(target = target_name, "leadership transfer starting");
        let mut leader_changes = progress.leader_changes();
        let deposed = leader_changes.until(|leader| leader != own);
        tokio::select! {
            // The target leads, or somebody else does.
            () = deposed => {}
            late = self.transfer.to(target) => {
                if let Err(error) = late {
                    tracing::warn!(%error, "leadership transfer failed");
                }
            }
            // A part has failed: nothing can be handed over any more.
            () = stop.cancelled() => {}
        }
    }
}
