//! How far this member is: what the threads tell each other without asking.
//!
//! Written by the driver (term, leader, committed) and the applier (applied); read by everyone.
//! Each number is right on its own; no two are read as a pair.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How far this member is.
#[derive(Debug)]
pub struct Progress {
    member_id: u64,
    term: AtomicU64,
    leader: AtomicU64,
    committed: AtomicU64,
    applied: AtomicU64,
    last_index: AtomicU64,
    learner: AtomicBool,
    /// When this member last became the leader.
    elected_at: Mutex<Option<Instant>>,
    /// How often the leader has changed, or went missing (0).
    leader_changes: AtomicU64,
    /// Told of each; whoever waited longest is first, so that a simulation can be repeated.
    leader_changed: Notify,
}

impl Progress {
    /// Of a member that has heard nothing yet.
    pub fn new(member_id: u64, applied: u64) -> Self {
        Progress {
            member_id,
            term: AtomicU64::new(0),
            leader: AtomicU64::new(0),
            committed: AtomicU64::new(applied),
            applied: AtomicU64::new(applied),
            last_index: AtomicU64::new(applied),
            learner: AtomicBool::new(false),
            elected_at: Mutex::new(None),
            leader_changes: AtomicU64::new(0),
            leader_changed: Notify::new(),
        }
    }

    /// Id of this member.
    pub fn member_id(&self) -> u64 {
        self.member_id
    }

    /// Raft term.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::Acquire)
    }

    /// Id of the leader, 0 if none is known.
    pub fn leader(&self) -> u64 {
        self.leader.load(Ordering::Acquire)
    }

    /// This member believes to be the leader. Only a read barrier makes that certain.
    pub fn is_leader(&self) -> bool {
        self.leader() == self.member_id
    }

    /// Index of the last committed entry.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Index of the last applied entry.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Index of the last entry in this member's log.
    pub fn last_index(&self) -> u64 {
        self.last_index.load(Ordering::Acquire)
    }

    /// This member does not vote.
    pub fn is_learner(&self) -> bool {
        self.learner.load(Ordering::Acquire)
    }

    /// When this member last became the leader, if it ever did.
    pub fn elected_at(&self) -> Option<Instant> {
        *self.elected_at.lock()
    }

    /// Told of every change of the leader from now on.
    pub fn leader_changes(&self) -> LeaderChanges<'_> {
        let seen = self.leader_changes.load(Ordering::Acquire);
        LeaderChanges { progress: self, seen }
    }

    /// Returns when no leader has been known for `time`.
    pub async fn leaderless_for(&self, time: Duration) {
        let mut changes = self.leader_changes();
        loop {
            changes.until(|leader| leader == 0).await;
            if tokio::time::timeout(time, changes.until(|leader| leader != 0)).await.is_err() {
                return;
            }
        }
    }

    /// The applier has applied up to `index`.
    pub(crate) fn set_applied(&self, index: u64) {
        self.applied.store(index, Ordering::Release);
    }

    /// The driver has seen this much of the log.
    pub(crate) fn set_log(&self, committed: u64, last_index: u64) {
        self.committed.store(committed, Ordering::Release);
        self.last_index.store(last_index, Ordering::Release);
    }

    /// The driver knows this term and leader.
    pub(crate) fn set_leader(&self, term: u64, leader: u64) {
        self.term.store(term, Ordering::Release);
        if self.leader.swap(leader, Ordering::AcqRel) != leader {
            if leader == self.member_id {
                *self.elected_at.lock() = Some(Instant::now());
            }
            self.leader_changes.fetch_add(1, Ordering::AcqRel);
            self.leader_changed.notify_waiters();
        }
    }

    /// The driver knows whether this member votes.
    pub(crate) fn set_learner(&self, learner: bool) {
        self.learner.store(learner, Ordering::Release);
    }
}

/// Sees every change of the leader, but two that follow closely perhaps as one.
#[derive(Debug)]
pub struct LeaderChanges<'a> {
    progress: &'a Progress,
    seen: u64,
}

impl LeaderChanges<'_> {
    /// Who leads; only what changes after this counts as a change.
    pub fn leader(&mut self) -> u64 {
        self.seen = self.progress.leader_changes.load(Ordering::Acquire);
        self.progress.leader()
    }

    /// Returns after a change.
    pub async fn changed(&mut self) {
        loop {
            let notified = self.progress.leader_changed.notified();
            let changes = self.progress.leader_changes.load(Ordering::Acquire);
            if changes != self.seen {
                self.seen = changes;
                return;
            }
            notified.await;
        }
    }

    /// Returns when `is_it` holds of who leads.
    pub async fn until(&mut self, is_it: impl Fn(u64) -> bool) {
        while !is_it(self.leader()) {
            self.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_loss_of_the_leader_counts_when_it_lasts() {
        let progress = Progress::new(1, 0);
        progress.set_leader(1, 2);
        let hour = Duration::from_hours(1);
        let mut patient = std::pin::pin!(progress.leaderless_for(hour));
        let mut impatient = std::pin::pin!(progress.leaderless_for(Duration::from_millis(1)));
        for leader in [2, 0, 3] {
            progress.set_leader(2, leader);
            let now = tokio::time::timeout(Duration::from_millis(1), patient.as_mut());
            assert!(now.await.is_err());
        }
        let now = tokio::time::timeout(Duration::from_millis(20), impatient.as_mut());
        assert!(now.await.is_err(), "there is a leader");
        progress.set_leader(3, 0);
        impatient.await;
    }
}
