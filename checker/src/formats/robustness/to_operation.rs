//! An operation of the report as one of ours.

use super::changes::Changes;
use super::model::{
    self, Condition, DELETE_STEP, PUT_STEP, RANGE_STEP, Step, StepResult, TxnRequest, TxnResponse,
};
use super::operations_file::Line;
use super::values;
use crate::history::record::{
    Compact, Compare, CompareResult, CompareTarget, DeleteRange, DeleteRangeResponse, Failure,
    KeyValue, LeaseGrant, LeaseId, Operation, Outcome, Put, PutResponse, Range, RangeResponse,
    Request, Response, ResponseBody, Txn, TxnOp, TxnOpResponse, TxnResponse as TxnAnswer,
};
use crate::history::text::Text;
use crate::model::refusal::Refusal;

/// Time to live that etcd's robustness tests ask for.
const LEASE_TTL_SECONDS: i64 = 7200;

/// What an operation became.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// One of ours. If its outcome is unknown, its process must not be used again.
    Operation(Box<Operation>),
    /// Nothing, and why.
    LeftOut(&'static str),
}

/// Tells an operation of `process` at `member`; why not, if it makes no sense.
pub(super) fn tell(
    line: &Line,
    process: u64,
    member: u32,
    changes: &Changes,
) -> Result<Told, String> {
    let input = &line.operation.input;
    let output = &line.operation.output;
    let request = match input.kind.as_str() {
        "range" => range_request(needed(input.range.as_ref())?),
        "txn" => txn_request(needed(input.txn.as_ref())?, output.txn.as_ref())?,
        "leaseGrant" => {
            let id = needed(input.lease_grant.as_ref())?.id;
            if id == 0 {
                return Ok(Told::LeftOut("lease grants whose answer, and so whose id, was lost"));
            }
            Request::LeaseGrant(LeaseGrant { id, ttl: LEASE_TTL_SECONDS })
        }
        "leaseRevoke" => {
            Request::LeaseRevoke(LeaseId { id: needed(input.lease_revoke.as_ref())?.id })
        }
        "compact" => {
            Request::Compact(Compact { revision: needed(input.compact.as_ref())?.revision })
        }
        "defragment" => return Ok(Told::LeftOut("defragmentations")),
        other => return Err(format!("unknown Type {other:?}")),
    };
    let Some(outcome) = outcome(&request, input, output, changes)? else {
        return Ok(Told::LeftOut("reads of which not all metadata are known"));
    };
    let is_known = !matches!(outcome, Outcome::Unknown(_));
    Ok(Told::Operation(Box::new(Operation {
        process,
        member,
        call_ns: line.call_ns,
        return_ns: is_known.then_some(line.return_ns),
        request,
        outcome,
    })))
}

fn needed<T>(part: Option<&T>) -> Result<&T, String> {
    part.ok_or_else(|| "the request of this Type is missing".into())
}

fn range_request(range: &model::RangeRequest) -> Request {
    Request::Range(Range {
        key: Text::from(&range.start),
        range_end: values::range_end(&range.end),
        revision: range.revision,
        limit: range.limit,
        keys_only: range.keys_only,
        ..Range::default()
    })
}

/// A put or delete is a transaction of one step to the report.
fn txn_request(txn: &TxnRequest, answer: Option<&TxnResponse>) -> Result<Request, String> {
    let conditions = txn.conditions.as_deref().unwrap_or_default();
    let success = txn.operations_on_success.as_deref().unwrap_or_default();
    let failure = txn.operations_on_failure.as_deref().unwrap_or_default();
    let as_one = conditions.is_empty()
        && failure.is_empty()
        && answer.is_none_or(|answer| {
            !answer.failure && answer.results.as_ref().is_some_and(|results| results.len() == 1)
        });
    match success {
        [step] if as_one && step.kind == PUT_STEP => Ok(Request::Put(put(step))),
        [step] if as_one && step.kind == DELETE_STEP => Ok(Request::DeleteRange(delete(step))),
        _ => Ok(Request::Txn(Txn {
            compare: conditions.iter().map(compare).collect(),
            success: success.iter().map(txn_op).collect::<Result<_, _>>()?,
            failure: failure.iter().map(txn_op).collect::<Result<_, _>>()?,
        })),
    }
}

fn compare(condition: &Condition) -> Compare {
    let target = if condition.expected_version > 0 {
        CompareTarget::Version(condition.expected_version)
    } else {
        CompareTarget::Mod(condition.expected_revision)
    };
    Compare {
        key: Text::from(&condition.key),
        range_end: Text::default(),
        result: CompareResult::Equal,
        target,
    }
}

fn txn_op(step: &Step) -> Result<TxnOp, String> {
    match step.kind.as_str() {
        PUT_STEP => Ok(TxnOp::Put(put(step))),
        DELETE_STEP => Ok(TxnOp::DeleteRange(delete(step))),
        RANGE_STEP => Ok(TxnOp::Range(Range {
            key: Text::from(&step.range.start),
            range_end: values::range_end(&step.range.end),
            limit: step.range.limit,
            keys_only: step.range.keys_only,
            ..Range::default()
        })),
        other => Err(format!("unknown Type {other:?} in a transaction")),
    }
}

fn put(step: &Step) -> Put {
    let put = &step.put;
    Put {
        key: Text::from(&put.key),
        value: values::read(&put.value),
        lease: put.lease,
        ..Put::default()
    }
}

fn delete(step: &Step) -> DeleteRange {
    DeleteRange { key: Text::from(&step.delete.key), ..DeleteRange::default() }
}

