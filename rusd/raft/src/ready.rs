//! What one turn of a node gives to the world.

use rusd_proto::raftpb::Entry;
use rusd_proto::rusdpeerpb::{PeerMessage, VoteRequest};

use crate::read_index::ReadState;
use crate::types::{Index, Term};

/// Takes the messages of a turn, in order, while the turn runs.
///
/// `send` must not block: the messages that may leave before the sync are handed over just before
/// it starts, and the sync waits for them. A message that finds no room is dropped; raft sends
/// again.
pub trait Outbox {
    /// Takes one message for another node.
    fn send(&mut self, message: Outgoing);
}

impl Outbox for Vec<Outgoing> {
    fn send(&mut self, message: Outgoing) {
        self.push(message);
    }
}

/// A message for another node, by the RPC that carries it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// For the `AppendEntries` stream.
    Message(PeerMessage),
    /// For `RequestVote`.
    Vote(VoteRequest),
    /// The whole state, as it is durable now, for `InstallSnapshot`. Tell `Node::report_snapshot`
    /// what becomes of it: until then the node gets nothing else.
    Snapshot(SnapshotOrder),
}

impl Outgoing {
    /// The node it is for.
    pub fn to(&self) -> u64 {
        match self {
            Self::Message(message) => message.to,
            Self::Vote(request) => request.to,
            Self::Snapshot(order) => order.to,
        }
    }
}

/// A node needs the whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotOrder {
    /// The node.
    pub to: u64,
    /// The leader.
    pub from: u64,
    /// The leader's term.
    pub term: Term,
    /// What the state must have at the least.
    pub index: Index,
}

/// What a turn has decided.
#[derive(Debug, Default)]
#[must_use = "committed entries are handed out once"]
pub struct Turn {
    /// Entries to apply, in order, without gaps over all turns.
    pub committed: Vec<Entry>,
    /// Reads whose index is known.
    pub reads: Vec<ReadState>,
    /// The leader or this node's role has changed; see `Node::status`.
    pub soft_state_changed: bool,
}

impl Turn {
    /// True when nothing came out.
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.reads.is_empty() && !self.soft_state_changed
    }
}
