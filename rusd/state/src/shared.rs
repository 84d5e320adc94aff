//! What the applier writes and views read: the index, the leases and the members under one lock.
//!
//! Writers hold the lock for at most 64 entries, readers for at most 512 keys. The revision is also
//! kept beside the lock, and moves when the lock is let go, so that asking for it costs nothing and
//! a revision that was seen can always be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::alarm::Alarms;
use crate::hash::CompactionHashes;
use crate::lease::lessor::Lessor;
use crate::members::Members;
use crate::mvcc::store::Store;
use crate::storage::History;

/// The state in memory, with the history behind it.
#[derive(Debug)]
pub(crate) struct Shared {
    state: RwLock<State>,
    history: Arc<History>,
    revision: AtomicI64,
    compact: AtomicI64,
    applied: AtomicU64,
}

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct State {
    /// Keys.
    pub(crate) store: Store,
    /// Leases.
    pub(crate) lessor: Lessor,
    /// Members.
    pub(crate) members: Members,
    /// Alarms.
    pub(crate) alarms: Alarms,
    /// Hashes of compactions. Not part of the replicated state: a restart forgets them.
    pub(crate) compaction_hashes: CompactionHashes,
    /// Version of the cluster, empty until it is decided.
    pub(crate) cluster_version: String,
}

impl State {
    /// A hash of everything but the keys.
    pub(crate) fn hash_without_keys(&self) -> u32 {
        let mut crc = crc32c::crc32c(self.cluster_version.as_bytes());
        let mut add = |record: &[u8]| crc = crc32c::crc32c_append(crc, record);
        for lease in self.lessor.times() {
            add(&lease.id.to_be_bytes());
            add(&lease.ttl.to_be_bytes());
        }
        for member in self.members.list() {
            add(&self.members.record(member.id).unwrap_or_default());
        }
        add(&self.members.removed_record());
        add(&self.alarms.record().unwrap_or_default());
        crc
    }
}

impl Shared {
    /// Shares a loaded state.
    pub(crate) fn new(state: State, history: Arc<History>, applied: u64) -> Self {
        let revision = AtomicI64::new(state.store.current());
        let compact = AtomicI64::new(state.store.compact());
        let applied = AtomicU64::new(applied);
        Shared { state: RwLock::new(state), history, revision, compact, applied }
    }

    /// For a short look.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    /// For the applier and the compactor.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write()
    }

    /// The history.
    pub(crate) fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Shows what was applied under `state`, and lets go of it.
    pub(crate) fn publish(&self, state: RwLockWriteGuard<'_, State>, applied: u64) {
        self.revision.store(state.store.current(), Ordering::Release);
        self.compact.store(state.store.compact(), Ordering::Release);
        self.applied.store(applied, Ordering::Release);
        drop(state);
    }

    /// Newest revision.
    pub(crate) fn revision(&self) -> i64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Oldest readable revision.
    pub(crate) fn compact(&self) -> i64 {
        self.compact.load(Ordering::Acquire)
    }

    /// Index of the last applied entry.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }
}
