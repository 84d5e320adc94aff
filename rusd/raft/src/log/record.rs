//! Records and their frames, byte for byte as etcd writes them.
//!
//! ```text
//! frame   = length (8 bytes, little-endian) ++ record ++ padding to a multiple of 8
//! length  = record bytes in the low 56 bits; with padding, the top byte is 0x80 | padding
//! record  = protobuf: type, crc, data (absent in a crc record)
//! crc     = CRC-32C over the data of all records so far, carried over segments by crc records
//! ```
//!
//! The CRC covers data only, so everything else is checked for form: a length must agree with the
//! record inside, fields come in order, padding is zero. What fails is *torn* when a crash in the
//! middle of a write can have left it, and *corrupt* otherwise.
//!
//! A *sync marker* is a crc record whose data is its own place in the segment. It is written when
//! everything before it is synced. etcd takes a crc record anywhere in a segment, and looks at its
//! CRC only.

use std::ops::Range;

use prost::Message as _;
use rusd_proto::raftpb::{Entry, EntryType};
use rusd_proto::walpb;

use crate::log::store::SnapshotMark;
use crate::types::{HardState, Metadata};

/// Bytes of a frame's length.
pub(super) const LENGTH_BYTES: usize = 8;

/// Where frames begin.
const FRAME_ALIGNMENT: usize = 8;

/// The unit that a disk writes whole or not at all, at the least.
const SECTOR_BYTES: usize = 512;

const TAG_TYPE: u8 = 0x08;
const TAG_CRC: u8 = 0x10;
const TAG_DATA: u8 = 0x1a;

/// What a record holds. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whose log this is.
    Metadata = 1,
    /// A log entry.
    Entry = 2,
    /// Term, vote and commit index.
    State = 3,
    /// The running CRC at the start of a segment.
    Crc = 4,
    /// An index up to which the state is kept elsewhere.
    Snapshot = 5,
}

impl Kind {
    fn from_number(number: u64) -> Option<Self> {
        [Self::Metadata, Self::Entry, Self::State, Self::Crc, Self::Snapshot]
            .into_iter()
            .find(|kind| u64::from(kind.number()) == number)
    }

    fn number(self) -> u8 {
        match self {
            Self::Metadata => 1,
            Self::Entry => 2,
            Self::State => 3,
            Self::Crc => 4,
            Self::Snapshot => 5,
        }
    }
}

/// Writes frames, carrying the CRC.
#[derive(Debug)]
pub(super) struct Encoder {
    crc: u32,
}

impl Encoder {
    /// Continues after a record with this CRC.
    pub(super) fn new(crc: u32) -> Self {
        Self { crc }
    }

    /// The head of a segment: the CRC so far, and whose log it is.
    pub(super) fn segment_head(&mut self, out: &mut Vec<u8>, metadata: Metadata) {
        self.frame(out, Kind::Crc, &[], &[]);
        let mut data = Vec::with_capacity(22);
        field(&mut data, 1, metadata.node_id);
        field(&mut data, 2, metadata.cluster_id);
        self.frame(out, Kind::Metadata, &data, &[]);
    }

