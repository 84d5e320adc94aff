//! The applier thread: applies committed entries in order, and tells everyone who waits.
//!
//! For each run of entries: apply, tell the lease clock, announce `applied`, let reads pass, hand
//! events to the watch hub, answer proposers. An answer leaves only after the state is visible to reads, so a client
//! that has its answer reads its write on this member.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use rusd_proto::raftpb::{ConfState, Entry};
use rusd_state::apply::ENTRIES_BATCHED_MAX;
use rusd_state::{Applied, Events, Fatal, LeaseEffect, Response, StateMachine};

use crate::background::lease_clock::LeaseClock;
use crate::consensus::progress::Progress;
use crate::consensus::proposer::Waiters;
use crate::consensus::read_barrier::ProvenReads;
use crate::engine::EngineBell;
use crate::quota::SpaceWatch;

/// Committed entries on their way from the driver.
#[derive(Debug, Default)]
pub struct CommittedRun {
    /// In order, without gaps.
    pub entries: Vec<Entry>,
    /// The voters and learners after each membership change among the entries.
    pub conf_states: Vec<(u64, ConfState)>,
}

/// Owns the state machine.
#[derive(Debug)]
pub struct Applier {
    /// The replicated state.
    pub state: StateMachine,
    /// Where `applied` is announced.
    pub progress: Arc<Progress>,
    /// Who waits for the outcome of a proposal.
    pub waiters: Arc<Waiters>,
    /// Who waits for an index to be applied.
    pub(crate) proven_reads: Arc<ProvenReads>,
    /// Deadlines of leases.
    pub lease_clock: Arc<LeaseClock>,
    /// The watch hub. It never blocks, so waiting for room here is short.
    pub events: Sender<Events>,
    /// Makes room in the write-behind buffer.
    pub engine: EngineBell,
    /// Sees whether there is still room on the disk.
    pub space: SpaceWatch,
}

impl Applier {
    /// Applies until the driver is gone or the state can no longer be trusted.
    pub fn run(mut self, committed: &Receiver<CommittedRun>) -> Result<(), Fatal> {
        while let Ok(run) = committed.recv() {
            self.apply_run(run)?;
        }
        self.waiters.close();
        Ok(())
    }

    /// Applies what the driver has handed on.
    pub fn apply_run(&mut self, run: CommittedRun) -> Result<(), Fatal> {
        let mut conf_states = run.conf_states.into_iter().peekable();
        let mut entries = run.entries.as_slice();
        while let Some(first) = entries.first() {
            // A membership change goes alone, so that what it leads to is saved with it.
            let until = match conf_states.next_if(|(index, _)| *index == first.index()) {
                Some((index, conf_state)) => {
                    self.state.set_conf_state(conf_state);
                    index + 1
                }
                None => conf_states.peek().map_or(u64::MAX, |(index, _)| *index),
            };
            let count = entries.iter().take_while(|entry| entry.index() < until).count();
            let (now, later) = entries.split_at(count.min(ENTRIES_BATCHED_MAX));
            self.apply_batch(now)?;
            entries = later;
        }
        Ok(())
    }

    fn apply_batch(&mut self, entries: &[Entry]) -> Result<(), Fatal> {
        self.engine.wait_for_room();
        let mut applied = Vec::with_capacity(entries.len());
        self.state.apply_batch(entries, &mut |one| applied.push(one))?;
        let last = entries.last().expect("a batch is not empty").index();
        // Before any read passes: who is told that a lease lives must be told after its revocation.
        for one in &applied {
            match &one.lease {
                Some(LeaseEffect::Granted { id, ttl }) => self.lease_clock.granted(*id, *ttl, 0),
                Some(LeaseEffect::Revoked { id }) => self.lease_clock.revoked(*id),
                Some(LeaseEffect::Checkpointed(noted)) => self.lease_clock.checkpointed(noted),
                None => {}
            }
        }
        self.space.applied(&applied);
        self.progress.set_applied(last);
        self.proven_reads.applied(last);
        for one in applied {
            self.tell(one);
        }
        Ok(())
    }

    /// Tells everyone who is concerned what one entry did.
    fn tell(&self, applied: Applied) {
        if matches!(applied.outcome, Ok(Response::Compact(_))) {
            self.engine.ring();
        }
        if !applied.events.list.is_empty() {
            // The hub is gone only when the member stops.
            drop(self.events.send(applied.events));
        }
        if applied.request_id != 0 {
            let outcome = applied.outcome;
            self.waiters.answer(applied.request_id, move || outcome);
        }
    }
}
