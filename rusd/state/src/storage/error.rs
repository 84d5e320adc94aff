//! What can go wrong below the state machine. In what holds acknowledged writes every one of these stops
//! the member: memory may by then be ahead of the disk, and only a restart brings them together again.
//! Of a copy of the engine, or of a state that comes in or goes out, it ends only that.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::storage::Tree;

/// A failure of the disk, of the engine, or of what they gave back.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Bytes that were written are not the bytes that came back, or never made sense.
    #[error("tree {tree}, key {key}: {reason}")]
    Corrupt {
        /// The tree they stand in.
        tree: Tree,
        /// The key, printed as the tree's keys are meant: a revision, an id, or text.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The engine itself failed.
    #[error("storage engine: {0}")]
    Engine(#[source] Box<dyn Error + Send + Sync>),
    /// Another process has the data directory open.
    #[error("{path}: the data directory is in use by another process")]
    Locked {
        /// The engine's folder.
        path: PathBuf,
    },
    /// The engine's folder is not as any step of ours leaves it.
    #[error("{path}: {reason}")]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The engine is of another kind than asked for.
    #[error("{path}: the engine here is {found}, not {wanted}")]
    OtherEngine {
        /// The engine's folder.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// A file operation failed, of ours or, where it is known, of the engine.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StorageError {
    /// The engine could not read or write.
    pub(crate) fn of_engine(error: io::Error) -> Self {
        StorageError::Engine(error.into())
    }

    /// Corruption of the entry `key` of `tree`.
    pub(crate) fn corrupt(tree: Tree, key: &[u8], reason: impl Into<String>) -> Self {
        StorageError::Corrupt { tree, key: tree.key_text(key), reason: reason.into() }
    }
}
