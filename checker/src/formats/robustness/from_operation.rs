//! One of our operations as one of the report.

use super::model::{
    CompactRequest, Condition, DELETE_STEP, DeleteOptions, KeyValue, Lease, Nothing, PUT_STEP,
    PutOptions, RANGE_STEP, RangeOptions, RangeRequest, RangeResponse, Request, Response, Step,
    StepResult, TxnRequest, TxnResponse,
};
use super::values;
use crate::history::record::{
    self, Compare, CompareResult, CompareTarget, DeleteRange, Operation, Outcome, Put, Range,
    ResponseBody, Txn, TxnOp, TxnOpResponse,
};
use crate::history::text::Text;
use crate::model::refusal::Refusal;

/// What an operation became.
#[derive(Debug)]
pub(super) enum Told {
    /// What the report says of it.
    Operation(Box<Request>, Box<Response>),
    /// Nothing, and why.
    LeftOut(&'static str),
    /// It may have changed the store, and the report has no words for it.
    Untellable(String),
}

/// The revision of an answer that says nothing of the store's.
const NO_REVISION: i64 = -1;

/// Tells an operation.
pub(super) fn tell(operation: &Operation) -> Told {
    let told = match &operation.outcome {
        Outcome::Fail(failure) => match (&operation.request, Refusal::of(failure)) {
            (record::Request::Compact(compact), Some(refusal)) => refused(*compact, refusal),
            _ => return Told::LeftOut("operations that were refused"),
        },
        Outcome::Unknown(failure) => {
            request(&operation.request).map(|request| (request, error(failure)))
        }
        Outcome::Ok(answer) => request(&operation.request).and_then(|request| {
            let mut told = response(&operation.request, &answer.body)?;
            told.member_id = format!("{:x}", u64::from(operation.member) + 1);
            told.revision = match answer.body {
                ResponseBody::Compact => NO_REVISION,
                _ => answer.revision,
            };
            Ok((request, told))
        }),
    };
    match told {
        Ok((request, response)) => Told::Operation(Box::new(request), Box::new(response)),
        Err(Unsaid::Read(what)) => Told::LeftOut(what),
        Err(Unsaid::Write(what)) if is_read(&operation.request) => Told::LeftOut(what.reason()),
        Err(Unsaid::Write(what)) => Told::Untellable(what.to_string()),
    }
}

/// Why the report has no words for something.
enum Unsaid {
    /// It only reads.
    Read(&'static str),
    /// It writes, unless all of its transaction only reads.
    Write(Word),
}

/// What the report has no word for.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Word {
    #[error("the report has no deletes of ranges")]
    DeleteRange,
    #[error("the report has no nested transactions")]
    NestedTxn,
    #[error("the report compares only mod revision and version, for equality, of one key")]
    Compare,
    #[error("the report has no ignore_value and no ignore_lease")]
    Ignore,
    #[error("the report has no key or short value that is not UTF-8")]
    Bytes,
    #[error("the report has no such read in a transaction")]
    Read,
}

impl Word {
    /// Why a transaction that only reads was left out.
    fn reason(self) -> &'static str {
        match self {
            Word::Compare => "read-only transactions with other compares",
            Word::NestedTxn => "read-only nested transactions",
            Word::Bytes => "reads of keys or short values that are not UTF-8",
            Word::DeleteRange | Word::Ignore | Word::Read => {
                "read-only transactions of other reads"
            }
        }
    }
}

impl From<Word> for Unsaid {
    fn from(word: Word) -> Unsaid {
        Unsaid::Write(word)
    }
}

fn is_read(request: &record::Request) -> bool {
    fn reads(ops: &[TxnOp]) -> bool {
        ops.iter().all(|op| match op {
            TxnOp::Range(_) => true,
            TxnOp::Txn(txn) => reads(&txn.success) && reads(&txn.failure),
            TxnOp::Put(_) | TxnOp::DeleteRange(_) => false,
        })
    }
    match request {
        record::Request::Range(_) => true,
        record::Request::Txn(txn) => reads(&txn.success) && reads(&txn.failure),
        _ => false,
    }
}

