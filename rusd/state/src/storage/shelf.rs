//! Where the generations of an engine stand, and the small files that name them.
//!
//! A folder for a server; a simulation has its own. Which generation counts, and when one may be
//! thrown away, is decided above, in `generations` and `incoming`.
//!
//! Invariant: what was written survives a loss of power when the call returns. What was removed may
//! come back until then; the next start removes it again.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::error::StorageError;
use crate::storage::pointer;
use crate::storage::{Backend, EngineKind, MemoryBackend};

/// See above.
pub trait Shelf: fmt::Debug + Send + Sync {
    /// Name of the engine that all generations are of.
    fn engine(&self) -> &'static str;

    /// Where it is, for people.
    fn path(&self) -> &Path;

    /// The text of a small file; `None` if it is not there.
    fn read(&self, name: &str) -> Result<Option<String>, StorageError>;

    /// Replaces a small file as a whole, or not at all.
    fn write(&self, name: &str, text: &str) -> Result<(), StorageError>;

    /// Removes a small file, if it is there.
    fn remove(&self, name: &str) -> Result<(), StorageError>;

    /// What can be read now survives a loss of power, also if an earlier process wrote or removed it
    /// and did not live to see to that.
    fn sync(&self) -> Result<(), StorageError>;

    /// The generations there are, whole or not.
    fn numbers(&self) -> Result<Vec<u64>, StorageError>;

    /// Opens a generation; makes it if it is not there.
    fn open(&self, number: u64) -> Result<Arc<dyn Backend>, StorageError>;

    /// Removes a generation that nobody has open.
    fn remove_generation(&self, number: u64) -> Result<(), StorageError>;
}

impl EngineKind {
    /// Where generations of this engine stand: in `folder`, if it has files.
    pub fn shelf(self, folder: &Path) -> Result<Arc<dyn Shelf>, StorageError> {
        Ok(match self {
            EngineKind::Memory => Arc::new(Nowhere),
            EngineKind::Sled(_) | EngineKind::Fjall(_) => Arc::new(Folder::open(folder, self)?),
        })
    }
}

/// Files in a folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    kind: EngineKind,
}

impl Folder {
    /// Makes the folder, if it is not there.
    pub fn open(path: &Path, kind: EngineKind) -> Result<Folder, StorageError> {
        make_folder(path)?;
        Ok(Folder { path: path.to_path_buf(), kind })
    }

    /// The files of a generation.
    fn path_of(path: &Path, number: u64) -> PathBuf {
        path.join(number.to_string())
    }
}

impl Shelf for Folder {
    fn engine(&self) -> &'static str {
        self.kind.name()
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self, name: &str) -> Result<Option<String>, StorageError> {
        pointer::read(&self.path, name)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), StorageError> {
        pointer::write(&self.path, name, text)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        pointer::remove(&self.path, name)
    }

    fn sync(&self) -> Result<(), StorageError> {
        pointer::sync_folder(&self.path)
    }

    fn numbers(&self) -> Result<Vec<u64>, StorageError> {
        let io = |source| StorageError::Io { path: self.path.clone(), source };
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    fn open(&self, number: u64) -> Result<Arc<dyn Backend>, StorageError> {
        let path = Folder::path_of(&self.path, number);
        make_folder(&path)?;
        self.kind.open(&path)
    }

    fn remove_generation(&self, number: u64) -> Result<(), StorageError> {
        let path = Folder::path_of(&self.path, number);
        fs::remove_dir_all(&path).map_err(|source| StorageError::Io { path, source })
    }
}

/// Makes a folder, if it is not there. It survives a loss of power, also if an earlier process made
/// it and did not live to see to that.
fn make_folder(path: &Path) -> Result<(), StorageError> {
    let io = |source| StorageError::Io { path: path.to_path_buf(), source };
    fs::create_dir_all(path).map_err(io)?;
    path.parent().map_or(Ok(()), pointer::sync_folder)
}

/// Nothing stands anywhere: engines in memory, gone with the process.
#[derive(Debug)]
struct Nowhere;

impl Shelf for Nowhere {
    fn engine(&self) -> &'static str {
        EngineKind::Memory.name()
    }

    fn path(&self) -> &Path {
        Path::new("memory")
    }

    fn read(&self, _name: &str) -> Result<Option<String>, StorageError> {
        Ok(None)
    }

    fn write(&self, _name: &str, _text: &str) -> Result<(), StorageError> {
        Ok(())
    }

    fn remove(&self, _name: &str) -> Result<(), StorageError> {
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn numbers(&self) -> Result<Vec<u64>, StorageError> {
        Ok(Vec::new())
    }

    fn open(&self, _number: u64) -> Result<Arc<dyn Backend>, StorageError> {
        Ok(Arc::new(MemoryBackend::new()))
    }

    fn remove_generation(&self, _number: u64) -> Result<(), StorageError> {
        Ok(())
    }
}
