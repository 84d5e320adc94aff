//! Refusals that the request alone decides: etcd makes them before a request is proposed.

use std::collections::BTreeSet;

use super::refusal::Refusal;
use crate::history::record::{Compare, Put, Range, Request, Txn, TxnOp};
use crate::history::text::Text;

/// etcd's cap on a lease: about 285 years.
const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// The refusal that `request` earns whatever the store holds.
pub(crate) fn validate(request: &Request) -> Result<(), Refusal> {
    match request {
        Request::Put(put) => validate_put(put),
        Request::Range(range) => validate_range(range),
        Request::DeleteRange(delete) => validate_key(&delete.key),
        Request::Txn(txn) => {
            validate_txn(txn)?;
            validate_overlaps(&txn.success)?;
            validate_overlaps(&txn.failure)?;
            Ok(())
        }
        Request::LeaseGrant(grant) if grant.ttl > LEASE_TTL_SECONDS_MAX => {
            Err(Refusal::LeaseTtlTooLarge)
        }
        Request::LeaseGrant(_)
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::Compact(_) => Ok(()),
    }
}

fn validate_key(key: &Text) -> Result<(), Refusal> {
    if key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

fn validate_range(range: &Range) -> Result<(), Refusal> {
    validate_key(&range.key)
}

fn validate_put(put: &Put) -> Result<(), Refusal> {
    validate_key(&put.key)?;
    if put.ignore_value && !put.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

fn validate_txn(txn: &Txn) -> Result<(), Refusal> {
    for Compare { key, .. } in &txn.compare {
        validate_key(key)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Put(put) => validate_put(put)?,
            TxnOp::Range(range) => validate_range(range)?,
            TxnOp::DeleteRange(delete) => validate_key(&delete.key)?,
            TxnOp::Txn(txn) => validate_txn(txn)?,
        }
    }
    Ok(())
}

/// The keys that a list of operations puts, and the ranges it deletes, as far as they matter for
/// overlaps.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a Text>,
    deletes: Vec<(&'a Text, &'a Text)>,
}

impl<'a> Writes<'a> {
    fn deletes_contain(&self, key: &Text) -> bool {
        self.deletes.iter().any(|(first, end)| {
            if end.is_empty() { *first == key } else { *first <= key && key < *end }
        })
    }

    fn put(&mut self, key: &'a Text, safe: &BTreeSet<&'a Text>) -> Result<(), Refusal> {
        if self.deletes_contain(key) || (!self.puts.insert(key) && !safe.contains(key)) {
            return Err(Refusal::DuplicateKey);
        }
        Ok(())
    }
}

/// A key may be written once. The two branches of a nested transaction exclude each other, so both
/// may write it.
fn validate_overlaps(ops: &[TxnOp]) -> Result<Writes<'_>, Refusal> {
    let mut writes = Writes::default();
    for op in ops {
        if let TxnOp::DeleteRange(delete) = op {
            writes.deletes.push((&delete.key, &delete.range_end));
        }
    }
    for op in ops {
        if let TxnOp::Txn(txn) = op {
            let success = validate_overlaps(&txn.success)?;
            let failure = validate_overlaps(&txn.failure)?;
            for key in &success.puts {
                writes.put(key, &BTreeSet::new())?;
            }
            for key in &failure.puts {
                writes.put(key, &success.puts)?;
            }
            writes.deletes.extend(success.deletes);
            writes.deletes.extend(failure.deletes);
        }
    }
    for op in ops {
        if let TxnOp::Put(put) = op {
            writes.put(&put.key, &BTreeSet::new())?;
        }
    }
    Ok(writes)
}
