//! The ordered index of all keys, and which of their values are in memory.
//!
//! Lives under one `RwLock` with the leases; see `shared`. Holds no value that history does not
//! hold too, so any value may be evicted at any time.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use rusd_proto::mvccpb::KeyValue;

use super::index_key::IndexKey;
use super::key_index::{Kept, KeyEntry};
use super::key_range::KeyRange;
use super::revision::Revision;
use crate::error::ReadError;
use crate::event::Prev;
use crate::planted::{Bug, is_planted};

/// Memory of a resident value beside its key and value: the allocation's and the counters' share.
const RESIDENT_OVERHEAD_BYTES: usize = 128;

/// Revision of a store that was never compacted, as etcd has it.
pub(crate) const NEVER_COMPACTED: i64 = -1;

/// The index.
#[derive(Debug)]
pub(crate) struct Store {
    keys: BTreeMap<IndexKey, KeyEntry>,
    current: i64,
    compact: i64,
    residency: Residency,
}

/// Which values are in memory. Not part of the replicated state: members may differ.
#[derive(Debug)]
struct Residency {
    bytes: usize,
    bytes_max: usize,
    /// Live keys whose value is not in memory.
    evicted: usize,
    /// Where the eviction hand stands: it visits keys after this one next.
    hand: Option<IndexKey>,
}

impl Store {
    /// An empty store.
    pub(crate) fn new(resident_bytes_max: usize) -> Self {
        Store {
            keys: BTreeMap::new(),
            current: 1,
            compact: NEVER_COMPACTED,
            residency: Residency {
                bytes: 0,
                bytes_max: resident_bytes_max,
                evicted: 0,
                hand: None,
            },
        }
    }

    /// Main revision of the last write; 1 before the first.
    pub(crate) fn current(&self) -> i64 {
        self.current
    }

    /// Oldest readable revision; negative if none was ever dropped.
    pub(crate) fn compact(&self) -> i64 {
        self.compact
    }

    /// Moves to a later revision.
    pub(crate) fn advance(&mut self, main: i64) {
        assert!(main >= self.current, "revisions never fall: {main} after {}", self.current);
        self.current = main;
    }

    /// Makes older revisions unreadable.
    pub(crate) fn set_compact(&mut self, compact: i64) {
        assert!(compact <= self.current, "only what has happened is compacted");
        self.compact = compact;
    }

    /// The revision that a request for `requested` reads at, as etcd decides it.
    pub(crate) fn resolve(&self, requested: i64) -> Result<i64, ReadError> {
        if requested == self.compact && is_planted(Bug::CompactRevisionUnreadable) {
            return Err(ReadError::Compacted { compact: self.compact });
        }
        readable(requested, self.current, self.compact)
    }

    /// What is known of one key.
    pub(crate) fn entry(&self, key: &[u8]) -> Option<&KeyEntry> {
        self.keys.get(key)
    }

    /// Keys of a range in order, after `after` if given. Includes deleted ones.
    pub(crate) fn entries<'a>(
        &'a self,
        range: &KeyRange<'_>,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a IndexKey, &'a KeyEntry)> + use<'a> {
        let bounds = range.bounds(after);
        bounds.map(|bounds| self.keys.range::<[u8], _>(bounds)).into_iter().flatten()
    }

    /// Some live value is only in history.
    pub(crate) fn has_evicted(&self) -> bool {
        self.residency.evicted > 0
    }

    /// Number of keys known, deleted ones included.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Writes a key; `make` gets the key's entry before, if it has one.
    pub(crate) fn put(
        &mut self,
        key: &[u8],
        revision: Revision,
        make: impl FnOnce(Option<&KeyEntry>) -> Arc<KeyValue>,
    ) -> Prev {
        let Some(entry) = self.keys.get_mut(key) else {
            let kv = make(None);
            self.residency.add(&kv);
            self.keys.insert(key.into(), KeyEntry::new(revision, kv));
            return Prev::Absent;
        };
        let before = *entry.newest();
        let kv = make(Some(entry));
        self.residency.add(&kv);
        let replaced = entry.put(revision, kv);
        entry.touch();
        self.residency.left(before.is_tombstone(), before.revision, replaced)
    }

    /// Deletes a key that exists.
    pub(crate) fn delete(&mut self, key: &[u8], revision: Revision) -> Prev {
        let entry = self.keys.get_mut(key).expect("only keys that were found are deleted");
        let before = *entry.newest();
        assert!(!before.is_tombstone(), "a deleted key cannot be deleted");
        let replaced = entry.delete(revision);
        self.residency.left(false, before.revision, replaced)
    }

    /// Compacts up to `keys_max` keys after `after`; gives the last one visited, or `None` when
    /// the end was reached.
    pub(crate) fn compact_keys(
        &mut self,
        compact: i64,
        after: Option<&IndexKey>,
        keys_max: usize,
    ) -> Option<IndexKey> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut dead = Vec::new();
        let mut last = None;
        let visited = self.keys.range_mut::<IndexKey, _>((start, Bound::Unbounded)).take(keys_max);
        let mut count = 0;
        for (key, entry) in visited {
            count += 1;
            if entry.compact(compact) == Kept::Nothing {
                dead.push(key.clone());
            }
            last = Some(key);
        }
        let last = if count < keys_max { None } else { last.cloned() };
        for key in dead {
            self.keys.remove(&key);
        }
        last
    }

    /// Moves the eviction hand over up to `keys_max` keys, as long as memory is over its limit. A
    /// key that was used since the hand's last visit is spared once (the clock algorithm).
    pub(crate) fn evict(&mut self, keys_max: usize) {
        let mut visits_left = keys_max;
        while self.residency.is_over() && visits_left > 0 {
            let start = match &self.residency.hand {
                Some(hand) => Bound::Excluded(hand.as_slice()),
                None => Bound::Unbounded,
            };
            let mut last = None;
            for (key, entry) in self.keys.range_mut::<[u8], _>((start, Bound::Unbounded)) {
                visits_left -= 1;
                if entry.resident().is_some()
                    && !entry.untouch()
                    && let Some(kv) = entry.evict()
                {
                    self.residency.bytes -= cost(&kv);
                    self.residency.evicted += 1;
                }
                if !self.residency.is_over() || visits_left == 0 {
                    last = Some(key.clone());
                    break;
                }
            }
            self.residency.hand = last;
        }
    }
}

