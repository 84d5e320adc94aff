//! What the state machine keeps on disk, and how it gets there.
//!
//! The seam with `mvcc` is [`History`]; the seam with an engine is the [`Backend`] trait. Nothing
//! here knows what a transaction or a lease means.
//!
//! ```text
//!   applier --append--> write-behind buffer --flush--> kv_rev blocks, meta, lease   (atomic, synced)
//!                                                          |
//!                                                          '--fold--> kv, index     (images)
//! ```
//!
//! `kv_rev` is the only truth about keys. `kv` and `index` are images of it: they make a start
//! fast and may be behind, half written, or absent.

mod batch;
mod blocks;
pub mod change;
mod compaction;
mod defragment;
mod engine;
mod error;
mod export;
mod fill;
mod fjall;
mod fold;
mod generations;
pub mod history;
mod import;
pub mod incoming;
mod keycode;
mod memory;
mod pins;
mod pointer;
mod recovery;
mod schema;
mod sequence;
mod shelf;
mod sled;
mod tally;
mod verify;
mod write_behind;

use std::fmt;
use std::ops::ControlFlow;

use bytes::Bytes;

pub use crate::storage::batch::Batch;
pub use crate::storage::compaction::CompactProgress;
pub use crate::storage::defragment::DefragmentProgress;
pub use crate::storage::engine::EngineKind;
pub use crate::storage::error::StorageError;
pub use crate::storage::export::Export;
pub(crate) use crate::storage::fill::Fill;
pub use crate::storage::fjall::{FjallBackend, FjallOptions};
pub use crate::storage::fold::FoldProgress;
pub use crate::storage::generations::{Generation, Generations};
pub use crate::storage::history::{Durable, Flushed, History, HistoryOptions, Scan, StartFrom};
pub use crate::storage::import::{Import, ImportError};
pub use crate::storage::memory::MemoryBackend;
pub use crate::storage::pins::Pin;
pub use crate::storage::recovery::{Recovered, RecoveredKey, Replayed};
pub use crate::storage::schema::Tree;
pub use crate::storage::shelf::{Folder, Shelf};
pub use crate::storage::sled::{SledBackend, SledOptions};
pub use crate::storage::verify::{VerifyReport, verify};

/// About how many bytes a batch may have: changes of consecutive log entries, whole. An entry may have
/// more. What a transaction costs an engine in memory, and in work that it cannot put off, grows with it.
pub(crate) const BATCH_BYTES_MAX: usize = 1 << 20;

/// What a scan tells with each entry; [`ControlFlow::Break`] ends the scan.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], Bytes) -> Result<ControlFlow<()>, StorageError>;

/// An ordered key-value engine with the six trees.
///
/// Readers may call from any thread. `commit`, `put_row`, `remove_row`, `clear` and `sync` are
/// called from one thread at a time.
pub trait Backend: fmt::Debug + Send + Sync {
    /// The value of a key.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// The entry with the greatest key that is not greater than `key`.
    fn at_or_before(&self, tree: Tree, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StorageError>;

    /// Visits entries in ascending order, from the first whose key is not less than `from`.
    fn scan(&self, tree: Tree, from: &[u8], visit: Visit<'_>) -> Result<(), StorageError>;

    /// Makes all changes of the batch visible. After a crash all of them are there or none.
    fn commit(&self, batch: &Batch) -> Result<(), StorageError>;

    /// Writes one entry, in no atomic relation to anything else: of an image, or of an engine that is
    /// being filled. Gives the length of the value that it replaced.
    fn put_row(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<Option<usize>, StorageError>;

    /// Removes one entry, likewise. Gives the length of the value that is gone.
    fn remove_row(&self, tree: Tree, key: &[u8]) -> Result<Option<usize>, StorageError>;

    /// Removes all entries of a tree, not atomically.
    fn clear(&self, tree: Tree) -> Result<(), StorageError>;

    /// Returns when everything written so far survives a loss of power.
    fn sync(&self) -> Result<(), StorageError>;

    /// Bytes that the engine takes on disk (in memory, for an engine that has no disk).
    fn size_on_disk(&self) -> Result<u64, StorageError>;

    /// The damage it is, unless the log has it, that the opening left out an end that made no sense.
    /// Until the first write that end is kept.
    fn left_out(&self) -> Option<StorageError> {
        None
    }

    /// Whether its files are closed when it is dropped. If not, they take up space after they are
    /// removed, until the process ends.
    fn closes(&self) -> bool {
        true
    }
}
