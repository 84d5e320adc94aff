//! What can go wrong, told apart by what the caller must do.
//!
//! [`Fatal`] stops this member; [`ProposeError`] can be retried by whoever proposed;
//! [`StepError`] is a message to drop.

use std::io;
use std::path::PathBuf;

/// This member can no longer be trusted, or must not start, and has to stop.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The disk refused. After a failed sync nobody knows what is on it, so there is no retry.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A log segment holds what no crash can leave behind. Nothing was changed on disk.
    #[error("corrupt log segment {}: at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The folder does not hold a log that could be read.
    #[error("unusable log in {}: {reason}", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The log belongs to another member or another cluster.
    #[error(
        "log in {} belongs to member {:x} of cluster {:x}, not to member {:x} of cluster {:x}",
        path.display(), found.node_id, found.cluster_id, expected.node_id, expected.cluster_id
    )]
    ForeignLog {
        /// The folder.
        path: PathBuf,
        /// Who wrote it.
        found: crate::Metadata,
        /// Who opened it.
        expected: crate::Metadata,
    },
    /// Another process works on the same data directory.
    #[error("data directory is in use by another process (lock {})", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The engine has applied more than the log holds.
    #[error("log ends at index {last_index}, but {needed} is committed or applied already")]
    LogTooShort {
        /// Where the log ends.
        last_index: u64,
        /// What it must reach.
        needed: u64,
    },
    /// The log begins after what the engine needs next.
    #[error("log begins at index {first_index}, but entry {needed} must be applied next")]
    LogBeginsTooLate {
        /// Where the log begins.
        first_index: u64,
        /// What is needed.
        needed: u64,
    },
    /// A peer contradicts what is committed here; one of the two has lost acknowledged entries.
    #[error("peer {from:x} contradicts this log: {reason}")]
    Contradiction {
        /// The peer.
        from: u64,
        /// How.
        reason: String,
    },
    /// The consensus crate refused what we believe to be valid.
    #[error("consensus: {0}")]
    Consensus(#[from] raft::Error),
}

impl Fatal {
    /// Wraps a failed file operation.
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}

/// A proposal was not taken. It will not be committed, and may be proposed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nobody leads at the moment.
    #[error("no leader")]
    NoLeader,
    /// Too much is proposed and not yet committed, or leadership is being handed over.
    #[error("proposal dropped")]
    Dropped,
    /// An earlier membership change is not applied yet.
    #[error("a membership change is pending")]
    ConfChangePending,
}

/// A message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The message is for another node or another cluster.
    #[error("message for node {to:x} of cluster {cluster_id:x} arrived at the wrong node")]
    WrongTarget {
        /// Whom it was for.
        to: u64,
        /// Of which cluster.
        cluster_id: u64,
    },
    /// The sender is no member.
    #[error("message from an unknown peer {0:x}")]
    UnknownPeer(u64),
    /// The message makes no sense; the reason names the field.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// The message is not consensus traffic and should have been routed elsewhere.
    #[error("not a consensus message")]
    NotConsensus,
    /// A forwarded proposal was not taken.
    #[error("forwarded proposal dropped")]
    Dropped,
    /// The member must stop.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}