fn refused(compact: record::Compact, refusal: Refusal) -> Result<(Request, Response), Unsaid> {
    let client_error = match refusal {
        Refusal::Compacted => "mvcc: required revision has been compacted",
        Refusal::FutureRevision => "mvcc: required revision is a future revision",
        _ => return Err(Unsaid::Read("operations that were refused")),
    };
    let response = Response { client_error: client_error.into(), ..Response::default() };
    Ok((compact_request(compact), response))
}

fn error(failure: &record::Failure) -> Response {
    let error = if failure.message.is_empty() { &failure.code } else { &failure.message };
    // Without any text it would be taken for an answer.
    let error = if error.is_empty() { "unknown" } else { error };
    Response { error: error.to_owned(), ..Response::default() }
}

fn compact_request(compact: record::Compact) -> Request {
    Request {
        kind: "compact".into(),
        compact: Some(CompactRequest { revision: compact.revision }),
        ..Request::default()
    }
}

fn request(request: &record::Request) -> Result<Request, Unsaid> {
    Ok(match request {
        record::Request::Put(put) => one_step(put_step(put)?),
        record::Request::DeleteRange(delete) => one_step(delete_step(delete)?),
        record::Request::Txn(txn) => Request {
            kind: "txn".into(),
            txn: Some(TxnRequest {
                conditions: Some(txn.compare.iter().map(condition).collect::<Result<_, _>>()?),
                operations_on_success: Some(steps(&txn.success)?),
                operations_on_failure: Some(steps(&txn.failure)?),
            }),
            ..Request::default()
        },
        record::Request::Range(range) => {
            let RangeOptions { start, end, limit, keys_only } = range_options(range)?;
            let revision = range.revision;
            let told = RangeRequest { start, end, limit, keys_only, revision };
            Request { kind: "range".into(), range: Some(told), ..Request::default() }
        }
        record::Request::LeaseGrant(grant) => Request {
            kind: "leaseGrant".into(),
            lease_grant: Some(Lease { id: grant.id }),
            ..Request::default()
        },
        record::Request::LeaseRevoke(lease) => Request {
            kind: "leaseRevoke".into(),
            lease_revoke: Some(Lease { id: lease.id }),
            ..Request::default()
        },
        record::Request::Compact(compact) => compact_request(*compact),
        record::Request::LeaseKeepAlive(_) => return Err(Unsaid::Read("keep-alives of leases")),
    })
}

/// A put or delete is a transaction of one step.
fn one_step(step: Step) -> Request {
    let txn = TxnRequest { operations_on_success: Some(vec![step]), ..TxnRequest::default() };
    Request { kind: "txn".into(), txn: Some(txn), ..Request::default() }
}

fn steps(ops: &[TxnOp]) -> Result<Vec<Step>, Unsaid> {
    ops.iter()
        .map(|op| match op {
            TxnOp::Put(put) => put_step(put),
            TxnOp::DeleteRange(delete) => delete_step(delete),
            TxnOp::Range(range) => {
                if range.revision != 0 {
                    return Err(Word::Read.into());
                }
                let range = range_options(range).ok().ok_or(Word::Read)?;
                Ok(Step { kind: RANGE_STEP.into(), range, ..Step::default() })
            }
            TxnOp::Txn(_) => Err(Word::NestedTxn.into()),
        })
        .collect()
}

fn put_step(put: &Put) -> Result<Step, Unsaid> {
    if put.ignore_value || put.ignore_lease {
        return Err(Word::Ignore.into());
    }
    let put = PutOptions {
        key: key(&put.key)?,
        value: values::write(&put.value).ok_or(Word::Bytes)?,
        lease: put.lease,
    };
    Ok(Step { kind: PUT_STEP.into(), put, ..Step::default() })
}

fn delete_step(delete: &DeleteRange) -> Result<Step, Unsaid> {
    if !delete.range_end.is_empty() {
        return Err(Word::DeleteRange.into());
    }
    let delete = DeleteOptions { key: key(&delete.key)? };
    Ok(Step { kind: DELETE_STEP.into(), delete, ..Step::default() })
}

