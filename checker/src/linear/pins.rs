//! What the history tells of the content of gaps: by events, and by key-values that carry the
//! gap's revision.
//!
//! Pins come from answers, which a broken store may get wrong. That does no harm: a wrong pin can
//! only make a wrong history look wrong in another place.

use std::collections::BTreeMap;

use super::timeline::{Rank, Timeline};
use crate::history::record::{
    Event, EventKind, KeyValue, Outcome, Put, Range, Request, ResponseBody, Txn, TxnOp,
    TxnOpResponse, TxnResponse, WatchBody, WatchRequest,
};
use crate::history::text::Text;
use crate::history::{History, OperationLine};
use crate::model::execute::branch;
use crate::model::keyspace::Change;
use crate::watch::survey::Survey;

/// What is known of one key at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pin {
    /// It was deleted.
    Deleted,
    /// It was written.
    Written(KeyValue),
    /// It was written, but value and lease are not known.
    WrittenSomehow(KeyValue),
}

impl Pin {
    fn allows(&self, change: &Change) -> bool {
        match (self, &change.after) {
            (Pin::Deleted, None) => true,
            (Pin::Written(kv), Some(after)) => after.is(kv),
            (Pin::WrittenSomehow(kv), Some(after)) => {
                after.version == kv.version && after.create_revision == kv.create_revision
            }
            (Pin::Deleted, Some(_)) | (Pin::Written(_) | Pin::WrittenSomehow(_), None) => false,
        }
    }
}

/// What is known of one revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) keys: BTreeMap<Text, Pin>,
    /// Nothing but `keys` changed.
    pub(crate) complete: bool,
    /// The keys in operation order, if a watch on all of them told.
    order: Vec<Text>,
    ordered_by: Option<u64>,
}

impl Known {
    /// Whether these changes can be what happened.
    pub(crate) fn allows(&self, changes: &[Change]) -> bool {
        if self.complete && changes.len() != self.keys.len() {
            return false;
        }
        if self.order.len() == changes.len()
            && !self.order.iter().eq(changes.iter().map(|change| &change.key))
        {
            return false;
        }
        self.keys
            .iter()
            .all(|(key, pin)| changes.iter().any(|change| change.key == *key && pin.allows(change)))
    }
}

/// What is known of all gaps.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    gaps: BTreeMap<Rank, Known>,
    nothing: Known,
}

impl Pins {
    /// Collects what answers and final states tell of the timeline's gaps.
    pub(crate) fn of_answers(timeline: &Timeline<'_>) -> Pins {
        let mut pins = Pins::default();
        if timeline.gaps().next().is_none() {
            return pins;
        }
        for line in &timeline.history.operations {
            each_key_value_of(line, &mut |kv, whole| pins.see(timeline, kv, whole));
        }
        for line in &timeline.history.finals {
            line.state.kvs.iter().for_each(|kv| pins.see(timeline, kv, true));
        }
        pins
    }

    /// Adds what watches tell.
    pub(crate) fn see_watches(&mut self, timeline: &Timeline<'_>, survey: &Survey<'_>) {
        survey.befores.iter().for_each(|kv| self.see(timeline, kv, true));
        for followed in &survey.followed {
            let unclaimed = &followed.unclaimed;
            for (event, sees_all) in &unclaimed.events {
                self.see_event(timeline, event, sees_all.then_some(followed.id));
            }
            let Some(start) = unclaimed.start else { continue };
            let from = usize::try_from(start.saturating_sub(timeline.first)).unwrap_or(0);
            let to = unclaimed.reached.saturating_sub(timeline.first);
            let to = usize::try_from(to).unwrap_or(0);
            if from <= to {
                // What a watch on all keys has passed is all there was.
                self.gaps.range_mut(from..=to).for_each(|(_, known)| known.complete = true);
            }
        }
    }

    /// What is known of a gap.
    pub(crate) fn of(&self, rank: Rank) -> &Known {
        self.gaps.get(&rank).unwrap_or(&self.nothing)
    }

    /// Whether anything is known of a gap.
    pub(crate) fn is_pinned(&self, rank: Rank) -> bool {
        self.gaps.get(&rank).is_some_and(|known| !known.keys.is_empty())
    }