    /// An entry. Its data is copied once, into `out`.
    pub(super) fn entry(&mut self, out: &mut Vec<u8>, entry: &Entry) {
        let mut head = Vec::with_capacity(32);
        if entry.r#type() != EntryType::EntryNormal {
            head.extend([0x08, u8::try_from(entry.r#type.unwrap_or_default()).expect("small")]);
        }
        field(&mut head, 2, entry.term());
        field(&mut head, 3, entry.index());
        let data = entry.data.as_deref().unwrap_or_default();
        if !data.is_empty() {
            head.push(0x22);
            varint(&mut head, length(data));
        }
        self.frame(out, Kind::Entry, &head, data);
    }

    /// A hard state.
    pub(super) fn state(&mut self, out: &mut Vec<u8>, state: HardState) {
        let mut data = Vec::with_capacity(33);
        field(&mut data, 1, state.term);
        field(&mut data, 2, state.vote);
        field(&mut data, 3, state.commit);
        self.frame(out, Kind::State, &data, &[]);
    }

    /// A mark: the state up to there is kept elsewhere.
    pub(super) fn mark(&mut self, out: &mut Vec<u8>, mark: &SnapshotMark) {
        let record = walpb::Snapshot {
            index: Some(mark.index.0),
            term: Some(mark.term.0),
            conf_state: Some(mark.conf_state.clone()),
        };
        self.frame(out, Kind::Snapshot, &record.encode_to_vec(), &[]);
    }

    /// A sync marker at this place of the segment.
    pub(super) fn sync_marker(&mut self, out: &mut Vec<u8>, at: u64) {
        self.frame(out, Kind::Crc, &at.to_le_bytes(), &[]);
    }

    /// The marker at the start of a new log: the state before the first entry is empty.
    pub(super) fn first_snapshot(&mut self, out: &mut Vec<u8>) {
        let mut data = Vec::with_capacity(4);
        field(&mut data, 1, 0);
        field(&mut data, 2, 0);
        self.frame(out, Kind::Snapshot, &data, &[]);
    }

    /// Adds one frame; the record's data is `head` and `body` together.
    fn frame(&mut self, out: &mut Vec<u8>, kind: Kind, head: &[u8], body: &[u8]) {
        if kind != Kind::Crc {
            self.crc = crc32c::crc32c_append(crc32c::crc32c_append(self.crc, head), body);
        }
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        out.extend_from_slice(&[TAG_TYPE, kind.number(), TAG_CRC]);
        varint(out, u64::from(self.crc));
        if !head.is_empty() {
            out.push(TAG_DATA);
            varint(out, length(head) + length(body));
            out.extend_from_slice(head);
            out.extend_from_slice(body);
        }
        let record_bytes = out.len() - start - LENGTH_BYTES;
        let padding = padding(record_bytes);
        out.resize(out.len() + padding, 0);
        out[start..start + LENGTH_BYTES].copy_from_slice(&length_field(record_bytes).to_le_bytes());
    }
}

fn padding(record_bytes: usize) -> usize {
    record_bytes.next_multiple_of(8) - record_bytes
}

fn length_field(record_bytes: usize) -> u64 {
    let padding = u64::try_from(padding(record_bytes)).expect("less than 8");
    let marker = if padding == 0 { 0 } else { 0x80 | padding };
    u64::try_from(record_bytes).expect("a length fits u64") | marker << 56
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length fits u64")
}

fn field(out: &mut Vec<u8>, number: u8, value: u64) {
    out.push(number << 3);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, value: u64) {
    prost::encoding::encode_varint(value, out);
}

/// A record as read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// What it holds.
    pub(super) kind: Kind,
    /// The running CRC after it.
    pub(super) crc: u32,
    /// Its content.
    pub(super) data: &'a [u8],
    /// Where the next frame begins.
    pub(super) end: usize,
}

/// What stands at a place in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A whole record.
    Record(Record<'a>),
    /// Nothing: the file ends, or zeros follow.
    End,
    /// The beginning of a record whose write a crash cut short.
    Torn,
    /// What no crash leaves behind.
    Corrupt(String),
}

/// What a crash of the machine may have done to a segment from some place on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing: another segment follows, which is begun when all of this one is synced.
    Sealed,
    /// The last write was cut short, and nothing is known of where it began: etcd's rule, an
    /// incomplete frame or a zero sector in the last record, and nothing after it.
    Unmarked,
    /// All since the last sync marker was not synced: any of its sectors may be missing.
    Marked,
}

/// Reads the frame at `at`. `crc` is that of the record before, `None` when nothing is known of it.
pub(super) fn read(segment: &[u8], at: usize, crc: Option<u32>, tail: Tail) -> Found<'_> {
    let rest = &segment[at..];
    let Some((length_bytes, body)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
        return if is_zero(rest) { Found::End } else { torn(tail) };
    };
    let length_word = u64::from_le_bytes(*length_bytes);
    if length_word == 0 {
        return end_of_records(segment, at, tail);
    }
    let Ok(record_bytes) = usize::try_from(length_word & ((1 << 56) - 1)) else {
        return Found::Corrupt("impossible record length".into());
    };
    if record_bytes == 0 || length_field(record_bytes) != length_word {
        return Found::Corrupt(format!("impossible record length {length_word:#x}"));
    }
    let frame = Frame { at, record_bytes, available: body, tail };
    match frame.parse() {
        Ok(record) => frame.check(record, crc),
        Err(reason) => frame.refuse(reason),
    }
}

