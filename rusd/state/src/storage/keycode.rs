//! Encodings of the numbers that are keys: big-endian, so that byte order is number order.

use prost::encoding::{decode_varint, encode_varint};

use crate::mvcc::revision::Revision;

/// The key of a block that starts at a main revision.
pub(crate) fn main_key(main: i64) -> [u8; 8] {
    let main = u64::try_from(main).expect("revisions are never negative");
    main.to_be_bytes()
}

/// The inverse of [`main_key`].
pub(crate) fn read_main(key: &[u8]) -> Option<i64> {
    i64::try_from(u64::from_be_bytes(key.try_into().ok()?)).ok()
}

/// The key of a lease. Ids are never negative in practice; if one is, it sorts last.
pub(crate) fn lease_key(id: i64) -> [u8; 8] {
    id.to_be_bytes()
}

/// The inverse of [`lease_key`].
pub(crate) fn read_lease(key: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(key.try_into().ok()?))
}

/// Writes a revision, relative to the main revision before it, with a flag in the lowest bit.
pub(crate) fn write_revision(main_before: i64, revision: Revision, flag: bool, out: &mut Vec<u8>) {
    let step = revision.main.checked_sub(main_before).and_then(|step| u64::try_from(step).ok());
    let sub = u64::try_from(revision.sub).expect("sub-revisions are never negative");
    encode_varint(step.expect("revisions are written in ascending order"), out);
    encode_varint(sub << 1 | u64::from(flag), out);
}

/// The inverse of [`write_revision`]; takes what it read off `input`.
pub(crate) fn take_revision(main_before: i64, input: &mut &[u8]) -> Option<(Revision, bool)> {
    let step = i64::try_from(decode_varint(input).ok()?).ok()?;
    let sub = decode_varint(input).ok()?;
    let main = main_before.checked_add(step)?;
    Some((Revision { main, sub: i64::try_from(sub >> 1).ok()? }, sub & 1 == 1))
}

/// Takes a length that was written as a varint off `input`.
pub(crate) fn take_len(input: &mut &[u8]) -> Option<usize> {
    usize::try_from(decode_varint(input).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_revision_order() {
        let mains = [0, 1, 2, 255, 256, 65_535, 1 << 40, i64::MAX];
        assert!(mains.windows(2).all(|pair| main_key(pair[0]) < main_key(pair[1])));
        assert!(mains.iter().all(|main| read_main(&main_key(*main)) == Some(*main)));
        assert_eq!(read_main(b"short"), None);
        assert_eq!(read_main(&[0xff; 8]), None);
    }

    #[test]
    fn revisions_survive_a_round_trip() {
        for (main_before, main, sub, flag) in
            [(0, 0, 0, false), (7, 7, 1, true), (7, 8, 0, false), (1, i64::MAX, 128, true)]
        {
            let revision = Revision { main, sub };
            let mut bytes = Vec::new();
            write_revision(main_before, revision, flag, &mut bytes);
            let mut input = &bytes[..];
            assert_eq!(take_revision(main_before, &mut input), Some((revision, flag)));
            assert!(input.is_empty());
            assert_eq!(take_revision(main_before, &mut &bytes[..1]), None);
        }
        assert_eq!(take_revision(i64::MAX, &mut &[1, 0][..]), None);
    }
}
