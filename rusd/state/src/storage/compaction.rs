//! Compaction: removes blocks of history that nothing can read any more.
//!
//! A walk over the blocks below the compact revision, in chunks. A block of which nothing survives
//! is removed; one of which less than half survives is rewritten under its own key; the others stay
//! as they are, and their dead entries are seen by nobody who goes through the index.
//!
//! A walk goes on to its end when there is a newer compaction meanwhile: where compactions come faster
//! than walks end, the newest blocks would never be reached. What it is asked to keep may then be what
//! the newer one keeps. Below the older compact revision that differs only in puts whose successor is
//! at or above it, and of those no delete is removed in this walk.
//!
//! The walk holds no durable state but "finished with compact revision C": after a crash it begins
//! again and finds less to do.
//!
//! Deletes need care, because history must stay enough to make the index anew from it. A put that
//! is dead but stays in its block would come to life again if the delete that followed it were
//! gone. So a delete goes only when no earlier change of its key was left behind in this walk, and
//! never before the fold has passed it (the images would not know of it).

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::mvcc::revision::Revision;
use crate::storage::blocks::{self, RawEntry, ReadBlock};
use crate::storage::change::EntryKind;
use crate::storage::error::StorageError;
use crate::storage::fold;
use crate::storage::keycode;
use crate::storage::schema::{MetaKey, Tree};
use crate::storage::tally::{Kept, Tally, entry_bytes};
use crate::storage::write_behind::put_number;
use crate::storage::{BATCH_BYTES_MAX, Backend, Batch};

/// What a step of compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompactProgress {
    /// The last durable compaction is finished; nothing was done.
    Idle,
    /// A reader holds an older revision; nothing was done.
    Pinned,
    /// A newer compaction is not durable yet; nothing was done.
    FlushFirst,
    /// There is more to do.
    Busy {
        /// Blocks removed in this step.
        removed: usize,
        /// Blocks rewritten in this step.
        rewritten: usize,
    },
    /// The walk ended with this step.
    Finished {
        /// Blocks removed in this step.
        removed: usize,
        /// Blocks rewritten in this step.
        rewritten: usize,
    },
}

/// The compaction of one store.
#[derive(Debug)]
pub(crate) struct Compaction {
    /// Finished with this compact revision.
    finished: i64,
    walk: Option<Walk>,
}

/// A walk that is under way.
#[derive(Debug, Clone)]
struct Walk {
    compact: i64,
    /// First block that was not looked at.
    next: i64,
    left_behind: KeySketch,
}

/// What a step wants to change, not committed yet.
#[derive(Debug)]
pub(crate) struct Chunk {
    batch: Batch,
    removed: usize,
    rewritten: usize,
    /// By how much history grows: never above 0.
    pub(crate) history: Tally,
    /// By how much the images grow: never above 0.
    pub(crate) images: Tally,
    walk: Walk,
    is_last: bool,
}

/// What a walk asks about entries.
struct Liveness<'a> {
    compact: i64,
    fold_revision: i64,
    keep: &'a dyn Fn(&Revision, &[u8]) -> bool,
}

impl Compaction {
    /// Nothing under way; finished with `finished`.
    pub(crate) fn after(finished: i64) -> Self {
        Compaction { finished, walk: None }
    }

    /// Whether there is anything to do for a compact revision.
    pub(crate) fn is_due(&self, compact: i64) -> bool {
        compact > self.finished
    }

    /// Looks at the next blocks, of the walk that is under way or of one for `compact`. Nothing changes
    /// before [`Compaction::commit`].
    pub(crate) fn plan(
        &self,
        backend: &dyn Backend,
        compact: i64,
        fold_revision: i64,
        keep: &dyn Fn(&Revision, &[u8]) -> bool,
        blocks_max: usize,
    ) -> Result<Chunk, StorageError> {
        assert!(blocks_max > 0, "a step of nothing never ends");
        let new = || Walk { compact, next: 0, left_behind: KeySketch::default() };
        let walk = self.walk.clone().unwrap_or_else(new);
        let compact = walk.compact;
        let liveness = Liveness { compact, fold_revision, keep };
        let next = keycode::main_key(walk.next);
        let mut chunk = Chunk::beginning(walk);
        let (mut seen, mut bytes) = (0, 0);
        let mut visit = |key: &[u8], value: Bytes| {
            let block = ReadBlock::open(key, &value)?;
            if block.main >= compact {
                return Ok(ControlFlow::Break(()));
            }
            if seen == blocks_max || bytes >= BATCH_BYTES_MAX {
                chunk.is_last = false;
                return Ok(ControlFlow::Break(()));
            }
            seen += 1;
            bytes += value.len();
            chunk.walk.next = block.main + 1;
            chunk.judge(backend, (&block, value.len()), &liveness)?;
            Ok(ControlFlow::Continue(()))
        };
        backend.scan(Tree::KvRev, &next, &mut visit)?;
        Ok(chunk)
    }

