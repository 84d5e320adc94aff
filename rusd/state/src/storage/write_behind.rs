//! The write-behind buffer: what was applied and is not in the engine yet.
//!
//! `active` takes what the applier appends; once it is full, or a flush comes, it is sealed. Sealed
//! buffers are dropped only once the engine has them durably. So a reader that finds nothing in any
//! may look in the engine and will find it there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use prost::Message;

use crate::mvcc::revision::Revision;
use crate::storage::Batch;
use crate::storage::blocks::BlockWriter;
use crate::storage::change::{Changes, HistoryEntry, LeaseChange, MetaChange};
use crate::storage::keycode;
use crate::storage::schema::{self, MetaKey, Tree};

/// Memory of an entry besides its key and value.
const ENTRY_OVERHEAD_BYTES: usize = 160;

/// Where the applier stands: the last entry of the log, and the revision it led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Index of the last applied entry of the log.
    pub applied_index: u64,
    /// Its term.
    pub term: u64,
    /// The store's main revision after it.
    pub revision: i64,
    /// The compact revision after it; 0 before the first compaction.
    pub compact_revision: i64,
}

/// Changes of consecutive log entries.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    history: Vec<HistoryEntry>,
    leases: Vec<LeaseChange>,
    meta: Vec<MetaChange>,
    /// After the last of these changes.
    pub(crate) position: Position,
    /// In memory.
    pub(crate) bytes: usize,
}

impl Buffer {
    /// An empty buffer at a position, with room for what another one held.
    pub(crate) fn following(position: Position, capacity: usize) -> Self {
        Buffer { position, history: Vec::with_capacity(capacity), ..Buffer::default() }
    }

    /// How many changes of keys it holds.
    pub(crate) fn entries(&self) -> i64 {
        i64::try_from(self.history.len()).expect("a length fits")
    }

    /// Whether there is nothing in it but a moved applied index.
    pub(crate) fn is_empty(&self) -> bool {
        self.history.is_empty() && self.leases.is_empty() && self.meta.is_empty()
    }

    /// Takes the changes of one log entry; returns how many bytes they hold.
    pub(crate) fn push(&mut self, mut changes: Changes) -> usize {
        let position = &mut self.position;
        assert!(changes.index >= position.applied_index, "entries are appended in log order");
        assert!(changes.term >= position.term, "terms never fall");
        (position.applied_index, position.term) = (changes.index, changes.term);
        if let Some(first) = changes.history.first() {
            assert!(first.revision.main > position.revision, "revisions rise with every write");
            position.revision = first.revision.main;
        }
        for change in &changes.meta {
            if let MetaChange::CompactRevision(revision) = change {
                position.compact_revision = position.compact_revision.max(*revision);
            }
        }
        let entry_bytes =
            |entry: &HistoryEntry| entry.kv.key.len() + entry.kv.value.len() + ENTRY_OVERHEAD_BYTES;
        let entries: usize = changes.history.iter().map(entry_bytes).sum();
        let bytes = entries + (changes.leases.len() + changes.meta.len()) * ENTRY_OVERHEAD_BYTES;
        self.bytes += bytes;
        self.history.append(&mut changes.history);
        self.leases.append(&mut changes.leases);
        self.meta.append(&mut changes.meta);
        bytes
    }

    fn entry(&self, revision: Revision) -> Option<&HistoryEntry> {
        let found = self.history.binary_search_by_key(&revision, |entry| entry.revision);
        found.ok().map(|position| &self.history[position])
    }

    fn main_first(&self) -> Option<i64> {
        self.history.first().map(|entry| entry.revision.main)
    }

    /// Entries from the main revision `from` on.
    fn entries_from(&self, from: i64) -> &[HistoryEntry] {
        let start = self.history.partition_point(|entry| entry.revision.main < from);
        &self.history[start..]
    }

    /// Writes everything into a batch: blocks, leases and `meta`.
    pub(crate) fn pack(&self, block_bytes: usize) -> Batch {
        let mut batch = Batch::default();
        let mut writer = BlockWriter::new(&mut batch, block_bytes);
        for revision in self.history.chunk_by(|a, b| a.revision.main == b.revision.main) {
            writer.push_revision(revision);
        }
        writer.finish();
        self.pack_leases(&mut batch);
        self.meta.iter().for_each(|change| pack_meta(change, &mut batch));
        self.position.pack(&mut batch);
        batch
    }

    fn pack_leases(&self, batch: &mut Batch) {
        let mut latest = BTreeMap::new();
        for change in &self.leases {
            match change {
                LeaseChange::Put(lease) => latest.insert(lease.id, Some(lease)),
                LeaseChange::Delete(id) => latest.insert(*id, None),
            };
        }
        for (id, lease) in latest {
            let key = keycode::lease_key(id);
            match lease {
                Some(lease) => batch.put(Tree::Lease, &key, lease.encode_to_vec()),
                None => batch.remove(Tree::Lease, &key),
            }
        }
    }
}

