//! A snapshot file: a bbolt file and the SHA-256 of it.
//!
//! Whether there is a hash is told by the length, as in etcd: pages are multiples of 512 bytes, and
//! the hash has 32. A file from a data directory has none.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rusd_bbolt::{Database, ReadError};
use sha2::{Digest as _, Sha256};

const HASH_BYTES: u64 = 32;
const SECTOR_BYTES: u64 = 512;
/// Bytes that are hashed at a time.
const HASHED_BYTES: usize = 1 << 20;

/// Why a snapshot file is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("open {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It has no hash.
    #[error("snapshot missing hash but --skip-hash-check=false")]
    NoHash,
    /// It is not what was saved.
    #[error("expected sha256 {}, got {}", as_go_shows(expected), as_go_shows(found))]
    OtherHash {
        /// What its end says.
        expected: Vec<u8>,
        /// What it is.
        found: Vec<u8>,
    },
    /// Its pages make no sense.
    #[error("{}: {source}", path.display())]
    Pages {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ReadError,
    },
}

fn as_go_shows(bytes: &[u8]) -> String {
    format!("{bytes:?}").replace(',', "")
}

/// What is asked of a file's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HashCheck {
    /// It must be there and right.
    Required,
    /// If it is there it must be right.
    IfThere,
    /// Nothing.
    Skipped,
}

/// Opens a snapshot file whose hash is as it should be.
pub(super) fn open(path: &Path, check: HashCheck) -> Result<Database<File>, FileError> {
    let io = |source| FileError::Io { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let has_hash = length % SECTOR_BYTES == HASH_BYTES;
    let database_bytes = if has_hash { length - HASH_BYTES } else { length };
    if !has_hash && check == HashCheck::Required {
        return Err(FileError::NoHash);
    }
    if has_hash && check != HashCheck::Skipped {
        let found = hash(&mut file, database_bytes).map_err(io)?;
        let mut expected = Vec::new();
        file.read_to_end(&mut expected).map_err(io)?;
        if expected != found {
            return Err(FileError::OtherHash { expected, found });
        }
    }
    Database::open(file, database_bytes)
        .map_err(|source| FileError::Pages { path: path.to_path_buf(), source })
}

/// Hashes the first bytes of a file, and leaves it standing after them.
fn hash(file: &mut File, bytes: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let mut left = file.take(bytes);
    let mut buffer = vec![0; HASHED_BYTES];
    loop {
        match left.read(&mut buffer)? {
            0 => return Ok(hash.finalize().to_vec()),
            read => hash.update(&buffer[..read]),
        }
    }
}
