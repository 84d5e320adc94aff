//! The engine thread: makes applied changes durable behind the applier's back.
//!
//! The log is the durability; this only bounds how much of it a start replays. Every
//! `FLUSH_INTERVAL` or `FLUSH_BYTES` what is in the write-behind buffer becomes transactions;
//! when the member is idle the images are folded, and a logged compaction is carried out in between.
//! While the member is given another one's state nothing is folded: these images are about to go.

mod defragment;
mod meter;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use nix::time::{ClockId, clock_gettime};
use parking_lot::{Condvar, Mutex};
use rusd_state::storage::{FoldProgress, Generations, History, StorageError};
use rusd_state::{Compactor, Progress};
use tokio::time::Instant;

use self::defragment::Defragmentation;
pub use self::defragment::{DefragmentError, Defragmenter};
pub use self::meter::{AwaitedCompaction, EngineMeter};
use crate::blocking::BlockingWork;

/// Longest time that a change waits in the buffer.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// A buffer of this size is flushed at once.
const FLUSH_BYTES: usize = 16 * 1024 * 1024;
/// A buffer of this size holds up the applier until the engine has caught up.
const BUFFER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Without a change for this long, the member counts as idle and the images are folded.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// Keys folded in one step: a few milliseconds, so that a stop or a burst is not held up.
const FOLD_KEYS_PER_STEP: usize = 512;
/// Revisions that the images may be behind before they are folded without waiting for an idle
/// moment: a start replays the blocks of this many revisions in about a second.
const FOLD_LAG_REVISIONS_MAX: i64 = 2_000_000;
/// Blocks looked at in one step of a compaction.
const COMPACT_BLOCKS_PER_STEP: usize = 64;
/// How long a compaction may hold up the next flush.
const COMPACTION_MAX: Duration = Duration::from_millis(5);
/// How long an awaited one may.
const AWAITED_COMPACTION_MAX: Duration = Duration::from_millis(20);

/// Wakes the engine thread, and waits for it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineBell {
    history: Arc<History>,
    bell: Sender<()>,
    flushed: Arc<(Mutex<()>, Condvar)>,
    stopped: Arc<AtomicBool>,
}

impl EngineBell {
    /// Returns when the buffer has room; rings when it is worth a flush.
    pub fn wait_for_room(&self) {
        let pending = self.history.pending_bytes();
        if pending < FLUSH_BYTES {
            return;
        }
        self.ring();
        if pending < BUFFER_BYTES_MAX {
            return;
        }
        let (lock, condvar) = &*self.flushed;
        let mut guard = lock.lock();
        while self.history.pending_bytes() >= BUFFER_BYTES_MAX
            && !self.stopped.load(Ordering::Acquire)
        {
            condvar.wait_for(&mut guard, FLUSH_INTERVAL);
        }
    }

    /// There is something to do at once.
    pub fn ring(&self) {
        // A full bell already wakes the engine.
        self.bell.try_send(()).ok();
    }
}

/// Owns the writing side of the engine.
#[derive(Debug)]
pub struct Engine {
    history: Arc<History>,
    generations: Arc<Generations>,
    compactor: Compactor,
    bell: Receiver<()>,
    flushed: Arc<(Mutex<()>, Condvar)>,
    stopped: Arc<AtomicBool>,
    meter: Arc<EngineMeter>,
    defragmentation: Defragmentation,
    compaction_max: Duration,
    /// When there was last something to flush.
    changed_at: Instant,
}