fn pack_meta(change: &MetaChange, batch: &mut Batch) {
    let (key, value) = match change {
        // It stands in the position, which is written in any case.
        MetaChange::CompactRevision(_) => return,
        MetaChange::ConfState(bytes) => (MetaKey::ConfState, Some(bytes.to_vec())),
        MetaChange::Member(id, bytes) => {
            (MetaKey::Member(*id), bytes.as_ref().map(|bytes| bytes.to_vec()))
        }
        MetaChange::ClusterVersion(version) => {
            (MetaKey::ClusterVersion, Some(version.clone().into_bytes()))
        }
        MetaChange::Named(name, bytes) => {
            (MetaKey::Named(name.clone()), bytes.as_ref().map(|bytes| bytes.to_vec()))
        }
    };
    match value {
        Some(value) => batch.put(Tree::Meta, &key.encode(), value),
        None => batch.remove(Tree::Meta, &key.encode()),
    }
}

impl Position {
    fn pack(&self, batch: &mut Batch) {
        let mut applied = self.applied_index.to_be_bytes().to_vec();
        applied.extend_from_slice(&self.term.to_be_bytes());
        applied.extend_from_slice(&self.revision.to_be_bytes());
        batch.put(Tree::Meta, &MetaKey::Applied.encode(), applied);
        put_number(batch, &MetaKey::Compact, self.compact_revision);
        put_number(batch, &MetaKey::Format, schema::FORMAT_VERSION);
    }
}

/// Writes a number under a key of `meta`.
pub(crate) fn put_number(batch: &mut Batch, key: &MetaKey, number: i64) {
    batch.put(Tree::Meta, &key.encode(), number.to_be_bytes().to_vec());
}

/// What waits for the engine.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// The oldest first.
    sealed: VecDeque<Arc<Buffer>>,
    active: Buffer,
    /// At which the active buffer is sealed.
    bytes_max: usize,
}

impl Buffers {
    /// Empty buffers of a store that stands at `position`.
    pub(crate) fn at(position: Position, bytes_max: usize) -> Self {
        Buffers { sealed: VecDeque::new(), active: Buffer::following(position, 0), bytes_max }
    }

    /// Takes the changes of one log entry; returns how many bytes they hold.
    pub(crate) fn push(&mut self, changes: Changes) -> usize {
        let bytes = self.active.push(changes);
        if self.active.bytes >= self.bytes_max {
            self.seal();
        }
        bytes
    }

    fn seal(&mut self) {
        let next = Buffer::following(self.active.position, self.active.history.len());
        self.sealed.push_back(Arc::new(std::mem::replace(&mut self.active, next)));
    }

    /// After the last appended change.
    pub(crate) fn position(&self) -> Position {
        self.active.position
    }

    /// Gives the flusher what it shall write, each as a batch: everything that was appended. Appends
    /// go on into a new buffer.
    pub(crate) fn begin_flush(&mut self) -> Vec<Arc<Buffer>> {
        let sealed = self.sealed.back().map(|buffer| buffer.position);
        if sealed != Some(self.active.position) {
            self.seal();
        }
        self.sealed.iter().cloned().collect()
    }

    /// Whether there is nothing but a moved applied index.
    pub(crate) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.active.is_empty()
    }

    /// Drops what was flushed: so many of the oldest buffers.
    pub(crate) fn end_flush(&mut self, count: usize) {
        self.sealed.drain(..count);
    }

    fn all(&self) -> impl Iterator<Item = &Buffer> {
        self.sealed.iter().map(Arc::as_ref).chain(Some(&self.active))
    }

    /// The entry of one revision.
    pub(crate) fn entry(&self, revision: Revision) -> Option<HistoryEntry> {
        let first = self.all().find(|buffer| revision.main <= buffer.position.revision);
        first.and_then(|buffer| buffer.entry(revision)).cloned()
    }

    /// The first main revision that is buffered.
    pub(crate) fn main_first(&self) -> Option<i64> {
        self.all().find_map(Buffer::main_first)
    }

    /// Entries from the main revision `from` on, in order.
    pub(crate) fn entries_from(&self, from: i64) -> impl Iterator<Item = &HistoryEntry> {
        self.all().flat_map(move |buffer| buffer.entries_from(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_has_everything_also_a_moved_applied_index() {
        let mut buffers = Buffers::at(Position::default(), 1);
        let lease = LeaseChange::Delete(7);
        let with_lease = Changes { index: 1, term: 1, leases: vec![lease], ..Changes::default() };
        buffers.push(with_lease);
        buffers.push(Changes { index: 2, term: 1, ..Changes::default() });
        let flushing = buffers.begin_flush();
        let applied: Vec<u64> = flushing.iter().map(|it| it.position.applied_index).collect();
        assert_eq!(applied, [1, 2]);
        // What comes meanwhile is for the next one, and so is what failed.
        buffers.push(Changes { index: 3, term: 1, ..Changes::default() });
        assert_eq!(buffers.begin_flush().len(), 3);
        buffers.end_flush(2);
        assert_eq!(buffers.begin_flush().len(), 1);
        assert_eq!(buffers.position().applied_index, 3);
    }
}
