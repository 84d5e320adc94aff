//! How far this member is: what the threads tell each other without asking.
//!
//! Written by the driver (term, leader, committed) and the applier (applied); read by everyone.
//! Each number is right on its own; no two are read as a pair.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

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
    /// The leader changed, or went missing (0).
    leader_changed: watch::Sender<u64>,
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
            leader_changed: watch::Sender::new(0),
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

    /// Told of every change of the leader.
    pub fn leader_changes(&self) -> watch::Receiver<u64> {
        self.leader_changed.subscribe()
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
            self.leader_changed.send_replace(leader);
        }
    }

    /// The driver knows whether this member votes.
    pub(crate) fn set_learner(&self, learner: bool) {
        self.learner.store(learner, Ordering::Release);
    }
}
