//! An operation as the log carries it.

use rusd_proto::etcdserverpb::InternalRaftRequest;

use crate::operations::Operation;

/// Without an id: nobody waits for it.
pub(crate) fn request_of(operation: Operation) -> InternalRaftRequest {
    let request = InternalRaftRequest::default();
    match operation {
        Operation::Put(put) => InternalRaftRequest { put: Some(put), ..request },
        Operation::DeleteRange(delete) => {
            InternalRaftRequest { delete_range: Some(delete), ..request }
        }
        Operation::Txn(txn) => InternalRaftRequest { txn: Some(txn), ..request },
        Operation::LeaseGrant(grant) => InternalRaftRequest { lease_grant: Some(grant), ..request },
        Operation::LeaseRevoke(revoke) => {
            InternalRaftRequest { lease_revoke: Some(revoke), ..request }
        }
        Operation::Compact(compact) => InternalRaftRequest { compaction: Some(compact), ..request },
    }
}
