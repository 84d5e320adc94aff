//! The fold: brings the images `kv` and `index` up to what `kv_rev` says.
//!
//! It runs in passes, a pass in steps. A pass reads durable history after the fold revision into
//! memory, keeps the last change of each key, writes the images in key order, syncs, and only then
//! moves the fold revision. A pass that was cut short leaves images that are newer in places; a
//! start replays the history after the fold revision over them, and the next pass writes the same
//! again.
//!
//! An `index` value is a list of revisions relative to each other, with a flag for a delete. What
//! the durable compact revision made unreachable is left out, and a key of which nothing remains
//! is removed from both images.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::mvcc::revision::Revision;
use crate::storage::blocks::{self, RawEntry, ReadBlock};
use crate::storage::change::EntryKind;
use crate::storage::error::StorageError;
use crate::storage::keycode;
use crate::storage::schema::{self, MetaKey, Tree};
use crate::storage::tally::{Kept, Tally, entry_bytes};
use crate::storage::write_behind::{Position, put_number};
use crate::storage::{Backend, Batch};

/// Entries read for each key that a step may write: reading is that much cheaper.
const READ_PER_WRITE: usize = 16;

/// How far a fold has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldProgress {
    /// The images are as durable history has it; nothing was done.
    Idle,
    /// There is more to do.
    Busy,
    /// A pass ended: the images are complete up to this revision. There may be more.
    Folded(i64),
}

/// The fold of one store.
#[derive(Debug)]
pub(crate) struct Fold {
    revision: i64,
    /// What the images hold.
    images: Tally,
    bytes_max: usize,
    pass: Option<Pass>,
}

#[derive(Debug)]
enum Pass {
    Reading(Reading),
    Writing { to: i64, keys: BTreeMap<Bytes, KeyChange> },
}

#[derive(Debug)]
struct Reading {
    /// First main revision that was not read.
    next: i64,
    to: i64,
    bytes: usize,
    keys: BTreeMap<Bytes, KeyChange>,
}

/// What happened to a key after the fold revision.
#[derive(Debug)]
struct KeyChange {
    revisions: Vec<IndexEntry>,
    latest: RawEntry,
}

/// A revision of a key, and what it did.
pub(crate) type IndexEntry = (Revision, EntryKind);

impl Fold {
    /// A fold that has come to `revision`, and has made `images`.
    pub(crate) fn at(revision: i64, images: Tally, bytes_max: usize) -> Self {
        Fold { revision, images, bytes_max, pass: None }
    }

    /// Compaction has changed the images by so much.
    pub(crate) fn images_changed(&mut self, by: Tally) {
        self.images += by;
    }

    /// Bytes of the images.
    pub(crate) fn image_bytes(&self) -> i64 {
        self.images.bytes
    }

    /// The revision up to which the images are complete.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// Goes on with the pass, or begins one.
    pub(crate) fn step(
        &mut self,
        backend: &dyn Backend,
        durable: Position,
        keys_max: usize,
    ) -> Result<FoldProgress, StorageError> {
        assert!(keys_max > 0, "a step of nothing never ends");
        match self.pass.take() {
            None if durable.revision <= self.revision => Ok(FoldProgress::Idle),
            None => {
                let reading = Reading::from(self.revision, durable.revision);
                self.read(backend, reading, keys_max)
            }
            Some(Pass::Reading(reading)) => self.read(backend, reading, keys_max),
            Some(Pass::Writing { to, mut keys }) => {
                for _ in 0..keys_max {
                    let Some((key, change)) = keys.pop_first() else { break };
                    rusd_failpoint::io("foldRow").map_err(StorageError::of_engine)?;
                    self.images += change.write(backend, &key, durable.compact_revision)?;
                }
                if !keys.is_empty() {
                    self.pass = Some(Pass::Writing { to, keys });
                    return Ok(FoldProgress::Busy);
                }
                self.finish(backend, to)
            }
        }
    }

