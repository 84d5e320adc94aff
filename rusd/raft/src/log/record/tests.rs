//! Frames byte for byte, and every way to damage a few of them.

use super::*;

fn entry(index: u64, bytes: usize) -> Entry {
    Entry {
        term: Some(3),
        index: Some(index),
        r#type: Some(EntryType::EntryNormal.into()),
        data: Some(vec![0xee; bytes].into()),
    }
}

/// A segment of entries with data of the given sizes, and where each frame begins and the last ends.
fn segment(sizes: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let mut encoder = Encoder::new(0);
    let mut bytes = Vec::new();
    encoder.segment_head(&mut bytes, Metadata { node_id: 1, cluster_id: 2 });
    let mut places = Vec::new();
    for (index, size) in (1..).zip(sizes) {
        places.push(bytes.len());
        encoder.entry(&mut bytes, &entry(index, *size));
    }
    places.push(bytes.len());
    (bytes, places)
}

/// How reading ends, and how many records come before.
fn read_all(segment: &[u8], tail: Tail) -> (usize, Found<'_>) {
    let (mut at, mut crc, mut count) = (0, None, 0);
    loop {
        match read(segment, at, crc, tail) {
            Found::Record(record) => {
                (at, crc) = (record.end, Some(record.crc));
                count += 1;
            }
            end => return (count, end),
        }
    }
}

#[test]
fn frames_are_etcds() {
    let mut encoder = Encoder::new(0);
    let mut out = Vec::new();
    encoder.frame(&mut out, Kind::Crc, &[], &[]);
    // 4 bytes, 4 of padding; type 4, crc 0.
    assert_eq!(out, [4, 0, 0, 0, 0, 0, 0, 0x84, 0x08, 4, 0x10, 0, 0, 0, 0, 0]);
    out.clear();
    encoder.first_snapshot(&mut out);
    let crc = crc32c::crc32c(&[0x08, 0, 0x10, 0]);
    let mut expected = vec![0x08, 5, 0x10];
    varint(&mut expected, u64::from(crc));
    expected.extend([0x1a, 4, 0x08, 0, 0x10, 0]);
    assert_eq!(out[8..8 + expected.len()], expected);
}

#[test]
fn every_truncation_is_torn_or_the_end() {
    let (whole, places) = segment(&[10, 600, 0, 1300]);
    for cut in places[0]..=whole.len() {
        let complete = places[1..].iter().filter(|end| **end <= cut).count();
        let (count, end) = read_all(&whole[..cut], Tail::Unmarked);
        assert_eq!(count, 2 + complete, "cut at {cut}");
        let expected = if places.contains(&cut) { Found::End } else { Found::Torn };
        assert_eq!(end, expected, "cut at {cut}");
        if !places.contains(&cut) {
            assert!(matches!(read_all(&whole[..cut], Tail::Sealed).1, Found::Corrupt(_)));
        }
    }
}

#[test]
fn every_lost_sector_suffix_is_torn_or_the_end() {
    // Every alignment of the last frames to the sectors.
    for first in 0..520 {
        let (mut bytes, places) = segment(&[first, 600, 30, 1300]);
        bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES) + SECTOR_BYTES, 0);
        for sector in (SECTOR_BYTES..bytes.len()).step_by(SECTOR_BYTES) {
            let mut torn = bytes.clone();
            torn[sector..].fill(0);
            let complete = places[1..].iter().filter(|end| **end <= sector).count();
            let (count, end) = read_all(&torn, Tail::Unmarked);
            assert_eq!(count, 2 + complete, "first {first} sector {sector}");
            assert!(
                matches!(end, Found::Torn | Found::End),
                "first {first} sector {sector}: {end:?}"
            );
        }
    }
}

#[test]
fn every_flipped_bit_is_corrupt() {
    let (mut bytes, places) = segment(&[10, 600, 0, 50, 113, 241]);
    let end = *places.last().unwrap();
    bytes.resize(end.next_multiple_of(SECTOR_BYTES) + 4 * SECTOR_BYTES, 0);
    for bit in 0..end * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (count, found) = read_all(&damaged, Tail::Unmarked);
        // A record of another kind reads well here; replay refuses it for its content or place.
        let is_kind = places.iter().chain(&[0, 16]).any(|at| bit / 8 == at + 9);
        assert!(
            matches!(found, Found::Corrupt(_)) || (is_kind && count == places.len() + 1),
            "bit {bit}: {count} records, then {found:?}"
        );
    }
}

#[test]
fn a_lost_sector_that_others_follow_is_corrupt_unless_all_is_known_to_be_one_write() {
    let (mut bytes, places) = segment(&[10, 2000, 10]);
    bytes.resize(bytes.len() + 1024, 0);
    let sector = (places[1] + 16).next_multiple_of(SECTOR_BYTES);
    bytes[sector..sector + SECTOR_BYTES].fill(0);
    assert!(matches!(read_all(&bytes, Tail::Unmarked).1, Found::Corrupt(_)));
    assert_eq!(read_all(&bytes, Tail::Marked), (3, Found::Torn));
}

#[test]
fn a_sync_marker_is_known_by_its_place() {
    let mut encoder = Encoder::new(5);
    let mut bytes = vec![0; 40];
    encoder.sync_marker(&mut bytes, 40);
    let whole = bytes.len();
    bytes.resize(256, 0);
    assert_eq!(find_sync_marker(&bytes, 0..41), Some(40));
    assert_eq!(find_sync_marker(&bytes, 0..40), None);
    assert_eq!(find_sync_marker(&bytes, 41..256), None);
    let Found::Record(record) = read(&bytes, 40, Some(5), Tail::Sealed) else { panic!("whole") };
    assert_eq!((record.kind, record.crc, record.end), (Kind::Crc, 5, whole));
    // As a value that a client wrote, at another place.
    bytes.copy_within(40..whole, 48);
    assert_eq!(find_sync_marker(&bytes, 41..256), None);
}
