//! The six trees: their names, what stands under which key, and the seal on every value.
//!
//! | tree | key | value |
//! |---|---|---|
//! | `kv` | user key | its latest `KeyValue`, as of the fold |
//! | `kv_rev` | main revision, 8 bytes | a block of history that starts there (`blocks`) |
//! | `index` | user key | its revisions, as of the fold (`fold`) |
//! | `meta` | one of [`MetaKey`] | counters and small records |
//! | `lease` | lease id, 8 bytes | `leasepb::Lease` |
//! | `auth` | | nothing yet |
//!
//! Invariant: every value in every tree ends with a CRC-32C of its key and itself, so a value that
//! rotted, or that stands under a key it was not written for, is found before it is used.

use std::fmt;

use bytes::Bytes;

use crate::storage::error::StorageError;
use crate::storage::keycode;

/// A tree of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// Latest values: an image of `kv_rev`.
    Kv,
    /// The history: the only truth about keys.
    KvRev,
    /// Revisions by key: an image of `kv_rev`.
    Index,
    /// Applied index, compact revision, members and other small records.
    Meta,
    /// Leases.
    Lease,
    /// Users and roles.
    Auth,
}

impl Tree {
    /// All of them. The position of a tree in this list never changes.
    pub const ALL: [Tree; 6] =
        [Tree::Kv, Tree::KvRev, Tree::Index, Tree::Meta, Tree::Lease, Tree::Auth];

    /// Its name in the engine.
    pub const fn name(self) -> &'static str {
        match self {
            Tree::Kv => "kv",
            Tree::KvRev => "kv_rev",
            Tree::Index => "index",
            Tree::Meta => "meta",
            Tree::Lease => "lease",
            Tree::Auth => "auth",
        }
    }

    /// Its position in [`Tree::ALL`].
    pub(crate) const fn position(self) -> usize {
        match self {
            Tree::Kv => 0,
            Tree::KvRev => 1,
            Tree::Index => 2,
            Tree::Meta => 3,
            Tree::Lease => 4,
            Tree::Auth => 5,
        }
    }

    /// A key of this tree as a reader would write it.
    pub(crate) fn key_text(self, key: &[u8]) -> String {
        match self {
            Tree::KvRev => keycode::read_main(key)
                .map_or_else(|| key.escape_ascii().to_string(), |main| format!("revision {main}")),
            Tree::Lease => keycode::read_lease(key)
                .map_or_else(|| key.escape_ascii().to_string(), |id| format!("lease {id:x}")),
            Tree::Kv | Tree::Index | Tree::Meta | Tree::Auth => {
                format!("\"{}\"", key.escape_ascii())
            }
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a key of the `meta` tree names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MetaKey {
    /// Layout of everything else, so that a later layout can refuse or convert an older one.
    Format,
    /// Applied index and term, and the main revision they led to.
    Applied,
    /// The compact revision.
    Compact,
    /// The compact revision that block removal has finished with.
    Compacted,
    /// The revision up to which `kv` and `index` are complete.
    Fold,
    /// About how many rows `index` has.
    ImageRows,
    /// Bytes of the rows of `kv` and `index`, about.
    ImageBytes,
    /// How many entries `kv_rev` has.
    HistoryEntries,
    /// Bytes of the blocks of `kv_rev`.
    HistoryBytes,
    /// Voters and learners.
    ConfState,
    /// The cluster's version.
    ClusterVersion,
    /// A member, by id.
    Member(u64),
    /// A small record of the upper layers, by name.
    Named(String),
}

const MEMBER_PREFIX: &[u8] = b"member/";
const NAMED_PREFIX: &[u8] = b"named/";

impl MetaKey {
    /// The key's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            MetaKey::Format => b"format".to_vec(),
            MetaKey::Applied => b"applied".to_vec(),
            MetaKey::Compact => b"compact".to_vec(),
            MetaKey::Compacted => b"compacted".to_vec(),
            MetaKey::Fold => b"fold".to_vec(),
            MetaKey::ImageRows => b"image_rows".to_vec(),
            MetaKey::ImageBytes => b"image_bytes".to_vec(),
            MetaKey::HistoryEntries => b"history_entries".to_vec(),
            MetaKey::HistoryBytes => b"history_bytes".to_vec(),
            MetaKey::ConfState => b"conf_state".to_vec(),
            MetaKey::ClusterVersion => b"cluster_version".to_vec(),
            MetaKey::Member(id) => [MEMBER_PREFIX, &id.to_be_bytes()].concat(),
            MetaKey::Named(name) => [NAMED_PREFIX, name.as_bytes()].concat(),
        }
    }

    /// The inverse of [`MetaKey::encode`].
    pub(crate) fn decode(key: &[u8]) -> Option<MetaKey> {
        if let Some(id) = key.strip_prefix(MEMBER_PREFIX) {
            return Some(MetaKey::Member(u64::from_be_bytes(id.try_into().ok()?)));
        }
        if let Some(name) = key.strip_prefix(NAMED_PREFIX) {
            return Some(MetaKey::Named(String::from_utf8(name.to_vec()).ok()?));
        }
        match key {
            b"format" => Some(MetaKey::Format),
            b"applied" => Some(MetaKey::Applied),
            b"compact" => Some(MetaKey::Compact),
            b"compacted" => Some(MetaKey::Compacted),
            b"fold" => Some(MetaKey::Fold),
            b"image_rows" => Some(MetaKey::ImageRows),
            b"image_bytes" => Some(MetaKey::ImageBytes),
            b"history_entries" => Some(MetaKey::HistoryEntries),
            b"history_bytes" => Some(MetaKey::HistoryBytes),
            b"conf_state" => Some(MetaKey::ConfState),
            b"cluster_version" => Some(MetaKey::ClusterVersion),
            _ => None,
        }
    }
}

