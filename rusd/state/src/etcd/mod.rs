//! The state as etcd keeps it in its file: made of a member's state, and a member's state made of it.
//!
//! | bucket | key | value |
//! |---|---|---|
//! | `key` | revision: main, an underscore, sub, and a `t` for a delete | `KeyValue` (of a delete the key alone) |
//! | `lease` | id, 8 bytes | `leasepb::Lease` |
//! | `alarm` | `AlarmMember` | |
//! | `members` | id, hexadecimal | the member as JSON |
//! | `members_removed` | id, hexadecimal | `removed` |
//! | `cluster` | `clusterVersion` | version |
//! | `auth`, `authUsers`, `authRoles` | | nothing yet but a revision |
//! | `meta` | `consistent_index`, `term`, `confState`, `storageVersion`, `scheduledCompactRev`, `finishedCompactRev` | |
//!
//! As etcd 3.7.3 writes it (`server/storage/schema` and `server/storage/mvcc`). Of the file around
//! it nothing is known here: an [`EtcdRows`] gives the rows of a bucket in order, a [`FromEtcd`] takes
//! them.
//!
//! Invariant: at every revision that is readable on the one side, `HashKV` is the same on the other.

mod incoming;
mod outgoing;
mod revision_key;

pub use incoming::{Founding, FromEtcd, FromEtcdError};
pub use outgoing::{EtcdRows, PutRow};
pub use revision_key::RevisionKey;

/// A bucket of etcd's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are etcd's")]
pub enum EtcdBucket {
    Alarm,
    Auth,
    AuthRoles,
    AuthUsers,
    Cluster,
    Key,
    Lease,
    Members,
    MembersRemoved,
    Meta,
}

impl EtcdBucket {
    /// All of them, ascending by name.
    pub const ALL: [EtcdBucket; 10] = [
        EtcdBucket::Alarm,
        EtcdBucket::Auth,
        EtcdBucket::AuthRoles,
        EtcdBucket::AuthUsers,
        EtcdBucket::Cluster,
        EtcdBucket::Key,
        EtcdBucket::Lease,
        EtcdBucket::Members,
        EtcdBucket::MembersRemoved,
        EtcdBucket::Meta,
    ];

    /// Its name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            EtcdBucket::Alarm => "alarm",
            EtcdBucket::Auth => "auth",
            EtcdBucket::AuthRoles => "authRoles",
            EtcdBucket::AuthUsers => "authUsers",
            EtcdBucket::Cluster => "cluster",
            EtcdBucket::Key => "key",
            EtcdBucket::Lease => "lease",
            EtcdBucket::Members => "members",
            EtcdBucket::MembersRemoved => "members_removed",
            EtcdBucket::Meta => "meta",
        }
    }

    /// The bucket of a name.
    pub fn named(name: &[u8]) -> Option<EtcdBucket> {
        EtcdBucket::ALL.into_iter().find(|bucket| bucket.name().as_bytes() == name)
    }
}

/// Keys of `meta`, `auth` and `cluster`.
const CONSISTENT_INDEX: &str = "consistent_index";
const TERM: &str = "term";
const CONF_STATE: &str = "confState";
/// The key of the storage version in `meta`.
pub const STORAGE_VERSION: &str = "storageVersion";
const SCHEDULED_COMPACT: &str = "scheduledCompactRev";
const FINISHED_COMPACT: &str = "finishedCompactRev";
const AUTH_ENABLED: &str = "authEnabled";
const AUTH_REVISION: &str = "authRevision";
const CLUSTER_VERSION: &str = "clusterVersion";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_ascend_by_name() {
        assert!(EtcdBucket::ALL.is_sorted_by_key(|bucket| bucket.name()));
        for bucket in EtcdBucket::ALL {
            assert_eq!(EtcdBucket::named(bucket.name().as_bytes()), Some(bucket));
        }
    }
}
