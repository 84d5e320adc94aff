//! The three kinds of errors, kept apart: what every member answers alike ([`ApplyError`]), what a
//! reader is told ([`ReadError`]), and what stops this member ([`Fatal`]).

use prost::DecodeError;

use crate::storage::StorageError;

/// A rejection: part of the replicated answer, the same on every member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The lease of a put or revoke does not exist.
    #[error("lease not found")]
    LeaseNotFound,
    /// A lease with this id was granted before.
    #[error("lease exists")]
    LeaseExists,
    /// The asked-for time to live is beyond etcd's maximum.
    #[error("lease time to live too large")]
    LeaseTtlTooLarge,
    /// The revision was compacted.
    #[error("revision compacted")]
    Compacted,
    /// The revision has not happened yet.
    #[error("future revision")]
    FutureRevision,
    /// A put that keeps the value or the lease found no key.
    #[error("key not found")]
    KeyNotFound,
    /// A member with this id exists already.
    #[error("member exists")]
    MemberExists,
    /// There is no member with this id.
    #[error("member not found")]
    MemberNotFound,
    /// This was a member once and cannot be one again.
    #[error("member removed")]
    MemberRemoved,
    /// Too few members would be left.
    #[error("not enough started members")]
    NotEnoughStartedMembers,
    /// Another member has one of these peer URLs.
    #[error("peer URL exists")]
    PeerUrlExists,
    /// Only a learner can be promoted.
    #[error("member is not a learner")]
    MemberNotLearner,
    /// The cluster has its learner already.
    #[error("too many learners")]
    TooManyLearners,
    /// A member has no space left: nothing that takes space is done.
    #[error("no space")]
    NoSpace,
    /// A member's data is corrupt: nothing is changed.
    #[error("corrupt cluster")]
    Corrupt,
    /// The request is of a kind that is not built.
    #[error("not implemented")]
    Unimplemented,
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The revision was compacted.
    #[error("revision compacted, the oldest readable one is {compact}")]
    Compacted {
        /// Oldest readable revision.
        compact: i64,
    },
    /// The revision has not happened yet on this member.
    #[error("future revision, the newest is {current}")]
    FutureRevision {
        /// Newest revision.
        current: i64,
    },
    /// The engine failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// This member can no longer be trusted and must stop.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The engine failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An entry does not follow the one applied last.
    #[error("log entry {got} came after {applied} was applied")]
    Gap {
        /// The last applied index.
        applied: u64,
        /// The entry's index.
        got: u64,
    },
    /// An entry of the log cannot be read.
    #[error("log entry {index} is malformed")]
    MalformedEntry {
        /// Its index.
        index: u64,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// The member that a membership change of the log carries cannot be read.
    #[error("log entry {index} carries a malformed member")]
    MalformedMember {
        /// Its index.
        index: u64,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Something stored cannot be read.
    #[error("stored {what} is malformed")]
    MalformedRecord {
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
}
