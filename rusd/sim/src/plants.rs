//! Bugs planted on purpose, to show that the simulation finds them.

use clap::ValueEnum;

use crate::disk::Flaws;

/// A bug planted on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Plant {
    /// A vote is not written, so that a member may vote twice in a term.
    VoteNotPersisted,
    /// A follower promises entries that it has not synced.
    SyncSkippedByFollower,
}

impl Plant {
    /// What it does to a disk. A leader's disk is sound with [`Plant::SyncSkippedByFollower`].
    pub fn flaws(self, is_leader: bool) -> Flaws {
        Flaws {
            skips_sync: self == Plant::SyncSkippedByFollower && !is_leader,
            forgets_votes: self == Plant::VoteNotPersisted,
        }
    }
}
