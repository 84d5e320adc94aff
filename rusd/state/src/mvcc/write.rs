//! One write: everything it changes gets one main revision.
//!
//! Reads made through it see what it has written so far. Nobody else does, because the write lock
//! is held from its beginning to its end. It cannot be taken back: whatever could be refused is
//! checked before the first change.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rusd_proto::mvccpb::KeyValue;

use super::index_key::IndexKey;
use super::key_index::At;
use super::key_range::KeyRange;
use super::read::Source;
use super::revision::Revision;
use super::store::Store;
use crate::event::{Event, Events, Prev};
use crate::lease::lessor::Lessor;
use crate::planted::{Bug, is_planted};
use crate::storage::History;
use crate::storage::change::{EntryKind, HistoryEntry};

/// A write in progress.
#[derive(Debug)]
pub(crate) struct WriteTxn<'a> {
    store: &'a mut Store,
    lessor: &'a mut Lessor,
    history: &'a History,
    /// Revision of the store before this write.
    begin: i64,
    changes: Vec<HistoryEntry>,
    /// What was before each change. The first stands apart, so that a put allocates nothing for it.
    prev_first: Option<Prev>,
    prevs_more: Vec<Prev>,
    /// Changes cut off under an earlier revision; only a planted bug does that.
    #[cfg(feature = "planted-bugs")]
    split_off: Vec<HistoryEntry>,
}

/// What a write changed.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// For history, in operation order.
    pub(crate) changes: Vec<HistoryEntry>,
    /// The same for watchers.
    pub(crate) events: Events,
    /// See [`WriteTxn::split`].
    #[cfg(feature = "planted-bugs")]
    pub(crate) split_off: Vec<HistoryEntry>,
}

impl<'a> WriteTxn<'a> {
    /// Begins a write. It takes a revision only if it changes something.
    pub(crate) fn new(store: &'a mut Store, lessor: &'a mut Lessor, history: &'a History) -> Self {
        let begin = store.current();
        WriteTxn {
            store,
            lessor,
            history,
            begin,
            changes: Vec::new(),
            prev_first: None,
            prevs_more: Vec::new(),
            #[cfg(feature = "planted-bugs")]
            split_off: Vec::new(),
        }
    }

    /// The revision that a read sees now: the write's own once it has changed something.
    pub(crate) fn current(&self) -> i64 {
        if self.changes.is_empty() { self.begin } else { self.begin + 1 }
    }

    /// The leases.
    pub(crate) fn lessor(&self) -> &Lessor {
        self.lessor
    }

    /// The index.
    pub(crate) fn store(&self) -> &Store {
        self.store
    }