fn condition(compare: &Compare) -> Result<Condition, Unsaid> {
    if compare.result != CompareResult::Equal || !compare.range_end.is_empty() {
        return Err(Word::Compare.into());
    }
    let (expected_revision, expected_version) = match compare.target {
        CompareTarget::Mod(revision) => (revision, 0),
        CompareTarget::Version(version) if version > 0 => (0, version),
        // A key that is not there, in any of these words.
        CompareTarget::Version(0) | CompareTarget::Create(0) => (0, 0),
        CompareTarget::Version(_)
        | CompareTarget::Create(_)
        | CompareTarget::Value(_)
        | CompareTarget::Lease(_) => return Err(Word::Compare.into()),
    };
    Ok(Condition { key: key(&compare.key)?, expected_revision, expected_version })
}

fn range_options(range: &Range) -> Result<RangeOptions, Unsaid> {
    if range.serializable {
        return Err(Unsaid::Read("serializable reads"));
    }
    if range.count_only {
        return Err(Unsaid::Read("counts"));
    }
    // etcd's model shows the value all the same.
    if range.keys_only && range.range_end.is_empty() {
        return Err(Unsaid::Read("reads of single keys without their values"));
    }
    if range.limit < 0 || range.revision < 0 {
        return Err(Unsaid::Read("reads with a negative limit or revision"));
    }
    let end = match range.range_end.as_bytes() {
        b"\0" => values::LAST_TEXT.to_owned(),
        _ => key(&range.range_end)?,
    };
    let start = key(&range.key)?;
    Ok(RangeOptions { start, end, limit: range.limit, keys_only: range.keys_only })
}

fn key(text: &Text) -> Result<String, Unsaid> {
    values::key(text).ok_or_else(|| Word::Bytes.into())
}

fn response(request: &record::Request, body: &ResponseBody) -> Result<Response, Unsaid> {
    let mut told = Response::default();
    match (request, body) {
        (record::Request::Txn(txn), ResponseBody::Txn(answer)) => {
            told.txn = Some(TxnResponse {
                failure: !answer.succeeded,
                results: Some(results(txn, answer)?),
            });
        }
        (_, ResponseBody::Range(answer)) => {
            let kvs = Some(key_values(&answer.kvs)?);
            told.range = Some(RangeResponse { kvs, count: answer.count });
        }
        (_, ResponseBody::DeleteRange(answer)) => {
            let result = StepResult { deleted: answer.deleted, ..StepResult::default() };
            told.txn = Some(TxnResponse { failure: false, results: Some(vec![result]) });
        }
        (_, ResponseBody::LeaseGrant { .. }) => told.lease_grant = Some(Lease::default()),
        (_, ResponseBody::LeaseRevoke) => told.lease_revoke = Some(Nothing {}),
        (_, ResponseBody::Compact) => told.compact = Some(Nothing {}),
        // A put; that answers fit their requests was checked when they were read.
        _ => {
            let results = Some(vec![StepResult::default()]);
            told.txn = Some(TxnResponse { failure: false, results });
        }
    }
    Ok(told)
}

fn results(txn: &Txn, answer: &record::TxnResponse) -> Result<Vec<StepResult>, Unsaid> {
    let ran = if answer.succeeded { &txn.success } else { &txn.failure };
    let results = ran.iter().zip(&answer.responses).map(|(_, response)| match response {
        // A list that is empty is not one that is missing.
        TxnOpResponse::Range(answer) => {
            Ok(StepResult { kvs: Some(key_values(&answer.kvs)?), count: answer.count, deleted: 0 })
        }
        TxnOpResponse::DeleteRange(answer) => {
            Ok(StepResult { deleted: answer.deleted, ..StepResult::default() })
        }
        TxnOpResponse::Put(_) => Ok(StepResult::default()),
        TxnOpResponse::Txn(_) => Err(Word::NestedTxn.into()),
    });
    results.collect()
}

fn key_values(kvs: &[record::KeyValue]) -> Result<Vec<KeyValue>, Unsaid> {
    let told = kvs.iter().map(|kv| {
        Ok(KeyValue {
            key: key(&kv.key)?,
            value: values::write(&kv.value).ok_or(Word::Bytes)?,
            mod_revision: kv.mod_revision,
            version: kv.version,
        })
    });
    told.collect()
}
