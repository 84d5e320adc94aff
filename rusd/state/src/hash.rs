//! `HashKV`, by etcd's definition, so that the same operations give the same hash on both.
//!
//! CRC-32C over the word `key`, then of every change up to the revision the bytes that etcd's
//! backend would hold: the revision (main, an underscore, sub, and a `t` for a delete), and the
//! encoded key-value (of a delete the key alone). Up to the compact revision only what is the newest
//! of a living key counts.
//!
//! etcd takes the hash of every compaction just before it drops anything, and from then on answers
//! with it for that revision, also when that is no longer readable. Of the last ten, until a restart.

use std::collections::VecDeque;

use prost::Message;
use rusd_proto::mvccpb::KeyValue;

use crate::mvcc::key_index::At;
use crate::mvcc::read::KEYS_VISITED_MAX;
use crate::mvcc::revision::Revision;
use crate::mvcc::store::Store;
use crate::shared::Shared;
use crate::storage::StorageError;
use crate::storage::change::{EntryKind, HistoryEntry};

/// Hashes of compactions that are kept.
const COMPACTION_HASHES_MAX: usize = 10;
/// Bytes of history that a hash reads at a time.
const SCAN_BYTES: usize = 1 << 20;

/// The hash of a store at some revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKv {
    /// The hash.
    pub hash: u32,
    /// The compaction before it; -1 if there was none.
    pub compact_revision: i64,
    /// The revision it is of.
    pub revision: i64,
    /// Newest revision of the store when it was taken.
    pub current_revision: i64,
}

impl HashKv {
    pub(crate) fn of(span: HashSpan, hash: u32, current_revision: i64) -> Self {
        HashKv { hash, compact_revision: span.compact, revision: span.to, current_revision }
    }
}

/// What a hash is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashSpan {
    /// All changes up to this revision.
    pub(crate) to: i64,
    /// Up to this revision only what was left of a compaction counts.
    pub(crate) compact: i64,
    /// And of that only what is still the newest of its key at this revision.
    pub(crate) newest_at: i64,
}

/// A hash under way. The caller keeps what it reads from being compacted.
#[derive(Debug)]
pub(crate) struct HashScan {
    span: HashSpan,
    /// First revision that is not in it.
    next: i64,
    crc: u32,
}

impl HashScan {
    /// Of no change yet.
    pub(crate) fn new(span: HashSpan) -> Self {
        HashScan { span, next: 1, crc: crc32c::crc32c(b"key") }
    }

    /// What it is of.
    pub(crate) fn span(&self) -> HashSpan {
        self.span
    }

    /// Adds some more history. True when all of it is in.
    pub(crate) fn step(&mut self, shared: &Shared) -> Result<bool, StorageError> {
        if self.next > self.span.to {
            return Ok(true);
        }
        let scan = shared.history().scan(self.next, self.span.to, SCAN_BYTES)?;
        for entries in scan.entries.chunks(KEYS_VISITED_MAX) {
            let state = shared.read();
            for entry in entries {
                if self.counts(&state.store, entry) {
                    self.add(entry);
                }
            }
        }
        self.next = scan.next_main;
        Ok(self.next > self.span.to)
    }

    /// Adds all history.
    pub(crate) fn run(mut self, shared: &Shared) -> Result<u32, StorageError> {
        while !self.step(shared)? {}
        Ok(self.crc)
    }

    /// The hash so far.
    pub(crate) fn hash(&self) -> u32 {
        self.crc
    }

    fn counts(&self, store: &Store, entry: &HistoryEntry) -> bool {
        entry.revision.main > self.span.compact || is_newest(store, entry, self.span.newest_at)
    }

    fn add(&mut self, entry: &HistoryEntry) {
        self.update(&encode_revision(entry.revision, entry.kind));
        self.update(&encode_value(entry));
    }

    fn update(&mut self, bytes: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
    }
}

/// The change is what its key was at `main`.
pub(crate) fn is_newest(store: &Store, entry: &HistoryEntry, main: i64) -> bool {
    let Some(known) = store.entry(&entry.kv.key) else { return false };
    let at: Option<Revision> = match known.at(main) {
        At::Absent => None,
        At::Newest => Some(known.newest().revision),
        At::Past(revision) => Some(revision),
    };
    entry.kind == EntryKind::Put && at == Some(entry.revision)
}

/// Compactions whose hash is to be taken, and the hashes of those before.
#[derive(Debug, Default)]
pub(crate) struct CompactionHashes {
    wanted: VecDeque<HashSpan>,
    taken: VecDeque<(HashSpan, u32)>,
}

impl CompactionHashes {
    /// A compaction was asked for: at `to`, after the one at `compact`.
    pub(crate) fn want(&mut self, to: i64, compact: i64) {
        push(&mut self.wanted, HashSpan { to, compact, newest_at: to });
    }

    /// What the next one to take is of.
    pub(crate) fn first_wanted(&self) -> Option<HashSpan> {
        self.wanted.front().copied()
    }

    /// The next one to take, no longer wanted.
    pub(crate) fn next_wanted(&mut self) -> Option<HashSpan> {
        self.wanted.pop_front()
    }

    /// One was taken.
    pub(crate) fn take(&mut self, span: HashSpan, hash: u32) {
        push(&mut self.taken, (span, hash));
    }

    /// Those that were taken, the newest first.
    pub(crate) fn taken(&self) -> impl Iterator<Item = (HashSpan, u32)> {
        self.taken.iter().rev().copied()
    }

    /// The hash of the compaction at exactly `revision`.
    pub(crate) fn find(&self, revision: i64) -> Option<(HashSpan, u32)> {
        self.taken.iter().find(|(span, _)| span.to == revision).copied()
    }
}

/// More than the last few would not be kept anyway.
fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == COMPACTION_HASHES_MAX {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// The value of a change in etcd's bucket of keys.
pub(crate) fn encode_value(entry: &HistoryEntry) -> Vec<u8> {
    match entry.kind {
        // What a restore leaves where it raised the revision: etcd's record of it is empty.
        EntryKind::Put if entry.kv.version == 0 => Vec::new(),
        EntryKind::Put => entry.kv.encode_to_vec(),
        EntryKind::Delete => {
            KeyValue { key: entry.kv.key.clone(), ..KeyValue::default() }.encode_to_vec()
        }
    }
}

/// The key of a change in etcd's bucket of keys.
pub(crate) fn encode_revision(revision: Revision, kind: EntryKind) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(18);
    bytes.extend_from_slice(&revision.main.to_be_bytes());
    bytes.push(b'_');
    bytes.extend_from_slice(&revision.sub.to_be_bytes());
    if kind == EntryKind::Delete {
        bytes.push(b't');
    }
    bytes
}
