//! A key as the index holds it: short keys inline, so that a search compares bytes that lie in the
//! tree's own nodes instead of following a pointer per comparison.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

/// Longest key held inline; makes the whole 24 bytes.
const INLINE_BYTES_MAX: usize = 22;

/// An owned key, ordered by its bytes.
#[derive(Clone)]
pub(crate) struct IndexKey(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Heap(Box<[u8]>),
}

impl IndexKey {
    /// The key's bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for IndexKey {
    fn from(key: &[u8]) -> Self {
        match u8::try_from(key.len()) {
            Ok(len) if key.len() <= INLINE_BYTES_MAX => {
                let mut bytes = [0; INLINE_BYTES_MAX];
                bytes[..key.len()].copy_from_slice(key);
                IndexKey(Repr::Inline { len, bytes })
            }
            _ => IndexKey(Repr::Heap(key.into())),
        }
    }
}

impl Borrow<[u8]> for IndexKey {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for IndexKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for IndexKey {}

impl PartialOrd for IndexKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for IndexKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_slice().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_keys_are_ordered_by_their_bytes() {
        let mut keys: Vec<Vec<u8>> =
            (0_u8..60).map(|n| [&b"key"[..], &vec![b'x'; usize::from(n)]].concat()).collect();
        keys.push(Vec::new());
        keys.push(vec![0]);
        let mut index: Vec<IndexKey> = keys.iter().map(|key| key.as_slice().into()).collect();
        index.sort();
        keys.sort();
        let back: Vec<&[u8]> = index.iter().map(IndexKey::as_slice).collect();
        assert_eq!(back, keys);
    }

    #[test]
    fn stays_small() {
        assert_eq!(size_of::<IndexKey>(), 24);
    }
}
