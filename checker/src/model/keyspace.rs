//! The live keys at one revision, and what a write changes in them.
//!
//! Every write tells its [`Change`]s, and [`Keyspace::undo`] takes them back: searches go down one
//! way, and return. History, leases and compaction are not here.
//!
//! Most operations are about single keys that live already, so the values are in a hash map, and the
//! ordered set of keys changes only when a key comes or goes.
//!
//! Invariants: `keys` holds exactly the keys of `stored`; `leased` holds exactly the keys whose stored lease is not 0, by lease.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::LazyLock;

use crate::hashing::Hashing;
use crate::history::record::{Compare, CompareResult, CompareTarget, KeyValue, Put};
use crate::history::text::Text;

/// A live key's value and metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stored {
    /// The value.
    pub value: Text,
    /// Revision of the key's creation.
    pub create_revision: i64,
    /// Revision of the last write.
    pub mod_revision: i64,
    /// Writes since the creation.
    pub version: i64,
    /// Attached lease; 0 is none.
    pub lease: i64,
}

impl Stored {
    /// As a history says it.
    pub fn key_value(&self, key: &Text) -> KeyValue {
        KeyValue {
            key: key.clone(),
            value: self.value.clone(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            lease: self.lease,
        }
    }

    /// Whether `kv` says the same.
    pub fn is(&self, kv: &KeyValue) -> bool {
        self.mod_revision == kv.mod_revision
            && self.version == kv.version
            && self.create_revision == kv.create_revision
            && self.lease == kv.lease
            && self.value == kv.value
    }
}

impl From<&KeyValue> for Stored {
    fn from(kv: &KeyValue) -> Stored {
        Stored {
            value: kv.value.clone(),
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        }
    }
}

/// What a write did to one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// The key.
    pub key: Text,
    /// Before the write; `None` if there was no such key.
    pub before: Option<Stored>,
    /// After it; `None` if it was deleted.
    pub after: Option<Stored>,
}

/// The keys from `key` to `range_end` as etcd has them: no end is one key, `\0` everything after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'a> {
    key: &'a Text,
    range_end: &'a Text,
}

impl<'a> Span<'a> {
    /// The keys that a request names.
    pub fn new(key: &'a Text, range_end: &'a Text) -> Span<'a> {
        Span { key, range_end }
    }

    /// One key.
    pub(crate) fn key(key: &'a Text) -> Span<'a> {
        static NO_END: LazyLock<Text> = LazyLock::new(Text::default);
        Span { key, range_end: &NO_END }
    }

    /// The one key of a span without an end.
    pub fn single(&self) -> Option<&'a Text> {
        self.range_end.is_empty().then_some(self.key)
    }

    /// Whether the span has no end: it holds every key from its first on.
    pub fn is_open(&self) -> bool {
        self.range_end.as_bytes() == [0]
    }

    /// Whether every key there can be is in the span.
    pub fn is_everything(&self) -> bool {
        self.is_open() && matches!(self.key.as_bytes(), [] | [0])
    }

    /// Whether `key` is in the span.
    pub fn contains(&self, key: &Text) -> bool {
        if self.range_end.is_empty() {
            return key == self.key;
        }
        self.key <= key && (self.is_open() || key < self.range_end)
    }

    /// The span as bounds of an ordered map; `None` if it is empty.
    pub(crate) fn bounds(&self) -> Option<(Bound<&'a Text>, Bound<&'a Text>)> {
        if self.range_end.is_empty() {
            return Some((Bound::Included(self.key), Bound::Included(self.key)));
        }
        if self.is_open() {
            return Some((Bound::Included(self.key), Bound::Unbounded));
        }
        (self.key < self.range_end)
            .then_some((Bound::Included(self.key), Bound::Excluded(self.range_end)))
    }
}

/// The live keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyspace {
    stored: HashMap<Text, Stored, Hashing>,
    keys: BTreeSet<Text>,
    leased: HashMap<i64, BTreeSet<Text>>,
}

impl Keyspace {
    /// Keys that are there before the first operation.
    pub fn with(initial: &[KeyValue]) -> Keyspace {
        let mut keyspace = Keyspace::default();
        for kv in initial {
            keyspace.set(&kv.key, Some(Stored::from(kv)));
        }
        keyspace
    }

