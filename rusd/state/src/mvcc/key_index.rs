//! What the index knows of one key: its newest revision with everything but the value, the value
//! itself while it is resident, and the revisions before.
//!
//! Invariant: `past` strictly rises and lies below `newest`. A deleted key stays as a tombstone
//! until compaction passes it. Generations are not kept apart: a tombstone in `past` ends one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rusd_proto::mvccpb::KeyValue;

use super::revision::Revision;

/// The version of a put that has none. There is one such key, the empty one, which etcd keeps where a
/// restore raised the revision: no request can name it, but it counts in the hash.
const UNVERSIONED: i64 = -1;

/// All revisions of one key.
#[derive(Debug)]
pub(crate) struct KeyEntry {
    newest: Newest,
    resident: Option<Arc<KeyValue>>,
    past: Vec<Past>,
    /// Read or written since the eviction hand passed last.
    touched: AtomicBool,
}

/// The newest revision of a key, without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    /// When.
    pub(crate) revision: Revision,
    /// Main revision of the key's creation.
    pub(crate) create_revision: i64,
    /// Writes since the creation; 0 means that this is a tombstone.
    pub(crate) version: i64,
    /// Attached lease, 0 if none.
    pub(crate) lease: i64,
}

/// An earlier revision of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Past {
    main: i64,
    sub: u32,
    deleted: bool,
}

/// What a key was at some revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// It did not exist.
    Absent,
    /// What it is now.
    Newest,
    /// Its value stands in history under this revision.
    Past(Revision),
}

/// What compaction leaves of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Some revisions are left.
    Some,
    /// Nothing is left: the key goes from the index.
    Nothing,
}

impl Newest {
    fn of(revision: Revision, kv: &KeyValue) -> Self {
        Newest {
            revision,
            create_revision: kv.create_revision,
            version: if kv.version == 0 { UNVERSIONED } else { kv.version },
            lease: kv.lease,
        }
    }

    fn tombstone(revision: Revision) -> Self {
        Newest { revision, create_revision: 0, version: 0, lease: 0 }
    }

    /// The key was deleted at this revision.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.version == 0
    }
}

impl KeyEntry {
    /// A key that is written for the first time.
    pub(crate) fn new(revision: Revision, kv: Arc<KeyValue>) -> Self {
        KeyEntry {
            newest: Newest::of(revision, &kv),
            resident: Some(kv),
            past: Vec::new(),
            touched: AtomicBool::new(false),
        }
    }

    /// A key whose oldest known revision is its deletion.
    pub(crate) fn new_tombstone(revision: Revision) -> Self {
        KeyEntry {
            newest: Newest::tombstone(revision),
            resident: None,
            past: Vec::new(),
            touched: AtomicBool::new(false),
        }
    }

    /// The newest revision.
    pub(crate) fn newest(&self) -> &Newest {
        &self.newest
    }

    /// The newest value, if it is in memory.
    pub(crate) fn resident(&self) -> Option<&Arc<KeyValue>> {
        self.resident.as_ref()
    }

    /// Marks the key as used, for the eviction hand.
    pub(crate) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the mark away; tells whether it was there.
    pub(crate) fn untouch(&mut self) -> bool {
        std::mem::take(self.touched.get_mut())
    }

    /// The newest key-value without its value.
    pub(crate) fn metadata(&self, key: &[u8]) -> KeyValue {
        KeyValue {
            key: Bytes::copy_from_slice(key),
            create_revision: self.newest.create_revision,
            mod_revision: self.newest.revision.main,
            version: self.newest.version.max(0),
            value: Bytes::new(),
            lease: self.newest.lease,
        }
    }

    /// Writes the key. Gives the resident value that was replaced.
    pub(crate) fn put(&mut self, revision: Revision, kv: Arc<KeyValue>) -> Option<Arc<KeyValue>> {
        self.advance(Newest::of(revision, &kv));
        self.resident.replace(kv)
    }

    /// Deletes the key. Gives the resident value that was deleted.
    pub(crate) fn delete(&mut self, revision: Revision) -> Option<Arc<KeyValue>> {
        self.advance(Newest::tombstone(revision));
        self.resident.take()
    }

    fn advance(&mut self, newest: Newest) {
        assert!(newest.revision > self.newest.revision, "the revisions of a key rise");
        self.past.push(Past::of(&self.newest));
        self.newest = newest;
    }

    /// A key whose value, and all that is told with it, is not known yet, while the index is loaded.
    pub(crate) fn new_unknown(revision: Revision) -> Self {
        let mut entry = KeyEntry::new_tombstone(revision);
        entry.newest.version = 1;
        entry
    }

    /// Sets what is told with the newest value, while the index is loaded.
    pub(crate) fn set_newest(&mut self, kv: &KeyValue) {
        self.newest = Newest::of(self.newest.revision, kv);
    }

