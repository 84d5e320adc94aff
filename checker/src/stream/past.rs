//! The keys now, and what was done to them at the last revisions.
//!
//! The log of changes leads from the keys as they are back to what they were at any revision of the
//! window, key by key: each change knows the revision of the one before it.
//!
//! Invariants: `keys` is the state at `done`; `log` holds the changes of `base + 1 ..= done`;
//! `deleted` holds the keys whose last change is a deletion in the log.

use std::collections::{BTreeMap, VecDeque};

use crate::history::record::{KeyValue, Range, RangeResponse};
use crate::history::text::Text;
use crate::linear::answer::{self, Wrong};
use crate::linear::checks::{Check, range_matches};
use crate::model::keyspace::{Change, Keyspace, Span, Stored};

use super::spans;

/// A change, and the revision of the one before it to the same key if that was a deletion; else 0.
#[derive(Debug)]
struct Logged {
    change: Change,
    deleted: i64,
}

/// A revision that was replayed.
#[derive(Debug)]
struct Done {
    /// Where its changes end, counted from the first of all.
    end: usize,
    /// Line of the write that made it; `None` if nobody said so yet.
    writer: Option<u64>,
}

/// How an answer about some revision was found.
#[derive(Debug)]
pub(super) enum Looked {
    /// As the keys were.
    Right,
    /// Otherwise.
    Wrong(Wrong),
    /// The revision has left the window.
    Late,
}

/// The keys, and their last changes.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) keys: Keyspace,
    base: i64,
    /// Of `base + 1` and what follows.
    done: VecDeque<Done>,
    log: VecDeque<Logged>,
    /// Changes that have left the log.
    gone: usize,
    deleted: BTreeMap<Text, i64>,
}

impl Past {
    /// Before the first operation.
    pub(super) fn new(first: i64, initial: &[KeyValue]) -> Past {
        Past {
            keys: Keyspace::with(initial),
            base: first,
            done: VecDeque::new(),
            log: VecDeque::new(),
            gone: 0,
            deleted: BTreeMap::new(),
        }
    }

    /// The last revision that was replayed.
    pub(super) fn done(&self) -> i64 {
        self.base + wide(self.done.len())
    }

    /// The first revision of which the keys are known.
    pub(super) fn base(&self) -> i64 {
        self.base
    }

    /// Revisions, changes and keys that are held.
    pub(super) fn held(&self) -> (usize, usize, usize) {
        (self.done.len(), self.log.len(), self.keys.len() + self.deleted.len())
    }

    /// The next revision was made, by the write of this line if it is known. `keys` has it already.
    pub(super) fn push(&mut self, changes: &mut Vec<Change>, writer: Option<u64>) {
        let revision = self.done() + 1;
        for change in changes.drain(..) {
            let deleted = if change.before.is_none() {
                self.deleted.remove(&change.key).unwrap_or(0)
            } else {
                0
            };
            if change.after.is_none() {
                self.deleted.insert(change.key.clone(), revision);
            }
            self.log.push_back(Logged { change, deleted });
        }
        self.done.push_back(Done { end: self.gone + self.log.len(), writer });
    }

    /// Who made a revision above the base: `None` if nobody said so.
    pub(super) fn writer(&self, revision: i64) -> Option<u64> {
        self.at_revision(revision).writer
    }

    /// Somebody says after all that he made a revision.
    pub(super) fn set_writer(&mut self, revision: i64, line: u64) {
        let place = self.place(revision);
        self.done[place].writer = Some(line);
    }

    /// The changes of a revision above the base, as they were made.
    pub(super) fn changes(&self, revision: i64) -> impl ExactSizeIterator<Item = &Change> {
        self.logged(revision).map(|logged| &logged.change)
    }

    /// Lets go of all revisions up to `base`, but for the keys at it.
    pub(super) fn forget(&mut self, base: i64) {
        while self.base < base {
            let end = self.done.pop_front().expect("not beyond what was replayed").end;
            self.base += 1;
            while self.gone < end {
                let Logged { change, .. } = self.log.pop_front().expect("the log has them");
                self.gone += 1;
                if change.after.is_none() && self.deleted.get(&change.key) == Some(&self.base) {
                    self.deleted.remove(&change.key);
                }
            }
        }
    }

    /// A key as it was at a revision of the window.
    pub(super) fn at(&self, key: &Text, revision: i64) -> Option<&Stored> {
        let mut changed = match self.keys.get(key) {
            Some(stored) if stored.mod_revision <= revision => return Some(stored),
            Some(stored) => stored.mod_revision,
            None => *self.deleted.get(key)?,
        };
        while changed > revision {
            let logged = self.logged(changed).find(|logged| logged.change.key == *key)?;
            match &logged.change.before {
                Some(before) if before.mod_revision <= revision => return Some(before),
                Some(before) => changed = before.mod_revision,
                None => changed = logged.deleted,
            }
        }
        None
    }

