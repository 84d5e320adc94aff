//! One process per data directory.
//!
//! The lock is the kernel's, on an open file, so it ends with the process however that ends.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::Fatal;

/// Name of the lock file inside the data directory.
const FILE_NAME: &str = "rusd.lock";

/// Holds a data directory until dropped.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Takes the directory, which must exist, or says at once that another process has it.
    pub fn acquire(data_dir: &Path) -> Result<Self, Fatal> {
        let path = data_dir.join(FILE_NAME);
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(Fatal::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Fatal::Locked { path }),
            Err(TryLockError::Error(source)) => Err(Fatal::io("lock", path)(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDirLock::acquire(dir.path()).unwrap();
        let refused = DataDirLock::acquire(dir.path()).unwrap_err();
        assert!(matches!(refused, Fatal::Locked { .. }), "{refused}");
        drop(first);
        DataDirLock::acquire(dir.path()).unwrap();
    }
}