    /// Sets the earlier revisions, while the index is loaded; ascending.
    pub(crate) fn set_past(&mut self, revisions: impl Iterator<Item = (Revision, bool)>) {
        self.past = revisions
            .map(|(revision, deleted)| Past { main: revision.main, sub: sub_of(revision), deleted })
            .collect();
        assert!(self.past.is_sorted_by_key(Past::revision), "past revisions rise");
        let last = self.past.last().map(Past::revision);
        assert!(last.is_none_or(|last| last < self.newest.revision), "past lies below newest");
    }

    /// Drops the value from memory; history has it.
    pub(crate) fn evict(&mut self) -> Option<Arc<KeyValue>> {
        self.resident.take()
    }

    /// What the key was right after the write `main`.
    pub(crate) fn at(&self, main: i64) -> At {
        if self.newest.revision.main <= main {
            return if self.newest.is_tombstone() { At::Absent } else { At::Newest };
        }
        let after = self.past.partition_point(|past| past.main <= main);
        match after.checked_sub(1).map(|i| &self.past[i]) {
            Some(past) if !past.deleted => At::Past(past.revision()),
            _ => At::Absent,
        }
    }

    /// The index still knows this revision of the key.
    pub(crate) fn retains(&self, revision: Revision) -> bool {
        self.newest.revision == revision
            || self.past.binary_search_by_key(&revision, Past::revision).is_ok()
    }

    /// Drops what no read at `compact` or later needs: all below the newest revision at or below
    /// it, and that one too if it is a tombstone of an earlier write. A tombstone of exactly that
    /// revision stays, because a watch may still start there (etcd since 3.5.16).
    pub(crate) fn compact(&mut self, compact: i64) -> Kept {
        if self.newest.revision.main <= compact {
            self.past = Vec::new();
            let is_dead = self.newest.is_tombstone() && self.newest.revision.main < compact;
            return if is_dead { Kept::Nothing } else { Kept::Some };
        }
        let after = self.past.partition_point(|past| past.main <= compact);
        if let Some(last) = after.checked_sub(1) {
            let is_dead = self.past[last].deleted && self.past[last].main < compact;
            self.past.drain(..if is_dead { after } else { last });
            if self.past.capacity() > 4 * (self.past.len() + 4) {
                self.past.shrink_to_fit();
            }
        }
        Kept::Some
    }
}

impl Past {
    fn of(newest: &Newest) -> Self {
        Past {
            main: newest.revision.main,
            sub: sub_of(newest.revision),
            deleted: newest.is_tombstone(),
        }
    }

    fn revision(&self) -> Revision {
        Revision { main: self.main, sub: i64::from(self.sub) }
    }
}

fn sub_of(revision: Revision) -> u32 {
    u32::try_from(revision.sub).expect("a transaction has fewer than 2^32 operations")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(main: i64) -> Revision {
        Revision::first_of(main)
    }

    fn kv(main: i64) -> Arc<KeyValue> {
        Arc::new(KeyValue { mod_revision: main, version: 1, ..KeyValue::default() })
    }

    /// Written at 2 and 4, deleted at 6, written at 8.
    fn entry() -> KeyEntry {
        let mut entry = KeyEntry::new(revision(2), kv(2));
        entry.put(revision(4), kv(4));
        entry.delete(revision(6));
        entry.put(revision(8), kv(8));
        entry
    }

    fn history(entry: &KeyEntry) -> Vec<At> {
        (1..=9).map(|main| entry.at(main)).collect()
    }

    #[test]
    fn a_read_finds_the_newest_revision_at_or_below() {
        let [two, four] = [At::Past(revision(2)), At::Past(revision(4))];
        let absent = At::Absent;
        assert_eq!(
            history(&entry()),
            [absent, two, two, four, four, absent, absent, At::Newest, At::Newest]
        );
    }

    #[test]
    fn compaction_keeps_every_later_read_exact() {
        for compact in 1..=9 {
            let before = entry();
            let mut after = entry();
            assert_eq!(after.compact(compact), Kept::Some);
            for main in compact..=9 {
                assert_eq!(after.at(main), before.at(main), "compact {compact}, read {main}");
            }
        }
    }

    #[test]
    fn a_tombstone_outlives_compaction_only_at_its_own_revision() {
        let mut entry = KeyEntry::new(revision(2), kv(2));
        entry.delete(revision(6));
        assert_eq!(entry.compact(6), Kept::Some);
        assert!(entry.retains(revision(6)) && !entry.retains(revision(2)));
        assert_eq!(entry.compact(7), Kept::Nothing);
    }

    #[test]
    fn a_tombstone_in_the_past_goes_too() {
        let mut entry = entry();
        entry.compact(7);
        assert!(!entry.retains(revision(6)) && entry.retains(revision(8)));
    }

    #[test]
    fn two_operations_of_one_write_are_kept_apart() {
        let mut entry = KeyEntry::new(Revision { main: 2, sub: 0 }, kv(2));
        entry.put(Revision { main: 2, sub: 1 }, kv(2));
        entry.put(Revision { main: 3, sub: 0 }, kv(3));
        assert_eq!(entry.at(2), At::Past(Revision { main: 2, sub: 1 }));
    }
}
