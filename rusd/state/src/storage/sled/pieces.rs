//! Long values, cut in pieces that stand in a tree of their own.
//!
//! ```text
//! in its tree   key                                      [4: bytes] [4: pieces] [the value, if 0 pieces]
//! in TREE       [1: tree] [4: bytes of key] key [4: number]     the piece
//! ```
//!
//! Says what goes where, and touches no engine. A value and its pieces are written in one transaction.

use crate::storage::schema::Tree;

/// The tree of the pieces.
pub(super) const TREE: &str = "pieces";

/// A value that is longer is cut. About that of a block of history.
pub(super) const WHOLE_BYTES_MAX: usize = 20 << 10;

/// Before a value, or in its place.
pub(super) const HEAD_BYTES: usize = 8;

/// What stands under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the value.
    pub(super) bytes: usize,
    /// Its pieces; 0 if it is here as a whole.
    pub(super) count: u32,
}

impl Head {
    /// Reads it from what stands under a key.
    pub(super) fn read(first: &[u8]) -> Option<Head> {
        let (bytes, rest) = first.split_first_chunk()?;
        let (count, value) = rest.split_first_chunk()?;
        let bytes = usize::try_from(u32::from_be_bytes(*bytes)).ok()?;
        let count = u32::from_be_bytes(*count);
        let is_right = if count == 0 { value.len() == bytes } else { value.is_empty() };
        is_right.then_some(Head { bytes, count })
    }
}

/// What goes under the key, and the pieces.
pub(super) fn cut(value: &[u8]) -> (Vec<u8>, Vec<&[u8]>) {
    let length = |length: usize| u32::try_from(length).expect("no value has 4 GiB").to_be_bytes();
    let is_whole = value.len() <= WHOLE_BYTES_MAX;
    let pieces: Vec<&[u8]> =
        if is_whole { Vec::new() } else { value.chunks(WHOLE_BYTES_MAX).collect() };
    let here: &[u8] = if is_whole { value } else { &[] };
    ([&length(value.len())[..], &length(pieces.len()), here].concat(), pieces)
}

/// Where a piece stands.
pub(super) fn key(tree: Tree, key: &[u8], number: u32) -> Vec<u8> {
    let length = u32::try_from(key.len()).expect("no key has 4 GiB");
    [&prefix(tree)[..], &length.to_be_bytes(), key, &number.to_be_bytes()].concat()
}

/// What the places of all pieces of a tree begin with.
pub(super) fn prefix(tree: Tree) -> [u8; 1] {
    [u8::try_from(tree.position()).expect("there are few trees")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_whole_again() {
        for length in [0, 1, WHOLE_BYTES_MAX, WHOLE_BYTES_MAX + 1, 10 * WHOLE_BYTES_MAX] {
            let value = vec![7; length];
            let (first, pieces) = cut(&value);
            let head = Head::read(&first).unwrap();
            assert_eq!(head.bytes, length);
            assert_eq!(usize::try_from(head.count).unwrap(), pieces.len());
            let whole =
                if pieces.is_empty() { first[HEAD_BYTES..].to_vec() } else { pieces.concat() };
            assert_eq!(whole, value);
        }
        assert_eq!(Head::read(&[0, 0, 0, 1, 0, 0, 0, 0]), None);
        assert_eq!(Head::read(&[0; 7]), None);
    }

    #[test]
    fn no_two_keys_have_a_piece_in_common() {
        assert_ne!(key(Tree::Kv, b"a", 0), key(Tree::Kv, b"a\0\0\0\0", 0));
        assert_ne!(key(Tree::Kv, b"a", 0), key(Tree::Index, b"a", 0));
    }
}
