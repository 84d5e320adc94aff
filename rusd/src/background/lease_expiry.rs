//! Lease expiry: the leader proposes to revoke what has run out.

use std::sync::Arc;
use std::time::Duration;

use rusd_proto::etcdserverpb::{InternalRaftRequest, LeaseRevokeRequest};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::lease_clock::LeaseClock;
use crate::consensus::progress::Progress;
use crate::consensus::proposer::Proposer;

/// How often deadlines are looked at (etcd: 500 ms).
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Revocations proposed at one time (etcd: 16 at once, 1,000 a second).
const REVOCATIONS_AT_ONCE_MAX: usize = 100;

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
}

impl LeaseExpiry {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(CHECK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            if self.progress.is_leader() {
                self.revoke_expired().await;
            }
        }
    }

    async fn revoke_expired(&self) {
        let term = self.progress.term();
        if self.clock.promoted_term() != term {
            self.clock.promote(term, self.promotion_extra);
            return;
        }
        let mut revocations = JoinSet::new();
        for id in self.clock.expired(REVOCATIONS_AT_ONCE_MAX) {
            let proposer = self.proposer.clone();
            revocations.spawn(async move {
                let lease_revoke = Some(LeaseRevokeRequest { id });
                let request =
                    InternalRaftRequest { lease_revoke, ..InternalRaftRequest::default() };
                proposer.propose_as_leader(request, term).await
            });
        }
        // What did not get through is proposed again at the next look; a lease that is gone
        // already is rejected by the state machine.
        let mut leader_changes = self.progress.leader_changes();
        tokio::select! {
            _ = revocations.join_all() => {}
            // They may be lost. Whoever leads next has every lease's time to set first.
            _ = leader_changes.changed() => {}
        }
    }
}
