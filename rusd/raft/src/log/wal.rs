//! The log on disk, in etcd's format.
//!
//! One batch is one write and one `fdatasync`. Appends go to the last segment; a full one is cut
//! to its length and the next begins with the running CRC, the metadata and the hard state.
//!
//! Invariants:
//! - Bytes before `synced` survive a crash of the machine; bytes before `position` that of the process.
//! - From `position` on, the file holds zeros only.
//! - A sync marker follows whatever was synced: written at once, it lasts when the process ends; and
//!   nothing is written after it that is synced before it is. So what a loss of power may tear lies
//!   after the last marker, and what lies before a marker must be whole.
//! - After a failed write or sync the log takes nothing more: nobody knows what is on the disk.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusd_proto::raftpb::Entry;

use crate::conf_change::{BootstrapMember, bootstrap};
use crate::error::Fatal;
use crate::log::cache::EntryCache;
use crate::log::index::LogIndex;
use crate::log::read_only::{self, OpenSegment};
use crate::log::record::Encoder;
use crate::log::replay::{self, Replayed};
use crate::log::segment::{self, SegmentPreparer};
use crate::log::store::{LogStore, SnapshotMark};
use crate::types::{HardState, Index, Metadata, Term};

/// etcd's segment size: 64 MB, decimal.
const SEGMENT_BYTES: u64 = 64 * 1000 * 1000;

/// Zeros written ahead of the records when the segment was not prepared.
const ZEROS_AHEAD_BYTES: u64 = 1024 * 1024;

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// A segment that has reached this length is full.
    pub segment_bytes: u64,
    /// Data of recent entries kept in memory.
    pub cache_bytes: usize,
    /// Segments that are kept though they are no longer needed; 0 keeps all.
    pub segments_kept: usize,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, cache_bytes: 64 * 1024 * 1024, segments_kept: 5 }
    }
}

/// A place in the log on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncPoint {
    /// The segment.
    pub segment: PathBuf,
    /// Bytes of it.
    pub offset: u64,
}

/// The log of one member.
#[derive(Debug)]
pub struct Wal {
    dir: PathBuf,
    options: WalOptions,
    metadata: Metadata,
    hard_state: HardState,
    segments: Vec<OpenSegment>,
    sequence: u64,
    index: LogIndex,
    cache: EntryCache,
    encoder: Encoder,
    position: u64,
    synced: u64,
    /// Between `synced` and here there is nothing but a sync marker.
    marked: u64,
    /// Up to here the last segment holds zeros that were written, not merely allocated.
    zeroed: u64,
    preparer: SegmentPreparer,
    batch: Vec<u8>,
    has_failed: bool,
    /// Syncs since it was opened.
    syncs: Arc<AtomicU64>,
}

impl Wal {
    /// True when `dir` holds a log.
    pub fn exists(dir: &Path) -> bool {
        segment::list(dir).map_or(true, |segments| !segments.is_empty()) && dir.exists()
    }

    /// Creates an empty log. `dir` must not exist; it appears whole or not at all.
    pub fn create(dir: &Path, metadata: Metadata, options: WalOptions) -> Result<Self, Fatal> {
        Self::create_with(dir, metadata, options, &[], HardState::default())
    }

    /// Creates the log of a new cluster's member, with the entries of [`bootstrap`] already in it,
    /// so that no crash leaves a log with only some of them.
    pub fn create_bootstrapped(
        dir: &Path,
        metadata: Metadata,
        options: WalOptions,
        members: &[BootstrapMember],
    ) -> Result<Self, Fatal> {
        let (entries, hard_state) = bootstrap(members);
        Self::create_with(dir, metadata, options, &entries, hard_state)
    }

    /// Creates the log of a member whose state came from elsewhere. It goes on after the mark, so a
    /// member whose engine does not reach so far is never started from it. It is not made in one step:
    /// the caller sees to it that nobody opens it earlier.
    pub fn create_after(
        dir: &Path,
        metadata: Metadata,
        options: WalOptions,
        mark: &SnapshotMark,
        hard_state: HardState,
    ) -> Result<Self, Fatal> {
        let mut wal = Self::create(dir, metadata, options)?;
        wal.restart_after(mark, hard_state)?;
        wal.sync()?;
        Ok(wal)
    }

