//! Short text of a history's lines, as violations name them.

use std::fmt::Write as _;

use crate::history::record::{
    Event, EventKind, KeyValue, Outcome, Put, Range, RangeResponse, Request, Response,
    ResponseBody, Txn, TxnOp, TxnOpResponse, TxnResponse, WatchBody,
};
use crate::history::text::Text;
use crate::history::{FinalLine, OperationLine, WatchLine};
use crate::verdict::Named;

/// Items of a list that are written out.
const LISTED_MAX: usize = 8;
/// Bytes of a key or value that are written out.
const TEXT_BYTES_MAX: usize = 48;

/// An operation: who, when, what, and the answer.
pub(crate) fn operation(line: &OperationLine) -> Named {
    let operation = &line.operation;
    let returned = match operation.return_ns {
        Some(ns) => seconds(ns),
        None => "?".into(),
    };
    let text = format!(
        "process {} on member {} [{} .. {returned}] {} -> {}",
        operation.process,
        operation.member,
        seconds(operation.call_ns),
        request(&operation.request),
        outcome(&operation.outcome),
    );
    Named { line: line.line, text }
}

/// A member's final state.
pub(crate) fn final_state(line: &FinalLine) -> Named {
    let state = &line.state;
    let text = format!(
        "final state of member {} [{} .. {}]: {} keys @{}",
        state.member,
        seconds(state.call_ns),
        seconds(state.return_ns),
        state.kvs.len(),
        state.revision
    );
    Named { line: line.line, text }
}

/// A watch response.
pub(crate) fn watch(line: &WatchLine) -> Named {
    let response = &line.response;
    let text = format!(
        "watch {} on member {} @{}: {}",
        response.watch,
        response.member,
        response.revision,
        watch_body(&response.body)
    );
    Named { line: line.line, text }
}

/// What a watch response says.
pub(crate) fn watch_body(body: &WatchBody) -> String {
    match body {
        WatchBody::Created(request) => format!(
            "created {} from revision {}",
            span(&request.key, &request.range_end),
            request.start_revision
        ),
        WatchBody::Events { events, .. } => list(events, event),
        WatchBody::Digests(short) => match short.revisions() {
            Some((first, last)) => {
                format!("{} events of revisions {first} to {last}, told in short", short.count())
            }
            None => "no events".into(),
        },
        WatchBody::Progress => "progress".into(),
        WatchBody::Canceled { reason, compact_revision } => {
            format!("canceled ({reason}), compact revision {compact_revision}")
        }
        WatchBody::Closed { by_client: true } => "closed by the client".into(),
        WatchBody::Closed { by_client: false } => "stream broke".into(),
    }
}

/// A watch event.
pub(crate) fn event(event: &Event) -> String {
    match event.kind {
        EventKind::Put => format!("put {}", key_value(&event.kv)),
        EventKind::Delete => format!("delete {}@{}", short(&event.kv.key), event.kv.mod_revision),
    }
}

/// A key-value with its metadata.
pub(crate) fn key_value(kv: &KeyValue) -> String {
    let mut text = format!(
        "{}={}@{} (created {}, version {}",
        short(&kv.key),
        short(&kv.value),
        kv.mod_revision,
        kv.create_revision,
        kv.version
    );
    if kv.lease != 0 {
        write!(text, ", lease {}", kv.lease).expect("a string takes everything");
    }
    text.push(')');
    text
}

/// A request.
pub(crate) fn request(request: &Request) -> String {
    match request {
        Request::Put(put) => self::put(put),
        Request::Range(range) => self::range(range),
        Request::DeleteRange(delete) => {
            format!("delete {}", span(&delete.key, &delete.range_end))
        }
        Request::Txn(txn) => self::txn(txn),
        Request::LeaseGrant(grant) => format!("grant lease {} for {} s", grant.id, grant.ttl),
        Request::LeaseRevoke(lease) => format!("revoke lease {}", lease.id),
        Request::LeaseKeepAlive(lease) => format!("keep lease {} alive", lease.id),
        Request::Compact(compact) => format!("compact {}", compact.revision),
    }
}

fn put(put: &Put) -> String {
    let mut text = format!("put {}={}", short(&put.key), short(&put.value));
    if put.lease != 0 {
        write!(text, " lease {}", put.lease).expect("a string takes everything");
    }
    for (set, name) in [(put.ignore_value, " ignore_value"), (put.ignore_lease, " ignore_lease")] {
        if set {
            text.push_str(name);
        }
    }
    text
}