impl Engine {
    /// An engine over `history`, the bell to wake it, and what to ask for a defragmentation. It
    /// runs until every bell is gone.
    pub fn new(
        history: Arc<History>,
        generations: Arc<Generations>,
        compactor: Compactor,
        meter: Arc<EngineMeter>,
        blocking_work: BlockingWork,
    ) -> (Engine, EngineBell, Defragmenter) {
        let (bell, bell_out) = bounded(1);
        let flushed = Arc::new((Mutex::new(()), Condvar::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (defragmentation, defragmenter) = Defragmentation::new(
            Arc::clone(&history),
            Arc::clone(&generations),
            Arc::clone(&meter),
        );
        // In a simulation no time passes during a turn, and it is the steps between which others come.
        let compaction_max = match blocking_work {
            BlockingWork::OnThreads => COMPACTION_MAX,
            BlockingWork::InPlace => Duration::ZERO,
        };
        let engine = Engine {
            history: Arc::clone(&history),
            generations,
            compactor,
            bell: bell_out,
            flushed: Arc::clone(&flushed),
            stopped: Arc::clone(&stopped),
            meter,
            defragmentation,
            compaction_max,
            changed_at: Instant::now(),
        };
        (engine, EngineBell { history, bell, flushed, stopped }, defragmenter)
    }

    /// Flushes until the last bell is dropped, and then once more.
    pub fn run(mut self) -> Result<(), StorageError> {
        let outcome = self.flush_until_stopped();
        let outcome = outcome.map_err(|error| self.generations.located(error));
        self.stopped.store(true, Ordering::Release);
        self.flushed.1.notify_all();
        outcome
    }

    fn flush_until_stopped(&mut self) -> Result<(), StorageError> {
        let mut work_left = true;
        loop {
            let wait = if work_left { Duration::ZERO } else { FLUSH_INTERVAL };
            if self.bell.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                self.flush()?;
                return Ok(());
            }
            work_left = self.turn()?;
        }
    }

    /// Flushes, and takes a step of what else there is to do. True if the next turn should follow
    /// at once.
    pub fn turn(&mut self) -> Result<bool, StorageError> {
        if self.flush()? {
            self.changed_at = Instant::now();
        }
        let compacting = self.compact()?;
        let idle = self.changed_at.elapsed() >= IDLE_AFTER;
        let is_late = self.is_fold_late();
        let fold_is_due = is_late || (idle && !compacting);
        let folding = fold_is_due && !self.generations.is_one_coming() && self.fold()?;
        let defragmenting = self.defragmentation.turn()?;
        // While writes come in, a turn lasts the whole interval: few transactions.
        let in_haste = idle || self.meter.is_compaction_awaited();
        Ok(defragmenting || ((compacting || folding) && in_haste))
    }

    /// True if there was something to flush.
    fn flush(&self) -> Result<bool, StorageError> {
        let flushed = self.history.flush()?;
        if flushed.bytes > 0 {
            self.meter.measure_disk()?;
        }
        self.meter.flushed();
        self.flushed.1.notify_all();
        Ok(flushed.bytes > 0)
    }

    /// True if there is more to compact.
    fn compact(&mut self) -> Result<bool, StorageError> {
        let since = Instant::now();
        loop {
            let progress = self.compactor.step(COMPACT_BLOCKS_PER_STEP)?;
            self.meter.compacted_to(self.compactor.gone());
            let is_awaited = self.meter.is_compaction_awaited();
            let longest = if is_awaited { AWAITED_COMPACTION_MAX } else { self.compaction_max };
            if progress != Progress::More || since.elapsed() >= longest {
                return Ok(progress == Progress::More);
            }
        }
    }

    /// The images are so far behind that waiting for an idle moment no longer does.
    fn is_fold_late(&self) -> bool {
        self.history.durable().revision - self.meter.fold_revision() >= FOLD_LAG_REVISIONS_MAX
    }

    /// True if there is more to fold.
    fn fold(&self) -> Result<bool, StorageError> {
        let before = thread_cpu_nanos();
        let progress = self.history.fold_step(FOLD_KEYS_PER_STEP)?;
        if progress == FoldProgress::Idle {
            return Ok(false);
        }
        let spent = thread_cpu_nanos().saturating_sub(before);
        self.meter.folded_for(spent);
        if let FoldProgress::Folded(revision) = progress {
            self.meter.folded_to(revision);
            self.meter.measure_disk()?;
        }
        Ok(true)
    }
}

/// CPU time of this thread.
fn thread_cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .expect("every thread has a clock for its own CPU time");
    u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_nsec()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rusd_proto::mvccpb::KeyValue;
    use rusd_state::storage::change::{Changes, HistoryEntry};
    use rusd_state::storage::incoming::Installation;
    use rusd_state::storage::{EngineKind, HistoryOptions, SledOptions};
    use rusd_state::{EntryKind, Options, Revision, StateMachine};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_idle_member_folds_unless_its_images_are_about_to_go() {
        let folder = tempfile::tempdir().unwrap();
        let kind = EngineKind::Sled(SledOptions::default());
        let generations = Arc::new(Generations::open(folder.path(), kind, true).unwrap());
        let state = StateMachine::open(
            generations.current(),
            HistoryOptions::default(),
            Options::default(),
        )
        .unwrap();
        let history = state.history();
        let meter = Arc::new(EngineMeter::new(Arc::clone(&history)).unwrap());
        let (to_engine, compactor) = (Arc::clone(&history), state.compactor());
        let (mut engine, _bell, _defragmenter) = Engine::new(
            to_engine,
            Arc::clone(&generations),
            compactor,
            Arc::clone(&meter),
            BlockingWork::OnThreads,
        );
        let kv = KeyValue { key: "key".into(), value: "1".into(), ..KeyValue::default() };
        let revision = Revision::first_of(2);
        let entry = HistoryEntry { revision, kind: EntryKind::Put, kv: Arc::new(kv) };
        history.append(Changes { index: 1, term: 1, history: vec![entry], ..Changes::default() });
        let mut turn_idle = || {
            engine.changed_at = Instant::now() - IDLE_AFTER;
            while engine.turn().unwrap() {}
            meter.fold_revision()
        };
        let before = turn_idle();
        let installation = Installation::begin(&generations).unwrap();
        assert_eq!([turn_idle(), turn_idle()], [before; 2]);
        drop(installation);
        assert_eq!(turn_idle(), 2);
    }
}
