//! Reads a log folder from the first record to the last, and changes nothing.
//!
//! Gives all that is needed to go on writing, or the place and the reason why nobody should.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use prost::Message as _;
use rusd_proto::etcdserverpb;
use rusd_proto::walpb;

use crate::error::Fatal;
use crate::log::index::LogIndex;
use crate::log::record::{self, Found, Kind, Record, Tail};
use crate::log::segment::{self, SegmentName};
use crate::types::{HardState, Metadata};

/// More than the CRC and metadata records of a segment take.
const HEAD_BYTES: u64 = 512;

/// A log as it stands on disk.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) metadata: Metadata,
    pub(super) hard_state: HardState,
    pub(super) index: LogIndex,
    pub(super) segments: Vec<SegmentName>,
    /// The running CRC after the last whole record.
    pub(super) crc: u32,
    /// Where the last whole record of the last segment ends.
    pub(super) tail: u64,
    /// What comes after the last sync marker of the last segment, up to `tail`.
    pub(super) unmarked: Vec<u8>,
    /// Bytes after `tail` that are not zero, up to the last of them.
    pub(super) garbage_bytes: u64,
    /// The last whole record is a sync marker.
    pub(super) ends_marked: bool,
    pub(super) records: u64,
}

/// Reads the log in `dir`.
pub(super) fn replay(dir: &Path) -> Result<Replayed, Fatal> {
    let segments = segment::list(dir)?;
    let unusable = |reason: &str| Fatal::Unusable { path: dir.into(), reason: reason.into() };
    if segments.is_empty() {
        return Err(unusable("it holds no segment"));
    }
    let mut replay = Replay::default();
    for (number, name) in segments.iter().enumerate() {
        replay.segment(name, number + 1 == segments.len())?;
    }
    let metadata = replay.metadata.ok_or_else(|| unusable("no record says whose it is"))?;
    let hard_state = replay.hard_state;
    let crc = replay.crc.expect("every segment begins with a CRC record");
    let unmarked = std::mem::take(&mut replay.unmarked);
    let Replay { tail, garbage_bytes, ends_marked, records, .. } = replay;
    let index = replay.finish(dir)?;
    if hard_state.commit > index.last_index() {
        let (last_index, needed) = (index.last_index(), hard_state.commit);
        return Err(Fatal::LogTooShort { last_index, needed });
    }
    Ok(Replayed {
        metadata,
        hard_state,
        index,
        segments,
        crc,
        tail,
        unmarked,
        garbage_bytes,
        ends_marked,
        records,
    })
}

/// Whose log is in `dir`, by the head of its oldest segment.
pub(super) fn metadata(dir: &Path) -> Result<Metadata, Fatal> {
    let segments = segment::list(dir)?;
    let unusable = |reason: &str| Fatal::Unusable { path: dir.into(), reason: reason.into() };
    let name = segments.first().ok_or_else(|| unusable("it holds no segment"))?;
    let file = File::open(&name.path).map_err(Fatal::io("open", &name.path))?;
    let mut content = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut content).map_err(Fatal::io("read", &name.path))?;
    let mut replay = Replay::default();
    let mut at = 0;
    for in_segment in 0..2 {
        let site = Site { segment: name, offset: at };
        match record::read(&content, at, replay.crc, Tail::Sealed) {
            Found::Record(record) => {
                at = record.end;
                replay.record(&record, in_segment, &site)?;
            }
            Found::End | Found::Torn => return Err(site.corrupt("the segment has no head")),
            Found::Corrupt(reason) => return Err(site.corrupt(reason)),
        }
    }
    replay.metadata.ok_or_else(|| unusable("no record says whose it is"))
}

