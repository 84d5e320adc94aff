//! The sequence numbers of the batches in the journals.
//!
//! fjall's hash is of the parts of a batch; its number has no protection. When fjall opens, it passes
//! over a batch's rows of a tree whose tables have that number or a greater one, so a number that a
//! damage made small loses them without a word.
//!
//! A batch gets its number under the lock under which it is written: numbers rise through a journal and
//! from journal to journal, with holes, since tables take numbers too. A database that is opened goes on
//! after the greatest number that is left in its trees, so what a clear took away bounds nothing.
//!
//! A wrong number between those of its neighbours does no harm, since no table has one of those; nor does
//! a last one that is too great. What has no neighbour before it, the first batch, is compared with the
//! tables: rows that fjall would pass over must be there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_tree::{AbstractTree, Config, SeqNo, SequenceNumberCounter};
use xxhash_rust::xxh3::xxh3_64;

use crate::storage::error::StorageError;
use crate::storage::fjall::batches::{Batch, Part};
use crate::storage::fjall::journal::damaged;

/// Beyond it fjall gives no numbers.
const SEQUENCE_MAX: u64 = u64::MAX >> 1;
/// The folder of the trees' folders, which are named by number.
const TREES: &str = "keyspaces";
/// The file that a tree has once it is made.
const MADE: &str = "current";

/// What the batches up to some place say. Trees are named by fjall's number.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// By tree, the last batch that changed it.
    last: BTreeMap<u64, Arc<Place>>,
    /// By tree and key, what batches wrote whose number nothing bounds, unless a later one writes it too.
    unbounded: BTreeMap<u64, BTreeMap<Vec<u8>, Written>>,
}

/// What a batch made of a row.
#[derive(Debug)]
struct Written {
    by: Arc<Place>,
    /// XXH3 of the value.
    value: Option<u64>,
}

/// Where a batch stands.
#[derive(Debug)]
struct Place {
    journal: PathBuf,
    byte: u64,
    sequence: u64,
}

impl Place {
    fn damaged(&self, reason: &str) -> StorageError {
        damaged(&self.journal, self.byte, format!("batch {} {reason}", self.sequence))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let journal = self.journal.display();
        write!(f, "batch {} at byte {} of {journal}", self.sequence, self.byte)
    }
}

impl Numbers {
    /// Takes the next batch, which begins at a byte of a journal.
    pub(super) fn take(
        &mut self,
        journal: &Path,
        byte: u64,
        batch: Batch,
    ) -> Result<(), StorageError> {
        let sequence = batch.sequence;
        let place = Arc::new(Place { journal: journal.to_path_buf(), byte, sequence });
        let before = self.last.values().max_by_key(|place| place.sequence).cloned();
        if let Some(before) = before.as_ref().filter(|before| sequence <= before.sequence) {
            return Err(place.damaged(&format!("follows {before}, which cannot be")));
        }
        if sequence > SEQUENCE_MAX {
            return Err(place.damaged("has no number of fjall's"));
        }
        for part in batch.parts {
            match part {
                Part::Row { keyspace, key, value } => {
                    self.last.insert(keyspace, Arc::clone(&place));
                    let rows = self.unbounded.entry(keyspace).or_default();
                    match before {
                        None => drop(rows.insert(key, Written { by: Arc::clone(&place), value })),
                        Some(_) => drop(rows.remove(&key)),
                    }
                }
                Part::Clear { keyspace } => {
                    self.last.remove(&keyspace);
                    self.unbounded.remove(&keyspace);
                }
            }
        }
        Ok(())
    }

    /// What fjall would pass over of the batches that nothing bounds must stand in the tables.
    pub(super) fn check_tables(&self, folder: &Path) -> Result<(), StorageError> {
        for (keyspace, rows) in self.unbounded.iter().filter(|(_, rows)| !rows.is_empty()) {
            let folder = folder.join(TREES).join(keyspace.to_string());
            // fjall passes over the rows of a tree that was not made to the end.
            if folder.join(MADE).is_file() {
                check_tree(&folder, rows)?;
            }
        }
        Ok(())
    }
}

fn check_tree(folder: &Path, rows: &BTreeMap<Vec<u8>, Written>) -> Result<(), StorageError> {
    let engine = |error| StorageError::Engine(Box::new(error));
    let counter = SequenceNumberCounter::default;
    let tree = Config::new(folder, counter(), counter()).open().map_err(engine)?;
    let Some(in_tables) = tree.get_highest_persisted_seqno() else { return Ok(()) };
    for (key, written) in rows.iter().filter(|(_, written)| written.by.sequence <= in_tables) {
        let found = tree.get(key, SeqNo::MAX).map_err(engine)?;
        if found.map(|value| xxh3_64(&value)) != written.value {
            return Err(written.by.damaged("is not in the tables, which have later ones"));
        }
    }
    Ok(())
}