    /// Writes a key. The lease must exist.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8], mut lease: i64) {
        let revision = self.next_revision();
        let (key_bytes, value_bytes) = compacted(key, value);
        let mut lease_before = 0;
        let mut written = None;
        let prev = self.store.put(key, revision, |entry| {
            let before = entry.map(|entry| *entry.newest()).filter(|newest| !newest.is_tombstone());
            lease_before = before.map_or(0, |newest| newest.lease);
            if lease == 0 && is_planted(Bug::LeaseStays) {
                lease = lease_before;
            }
            let is_made_again = entry.is_some() && before.is_none();
            let mut created = before.map_or(revision.main, |newest| newest.create_revision);
            if let Some(deleted) = entry.filter(|_| before.is_none())
                && is_planted(Bug::CreateRevisionSurvivesDelete)
            {
                created = deleted.newest().revision.main;
            }
            let survived = i64::from(is_made_again && is_planted(Bug::VersionSurvivesDelete));
            let kv = Arc::new(KeyValue {
                key: key_bytes,
                create_revision: created,
                mod_revision: revision.main,
                version: before.map_or(survived, |newest| newest.version) + 1,
                value: value_bytes,
                lease,
            });
            written = Some(Arc::clone(&kv));
            kv
        });
        let kv = written.expect("the store asks for the key-value exactly once");
        self.lessor.reattach(key, lease_before, lease);
        self.push(HistoryEntry { revision, kind: EntryKind::Put, kv }, prev);
    }

    /// Deletes what exists of a range; gives how many keys.
    pub(crate) fn delete_range(&mut self, range: &KeyRange<'_>) -> i64 {
        let now = self.current();
        let found: Vec<IndexKey> = self
            .store
            .entries(range, None)
            .filter(|(_, entry)| entry.at(now) != At::Absent)
            .map(|(key, _)| key.clone())
            .collect();
        let left = usize::from(found.len() > 1 && is_planted(Bug::DeleteRangeLeavesLast));
        for key in &found[..found.len() - left] {
            self.delete(key.as_slice());
        }
        i64::try_from(found.len()).expect("keys fit in memory")
    }

    fn delete(&mut self, key: &[u8]) {
        let revision = self.next_revision();
        let lease = self.store.entry(key).map_or(0, |entry| entry.newest().lease);
        let prev = self.store.delete(key, revision);
        self.lessor.reattach(key, lease, 0);
        let kv = Arc::new(KeyValue {
            key: Bytes::copy_from_slice(key),
            mod_revision: revision.main,
            ..KeyValue::default()
        });
        self.push(HistoryEntry { revision, kind: EntryKind::Delete, kv }, prev);
    }

    /// `prev` is what the change itself replaced; an event tells what was there before the whole
    /// revision, as etcd does.
    fn push(&mut self, change: HistoryEntry, prev: Prev) {
        let is_own = |kv: &KeyValue| kv.mod_revision == change.revision.main;
        let prev = match prev {
            Prev::Known(kv) if is_own(&kv) => self.prev_of_first(&change.kv.key),
            prev => prev,
        };
        if self.changes.is_empty() {
            // Nearly every write changes one key.
            self.changes.reserve_exact(1);
        }
        self.changes.push(change);
        if self.prev_first.is_none() {
            self.prev_first = Some(prev);
        } else {
            self.prevs_more.push(prev);
        }
    }

    /// What the write's first change of this key replaced.
    fn prev_of_first(&self, key: &Bytes) -> Prev {
        let prevs = self.prev_first.iter().chain(&self.prevs_more);
        let first = self.changes.iter().zip(prevs).find(|(change, _)| change.kv.key == *key);
        first.map_or(Prev::Absent, |(_, prev)| prev.clone())
    }

    /// Ends the write; its revision becomes the store's.
    pub(crate) fn finish(self) -> Written {
        let revision = self.current();
        self.store.advance(revision);
        #[cfg(feature = "planted-bugs")]
        let changes = self.split_off.iter().chain(&self.changes);
        #[cfg(not(feature = "planted-bugs"))]
        let changes = self.changes.iter();
        let prevs = self.prev_first.into_iter().chain(self.prevs_more);
        let event = |(change, prev): (&HistoryEntry, Prev)| Event {
            kind: change.kind,
            kv: Arc::clone(&change.kv),
            prev,
        };
        let list: Arc<[Event]> = changes.zip(prevs).map(event).collect();
        Written {
            events: Events { revision, list },
            changes: self.changes,
            #[cfg(feature = "planted-bugs")]
            split_off: self.split_off,
        }
    }

    fn next_revision(&self) -> Revision {
        let sub = i64::try_from(self.changes.len()).expect("operations fit in memory");
        Revision { main: self.begin + 1, sub }
    }
}

/// Planted bugs.
#[cfg(feature = "planted-bugs")]
impl WriteTxn<'_> {
    /// Tells watchers nothing of what was there before.
    pub(crate) fn forget_prevs(&mut self) {
        for prev in self.prev_first.iter_mut().chain(&mut self.prevs_more) {
            *prev = Prev::Absent;
        }
    }

    /// Ends the revision after the first change; the rest goes into the next.
    pub(crate) fn split(&mut self) {
        if self.changes.len() == 1 && self.split_off.is_empty() {
            self.begin += 1;
            self.store.advance(self.begin);
            self.split_off = std::mem::take(&mut self.changes);
        }
    }
}

impl Source for WriteTxn<'_> {
    fn with_store<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        look(self.store)
    }

    fn history(&self) -> &History {
        self.history
    }
}

/// Key and value in one allocation of their own. What a request holds are slices of whatever
/// buffer it arrived in; keeping those would keep whole network or log buffers alive.
fn compacted(key: &[u8], value: &[u8]) -> (Bytes, Bytes) {
    let mut both = BytesMut::with_capacity(key.len() + value.len());
    both.extend_from_slice(key);
    both.extend_from_slice(value);
    let mut key_bytes = both.freeze();
    let value_bytes = key_bytes.split_off(key.len());
    (key_bytes, value_bytes)
}
