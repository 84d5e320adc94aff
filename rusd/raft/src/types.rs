//! Small values that every part of the crate speaks in.

use std::fmt;

/// A leader's period. Rises only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// A position in the log. The first entry has index 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

impl Index {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a node must remember over a restart, besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term this node has seen.
    pub term: u64,
    /// Whom it voted for in that term; 0 is nobody.
    pub vote: u64,
    /// The last entry it knew to be committed.
    pub commit: u64,
}

impl HardState {
    /// True before the first term: etcd writes no record for such a state.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whose log this is. Stands at the head of every segment and never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The member that writes this log.
    pub node_id: u64,
    /// The cluster it belongs to.
    pub cluster_id: u64,
}

/// The part that a node plays in its term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether an election could succeed, without raising the term.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Replicates its log to the others.
    Leader,
}

/// What a node knows about itself and its cluster right now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// This node.
    pub id: u64,
    /// The current term.
    pub term: u64,
    /// The leader of that term, 0 when none is known.
    pub leader_id: u64,
    /// What this node does in that term.
    pub role: Role,
    /// Last entry known to be on a quorum's disks.
    pub committed: u64,
    /// Last entry that `poll` has handed out.
    pub handed_out: u64,
    /// Last entry of the log, committed or not.
    pub last_index: u64,
    /// A leader answers reads only once it has committed an entry of its own term.
    pub is_leader_ready: bool,
    /// Members that vote, ascending.
    pub voters: Vec<u64>,
    /// Members that only follow, ascending.
    pub learners: Vec<u64>,
}
