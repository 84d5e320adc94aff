//! The keys that a request can look at or write.

use crate::history::record::{Request, Txn, TxnOp};
use crate::model::keyspace::Span;

/// Every span that a transaction names, whichever branch it is in.
pub(super) fn of_txn(txn: &Txn) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    add(txn, &mut spans);
    spans
}

/// Every span that a request names.
pub(super) fn of(request: &Request) -> Vec<Span<'_>> {
    match request {
        Request::Put(put) => vec![Span::key(&put.key)],
        Request::Range(range) => vec![Span::new(&range.key, &range.range_end)],
        Request::DeleteRange(delete) => vec![Span::new(&delete.key, &delete.range_end)],
        Request::Txn(txn) => of_txn(txn),
        Request::LeaseGrant(_)
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::Compact(_) => Vec::new(),
    }
}

fn add<'t>(txn: &'t Txn, spans: &mut Vec<Span<'t>>) {
    spans.extend(txn.compare.iter().map(|own| Span::new(&own.key, &own.range_end)));
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Put(put) => spans.push(Span::key(&put.key)),
            TxnOp::Range(range) => spans.push(Span::new(&range.key, &range.range_end)),
            TxnOp::DeleteRange(delete) => spans.push(Span::new(&delete.key, &delete.range_end)),
            TxnOp::Txn(txn) => add(txn, spans),
        }
    }
}
