//! Dropping what no reader can ask for any more.
//!
//! The applier only moves the compact revision; this does the work, in steps, on the flusher's
//! thread: first the hash is taken of what a compaction finds, then the index lets go of dead
//! revisions, then history removes what the index no longer knows. The compact revision must be
//! durable before anything is removed from disk; history sees to that. It does not have to remember
//! how far it got: on a start the index is compacted while it is loaded, and history keeps its own
//! mark.
//!
//! Never beyond the oldest pin. A reader's pin is taken under the read lock at a revision that is
//! readable at that moment, so once a compact revision is set no reader's pin below it can appear. An
//! export pins 0: it holds up removals from history, under the lock that those take.

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
    /// History may still have what the index no longer holds.
    removing: bool,
    /// History has nothing that is dead up to here.
    gone: i64,
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
        Compactor { shared, done, hashing: None, walk: None, removing: true, gone: i64::MIN }
    }

    /// Does a little.
    ///
    /// Hashes, walks over the index and removals from history take turns, each to its end: otherwise
    /// compactions that come faster than one of them would keep the next from ever beginning.
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
        let held_up = if self.walk.is_some() || (!self.removing && self.done < target) {
            if self.step_index(target) == Progress::More {
                return Ok(Progress::More);
            }
            true
        } else {
            match self.step_history(blocks_max)? {
                CompactProgress::Busy { .. } | CompactProgress::Finished { .. } => {
                    return Ok(Progress::More);
                }
                CompactProgress::Pinned | CompactProgress::FlushFirst => true,
                CompactProgress::Idle => {
                    (self.removing, self.gone) = (false, self.done);
                    false
                }
            }
        };
        // What holds up removals does not hold up hashes.
        Ok(if self.begin_hash() || (!held_up && self.done < target) {
            Progress::More
        } else if held_up {
            Progress::Waiting
        } else {
            Progress::Done
        })
    }

    /// Takes up the next hash, if one is wanted.
    fn begin_hash(&mut self) -> bool {
        self.hashing = self.shared.write().compaction_hashes.next_wanted().map(HashScan::new);
        self.hashing.is_some()
    }

    /// The compact revision up to which everything is gone; below all of them before that is known.
    pub fn gone(&self) -> i64 {
        self.gone
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
            (self.done, self.removing) = (walk.goal, true);
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
