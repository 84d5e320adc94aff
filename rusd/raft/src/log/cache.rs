//! The newest entries, in memory.
//!
//! A contiguous run that ends with the log's last entry, bounded by the bytes of its data; of what the
//! log has forgotten it holds nothing.

use std::collections::VecDeque;

use bytes::Bytes;
use rusd_proto::raftpb::Entry;

/// What an entry costs besides its data.
const ENTRY_OVERHEAD_BYTES: usize = 128;

#[derive(Debug)]
pub(super) struct EntryCache {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

fn cost(entry: &Entry) -> usize {
    entry.data.as_ref().map_or(0, Bytes::len) + ENTRY_OVERHEAD_BYTES
}

impl EntryCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Takes the next entry of the log; it replaces those from its index on.
    pub(super) fn push(&mut self, entry: Entry) {
        while self.entries.back().is_some_and(|last| last.index() >= entry.index()) {
            let dropped = self.entries.pop_back().expect("there is a last one");
            self.bytes -= cost(&dropped);
        }
        if self.entries.back().is_some_and(|last| last.index() + 1 != entry.index()) {
            self.clear();
        }
        self.bytes += cost(&entry);
        self.entries.push_back(entry);
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            let dropped = self.entries.pop_front().expect("there is a first one");
            self.bytes -= cost(&dropped);
        }
    }

    /// Forgets the entries up to this index, as the log does.
    pub(super) fn forget(&mut self, until: u64) {
        while self.entries.front().is_some_and(|first| first.index() <= until) {
            let forgotten = self.entries.pop_front().expect("there is a first one");
            self.bytes -= cost(&forgotten);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// The entry at `index`.
    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        let first = self.entries.front()?.index();
        let position = usize::try_from(index.checked_sub(first)?).ok()?;
        self.entries.get(position)
    }

    /// The oldest index held; `u64::MAX` when empty.
    pub(super) fn first_index(&self) -> u64 {
        self.entries.front().map_or(u64::MAX, Entry::index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry {
            index: Some(index),
            term: Some(term),
            data: Some(vec![7; 100].into()),
            ..Default::default()
        }
    }

    #[test]
    fn keeps_the_newest_and_replaces_from_an_index_on() {
        let mut cache = EntryCache::new(3 * (100 + ENTRY_OVERHEAD_BYTES));
        (1..=5).for_each(|index| cache.push(entry(index, 1)));
        assert_eq!(cache.first_index(), 3);
        cache.push(entry(4, 2));
        assert_eq!(cache.get(4).unwrap().term(), 2);
        assert_eq!(cache.get(5), None);
        assert_eq!(cache.get(2), None);
        assert_eq!(cache.first_index(), 3);
        cache.push(entry(2, 3));
        assert_eq!(cache.first_index(), 2);
        assert_eq!(cache.bytes, 100 + ENTRY_OVERHEAD_BYTES);
    }

    #[test]
    fn forgets_what_the_log_forgets() {
        let mut cache = EntryCache::new(usize::MAX);
        (1..=5).for_each(|index| cache.push(entry(index, 1)));
        cache.forget(0);
        assert_eq!(cache.first_index(), 1);
        cache.forget(3);
        assert_eq!((cache.first_index(), cache.get(3)), (4, None));
        assert_eq!(cache.bytes, 2 * (100 + ENTRY_OVERHEAD_BYTES));
        cache.forget(9);
        assert_eq!((cache.first_index(), cache.bytes), (u64::MAX, 0));
        cache.push(entry(10, 1));
        assert_eq!(cache.first_index(), 10);
    }
}