    fn create_with(
        dir: &Path,
        metadata: Metadata,
        options: WalOptions,
        entries: &[Entry],
        hard_state: HardState,
    ) -> Result<Self, Fatal> {
        let temporary = dir.with_extension("tmp");
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(Fatal::io("delete", &temporary))?;
        }
        fs::create_dir_all(&temporary).map_err(Fatal::io("create", &temporary))?;
        let mut encoder = Encoder::new(0);
        let mut head = Vec::new();
        encoder.segment_head(&mut head, metadata);
        encoder.first_snapshot(&mut head);
        for entry in entries {
            encoder.entry(&mut head, entry);
        }
        if !hard_state.is_empty() {
            encoder.state(&mut head, hard_state);
        }
        let path = temporary.join(segment::name(0, 0));
        let file = segment::create_sparse(&path, options.segment_bytes)?;
        file.write_all_at(&head, 0).map_err(Fatal::io("write", &path))?;
        file.sync_all().map_err(Fatal::io("sync", &path))?;
        segment::sync_dir(&temporary)?;
        fs::rename(&temporary, dir).map_err(Fatal::io("rename to", dir))?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        segment::sync_dir(parent.unwrap_or(Path::new(".")))?;
        Self::open(dir, metadata, options)
    }

    /// Opens the log of the member that `metadata` names. Cuts a torn tail; changes nothing when
    /// it refuses.
    pub fn open(dir: &Path, metadata: Metadata, options: WalOptions) -> Result<Self, Fatal> {
        let replayed = replay::replay(dir)?;
        if replayed.metadata != metadata {
            return Err(Fatal::ForeignLog {
                path: dir.into(),
                found: replayed.metadata,
                expected: metadata,
            });
        }
        segment::delete_prepared(dir)?;
        let segments = open_segments(&replayed)?;
        let last = segments.last().expect("a log has a segment");
        clear_tail(last, &replayed, options.segment_bytes)?;
        let sequence = replayed.segments.last().expect("a log has a segment").sequence;
        let mut wal = Self {
            dir: dir.into(),
            options,
            metadata,
            hard_state: replayed.hard_state,
            segments,
            sequence,
            index: replayed.index,
            cache: EntryCache::new(options.cache_bytes),
            encoder: Encoder::new(replayed.crc),
            position: replayed.tail,
            synced: replayed.tail,
            marked: replayed.tail,
            zeroed: replayed.tail,
            preparer: SegmentPreparer::new(dir, options.segment_bytes),
            batch: Vec::new(),
            has_failed: false,
            syncs: Arc::default(),
        };
        if !replayed.ends_marked {
            // What was written without markers is known to be synced from here on.
            wal.write_sync_marker()?;
            let last = wal.last_segment();
            last.file.sync_data().map_err(Fatal::io("sync", &last.path))?;
            wal.synced = wal.position;
        }
        Ok(wal)
    }

    /// Whose log `dir` holds, without opening it for writing.
    pub fn peek_metadata(dir: &Path) -> Result<Metadata, Fatal> {
        replay::metadata(dir)
    }

    /// Fills the next segment with zeros; see there who should call it.
    pub fn preparer(&self) -> SegmentPreparer {
        self.preparer.clone()
    }

    /// How often what was written has been synced since the log was opened, as it goes on.
    pub fn syncs(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.syncs)
    }

    /// Up to where the log survives a crash of the machine.
    pub fn synced(&self) -> SyncPoint {
        SyncPoint { segment: self.last_segment().path.clone(), offset: self.synced }
    }

    /// Writes records at the end of the log.
    fn write_records(&mut self, batch: &[u8]) -> Result<(), Fatal> {
        self.write_at_end(batch)?;
        self.position += length(batch);
        Ok(())
    }

    fn write_at_end(&self, bytes: &[u8]) -> Result<(), Fatal> {
        let OpenSegment { path, file } = self.last_segment();
        rusd_failpoint::io("walWriteError")
            .and_then(|()| file.write_all_at(bytes, self.position))
            .map_err(Fatal::io("write", path))
    }

    /// Says that everything so far is synced.
    fn write_sync_marker(&mut self) -> Result<(), Fatal> {
        let mut marker = Vec::new();
        self.encoder.sync_marker(&mut marker, self.position);
        self.zeroed = self.zeroed.max(self.position + length(&marker));
        self.write_records(&marker)?;
        self.marked = self.position;
        Ok(())
    }

    fn write_mark(&mut self, mark: &SnapshotMark, state: Option<HardState>) -> Result<(), Fatal> {
        rusd_failpoint::io("raftBeforeWALSaveSnaphot")
            .map_err(Fatal::io("write", &self.last_segment().path))?;
        if self.position >= self.options.segment_bytes {
            self.begin_segment()?;
        }
        let mut batch = Vec::new();
        self.encoder.mark(&mut batch, mark);
        if let Some(state) = state {
            self.encoder.state(&mut batch, state);
            self.hard_state = state;
        }
        self.zeroed = self.zeroed.max(self.position + length(&batch));
        self.write_records(&batch)
    }

    /// Removes the oldest segments that hold nothing that is needed, but keeps as many as it is told.
    fn remove_segments(&mut self) -> Result<(), Fatal> {
        let kept = self.options.segments_kept;
        let beyond = if kept == 0 { 0 } else { self.segments.len().saturating_sub(kept) };
        let count = self.index.unneeded_segments().min(beyond);
        let step = || rusd_failpoint::io("walReleaseStep");
        for _ in 0..count {
            // One after the other, so that no crash leaves a gap.
            let path = &self.segments[0].path;
            step().and_then(|()| fs::remove_file(path)).map_err(Fatal::io("delete", path))?;
            self.segments.remove(0);
            self.index.remove_segments(1);
            step().map_err(Fatal::io("sync", &self.dir))?;
            segment::sync_dir(&self.dir)?;
        }
        Ok(())
    }

    fn last_segment(&self) -> &OpenSegment {
        self.segments.last().expect("a log has a segment")
    }

    fn append_batch(&mut self, entries: &[Entry], state: Option<HardState>) -> Result<(), Fatal> {
        if self.position >= self.options.segment_bytes {
            self.begin_segment()?;
        }
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        for entry in entries {
            let offset = self.position + length(&batch);
            self.encoder.entry(&mut batch, entry);
            let offset = u32::try_from(offset).expect("a segment is cut long before 4 GiB");
            self.index.push(entry.index(), entry.term(), offset);
            self.cache.push(entry.clone());
        }
        if let Some(state) = state.filter(|state| !state.is_empty()) {
            let before = self.hard_state;
            assert!(
                state.term >= before.term && state.commit >= before.commit,
                "hard state goes back from {before:?} to {state:?}"
            );
            self.encoder.state(&mut batch, state);
            self.hard_state = state;
        }
        let records_bytes = length(&batch);
        self.push_zeros(&mut batch);
        self.write_at_end(&batch)?;
        self.position += records_bytes;
        self.batch = batch;
        Ok(())
    }

    /// Extends the batch by zeros when it goes past those that are there.
    fn push_zeros(&mut self, batch: &mut Vec<u8>) {
        let end = self.position + length(batch);
        if end <= self.zeroed || end >= self.options.segment_bytes {
            return;
        }
        let until = (end + ZEROS_AHEAD_BYTES).min(self.options.segment_bytes);
        let bytes = usize::try_from(until - self.position).expect("a batch is in memory");
        batch.resize(bytes, 0);
        self.zeroed = until;
    }

    /// Ends the last segment and begins the next.
    fn begin_segment(&mut self) -> Result<(), Fatal> {
        let step = || rusd_failpoint::io("walCutStep");
        let OpenSegment { path, file } = self.last_segment();
        step().and_then(|()| file.set_len(self.position)).map_err(Fatal::io("cut", path))?;
        step().and_then(|()| file.sync_all()).map_err(Fatal::io("sync", path))?;

        let segment_bytes = self.options.segment_bytes;
        step().map_err(Fatal::io("create", &self.dir))?;
        let (file, temporary, zeroed) = if let Some(prepared) = self.preparer.take() {
            (prepared.file, prepared.path, segment_bytes)
        } else {
            let path = self.dir.join("0.tmp");
            (segment::create_sparse(&path, segment_bytes)?, path, 0)
        };
        let mut head = Vec::new();
        self.encoder.segment_head(&mut head, self.metadata);
        if !self.hard_state.is_empty() {
            self.encoder.state(&mut head, self.hard_state);
        }
        let marker_at = length(&head);
        self.encoder.sync_marker(&mut head, marker_at);
        let written = step().and_then(|()| file.write_all_at(&head, 0));
        written.map_err(Fatal::io("write", &temporary))?;
        step().and_then(|()| file.sync_all()).map_err(Fatal::io("sync", &temporary))?;

        self.sequence += 1;
        let first_index = self.index.last_index() + 1;
        let path = self.dir.join(segment::name(self.sequence, first_index));
        let renamed = step().and_then(|()| fs::rename(&temporary, &path));
        renamed.map_err(Fatal::io("rename to", &path))?;
        step().map_err(Fatal::io("sync", &self.dir))?;
        segment::sync_dir(&self.dir)?;
        self.segments.push(OpenSegment { path, file });
        self.index.push_segment();
        self.position = length(&head);
        self.synced = self.position;
        self.marked = self.position;
        self.zeroed = zeroed;
        Ok(())
    }

    fn check_usable(&self) -> Result<(), Fatal> {
        if self.has_failed {
            let reason = "an earlier write failed".into();
            return Err(Fatal::Unusable { path: self.dir.clone(), reason });
        }
        Ok(())
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.preparer.close();
    }
}

