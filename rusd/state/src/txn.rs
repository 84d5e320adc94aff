//! Transactions: compare, then one of two lists of operations.
//!
//! As in etcd, three passes: `choose` decides every branch, nested ones too, on the state before
//! the transaction; `check` refuses what cannot be done, before the first change; `execute`
//! cannot fail but for the engine. Reads see what earlier operations of the transaction wrote.

use std::cmp::Ordering;

use rusd_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use rusd_proto::etcdserverpb::request_op::Request;
use rusd_proto::etcdserverpb::response_op::Response;
use rusd_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
    RangeResponse, RequestOp, ResponseOp, TxnRequest, TxnResponse,
};
use rusd_proto::mvccpb::KeyValue;

use crate::error::{ApplyError, ReadError};
use crate::lease::lessor::Lessor;
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::read::{self, Scan, Source, Want};
use crate::mvcc::write::WriteTxn;
use crate::planted::{Bug, is_planted};
use crate::storage::StorageError;

/// Why a transaction was not done: refused, or the engine failed.
#[derive(Debug)]
pub(crate) enum TxnError {
    /// The replicated answer.
    Rejected(ApplyError),
    /// This member is broken.
    Storage(StorageError),
}

impl From<StorageError> for TxnError {
    fn from(error: StorageError) -> Self {
        TxnError::Storage(error)
    }
}

impl From<ApplyError> for TxnError {
    fn from(error: ApplyError) -> Self {
        TxnError::Rejected(error)
    }
}

/// The newest and the oldest readable revision, as a transaction found them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// The newest.
    pub(crate) current: i64,
    /// The oldest.
    pub(crate) compact: i64,
}

/// The transaction only reads, whichever way it goes. A nested transaction counts as a write.
pub fn is_read_only(request: &TxnRequest) -> bool {
    let is_range = |op: &RequestOp| matches!(op.request, Some(Request::RequestRange(_)));
    request.success.iter().chain(&request.failure).all(is_range)
}

/// Decides every branch, in the order in which [`execute`] comes to them.
pub(crate) fn choose(
    source: &impl Source,
    request: &TxnRequest,
    current: i64,
    branches: &mut Vec<bool>,
) -> Result<(), StorageError> {
    let mut succeeded = true;
    for compare in &request.compare {
        if !holds(source, compare, current)? {
            succeeded = false;
            break;
        }
    }
    branches.push(succeeded);
    for op in branch(request, succeeded) {
        if let Some(Request::RequestTxn(nested)) = &op.request {
            choose(source, nested, current, branches)?;
        }
    }
    Ok(())
}

/// Refuses what cannot be done in the chosen branches.
pub(crate) fn check(
    source: &impl Source,
    lessor: &Lessor,
    request: &TxnRequest,
    window: Window,
    branches: &mut impl Iterator<Item = bool>,
) -> Result<(), TxnError> {
    for op in branch(request, next(branches)) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(range, window)?,
            Some(Request::RequestPut(put)) => check_put(source, lessor, put, window.current)?,
            Some(Request::RequestTxn(nested)) => {
                check(source, lessor, nested, window, branches)?;
            }
            Some(Request::RequestDeleteRange(_)) | None => {}
        }
    }
    Ok(())
}

