//! Between the history's words and the wire's.
//!
//! Invariant: nothing is left out: what the wire carries of a key-value or an answer, the history
//! holds.

use prost::bytes::Bytes;
use rusd_checker::history::record::{
    Compare, CompareResult, CompareTarget, DeleteRange, DeleteRangeResponse, Event, EventKind,
    KeyValue, Put, PutResponse, Range, RangeResponse, Response, ResponseBody, Txn, TxnOp,
    TxnOpResponse, TxnResponse, WatchRequest,
};
use rusd_checker::history::text::Text;
use rusd_proto::etcdserverpb as pb;
use rusd_proto::etcdserverpb::compare::TargetUnion;
use rusd_proto::etcdserverpb::request_op::Request as RequestUnion;
use rusd_proto::etcdserverpb::response_op::Response as ResponseUnion;
use rusd_proto::mvccpb;
use tonic::Status;

fn bytes(text: &Text) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A put as it is sent.
pub fn put(put: &Put) -> pb::PutRequest {
    pb::PutRequest {
        key: bytes(&put.key),
        value: bytes(&put.value),
        lease: put.lease,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

/// A range as it is sent.
pub fn range(range: &Range) -> pb::RangeRequest {
    pb::RangeRequest {
        key: bytes(&range.key),
        range_end: bytes(&range.range_end),
        limit: range.limit,
        revision: range.revision,
        serializable: range.serializable,
        keys_only: range.keys_only,
        count_only: range.count_only,
        ..pb::RangeRequest::default()
    }
}

/// A delete range as it is sent.
pub fn delete_range(delete: &DeleteRange) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: bytes(&delete.key),
        range_end: bytes(&delete.range_end),
        prev_kv: delete.prev_kv,
    }
}

/// A transaction as it is sent.
pub fn txn(txn: &Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.compare.iter().map(compare).collect(),
        success: txn.success.iter().map(txn_op).collect(),
        failure: txn.failure.iter().map(txn_op).collect(),
    }
}

fn txn_op(op: &TxnOp) -> pb::RequestOp {
    let request = match op {
        TxnOp::Put(op) => RequestUnion::RequestPut(put(op)),
        TxnOp::Range(op) => RequestUnion::RequestRange(range(op)),
        TxnOp::DeleteRange(op) => RequestUnion::RequestDeleteRange(delete_range(op)),
        TxnOp::Txn(op) => RequestUnion::RequestTxn(txn(op)),
    };
    pb::RequestOp { request: Some(request) }
}

fn compare(compare: &Compare) -> pb::Compare {
    use pb::compare::{CompareResult as Result, CompareTarget as Target};
    let result = match compare.result {
        CompareResult::Equal => Result::Equal,
        CompareResult::Greater => Result::Greater,
        CompareResult::Less => Result::Less,
        CompareResult::NotEqual => Result::NotEqual,
    };
    let (target, union) = match &compare.target {
        CompareTarget::Version(version) => (Target::Version, TargetUnion::Version(*version)),
        CompareTarget::Create(revision) => (Target::Create, TargetUnion::CreateRevision(*revision)),
        CompareTarget::Mod(revision) => (Target::Mod, TargetUnion::ModRevision(*revision)),
        CompareTarget::Value(value) => (Target::Value, TargetUnion::Value(bytes(value))),
        CompareTarget::Lease(lease) => (Target::Lease, TargetUnion::Lease(*lease)),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: bytes(&compare.key),
        range_end: bytes(&compare.range_end),
        target_union: Some(union),
    }
}

/// The creation of a watch as it is sent.
pub fn watch_create(watch: &WatchRequest) -> pb::WatchCreateRequest {
    use pb::watch_create_request::FilterType;
    let mut filters = Vec::new();
    if watch.no_put {
        filters.push(FilterType::Noput.into());
    }
    if watch.no_delete {
        filters.push(FilterType::Nodelete.into());
    }
    pb::WatchCreateRequest {
        key: bytes(&watch.key),
        range_end: bytes(&watch.range_end),
        start_revision: watch.start_revision,
        prev_kv: watch.prev_kv,
        filters,
        ..pb::WatchCreateRequest::default()
    }
}

