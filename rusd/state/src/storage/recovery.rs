//! Recovery: what a start finds in the engine.
//!
//! The small records are read at once. Keys are streamed: first the images `index` and `kv` side by
//! side, as of the fold, then all history after the fold, in order. Without images everything is
//! history.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rusd_proto::leasepb::Lease;
use rusd_proto::mvccpb::KeyValue;

use crate::mvcc::revision::Revision;
use crate::storage::Backend;
use crate::storage::blocks::{self, ReadBlock};
use crate::storage::change::{EntryKind, HistoryEntry};
use crate::storage::error::StorageError;
use crate::storage::export::{self, Row};
use crate::storage::fold;
use crate::storage::history::{HistoryOptions, StartFrom};
use crate::storage::keycode;
use crate::storage::schema::{self, FORMAT_VERSION, MetaKey, Tree};
use crate::storage::sequence::Sequence;
use crate::storage::tally::Tally;
use crate::storage::write_behind::Position;

/// The main revision of a store that nothing was written to.
const FRESH_REVISION: i64 = 1;

/// Rows of an image that are read at a time.
const ROWS_AT_ONCE: usize = 512;

/// Entries of history that are taken in the time that one key's rows of the images take: blocks are
/// read many entries at once, rows one by one. Measured on a cold sled, 1M puts of 256 B: 0.3 us per
/// entry, 9.7 us per key; the index in memory adds about 1 us to each.
const ENTRIES_READ_PER_ROW: i64 = 8;

/// What the engine held when the history was opened.
#[derive(Debug, Clone)]
pub struct Recovered {
    backend: Arc<dyn Backend>,
    /// Index of the last applied entry whose effects are here; 0 in a fresh store.
    pub applied_index: u64,
    /// Its term.
    pub term: u64,
    /// The main revision of the store; 1 in a fresh one.
    pub revision: i64,
    /// The compact revision; 0 before the first compaction.
    pub compact_revision: i64,
    /// The revision as of which the images are complete.
    pub fold_revision: i64,
    /// All leases, by id.
    pub leases: Vec<Lease>,
    /// As [`crate::storage::change::MetaChange::ConfState`] gave it.
    pub conf_state: Option<Bytes>,
    /// As [`crate::storage::change::MetaChange::Member`] gave them.
    pub members: BTreeMap<u64, Bytes>,
    /// As [`crate::storage::change::MetaChange::ClusterVersion`] gave it.
    pub cluster_version: Option<String>,
    /// As [`crate::storage::change::MetaChange::Named`] gave them.
    pub named: BTreeMap<String, Bytes>,
    pub(crate) compacted_revision: i64,
    pub(crate) history: Tally,
    pub(crate) images: Tally,
    start_from: StartFrom,
}

/// One thing that a start learns about keys.
#[derive(Debug, Clone, PartialEq)]
pub enum Replayed {
    /// A key as of the fold. Each key once, ascending, before all entries.
    Key(RecoveredKey),
    /// History after the fold, ascending.
    ///
    /// Below the compact revision it may have holes: a delete may come of a key that is not known,
    /// and means nothing then. Entries that the compaction made unreachable may be among them, so
    /// compact once more at the compact revision when the replay is over.
    Entry(HistoryEntry),
}

/// A key as of the fold.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoveredKey {
    /// The key.
    pub key: Bytes,
    /// Its revisions, ascending. Never empty.
    pub revisions: Vec<(Revision, EntryKind)>,
    /// Its value at the last of them. `None` if that is a delete, or if the image does not have it;
    /// then it is in the history under its revision, or a later entry replaces it.
    pub latest: Option<Arc<KeyValue>>,
}

/// Reads the small records, and sees to it that the images can be trusted or are forgotten.
pub(crate) fn open(
    backend: &Arc<dyn Backend>,
    options: HistoryOptions,
) -> Result<Recovered, StorageError> {
    let mut recovered = read(backend)?;
    // An image that was lost, as a whole, is made again from history.
    if options.rebuild_images || !recovered.has_images()? {
        recovered.forget_images()?;
    }
    recovered.start_from = options.start_from;
    Ok(recovered)
}

