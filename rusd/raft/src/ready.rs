//! What one turn of a node gives to the world.

use rusd_proto::raftpb::Entry;
use rusd_proto::rusdpeerpb::{PeerMessage, VoteRequest};

use crate::read_index::ReadState;

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
}

impl Outgoing {
    /// The node it is for.
    pub fn to(&self) -> u64 {
        match self {
            Self::Message(message) => message.to,
            Self::Vote(request) => request.to,
        }
    }
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