fn range(range: &Range) -> String {
    let mut text = format!("range {}", span(&range.key, &range.range_end));
    if range.revision > 0 {
        write!(text, " at {}", range.revision).expect("a string takes everything");
    }
    if range.limit > 0 {
        write!(text, " limit {}", range.limit).expect("a string takes everything");
    }
    if range.serializable {
        text.push_str(" serializable");
    }
    text
}

fn txn(txn: &Txn) -> String {
    let ops = |ops: &Vec<TxnOp>| {
        list(ops, |op| match op {
            TxnOp::Put(put) => self::put(put),
            TxnOp::Range(range) => self::range(range),
            TxnOp::DeleteRange(delete) => {
                format!("delete {}", span(&delete.key, &delete.range_end))
            }
            TxnOp::Txn(txn) => self::txn(txn),
        })
    };
    let compares = list(&txn.compare, |compare| {
        format!(
            "{} {:?} {:?}",
            span(&compare.key, &compare.range_end),
            compare.result,
            compare.target
        )
    });
    format!("txn if {compares} then {} else {}", ops(&txn.success), ops(&txn.failure))
}

/// What came back.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok(response) => self::response(response),
        Outcome::Fail(failure) => format!("failed: {} {}", failure.code, failure.message),
        Outcome::Unknown(failure) => format!("unknown: {} {}", failure.code, failure.message),
    }
}

fn response(response: &Response) -> String {
    format!("{} @{}", answer(&response.body), response.revision)
}

/// What an answer says, without its revision.
pub(crate) fn answer(body: &ResponseBody) -> String {
    match body {
        ResponseBody::Put(put) => match &put.prev_kv {
            Some(kv) => format!("ok, before {}", key_value(kv)),
            None => "ok".into(),
        },
        ResponseBody::Range(range) => range_response(range),
        ResponseBody::DeleteRange(delete) => format!("{} deleted", delete.deleted),
        ResponseBody::Txn(txn) => txn_response(txn),
        ResponseBody::LeaseGrant { ttl } => format!("granted {ttl} s"),
        ResponseBody::LeaseKeepAlive { ttl } => format!("{ttl} s left"),
        ResponseBody::LeaseRevoke | ResponseBody::Compact => "ok".into(),
    }
}

/// An answer to a range.
pub(crate) fn range_response(range: &RangeResponse) -> String {
    let more = if range.more { ", more" } else { "" };
    format!("{} count {}{more}", list(&range.kvs, key_value), range.count)
}

/// An answer to a transaction.
pub(crate) fn txn_response(txn: &TxnResponse) -> String {
    let branch = if txn.succeeded { "then" } else { "else" };
    let responses = list(&txn.responses, |response| match response {
        TxnOpResponse::Put(_) => "put".into(),
        TxnOpResponse::Range(range) => range_response(range),
        TxnOpResponse::DeleteRange(delete) => format!("{} deleted", delete.deleted),
        TxnOpResponse::Txn(txn) => txn_response(txn),
    });
    format!("{branch} {responses}")
}

/// A key, or a range of keys.
pub(crate) fn span(key: &Text, range_end: &Text) -> String {
    if range_end.is_empty() {
        return short(key);
    }
    if range_end.as_bytes() == [0] {
        return format!("[{} ..)", short(key));
    }
    format!("[{} .. {})", short(key), short(range_end))
}

/// A list, cut short.
pub(crate) fn list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    let mut shown: Vec<String> = items.iter().take(LISTED_MAX).map(show).collect();
    if items.len() > LISTED_MAX {
        shown.push(format!("{} more", items.len() - LISTED_MAX));
    }
    format!("[{}]", shown.join(", "))
}

/// A key or value, cut short.
pub(crate) fn short(text: &Text) -> String {
    let whole: String = text.to_string().escape_debug().collect();
    if whole.chars().count() <= TEXT_BYTES_MAX {
        return whole;
    }
    let start: String = whole.chars().take(TEXT_BYTES_MAX).collect();
    format!("{start}... ({} bytes)", text.as_bytes().len())
}

/// Nanoseconds as seconds with microseconds.
pub(crate) fn seconds(ns: u64) -> String {
    format!("{}.{:06} s", ns / 1_000_000_000, ns % 1_000_000_000 / 1_000)
}
