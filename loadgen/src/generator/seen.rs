//! What clients learn from answers and share: how far the store has come, when keys were written,
//! which process and lease ids are taken.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use rusd_checker::history::record::KeyValue;
use rusd_checker::history::text::Text;

use crate::keys::KeySpace;
use crate::workload::Lists;

/// What all clients of a run share.
#[derive(Debug)]
pub struct Seen {
    keys: KeySpace,
    /// Highest store revision in any answer.
    latest: AtomicI64,
    /// Mod revision of each key in the newest answer that showed it; 0 is absent.
    key_revisions: Vec<AtomicI64>,
    /// How many lists each place has had before the one that it has.
    generations: Vec<AtomicU32>,
    next_process: AtomicU64,
    /// Makes lease ids differ between runs against one cluster.
    lease_base: i64,
    next_lease: AtomicI64,
}

impl Seen {
    /// For a store at `first_revision`. `run` differs between runs.
    pub fn new(keys: KeySpace, lists: &Lists, first_revision: i64, run: u32) -> Seen {
        let generations = (0..*lists.count.get_ref()).map(|_| AtomicU32::new(0)).collect();
        let key_revisions = (0..keys.count()).map(|_| AtomicI64::new(0)).collect();
        Seen {
            keys,
            latest: AtomicI64::new(first_revision),
            key_revisions,
            generations,
            next_process: AtomicU64::new(0),
            lease_base: i64::from(run) << 31,
            next_lease: AtomicI64::new(1),
        }
    }

    /// A process id that nobody used before.
    pub fn fresh_process(&self) -> u64 {
        self.next_process.fetch_add(1, Ordering::Relaxed)
    }

    /// Highest store revision in any answer.
    pub fn latest_revision(&self) -> i64 {
        self.latest.load(Ordering::Relaxed)
    }

    /// An answer showed this store revision.
    pub(super) fn came_to(&self, revision: i64) {
        self.latest.fetch_max(revision, Ordering::Relaxed);
    }

    /// The keys.
    pub fn keys(&self) -> &KeySpace {
        &self.keys
    }

    pub(super) fn fresh_lease(&self) -> i64 {
        self.lease_base | self.next_lease.fetch_add(1, Ordering::Relaxed)
    }

    /// How many lists a place has had before the one that it has.
    pub(super) fn generation_of(&self, list: usize) -> u32 {
        self.generations[list].load(Ordering::Relaxed)
    }

    pub(super) fn next_generation(&self, list: usize) {
        self.generations[list].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn saw(&self, kv: &KeyValue) {
        if let Some(index) = self.keys.index_of(kv.key.as_bytes()) {
            self.key_revisions[index].fetch_max(kv.mod_revision, Ordering::Relaxed);
        }
    }

    pub(super) fn saw_write(&self, key: &Text, revision: i64) {
        if let Some(index) = self.keys.index_of(key.as_bytes()) {
            self.key_revisions[index].fetch_max(revision, Ordering::Relaxed);
        }
    }

    pub(super) fn revision_of(&self, index: usize) -> i64 {
        self.key_revisions[index].load(Ordering::Relaxed)
    }
}
