//! What the engine thread tells everyone else: how much it holds, and what its work costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rusd_state::storage::{History, StorageError};

/// Measures one engine. Written by the engine thread, read by all.
#[derive(Debug)]
pub struct EngineMeter {
    history: Arc<History>,
    disk_bytes: AtomicU64,
    fold_cpu_nanos: AtomicU64,
    fold_revision: AtomicI64,
}

impl EngineMeter {
    /// Of the engine under a history.
    pub fn new(history: Arc<History>) -> Result<Self, StorageError> {
        let meter = EngineMeter {
            disk_bytes: AtomicU64::new(0),
            fold_cpu_nanos: AtomicU64::new(0),
            fold_revision: AtomicI64::new(history.fold_revision()),
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

    /// CPU time that folding has taken.
    pub fn fold_cpu(&self) -> Duration {
        Duration::from_nanos(self.fold_cpu_nanos.load(Ordering::Relaxed))
    }

    /// The images are complete up to this revision.
    pub fn fold_revision(&self) -> i64 {
        self.fold_revision.load(Ordering::Relaxed)
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
