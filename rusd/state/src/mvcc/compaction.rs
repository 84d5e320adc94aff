//! Dropping what no reader can ask for any more.
//!
//! The applier only moves the compact revision; this does the work, in steps, on the flusher's
//! thread: first the hash is taken of what a compaction finds, then the index lets go of dead
//! revisions, then history removes what the index no longer knows. The compact revision must be
//! durable before anything is removed from disk; history sees to that. It does not have to remember how far it got: on a start the index is compacted while it is
//! loaded, and history keeps its own mark.
//!
//! Never beyond the oldest pin. A pin is taken under the read lock at a revision that is readable
//! at that moment, so once a compact revision is set no pin below it can appear.

use std::sync::Arc;

use super::index_key::IndexKey;
use super::revision::Revision;
use crate::hash::HashScan;
use crate::shared::Shared;
use crate::storage::{CompactProgress, StorageError};

/// Keys compacted under one write lock.
const KEYS_COMPACTED_MAX: usize = 512;

/// Compacts the index and the history, step by step.
#[derive(Debug)]
pub struct Compactor {
    shared: Arc<Shared>,
    /// The index holds no dead revision up to here.
    done: i64,
    /// The hash of a compaction that is under way.
    hashing: Option<HashScan>,
    /// The walk over the index that is under way.
    walk: Option<Walk>,
}

#[derive(Debug)]
struct Walk {
    goal: i64,
    after: Option<IndexKey>,
}

/// What a step left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Everything compacted is gone.
    Done,
    /// There is more; call again soon.
    More,
    /// A reader still uses what is to go, or a flush must come first; call again later.
    Waiting,
}

impl Compactor {
    /// Begins after a start, when the index is compacted up to `done`.
    pub(crate) fn new(shared: Arc<Shared>, done: i64) -> Self {
        Compactor { shared, done, hashing: None, walk: None }
    }

    /// Does a little.
    ///
    /// Hashes and removals take turns: what a compaction finds is hashed, and removed before the next
    /// one is hashed. Otherwise compactions that come faster than hashes are taken would never remove
    /// anything.
    pub fn step(&mut self, blocks_max: usize) -> Result<Progress, StorageError> {
        if let Some(hashing) = &mut self.hashing {
            if hashing.step(&self.shared)? {
                let (span, hash) = (hashing.span(), hashing.hash());
                self.hashing = None;
                self.shared.write().compaction_hashes.take(span, hash);
            }
            return Ok(Progress::More);
        }
        // Looked at together: nothing may go for a compaction whose hash was not taken.
        let target = {
            let state = self.shared.read();
            let unhashed = state.compaction_hashes.first_wanted();
            unhashed.map_or(state.store.compact(), |span| span.compact)
        };
        let progress = if self.done < target || self.walk.is_some() {
            self.step_index(target)
        } else {
            match self.step_history(blocks_max)? {
                CompactProgress::Busy { .. } | CompactProgress::Finished { .. } => Progress::More,
                CompactProgress::Pinned | CompactProgress::FlushFirst => Progress::Waiting,
                CompactProgress::Idle => Progress::Done,
            }
        };
        // What holds up removals does not hold up hashes.
        Ok(if progress != Progress::More && self.begin_hash() { Progress::More } else { progress })
    }

    /// Takes up the next hash, if one is wanted.
    fn begin_hash(&mut self) -> bool {
        self.hashing = self.shared.write().compaction_hashes.next_wanted().map(HashScan::new);
        self.hashing.is_some()
    }

    /// The compact revision up to which everything is gone, when the last step was
    /// [`Progress::Done`].
    pub fn done(&self) -> i64 {
        self.done
    }

    fn step_index(&mut self, target: i64) -> Progress {
        let mut state = self.shared.write();
        let walk = if let Some(walk) = &mut self.walk {
            walk
        } else {
            let pinned = self.shared.history().oldest_pin().unwrap_or(i64::MAX);
            let goal = target.min(pinned);
            if goal <= self.done {
                return Progress::Waiting;
            }
            self.walk.insert(Walk { goal, after: None })
        };
        walk.after = state.store.compact_keys(walk.goal, walk.after.as_ref(), KEYS_COMPACTED_MAX);
        if walk.after.is_none() {
            self.done = walk.goal;
            self.walk = None;
        }
        Progress::More
    }

    fn step_history(&self, blocks_max: usize) -> Result<CompactProgress, StorageError> {
        let keep = |revision: &Revision, key: &[u8]| {
            revision.main > self.done
                || self.shared.read().store.entry(key).is_some_and(|entry| entry.retains(*revision))
        };
        self.shared.history().compact_step(self.done, &keep, blocks_max)
    }
}
