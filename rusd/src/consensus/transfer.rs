//! Handing leadership to another member.

use std::sync::Arc;
use std::time::Duration;

use super::inbox::{Inbox, PeerInput};
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