    /// Makes a planned chunk so; `history` is what remains.
    pub(crate) fn commit(
        &mut self,
        backend: &dyn Backend,
        mut chunk: Chunk,
        history: Tally,
    ) -> Result<CompactProgress, StorageError> {
        let Chunk { removed, rewritten, .. } = chunk;
        if chunk.history != Tally::default() {
            history.put(Kept::History, &mut chunk.batch);
        }
        let compact = chunk.walk.compact;
        if chunk.is_last {
            put_number(&mut chunk.batch, &MetaKey::Compacted, compact);
        }
        rusd_failpoint::io("compactBeforeCommitBatch").map_err(StorageError::of_engine)?;
        if chunk.is_last {
            rusd_failpoint::io("compactBeforeSetFinishedCompact")
                .map_err(StorageError::of_engine)?;
        }
        backend.commit(&chunk.batch)?;
        rusd_failpoint::hit("compactAfterCommitBatch");
        if chunk.is_last {
            rusd_failpoint::hit("compactAfterSetFinishedCompact");
            self.finished = compact;
            self.walk = None;
            Ok(CompactProgress::Finished { removed, rewritten })
        } else {
            self.walk = Some(chunk.walk);
            Ok(CompactProgress::Busy { removed, rewritten })
        }
    }
}

impl Chunk {
    fn beginning(walk: Walk) -> Chunk {
        Chunk {
            batch: Batch::default(),
            removed: 0,
            rewritten: 0,
            history: Tally::default(),
            images: Tally::default(),
            walk,
            is_last: true,
        }
    }

    fn judge(
        &mut self,
        backend: &dyn Backend,
        (block, len): (&ReadBlock, usize),
        liveness: &Liveness<'_>,
    ) -> Result<(), StorageError> {
        let (mut survivors, mut dead) = (Vec::new(), Vec::new());
        for entry in block.entries() {
            let entry = entry?;
            if entry.revision.main >= liveness.compact {
                survivors.push(entry);
                continue;
            }
            let key = entry.decode()?.key;
            if liveness.is_needed(&entry, &key, &self.walk.left_behind) {
                survivors.push(entry);
            } else {
                dead.push((key, entry));
            }
        }
        if survivors.len() >= dead.len() {
            for (key, _) in &dead {
                self.walk.left_behind.insert(key);
            }
            return Ok(());
        }
        let key = keycode::main_key(block.main);
        let mut bytes = -entry_bytes(&key, len);
        if survivors.is_empty() {
            self.batch.remove(Tree::KvRev, &key);
            self.removed += 1;
        } else {
            bytes += blocks::rewrite(block.main, &survivors, &mut self.batch);
            self.rewritten += 1;
        }
        let dropped = i64::try_from(dead.len()).expect("a length fits");
        self.history += Tally { count: -dropped, bytes };
        for (key, entry) in dead {
            if entry.kind == EntryKind::Delete {
                self.remove_index(backend, &key, entry.revision)?;
            }
        }
        Ok(())
    }

    /// Removes the key from the index image if the delete that goes was its last change.
    fn remove_index(
        &mut self,
        backend: &dyn Backend,
        key: &[u8],
        delete: Revision,
    ) -> Result<(), StorageError> {
        let Some(value) = backend.get(Tree::Index, key)? else { return Ok(()) };
        let revisions = fold::decode_index(key, &value)?;
        if revisions.last().is_some_and(|(last, _)| *last == delete) {
            self.batch.remove(Tree::Index, key);
            self.images += Tally { count: -1, bytes: -entry_bytes(key, value.len()) };
        }
        Ok(())
    }
}

impl Liveness<'_> {
    fn is_needed(&self, entry: &RawEntry, key: &[u8], left_behind: &KeySketch) -> bool {
        let is_needed_delete = entry.kind == EntryKind::Delete
            && (entry.revision.main > self.fold_revision || left_behind.may_hold(key));
        is_needed_delete || (self.keep)(&entry.revision, key)
    }
}

/// A set of keys that may say yes wrongly and never says no wrongly (a Bloom filter).
#[derive(Debug, Clone, Default)]
struct KeySketch {
    /// Empty until the first key comes.
    words: Vec<u64>,
}

impl KeySketch {
    /// 2 MiB: a walk that leaves 4 million dead entries behind keeps one delete in five too long.
    const WORDS: usize = 1 << 18;

    fn insert(&mut self, key: &[u8]) {
        if self.words.is_empty() {
            self.words = vec![0; Self::WORDS];
        }
        for (word, bit) in Self::bits(key) {
            self.words[word] |= bit;
        }
    }

    fn may_hold(&self, key: &[u8]) -> bool {
        !self.words.is_empty()
            && Self::bits(key).iter().all(|(word, bit)| self.words[*word] & bit != 0)
    }

    fn bits(key: &[u8]) -> [(usize, u64); 2] {
        let first = crc32c::crc32c(key);
        let second = crc32c::crc32c_append(first, b"second");
        // Spread: the checksum of similar keys is similar in its low bits.
        [first, second].map(|crc| {
            let mixed = u64::from(crc).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let word = usize::try_from(mixed >> 40).expect("24 bits fit") % Self::WORDS;
            (word, 1 << (mixed >> 34 & 63))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sketch_never_forgets_and_seldom_invents() {
        let mut sketch = KeySketch::default();
        assert!(!sketch.may_hold(b"key"));
        let key = |number: u32| format!("/registry/pods/{number:08}").into_bytes();
        (0..100_000).for_each(|number| sketch.insert(&key(number)));
        assert!((0..100_000).all(|number| sketch.may_hold(&key(number))));
        let invented = (100_000..200_000).filter(|number| sketch.may_hold(&key(*number))).count();
        assert!(invented < 1000, "{invented} of 100,000");
    }
}
