//! Requests over a keyspace: what they answer, what they change, and why they are refused.

use super::keyspace::{Change, Keyspace, Span};
use super::refusal::Refusal;
use crate::history::record::{
    DeleteRange, DeleteRangeResponse, KeyValue, Put, PutResponse, Range, RangeResponse, Txn, TxnOp,
    TxnOpResponse, TxnResponse,
};

/// What a request needs to know beyond the live keys.
pub(crate) trait Surroundings {
    /// Whether the lease exists now.
    fn lease_exists(&self, lease: i64) -> bool;

    /// Oldest revision that can be read.
    fn compact_revision(&self) -> i64;

    /// Reads at `range.revision`, which is neither compacted nor in the future.
    fn range_then(&self, range: &Range) -> RangeResponse;
}

/// Answers a range from the live keys.
pub(crate) fn range(keys: &Keyspace, range: &Range) -> RangeResponse {
    let span = Span::new(&range.key, &range.range_end);
    answer(range, keys.span(span).map(|(key, stored)| stored.key_value(key)))
}

/// Cuts what is in the range down to what was asked for.
pub(crate) fn answer(range: &Range, found: impl Iterator<Item = KeyValue>) -> RangeResponse {
    let limit = usize::try_from(range.limit).ok().filter(|limit| *limit > 0);
    let mut response = RangeResponse::default();
    for mut kv in found {
        response.count += 1;
        if range.count_only {
            continue;
        }
        if limit.is_some_and(|limit| response.kvs.len() >= limit) {
            response.more = true;
            continue;
        }
        if range.keys_only {
            kv.value = crate::history::text::Text::default();
        }
        response.kvs.push(kv);
    }
    response
}

/// Checks a put against the live keys, in etcd's order.
pub(crate) fn check_put(
    keys: &Keyspace,
    surroundings: &impl Surroundings,
    put: &Put,
) -> Result<(), Refusal> {
    if put.lease != 0 && !surroundings.lease_exists(put.lease) {
        return Err(Refusal::LeaseNotFound);
    }
    if (put.ignore_value || put.ignore_lease) && keys.get(&put.key).is_none() {
        return Err(Refusal::KeyNotFound);
    }
    Ok(())
}

/// Checks the revision that a range asks for; `current` is the newest.
pub(crate) fn check_range(
    surroundings: &impl Surroundings,
    range: &Range,
    current: i64,
) -> Result<(), Refusal> {
    if range.revision > current {
        return Err(Refusal::FutureRevision);
    }
    if range.revision > 0 && range.revision < surroundings.compact_revision() {
        return Err(Refusal::Compacted);
    }
    Ok(())
}

/// Puts, at `revision`.
pub(crate) fn put(
    keys: &mut Keyspace,
    put: &Put,
    revision: i64,
    changes: &mut Vec<Change>,
) -> PutResponse {
    let change = keys.put(put, revision);
    let prev_kv = match &change.before {
        Some(before) if put.prev_kv => Some(before.key_value(&put.key)),
        _ => None,
    };
    changes.push(change);
    PutResponse { prev_kv }
}

/// Deletes.
pub(crate) fn delete_range(
    keys: &mut Keyspace,
    delete: &DeleteRange,
    changes: &mut Vec<Change>,
) -> DeleteRangeResponse {
    let first = changes.len();
    keys.delete_span(Span::new(&delete.key, &delete.range_end), changes);
    let mut response = DeleteRangeResponse::default();
    for change in &changes[first..] {
        response.deleted += 1;
        if delete.prev_kv
            && let Some(before) = &change.before
        {
            response.prev_kvs.push(before.key_value(&change.key));
        }
    }
    response
}

/// The branches that a transaction and its nested ones take. etcd decides all of them before the
/// first operation runs, so a nested compare does not see what its parent writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) succeeded: bool,
    /// One for each nested transaction of the branch, in order.
    nested: Vec<Path>,
}

impl Path {
    pub(crate) fn choose(keys: &Keyspace, txn: &Txn) -> Path {
        let succeeded = txn.compare.iter().all(|compare| keys.holds(compare));
        let mut nested = Vec::new();
        for op in branch(txn, succeeded) {
            if let TxnOp::Txn(txn) = op {
                nested.push(Path::choose(keys, txn));
            }
        }
        Path { succeeded, nested }
    }

    /// The branches that an answer says were taken.
    pub(crate) fn claimed(txn: &Txn, response: &TxnResponse) -> Path {
        let ops = branch(txn, response.succeeded);
        let mut answers = response.responses.iter().filter_map(|response| match response {
            TxnOpResponse::Txn(response) => Some(response),
            _ => None,
        });
        let txns = ops.iter().filter_map(|op| match op {
            TxnOp::Txn(txn) => Some(txn),
            _ => None,
        });
        let nested = txns.map(|txn| match answers.next() {
            Some(response) => Path::claimed(txn, response),
            // An answer that lacks a nested one is wrong anyway.
            None => Path::claimed(txn, &TxnResponse::default()),
        });
        Path { succeeded: response.succeeded, nested: nested.collect() }
    }
}

