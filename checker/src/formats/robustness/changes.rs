//! What the report leaves out of key-values, worked out of what it says of changes: create revisions,
//! versions in events, leases.
//!
//! A revision is *whole* if all of its changes are known: a watch on all keys told of it, or an
//! operation with a known answer made it. Where all revisions since a key's creation are whole, its
//! metadata follow. Where one is not, nothing is made up: [`Changes::complete`] says `None`.
//!
//! Memory holds each change of each key once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::history::text::Text;

/// A change of one key.
#[derive(Debug, Clone, Default)]
struct Change {
    is_put: bool,
    /// An event, or the version, says that the key was created here.
    is_create: bool,
    /// An event says that it was there before.
    is_update: bool,
    /// 0 while it is unknown.
    version: i64,
    /// 0 while it is unknown.
    create_revision: i64,
    /// Of a put with a known answer.
    lease: Option<i64>,
}

/// What a key-value is, besides what the report says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) create_revision: i64,
    pub(super) version: i64,
    pub(super) lease: i64,
}

/// All changes that the report tells of.
#[derive(Debug, Default)]
pub(super) struct Changes {
    keys: BTreeMap<Text, BTreeMap<i64, Change>>,
    whole: BTreeSet<i64>,
    /// Leases of puts without an answer, by key and value; `None` if there are several.
    unanswered: HashMap<(Text, Text), Option<i64>>,
    /// First and last of revisions in a row that are not whole.
    holes: Vec<(i64, i64)>,
}

/// Revision of an empty store.
const FIRST_REVISION: i64 = 1;

impl Changes {
    /// All changes of this revision are told.
    pub(super) fn see_whole(&mut self, revision: i64) {
        self.whole.insert(revision);
    }

    /// An event tells of a put.
    pub(super) fn see_put_event(&mut self, key: Text, revision: i64, is_create: bool) {
        let change = self.change(key, revision);
        change.is_put = true;
        change.is_create |= is_create;
        change.is_update |= !is_create;
    }

    /// A key was deleted.
    pub(super) fn see_delete(&mut self, key: Text, revision: i64) {
        self.change(key, revision);
    }

    /// An answer shows a key-value.
    pub(super) fn see_key_value(&mut self, key: Text, revision: i64, version: i64) {
        let change = self.change(key, revision);
        change.is_put = true;
        change.is_create |= version == 1;
        change.version = version;
    }

    /// A put was answered.
    pub(super) fn see_put(&mut self, key: Text, revision: i64, lease: i64) {
        let change = self.change(key, revision);
        change.is_put = true;
        change.lease = Some(lease);
    }

    /// A put was not answered.
    pub(super) fn see_unanswered_put(&mut self, key: Text, value: Text, lease: i64) {
        let known = self.unanswered.entry((key, value)).or_insert(Some(lease));
        if *known != Some(lease) {
            *known = None;
        }
    }

    fn change(&mut self, key: Text, revision: i64) -> &mut Change {
        self.keys.entry(key).or_default().entry(revision).or_default()
    }

    /// Works out what follows, once everything was seen.
    pub(super) fn finish(&mut self) {
        let mut next = FIRST_REVISION + 1;
        for revision in &self.whole {
            if *revision > next {
                self.holes.push((next, revision - 1));
            }
            next = next.max(revision.saturating_add(1));
        }
        let after = next;
        let holes = &self.holes;
        let is_known = |from: i64, to: i64| {
            let at = holes.partition_point(|(_, last)| *last <= from);
            to <= after && holes.get(at).is_none_or(|(first, _)| *first >= to)
        };
        for changes in self.keys.values_mut() {
            follow(changes, is_known);
        }
    }

    /// When the key that was put at this revision was created; `None` if that does not follow.
    pub(super) fn create_revision(&self, key: &Text, revision: i64) -> Option<i64> {
        let created = self.keys.get(key)?.get(&revision)?.create_revision;
        (created != 0).then_some(created)
    }

    /// What a key-value of this revision is; `None` if that does not follow.
    pub(super) fn complete(&self, key: &Text, value: &Text, revision: i64) -> Option<Metadata> {
        let change = self.keys.get(key)?.get(&revision)?;
        if change.create_revision == 0 || change.version == 0 {
            return None;
        }
        let lease = match change.lease {
            Some(lease) => lease,
            None => {
                self.unanswered.get(&(key.clone(), value.clone())).copied().unwrap_or(Some(0))?
            }
        };
        Some(Metadata { create_revision: change.create_revision, version: change.version, lease })
    }
}

