//! The sled engine. The only file that names sled.
//!
//! What is known of sled 0.34 and dealt with here:
//! - Its per-tree batches can be torn by a crash; its multi-tree transaction is not. So `commit` is
//!   always a transaction, and because that costs per entry, batches hold few, large entries.
//! - Its background flush is off: we say when.
//! - Its `flush` ends in `sync_file_range`, which syncs neither the file's length nor the disk's
//!   cache, and it never syncs the files it puts large pages into. `sync` does both after it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::Mutex;
use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional};

use crate::storage::error::StorageError;
use crate::storage::schema::Tree;
use crate::storage::{Backend, Batch, Visit};

/// Bytes of a log segment. A page larger than a quarter of it becomes a file of its own; a page of
/// `kv_rev` holds up to 16 blocks, so a segment has room for 64 of them.
const SEGMENT_BYTES: usize = 2 << 20;

/// The page cache unless the caller says otherwise. Reads of the hot path do not reach the engine,
/// so this is for catch-up and for values that memory has let go.
const CACHE_BYTES_DEFAULT: u64 = 64 << 20;

/// How to open a [`SledBackend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SledOptions {
    /// Bytes of sled's page cache.
    pub cache_bytes: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        SledOptions { cache_bytes: CACHE_BYTES_DEFAULT }
    }
}

/// The six trees in a sled database.
#[derive(Debug)]
pub struct SledBackend {
    trees: [sled::Tree; Tree::ALL.len()],
    database: sled::Db,
    folder: PathBuf,
    file: File,
    blobs_synced: Mutex<Option<i64>>,
}

impl SledBackend {
    /// Opens or creates the database in `folder`. One process at a time: a second one gets
    /// [`StorageError::Locked`].
    pub fn open(folder: &Path, options: SledOptions) -> Result<SledBackend, StorageError> {
        let database = sled::Config::new()
            .path(folder)
            .cache_capacity(options.cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(None)
            .open()
            .map_err(|error| open_error(folder, error))?;
        let mut trees = Vec::with_capacity(Tree::ALL.len());
        for tree in Tree::ALL {
            trees.push(database.open_tree(tree.name()).map_err(engine)?);
        }
        let trees = trees.try_into().expect("one tree was opened for each");
        let path = folder.join("db");
        let file = File::open(&path).map_err(|source| StorageError::Io { path, source })?;
        let folder = folder.to_path_buf();
        let backend = SledBackend { trees, database, folder, file, blobs_synced: Mutex::new(None) };
        backend.sync()?;
        sync_file(&backend.folder)?;
        Ok(backend)
    }

    fn tree(&self, tree: Tree) -> &sled::Tree {
        &self.trees[tree.position()]
    }

    /// Syncs the files of large pages that appeared since the last time.
    fn sync_blobs(&self) -> Result<(), StorageError> {
        let folder = self.folder.join("blobs");
        let mut synced = self.blobs_synced.lock();
        let before = *synced;
        let io = |source| StorageError::Io { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<i64>().ok()) else {
                continue;
            };
            if before.is_some_and(|before| id <= before) {
                continue;
            }
            match sync_file(&folder.join(&name)) {
                // The engine has let go of it meanwhile.
                Err(StorageError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
            *synced = (*synced).max(Some(id));
        }
        if *synced == before { Ok(()) } else { sync_file(&folder) }
    }
}

fn engine(error: sled::Error) -> StorageError {
    StorageError::Engine(Box::new(error))
}

fn open_error(folder: &Path, error: sled::Error) -> StorageError {
    // sled has no error kind for a lock that is held.
    if error.to_string().contains("could not acquire lock") {
        return StorageError::Locked { path: folder.to_path_buf() };
    }
    match error {
        sled::Error::Io(source) => StorageError::Io { path: folder.to_path_buf(), source },
        other => engine(other),
    }
}

fn sync_file(path: &Path) -> Result<(), StorageError> {
    let sync = File::open(path).and_then(|file| file.sync_all());
    sync.map_err(|source| StorageError::Io { path: path.to_path_buf(), source })
}

impl Backend for SledBackend {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let value = self.tree(tree).get(key).map_err(engine)?;
        Ok(value.map(Bytes::from_owner))
    }

    fn at_or_before(&self, tree: Tree, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StorageError> {
        let entry = self.tree(tree).range(..=key).next_back().transpose().map_err(engine)?;
        Ok(entry.map(|(key, value)| (Bytes::from_owner(key), Bytes::from_owner(value))))
    }

    fn scan(&self, tree: Tree, from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        for entry in self.tree(tree).range(from..) {
            let (key, value) = entry.map_err(engine)?;
            if let ControlFlow::Break(()) = visit(&key, Bytes::from_owner(value))? {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<(), StorageError> {
        let mut batches = BTreeMap::<Tree, sled::Batch>::new();
        for write in &batch.writes {
            let batch = batches.entry(write.tree).or_default();
            match &write.value {
                Some(value) => batch.insert(&write.key[..], &value[..]),
                None => batch.remove(&write.key[..]),
            }
        }
        if batches.is_empty() {
            return Ok(());
        }
        let trees: Vec<&sled::Tree> = batches.keys().map(|tree| self.tree(*tree)).collect();
        let committed = trees[..].transaction(|views| {
            for (view, batch) in views.iter().zip(batches.values()) {
                view.apply_batch(batch)?;
            }
            Ok::<(), ConflictableTransactionError<()>>(())
        });
        committed.map_err(|error| match error {
            TransactionError::Storage(error) => engine(error),
            TransactionError::Abort(()) => unreachable!("the transaction never aborts itself"),
        })
    }

    fn put_image(
        &self,
        tree: Tree,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<usize>, StorageError> {
        let replaced = self.tree(tree).insert(key, value).map_err(engine)?;
        Ok(replaced.map(|value| value.len()))
    }

    fn remove_image(&self, tree: Tree, key: &[u8]) -> Result<Option<usize>, StorageError> {
        let removed = self.tree(tree).remove(key).map_err(engine)?;
        Ok(removed.map(|value| value.len()))
    }

    fn clear(&self, tree: Tree) -> Result<(), StorageError> {
        self.tree(tree).clear().map_err(engine)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.database.flush().map_err(engine)?;
        self.sync_blobs()?;
        let sync = self.file.sync_data();
        sync.map_err(|source| StorageError::Io { path: self.folder.join("db"), source })
    }

    fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.database.size_on_disk().map_err(engine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_large_value_is_synced_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut batch = Batch::default();
        batch.put(Tree::KvRev, b"large", vec![7; 3 << 20]);
        let backend = SledBackend::open(folder.path(), SledOptions::default()).unwrap();
        backend.commit(&batch).unwrap();
        assert!(backend.blobs_synced.lock().is_none());
        backend.sync().unwrap();
        assert!(backend.blobs_synced.lock().is_some(), "it has a file of its own");
    }
}
