//! Segment files: their names, their creation, and preparing them ahead.
//!
//! A segment is named by its sequence number and the index that its first entry gets. Writing over
//! blocks that hold zeros already makes a sync about three times faster than writing over blocks
//! that are merely allocated, so a [`SegmentPreparer`] fills the next segment while the current one
//! is in use. Until it is needed it has a name that ends in `.tmp`; etcd ignores such files, and
//! they are deleted at the next start.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::Fatal;

/// Zeros are written and synced in steps, so that they do not hold up the log's own syncs.
const FILL_STEP_BYTES: usize = 1024 * 1024;
/// Between two steps the disk is left to others. A segment of 64 MiB is ready in less than a second, long
/// before the one in use is full.
const FILL_PAUSE: Duration = Duration::from_millis(10);

/// The name of a segment.
pub(super) fn name(sequence: u64, first_index: u64) -> String {
    format!("{sequence:016x}-{first_index:016x}.wal")
}

/// Sequence number and first index, if `name` is a segment's.
fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (sequence, first_index) = name.strip_suffix(".wal")?.split_once('-')?;
    let number =
        |digits: &str| (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten();
    Some((number(sequence)?, number(first_index)?))
}

/// A segment that is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    pub(super) sequence: u64,
    pub(super) first_index: u64,
    pub(super) path: PathBuf,
}