/// Follows a key through its changes. `is_known(from, to)` says whether all revisions between are
/// whole.
fn follow(changes: &mut BTreeMap<i64, Change>, is_known: impl Fn(i64, i64) -> bool) {
    /// The key as of its last change: not there, or created at a revision; 0 if that is unknown.
    struct Last {
        revision: i64,
        created: Option<i64>,
        version: i64,
    }
    let mut last = Last { revision: FIRST_REVISION, created: None, version: 0 };
    for (revision, change) in changes {
        let follows = is_known(last.revision, *revision);
        last.revision = *revision;
        if !change.is_put {
            last.created = None;
            continue;
        }
        let is_new = change.is_create || (follows && last.created.is_none() && !change.is_update);
        if is_new {
            (change.create_revision, change.version) = (*revision, 1);
        } else if let Some(created) = last.created.filter(|_| follows) {
            change.create_revision = created;
            if change.version == 0 && last.version > 0 {
                change.version = last.version.saturating_add(1);
            }
        }
        last.created = Some(change.create_revision);
        last.version = change.version;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Text {
        Text::from("k")
    }

    fn found(changes: &Changes, revision: i64) -> Option<(i64, i64, i64)> {
        let found = changes.complete(&key(), &Text::from("v"), revision)?;
        Some((found.create_revision, found.version, found.lease))
    }

    fn finished(see: impl FnOnce(&mut Changes)) -> Changes {
        let mut changes = Changes::default();
        see(&mut changes);
        changes.finish();
        changes
    }

    #[test]
    fn versions_count_from_the_creation() {
        let changes = finished(|changes| {
            (2..=7).for_each(|revision| changes.see_whole(revision));
            changes.see_put_event(key(), 2, true);
            changes.see_put_event(key(), 4, false);
            changes.see_delete(key(), 5);
            changes.see_put(key(), 6, 9);
            changes.see_put(key(), 7, 0);
        });
        let all: Vec<_> = (2..=7).map(|revision| found(&changes, revision)).collect();
        assert_eq!(
            all,
            [Some((2, 1, 0)), None, Some((2, 2, 0)), None, Some((6, 1, 9)), Some((6, 2, 0))]
        );
    }

    #[test]
    fn nothing_follows_across_a_hole() {
        let changes = finished(|changes| {
            changes.see_whole(2);
            changes.see_whole(4);
            changes.see_whole(5);
            changes.see_put(key(), 2, 0);
            changes.see_put(key(), 4, 0);
            changes.see_put_event(key(), 5, true);
        });
        assert_eq!(found(&changes, 2), Some((2, 1, 0)));
        assert_eq!(found(&changes, 4), None, "revision 3 may have been a put or a delete");
        assert_eq!(found(&changes, 5), Some((5, 1, 0)), "the event says so itself");
    }

    #[test]
    fn an_answer_that_shows_a_version_tells_no_creation() {
        let changes = finished(|changes| {
            changes.see_whole(2);
            changes.see_whole(5);
            changes.see_put(key(), 2, 0);
            changes.see_key_value(key(), 4, 2);
            changes.see_key_value(key(), 3, 1);
        });
        assert_eq!(found(&changes, 3), Some((3, 1, 0)));
        assert_eq!(found(&changes, 4), None);
    }

    #[test]
    fn leases_of_unanswered_puts_are_known_by_their_values() {
        let changes = finished(|changes| {
            changes.see_whole(2);
            changes.see_put_event(key(), 2, true);
            changes.see_unanswered_put(key(), Text::from("v"), 7);
            changes.see_unanswered_put(key(), Text::from("w"), 7);
            changes.see_unanswered_put(key(), Text::from("w"), 8);
        });
        assert_eq!(found(&changes, 2), Some((2, 1, 7)));
        assert_eq!(changes.complete(&key(), &Text::from("w"), 2), None);
        assert_eq!(changes.complete(&key(), &Text::from("x"), 2).map(|found| found.lease), Some(0));
    }
}