    /// Keys copied from elsewhere.
    pub(crate) fn copied<'k>(keys: impl Iterator<Item = (&'k Text, &'k Stored)>) -> Keyspace {
        let mut keyspace = Keyspace::default();
        for (key, stored) in keys {
            keyspace.set(key, Some(stored.clone()));
        }
        keyspace
    }

    /// The key, if it lives.
    pub fn get(&self, key: &Text) -> Option<&Stored> {
        self.stored.get(key)
    }

    /// The live keys of a span, ascending.
    pub fn span<'k>(&'k self, span: Span<'_>) -> impl Iterator<Item = (&'k Text, &'k Stored)> {
        let single = span.single().and_then(|key| self.stored.get_key_value(key));
        let bounds = if span.single().is_some() { None } else { span.bounds() };
        let many = bounds.map(|bounds| self.keys.range::<Text, _>(bounds));
        single.into_iter().chain(many.into_iter().flatten().map(|key| self.entry(key)))
    }

    /// All live keys, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Stored)> {
        self.keys.iter().map(|key| self.entry(key))
    }

    fn entry<'k>(&'k self, key: &'k Text) -> (&'k Text, &'k Stored) {
        (key, &self.stored[key])
    }

    /// Number of live keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// No live key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys attached to `lease`, ascending.
    pub fn attached(&self, lease: i64) -> impl Iterator<Item = &Text> {
        self.leased.get(&lease).into_iter().flatten()
    }

    /// Whether any key is attached to a lease.
    pub(crate) fn has_leases(&self) -> bool {
        !self.leased.is_empty()
    }

    /// Writes a key at `revision`. With `ignore_value` or `ignore_lease` the key must live.
    pub fn put(&mut self, put: &Put, revision: i64) -> Change {
        let key = &put.key;
        let Some(stored) = self.stored.get_mut(key) else {
            let (value, lease) = (put.value.clone(), put.lease);
            let after = Stored {
                value,
                create_revision: revision,
                mod_revision: revision,
                version: 1,
                lease,
            };
            self.set(key, Some(after.clone()));
            return Change { key: key.clone(), before: None, after: Some(after) };
        };
        let after = Stored {
            value: if put.ignore_value { stored.value.clone() } else { put.value.clone() },
            create_revision: stored.create_revision,
            mod_revision: revision,
            version: stored.version.saturating_add(1),
            lease: if put.ignore_lease { stored.lease } else { put.lease },
        };
        let before = std::mem::replace(stored, after.clone());
        self.reattach(key, before.lease, after.lease);
        Change { key: key.clone(), before: Some(before), after: Some(after) }
    }

    /// Deletes the live keys of a span, ascending.
    pub fn delete_span(&mut self, span: Span<'_>, changes: &mut Vec<Change>) -> usize {
        if let Some(key) = span.single() {
            let Some(before) = self.set(key, None) else { return 0 };
            changes.push(Change { key: key.clone(), before: Some(before), after: None });
            return 1;
        }
        let keys: Vec<Text> = self.span(span).map(|(key, _)| key.clone()).collect();
        let deleted = keys.len();
        for key in keys {
            let before = self.set(&key, None);
            changes.push(Change { key, before, after: None });
        }
        deleted
    }

    /// Deletes the keys attached to `lease`, ascending: what the lease's end does.
    pub fn delete_attached(&mut self, lease: i64, changes: &mut Vec<Change>) {
        let keys: Vec<Text> = self.attached(lease).cloned().collect();
        for key in keys {
            let before = self.set(&key, None);
            changes.push(Change { key, before, after: None });
        }
    }

    /// Takes back the changes of a write. They must be the latest ones not taken back.
    pub fn undo(&mut self, changes: &[Change]) {
        for change in changes.iter().rev() {
            let after = self.set(&change.key, change.before.clone());
            debug_assert_eq!(after, change.after, "changes are taken back in reverse order");
        }
    }

    /// Does the changes of a write again.
    pub fn redo(&mut self, changes: &[Change]) {
        for change in changes {
            self.set(&change.key, change.after.clone());
        }
    }

    /// Whether a comparison holds now.
    pub fn holds(&self, compare: &Compare) -> bool {
        let mut found = false;
        for (_, stored) in self.span(Span::new(&compare.key, &compare.range_end)) {
            found = true;
            if !satisfies(compare, stored) {
                return false;
            }
        }
        // Nothing there: every number compares as 0, and there is no value to compare.
        found
            || match &compare.target {
                CompareTarget::Value(_) => false,
                CompareTarget::Version(operand)
                | CompareTarget::Create(operand)
                | CompareTarget::Mod(operand)
                | CompareTarget::Lease(operand) => compare.result.admits(0.cmp(operand)),
            }
    }

    fn set(&mut self, key: &Text, after: Option<Stored>) -> Option<Stored> {
        let lease_after = after.as_ref().map_or(0, |stored| stored.lease);
        let before = match after {
            None => {
                let before = self.stored.remove(key);
                if before.is_some() {
                    self.keys.remove(key);
                }
                before
            }
            Some(after) => {
                if let Some(stored) = self.stored.get_mut(key) {
                    Some(std::mem::replace(stored, after))
                } else {
                    self.keys.insert(key.clone());
                    self.stored.insert(key.clone(), after)
                }
            }
        };
        let lease_before = before.as_ref().map_or(0, |stored| stored.lease);
        self.reattach(key, lease_before, lease_after);
        before
    }

    fn reattach(&mut self, key: &Text, from: i64, to: i64) {
        if from == to {
            return;
        }
        if from != 0
            && let Some(keys) = self.leased.get_mut(&from)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.leased.remove(&from);
            }
        }
        if to != 0 {
            self.leased.entry(to).or_default().insert(key.clone());
        }
    }
}

fn satisfies(compare: &Compare, stored: &Stored) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(operand) => stored.version.cmp(operand),
        CompareTarget::Create(operand) => stored.create_revision.cmp(operand),
        CompareTarget::Mod(operand) => stored.mod_revision.cmp(operand),
        CompareTarget::Lease(operand) => stored.lease.cmp(operand),
        CompareTarget::Value(operand) => stored.value.cmp(operand),
    };
    compare.result.admits(ordering)
}

impl CompareResult {
    fn admits(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            CompareResult::Equal => ordering.is_eq(),
            CompareResult::Greater => ordering.is_gt(),
            CompareResult::Less => ordering.is_lt(),
            CompareResult::NotEqual => ordering.is_ne(),
        }
    }
}