    fn read(
        &mut self,
        backend: &dyn Backend,
        mut reading: Reading,
        keys_max: usize,
    ) -> Result<FoldProgress, StorageError> {
        let is_done = reading.step(backend, keys_max * READ_PER_WRITE, self.bytes_max)?;
        self.pass = Some(if is_done {
            Pass::Writing { to: reading.next - 1, keys: reading.keys }
        } else {
            Pass::Reading(reading)
        });
        Ok(FoldProgress::Busy)
    }

    fn finish(&mut self, backend: &dyn Backend, to: i64) -> Result<FoldProgress, StorageError> {
        backend.sync()?;
        rusd_failpoint::io("foldFinish").map_err(StorageError::of_engine)?;
        let mut batch = Batch::default();
        put_number(&mut batch, &MetaKey::Fold, to);
        self.images.put(Kept::Images, &mut batch);
        backend.commit(&batch)?;
        backend.sync()?;
        self.revision = to;
        Ok(FoldProgress::Folded(to))
    }
}

impl Reading {
    fn from(fold_revision: i64, to: i64) -> Self {
        Reading { next: fold_revision + 1, to, bytes: 0, keys: BTreeMap::new() }
    }

    /// Reads some blocks; whether the pass has all it wants.
    fn step(
        &mut self,
        backend: &dyn Backend,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<bool, StorageError> {
        let (mut entries, mut is_cut) = (0, false);
        let start = self.next;
        let mut visit = |key: &[u8], value: Bytes| {
            let block = ReadBlock::open(key, &value)?;
            if block.main > self.to {
                return Ok(ControlFlow::Break(()));
            }
            // Only between blocks, so that a revision is never cut.
            if entries >= entries_max || self.bytes >= bytes_max {
                is_cut = true;
                return Ok(ControlFlow::Break(()));
            }
            self.bytes += value.len();
            let from = self.next;
            for entry in block.entries() {
                let entry = entry?;
                if (from..=self.to).contains(&entry.revision.main) {
                    entries += 1;
                    self.next = entry.revision.main + 1;
                    self.take(entry)?;
                }
            }
            Ok(ControlFlow::Continue(()))
        };
        blocks::scan_from(backend, start, &mut visit)?;
        if !is_cut {
            self.next = self.to + 1;
        }
        Ok(!is_cut || self.bytes >= bytes_max)
    }

    fn take(&mut self, entry: RawEntry) -> Result<(), StorageError> {
        let key = entry.decode()?.key;
        let index_entry = (entry.revision, entry.kind);
        match self.keys.get_mut(&key) {
            Some(change) => {
                change.revisions.push(index_entry);
                change.latest = entry;
            }
            None => {
                self.keys.insert(key, KeyChange { revisions: vec![index_entry], latest: entry });
            }
        }
        Ok(())
    }
}

impl KeyChange {
    /// Writes both rows of the key; returns by how much the images grew.
    fn write(
        &self,
        backend: &dyn Backend,
        key: &[u8],
        compact: i64,
    ) -> Result<Tally, StorageError> {
        let mut revisions = match backend.get(Tree::Index, key)? {
            Some(value) => decode_index(key, &value)?,
            None => Vec::new(),
        };
        let had_row = !revisions.is_empty();
        let last = revisions.last().map(|(revision, _)| *revision);
        let is_new = |entry: &&IndexEntry| last.is_none_or(|last| last < entry.0);
        revisions.extend(self.revisions.iter().filter(is_new));
        trim(&mut revisions, compact);
        let index = (!revisions.is_empty()).then(|| encode_index(key, &revisions));
        let value = match self.latest.kind {
            EntryKind::Put => Some(schema::seal(key, self.latest.kv.to_vec())),
            EntryKind::Delete => None,
        };
        let count = i64::from(index.is_some()) - i64::from(had_row);
        let bytes = write_image(backend, Tree::Index, key, index)?
            + write_image(backend, Tree::Kv, key, value)?;
        Ok(Tally { count, bytes })
    }
}

/// Writes or removes a row; returns by how many bytes the image grew.
fn write_image(
    backend: &dyn Backend,
    tree: Tree,
    key: &[u8],
    value: Option<Vec<u8>>,
) -> Result<i64, StorageError> {
    let new = value.as_ref().map_or(0, |value| entry_bytes(key, value.len()));
    let old = match value {
        Some(value) => backend.put_row(tree, key, &value)?,
        None => backend.remove_row(tree, key)?,
    };
    Ok(new - old.map_or(0, |len| entry_bytes(key, len)))
}

/// Drops the revisions that no read at or above `compact` can see.
pub(crate) fn trim(revisions: &mut Vec<IndexEntry>, compact: i64) {
    let upto = revisions.partition_point(|(revision, _)| revision.main <= compact);
    revisions.drain(..upto.saturating_sub(1));
    // A delete at the compact revision itself stays: history from there on is whole.
    if upto > 0 && revisions[0].1 == EntryKind::Delete && revisions[0].0.main < compact {
        revisions.remove(0);
    }
}

/// A value of `index`, sealed.
pub(crate) fn encode_index(key: &[u8], revisions: &[IndexEntry]) -> Vec<u8> {
    let mut value = Vec::with_capacity(revisions.len() * 4 + 8);
    let mut main_before = 0;
    for (revision, kind) in revisions {
        keycode::write_revision(main_before, *revision, *kind == EntryKind::Delete, &mut value);
        main_before = revision.main;
    }
    schema::seal(key, value)
}

/// The inverse of [`encode_index`].
pub(crate) fn decode_index(key: &[u8], value: &Bytes) -> Result<Vec<IndexEntry>, StorageError> {
    let body = schema::unseal(Tree::Index, key, value)?;
    let (mut rest, mut main_before) = (&body[..], 0);
    let mut revisions: Vec<IndexEntry> = Vec::new();
    while !rest.is_empty() {
        let taken = keycode::take_revision(main_before, &mut rest)
            .filter(|(revision, _)| revisions.last().is_none_or(|last| last.0 < *revision));
        let Some((revision, is_delete)) = taken else {
            let reason = "a list of revisions with a good checksum does not decode";
            return Err(StorageError::corrupt(Tree::Index, key, reason));
        };
        let kind = if is_delete { EntryKind::Delete } else { EntryKind::Put };
        main_before = revision.main;
        revisions.push((revision, kind));
    }
    Ok(revisions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revisions(text: &str) -> Vec<IndexEntry> {
        let entry = |word: &str| {
            let kind = if word.ends_with('d') { EntryKind::Delete } else { EntryKind::Put };
            (Revision::first_of(word.trim_end_matches('d').parse().unwrap()), kind)
        };
        text.split_whitespace().map(entry).collect()
    }

    #[test]
    fn trimming_keeps_what_a_read_can_see() {
        for (before, compact, after) in [
            ("2 5 9", 0, "2 5 9"),
            ("2 5 9", 4, "2 5 9"),
            ("2 5 9", 5, "5 9"),
            ("2 5 9", 8, "5 9"),
            ("2 5 9", 100, "9"),
            ("2 5d 9", 5, "5d 9"),
            ("2 5d 9", 6, "9"),
            ("2 5d", 6, ""),
            ("2 5d", 5, "5d"),
            ("", 5, ""),
        ] {
            let mut trimmed = revisions(before);
            trim(&mut trimmed, compact);
            assert_eq!(trimmed, revisions(after), "{before} at {compact}");
        }
    }

    #[test]
    fn index_values_survive_a_round_trip() {
        for text in ["", "2", "2 5d 9", "1000000 1000001d"] {
            let list = revisions(text);
            let value = Bytes::from(encode_index(b"key", &list));
            assert_eq!(decode_index(b"key", &value).unwrap(), list);
            decode_index(b"other", &value).unwrap_err();
        }
        let descending = Bytes::from(schema::seal(b"key", vec![5, 0, 0, 0]));
        decode_index(b"key", &descending).unwrap_err();
    }
}