/// Does the chosen branches.
pub(crate) fn execute(
    write: &mut WriteTxn<'_>,
    request: &TxnRequest,
    branches: &mut impl Iterator<Item = bool>,
    after_each: &mut impl FnMut(&mut WriteTxn<'_>),
) -> Result<TxnResponse, StorageError> {
    let succeeded = next(branches);
    let mut responses = Vec::new();
    for op in branch(request, succeeded) {
        let response = match &op.request {
            None => None,
            Some(Request::RequestRange(range)) => {
                Some(Response::ResponseRange(range_in(write, range)?))
            }
            Some(Request::RequestPut(put)) => Some(Response::ResponsePut(put_in(write, put)?)),
            Some(Request::RequestDeleteRange(delete)) => {
                Some(Response::ResponseDeleteRange(delete_in(write, delete)?))
            }
            Some(Request::RequestTxn(nested)) => {
                let nested = execute(write, nested, branches, after_each)?;
                Some(Response::ResponseTxn(nested))
            }
        };
        responses.push(ResponseOp { response });
        after_each(write);
    }
    // etcd sets the revision in the outermost header only.
    Ok(TxnResponse { header: Some(read::header(0)), succeeded, responses })
}

/// Does a transaction that only reads, at one revision.
pub(crate) fn execute_read_only(
    source: &impl Source,
    request: &TxnRequest,
    window: Window,
) -> Result<TxnResponse, ReadError> {
    let mut branches = Vec::new();
    choose(source, request, window.current, &mut branches)?;
    let succeeded = branches[0];
    let ranges = || {
        branch(request, succeeded).iter().filter_map(|op| match &op.request {
            Some(Request::RequestRange(range)) => Some(range),
            _ => None,
        })
    };
    for range in ranges() {
        check_range(range, window).map_err(|error| match error {
            ApplyError::Compacted => ReadError::Compacted { compact: window.compact },
            _ => ReadError::FutureRevision { current: window.current },
        })?;
    }
    let responses = ranges().map(|range| {
        let response = Some(Response::ResponseRange(range_at(source, range, window.current)?));
        Ok(ResponseOp { response })
    });
    let responses = responses.collect::<Result<_, StorageError>>()?;
    Ok(TxnResponse { header: Some(read::header(window.current)), succeeded, responses })
}

/// Writes a key as a request asks; it has passed [`check_put`].
pub(crate) fn put_in(
    write: &mut WriteTxn<'_>,
    request: &PutRequest,
) -> Result<PutResponse, StorageError> {
    let needs_prev = request.prev_kv || request.ignore_value || request.ignore_lease;
    let prev = if needs_prev { read::one(write, &request.key, write.current())? } else { None };
    let value = match &prev {
        Some(prev) if request.ignore_value => &prev.value,
        _ => &request.value,
    };
    let lease = match &prev {
        Some(prev) if request.ignore_lease => prev.lease,
        _ => request.lease,
    };
    write.put(&request.key, value, lease);
    Ok(PutResponse {
        header: Some(read::header(write.current())),
        prev_kv: prev.filter(|_| request.prev_kv).map(|kv| KeyValue::clone(&kv)),
    })
}

/// Deletes keys as a request asks.
pub(crate) fn delete_in(
    write: &mut WriteTxn<'_>,
    request: &DeleteRangeRequest,
) -> Result<DeleteRangeResponse, StorageError> {
    let range = KeyRange::new(&request.key, &request.range_end);
    let mut prev_kvs = Vec::new();
    if request.prev_kv {
        let found = Scan::new(range, write.current(), Want::All).run(write)?;
        prev_kvs = found.kvs.iter().map(|kv| KeyValue::clone(kv)).collect();
    }
    let deleted = write.delete_range(&range);
    Ok(DeleteRangeResponse { header: Some(read::header(write.current())), deleted, prev_kvs })
}

/// Refuses a put whose lease does not exist, or that keeps what is not there.
pub(crate) fn check_put(
    source: &impl Source,
    lessor: &Lessor,
    request: &PutRequest,
    current: i64,
) -> Result<(), TxnError> {
    if request.lease != 0 && !lessor.contains(request.lease) {
        return Err(ApplyError::LeaseNotFound.into());
    }
    if request.ignore_value || request.ignore_lease {
        let range = KeyRange::One(&request.key);
        if Scan::new(range, current, Want::Count).run(source)?.count == 0 {
            return Err(ApplyError::KeyNotFound.into());
        }
    }
    Ok(())
}

fn check_range(request: &RangeRequest, window: Window) -> Result<(), ApplyError> {
    match request.revision {
        0 => Ok(()),
        revision if revision > window.current => Err(ApplyError::FutureRevision),
        revision if revision < window.compact => Err(ApplyError::Compacted),
        _ => Ok(()),
    }
}

fn range_in(write: &WriteTxn<'_>, request: &RangeRequest) -> Result<RangeResponse, StorageError> {
    range_at(write, request, write.current())
}

/// Reads a range whose revision was checked.
fn range_at(
    source: &impl Source,
    request: &RangeRequest,
    current: i64,
) -> Result<RangeResponse, StorageError> {
    let main = if request.revision <= 0 { current } else { request.revision };
    let found = Scan::of_request(request, main).run(source)?;
    Ok(read::response(request, current, found))
}

fn branch(request: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded { &request.success } else { &request.failure }
}

fn next(branches: &mut impl Iterator<Item = bool>) -> bool {
    branches.next().expect("every branch was chosen before")
}

/// Every key of the compare's range satisfies it. Where there is no key, it is compared as if all
/// its numbers were 0; a value then never compares.
fn holds(source: &impl Source, compare: &Compare, current: i64) -> Result<bool, StorageError> {
    let range = KeyRange::new(&compare.key, &compare.range_end);
    let is_value = compare.target == i32::from(CompareTarget::Value);
    let want = if is_value { Want::All } else { Want::Metadata };
    let found = Scan::new(range, current, want).run(source)?;
    if found.kvs.is_empty() {
        let compares = !is_value || is_planted(Bug::MissingValueCompares);
        return Ok(compares && kv_holds(compare, &KeyValue::default()));
    }
    Ok(found.kvs.iter().all(|kv| kv_holds(compare, kv)))
}

fn kv_holds(compare: &Compare, kv: &KeyValue) -> bool {
    // An operand of another kind than the target counts as 0 or empty, as in etcd.
    let operand = |pick: fn(&TargetUnion) -> Option<i64>| {
        compare.target_union.as_ref().and_then(pick).unwrap_or(0)
    };
    let ordering = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => match &compare.target_union {
            Some(TargetUnion::Value(value)) => kv.value.cmp(value),
            _ => kv.value[..].cmp(&[]),
        },
        Ok(CompareTarget::Create) => kv.create_revision.cmp(&operand(|union| match union {
            TargetUnion::CreateRevision(revision) => Some(*revision),
            _ => None,
        })),
        Ok(CompareTarget::Mod) => kv.mod_revision.cmp(&operand(|union| match union {
            TargetUnion::ModRevision(revision) => Some(*revision),
            _ => None,
        })),
        Ok(CompareTarget::Version) => kv.version.cmp(&operand(|union| match union {
            TargetUnion::Version(version) => Some(*version),
            _ => None,
        })),
        Ok(CompareTarget::Lease) => kv.lease.cmp(&operand(|union| match union {
            TargetUnion::Lease(lease) => Some(*lease),
            _ => None,
        })),
        // etcd does not compare what it does not know.
        Err(_unknown) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering == Ordering::Equal,
        Ok(CompareResult::NotEqual) => ordering != Ordering::Equal,
        Ok(CompareResult::Greater) => ordering == Ordering::Greater,
        Ok(CompareResult::Less) => ordering == Ordering::Less,
        Err(_unknown) => true,
    }
}