/// A key-value as it came.
pub fn key_value(kv: mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: Text::from(&kv.key),
        value: Text::from(&kv.value),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

/// An event as it came.
pub fn event(event: mvccpb::Event) -> Event {
    let kind = if event.r#type() == mvccpb::event::EventType::Delete {
        EventKind::Delete
    } else {
        EventKind::Put
    };
    let kv = event.kv.map(key_value).unwrap_or_default();
    Event { kind, kv, prev_kv: event.prev_kv.map(key_value) }
}

/// Store revision of a header; 0 if there is none.
pub fn revision(header: Option<&pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

type Answered = Result<Response, Status>;

fn put_body(answer: pb::PutResponse) -> PutResponse {
    PutResponse { prev_kv: answer.prev_kv.map(key_value) }
}

fn range_body(answer: pb::RangeResponse) -> RangeResponse {
    let kvs = answer.kvs.into_iter().map(key_value).collect();
    RangeResponse { kvs, count: answer.count, more: answer.more }
}

fn delete_body(answer: pb::DeleteRangeResponse) -> DeleteRangeResponse {
    let prev_kvs = answer.prev_kvs.into_iter().map(key_value).collect();
    DeleteRangeResponse { deleted: answer.deleted, prev_kvs }
}

fn txn_body(answer: pb::TxnResponse) -> Result<TxnResponse, Status> {
    let mut responses = Vec::with_capacity(answer.responses.len());
    for response in answer.responses {
        responses.push(match response.response {
            Some(ResponseUnion::ResponsePut(answer)) => TxnOpResponse::Put(put_body(answer)),
            Some(ResponseUnion::ResponseRange(answer)) => TxnOpResponse::Range(range_body(answer)),
            Some(ResponseUnion::ResponseDeleteRange(answer)) => {
                TxnOpResponse::DeleteRange(delete_body(answer))
            }
            Some(ResponseUnion::ResponseTxn(answer)) => TxnOpResponse::Txn(txn_body(answer)?),
            None => return Err(Status::unknown("an operation of the transaction has no answer")),
        });
    }
    Ok(TxnResponse { succeeded: answer.succeeded, responses })
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "every answer is made alike, and some can be malformed"
)]
fn respond(header: Option<pb::ResponseHeader>, body: ResponseBody) -> Answered {
    Ok(Response { revision: revision(header.as_ref()), body })
}

pub(crate) fn put_response(mut answer: pb::PutResponse) -> Answered {
    respond(answer.header.take(), ResponseBody::Put(put_body(answer)))
}

pub(crate) fn range_response(mut answer: pb::RangeResponse) -> Answered {
    respond(answer.header.take(), ResponseBody::Range(range_body(answer)))
}

pub(crate) fn delete_range_response(mut answer: pb::DeleteRangeResponse) -> Answered {
    respond(answer.header.take(), ResponseBody::DeleteRange(delete_body(answer)))
}

pub(crate) fn txn_response(mut answer: pb::TxnResponse) -> Answered {
    respond(answer.header.take(), ResponseBody::Txn(txn_body(answer)?))
}

pub(crate) fn compact_response(answer: pb::CompactionResponse) -> Answered {
    respond(answer.header, ResponseBody::Compact)
}

pub(crate) fn grant_response(answer: pb::LeaseGrantResponse) -> Answered {
    if !answer.error.is_empty() {
        return Err(Status::unknown(answer.error));
    }
    respond(answer.header, ResponseBody::LeaseGrant { ttl: answer.ttl })
}

pub(crate) fn revoke_response(answer: pb::LeaseRevokeResponse) -> Answered {
    respond(answer.header, ResponseBody::LeaseRevoke)
}

pub(crate) fn keep_alive_response(answer: pb::LeaseKeepAliveResponse) -> Answered {
    respond(answer.header, ResponseBody::LeaseKeepAlive { ttl: answer.ttl })
}
