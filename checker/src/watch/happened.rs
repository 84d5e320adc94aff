//! What happened, by what is watched.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use crate::history::record::WatchRequest;
use crate::history::text::Text;
use crate::linear::revision::Replayed;
use crate::model::keyspace::{Change, Span};

/// A change that a watch is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due<'r> {
    pub(crate) revision: i64,
    pub(crate) change: &'r Change,
}

/// What happened at some revisions, by what is watched. Many watches share a span.
pub(super) struct Happened<'r> {
    pub(super) replayed: &'r Replayed,
    pub(super) revisions: RangeInclusive<i64>,
    by_key: Option<HashMap<&'r Text, Vec<Due<'r>>>>,
    by_span: HashMap<(Text, Text), Vec<Due<'r>>>,
}

impl<'r> Happened<'r> {
    /// At all revisions that were replayed.
    pub(super) fn all(replayed: &'r Replayed) -> Happened<'r> {
        Happened::at(replayed, replayed.first + 1..=replayed.done)
    }

    /// At some of the revisions that were replayed.
    pub(super) fn at(replayed: &'r Replayed, revisions: RangeInclusive<i64>) -> Happened<'r> {
        Happened { replayed, revisions, by_key: None, by_span: HashMap::new() }
    }

    /// What happened to what is watched, by revision.
    pub(super) fn to(&mut self, request: &WatchRequest) -> &[Due<'r>] {
        let span = Span::new(&request.key, &request.range_end);
        let (replayed, revisions) = (self.replayed, &self.revisions);
        if let Some(key) = span.single() {
            let by_key = self.by_key.get_or_insert_with(|| index_by_key(replayed, revisions));
            return by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        }
        let key = (request.key.clone(), request.range_end.clone());
        self.by_span.entry(key).or_insert_with(|| {
            let changes = changes(replayed, revisions);
            changes.filter(|due| span.contains(&due.change.key)).collect()
        })
    }
}

fn changes<'r>(
    replayed: &'r Replayed,
    revisions: &RangeInclusive<i64>,
) -> impl Iterator<Item = Due<'r>> {
    revisions.clone().flat_map(|revision| {
        replayed.at(revision).iter().map(move |change| Due { revision, change })
    })
}

fn index_by_key<'r>(
    replayed: &'r Replayed,
    revisions: &RangeInclusive<i64>,
) -> HashMap<&'r Text, Vec<Due<'r>>> {
    let mut lists: HashMap<&Text, Vec<Due<'_>>> = HashMap::new();
    for due in changes(replayed, revisions) {
        lists.entry(&due.change.key).or_default().push(due);
    }
    lists
}