/// The operations of a branch.
pub(crate) fn branch(txn: &Txn, succeeded: bool) -> &[TxnOp] {
    if succeeded { &txn.success } else { &txn.failure }
}

/// Checks everything a transaction will do, before it does anything.
pub(crate) fn check_txn(
    keys: &Keyspace,
    surroundings: &impl Surroundings,
    txn: &Txn,
    path: &Path,
    current: i64,
) -> Result<(), Refusal> {
    let mut nested = path.nested.iter();
    for op in branch(txn, path.succeeded) {
        match op {
            TxnOp::Put(put) => check_put(keys, surroundings, put)?,
            TxnOp::Range(range) => check_range(surroundings, range, current)?,
            TxnOp::DeleteRange(_) => {}
            TxnOp::Txn(txn) => {
                let path = nested.next().expect("one path for each nested transaction");
                check_txn(keys, surroundings, txn, path, current)?;
            }
        }
    }
    Ok(())
}

/// Runs a checked transaction, which writes at `revision` if it writes.
pub(crate) fn txn(
    keys: &mut Keyspace,
    surroundings: &impl Surroundings,
    txn: &Txn,
    path: &Path,
    revision: i64,
    changes: &mut Vec<Change>,
) -> TxnResponse {
    let mut response = TxnResponse { succeeded: path.succeeded, responses: Vec::new() };
    let mut nested = path.nested.iter();
    for op in branch(txn, path.succeeded) {
        response.responses.push(match op {
            TxnOp::Put(op) => TxnOpResponse::Put(put(keys, op, revision, changes)),
            TxnOp::DeleteRange(op) => TxnOpResponse::DeleteRange(delete_range(keys, op, changes)),
            TxnOp::Range(op) if op.revision > 0 => {
                TxnOpResponse::Range(surroundings.range_then(op))
            }
            TxnOp::Range(op) => TxnOpResponse::Range(range(keys, op)),
            TxnOp::Txn(op) => {
                let path = nested.next().expect("one path for each nested transaction");
                TxnOpResponse::Txn(self::txn(keys, surroundings, op, path, revision, changes))
            }
        });
    }
    response
}

/// Whether an answer to a range says what is expected, which tells leases.
pub(crate) fn same_range(range: &Range, expected: &RangeResponse, got: &RangeResponse) -> bool {
    if !range.keys_only {
        return expected == got;
    }
    expected.count == got.count
        && expected.more == got.more
        && expected.kvs.len() == got.kvs.len()
        && expected.kvs.iter().zip(&got.kvs).all(|(expected, got)| {
            let same = KeyValue { lease: got.lease, ..expected.clone() } == *got;
            same && same_lease_of_key(expected.lease, got.lease)
        })
}

/// Whether an answer that was to tell keys only may tell this lease: servers differ in whether it
/// carries leases at all (etcd 3.7 answers from its index, which knows none, older ones do not), and
/// both keep the promise.
pub(crate) fn same_lease_of_key(expected: i64, got: i64) -> bool {
    got == 0 || got == expected
}

/// Whether two answers to a transaction say the same; reads of the past are left to `past`.
pub(crate) fn same_txn(
    txn: &Txn,
    expected: &TxnResponse,
    got: &TxnResponse,
    past: &mut impl FnMut(&Range, &RangeResponse, &RangeResponse) -> bool,
) -> bool {
    if expected.succeeded != got.succeeded || expected.responses.len() != got.responses.len() {
        return false;
    }
    let ops = branch(txn, expected.succeeded);
    ops.iter().zip(&expected.responses).zip(&got.responses).all(|((op, expected), got)| {
        match (op, expected, got) {
            (TxnOp::Put(_), TxnOpResponse::Put(expected), TxnOpResponse::Put(got)) => {
                expected == got
            }
            (
                TxnOp::DeleteRange(_),
                TxnOpResponse::DeleteRange(expected),
                TxnOpResponse::DeleteRange(got),
            ) => expected == got,
            (TxnOp::Range(range), TxnOpResponse::Range(expected), TxnOpResponse::Range(got)) => {
                if range.revision > 0 {
                    past(range, expected, got)
                } else {
                    same_range(range, expected, got)
                }
            }
            (TxnOp::Txn(txn), TxnOpResponse::Txn(expected), TxnOpResponse::Txn(got)) => {
                same_txn(txn, expected, got, past)
            }
            _ => false,
        }
    })
}
