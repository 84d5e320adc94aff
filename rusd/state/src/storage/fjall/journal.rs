//! The end of fjall's journal after a loss of power. Reads the format of fjall 3, never writes it.
//!
//! What was not synced may be on disk in part. fjall drops a last batch that is cut off, but does not
//! open if a batch in the middle lost a part of a value. Everything from the first batch on that is not
//! whole is cut here before fjall looks: it was not synced. A table has only what was synced before, so
//! one that has more than is left tells another story, a damage: then the journal stays as it was.
//!
//! Invariant: until the cut is confirmed, the journal as it was stands beside it, and is put back by
//! the next opening.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::storage::error::StorageError;
use crate::storage::pointer::sync_folder;

/// What begins each part of a batch.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// What ends a batch.
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Of the journal and of the journal as it was before its end was cut.
const JOURNAL: &str = "jnl";
const KEPT: &str = "torn";
/// The file that whoever has the database open holds locked.
const LOCK: &str = "lock";
const CHUNK_BYTES: usize = 8 << 10;

/// A journal whose end was cut off.
#[derive(Debug)]
pub(super) struct Cut {
    journal: PathBuf,
    /// Bytes that are left.
    at: u64,
    /// Of the first batch that is gone, if that can be told.
    sequence: Option<u64>,
}

/// Cuts off the end of the newest journal, if it makes no sense. Nothing is done if there is no
/// database, or somebody has it open.
pub(super) fn cut_torn_end(folder: &Path) -> Result<Option<Cut>, StorageError> {
    let lock = match File::open(folder.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|source| at(&folder.join(LOCK), source))?,
    };
    if lock.try_lock().is_err() {
        return Ok(None);
    }
    let Some(journal) = newest(folder).map_err(|source| at(folder, source))? else {
        return Ok(None);
    };
    cut(folder, journal.clone()).map_err(|source| at(&journal, source))
}

fn at(path: &Path, source: io::Error) -> StorageError {
    StorageError::Io { path: path.to_path_buf(), source }
}

