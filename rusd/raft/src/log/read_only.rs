//! Reading a log without ever changing it: for offline checks, and for what the cache has lost.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;
use rusd_proto::raftpb::{Entry, EntryType};

use crate::error::Fatal;
use crate::log::index::{LogIndex, Place};
use crate::log::record::{self, Found, Kind, LENGTH_BYTES, Tail};
use crate::log::replay;
use crate::types::{HardState, Index, Metadata, Term};

/// Read from disk in one go, unless one entry is longer.
const READ_BYTES_MAX: u64 = 1024 * 1024;

/// A segment and its file.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

/// A log of which every record was read and every CRC checked.
#[derive(Debug)]
pub struct ReadOnlyLog {
    metadata: Metadata,
    hard_state: HardState,
    segments: Vec<OpenSegment>,
    index: LogIndex,
    records: u64,
    torn_bytes: u64,
}

impl ReadOnlyLog {
    /// Reads the log in `dir`. The member need not be stopped, but what it writes meanwhile may
    /// look torn.
    pub fn open(dir: &Path) -> Result<Self, Fatal> {
        let replayed = replay::replay(dir)?;
        let open = |path: &PathBuf| {
            let file = File::open(path).map_err(Fatal::io("open", path))?;
            Ok(OpenSegment { path: path.clone(), file })
        };
        let segments: Result<_, Fatal> =
            replayed.segments.iter().map(|segment| open(&segment.path)).collect();
        Ok(Self {
            metadata: replayed.metadata,
            hard_state: replayed.hard_state,
            segments: segments?,
            index: replayed.index,
            records: replayed.records,
            torn_bytes: replayed.garbage_bytes,
        })
    }

    /// Whose log this is.
    pub fn metadata(&self) -> Metadata {
        self.metadata
    }

    /// The last hard state in it.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The oldest entry.
    pub fn first_index(&self) -> Index {
        Index(self.index.first_index())
    }

    /// The newest entry.
    pub fn last_index(&self) -> Index {
        Index(self.index.last_index())
    }

    /// The term of an entry.
    pub fn term(&self, index: Index) -> Option<Term> {
        self.index.term(index.0).map(Term)
    }

    /// Records of every kind.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Files.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Bytes of a write that a crash cut short; the next start clears them.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Entries of `low..high`, as many as fit into `bytes_max`, at least one.
    pub fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>, Fatal> {
        entries(&self.segments, &self.index, low.0, high.0, bytes_max)
    }
}

/// Reads entries of `low..high` back.
pub(super) fn entries(
    segments: &[OpenSegment],
    index: &LogIndex,
    low: u64,
    high: u64,
    bytes_max: u64,
) -> Result<Vec<Entry>, Fatal> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    let mut next = low;
    while next < high {
        let run = Run::plan(segments, index, next, high, READ_BYTES_MAX.min(bytes_max - bytes))?;
        for entry in run.read(index)? {
            bytes += u64::try_from(entry.data().len()).expect("a length fits u64");
            if bytes > bytes_max && !entries.is_empty() {
                return Ok(entries);
            }
            next = entry.index() + 1;
            entries.push(entry);
        }
        if bytes > bytes_max {
            break;
        }
    }
    Ok(entries)
}

/// Neighbouring entries in one segment.
struct Run<'a> {
    segment: &'a OpenSegment,
    first: u64,
    places: Vec<Place>,
    end: u64,
}

impl<'a> Run<'a> {
    /// As many entries from `low` on as are in one segment and within `bytes_max`, at least one.
    fn plan(
        segments: &'a [OpenSegment],
        index: &LogIndex,
        low: u64,
        high: u64,
        bytes_max: u64,
    ) -> Result<Self, Fatal> {
        let start = index.place(low).expect("the range is within the log");
        let mut places = vec![start];
        let mut end = None;
        for next in low + 1..=index.last_index() {
            let place = index.place(next).expect("the range is within the log");
            if place.segment != start.segment {
                break;
            }
            let is_full = u64::from(place.offset - start.offset) > bytes_max;
            if is_full || next >= high {
                end = Some(u64::from(place.offset));
                break;
            }
            places.push(place);
        }
        let segment = &segments[start.segment];
        let last = u64::from(places.last().expect("at least one").offset);
        let end = match end {
            Some(end) => end,
            None => last + frame_bytes(segment, last)?,
        };
        Ok(Self { segment, first: low, places, end })
    }

    fn read(&self, index: &LogIndex) -> Result<Vec<Entry>, Fatal> {
        let start = u64::from(self.places[0].offset);
        let length = usize::try_from(self.end - start).expect("a run fits in memory");
        let mut buffer = vec![0; length];
        let path = &self.segment.path;
        self.segment.file.read_exact_at(&mut buffer, start).map_err(Fatal::io("read", path))?;
        let buffer = Bytes::from(buffer);
        let expected = (self.first..).zip(&self.places);
        expected
            .map(|(number, place)| {
                let at = usize::try_from(u64::from(place.offset) - start).expect("within the run");
                let entry = decode(&buffer, at).filter(|entry| {
                    entry.index() == number && index.term(number) == Some(entry.term())
                });
                entry.ok_or_else(|| Fatal::Corrupt {
                    path: path.clone(),
                    offset: place.offset.into(),
                    reason: format!("entry {number} is no longer what was written"),
                })
            })
            .collect()
    }
}

fn frame_bytes(segment: &OpenSegment, offset: u64) -> Result<u64, Fatal> {
    let mut length = [0; LENGTH_BYTES];
    let path = &segment.path;
    segment.file.read_exact_at(&mut length, offset).map_err(Fatal::io("read", path))?;
    let record = u64::from_le_bytes(length) & ((1 << 56) - 1);
    let frame = u64::try_from(LENGTH_BYTES).expect("8") + record.next_multiple_of(8);
    let file_bytes = segment.file.metadata().map_err(Fatal::io("inspect", path))?.len();
    if offset + frame > file_bytes {
        let reason = "the record's length has changed".into();
        return Err(Fatal::Corrupt { path: path.clone(), offset, reason });
    }
    Ok(frame)
}

fn decode(buffer: &Bytes, at: usize) -> Option<Entry> {
    let Found::Record(found) = record::read(buffer, at, None, Tail::Sealed) else { return None };
    if found.kind != Kind::Entry {
        return None;
    }
    let mut entry = Entry::decode(buffer.slice_ref(found.data)).ok()?;
    // Absent on disk, present in memory; callers compare entries from both.
    entry.r#type.get_or_insert(EntryType::EntryNormal.into());
    Some(entry)
}
