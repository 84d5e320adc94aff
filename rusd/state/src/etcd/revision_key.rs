//! Keys of the bucket `key`.

use crate::mvcc::revision::Revision;
use crate::storage::change::EntryKind;

/// A change: when, and whether it is a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevisionKey {
    /// When.
    pub revision: Revision,
    /// Put or delete.
    pub kind: EntryKind,
}

impl RevisionKey {
    /// Reads one. `None` if it is none.
    pub fn decode(key: &[u8]) -> Option<RevisionKey> {
        let (main, rest) = key.split_first_chunk()?;
        let (b"_", rest) = rest.split_first_chunk::<1>()? else { return None };
        let (sub, rest) = rest.split_first_chunk()?;
        let kind = match rest {
            b"" => EntryKind::Put,
            b"t" => EntryKind::Delete,
            _ => return None,
        };
        let revision = Revision { main: i64::from_be_bytes(*main), sub: i64::from_be_bytes(*sub) };
        let is_one = revision.main >= 0 && revision.sub >= 0;
        is_one.then_some(RevisionKey { revision, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::encode_revision;

    #[test]
    fn what_is_hashed_is_read() {
        for kind in [EntryKind::Put, EntryKind::Delete] {
            let revision = Revision { main: 258, sub: 3 };
            let mut key = encode_revision(revision, kind);
            assert_eq!(RevisionKey::decode(&key), Some(RevisionKey { revision, kind }));
            key.push(b't');
            key[8] = b'-';
            assert_eq!(RevisionKey::decode(&key), None);
            assert_eq!(RevisionKey::decode(&key[..16]), None);
        }
        assert_eq!(RevisionKey::decode(&[0xff; 17]), None);
    }
}