/// What came back; `None` of a read that cannot be told.
fn outcome(
    request: &Request,
    input: &model::Request,
    output: &model::Response,
    changes: &Changes,
) -> Result<Option<Outcome>, String> {
    if !output.client_error.is_empty() {
        return Ok(Some(Outcome::Fail(refusal(&output.client_error))));
    }
    let is_read = is_read(request);
    if !output.is_answer() {
        let failure = refusal(&output.error);
        // A read has no effect, so its stream goes on.
        return Ok(Some(if is_read { Outcome::Fail(failure) } else { Outcome::Unknown(failure) }));
    }
    let unknown = |message: &str| {
        Outcome::Unknown(Failure { code: "Unknown".into(), message: message.into() })
    };
    let body = match request {
        Request::Put(_) => Some(ResponseBody::Put(PutResponse::default())),
        Request::DeleteRange(_) => {
            let results = output.txn.as_ref().and_then(|txn| txn.results.as_deref());
            let deleted = results.and_then(|results| results.first()).map_or(0, |one| one.deleted);
            let answer = DeleteRangeResponse { deleted, prev_kvs: Vec::new() };
            Some(ResponseBody::DeleteRange(answer))
        }
        Request::Range(range) => {
            let got = output.range.as_ref().ok_or("a read without an answer or an error")?;
            let kvs = got.kvs.as_deref().unwrap_or_default();
            range_answer(range, kvs, got.count, changes).map(ResponseBody::Range)
        }
        Request::Txn(txn) => {
            let got = output.txn.as_ref().ok_or("a transaction without an answer or an error")?;
            txn_answer(txn, got, changes)?.map(ResponseBody::Txn)
        }
        Request::LeaseGrant(grant) => Some(ResponseBody::LeaseGrant { ttl: grant.ttl }),
        Request::LeaseRevoke(_) => Some(ResponseBody::LeaseRevoke),
        Request::Compact(_) => {
            return Ok(Some(unknown("compacted; the report does not tell at which revision")));
        }
        Request::LeaseKeepAlive(_) => return Err(format!("unknown Type {:?}", input.kind)),
    };
    Ok(match body {
        Some(body) => Some(Outcome::Ok(Response { revision: output.revision, body })),
        None if is_read => None,
        // What it wrote must not be left out.
        None => Some(unknown("answered; not all metadata of what it read are known")),
    })
}

fn is_read(request: &Request) -> bool {
    match request {
        Request::Range(_) => true,
        Request::Txn(txn) => {
            txn.success.iter().chain(&txn.failure).all(|op| matches!(op, TxnOp::Range(_)))
        }
        _ => false,
    }
}

/// An error as the checker knows it: etcd's model leaves out the server's name.
fn refusal(message: &str) -> Failure {
    let plain = Failure { code: "Unknown".into(), message: message.to_owned() };
    let full = Failure { code: "Unknown".into(), message: format!("etcdserver: {message}") };
    match Refusal::of(&plain).or_else(|| Refusal::of(&full)) {
        Some(refusal) => refusal.failure(),
        None => plain,
    }
}

fn range_answer(
    range: &Range,
    kvs: &[model::KeyValue],
    count: i64,
    changes: &Changes,
) -> Option<RangeResponse> {
    let kvs = kvs.iter().map(|kv| key_value(range, kv, changes));
    let kvs: Vec<KeyValue> = kvs.collect::<Option<_>>()?;
    let more = i64::try_from(kvs.len()).is_ok_and(|shown| shown < count);
    Some(RangeResponse { kvs, count, more })
}

fn key_value(range: &Range, kv: &model::KeyValue, changes: &Changes) -> Option<KeyValue> {
    let key = Text::from(&kv.key);
    let value = values::read(&kv.value);
    // Without its value a key is answered without its lease, too.
    let (create_revision, lease) = if range.keys_only {
        (changes.create_revision(&key, kv.mod_revision)?, 0)
    } else {
        let found = changes.complete(&key, &value, kv.mod_revision)?;
        (found.create_revision, found.lease)
    };
    let (mod_revision, version) = (kv.mod_revision, kv.version);
    Some(KeyValue { key, value, create_revision, mod_revision, version, lease })
}

fn txn_answer(
    txn: &Txn,
    got: &TxnResponse,
    changes: &Changes,
) -> Result<Option<TxnAnswer>, String> {
    let ran = if got.failure { &txn.failure } else { &txn.success };
    let results = got.results.as_deref().unwrap_or_default();
    if ran.len() != results.len() {
        return Err(format!("{} Results of {} operations", results.len(), ran.len()));
    }
    let responses = ran.iter().zip(results).map(|(op, result)| step_answer(op, result, changes));
    let Some(responses) = responses.collect::<Option<Vec<_>>>() else { return Ok(None) };
    Ok(Some(TxnAnswer { succeeded: !got.failure, responses }))
}

fn step_answer(op: &TxnOp, result: &StepResult, changes: &Changes) -> Option<TxnOpResponse> {
    Some(match op {
        TxnOp::Range(range) => {
            let kvs = result.kvs.as_deref().unwrap_or_default();
            TxnOpResponse::Range(range_answer(range, kvs, result.count, changes)?)
        }
        TxnOp::DeleteRange(_) => TxnOpResponse::DeleteRange(DeleteRangeResponse {
            deleted: result.deleted,
            prev_kvs: Vec::new(),
        }),
        TxnOp::Put(_) | TxnOp::Txn(_) => TxnOpResponse::Put(PutResponse::default()),
    })
}
