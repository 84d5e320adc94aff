//! Where the records of a log segment lie, in the format that etcd and rusd share.
//!
//! A frame is a length of 8 bytes, little-endian, whose low 56 bits count the record's bytes and
//! whose top byte, if its highest bit is set, counts the padding after them; the record; the
//! padding. Behind the last frame there are zeros.

use std::ops::Range;

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 8;
/// The low 56 bits.
const RECORD_BYTES_MASK: u64 = (1 << 56) - 1;

/// Where the records of a segment lie.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frames {
    /// Each record, without its length and padding.
    pub(super) records: Vec<Range<usize>>,
    /// Where the next frame would begin.
    pub(super) tail: usize,
}

impl Frames {
    /// Of this segment, as far as it can be read.
    pub(super) fn of(segment: &[u8]) -> Frames {
        let mut frames = Frames::default();
        while let Some((record, end)) = frame(segment, frames.tail) {
            frames.records.push(record);
            frames.tail = end;
        }
        frames
    }
}

/// The record of the frame that begins here, and where the frame ends.
fn frame(segment: &[u8], start: usize) -> Option<(Range<usize>, usize)> {
    let begin = start + LENGTH_BYTES;
    let length = u64::from_le_bytes(segment.get(start..begin)?.try_into().ok()?);
    let bytes = usize::try_from(length & RECORD_BYTES_MASK).ok().filter(|bytes| *bytes > 0)?;
    let end = begin.checked_add(bytes)?.checked_next_multiple_of(LENGTH_BYTES)?;
    (end <= segment.len()).then_some((begin..begin + bytes, end))
}

/// The length of a frame whose record has so many bytes, a multiple of 8.
pub(super) fn length(record_bytes: usize) -> [u8; LENGTH_BYTES] {
    u64::try_from(record_bytes).expect("a record is small").to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_up_to_the_zeros() {
        let mut segment = Vec::new();
        segment.extend(length(16));
        segment.extend([1; 16]);
        // Five bytes, padded with three.
        segment.extend([5, 0, 0, 0, 0, 0, 0, 0x83]);
        segment.extend([2; 5]);
        segment.extend([0; 100]);
        let frames = Frames::of(&segment);
        assert_eq!(frames, Frames { records: vec![8..24, 32..37], tail: 40 });
        assert_eq!(Frames::of(&[]), Frames::default());
        assert_eq!(Frames::of(&[9, 0, 0, 0, 0, 0, 0, 0, 1]), Frames::default(), "cut short");
    }
}