/// Loading, before the store is shared.
impl Store {
    /// Sets where the store stands.
    pub(crate) fn load_revisions(&mut self, current: i64, compact: i64) {
        self.current = current;
        self.compact = compact;
    }

    /// Sets all that is known of a key at the fold.
    pub(crate) fn load_image(
        &mut self,
        key: &[u8],
        revisions: &[(Revision, bool)],
        kv: Option<Arc<KeyValue>>,
    ) {
        let Some(((newest, deleted), past)) = revisions.split_last() else { return };
        let mut entry = match kv {
            Some(kv) if !*deleted => {
                self.residency.add(&kv);
                KeyEntry::new(*newest, kv)
            }
            _ if *deleted => KeyEntry::new_tombstone(*newest),
            _ => {
                self.residency.evicted += 1;
                KeyEntry::new_unknown(*newest)
            }
        };
        entry.set_past(past.iter().copied());
        if self.residency.is_over()
            && let Some(kv) = entry.evict()
        {
            self.residency.bytes -= cost(&kv);
            self.residency.evicted += 1;
        }
        self.keys.insert(key.into(), entry);
    }

    /// Sets what is told with the newest value of a key that was loaded without it. The value itself
    /// stays in history.
    pub(crate) fn load_value(&mut self, key: &[u8], kv: &KeyValue) {
        self.keys.get_mut(key).expect("it was loaded").set_newest(kv);
    }

    /// Applies a change read from history; one that the image already holds changes nothing.
    pub(crate) fn replay(&mut self, key: &[u8], revision: Revision, kv: Option<Arc<KeyValue>>) {
        let newest = self.keys.get(key).map(|entry| *entry.newest());
        if newest.is_some_and(|newest| newest.revision >= revision) {
            return;
        }
        match (kv, newest) {
            (Some(kv), _) => {
                self.put(key, revision, |_| kv);
            }
            (None, Some(newest)) if !newest.is_tombstone() => {
                self.delete(key, revision);
            }
            // The put before it was compacted away, the tombstone was not yet.
            (None, _) => {
                self.keys.insert(key.into(), KeyEntry::new_tombstone(revision));
            }
        }
        self.evict(KEYS_EVICTED_PER_REPLAY);
    }
}

/// Keys the eviction hand visits for each change that is replayed.
const KEYS_EVICTED_PER_REPLAY: usize = 64;

impl Residency {
    fn add(&mut self, kv: &KeyValue) {
        self.bytes += cost(kv);
    }

    fn is_over(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// Accounts for a value that is no longer the newest.
    fn left(&mut self, was_absent: bool, at: Revision, kv: Option<Arc<KeyValue>>) -> Prev {
        match kv {
            _ if was_absent => Prev::Absent,
            Some(kv) => {
                self.bytes -= cost(&kv);
                Prev::Known(kv)
            }
            None => {
                self.evicted -= 1;
                Prev::Stored(at)
            }
        }
    }
}

fn cost(kv: &KeyValue) -> usize {
    kv.key.len() + kv.value.len() + RESIDENT_OVERHEAD_BYTES
}

/// The revision that a request for `requested` reads at: not after `current`, not before `compact`,
/// and `current` if it names none.
pub(crate) fn readable(requested: i64, current: i64, compact: i64) -> Result<i64, ReadError> {
    if requested > current {
        return Err(ReadError::FutureRevision { current });
    }
    let main = if requested <= 0 { current } else { requested };
    if main < compact {
        return Err(ReadError::Compacted { compact });
    }
    Ok(main)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn kv(main: i64) -> Arc<KeyValue> {
        let value = Bytes::from(vec![0; 100]);
        Arc::new(KeyValue { mod_revision: main, version: 1, value, ..KeyValue::default() })
    }

    #[test]
    fn values_over_the_budget_are_evicted_and_used_ones_spared() {
        let mut store = Store::new(10 * (100 + RESIDENT_OVERHEAD_BYTES));
        for main in 2..32 {
            let key = format!("{main:02}");
            store.put(key.as_bytes(), Revision::first_of(main), |_| kv(main));
            store.entry(b"02").unwrap().touch();
            store.evict(64);
        }
        let resident = store
            .entries(&KeyRange::From(b""), None)
            .filter(|(_, entry)| entry.resident().is_some())
            .count();
        assert_eq!(resident, 10);
        assert_eq!(store.residency.evicted, 20);
        assert!(store.entry(b"02").unwrap().resident().is_some());
    }

    #[test]
    fn accounting_returns_to_zero() {
        let mut store = Store::new(300);
        for main in 2..12 {
            store
                .put(&[b'a' + u8::try_from(main).unwrap()], Revision::first_of(main), |_| kv(main));
            store.evict(64);
        }
        let keys: Vec<IndexKey> =
            store.entries(&KeyRange::From(b""), None).map(|(key, _)| key.clone()).collect();
        for (main, key) in (12..).zip(keys) {
            store.delete(key.as_slice(), Revision::first_of(main));
        }
        assert_eq!((store.residency.bytes, store.residency.evicted), (0, 0));
    }
}