impl LogStore for Wal {
    fn metadata(&self) -> Metadata {
        self.metadata
    }

    fn hard_state(&self) -> HardState {
        self.hard_state
    }

    fn first_index(&self) -> Index {
        Index(self.index.first_index())
    }

    fn last_index(&self) -> Index {
        Index(self.index.last_index())
    }

    fn term(&self, index: Index) -> Option<Term> {
        self.index.term(index.0).map(Term)
    }

    fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>, Fatal> {
        let from_disk = high.0.min(self.cache.first_index());
        let mut entries = Vec::new();
        let mut bytes = 0;
        if low.0 < from_disk {
            entries = read_only::entries(&self.segments, &self.index, low.0, from_disk, bytes_max)?;
            if entries.last().is_some_and(|last| last.index() + 1 < from_disk) {
                return Ok(entries);
            }
            bytes = entries.iter().map(|entry| length(entry.data())).sum();
        }
        for index in low.0.max(from_disk)..high.0 {
            let entry = self.cache.get(index).expect("the cache reaches to the last entry");
            bytes += length(entry.data());
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn append(&mut self, entries: &[Entry], hard_state: Option<HardState>) -> Result<(), Fatal> {
        self.check_usable()?;
        self.append_batch(entries, hard_state).inspect_err(|_error| self.has_failed = true)
    }

    fn append_mark(&mut self, mark: &SnapshotMark) -> Result<(), Fatal> {
        self.check_usable()?;
        assert_eq!(self.term(mark.index), Some(mark.term), "the log holds what a mark tells");
        self.write_mark(mark, None).inspect_err(|_error| self.has_failed = true)
    }

    fn cut(&mut self, base: Index) -> Result<(), Fatal> {
        self.check_usable()?;
        if base < self.first_index() {
            return Ok(());
        }
        let term = self.term(base).expect("the log is cut at an entry that it holds");
        self.index.raise_base(base.0, term.0);
        self.cache.forget(base.0);
        let removed = self.remove_segments().inspect_err(|_error| self.has_failed = true);
        rusd_failpoint::hit("raftAfterWALRelease");
        removed
    }

    fn restart_after(&mut self, mark: &SnapshotMark, state: HardState) -> Result<(), Fatal> {
        self.check_usable()?;
        assert!(state.commit >= mark.index.0, "a snapshot is committed");
        self.index.reset(mark.index.0, mark.term.0);
        self.cache.clear();
        self.write_mark(mark, Some(state)).inspect_err(|_error| self.has_failed = true)
    }

    fn sync(&mut self) -> Result<(), Fatal> {
        self.check_usable()?;
        if self.marked == self.position {
            return Ok(());
        }
        let last = self.last_segment();
        rusd_failpoint::hit("walBeforeSync");
        let done = rusd_failpoint::io("walSyncError").and_then(|()| last.file.sync_data());
        let done = done.map_err(Fatal::io("sync", &last.path));
        rusd_failpoint::hit("walAfterSync");
        self.has_failed = done.is_err();
        done?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.synced = self.position;
        self.write_sync_marker().inspect_err(|_error| self.has_failed = true)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length fits u64")
}

fn open_segments(replayed: &Replayed) -> Result<Vec<OpenSegment>, Fatal> {
    let open = |path: &PathBuf| {
        let opened = File::options().read(true).write(true).open(path);
        Ok(OpenSegment { file: opened.map_err(Fatal::io("open", path))?, path: path.clone() })
    };
    replayed.segments.iter().map(|segment| open(&segment.path)).collect()
}

/// Makes durable what an earlier process wrote and did not live to sync, zeroes what a crash has left
/// after it, and brings the segment to length.
///
/// It is written again first: if that process ended because a sync failed, the system may take what
/// it holds in memory for what the disk has, and the next sync would write nothing (Rebello et al.,
/// *Can Applications Recover from fsync Failures?*, USENIX ATC 2020).
fn clear_tail(last: &OpenSegment, replayed: &Replayed, segment_bytes: u64) -> Result<(), Fatal> {
    let garbage = usize::try_from(replayed.garbage_bytes).expect("a segment fits in memory");
    let mut content = replayed.unmarked.clone();
    content.resize(content.len() + garbage, 0);
    let start = replayed.tail - length(&replayed.unmarked);
    last.file.write_all_at(&content, start).map_err(Fatal::io("clear", &last.path))?;
    let found = last.file.metadata().map_err(Fatal::io("inspect", &last.path))?.len();
    if found < segment_bytes {
        last.file.set_len(segment_bytes).map_err(Fatal::io("extend", &last.path))?;
    }
    last.file.sync_all().map_err(Fatal::io("sync", &last.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member came to hold 64 MiB of entries, nearly all of which its log had forgotten.
    #[test]
    fn memory_holds_nothing_that_the_log_has_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, metadata) = (dir.path().join("wal"), Metadata { node_id: 7, cluster_id: 9 });
        let mut wal = Wal::create(&dir, metadata, WalOptions::default()).unwrap();
        for index in 1..=20 {
            let entry = Entry { index: Some(index), term: Some(1), ..Entry::default() };
            wal.append(&[entry], None).unwrap();
        }
        assert_eq!(wal.cache.first_index(), 1);
        wal.cut(Index(15)).unwrap();
        assert_eq!(wal.cache.first_index(), 16);
        assert_eq!(wal.entries(Index(16), Index(21), u64::MAX).unwrap().len(), 5);
    }

    /// A sync fails, the system keeps what it could not write as if it had written it, and the member
    /// starts again.
    #[test]
    fn what_was_not_synced_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, metadata) = (dir.path().join("wal"), Metadata { node_id: 7, cluster_id: 9 });
        let entry = |index| Entry { index: Some(index), term: Some(1), ..Entry::default() };
        let mut wal = Wal::create(&dir, metadata, WalOptions::default()).unwrap();
        wal.append(&[entry(1)], None).unwrap();
        wal.sync().unwrap();
        wal.append(&[entry(2), entry(3)], None).unwrap();
        drop(wal);
        let replayed = replay::replay(&dir).unwrap();
        assert!(!replayed.unmarked.is_empty());

        // What the disk has of it, and what a start would read if memory were lost.
        let segment = open_segments(&replayed).unwrap().pop().unwrap();
        let start = replayed.tail - length(&replayed.unmarked);
        segment.file.write_all_at(&vec![0; replayed.unmarked.len()], start).unwrap();
        assert_eq!(replay::replay(&dir).unwrap().index.last_index(), 1);

        clear_tail(&segment, &replayed, WalOptions::default().segment_bytes).unwrap();
        assert_eq!(replay::replay(&dir).unwrap().index.last_index(), 3);
    }
}