/// Reads the small records. Changes nothing.
pub(crate) fn read(backend: &Arc<dyn Backend>) -> Result<Recovered, StorageError> {
    of_records(backend, &export::read_records(&**backend)?)
}

/// Reads small records that were taken from the engine.
pub(crate) fn of_records(
    backend: &Arc<dyn Backend>,
    records: &[Row],
) -> Result<Recovered, StorageError> {
    let mut recovered = Recovered::fresh(Arc::clone(backend));
    let mut format = None;
    for Row { tree, key, value } in records {
        let value = schema::unseal(*tree, key, value)?;
        match tree {
            Tree::Meta => {
                let meta_key = MetaKey::decode(key)
                    .ok_or_else(|| StorageError::corrupt(Tree::Meta, key, "unknown record"))?;
                if meta_key == MetaKey::Format {
                    format = Some(read_number(key, &value)?);
                }
                recovered.take(meta_key, key, value)?;
            }
            Tree::Lease => recovered.take_lease(key, value)?,
            Tree::Kv | Tree::KvRev | Tree::Index | Tree::Auth => {}
        }
    }
    check_format(&**backend, format)?;
    recovered.check()?;
    Ok(recovered)
}

fn check_format(backend: &dyn Backend, format: Option<i64>) -> Result<(), StorageError> {
    let key = MetaKey::Format.encode();
    match format {
        Some(FORMAT_VERSION) => Ok(()),
        Some(other) => {
            let reason =
                format!("layout {other} is not known; this program knows {FORMAT_VERSION}");
            Err(StorageError::corrupt(Tree::Meta, &key, reason))
        }
        None if first_key(backend, Tree::KvRev)?.is_some() => {
            let reason = "there is history, but no record of its layout";
            Err(StorageError::corrupt(Tree::Meta, &key, reason))
        }
        None => Ok(()),
    }
}

