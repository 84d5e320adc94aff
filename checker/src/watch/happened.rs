//! What happened, by what is watched.

use std::collections::HashMap;
use std::rc::Rc;

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

/// What happened, by what is watched. Many watches share a span.
pub(super) struct Happened<'r> {
    pub(super) replayed: &'r Replayed,
    by_key: Option<HashMap<&'r Text, Rc<Vec<Due<'r>>>>>,
    by_span: HashMap<(Text, Text), Rc<Vec<Due<'r>>>>,
}

impl<'r> Happened<'r> {
    pub(super) fn new(replayed: &'r Replayed) -> Happened<'r> {
        Happened { replayed, by_key: None, by_span: HashMap::new() }
    }

    pub(super) fn of(&mut self, request: &WatchRequest) -> Rc<Vec<Due<'r>>> {
        let span = Span::new(&request.key, &request.range_end);
        let replayed = self.replayed;
        if let Some(key) = span.single() {
            let by_key = self.by_key.get_or_insert_with(|| index_by_key(replayed));
            return by_key.get(key).cloned().unwrap_or_default();
        }
        let key = (request.key.clone(), request.range_end.clone());
        let list = self.by_span.entry(key).or_insert_with(|| {
            Rc::new(all(replayed).filter(|due| span.contains(&due.change.key)).collect())
        });
        Rc::clone(list)
    }
}

fn all(replayed: &Replayed) -> impl Iterator<Item = Due<'_>> {
    (replayed.first + 1..=replayed.done).flat_map(|revision| {
        replayed.at(revision).iter().map(move |change| Due { revision, change })
    })
}

fn index_by_key(replayed: &Replayed) -> HashMap<&Text, Rc<Vec<Due<'_>>>> {
    let mut lists: HashMap<&Text, Vec<Due<'_>>> = HashMap::new();
    for due in all(replayed) {
        lists.entry(&due.change.key).or_default().push(due);
    }
    lists.into_iter().map(|(key, list)| (key, Rc::new(list))).collect()
}
