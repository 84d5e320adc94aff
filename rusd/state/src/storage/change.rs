//! What one applied log entry changed: the only thing that the upper layers hand to storage.

use std::sync::Arc;

use bytes::Bytes;
use rusd_proto::leasepb::Lease;
use rusd_proto::mvccpb::KeyValue;

use crate::mvcc::revision::Revision;

/// Everything that one applied log entry changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// Index of the entry in the log.
    pub index: u64,
    /// Term of the entry.
    pub term: u64,
    /// Changed keys, in operation order, all of one main revision. Empty if no key changed.
    pub history: Vec<HistoryEntry>,
    /// Leases that came or went.
    pub leases: Vec<LeaseChange>,
    /// Everything else.
    pub meta: Vec<MetaChange>,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// When.
    pub revision: Revision,
    /// Put or delete.
    pub kind: EntryKind,
    /// The key-value after. Of a delete, only `key` and `mod_revision` are set.
    pub kv: Arc<KeyValue>,
}

/// Put or delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// The key was written.
    Put,
    /// The key was deleted.
    Delete,
}

/// A lease came or went.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseChange {
    /// Granted, or its remaining time was recorded.
    Put(Lease),
    /// Revoked or expired.
    Delete(i64),
}

/// A change of what stands in the `meta` tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetaChange {
    /// History below this main revision may go.
    CompactRevision(i64),
    /// The voters and learners, as an encoded `raftpb::ConfState`.
    ConfState(Bytes),
    /// A member, as an encoded `membershippb::Member`; `None` when it was removed.
    Member(u64, Option<Bytes>),
    /// The cluster's version, as text.
    ClusterVersion(String),
    /// A small record of the upper layers under a name of theirs; `None` removes it.
    Named(String, Option<Bytes>),
}
