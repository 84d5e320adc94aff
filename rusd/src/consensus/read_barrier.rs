//! Linearizable reads: wait until this member has applied everything that was committed when the
//! read arrived (ReadIndex, Raft thesis 6.4).
//!
//! One round serves every read that waited for it. A round that gets no answer is given up and its
//! reads go into a new one **with a fresh context**: an answer that was delayed by a paused leader
//! could otherwise prove too little (etcd issue 20418).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::inbox::{Inbox, ReadWaiter, Refused};
use super::progress::Progress;
use crate::plant::Plant;

/// Rounds under way at once. Reads beyond wait for one to end, and share the next.
const ROUNDS_MAX: usize = 64;

/// Why a read may not be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadBarrierError {
    /// Refused: too many reads wait.
    #[error("too many requests")]
    TooManyRequests,
    /// No leader confirmed in time how far to read.
    #[error("request timed out")]
    Timeout,
    /// This member is stopping.
    #[error("server stopped")]
    Stopped,
}

/// Lets a read pass when it is sure to see every write acknowledged before it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReadBarrier {
    inbox: Inbox,
    timeout: Duration,
    plant: Option<Plant>,
}

impl ReadBarrier {
    /// A barrier whose reads wait at most `timeout`.
    pub fn new(inbox: Inbox, timeout: Duration, plant: Option<Plant>) -> Self {
        ReadBarrier { inbox, timeout, plant }
    }

    /// Returns when this member has applied all that was committed when this was called.
    pub async fn wait(&self) -> Result<(), ReadBarrierError> {
        if self.plant == Some(Plant::StaleRead) {
            return Ok(());
        }
        let (waiter, passed) = oneshot::channel();
        self.inbox.read(waiter).map_err(|refused| match refused {
            Refused::Full => ReadBarrierError::TooManyRequests,
            Refused::Stopped => ReadBarrierError::Stopped,
        })?;
        match tokio::time::timeout(self.timeout, passed).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(ReadBarrierError::Stopped),
            Err(_elapsed) => Err(ReadBarrierError::Timeout),
        }
    }
}

/// Rounds under way. Owned by the driver.
#[derive(Debug)]
pub(crate) struct Rounds {
    /// Ticks after which an unanswered round is given up for a new one.
    ticks_max: u64,
    next_context: u64,
    under_way: BTreeMap<u64, Round>,
    /// A planted bug: a round that was given up goes out again under its context, and reads that have
    /// come since are added to it.
    #[cfg(feature = "planted-bugs")]
    reuses: bool,
    #[cfg(feature = "planted-bugs")]
    given_up: Option<u64>,
}

#[derive(Debug)]
struct Round {
    started_tick: u64,
    waiters: Vec<ReadWaiter>,
}

impl Rounds {
    /// No round yet. Contexts are counted from `first_context`, which must be beyond those of
    /// earlier lives of this member: a late answer to one of them would prove too little.
    pub(crate) fn new(first_context: u64, ticks_max: u64) -> Self {
        Rounds {
            ticks_max,
            next_context: first_context,
            under_way: BTreeMap::new(),
            #[cfg(feature = "planted-bugs")]
            reuses: false,
            #[cfg(feature = "planted-bugs")]
            given_up: None,
        }
    }

