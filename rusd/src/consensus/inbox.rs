//! What waits for the driver: proposals, reads, messages of peers.
//!
//! Bounded queues and one bell. A sender puts its item into a queue and rings; the driver
//! sleeps on the bell and then drains every queue, so a burst costs it one wake-up.

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusd_proto::raftpb::ConfChange;
use rusd_proto::rusdpeerpb::{PeerMessage, VoteRequest};
use rusd_raft::Index;
use tokio::sync::oneshot;

use super::snapshot_io::ReceivedSnapshot;

/// Proposals waiting for the driver. Full means overload: the caller gets `TooManyRequests` at
/// once, which a client can retry; waiting here would only hide the queue.
const PROPOSALS_QUEUED_MAX: usize = 4096;
/// Membership changes waiting for the driver, which takes one at a time. Full: refused.
const CONF_CHANGES_QUEUED_MAX: usize = 64;
/// Reads waiting for a ReadIndex round. Full: refused, as proposals are.
const READS_QUEUED_MAX: usize = 16_384;
/// Messages of peers waiting for the driver. Full: dropped, raft sends again.
const MESSAGES_QUEUED_MAX: usize = 4096;

/// A proposal on its way to the driver.
#[derive(Debug)]
pub struct Proposal {
    /// Id under which the proposer waits for the outcome.
    pub id: u64,
    /// An encoded `InternalRaftRequest`.
    pub payload: Bytes,
    /// Propose it only if this member leads in this term; drop it otherwise.
    pub leader_term: Option<u64>,
}

/// A membership change on its way to the driver. It carries the id that its proposer waits for.
pub type ConfProposal = ConfChange;

/// A read that waits for the driver to prove how far it must see.
pub type ReadWaiter = oneshot::Sender<()>;

/// A message of a peer.
#[derive(Debug)]
pub enum PeerInput {
    /// Anything but a vote request.
    Message(PeerMessage),
    /// A request for a vote or pre-vote.
    Vote(VoteRequest),
    /// The stream to this peer broke.
    Unreachable(u64),
    /// A peer got the state, or not.
    SnapshotSent {
        /// The peer.
        peer: u64,
        /// It has it.
        is_installed: bool,
    },
    /// A peer's state waits to be installed.
    Snapshot(ReceivedSnapshot),
    /// Nobody's message: how far does each member's log reach? Only a leader knows.
    TellMatched(oneshot::Sender<Option<Vec<(u64, Index)>>>),
    /// Nobody's message: leadership shall go to this peer.
    TransferLeader(u64),
}

/// The queue is full, or the driver is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Full: try again later.
    #[error("the queue is full")]
    Full,
    /// The driver has stopped.
    #[error("the member is stopping")]
    Stopped,
}

/// The senders' ends.
#[derive(Debug, Clone)]
pub struct Inbox {
    proposals: Sender<Proposal>,
    conf_changes: Sender<ConfProposal>,
    reads: Sender<ReadWaiter>,
    messages: Sender<PeerInput>,
    bell: Sender<()>,
}

/// The driver's ends.
#[derive(Debug)]
pub struct InboxReceiver {
    /// Proposals, in the order of arrival.
    pub proposals: Receiver<Proposal>,
    /// Membership changes, in the order of arrival.
    pub conf_changes: Receiver<ConfProposal>,
    /// Reads that wait for a round.
    pub reads: Receiver<ReadWaiter>,
    /// Messages of peers.
    pub messages: Receiver<PeerInput>,
    /// Rung after each push. At most one ring is remembered.
    pub bell: Receiver<()>,
}

/// A new inbox with both its ends.
pub fn inbox() -> (Inbox, InboxReceiver) {
    let (proposals, proposals_out) = bounded(PROPOSALS_QUEUED_MAX);
    let (conf_changes, conf_changes_out) = bounded(CONF_CHANGES_QUEUED_MAX);
    let (reads, reads_out) = bounded(READS_QUEUED_MAX);
    let (messages, messages_out) = bounded(MESSAGES_QUEUED_MAX);
    let (bell, bell_out) = bounded(1);
    (
        Inbox { proposals, conf_changes, reads, messages, bell },
        InboxReceiver {
            proposals: proposals_out,
            conf_changes: conf_changes_out,
            reads: reads_out,
            messages: messages_out,
            bell: bell_out,
        },
    )
}

impl Inbox {
    /// Queues a proposal.
    pub fn propose(&self, proposal: Proposal) -> Result<(), Refused> {
        self.push(&self.proposals, proposal)
    }

    /// Queues a membership change.
    pub fn propose_conf_change(&self, change: ConfProposal) -> Result<(), Refused> {
        self.push(&self.conf_changes, change)
    }

    /// Queues a read.
    pub fn read(&self, waiter: ReadWaiter) -> Result<(), Refused> {
        self.push(&self.reads, waiter)
    }

    /// Queues a peer's message, or drops it if the queue is full.
    pub fn message(&self, message: PeerInput) -> Result<(), Refused> {
        self.push(&self.messages, message)
    }

    /// Wakes the driver without giving it anything new.
    pub fn ring(&self) {
        // A full bell already wakes the driver; a closed one means that it is gone.
        self.bell.try_send(()).ok();
    }

    fn push<T>(&self, queue: &Sender<T>, item: T) -> Result<(), Refused> {
        queue.try_send(item).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Disconnected(_) => Refused::Stopped,
        })?;
        self.ring();
        Ok(())
    }
}

/// Takes what is queued now, at most `max`.
pub fn drain<T>(queue: &Receiver<T>, max: usize) -> impl Iterator<Item = T> {
    std::iter::from_fn(move || queue.try_recv().ok()).take(max)
}