    /// The revisions above `after` at which a key changed, newest first.
    pub(super) fn changes_of<'p>(
        &'p self,
        key: &'p Text,
        after: i64,
    ) -> impl Iterator<Item = i64> + 'p {
        let stored = self.keys.get(key).map(|stored| stored.mod_revision);
        let newest = stored.or_else(|| self.deleted.get(key).copied()).unwrap_or(0);
        let floor = after.max(self.base);
        std::iter::successors(Some(newest), move |changed| {
            let logged = self.logged(*changed).find(|logged| logged.change.key == *key)?;
            let before = logged.change.before.as_ref();
            Some(before.map_or(logged.deleted, |before| before.mod_revision))
        })
        .take_while(move |changed| *changed > floor)
    }

    /// The keys of a span as they were at a revision of the window, ascending.
    pub(super) fn span_at<'p>(
        &'p self,
        span: Span<'_>,
        revision: i64,
    ) -> Vec<(&'p Text, &'p Stored)> {
        let live = self.keys.span(span).map(|(key, _)| key);
        let mut found: Vec<_> =
            live.filter_map(|key| Some((key, self.at(key, revision)?))).collect();
        let before = found.len();
        let bounds = span.bounds();
        let deleted = bounds.map(|bounds| self.deleted.range::<Text, _>(bounds));
        let deleted = deleted.into_iter().flatten().map(|(key, _)| key);
        found.extend(deleted.filter_map(|key| Some((key, self.at(key, revision)?))));
        if found.len() > before {
            found.sort_unstable_by_key(|(key, _)| *key);
        }
        found
    }

    /// All keys as they were at a revision of the window.
    pub(super) fn all_at(&self, revision: i64) -> Keyspace {
        let everything = Text::from("\0");
        Keyspace::copied(
            self.span_at(Span::new(&Text::default(), &everything), revision).into_iter(),
        )
    }

    /// The keys of some spans as they were at a revision of the window.
    pub(super) fn copy_at<'s>(
        &self,
        spans: impl IntoIterator<Item = Span<'s>>,
        revision: i64,
    ) -> Keyspace {
        let spans = spans.into_iter();
        Keyspace::copied(spans.flat_map(|span| self.span_at(span, revision)))
    }

    /// A key that was attached to a lease at a revision of the window.
    fn attached_at(&self, lease: i64, revision: i64) -> Option<&Text> {
        let later = (revision + 1..=self.done()).flat_map(|revision| self.changes(revision));
        let later = later.map(|change| &change.key);
        let is_attached =
            |key: &&Text| self.at(key, revision).is_some_and(|stored| stored.lease == lease);
        self.keys.attached(lease).chain(later).find(is_attached)
    }

    /// Holds an answer against the keys at a revision that was replayed.
    pub(super) fn look(&mut self, revision: i64, check: Check<'_>) -> Looked {
        let wrong = if revision == self.done() {
            answer::look(&mut self.keys, revision, check).err()
        } else if revision < self.base {
            return Looked::Late;
        } else {
            self.look_back(revision, check)
        };
        wrong.map_or(Looked::Right, Looked::Wrong)
    }

    fn look_back(&self, revision: i64, check: Check<'_>) -> Option<Wrong> {
        let mut copy = match check {
            Check::Range(range, got) => {
                if self.matches_at(revision, range, got) {
                    return None;
                }
                self.copy_at([Span::new(&range.key, &range.range_end)], revision)
            }
            Check::Txn(txn, _) => self.copy_at(spans::of_txn(txn), revision),
            Check::NothingDeleted(delete, _) => {
                self.copy_at([Span::new(&delete.key, &delete.range_end)], revision)
            }
            Check::Revoked(lease) => {
                let attached = self.attached_at(lease, revision).into_iter();
                Keyspace::copied(attached.filter_map(|key| Some((key, self.at(key, revision)?))))
            }
        };
        answer::look(&mut copy, revision, check).err()
    }

    fn matches_at(&self, revision: i64, range: &Range, got: &RangeResponse) -> bool {
        let span = Span::new(&range.key, &range.range_end);
        if let Some(key) = span.single() {
            let found = self.at(key, revision).map(|stored| (key, stored));
            return range_matches(found.into_iter(), range, got);
        }
        range_matches(self.span_at(span, revision).into_iter(), range, got)
    }

    fn place(&self, revision: i64) -> usize {
        usize::try_from(revision - self.base - 1).expect("above the base")
    }

    fn at_revision(&self, revision: i64) -> &Done {
        &self.done[self.place(revision)]
    }

    fn logged(&self, revision: i64) -> impl ExactSizeIterator<Item = &Logged> {
        let known = revision > self.base && revision <= self.done();
        let range = if known {
            let place = self.place(revision);
            let start = if place == 0 { self.gone } else { self.done[place - 1].end };
            start - self.gone..self.done[place].end - self.gone
        } else {
            0..0
        };
        self.log.range(range)
    }
}

fn wide(count: usize) -> i64 {
    i64::try_from(count).expect("revisions of the window are few")
}