/// The segments in a folder, oldest first. Their numbers follow each other.
pub(super) fn list(dir: &Path) -> Result<Vec<SegmentName>, Fatal> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir).map_err(Fatal::io("list", dir))? {
        let path = entry.map_err(Fatal::io("list", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some((sequence, first_index)) = name.and_then(parse_name) {
            segments.push(SegmentName { sequence, first_index, path });
        }
    }
    segments.sort();
    let gap = segments.windows(2).find(|pair| pair[1].sequence != pair[0].sequence + 1);
    if let Some(pair) = gap {
        let reason = format!("no segment between {} and {}", pair[0].sequence, pair[1].sequence);
        return Err(Fatal::Unusable { path: dir.into(), reason });
    }
    Ok(segments)
}

/// Deletes what an earlier run had prepared and not used.
pub(super) fn delete_prepared(dir: &Path) -> Result<(), Fatal> {
    for entry in fs::read_dir(dir).map_err(Fatal::io("list", dir))? {
        let path = entry.map_err(Fatal::io("list", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(&path).map_err(Fatal::io("delete", &path))?;
        }
    }
    Ok(())
}

/// Makes a change of `dir`'s entries survive a crash of the machine.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Fatal> {
    let opened = File::open(dir).map_err(Fatal::io("open", dir))?;
    opened.sync_all().map_err(Fatal::io("sync", dir))
}

/// Creates a segment of full length without writing to it.
pub(super) fn create_sparse(path: &Path, bytes: u64) -> Result<File, Fatal> {
    let mut options = File::options();
    let opened = options.create(true).truncate(true).read(true).write(true).open(path);
    let file = opened.map_err(Fatal::io("create", path))?;
    file.set_len(bytes).map_err(Fatal::io("extend", path))?;
    Ok(file)
}

/// A segment filled with zeros, waiting under a temporary name.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

#[derive(Debug, Default)]
struct Slot {
    prepared: Option<Prepared>,
    created: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    bytes: u64,
    slot: Mutex<Slot>,
    wake: Condvar,
}

/// Prepares the next segment of a log. Clones share the one that is ready.
///
/// Let a thread of its own call [`SegmentPreparer::run`], or call [`SegmentPreparer::prepare`]
/// when there is time. Without either, the log creates its segments when it needs them.
#[derive(Clone, Debug)]
pub struct SegmentPreparer {
    shared: Arc<Shared>,
}

impl SegmentPreparer {
    pub(super) fn new(dir: &Path, bytes: u64) -> Self {
        let slot = Mutex::new(Slot::default());
        Self { shared: Arc::new(Shared { dir: dir.into(), bytes, slot, wake: Condvar::new() }) }
    }

    /// Prepares segments as they are used up, until the log is closed.
    pub fn run(&self) -> Result<(), Fatal> {
        loop {
            let mut slot = self.shared.slot.lock();
            while slot.prepared.is_some() && !slot.is_closed {
                self.shared.wake.wait(&mut slot);
            }
            if slot.is_closed {
                return Ok(());
            }
            drop(slot);
            self.prepare()?;
        }
    }

    /// Prepares a segment if none is ready.
    pub fn prepare(&self) -> Result<(), Fatal> {
        let mut slot = self.shared.slot.lock();
        if slot.prepared.is_some() {
            return Ok(());
        }
        slot.created += 1;
        let path = self.shared.dir.join(format!("{}.tmp", slot.created));
        drop(slot);
        let Some(file) = self.create_filled(&path)? else { return Ok(()) };
        let mut slot = self.shared.slot.lock();
        // Two callers at once: the second file stays behind under its temporary name.
        slot.prepared.get_or_insert(Prepared { file, path });
        Ok(())
    }

    /// None if the log was closed meanwhile: the file stays behind under its temporary name.
    fn create_filled(&self, path: &Path) -> Result<Option<File>, Fatal> {
        let mut file = create_sparse(path, self.shared.bytes)?;
        let zeros = vec![0; FILL_STEP_BYTES];
        let mut left = usize::try_from(self.shared.bytes).expect("a segment fits in memory");
        loop {
            let step = left.min(zeros.len());
            let filled = rusd_failpoint::io("walPrepareStep");
            let filled = filled.and_then(|()| file.write_all(&zeros[..step]));
            filled.map_err(Fatal::io("write", path))?;
            file.sync_data().map_err(Fatal::io("sync", path))?;
            left -= step;
            if left == 0 {
                return Ok(Some(file));
            }
            let mut slot = self.shared.slot.lock();
            let is_open = |slot: &mut Slot| !slot.is_closed;
            self.shared.wake.wait_while_for(&mut slot, is_open, FILL_PAUSE);
            if slot.is_closed {
                return Ok(None);
            }
        }
    }

    /// Takes the segment that is ready, if one is.
    pub(super) fn take(&self) -> Option<Prepared> {
        let taken = self.shared.slot.lock().prepared.take();
        self.shared.wake.notify_one();
        taken
    }

    /// Ends `run`.
    pub(super) fn close(&self) {
        self.shared.slot.lock().is_closed = true;
        self.shared.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_etcds() {
        assert_eq!(name(1, 0xab), "0000000000000001-00000000000000ab.wal");
        assert_eq!(parse_name("0000000000000001-00000000000000ab.wal"), Some((1, 0xab)));
        assert_eq!(parse_name("0000000000000001-00000000000000ab.wal.broken"), None);
        assert_eq!(parse_name("1-2.wal"), None);
        assert_eq!(parse_name("1.tmp"), None);
    }

    #[test]
    fn a_missing_segment_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for sequence in [0, 1, 3] {
            fs::write(dir.path().join(name(sequence, 1)), b"").unwrap();
        }
        let error = list(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no segment between 1 and 3"), "{error}");
    }

    #[test]
    fn one_segment_is_prepared_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let preparer = SegmentPreparer::new(dir.path(), 4096);
        preparer.prepare().unwrap();
        preparer.prepare().unwrap();
        let prepared = preparer.take().unwrap();
        assert_eq!(fs::read(&prepared.path).unwrap(), vec![0; 4096]);
        assert!(preparer.take().is_none());
        delete_prepared(dir.path()).unwrap();
        assert!(!prepared.path.exists());
    }

    #[test]
    fn a_segment_of_several_steps_is_filled_to_its_end_unless_the_log_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = 2 * FILL_STEP_BYTES + 1;
        let preparer = SegmentPreparer::new(dir.path(), bytes.try_into().unwrap());
        preparer.prepare().unwrap();
        let prepared = preparer.take().unwrap();
        assert_eq!(fs::read(&prepared.path).unwrap(), vec![0; bytes]);
        preparer.close();
        preparer.prepare().unwrap();
        assert!(preparer.take().is_none());
    }

    #[test]
    fn run_ends_when_the_log_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let preparer = SegmentPreparer::new(dir.path(), 4096);
        let runner = std::thread::spawn({
            let preparer = preparer.clone();
            move || preparer.run()
        });
        preparer.close();
        runner.join().unwrap().unwrap();
    }
}