fn first_key(backend: &dyn Backend, tree: Tree) -> Result<Option<Bytes>, StorageError> {
    let mut first = None;
    backend.scan(tree, &[], &mut |key, _| {
        first = Some(Bytes::copy_from_slice(key));
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

fn read_number(key: &[u8], value: &[u8]) -> Result<i64, StorageError> {
    let bytes = value.try_into().ok().map(i64::from_be_bytes).filter(|number| *number >= 0);
    bytes.ok_or_else(|| StorageError::corrupt(Tree::Meta, key, "not a number"))
}

impl Recovered {
    fn fresh(backend: Arc<dyn Backend>) -> Self {
        Recovered {
            backend,
            applied_index: 0,
            term: 0,
            revision: FRESH_REVISION,
            compact_revision: 0,
            fold_revision: 0,
            leases: Vec::new(),
            conf_state: None,
            members: BTreeMap::new(),
            cluster_version: None,
            named: BTreeMap::new(),
            compacted_revision: 0,
            history: Tally::default(),
            images: Tally::default(),
            start_from: StartFrom::Shorter,
        }
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            applied_index: self.applied_index,
            term: self.term,
            revision: self.revision,
            compact_revision: self.compact_revision,
        }
    }

    fn take(&mut self, meta_key: MetaKey, key: &[u8], value: Bytes) -> Result<(), StorageError> {
        match meta_key {
            MetaKey::Format => {}
            MetaKey::Applied => self.take_applied(key, &value)?,
            MetaKey::Compact => self.compact_revision = read_number(key, &value)?,
            MetaKey::Compacted => self.compacted_revision = read_number(key, &value)?,
            MetaKey::Fold => self.fold_revision = read_number(key, &value)?,
            MetaKey::ImageRows => self.images.count = read_number(key, &value)?,
            MetaKey::ImageBytes => self.images.bytes = read_number(key, &value)?,
            MetaKey::HistoryEntries => self.history.count = read_number(key, &value)?,
            MetaKey::HistoryBytes => self.history.bytes = read_number(key, &value)?,
            MetaKey::ConfState => self.conf_state = Some(value),
            MetaKey::ClusterVersion => {
                let text = String::from_utf8(value.to_vec());
                let text = text.map_err(|error| {
                    StorageError::corrupt(Tree::Meta, key, format!("not a text: {error}"))
                })?;
                self.cluster_version = Some(text);
            }
            MetaKey::Member(id) => {
                self.members.insert(id, value);
            }
            MetaKey::Named(name) => {
                self.named.insert(name, value);
            }
        }
        Ok(())
    }

    fn take_applied(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let (chunks, rest) = value.as_chunks::<8>();
        let ([index, term, revision], []) = (chunks, rest) else {
            return Err(StorageError::corrupt(Tree::Meta, key, "not three numbers"));
        };
        self.applied_index = u64::from_be_bytes(*index);
        self.term = u64::from_be_bytes(*term);
        self.revision = read_number(key, revision)?;
        Ok(())
    }

    fn take_lease(&mut self, key: &[u8], value: Bytes) -> Result<(), StorageError> {
        let corrupt = |reason| StorageError::corrupt(Tree::Lease, key, reason);
        let lease = Lease::decode(value).map_err(|error| corrupt(error.to_string()))?;
        if keycode::read_lease(key) != Some(lease.id) {
            return Err(corrupt(format!("holds lease {:x}", lease.id)));
        }
        self.leases.push(lease);
        Ok(())
    }

    /// What must hold between the records, however a crash left them.
    fn check(&self) -> Result<(), StorageError> {
        let checks = [
            (MetaKey::Compact, self.compact_revision),
            (MetaKey::Fold, self.fold_revision),
            (MetaKey::Compacted, self.compacted_revision),
        ];
        for (key, number) in checks {
            if number > self.revision {
                let reason = format!("is {number}, beyond the store's revision {}", self.revision);
                return Err(StorageError::corrupt(Tree::Meta, &key.encode(), reason));
            }
        }
        Ok(())
    }

    /// Whether both images have anything, or nothing was folded.
    pub(crate) fn has_images(&self) -> Result<bool, StorageError> {
        let has = |tree| first_key(&*self.backend, tree).map(|key| key.is_some());
        Ok(self.fold_revision == 0 || (has(Tree::Index)? && has(Tree::Kv)?))
    }

    fn forget_images(&mut self) -> Result<(), StorageError> {
        let mut batch = crate::storage::Batch::default();
        batch.remove(Tree::Meta, &MetaKey::Fold.encode());
        batch.remove(Tree::Meta, &MetaKey::ImageRows.encode());
        batch.remove(Tree::Meta, &MetaKey::ImageBytes.encode());
        self.backend.commit(&batch)?;
        self.backend.sync()?;
        self.backend.clear(Tree::Index)?;
        self.backend.clear(Tree::Kv)?;
        (self.fold_revision, self.images) = (0, Tally::default());
        Ok(())
    }

    /// Tells everything that is known about keys; see [`Replayed`] for the order. Nothing may be
    /// flushed, folded or compacted before it is over. What is read of history must be whole.
    pub fn replay(&self, visit: &mut dyn FnMut(Replayed)) -> Result<(), StorageError> {
        let are_images_read = match self.start_from {
            StartFrom::Images => true,
            StartFrom::History => false,
            StartFrom::Shorter => {
                self.history.count > self.images.count.saturating_mul(ENTRIES_READ_PER_ROW)
            }
        };
        if self.fold_revision == 0 || !are_images_read {
            return self.replay_history(0, visit);
        }
        self.replay_images(visit)?;
        self.replay_history(self.fold_revision + 1, visit)
    }

    fn replay_images(&self, visit: &mut dyn FnMut(Replayed)) -> Result<(), StorageError> {
        let mut index = Rows::of(&*self.backend, Tree::Index);
        let mut values = Rows::of(&*self.backend, Tree::Kv);
        let mut value = values.next()?;
        while let Some((key, row)) = index.next()? {
            let mut revisions = fold::decode_index(&key, &row)?;
            // A pass of the fold that was cut short may have written beyond the fold revision.
            revisions.retain(|(revision, _)| revision.main <= self.fold_revision);
            while value.as_ref().is_some_and(|(other, _)| *other < key) {
                value = values.next()?;
            }
            let Some(last) = revisions.last().copied() else { continue };
            let latest = match &value {
                Some((other, row)) if *other == key => latest_in(&key, row, last)?,
                _ => None,
            };
            let key = latest.as_ref().map_or(key, |kv| kv.key.clone());
            visit(Replayed::Key(RecoveredKey { key, revisions, latest }));
        }
        Ok(())
    }

    fn replay_history(
        &self,
        from_main: i64,
        visit: &mut dyn FnMut(Replayed),
    ) -> Result<(), StorageError> {
        let mut sequence = Sequence::of(self.position(), from_main);
        blocks::scan_from(&*self.backend, from_main, &mut |key, value| {
            let block = ReadBlock::open(key, &value)?;
            for entry in block.entries() {
                let entry = entry?;
                if entry.revision.main >= from_main {
                    sequence.take(entry.revision)?;
                    visit(Replayed::Entry(entry.detached().to_history()?));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        sequence.end()
    }
}

/// The value in the image, if it is the one of the key's last revision.
fn latest_in(
    key: &[u8],
    row: &Bytes,
    last: (Revision, EntryKind),
) -> Result<Option<Arc<KeyValue>>, StorageError> {
    let kv = decode_kv(key, row)?;
    let is_latest = last.1 == EntryKind::Put && kv.mod_revision == last.0.main;
    Ok(is_latest.then(|| Arc::new(kv)))
}

/// Decodes a row of `kv`.
pub(crate) fn decode_kv(key: &[u8], row: &Bytes) -> Result<KeyValue, StorageError> {
    let body = schema::unseal(Tree::Kv, key, row)?;
    let corrupt = |reason| StorageError::corrupt(Tree::Kv, key, reason);
    let kv = KeyValue::decode(body).map_err(|error| corrupt(format!("not a KeyValue: {error}")))?;
    if kv.key != key {
        return Err(corrupt(format!("holds the key \"{}\"", kv.key.escape_ascii())));
    }
    Ok(kv)
}

/// Rows of a tree in order, some at a time, so that two trees can be read side by side.
pub(crate) struct Rows<'a> {
    backend: &'a dyn Backend,
    tree: Tree,
    read: VecDeque<(Bytes, Bytes)>,
    next: Option<Vec<u8>>,
}

impl<'a> Rows<'a> {
    /// All rows of a tree.
    pub(crate) fn of(backend: &'a dyn Backend, tree: Tree) -> Self {
        Rows { backend, tree, read: VecDeque::new(), next: Some(Vec::new()) }
    }

    /// The next row.
    pub(crate) fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StorageError> {
        if self.read.is_empty()
            && let Some(from) = self.next.take()
        {
            let read = &mut self.read;
            self.backend.scan(self.tree, &from, &mut |key, value| {
                read.push_back((Bytes::copy_from_slice(key), value));
                let is_full = read.len() == ROWS_AT_ONCE;
                Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            // The least key that is greater than the last one.
            let full = self.read.back().filter(|_| self.read.len() == ROWS_AT_ONCE);
            self.next = full.map(|(last, _)| [last, &[0][..]].concat());
        }
        Ok(self.read.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryBackend;

    /// A start once saw only the first rows of a large image: it forgot where to go on.
    #[test]
    fn rows_are_read_to_the_end() {
        for rows in [0, 1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, ROWS_AT_ONCE * 3] {
            let backend = MemoryBackend::new();
            let keys: Vec<String> = (0..rows).map(|number| format!("key {number:06}")).collect();
            for key in &keys {
                backend.put_row(Tree::Kv, key.as_bytes(), b"").unwrap();
            }
            let mut read = Rows::of(&backend, Tree::Kv);
            let next = || read.next().unwrap();
            let seen: Vec<Bytes> = std::iter::from_fn(next).map(|(key, _)| key).collect();
            assert_eq!(seen, keys);
        }
    }
}
