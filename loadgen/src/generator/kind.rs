//! The kinds of operations, and their weights in a mix.

use serde::Serialize;

use crate::workload::Mix;

/// A kind of operation, as the mix names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is told of at the field of `Mix` of the same name")]
pub enum OpKind {
    Put,
    Get,
    Range,
    RangeLimit,
    RangePrefix,
    RangeKeysOnly,
    RangeCount,
    GetSerializable,
    RangeHistorical,
    Delete,
    DeleteRange,
    TxnCas,
    TxnMulti,
    TxnReadModifyWrite,
    TxnAppend,
    TxnWriteRead,
    Lock,
    Election,
    LeaseGrant,
    PutLease,
    LeaseKeepAlive,
    LeaseRevoke,
    Compact,
    Defragment,
    Snapshot,
}

impl OpKind {
    /// Name in the mix and in reports.
    pub fn name(self) -> &'static str {
        match self {
            OpKind::Put => "put",
            OpKind::Get => "get",
            OpKind::Range => "range",
            OpKind::RangeLimit => "range_limit",
            OpKind::RangePrefix => "range_prefix",
            OpKind::RangeKeysOnly => "range_keys_only",
            OpKind::RangeCount => "range_count",
            OpKind::GetSerializable => "get_serializable",
            OpKind::RangeHistorical => "range_historical",
            OpKind::Delete => "delete",
            OpKind::DeleteRange => "delete_range",
            OpKind::TxnCas => "txn_cas",
            OpKind::TxnMulti => "txn_multi",
            OpKind::TxnReadModifyWrite => "txn_read_modify_write",
            OpKind::TxnAppend => "txn_append",
            OpKind::TxnWriteRead => "txn_write_read",
            OpKind::Lock => "lock",
            OpKind::Election => "election",
            OpKind::LeaseGrant => "lease_grant",
            OpKind::PutLease => "put_lease",
            OpKind::LeaseKeepAlive => "lease_keep_alive",
            OpKind::LeaseRevoke => "lease_revoke",
            OpKind::Compact => "compact",
            OpKind::Defragment => "defragment",
            OpKind::Snapshot => "snapshot",
        }
    }
}

impl Mix {
    /// Every kind with its weight.
    pub fn weights(&self) -> [(OpKind, u32); 25] {
        [
            (OpKind::Put, self.put),
            (OpKind::Get, self.get),
            (OpKind::Range, self.range),
            (OpKind::RangeLimit, self.range_limit),
            (OpKind::RangePrefix, self.range_prefix),
            (OpKind::RangeKeysOnly, self.range_keys_only),
            (OpKind::RangeCount, self.range_count),
            (OpKind::GetSerializable, self.get_serializable),
            (OpKind::RangeHistorical, self.range_historical),
            (OpKind::Delete, self.delete),
            (OpKind::DeleteRange, self.delete_range),
            (OpKind::TxnCas, self.txn_cas),
            (OpKind::TxnMulti, self.txn_multi),
            (OpKind::TxnReadModifyWrite, self.txn_read_modify_write),
            (OpKind::TxnAppend, self.txn_append),
            (OpKind::TxnWriteRead, self.txn_write_read),
            (OpKind::Lock, self.lock),
            (OpKind::Election, self.election),
            (OpKind::LeaseGrant, self.lease_grant),
            (OpKind::PutLease, self.put_lease),
            (OpKind::LeaseKeepAlive, self.lease_keep_alive),
            (OpKind::LeaseRevoke, self.lease_revoke),
            (OpKind::Compact, self.compact),
            (OpKind::Defragment, self.defragment),
            (OpKind::Snapshot, self.snapshot),
        ]
    }
}
