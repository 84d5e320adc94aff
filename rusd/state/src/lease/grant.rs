//! One lease.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::mvcc::index_key::IndexKey;

/// A lease with the keys attached to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lease {
    /// Granted time to live, in seconds.
    pub(crate) ttl: i64,
    /// What was left of it at the last checkpoint, in seconds; 0 if there was none.
    pub(crate) remaining_ttl: i64,
    /// Attached keys; a revoke deletes them in this order.
    pub(crate) keys: BTreeSet<IndexKey>,
}

/// A lease as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseInfo {
    /// Its id.
    pub id: i64,
    /// Granted time to live, in seconds.
    pub ttl: i64,
    /// What was left of it at the last checkpoint, in seconds; 0 if there was none.
    pub remaining_ttl: i64,
    /// Attached keys in order.
    pub keys: Vec<Bytes>,
}

impl Lease {
    /// A copy for a reader.
    pub(crate) fn info(&self, id: i64) -> LeaseInfo {
        let keys = self.keys.iter().map(|key| Bytes::copy_from_slice(key.as_slice()));
        LeaseInfo { id, ttl: self.ttl, remaining_ttl: self.remaining_ttl, keys: keys.collect() }
    }

    /// How it is stored.
    pub(crate) fn record(&self, id: i64) -> rusd_proto::leasepb::Lease {
        rusd_proto::leasepb::Lease { id, ttl: self.ttl, remaining_ttl: self.remaining_ttl }
    }
}
