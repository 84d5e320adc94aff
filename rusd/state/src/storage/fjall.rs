//! The fjall engine. No other file names fjall but those of this module.
//!
//! What is known of fjall 3 and dealt with here:
//! - All trees share one journal; a batch is in it whole or not at all. Nothing of it is handed to the
//!   system before we say so (`manual_journal_persist`), so `sync` is what makes it durable.
//! - What was written stays in the journal until the memory tables are written out. The journal's
//!   file is as long as it may become from the start, so its length says nothing: what the engine
//!   takes is counted in the blocks that the file system gave it.
//! - It syncs what is in a new tree's folder, but not the folder that holds the trees.
//! - After a failed write it refuses all others.
//! - It does not open if its journal has lost a part of a value in what was written last, which a loss
//!   of power may do to what was not synced: [`journal`] cuts that off.
//! - It does not see a damage of a batch's number, nor where an older journal breaks off: [`journal`]
//!   refuses both.

mod batches;
mod journal;
mod numbers;

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::Mutex;

use crate::planted::{Bug, is_planted};
use crate::storage::error::StorageError;
use crate::storage::fjall::journal::Cut;
use crate::storage::pointer::sync_folder;
use crate::storage::schema::Tree;
use crate::storage::{Backend, Batch, Visit};

/// The block cache unless the caller says otherwise; see `sled`.
const CACHE_BYTES_DEFAULT: u64 = 64 << 20;
/// Journals that wait for their memory tables to be written out.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;
/// A memory table of this size is written out.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Threads that write tables out and merge them.
const WORKERS: usize = 1;

/// How to open a [`FjallBackend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FjallOptions {
    /// Bytes of the block cache.
    pub cache_bytes: u64,
}

impl Default for FjallOptions {
    fn default() -> Self {
        FjallOptions { cache_bytes: CACHE_BYTES_DEFAULT }
    }
}

/// The six trees in a fjall database.
pub struct FjallBackend {
    trees: [Keyspace; Tree::ALL.len()],
    database: Database,
    folder: PathBuf,
    /// Until the first write; put back after the database is closed.
    cut: Mutex<Option<Cut>>,
}

impl std::fmt::Debug for FjallBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallBackend").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl FjallBackend {
    /// Opens or creates the database in `folder`. One process at a time: a second one gets
    /// [`StorageError::Locked`].
    pub fn open(folder: &Path, options: FjallOptions) -> Result<FjallBackend, StorageError> {
        let cut = journal::prepare(folder)?;
        let mut backend = Self::open_files(folder, options)?;
        let in_tables = backend.sequence_in_tables();
        *backend.cut.get_mut() = cut;
        let is_sound = backend.cut.get_mut().as_ref().map_or(Ok(()), |cut| cut.check(in_tables));
        is_sound.map(|()| backend)
    }

    fn open_files(folder: &Path, options: FjallOptions) -> Result<FjallBackend, StorageError> {
        let database = Database::builder(folder)
            .cache_size(options.cache_bytes)
            .manual_journal_persist(true)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(WORKERS)
            .open()
            .map_err(|error| open_error(folder, error))?;
        let settings = || {
            KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .max_memtable_size(MEMTABLE_BYTES)
        };
        let mut trees = Vec::with_capacity(Tree::ALL.len());
        for tree in Tree::ALL {
            trees.push(database.keyspace(tree.name(), settings).map_err(engine)?);
        }
        let Ok(trees) = trees.try_into() else { unreachable!("one tree was opened for each") };
        let folder = folder.to_path_buf();
        let backend = FjallBackend { trees, database, folder, cut: Mutex::new(None) };
        backend.sync()?;
        sync_folder(&backend.folder.join("keyspaces"))?;
        sync_folder(&backend.folder)?;
        Ok(backend)
    }

    /// The highest sequence number of a batch of which something was written out.
    fn sequence_in_tables(&self) -> Option<u64> {
        self.trees.iter().filter_map(|tree| tree.tree.get_highest_persisted_seqno()).max()
    }

    /// What was written goes to the system, and may be on disk or not.
    #[cfg(test)]
    fn hand_to_system(&self) {
        self.database.persist(PersistMode::Buffer).expect("a test has a disk");
    }

    fn tree(&self, tree: Tree) -> &Keyspace {
        &self.trees[tree.position()]
    }

    /// The tree, to be written to: from now on nobody wants back what was cut off.
    fn tree_to_write(&self, tree: Tree) -> Result<&Keyspace, StorageError> {
        self.confirm_cut()?;
        Ok(self.tree(tree))
    }

    fn confirm_cut(&self) -> Result<(), StorageError> {
        self.cut.lock().take().map_or(Ok(()), Cut::confirm)
    }
}