/// A zero length ends a segment. Sectors are written whole, so the sector that the zero is in
/// cannot hold anything after it; a later one can, when the crash was in a write of several. If the
/// zero is at the end of its sector, the next one tells, unless it may be of a later write.
fn end_of_records(segment: &[u8], at: usize, tail: Tail) -> Found<'_> {
    let next = at + LENGTH_BYTES;
    let until = match tail {
        Tail::Sealed => segment.len(),
        Tail::Unmarked => (next + 1).next_multiple_of(SECTOR_BYTES),
        Tail::Marked => next.next_multiple_of(SECTOR_BYTES),
    };
    if is_zero(&segment[next..until.min(segment.len())]) {
        Found::End
    } else {
        Found::Corrupt("records end, but bytes follow".into())
    }
}

fn torn(tail: Tail) -> Found<'static> {
    match tail {
        Tail::Sealed => Found::Corrupt("the record is cut short".into()),
        Tail::Unmarked | Tail::Marked => Found::Torn,
    }
}

/// Whether a record is a sync marker, in its place.
pub(super) fn is_sync_marker(record: &Record<'_>, at: usize) -> bool {
    record.kind == Kind::Crc && u64::try_from(at).is_ok_and(|at| record.data == at.to_le_bytes())
}

/// The first sync marker that begins in `range`. The records before it cannot be read, so its CRC
/// is not checked; it is known by its place.
pub(super) fn find_sync_marker(segment: &[u8], range: Range<usize>) -> Option<usize> {
    (range.start.next_multiple_of(FRAME_ALIGNMENT)..range.end).step_by(FRAME_ALIGNMENT).find(|at| {
        // Most places hold no frame at all, so the length is looked at first.
        let length = segment[*at..].first_chunk().copied().map(u64::from_le_bytes);
        length.is_some_and(|length| (1..=0xff).contains(&(length & ((1 << 56) - 1))))
            && matches!(
                read(segment, *at, None, Tail::Sealed),
                Found::Record(record) if is_sync_marker(&record, *at)
            )
    })
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

struct Frame<'a> {
    at: usize,
    record_bytes: usize,
    /// From the record to the end of the segment.
    available: &'a [u8],
    tail: Tail,
}

impl<'a> Frame<'a> {
    fn body_bytes(&self) -> usize {
        self.record_bytes + padding(self.record_bytes)
    }

    fn parse(&self) -> Result<Record<'a>, String> {
        let Some(body) = self.available.get(..self.body_bytes()) else {
            return Err("the record is cut short".into());
        };
        let (record, pad) = body.split_at(self.record_bytes);
        if !is_zero(pad) {
            return Err("padding is not zero".into());
        }
        let head = Head::parse(record).ok_or("not a record")?;
        if head.total_bytes != self.record_bytes {
            return Err(format!(
                "the frame has {} bytes, its record {}",
                self.record_bytes, head.total_bytes
            ));
        }
        let kind = Kind::from_number(head.kind)
            .ok_or_else(|| format!("unknown record type {}", head.kind))?;
        Ok(Record {
            kind,
            crc: head.crc,
            data: &record[head.data_at..],
            end: self.at + LENGTH_BYTES + self.body_bytes(),
        })
    }

    fn check(&self, record: Record<'a>, crc: Option<u32>) -> Found<'a> {
        let Some(before) = crc else { return Found::Record(record) };
        let computed = match record.kind {
            Kind::Crc => before,
            _ => crc32c::crc32c_append(before, record.data),
        };
        if computed == record.crc {
            Found::Record(record)
        } else {
            self.refuse(format!("CRC is {computed:08x}, the record says {:08x}", record.crc))
        }
    }

    /// Torn: the frame is incomplete, or a sector of it is zero. Nothing follows it, unless a sync
    /// marker before it says that all of this is one write.
    fn refuse(&self, reason: String) -> Found<'a> {
        let held = &self.available[..self.body_bytes().min(self.available.len())];
        let follows = &self.available[held.len()..];
        let is_incomplete = held.len() < self.body_bytes();
        let is_possible = match self.tail {
            Tail::Sealed => false,
            Tail::Unmarked => is_zero(follows),
            Tail::Marked => true,
        };
        let is_torn = is_possible
            && !self.contradicts_its_length(held)
            && (is_incomplete || self.sectors(held).any(is_zero));
        if is_torn { Found::Torn } else { Found::Corrupt(reason) }
    }

    /// True when the head of the record was written and tells another length than the frame: then
    /// the length itself is damaged. A head of which a sector is missing tells nothing.
    fn contradicts_its_length(&self, held: &[u8]) -> bool {
        let is_head_whole =
            |bytes| self.sectors(&held[..held.len().min(bytes)]).all(|sector| !is_zero(sector));
        match Head::parse(held) {
            Some(head) => {
                head.total_bytes != self.record_bytes
                    && head.bytes <= held.len()
                    && is_head_whole(head.bytes)
            }
            None => held.len() >= Head::BYTES_MAX && is_head_whole(Head::BYTES_MAX),
        }
    }

    /// `held` split where the file's sectors split it.
    fn sectors(&self, held: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let start = self.at + LENGTH_BYTES;
        let first = (SECTOR_BYTES - start % SECTOR_BYTES).min(held.len());
        let (first, others) = held.split_at(first);
        std::iter::once(first)
            .filter(|sector| !sector.is_empty())
            .chain(others.chunks(SECTOR_BYTES))
    }
}