    fn see(&mut self, timeline: &Timeline<'_>, kv: &KeyValue, whole: bool) {
        if timeline.briefs.is_written(kv.mod_revision) {
            return;
        }
        let rank = timeline.rank(kv.mod_revision).filter(|rank| timeline.is_gap(*rank));
        let Some(rank) = rank else { return };
        let keys = &mut self.gaps.entry(rank).or_default().keys;
        if whole {
            keys.insert(kv.key.clone(), Pin::Written(kv.clone()));
        } else {
            keys.entry(kv.key.clone()).or_insert_with(|| Pin::WrittenSomehow(kv.clone()));
        }
    }

    /// Pins what an event tells of a gap. `on_all` is the watch, if it sees every key; the first
    /// such watch tells the order too.
    fn see_event(&mut self, timeline: &Timeline<'_>, event: &Event, on_all: Option<u64>) {
        let rank = timeline.rank(event.kv.mod_revision);
        let Some(rank) = rank.filter(|rank| timeline.is_gap(*rank)) else { return };
        let known = self.gaps.entry(rank).or_default();
        let pin = match event.kind {
            EventKind::Put => Pin::Written(event.kv.clone()),
            EventKind::Delete => Pin::Deleted,
        };
        known.keys.insert(event.kv.key.clone(), pin);
        if let Some(watch) = on_all
            && *known.ordered_by.get_or_insert(watch) == watch
        {
            known.order.push(event.kv.key.clone());
        }
    }
}

/// The first revision whose events a watch delivers.
pub(crate) fn first_watched(request: &WatchRequest, created_revision: i64) -> i64 {
    if request.start_revision > 0 {
        request.start_revision
    } else {
        created_revision.saturating_add(1)
    }
}

/// Every put of a transaction, whichever branch it is in.
pub(crate) fn each_put<'a>(txn: &'a Txn, see: &mut impl FnMut(&'a Put)) {
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Put(put) => see(put),
            TxnOp::Txn(txn) => each_put(txn, see),
            TxnOp::Range(_) | TxnOp::DeleteRange(_) => {}
        }
    }
}

/// Every key-value that an answer holds, and whether value and lease are told too.
pub(crate) fn each_key_value<'h>(history: &'h History, see: &mut impl FnMut(&'h KeyValue, bool)) {
    for line in &history.operations {
        each_key_value_of(line, see);
    }
    for line in &history.finals {
        line.state.kvs.iter().for_each(|kv| see(kv, true));
    }
    for line in &history.watches {
        let WatchBody::Events { events, .. } = &line.response.body else { continue };
        events.iter().flat_map(|event| &event.prev_kv).for_each(|kv| see(kv, true));
    }
}

/// Every key-value that the answer to one operation holds, and whether value and lease are told too.
pub(crate) fn each_key_value_of<'h>(
    line: &'h OperationLine,
    see: &mut impl FnMut(&'h KeyValue, bool),
) {
    let Outcome::Ok(response) = &line.operation.outcome else { return };
    match (&line.operation.request, &response.body) {
        (Request::Range(range), ResponseBody::Range(body)) => {
            body.kvs.iter().for_each(|kv| see(kv, is_whole(range)));
        }
        (_, ResponseBody::Put(put)) => put.prev_kv.iter().for_each(|kv| see(kv, true)),
        (_, ResponseBody::DeleteRange(delete)) => {
            delete.prev_kvs.iter().for_each(|kv| see(kv, true));
        }
        (Request::Txn(txn), ResponseBody::Txn(body)) => txn_key_values(txn, body, see),
        _ => {}
    }
}

fn is_whole(range: &Range) -> bool {
    !range.keys_only
}

fn txn_key_values<'h>(txn: &Txn, body: &'h TxnResponse, see: &mut impl FnMut(&'h KeyValue, bool)) {
    for (op, response) in branch(txn, body.succeeded).iter().zip(&body.responses) {
        match (op, response) {
            (TxnOp::Range(range), TxnOpResponse::Range(body)) => {
                body.kvs.iter().for_each(|kv| see(kv, is_whole(range)));
            }
            (_, TxnOpResponse::Put(put)) => put.prev_kv.iter().for_each(|kv| see(kv, true)),
            (_, TxnOpResponse::DeleteRange(delete)) => {
                delete.prev_kvs.iter().for_each(|kv| see(kv, true));
            }
            (TxnOp::Txn(txn), TxnOpResponse::Txn(body)) => txn_key_values(txn, body, see),
            _ => {}
        }
    }
}