/// The layout this code writes and reads.
pub(crate) const FORMAT_VERSION: i64 = 1;

const SEAL_LEN: usize = 4;

/// Appends the checksum of `key` and `value` to `value`.
pub(crate) fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &value);
    value.extend_from_slice(&crc.to_be_bytes());
    value
}

/// Checks the checksum of a value and takes it off.
pub(crate) fn unseal(tree: Tree, key: &[u8], value: &Bytes) -> Result<Bytes, StorageError> {
    let Some(len) = value.len().checked_sub(SEAL_LEN) else {
        return Err(StorageError::corrupt(tree, key, "too short to hold a checksum"));
    };
    let (body, crc) = value.split_at(len);
    let computed = crc32c::crc32c_append(crc32c::crc32c(key), body);
    let stored = u32::from_be_bytes(crc.try_into().expect("split at its length"));
    if computed != stored {
        let reason = format!("the checksum is {computed:08x}, but {stored:08x} was stored");
        return Err(StorageError::corrupt(tree, key, reason));
    }
    Ok(value.slice(..len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_keys_survive_a_round_trip() {
        for key in [
            MetaKey::Format,
            MetaKey::Applied,
            MetaKey::Compact,
            MetaKey::Compacted,
            MetaKey::Fold,
            MetaKey::ImageRows,
            MetaKey::ImageBytes,
            MetaKey::HistoryEntries,
            MetaKey::HistoryBytes,
            MetaKey::ConfState,
            MetaKey::ClusterVersion,
            MetaKey::Member(u64::MAX),
            MetaKey::Named("alarms".into()),
        ] {
            assert_eq!(MetaKey::decode(&key.encode()), Some(key));
        }
        assert_eq!(MetaKey::decode(b"member/short"), None);
        assert_eq!(MetaKey::decode(b"else"), None);
    }

    #[test]
    fn trees_know_their_position() {
        for (position, tree) in Tree::ALL.into_iter().enumerate() {
            assert_eq!(tree.position(), position);
        }
    }

    #[test]
    fn a_flipped_bit_or_another_key_breaks_the_seal() {
        let sealed = seal(b"key", b"value".to_vec());
        let opened = unseal(Tree::Meta, b"key", &Bytes::from(sealed.clone())).unwrap();
        assert_eq!(&opened[..], b"value");
        unseal(Tree::Meta, b"kez", &Bytes::from(sealed.clone())).unwrap_err();
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = unseal(Tree::Meta, b"key", &Bytes::from(flipped)).unwrap_err();
            assert!(error.to_string().contains("tree meta, key \"key\": the checksum"), "{error}");
        }
        unseal(Tree::Meta, b"key", &Bytes::from_static(b"abc")).unwrap_err();
    }
}
