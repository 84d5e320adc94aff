//! What a request would take of a member's disk: etcd's estimates.
//!
//! The estimate decides whether a request fits under the quota, and which requests are refused
//! while there is no space. How much there is, is the member's to know; it is no part of the state.

use rusd_proto::etcdserverpb::request_op::Request;
use rusd_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest};

/// Bytes of a key-value besides its key and value.
const KV_OVERHEAD_BYTES: usize = 256;

/// Bytes of a lease.
pub const COST_OF_LEASE: usize = 64;

/// Bytes that a put takes.
pub fn cost_of_put(request: &PutRequest) -> usize {
    KV_OVERHEAD_BYTES + request.key.len() + request.value.len()
}

/// Bytes that a transaction takes: those of its puts, in the branch that has more.
pub fn cost_of_txn(request: &TxnRequest) -> usize {
    let cost = |ops: &[RequestOp]| ops.iter().map(cost_of_op).sum::<usize>();
    cost(&request.success).max(cost(&request.failure))
}

fn cost_of_op(op: &RequestOp) -> usize {
    match &op.request {
        Some(Request::RequestPut(put)) => cost_of_put(put),
        Some(Request::RequestTxn(nested)) => cost_of_txn(nested),
        Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use rusd_proto::etcdserverpb::RangeRequest;

    use super::*;

    #[test]
    fn a_transaction_takes_what_its_larger_branch_takes() {
        let op = |request| RequestOp { request: Some(request) };
        let put = |value: &'static str| {
            let put = PutRequest { key: "k".into(), value: value.into(), ..PutRequest::default() };
            op(Request::RequestPut(put))
        };
        let read = op(Request::RequestRange(RangeRequest::default()));
        let txn = |success, failure| TxnRequest { success, failure, ..TxnRequest::default() };
        assert_eq!(cost_of_txn(&txn(vec![read.clone(), op_none()], vec![read.clone()])), 0);
        assert_eq!(cost_of_txn(&txn(vec![put("12")], vec![put(""), put("")])), 514);
        let nested = op(Request::RequestTxn(txn(vec![put("123")], vec![])));
        assert_eq!(cost_of_txn(&txn(vec![read, nested], vec![put("1")])), 260);
    }

    fn op_none() -> RequestOp {
        RequestOp { request: None }
    }
}
