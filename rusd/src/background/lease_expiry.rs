//! Lease expiry: the leader proposes to revoke what has run out, and to note how much time is left
//! to long leases, so that a change of the leader does not give them all of it again.

use std::sync::Arc;
use std::time::Duration;

use rusd_proto::etcdserverpb::{
    InternalRaftRequest, LeaseCheckpoint, LeaseCheckpointRequest, LeaseRevokeRequest,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lease_clock::LeaseClock;
use crate::consensus::progress::Progress;
use crate::consensus::proposer::Proposer;
use crate::plant::Plant;

/// How often deadlines are looked at (etcd: 500 ms).
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Revocations proposed at one time (etcd: 16 at once, 1,000 a second).
const REVOCATIONS_AT_ONCE_MAX: usize = 100;

/// Checkpoints in one log entry, as in etcd.
const CHECKPOINTS_TOGETHER_MAX: usize = 1000;

/// Revokes expired leases while this member leads.
#[derive(Debug)]
pub struct LeaseExpiry {
    /// Deadlines of leases.
    pub clock: Arc<LeaseClock>,
    /// Tells whether this member leads.
    pub progress: Arc<Progress>,
    /// Takes the revocations.
    pub proposer: Proposer,
    /// What a new leader adds to every lease: its clients need time to find it.
    pub promotion_extra: Duration,
    /// The time left to long leases is noted in the log.
    pub is_checkpointing: bool,
    /// A bug planted on purpose.
    pub plant: Option<Plant>,
}

impl LeaseExpiry {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(CHECK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            let led =
                self.plant == Some(Plant::DeposedLeaderExpires) && self.clock.promoted_term() > 0;
            if self.progress.is_leader() || led {
                self.revoke_expired().await;
                if self.is_checkpointing {
                    self.note_time_left().await;
                }
            }
        }
    }

    async fn note_time_left(&self) {
        let term = self.clock.promoted_term();
        let due = self.clock.due_checkpoints(Instant::now(), CHECKPOINTS_TOGETHER_MAX);
        if due.is_empty() {
            return;
        }
        let proposed = self.proposer.propose_as_leader(checkpoints(&due), term);
        if let Err(error) = proposed.await {
            tracing::warn!(%error, "the time left to leases was not noted");
        }
    }

    async fn revoke_expired(&self) {
        let term = self.progress.term();
        if self.clock.promoted_term() != term && self.progress.is_leader() {
            self.clock.promote(term, self.promotion_extra);
            return;
        }
        let mut revocations = JoinSet::new();
        for id in self.clock.expired(REVOCATIONS_AT_ONCE_MAX) {
            let (proposer, plant) = (self.proposer.clone(), self.plant);
            revocations.spawn(async move {
                let lease_revoke = Some(LeaseRevokeRequest { id });
                let request =
                    InternalRaftRequest { lease_revoke, ..InternalRaftRequest::default() };
                match plant {
                    Some(Plant::DeposedLeaderExpires) => proposer.propose(request).await,
                    _ => proposer.propose_as_leader(request, term).await,
                }
            });
        }
        // What did not get through is proposed again at the next look; a lease that is gone
        // already is rejected by the state machine.
        let mut leader_changes = self.progress.leader_changes();
        tokio::select! {
            biased;
            _ = revocations.join_all() => {}
            // They may be lost. Whoever leads next has every lease's time to set first.
            () = leader_changes.changed() => {}
        }
    }
}

/// The request to note the seconds left to leases.
pub(crate) fn checkpoints(leases: &[(i64, i64)]) -> InternalRaftRequest {
    let checkpoint = |(id, remaining_ttl): &(i64, i64)| LeaseCheckpoint {
        id: *id,
        remaining_ttl: *remaining_ttl,
    };
    let checkpoints = leases.iter().map(checkpoint).collect();
    let lease_checkpoint = Some(LeaseCheckpointRequest { checkpoints });
    InternalRaftRequest { lease_checkpoint, ..InternalRaftRequest::default() }
}
