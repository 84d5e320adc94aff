//! A member's state as a bbolt file, streamed in the order of the file.
//!
//! The first page of the file names the last one, so the rows are gone through twice: once to measure
//! them, once to write. Nothing is kept in between but the export that holds them still.

use std::io::{self, Write};

use rusd_bbolt::{Layout, PageSize, Writer};
use rusd_state::etcd::{EtcdBucket, EtcdRows};
use rusd_state::storage::StorageError;

/// Why a snapshot ends early.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The engine does not give its rows.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Whoever takes the file does not any more.
    #[error(transparent)]
    Out(#[from] io::Error),
}

/// A state whose file has been measured.
#[derive(Debug)]
pub struct Measured {
    rows: EtcdRows,
    layout: Layout,
}

impl Measured {
    /// Goes through all rows.
    pub fn of(mut rows: EtcdRows) -> Result<Measured, SaveError> {
        let layout = fill(&mut rows, Writer::measuring(PageSize::DEFAULT))?;
        Ok(Measured { rows, layout })
    }

    /// Length of the file, without its hash.
    pub fn file_bytes(&self) -> u64 {
        self.layout.file_bytes()
    }

    /// Writes the file, without its hash.
    pub fn write(mut self, out: impl Write) -> Result<(), SaveError> {
        let writer = Writer::new(out, self.layout)?;
        fill(&mut self.rows, writer).map(|_| ())
    }
}

fn fill<W: Write>(rows: &mut EtcdRows, mut writer: Writer<W>) -> Result<Layout, SaveError> {
    for bucket in EtcdBucket::ALL {
        writer.bucket(bucket.name().as_bytes())?;
        rows.visit::<SaveError>(bucket, &mut |key, value| Ok(writer.put(key, value)?))?;
    }
    Ok(writer.finish()?)
}
