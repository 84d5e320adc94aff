//! What happened, told by the watches of a valid history, and the answers that follow from it.
//!
//! Naive, and shares nothing with the checker but the words of a history: what it says of a mutant is a
//! second opinion.

use std::collections::BTreeMap;

use rusd_checker::history::record::{
    Event, EventKind, KeyValue, Range, RangeResponse, Record, WatchBody, WatchRequest,
};
use rusd_checker::history::text::Text;

/// Every event there was, by revision, and what each key was when.
pub(crate) struct Truth {
    /// The revision before the first operation.
    pub(crate) first: i64,
    /// The newest revision.
    pub(crate) newest: i64,
    /// In the order of the operations, with the key-value before each.
    log: BTreeMap<i64, Vec<Event>>,
    /// Of each key, ascending; `None` is a deletion.
    versions: BTreeMap<Text, Vec<(i64, Option<KeyValue>)>>,
}

impl Truth {
    /// Asks the watches on all keys, each of which has seen at least a part of it.
    pub(crate) fn of(records: &[Record]) -> Truth {
        let Record::Header(header) = &records[0] else { panic!("the first record is the header") };
        let mut log: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
        for ((_, revision), events) in told(records) {
            let longest = log.entry(revision).or_default();
            if longest.len() < events.len() {
                *longest = events;
            }
        }
        let mut versions: BTreeMap<Text, Vec<(i64, Option<KeyValue>)>> = BTreeMap::new();
        for kv in &header.initial {
            versions.insert(kv.key.clone(), vec![(kv.mod_revision, Some(kv.clone()))]);
        }
        for (revision, events) in &mut log {
            for event in events {
                let versions = versions.entry(event.kv.key.clone()).or_default();
                event.prev_kv = versions.last().and_then(|(_, stored)| stored.clone());
                let stored = (event.kind == EventKind::Put).then(|| event.kv.clone());
                versions.push((*revision, stored));
            }
        }
        let first = header.first_revision;
        let newest = log.last_key_value().map_or(first, |(revision, _)| *revision);
        assert!((first + 1..=newest).eq(log.keys().copied()), "a revision nobody has seen");
        Truth { first, newest, log, versions }
    }

    /// The events of a revision.
    pub(crate) fn at(&self, revision: i64) -> &[Event] {
        self.log.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// Every event, ascending.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.log.values().flatten()
    }

    /// A key as it was after a revision.
    pub(crate) fn key_at(&self, key: &Text, revision: i64) -> Option<&KeyValue> {
        let versions = self.versions.get(key)?;
        let newest = versions.iter().rev().find(|(written, _)| *written <= revision)?;
        newest.1.as_ref()
    }

    /// All keys as they were after a revision.
    pub(crate) fn state(&self, revision: i64) -> Vec<KeyValue> {
        let keys = self.versions.keys();
        keys.filter_map(|key| self.key_at(key, revision)).cloned().collect()
    }

    /// The answer to a range after a revision.
    pub(crate) fn answer(&self, range: &Range, revision: i64) -> RangeResponse {
        let mut kvs = self.state(revision);
        kvs.retain(|kv| contains(&range.key, &range.range_end, &kv.key));
        let count = kvs.len();
        let limit = usize::try_from(range.limit).expect("no limit is negative");
        if range.count_only {
            kvs.clear();
        } else if limit > 0 {
            kvs.truncate(limit);
        }
        if range.keys_only {
            for kv in &mut kvs {
                kv.value = Text::default();
            }
        }
        let more = !range.count_only && kvs.len() < count;
        RangeResponse { kvs, count: i64::try_from(count).expect("few keys"), more }
    }
}

/// Whether a key lies in a range as etcd has it.
pub(crate) fn contains(from: &Text, end: &Text, key: &Text) -> bool {
    match end.as_bytes() {
        [] => key == from,
        [0] => key >= from,
        end => key >= from && key.as_bytes() < end,
    }
}

/// Whether a watch is told of everything.
pub(crate) fn is_on_all(request: &WatchRequest) -> bool {
    let all = Text::from("\0");
    request.key == all && request.range_end == all && !request.no_put && !request.no_delete
}

/// What each watch on all keys has told of each revision.
fn told(records: &[Record]) -> BTreeMap<(u64, i64), Vec<Event>> {
    let mut told: BTreeMap<(u64, i64), Vec<Event>> = BTreeMap::new();
    let mut on_all = Vec::new();
    for record in records {
        let Record::Watch(response) = record else { continue };
        match &response.body {
            WatchBody::Created(request) if is_on_all(request) => on_all.push(response.watch),
            WatchBody::Events { events, .. } if on_all.contains(&response.watch) => {
                for event in events {
                    let place = (response.watch, event.kv.mod_revision);
                    told.entry(place).or_default().push(event.clone());
                }
            }
            _ => {}
        }
    }
    told
}