/// Everything of a record but its data.
struct Head {
    kind: u64,
    crc: u32,
    data_at: usize,
    /// What had to be read to tell all this.
    bytes: usize,
    total_bytes: usize,
}

impl Head {
    /// Type and CRC of up to 5 bytes, length of up to 8.
    const BYTES_MAX: usize = 2 + 1 + 5 + 1 + 8;

    /// Reads a head. In a record that ends after the CRC, `record` must end there, too, or go on
    /// with zeros.
    fn parse(record: &[u8]) -> Option<Self> {
        let mut cursor = Cursor { bytes: record, at: 0 };
        cursor.expect(TAG_TYPE)?;
        let kind = cursor.varint()?;
        cursor.expect(TAG_CRC)?;
        let crc = u32::try_from(cursor.varint()?).ok()?;
        if cursor.bytes.get(cursor.at).is_none_or(|byte| *byte == 0) {
            let at = cursor.at;
            return Some(Self { kind, crc, data_at: at, bytes: at + 1, total_bytes: at });
        }
        cursor.expect(TAG_DATA)?;
        let data_bytes = usize::try_from(cursor.varint()?).ok()?;
        let at = cursor.at;
        let total_bytes = at.checked_add(data_bytes)?;
        Some(Self { kind, crc, data_at: at, bytes: at, total_bytes })
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        (*self.bytes.get(self.at)? == byte).then(|| self.at += 1)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut rest = self.bytes.get(self.at..)?;
        let before = rest.len();
        let value = prost::encoding::decode_varint(&mut rest).ok()?;
        self.at += before - rest.len();
        Some(value)
    }
}

/// Term and index of an encoded entry.
pub(super) fn entry_position(data: &[u8]) -> Option<(u64, u64)> {
    let mut cursor = Cursor { bytes: data, at: 0 };
    // etcd 3.7 leaves the type of a normal entry out, earlier ones write it.
    if cursor.expect(0x08).is_some() {
        cursor.varint()?;
    }
    cursor.expect(0x10)?;
    let term = cursor.varint()?;
    cursor.expect(0x18)?;
    let index = cursor.varint()?;
    if cursor.at < data.len() {
        cursor.expect(0x22)?;
        let bytes = usize::try_from(cursor.varint()?).ok()?;
        (cursor.at.checked_add(bytes)? == data.len()).then_some(())?;
    }
    Some((term, index))
}

/// An encoded hard state.
pub(super) fn hard_state(data: &[u8]) -> Option<HardState> {
    let mut cursor = Cursor { bytes: data, at: 0 };
    cursor.expect(0x08)?;
    let term = cursor.varint()?;
    cursor.expect(0x10)?;
    let vote = cursor.varint()?;
    cursor.expect(0x18)?;
    let commit = cursor.varint()?;
    (cursor.at == data.len()).then_some(HardState { term, vote, commit })
}

#[cfg(test)]
mod tests;