/// The journal that was written last: they are numbered. One that was not confirmed is put back first.
fn newest(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(folder)? {
        let mut path = entry?.path();
        if path.extension().is_some_and(|extension| extension == KEPT) {
            let journal = path.with_extension(JOURNAL);
            fs::rename(&path, &journal)?;
            path = journal;
        }
        let is_journal = path.extension().is_some_and(|extension| extension == JOURNAL);
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| is_journal)
            && newest.as_ref().is_none_or(|(last, _)| number > *last)
        {
            newest = Some((number, path));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

fn cut(folder: &Path, journal: PathBuf) -> io::Result<Option<Cut>> {
    let mut file = OpenOptions::new().read(true).write(true).open(&journal)?;
    let whole = whole_batches(&mut file)?;
    file.seek(SeekFrom::Start(whole.bytes))?;
    if has_only_zeros(&mut file)? {
        return Ok(None);
    }
    let kept = journal.with_extension(KEPT);
    let beside = kept.with_extension("copy");
    fs::copy(&journal, &beside)?;
    File::open(&beside)?.sync_all()?;
    fs::rename(&beside, &kept)?;
    File::open(folder)?.sync_all()?;
    file.set_len(whole.bytes)?;
    file.sync_all()?;
    Ok(Some(Cut { journal, at: whole.bytes, sequence: whole.next }))
}

impl Cut {
    /// The database was opened without the end, and its tables have batches up to that sequence number.
    /// An error is a damage of what was synced: the caller has to close the database and to put the
    /// journal back.
    pub(super) fn check(&self, in_tables: Option<u64>) -> Result<(), StorageError> {
        if let (Some(sequence), Some(in_tables)) = (self.sequence, in_tables)
            && in_tables >= sequence
        {
            let reason = format!(
                "damaged at byte {}: batch {sequence} was synced, since a table has batch {in_tables}",
                self.at
            );
            return Err(StorageError::Damaged { path: self.journal.clone(), reason });
        }
        Ok(())
    }

    /// Forgets what was cut.
    pub(super) fn confirm(self) -> Result<(), StorageError> {
        let kept = self.journal.with_extension(KEPT);
        fs::remove_file(&kept).map_err(|source| at(&kept, source))?;
        self.journal.parent().map_or(Ok(()), sync_folder)
    }

    /// The journal is again as it was.
    pub(super) fn put_back(self) -> Result<(), StorageError> {
        let kept = self.journal.with_extension(KEPT);
        fs::rename(&kept, &self.journal).map_err(|source| at(&kept, source))?;
        self.journal.parent().map_or(Ok(()), sync_folder)
    }
}

/// The part of a journal that makes sense.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    bytes: u64,
    /// Sequence number of the batch behind it; not known if that is the first and cannot be read.
    next: Option<u64>,
}

fn whole_batches(journal: &mut File) -> io::Result<Whole> {
    let mut reader = BatchReader::new(BufReader::new(journal));
    let mut whole = Whole { bytes: 0, next: None };
    loop {
        match reader.batch() {
            Ok(sequence) => whole = Whole { bytes: reader.position, next: Some(sequence + 1) },
            Err(error) if is_torn(&error) => {
                // The number of a batch that is not whole may itself be damaged.
                whole.next = whole.next.or(reader.sequence);
                return Ok(whole);
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_torn(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

/// Reads batches: a start with the number of its parts and its sequence number, the parts, and an end
/// with their XXH3. Numbers are little-endian.
struct BatchReader<R> {
    reader: R,
    position: u64,
    hash: Xxh3,
    /// Of the batch that was begun last.
    sequence: Option<u64>,
}

impl<R: Read> BatchReader<R> {
    fn new(reader: R) -> BatchReader<R> {
        BatchReader { reader, position: 0, hash: Xxh3::new(), sequence: None }
    }

    /// The sequence number of the next batch. `InvalidData` and `UnexpectedEof` mean that it is not
    /// whole.
    fn batch(&mut self) -> io::Result<u64> {
        self.expect(START)?;
        let mut parts = u32::from_le_bytes(self.bytes()?);
        let sequence = u64::from_le_bytes(self.bytes()?);
        self.sequence = Some(sequence);
        self.hash.reset();
        loop {
            let hash = self.hash.digest();
            match (self.bytes()?, parts) {
                ([ITEM], 1..) => self.item()?,
                ([CLEAR], 1..) => drop(self.bytes::<8>()?),
                ([END], 0) => {
                    let is_whole = u64::from_le_bytes(self.bytes()?) == hash;
                    return if is_whole && self.bytes()? == TRAILER {
                        Ok(sequence)
                    } else {
                        Err(io::ErrorKind::InvalidData.into())
                    };
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
            parts -= 1;
        }
    }

    /// What follows the tag: kind of value, compression, keyspace, lengths of the key, of the value
    /// and of the value as it stands here, key, value.
    fn item(&mut self) -> io::Result<()> {
        self.bytes::<{ 1 + 1 + 8 }>()?;
        let key_bytes = u16::from_le_bytes(self.bytes()?);
        self.bytes::<4>()?;
        let value_bytes = u32::from_le_bytes(self.bytes()?);
        let value_bytes = usize::try_from(value_bytes).expect("a length fits");
        self.skip(usize::from(key_bytes) + value_bytes)
    }

    fn expect(&mut self, tag: u8) -> io::Result<()> {
        if self.bytes()? == [tag] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, mut bytes: usize) -> io::Result<()> {
        let mut chunk = [0; CHUNK_BYTES];
        while bytes > 0 {
            let next = bytes.min(CHUNK_BYTES);
            self.fill(&mut chunk[..next])?;
            bytes -= next;
        }
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(bytes)?;
        self.hash.update(bytes);
        self.position += u64::try_from(bytes.len()).expect("a length fits");
        Ok(())
    }
}

fn has_only_zeros(file: &mut File) -> io::Result<bool> {
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(true),
            read if chunk[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
