//! `HashKV`, by etcd's definition, so that the same operations give the same hash on both.
//!
//! CRC-32C over the word `key`, then of every change up to the revision the bytes that etcd's
//! backend would hold: the revision (main, an underscore, sub, and a `t` for a delete), and the
//! encoded key-value (of a delete the key alone). Up to the compact revision only what is the newest
//! of a living key counts.

use prost::Message;
use rusd_proto::mvccpb::KeyValue;

use crate::mvcc::revision::Revision;
use crate::storage::change::{EntryKind, HistoryEntry};

/// The running hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KvHasher {
    crc: u32,
}

/// The hash of a store at some revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKv {
    /// The hash.
    pub hash: u32,
    /// Oldest readable revision when it was taken; -1 if nothing was ever compacted.
    pub compact_revision: i64,
    /// The revision it is of.
    pub revision: i64,
    /// Newest revision of the store when it was taken.
    pub current_revision: i64,
}

impl KvHasher {
    /// Of no change yet.
    pub(crate) fn new() -> Self {
        KvHasher { crc: crc32c::crc32c(b"key") }
    }

    /// Adds a change; they must come in the order of their revisions.
    pub(crate) fn add(&mut self, entry: &HistoryEntry) {
        self.update(&encode_revision(entry.revision, entry.kind));
        let encoded = match entry.kind {
            EntryKind::Put => entry.kv.encode_to_vec(),
            EntryKind::Delete => {
                KeyValue { key: entry.kv.key.clone(), ..KeyValue::default() }.encode_to_vec()
            }
        };
        self.update(&encoded);
    }

    /// The hash so far.
    pub(crate) fn hash(self) -> u32 {
        self.crc
    }

    fn update(&mut self, bytes: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
    }
}

fn encode_revision(revision: Revision, kind: EntryKind) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(18);
    bytes.extend_from_slice(&revision.main.to_be_bytes());
    bytes.push(b'_');
    bytes.extend_from_slice(&revision.sub.to_be_bytes());
    if kind == EntryKind::Delete {
        bytes.push(b't');
    }
    bytes
}
