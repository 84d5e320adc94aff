//! Bugs planted on purpose, to show that the simulation finds them.
//!
//! Those of the disk are here; those of the member need the feature `planted-bugs`.

use clap::ValueEnum;

use crate::disk::Flaws;

/// A bug planted on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Plant {
    /// A vote is not written, so that a member may vote twice in a term.
    VoteNotPersisted,
    /// A follower promises entries that it has not synced.
    SyncSkippedByFollower,
    /// The engine's applied index is written apart from the data.
    AppliedIndexApart,
    /// A snapshot is installed, and the log goes on with the entries that it has.
    LogKeptAfterSnapshot,
    /// A leader counts entries of earlier terms as committed when a quorum has them.
    #[cfg(feature = "planted-bugs")]
    CommitEarlierTerms,
    /// A leader counts what learners have as if they were voters.
    #[cfg(feature = "planted-bugs")]
    LearnerCounted,
    /// A round of reads goes out again under the context of one that was given up.
    #[cfg(feature = "planted-bugs")]
    ReadContextReused,
    /// A member that led once goes on expiring leases.
    #[cfg(feature = "planted-bugs")]
    DeposedLeaderExpires,
}

impl Plant {
    /// What it does to the disk of a member that leads or does not.
    pub fn flaws(self, is_leader: bool) -> Flaws {
        Flaws {
            skips_sync: self == Plant::SyncSkippedByFollower && !is_leader,
            forgets_votes: self == Plant::VoteNotPersisted,
            keeps_entries: self == Plant::LogKeptAfterSnapshot,
        }
    }

    /// What it does to the member.
    pub fn of_member(self) -> Option<rusd::plant::Plant> {
        match self {
            #[cfg(feature = "planted-bugs")]
            Plant::CommitEarlierTerms => Some(rusd::plant::Plant::CommitEarlierTerms),
            #[cfg(feature = "planted-bugs")]
            Plant::LearnerCounted => Some(rusd::plant::Plant::LearnerCounted),
            #[cfg(feature = "planted-bugs")]
            Plant::ReadContextReused => Some(rusd::plant::Plant::ReadContextReused),
            #[cfg(feature = "planted-bugs")]
            Plant::DeposedLeaderExpires => Some(rusd::plant::Plant::DeposedLeaderExpires),
            _ => None,
        }
    }
}
