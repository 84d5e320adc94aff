//! fjall's journal, before fjall opens it: damage is refused, and what a loss of power left of the end
//! is cut off. Reads the format of fjall 3, never writes it.
//!
//! What was not synced may be on disk in part. fjall drops a last batch that is cut off, but does not
//! open if a batch in the middle lost a part of a value. Everything from the first batch on that is not
//! whole is cut here before fjall looks: it was not synced. A table has only what was synced before, so
//! one that has more than is left tells another story, a damage: then the journal stays as it was.
//!
//! A journal that is not the newest was synced before the next one was begun, so it is whole. fjall
//! would drop without a word what follows a damage in it.
//!
//! What was cut may have been synced after all, if no table is newer. The log tells, and it is looked at
//! later. So until the cut is confirmed, the journal as it was stands beside it; it is put back when the
//! database is closed, or by the next opening.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::storage::error::StorageError;
use crate::storage::fjall::batches::BatchReader;
use crate::storage::fjall::numbers::Numbers;
use crate::storage::pointer::sync_folder;

/// Of the journal and of the journal as it was before its end was cut.
const JOURNAL: &str = "jnl";
const KEPT: &str = "torn";
/// The file that whoever has the database open holds locked.
const LOCK: &str = "lock";
const CHUNK_BYTES: usize = 8 << 10;

/// A journal whose end was cut off. Unless that is confirmed, the journal is put back when this is dropped.
#[derive(Debug)]
pub(super) struct Cut {
    journal: PathBuf,
    /// Bytes that are left.
    at: u64,
    /// Of the first batch that is gone, if that can be told.
    sequence: Option<u64>,
    is_confirmed: bool,
}

/// Refuses journals that are damaged, and cuts off the end of the newest one, if it makes no sense.
/// Nothing is done if there is no database, or somebody has it open.
pub(super) fn prepare(folder: &Path) -> Result<Option<Cut>, StorageError> {
    let lock = match File::open(folder.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|source| at(&folder.join(LOCK), source))?,
    };
    if lock.try_lock().is_err() {
        return Ok(None);
    }
    let mut older = journals(folder).map_err(|source| at(folder, source))?;
    let Some(newest) = older.pop() else { return Ok(None) };
    let mut numbers = Numbers::default();
    for journal in older {
        let (whole, is_all) = scan(&journal, &mut numbers)?;
        if !is_all {
            let reason = "a batch is not whole, and another journal follows".to_owned();
            return Err(damaged(&journal, whole.bytes, reason));
        }
    }
    let (whole, is_all) = scan(&newest, &mut numbers)?;
    numbers.check_tables(folder)?;
    if is_all {
        return Ok(None);
    }
    cut(folder, &newest, whole.bytes).map_err(|source| at(&newest, source))?;
    let (at, sequence) = (whole.bytes, whole.next);
    Ok(Some(Cut { journal: newest, at, sequence, is_confirmed: false }))
}

fn at(path: &Path, source: io::Error) -> StorageError {
    StorageError::Io { path: path.to_path_buf(), source }
}

pub(super) fn damaged(journal: &Path, byte: u64, reason: String) -> StorageError {
    let reason = format!("damaged at byte {byte}: {reason}");
    StorageError::Damaged { path: journal.to_path_buf(), reason }
}

/// The journals in the order in which they were written: they are numbered. One that was not confirmed
/// is put back first.
fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let mut path = entry?.path();
        if path.extension().is_some_and(|extension| extension == KEPT) {
            let journal = path.with_extension(JOURNAL);
            fs::rename(&path, &journal)?;
            path = journal;
        }
        let is_journal = path.extension().is_some_and(|extension| extension == JOURNAL);
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| is_journal) {
            journals.push((number, path));
        }
    }
    journals.sort();
    // The one that was put back may have been listed too.
    journals.dedup();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// Reads what makes sense of a journal, and tells whether nothing but zeros is behind it.
fn scan(journal: &Path, numbers: &mut Numbers) -> Result<(Whole, bool), StorageError> {
    let io = |source| at(journal, source);
    let mut file = File::open(journal).map_err(io)?;
    let whole = whole_batches(journal, &mut file, numbers)?;
    file.seek(SeekFrom::Start(whole.bytes)).map_err(io)?;
    let is_all = has_only_zeros(&mut file).map_err(io)?;
    Ok((whole, is_all))
}

fn cut(folder: &Path, journal: &Path, bytes: u64) -> io::Result<()> {
    let kept = journal.with_extension(KEPT);
    let beside = kept.with_extension("copy");
    fs::copy(journal, &beside)?;
    File::open(&beside)?.sync_all()?;
    fs::rename(&beside, &kept)?;
    File::open(folder)?.sync_all()?;
    let file = OpenOptions::new().write(true).open(journal)?;
    file.set_len(bytes)?;
    file.sync_all()
}

impl Cut {
    /// The database was opened without the end, and its tables have batches up to that sequence number.
    /// An error is a damage of what was synced.
    pub(super) fn check(&self, in_tables: Option<u64>) -> Result<(), StorageError> {
        if let (Some(sequence), Some(in_tables)) = (self.sequence, in_tables)
            && in_tables >= sequence
        {
            let reason =
                format!("batch {sequence} was synced, since a table has batch {in_tables}");
            return Err(damaged(&self.journal, self.at, reason));
        }
        Ok(())
    }

    /// What the cut is, if what it took was synced.
    pub(super) fn as_damage(&self) -> StorageError {
        let reason = "a batch is not whole, and the log does not have what it was".to_owned();
        damaged(&self.journal, self.at, reason)
    }

    /// Forgets what was cut.
    pub(super) fn confirm(mut self) -> Result<(), StorageError> {
        let kept = self.journal.with_extension(KEPT);
        fs::remove_file(&kept).map_err(|source| at(&kept, source))?;
        self.is_confirmed = true;
        self.journal.parent().map_or(Ok(()), sync_folder)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if !self.is_confirmed {
            // If it fails, the next opening does it.
            fs::rename(self.journal.with_extension(KEPT), &self.journal).ok();
        }
    }
}

/// The part of a journal that makes sense.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    bytes: u64,
    /// Sequence number of the batch behind it; not known if that is the first and cannot be read.
    next: Option<u64>,
}

fn whole_batches(
    journal: &Path,
    file: &mut File,
    numbers: &mut Numbers,
) -> Result<Whole, StorageError> {
    let mut reader = BatchReader::new(BufReader::new(file));
    let mut whole = Whole { bytes: 0, next: None };
    loop {
        match reader.batch() {
            Ok(batch) => {
                let sequence = batch.sequence;
                numbers.take(journal, whole.bytes, batch)?;
                whole = Whole { bytes: reader.position(), next: Some(sequence + 1) };
            }
            Err(error) if is_torn(&error) => {
                // The number of a batch that is not whole may itself be damaged.
                whole.next = whole.next.or(reader.sequence());
                return Ok(whole);
            }
            Err(error) => return Err(at(journal, error)),
        }
    }
}

fn is_torn(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
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