struct Replay {
    metadata: Option<Metadata>,
    hard_state: HardState,
    index: LogIndex,
    /// False until something tells which entry comes first.
    is_placed: bool,
    /// What comes first was told by a snapshot record, not by the first entry that is left.
    is_vouched: bool,
    /// `(index, term)` of the snapshot records.
    snapshots: Vec<(u64, u64)>,
    crc: Option<u32>,
    tail: u64,
    unmarked: Vec<u8>,
    garbage_bytes: u64,
    ends_marked: bool,
    records: u64,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            metadata: None,
            hard_state: HardState::default(),
            index: LogIndex::new(0, 0),
            is_placed: false,
            is_vouched: false,
            snapshots: Vec::new(),
            crc: None,
            tail: 0,
            unmarked: Vec::new(),
            garbage_bytes: 0,
            ends_marked: false,
            records: 0,
        }
    }
}

/// Where a record was found, for the error.
struct Site<'a> {
    segment: &'a SegmentName,
    offset: usize,
}

impl Site<'_> {
    fn corrupt(&self, reason: impl Into<String>) -> Fatal {
        Fatal::Corrupt {
            path: self.segment.path.clone(),
            offset: bytes(self.offset),
            reason: reason.into(),
        }
    }
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).expect("a size fits u64")
}

