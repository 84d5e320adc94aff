//! A history cut off at revisions: what lies above one is left out; what lies below one becomes the
//! state that the history begins with.

use std::collections::BTreeSet;

use crate::history::record::{
    Header, KeyValue, Operation, Outcome, Record, Request, ResponseBody, WatchBody, WatchRequest,
    WatchResponse,
};
use crate::linear::checks::each_past_read;
use crate::linear::pins::first_watched;
use crate::linear::timeline::writes;

/// Leaves out what tells of revisions above this one.
pub(super) fn above(records: &[Record], revision: i64) -> Vec<Record> {
    let mut gone = BTreeSet::new();
    let mut kept = Vec::new();
    for record in records {
        let keeps = match record {
            Record::Op(operation) => answered(operation).is_none_or(|at| at <= revision),
            Record::Final(state) => state.revision <= revision,
            Record::Watch(response) => {
                kept.extend(watch_above(response, revision, &mut gone).map(Record::Watch));
                false
            }
            Record::Header(_) | Record::Nemesis(_) | Record::End(_) => true,
        };
        if keeps {
            kept.push(record.clone());
        }
    }
    kept
}

fn watch_above(
    response: &WatchResponse,
    revision: i64,
    gone: &mut BTreeSet<u64>,
) -> Option<WatchResponse> {
    if gone.contains(&response.watch) {
        return None;
    }
    let mut response = response.clone();
    match &mut response.body {
        WatchBody::Events { events, .. } => {
            // What is too new for its response stays so.
            if events.iter().any(|event| event.kv.mod_revision <= revision) {
                events.retain(|event| event.kv.mod_revision <= revision);
                response.revision = response.revision.min(revision);
                return Some(response);
            }
            return None;
        }
        WatchBody::Created(request) => {
            let resumes_gone = request.resumes.is_some_and(|id| gone.contains(&id));
            if response.revision > revision || resumes_gone {
                gone.insert(response.watch);
                return None;
            }
        }
        WatchBody::Digests(short) => {
            let newest = short.revisions().map_or(0, |(_, newest)| newest);
            return (newest.max(response.revision) <= revision).then_some(response);
        }
        WatchBody::Progress => return (response.revision <= revision).then_some(response),
        WatchBody::Canceled { .. } | WatchBody::Closed { .. } => {}
    }
    Some(response)
}

/// Begins the history at this revision, with these keys.
pub(super) fn below(records: &[Record], revision: i64, initial: Vec<KeyValue>) -> Vec<Record> {
    let mut kept = Vec::new();
    for record in records {
        match record {
            Record::Header(header) => kept.push(Record::Header(Header {
                first_revision: revision,
                initial: initial.clone(),
                ..header.clone()
            })),
            Record::Op(operation) => {
                if !looks_below(operation, revision) {
                    kept.push(record.clone());
                }
            }
            Record::Final(state) if state.revision < revision => {}
            Record::Watch(response) => {
                kept.extend(watch_below(response, revision).map(Record::Watch));
            }
            Record::Final(_) | Record::Nemesis(_) | Record::End(_) => kept.push(record.clone()),
        }
    }
    kept
}

fn watch_below(response: &WatchResponse, revision: i64) -> Option<WatchResponse> {
    let mut response = response.clone();
    match &mut response.body {
        WatchBody::Created(request) => {
            let start = first_watched(request, response.revision).max(revision.saturating_add(1));
            *request = WatchRequest { start_revision: start, ..request.clone() };
        }
        WatchBody::Events { events, .. } => {
            events.retain(|event| event.kv.mod_revision > revision);
            if events.is_empty() {
                return None;
            }
        }
        WatchBody::Digests(short) => {
            let oldest = short.revisions().map_or(0, |(oldest, _)| oldest);
            return (oldest > revision).then_some(response);
        }
        WatchBody::Progress => return (response.revision >= revision).then_some(response),
        WatchBody::Canceled { .. } | WatchBody::Closed { .. } => {}
    }
    response.revision = response.revision.max(revision);
    Some(response)
}

/// The revision of an operation's answer.
pub(super) fn answered(operation: &Operation) -> Option<i64> {
    match &operation.outcome {
        Outcome::Ok(response) => Some(response.revision),
        Outcome::Fail(_) | Outcome::Unknown(_) => None,
    }
}

/// Whether an answer is about something below this revision, or made it.
fn looks_below(operation: &Operation, revision: i64) -> bool {
    let Outcome::Ok(response) = &operation.outcome else { return false };
    let floor = revision + i64::from(writes(&response.body));
    let mut below = response.revision < floor;
    match (&operation.request, &response.body) {
        (Request::Range(range), _) => below |= range.revision > 0 && range.revision < revision,
        (Request::Txn(txn), ResponseBody::Txn(got)) => {
            each_past_read(txn, got, &mut |range, _| below |= range.revision < revision);
        }
        _ => {}
    }
    below
}
