//! The engine on a simulated disk: every write burns the disk's fuse, and may be the last one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rusd_state::storage::{Backend, Batch, MemoryBackend, StorageError, Tree, Visit};

/// How many more writes and syncs a disk will do.
#[derive(Debug)]
pub struct Fuse(AtomicU64);

/// As good as for ever.
const SOUND: u64 = u64::MAX;

impl Default for Fuse {
    fn default() -> Fuse {
        Fuse(AtomicU64::new(SOUND))
    }
}

impl Fuse {
    /// From now on so many more succeed.
    pub fn set(&self, left: u64) {
        self.0.store(left, Ordering::Relaxed);
    }

    /// The disk is sound again.
    pub fn mend(&self) {
        self.set(SOUND);
    }

    /// One more write or sync.
    pub fn burn(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            SOUND => Ok(()),
            0 => Err(io::Error::other("simulated disk error")),
            left => {
                self.set(left - 1);
                Ok(())
            }
        }
    }
}

/// An engine in memory that knows what a crash would leave of it. A clone is the same engine, opened
/// once more.
#[derive(Debug, Clone)]
pub struct SimEngine {
    memory: Arc<MemoryBackend>,
    fuse: Arc<Fuse>,
}

impl SimEngine {
    /// On a disk with this fuse.
    pub fn new(memory: MemoryBackend, fuse: Arc<Fuse>) -> SimEngine {
        SimEngine { memory: Arc::new(memory), fuse }
    }

    /// Writes that a loss of power may take.
    pub fn unsynced(&self) -> usize {
        self.memory.unsynced()
    }

    /// What a loss of power leaves, with so many of them.
    #[must_use]
    pub fn after_crash(&self, kept: usize) -> SimEngine {
        SimEngine::new(self.memory.after_crash(kept), Arc::clone(&self.fuse))
    }

    fn burn(&self) -> Result<(), StorageError> {
        self.fuse.burn().map_err(|source| StorageError::Io { path: "engine".into(), source })
    }
}

impl Backend for SimEngine {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.memory.get(tree, key)
    }

    fn at_or_before(&self, tree: Tree, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StorageError> {
        self.memory.at_or_before(tree, key)
    }

    fn scan(&self, tree: Tree, from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        self.memory.scan(tree, from, visit)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StorageError> {
        self.burn()?;
        self.memory.commit(batch)
    }

    fn put_row(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<Option<usize>, StorageError> {
        self.burn()?;
        self.memory.put_row(tree, key, value)
    }

    fn remove_row(&self, tree: Tree, key: &[u8]) -> Result<Option<usize>, StorageError> {
        self.burn()?;
        self.memory.remove_row(tree, key)
    }

    fn clear(&self, tree: Tree) -> Result<(), StorageError> {
        self.burn()?;
        self.memory.clear(tree)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.burn()?;
        self.memory.sync()
    }

    fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.memory.size_on_disk()
    }
}