impl Replay {
    fn segment(&mut self, name: &SegmentName, is_last: bool) -> Result<(), Fatal> {
        let content = fs::read(&name.path).map_err(Fatal::io("read", &name.path))?;
        self.index.push_segment();
        let (mut at, mut marked) = (0, 0);
        let mut in_segment = 0;
        let mut tail = if is_last { Tail::Unmarked } else { Tail::Sealed };
        loop {
            let site = Site { segment: name, offset: at };
            match record::read(&content, at, self.crc, tail) {
                Found::Record(record) => {
                    self.ends_marked = record::is_sync_marker(&record, at);
                    if self.ends_marked && is_last {
                        tail = Tail::Marked;
                    }
                    at = record.end;
                    if self.ends_marked {
                        marked = at;
                    }
                    self.record(&record, in_segment, &site)?;
                    in_segment += 1;
                }
                Found::End | Found::Torn if in_segment < 2 => {
                    return Err(site.corrupt("the segment has no head"));
                }
                Found::End | Found::Torn => break,
                Found::Corrupt(reason) => return Err(site.corrupt(reason)),
            }
        }
        let garbage = content[at..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if let Some(marker) = record::find_sync_marker(&content, at..at + garbage) {
            let site = Site { segment: name, offset: at };
            return Err(site.corrupt(format!("no record, but the log was synced up to {marker}")));
        }
        self.garbage_bytes = bytes(garbage);
        self.tail = bytes(at);
        if is_last {
            self.unmarked = content[marked..at].to_vec();
        }
        Ok(())
    }

    /// Takes a record. The first two of a segment are its CRC and its metadata; later CRC records
    /// are sync markers, or another program's.
    fn record(
        &mut self,
        record: &Record<'_>,
        in_segment: u64,
        site: &Site<'_>,
    ) -> Result<(), Fatal> {
        let is_in_place = match record.kind {
            Kind::Crc => in_segment != 1,
            Kind::Metadata => in_segment == 1,
            Kind::Entry | Kind::State | Kind::Snapshot => in_segment > 1,
        };
        if !is_in_place {
            return Err(site.corrupt(format!("a {:?} record is out of place", record.kind)));
        }
        match record.kind {
            Kind::Crc if record.data.is_empty() => {}
            Kind::Crc if in_segment > 1 && record::is_sync_marker(record, site.offset) => {}
            Kind::Crc => return Err(site.corrupt("a CRC record with data that is not its place")),
            Kind::Metadata => self.take_metadata(record.data, site)?,
            Kind::Entry => self.take_entry(record.data, site)?,
            Kind::State => self.take_state(record.data, site)?,
            Kind::Snapshot => self.take_snapshot(record.data, site)?,
        }
        self.crc = Some(record.crc);
        self.records += 1;
        Ok(())
    }

    fn take_metadata(&mut self, data: &[u8], site: &Site<'_>) -> Result<(), Fatal> {
        let decoded = etcdserverpb::Metadata::decode(data)
            .map_err(|error| site.corrupt(format!("metadata: {error}")))?;
        let metadata = Metadata { node_id: decoded.node_id(), cluster_id: decoded.cluster_id() };
        if *self.metadata.get_or_insert(metadata) != metadata {
            return Err(site.corrupt("another member's metadata than in the segment before"));
        }
        Ok(())
    }

    fn take_entry(&mut self, data: &[u8], site: &Site<'_>) -> Result<(), Fatal> {
        let (term, index) =
            record::entry_position(data).ok_or_else(|| site.corrupt("not an entry"))?;
        if index == 0 || term == 0 {
            return Err(site.corrupt("an entry without index or term"));
        }
        if !self.is_placed {
            self.index.reset(index - 1, 0);
            self.is_placed = true;
        }
        if index < self.index.first_index() && !self.is_vouched && index > self.hard_state.commit {
            // The entries that this one follows, and that those before replaced, went with the
            // segments that were removed.
            self.index.reset(index - 1, 0);
        }
        let (first, last) = (self.index.first_index(), self.index.last_index());
        if index < first || index > last + 1 {
            return Err(site.corrupt(format!("entry {index} in a log of {first}..={last}")));
        }
        if index <= self.hard_state.commit
            && self.index.term(index).is_some_and(|held| held != term)
        {
            return Err(site.corrupt(format!("entry {index} replaces a committed one")));
        }
        let before = self.index.term(index - 1).unwrap_or_default();
        if term < before {
            return Err(site.corrupt(format!("entry {index} has term {term} after term {before}")));
        }
        let offset =
            u32::try_from(site.offset).map_err(|_too_long| site.corrupt("beyond 4 GiB"))?;
        self.index.push(index, term, offset);
        Ok(())
    }

    fn take_state(&mut self, data: &[u8], site: &Site<'_>) -> Result<(), Fatal> {
        let state = record::hard_state(data).ok_or_else(|| site.corrupt("not a hard state"))?;
        let before = self.hard_state;
        if state.term < before.term || state.commit < before.commit {
            return Err(site.corrupt(format!("hard state goes back from {before:?} to {state:?}")));
        }
        self.hard_state = state;
        Ok(())
    }

    fn take_snapshot(&mut self, data: &[u8], site: &Site<'_>) -> Result<(), Fatal> {
        let snapshot = walpb::Snapshot::decode(data)
            .map_err(|error| site.corrupt(format!("snapshot marker: {error}")))?;
        let (Some(index), Some(term)) = (snapshot.index, snapshot.term) else {
            return Err(site.corrupt("a snapshot marker without index or term"));
        };
        self.snapshots.push((index, term));
        if !self.is_placed && index + 1 < site.segment.first_index {
            // Of entries that went with the segments that were removed; more of them followed it.
            return Ok(());
        }
        let holds = self.is_placed && self.index.term(index) == Some(term);
        let is_old = self.is_placed && index < self.index.first_index();
        if !holds && !is_old {
            // The state came from elsewhere; the log goes on after it.
            self.index.reset(index, term);
            self.is_placed = true;
            self.is_vouched = true;
        }
        Ok(())
    }

    /// The index, with a base whose term is known.
    fn finish(mut self, dir: &Path) -> Result<LogIndex, Fatal> {
        let before_first = self.index.first_index() - 1;
        if self.index.term(before_first) != Some(0) || before_first == 0 {
            return Ok(self.index);
        }
        // The oldest segments were removed: a snapshot record vouches for what was in them.
        let reachable =
            |(index, _): &&(u64, u64)| *index >= before_first && *index <= self.index.last_index();
        let Some((index, term)) = self.snapshots.iter().filter(reachable).min().copied() else {
            return Err(Fatal::Unusable {
                path: dir.into(),
                reason: format!("no snapshot record vouches for entries up to {before_first}"),
            });
        };
        self.index.raise_base(index, term);
        Ok(self.index)
    }
}