    /// Plants the bug that contexts are used again.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn reuse_contexts(&mut self) {
        self.reuses = true;
    }

    /// Another round may start.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way.len() < ROUNDS_MAX
    }

    /// Starts a round for `waiters`; its context was never used before.
    pub(crate) fn start(&mut self, tick: u64, waiters: Vec<ReadWaiter>) -> u64 {
        let round = Round { started_tick: tick, waiters };
        #[cfg(feature = "planted-bugs")]
        if let Some(context) = self.given_up {
            let empty = || Round { started_tick: tick, waiters: Vec::new() };
            let again = self.under_way.entry(context).or_insert_with(empty);
            again.waiters.extend(round.waiters);
            return context;
        }
        self.next_context += 1;
        self.under_way.insert(self.next_context, round);
        self.next_context
    }

    /// Ends the round of `context`; empty if it was given up before.
    pub(crate) fn finish(&mut self, context: u64) -> Vec<ReadWaiter> {
        #[cfg(feature = "planted-bugs")]
        if self.given_up == Some(context) {
            self.given_up = None;
        }
        self.under_way.remove(&context).map(|round| round.waiters).unwrap_or_default()
    }

    /// Gives up the rounds that have waited too long; the reads that still wait are returned.
    pub(crate) fn give_up(&mut self, tick: u64) -> Vec<ReadWaiter> {
        let late: Vec<u64> = self
            .under_way
            .iter()
            .filter(|(_, round)| tick >= round.started_tick + self.ticks_max)
            .map(|(context, _)| *context)
            .collect();
        #[cfg(feature = "planted-bugs")]
        let again = late.last().copied();
        let waiters = late.into_iter().flat_map(|context| self.finish(context));
        let waiters = waiters.filter(|waiter| !waiter.is_closed()).collect();
        #[cfg(feature = "planted-bugs")]
        if self.reuses {
            self.given_up = again.or(self.given_up);
        }
        waiters
    }
}

/// Reads whose index is proven and not yet applied. Shared by driver and applier.
#[derive(Debug)]
pub(crate) struct ProvenReads {
    progress: Arc<Progress>,
    by_index: Mutex<BTreeMap<u64, Vec<ReadWaiter>>>,
}

impl ProvenReads {
    pub(crate) fn new(progress: Arc<Progress>) -> Self {
        ProvenReads { progress, by_index: Mutex::default() }
    }

    /// `waiters` may pass once `index` is applied.
    pub(crate) fn proven(&self, index: u64, waiters: Vec<ReadWaiter>) {
        if waiters.is_empty() {
            return;
        }
        if self.progress.applied() < index {
            let mut by_index = self.by_index.lock();
            // Asked again under the lock: the applier announces `applied` before it takes it.
            if self.progress.applied() < index {
                by_index.entry(index).or_default().extend(waiters);
                return;
            }
        }
        pass(waiters);
    }

    /// `applied` was announced in [`Progress`]: lets pass what waited for it.
    pub(crate) fn applied(&self, applied: u64) {
        let ready = {
            let mut by_index = self.by_index.lock();
            if by_index.first_key_value().is_none_or(|(index, _)| *index > applied) {
                return;
            }
            let waiting = by_index.split_off(&(applied + 1));
            std::mem::replace(&mut *by_index, waiting)
        };
        ready.into_values().for_each(pass);
    }
}

fn pass(waiters: Vec<ReadWaiter>) {
    for waiter in waiters {
        // A reader that has gone needs no answer.
        waiter.send(()).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter() -> (ReadWaiter, oneshot::Receiver<()>) {
        oneshot::channel()
    }

    #[test]
    fn a_round_given_up_gets_a_fresh_context() {
        let mut rounds = Rounds::new(0, 20);
        let (first, _keep) = waiter();
        let old = rounds.start(0, vec![first]);
        assert!(rounds.give_up(19).is_empty());
        let waiting = rounds.give_up(20);
        assert_eq!(waiting.len(), 1);
        let fresh = rounds.start(20, waiting);
        assert_ne!(old, fresh);
        assert!(rounds.finish(old).is_empty(), "the late answer proves nothing");
        assert_eq!(rounds.finish(fresh).len(), 1);
    }

    #[test]
    fn a_proven_read_passes_when_its_index_is_applied() {
        let progress = Arc::new(Progress::new(1, 0));
        let reads = ProvenReads::new(Arc::clone(&progress));
        let (at_five, mut passed_five) = waiter();
        let (at_six, mut passed_six) = waiter();
        reads.proven(5, vec![at_five]);
        reads.proven(6, vec![at_six]);
        progress.set_applied(5);
        reads.applied(5);
        assert_eq!(passed_five.try_recv(), Ok(()));
        assert!(passed_six.try_recv().is_err());
        progress.set_applied(6);
        let (late, mut passed_late) = waiter();
        reads.proven(6, vec![late]);
        assert_eq!(passed_late.try_recv(), Ok(()));
        reads.applied(6);
        assert_eq!(passed_six.try_recv(), Ok(()));
    }
}