fn engine(error: fjall::Error) -> StorageError {
    StorageError::Engine(Box::new(error))
}

fn open_error(folder: &Path, error: fjall::Error) -> StorageError {
    let path = folder.to_path_buf();
    match error {
        fjall::Error::Locked => StorageError::Locked { path },
        fjall::Error::Io(source) => StorageError::Io { path, source },
        other => engine(other),
    }
}

fn len_of(value: Option<u32>) -> Option<usize> {
    value.map(|len| usize::try_from(len).expect("a length fits"))
}

impl Backend for FjallBackend {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.tree(tree).get(key).map_err(engine)?.map(Bytes::from))
    }

    fn at_or_before(&self, tree: Tree, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StorageError> {
        let entry = self.tree(tree).range(..=key).next_back();
        let entry = entry.map(fjall::Guard::into_inner).transpose().map_err(engine)?;
        Ok(entry.map(|(key, value)| (key.into(), value.into())))
    }

    fn scan(&self, tree: Tree, from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        for entry in self.tree(tree).range(from..) {
            let (key, value) = entry.into_inner().map_err(engine)?;
            if let ControlFlow::Break(()) = visit(&key, value.into())? {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<(), StorageError> {
        self.confirm_cut()?;
        let mut writes = self.database.batch();
        for write in &batch.writes {
            let tree = self.tree(write.tree);
            match &write.value {
                Some(value) => writes.insert(tree, &write.key[..], &value[..]),
                None => writes.remove(tree, &write.key[..]),
            }
        }
        writes.commit().map_err(engine)
    }

    fn put_row(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<Option<usize>, StorageError> {
        let tree = self.tree_to_write(tree)?;
        let replaced = tree.size_of(key).map_err(engine)?;
        tree.insert(key, value).map_err(engine)?;
        Ok(len_of(replaced))
    }

    fn remove_row(&self, tree: Tree, key: &[u8]) -> Result<Option<usize>, StorageError> {
        let tree = self.tree_to_write(tree)?;
        let removed = tree.size_of(key).map_err(engine)?;
        if removed.is_some() {
            tree.remove(key).map_err(engine)?;
        }
        Ok(len_of(removed))
    }

    fn clear(&self, tree: Tree) -> Result<(), StorageError> {
        self.tree_to_write(tree)?.clear().map_err(engine)
    }

    fn sync(&self) -> Result<(), StorageError> {
        let not_synced = is_planted(Bug::EngineNotSynced);
        let mode = if not_synced { PersistMode::Buffer } else { PersistMode::SyncAll };
        self.database.persist(mode).map_err(engine)
    }

    fn size_on_disk(&self) -> Result<u64, StorageError> {
        bytes_in(&self.folder)
    }

    fn left_out(&self) -> Option<StorageError> {
        self.cut.lock().as_ref().map(Cut::as_damage)
    }
}

/// Bytes of disk that the files in a folder take. Files may go while it looks.
fn bytes_in(folder: &Path) -> Result<u64, StorageError> {
    /// Of what a file system counts in, whatever its own blocks are.
    const BLOCK_BYTES: u64 = 512;
    let gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    let io = |source| StorageError::Io { path: folder.to_path_buf(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if gone(&error) => return Ok(0),
        entries => entries.map_err(io)?,
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry.map_err(io)?;
        bytes += match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_in(&entry.path())?,
            Ok(found) => found.blocks() * BLOCK_BYTES,
            Err(error) if gone(&error) => 0,
            Err(error) => return Err(io(error)),
        };
    }
    Ok(bytes)
}
