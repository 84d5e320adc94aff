//! What the engine thread tells everyone else: how much it holds, and what its work costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rusd_state::storage::{History, StorageError};
use tokio::sync::watch;

/// What an engine without rows needs for itself.
const EMPTY_BYTES: u64 = 4096;

/// Measures one engine. Written by the engine thread, read by all.
#[derive(Debug)]
pub struct EngineMeter {
    history: Arc<History>,
    disk_bytes: AtomicU64,
    fold_cpu_nanos: AtomicU64,
    fold_revision: AtomicI64,
    /// Everything is gone that was compacted up to this revision; `i64::MIN` until that is known.
    compacted: watch::Sender<i64>,
    /// Who waits for a compaction.
    awaiting: AtomicUsize,
    /// Flushes that have ended, also those that had nothing to do.
    flushes: watch::Sender<u64>,
}

/// Wants a compaction to be carried out soon, until it is dropped.
#[derive(Debug)]
pub struct AwaitedCompaction {
    meter: Arc<EngineMeter>,
}

impl EngineMeter {
    /// Of the engine under a history.
    pub fn new(history: Arc<History>) -> Result<Self, StorageError> {
        let meter = EngineMeter {
            disk_bytes: AtomicU64::new(0),
            fold_cpu_nanos: AtomicU64::new(0),
            fold_revision: AtomicI64::new(history.fold_revision()),
            compacted: watch::Sender::new(i64::MIN),
            awaiting: AtomicUsize::new(0),
            flushes: watch::Sender::new(0),
            history,
        };
        meter.measure_disk()?;
        Ok(meter)
    }

    /// Bytes that the engine takes, with what is on its way there.
    pub fn bytes(&self) -> u64 {
        let pending = u64::try_from(self.history.pending_bytes()).unwrap_or(u64::MAX);
        self.disk_bytes.load(Ordering::Relaxed).saturating_add(pending)
    }

    /// Of those, what is still needed; the rest could be given back.
    pub fn bytes_in_use(&self) -> u64 {
        let pending = u64::try_from(self.history.pending_bytes()).unwrap_or(u64::MAX);
        let rows = self.history.bytes_in_use().saturating_add(pending);
        rows.max(EMPTY_BYTES).min(self.bytes())
    }

    /// CPU time that folding has taken.
    pub fn fold_cpu(&self) -> Duration {
        Duration::from_nanos(self.fold_cpu_nanos.load(Ordering::Relaxed))
    }

    /// The images are complete up to this revision.
    pub fn fold_revision(&self) -> i64 {
        self.fold_revision.load(Ordering::Relaxed)
    }

    /// From now on the engine makes haste with compactions.
    pub fn await_compaction(self: &Arc<Self>) -> AwaitedCompaction {
        self.awaiting.fetch_add(1, Ordering::Relaxed);
        AwaitedCompaction { meter: Arc::clone(self) }
    }

    /// Someone waits for a compaction.
    pub(super) fn is_compaction_awaited(&self) -> bool {
        self.awaiting.load(Ordering::Relaxed) > 0
    }

    /// Everything is gone that was compacted up to `revision`.
    pub(super) fn compacted_to(&self, revision: i64) {
        self.compacted.send_if_modified(|compacted| {
            let is_new = *compacted < revision;
            *compacted = revision.max(*compacted);
            is_new
        });
    }

    /// Returns when everything is durable that was applied before this call.
    pub async fn flush(&self) {
        let mut flushes = self.flushes.subscribe();
        // One may be under way that began before.
        let wanted = *flushes.borrow() + 2;
        let reached = flushes.wait_for(|flushes| *flushes >= wanted).await;
        drop(reached.expect("the meter has the sender"));
    }

    /// A flush has ended.
    pub(super) fn flushed(&self) {
        self.flushes.send_modify(|flushes| *flushes += 1);
    }

    /// The engine has written, so it may have grown.
    pub(super) fn measure_disk(&self) -> Result<(), StorageError> {
        let bytes = self.history.backend().size_on_disk()?;
        self.disk_bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// A step of folding took this long.
    pub(super) fn folded_for(&self, cpu_nanos: u64) {
        self.fold_cpu_nanos.fetch_add(cpu_nanos, Ordering::Relaxed);
    }

    /// The images are complete up to `revision`.
    pub(super) fn folded_to(&self, revision: i64) {
        self.fold_revision.store(revision, Ordering::Relaxed);
    }
}

impl AwaitedCompaction {
    /// Returns when everything is gone that was compacted up to `revision`.
    pub async fn to(self, revision: i64) {
        let mut compacted = self.meter.compacted.subscribe();
        let reached = compacted.wait_for(|compacted| *compacted >= revision).await;
        drop(reached.expect("the meter that it holds has the sender"));
    }
}

impl Drop for AwaitedCompaction {
    fn drop(&mut self) {
        self.meter.awaiting.fetch_sub(1, Ordering::Relaxed);
    }
}
