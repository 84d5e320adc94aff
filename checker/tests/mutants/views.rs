//! Whether what a watch was told can be told of what happened: a second opinion on mutants of watches.
//!
//! A watch is told the events that it asked for, each once, in their order, those of a revision together;
//! what has come goes up to where it was told that everything had come.

use std::collections::{BTreeMap, VecDeque};

use rusd_checker::history::record::{
    Event, EventKind, Outcome, Record, Request, WatchBody, WatchRequest, WatchResponse,
};

use crate::truth::{Truth, contains};

/// Whether every watch that tells its events in full was told what it had to be.
pub(crate) fn are_right(records: &[Record], truth: &Truth) -> bool {
    let mut watches: BTreeMap<u64, Vec<&WatchResponse>> = BTreeMap::new();
    for record in records {
        if let Record::Watch(response) = record {
            watches.entry(response.watch).or_default().push(response);
        }
    }
    let in_short = |watch: &&Vec<&WatchResponse>| {
        watch.iter().any(|response| matches!(response.body, WatchBody::Digests(_)))
    };
    watches.values().filter(|watch| !in_short(watch)).all(|watch| is_right(records, watch, truth))
}

fn is_right(records: &[Record], watch: &[&WatchResponse], truth: &Truth) -> bool {
    let Some((created, rest)) = watch.split_first() else { return true };
    let WatchBody::Created(request) = &created.body else { return false };
    let start = match request.start_revision {
        0 => created.revision + 1,
        start => start,
    };
    let due = due(request, start, truth);
    let mut view = View { records, told: start - 1, due, ended: false };
    rest.iter().all(|response| view.allows(response))
}

/// The events that a watch must be told, in their order.
fn due(request: &WatchRequest, start: i64, truth: &Truth) -> VecDeque<Event> {
    let wanted = |event: &&Event| {
        let filtered = match event.kind {
            EventKind::Put => request.no_put,
            EventKind::Delete => request.no_delete,
        };
        event.kv.mod_revision >= start
            && !filtered
            && contains(&request.key, &request.range_end, &event.kv.key)
    };
    let asked = |event: &Event| Event {
        prev_kv: event.prev_kv.clone().filter(|_| request.prev_kv),
        ..event.clone()
    };
    truth.events().filter(wanted).map(asked).collect()
}

/// A watch, after some of its responses.
struct View<'a> {
    records: &'a [Record],
    /// It has come up to here.
    told: i64,
    due: VecDeque<Event>,
    ended: bool,
}

impl View<'_> {
    fn allows(&mut self, response: &WatchResponse) -> bool {
        if self.ended {
            return false;
        }
        match &response.body {
            WatchBody::Created(_) | WatchBody::Digests(_) => false,
            WatchBody::Events { events, fragment } => {
                let newest = response.revision;
                events.iter().all(|event| event.kv.mod_revision <= newest && self.takes(event))
                    && (*fragment || !self.is_within(events.last()))
            }
            WatchBody::Progress => self.is_told_up_to(response.revision),
            WatchBody::Canceled { compact_revision, .. } => {
                self.ended = true;
                *compact_revision == 0 || self.may_be_compacted(*compact_revision)
            }
            WatchBody::Closed { by_client } => {
                self.ended = true;
                !by_client || self.is_told_up_to(self.final_revision(response.arrived_ns))
            }
        }
    }

    /// The next event that is due comes.
    fn takes(&mut self, event: &Event) -> bool {
        let Some(mut due) = self.due.pop_front() else { return false };
        self.told = due.kv.mod_revision;
        // etcd leaves out what it can no longer read.
        if event.prev_kv.is_none() && self.compactions().any(|to| to >= event.kv.mod_revision) {
            due.prev_kv = None;
        }
        due == *event
    }

    /// More of the last event's revision is due.
    fn is_within(&self, last: Option<&Event>) -> bool {
        let revision = |event: &Event| event.kv.mod_revision;
        last.is_some_and(|last| self.due.front().map(revision) == Some(revision(last)))
    }

    fn is_told_up_to(&self, revision: i64) -> bool {
        self.due.front().is_none_or(|event| event.kv.mod_revision > revision)
    }

    fn may_be_compacted(&self, compact_revision: i64) -> bool {
        self.told + 1 < compact_revision && self.compactions().any(|to| to == compact_revision)
    }

    /// Compactions that happened, or may have.
    fn compactions(&self) -> impl Iterator<Item = i64> {
        self.records.iter().filter_map(|record| match record {
            Record::Op(operation) if !matches!(operation.outcome, Outcome::Fail(_)) => {
                match &operation.request {
                    Request::Compact(compact) => Some(compact.revision),
                    _ => None,
                }
            }
            _ => None,
        })
    }

    /// The newest revision that a member had said it had, before this time.
    fn final_revision(&self, before_ns: u64) -> i64 {
        let finals = self.records.iter().filter_map(|record| match record {
            Record::Final(state) if state.return_ns <= before_ns => Some(state.revision),
            _ => None,
        });
        finals.max().unwrap_or(0)
    }
}
