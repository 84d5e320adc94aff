//! Messages to the other members: a queue for each.
//!
//! Sending never waits: each peer has its own bounded queue, and what does not fit is dropped,
//! since raft sends again. A slow or dead peer thus never holds up another.
//!
//! What carries the messages from the queues to the peers is handed in as a [`Carrier`]: tasks with
//! connections of their own (`peer_link`), or a simulated network.
//!
//! The peers follow the membership; the driver tells each change. Besides, a peer that opens a
//! stream to us tells where it can be reached: a member that joins, or that was away while others
//! moved, could not answer otherwise, and would never learn the membership.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use parking_lot::RwLock;
use rusd_proto::rusdpeerpb::{PeerMessage, VoteRequest};
use rusd_raft::SnapshotOrder;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::links::Links;
use super::peer_link::Addresses;

/// Messages waiting for the stream to one peer. Full: dropped, raft sends again.
const MESSAGES_QUEUED_MAX: usize = 1024;
/// Vote requests waiting for one peer. Full: dropped, the next election asks again.
const VOTES_QUEUED_MAX: usize = 16;

/// What is queued for one peer, for whoever carries it there.
#[derive(Debug)]
pub struct Outbound {
    /// The peer.
    pub peer: u64,
    /// For its stream of messages, in order.
    pub messages: mpsc::Receiver<PeerMessage>,
    /// Requests for its vote.
    pub votes: mpsc::Receiver<VoteRequest>,
    /// Where it can be reached.
    pub addresses: Arc<Addresses>,
    /// Cancelled when it is no longer a peer.
    pub stop: CancellationToken,
}

/// Carries messages to peers.
pub trait Carrier: std::fmt::Debug + Send + Sync {
    /// From now on, carries what is queued for this peer.
    fn carry(&self, outbound: Outbound, links: &Arc<Links>);

    /// Carries the whole state to a peer, and tells the driver what becomes of it.
    fn carry_snapshot(&self, order: SnapshotOrder, addresses: Option<Arc<Addresses>>);
}

/// Who this member is to its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub member_id: u64,
    /// Its cluster's id.
    pub cluster_id: u64,
    /// `--initial-advertise-peer-urls`
    pub peer_urls: Vec<String>,
}

/// Queues messages for the peers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Transport {
    member_id: u64,
    cluster_id: u64,
    peers: Arc<RwLock<BTreeMap<u64, Peer>>>,
    links: Arc<Links>,
    carrier: Arc<dyn Carrier>,
}

#[derive(Debug)]
struct Peer {
    messages: mpsc::Sender<PeerMessage>,
    votes: mpsc::Sender<VoteRequest>,
    addresses: Arc<Addresses>,
    /// Ends the carrying when the peer is dropped.
    _stop: tokio_util::sync::DropGuard,
}

impl Transport {
    /// A transport without peers.
    pub fn new((member_id, cluster_id): (u64, u64), carrier: Arc<dyn Carrier>) -> Self {
        let links = Arc::new(Links::new(member_id));
        Transport { member_id, cluster_id, peers: Arc::default(), links, carrier }
    }

    /// `peer` is a member and has these URLs.
    pub fn set_peer(&self, peer: u64, urls: &[String]) {
        self.with_peer(peer, |addresses| addresses.set_of_member(urls));
    }

    /// `peer` says that it can be reached at these URLs.
    pub fn told_by_peer(&self, peer: u64, urls: &[String]) {
        self.with_peer(peer, |addresses| addresses.set_told(urls));
    }

    /// `peer` is no longer a member: nothing more is sent to it.
    pub fn remove_peer(&self, peer: u64) {
        self.peers.write().remove(&peer);
        self.links.removed(peer);
    }

    /// `peer` is one that something can be sent to.
    pub fn has_peer(&self, peer: u64) -> bool {
        self.peers.read().contains_key(&peer)
    }

    /// Which peers can be reached, and since when.
    pub fn links(&self) -> Arc<Links> {
        Arc::clone(&self.links)
    }

    /// Queues a message, or drops it if the peer's queue is full or the peer is unknown.
    pub fn send(&self, mut message: PeerMessage) {
        message.cluster_id = self.cluster_id;
        message.from = self.member_id;
        if let Some(peer) = self.peers.read().get(&message.to) {
            peer.messages.try_send(message).ok();
        }
    }

    /// Queues a vote request, or drops it as [`send`](Self::send) does.
    pub fn ask_for_vote(&self, mut request: VoteRequest) {
        request.cluster_id = self.cluster_id;
        request.from = self.member_id;
        if let Some(peer) = self.peers.read().get(&request.to) {
            peer.votes.try_send(request).ok();
        }
    }

    /// Sends the whole state.
    pub fn send_snapshot(&self, order: SnapshotOrder) {
        let addresses = self.peers.read().get(&order.to).map(|peer| Arc::clone(&peer.addresses));
        self.carrier.carry_snapshot(order, addresses);
    }

    fn with_peer(&self, peer: u64, tell: impl FnOnce(&Addresses)) {
        if peer != self.member_id {
            let mut peers = self.peers.write();
            match peers.entry(peer) {
                Entry::Occupied(known) => tell(&known.get().addresses),
                Entry::Vacant(place) => {
                    // Before the link starts: it would fail to connect to nowhere, and lose what is
                    // sent until it tries again.
                    let addresses = Arc::new(Addresses::default());
                    tell(&addresses);
                    place.insert(self.start_link(peer, addresses));
                }
            }
        }
    }

    fn start_link(&self, peer: u64, addresses: Arc<Addresses>) -> Peer {
        let (messages, messages_out) = mpsc::channel(MESSAGES_QUEUED_MAX);
        let (votes, votes_out) = mpsc::channel(VOTES_QUEUED_MAX);
        let stop = CancellationToken::new();
        self.links.added(peer);
        let outbound = Outbound {
            peer,
            messages: messages_out,
            votes: votes_out,
            addresses: Arc::clone(&addresses),
            stop: stop.clone(),
        };
        self.carrier.carry(outbound, &self.links);
        Peer { messages, votes, addresses, _stop: stop.drop_guard() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes where each peer could be reached when its link was started.
    #[derive(Debug, Default)]
    struct Noting(parking_lot::Mutex<Vec<Option<String>>>);

    impl Carrier for Noting {
        fn carry(&self, outbound: Outbound, _links: &Arc<Links>) {
            self.0.lock().push(outbound.addresses.current());
        }

        fn carry_snapshot(&self, _order: SnapshotOrder, _addresses: Option<Arc<Addresses>>) {}
    }

    /// A link once started before it was told an address. It failed to connect, and what the member
    /// sent until the next try was lost, the news of its own start among it: it served only when that
    /// had timed out.
    #[test]
    fn a_link_knows_from_the_start_where_to_go() {
        let carrier = Arc::new(Noting::default());
        let transport = Transport::new((1, 7), carrier.clone());
        transport.set_peer(1, &["own".to_owned()]);
        transport.set_peer(2, &["of member".to_owned()]);
        transport.told_by_peer(3, &["told".to_owned()]);
        transport.set_peer(2, &["later".to_owned()]);
        let noted: Vec<String> = carrier.0.lock().iter().flatten().cloned().collect();
        assert_eq!(noted, ["of member", "told"]);
    }
}
