//! Messages between members: one long stream to each peer, and a handler for what peers send.
//!
//! Sending never waits: each peer has its own bounded queue, and what does not fit is dropped,
//! since raft sends again. A slow or dead peer thus never holds up another. A stream that breaks is
//! made again after a back-off; what was queued meanwhile is stale and thrown away.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rusd_proto::rusdpeerpb::peer_client::PeerClient;
use rusd_proto::rusdpeerpb::peer_server::{Peer, PeerServer};
use rusd_proto::rusdpeerpb::{
    Accepted, PeerMessage, SnapshotChunk, StreamEnd, VoteRequest, peer_message::Body,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use super::inbox::{Inbox, PeerInput};
use super::links::Links;
use crate::tls::Dialer;

/// Messages waiting for the stream to one peer. Full: dropped, raft sends again.
const MESSAGES_QUEUED_MAX: usize = 1024;
/// Vote requests waiting for one peer. Full: dropped, the next election asks again.
const VOTES_QUEUED_MAX: usize = 16;
/// Lease questions of peers waiting to be answered. Full: dropped, the asker times out.
const LEASE_QUESTIONS_QUEUED_MAX: usize = 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const VOTE_TIMEOUT: Duration = Duration::from_millis(500);
const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(20);
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);
/// A stream that lasted this long was a good one: the next is tried without delay.
const STREAM_GOOD_AFTER: Duration = Duration::from_secs(1);
/// A silent connection is probed after this long, and given up when the probe goes unanswered.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Longest message from a peer: entries of the largest allowed requests, with room to spare.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Queues messages for the peers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Transport {
    member_id: u64,
    cluster_id: u64,
    peers: Arc<BTreeMap<u64, PeerQueues>>,
    links: Arc<Links>,
}

#[derive(Debug)]
struct PeerQueues {
    messages: mpsc::Sender<PeerMessage>,
    votes: mpsc::Sender<VoteRequest>,
}

/// What is queued for one peer, for whoever carries it there.
#[derive(Debug)]
pub struct Outbound {
    /// The peer.
    pub peer: u64,
    /// For its stream of messages, in order.
    pub messages: mpsc::Receiver<PeerMessage>,
    /// Requests for its vote.
    pub votes: mpsc::Receiver<VoteRequest>,
}

impl Transport {
    /// The queues for `peers`, and their far ends.
    pub fn queues(identity: (u64, u64), peers: &[u64]) -> (Self, Vec<Outbound>) {
        let (member_id, cluster_id) = identity;
        let mut queues = BTreeMap::new();
        let outbound = peers.iter().map(|peer| {
            let (messages, messages_out) = mpsc::channel(MESSAGES_QUEUED_MAX);
            let (votes, votes_out) = mpsc::channel(VOTES_QUEUED_MAX);
            queues.insert(*peer, PeerQueues { messages, votes });
            Outbound { peer: *peer, messages: messages_out, votes: votes_out }
        });
        let outbound = outbound.collect();
        let links = Arc::new(Links::new(member_id, peers.iter().copied()));
        (Transport { member_id, cluster_id, peers: Arc::new(queues), links }, outbound)
    }

    /// Starts the tasks that connect to `peers` (id and URL) on `runtime`.
    pub fn start(
        runtime: &Handle,
        identity: (u64, u64),
        dialer: &Dialer,
        peers: impl IntoIterator<Item = (u64, String)>,
        inbox: &Inbox,
        stop: &CancellationToken,
    ) -> Result<Self, tonic::transport::Error> {
        let (ids, urls): (Vec<u64>, Vec<String>) = peers.into_iter().unzip();
        let (transport, outbound) = Self::queues(identity, &ids);
        for (Outbound { peer, messages, votes }, url) in outbound.into_iter().zip(urls) {
            let endpoint = Endpoint::from_shared(url)?
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(8 * 1024 * 1024)
                .initial_connection_window_size(16 * 1024 * 1024);
            let link = Link {
                peer,
                endpoint,
                dialer: dialer.clone(),
                inbox: inbox.clone(),
                links: transport.links(),
            };
            let stream = link.clone().stream_messages(messages);
            let asking = link.ask_for_votes(votes);
            let stop = stop.clone();
            runtime.spawn(async move {
                let links = Box::pin(async { tokio::join!(stream, asking) });
                stop.run_until_cancelled(links).await;
            });
        }
        Ok(transport)
    }

    /// Which peers can be reached, and since when.
    pub fn links(&self) -> Arc<Links> {
        Arc::clone(&self.links)
    }

    /// Queues a message, or drops it if the peer's queue is full or the peer is unknown.
    pub fn send(&self, mut message: PeerMessage) {
        message.cluster_id = self.cluster_id;
        message.from = self.member_id;
        if let Some(peer) = self.peers.get(&message.to) {
            peer.messages.try_send(message).ok();
        }
    }

    /// Queues a vote request, or drops it as [`send`](Self::send) does.
    pub fn ask_for_vote(&self, mut request: VoteRequest) {
        request.cluster_id = self.cluster_id;
        request.from = self.member_id;
        if let Some(peer) = self.peers.get(&request.to) {
            peer.votes.try_send(request).ok();
        }
    }
}

/// The way to one peer.
#[derive(Debug, Clone)]
struct Link {
    peer: u64,
    endpoint: Endpoint,
    dialer: Dialer,
    inbox: Inbox,
    links: Arc<Links>,
}

impl Link {
    fn client(channel: Channel) -> PeerClient<Channel> {
        PeerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Keeps one stream of messages open.
    async fn stream_messages(self, queue: mpsc::Receiver<PeerMessage>) {
        let peer = format!("{:x}", self.peer);
        let queue = Arc::new(Mutex::new(queue));
        let mut delay = RECONNECT_DELAY_MIN;
        loop {
            let connected = self.dialer.connect(&self.endpoint).await;
            if let Err(error) = &connected {
                tracing::debug!(peer, ?error, "cannot connect to a peer");
            }
            if let Ok(channel) = connected {
                tracing::debug!(peer, "connected to a peer");
                let since = Instant::now();
                self.links.opened(self.peer);
                let stream = QueueStream(Arc::clone(&queue));
                let ended = Self::client(channel).append_entries(stream).await;
                self.links.closed(self.peer);
                let error = ended.err().map(|status| status.to_string());
                if since.elapsed() >= STREAM_GOOD_AFTER {
                    delay = RECONNECT_DELAY_MIN;
                    tracing::warn!(peer, error, "lost the stream to a peer");
                } else {
                    tracing::debug!(peer, error, "a peer ended the stream at once");
                }
            }
            self.inbox.message(PeerInput::Unreachable(self.peer)).ok();
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RECONNECT_DELAY_MAX);
            let mut stale = queue.lock().expect("nothing panics under this lock");
            while stale.try_recv().is_ok() {}
        }
    }

    /// Sends vote requests, each by itself.
    async fn ask_for_votes(self, mut queue: mpsc::Receiver<VoteRequest>) {
        let endpoint = self.endpoint.clone().timeout(VOTE_TIMEOUT);
        let channel = self.dialer.connect_lazy(&endpoint);
        let mut client = Self::client(channel);
        while let Some(request) = queue.recv().await {
            if let Err(status) = client.request_vote(request).await {
                tracing::debug!(peer = format!("{:x}", self.peer), %status, "no vote");
            }
        }
    }
}

/// The messages of a queue as a stream; the queue outlives the stream.
struct QueueStream(Arc<Mutex<mpsc::Receiver<PeerMessage>>>);

impl Stream for QueueStream {
    type Item = PeerMessage;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<PeerMessage>> {
        self.0.lock().expect("nothing panics under this lock").poll_recv(context)
    }
}

/// Answers peers: puts what they send where it belongs.
#[derive(Debug)]
pub struct PeerHandler {
    member_id: u64,
    cluster_id: u64,
    inbox: Inbox,
    lease_messages: mpsc::Sender<PeerMessage>,
}

impl PeerHandler {
    /// A handler, and what it hears about leases.
    pub fn new(
        (member_id, cluster_id): (u64, u64),
        inbox: Inbox,
    ) -> (Self, mpsc::Receiver<PeerMessage>) {
        let (lease_messages, lease_messages_out) = mpsc::channel(LEASE_QUESTIONS_QUEUED_MAX);
        (PeerHandler { member_id, cluster_id, inbox, lease_messages }, lease_messages_out)
    }

    /// The service for the peer listener.
    pub fn into_service(self) -> PeerServer<PeerHandler> {
        PeerServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn check_address(&self, to: u64, cluster_id: u64) -> Result<(), Status> {
        if cluster_id != self.cluster_id {
            return Err(Status::failed_precondition(format!(
                "cluster ID mismatch: this member is of {:x}, the message of {cluster_id:x}",
                self.cluster_id
            )));
        }
        if to != self.member_id {
            return Err(Status::failed_precondition(format!(
                "member ID mismatch: this member is {:x}, the message is for {to:x}",
                self.member_id
            )));
        }
        Ok(())
    }

    /// Takes a request for this member's vote.
    pub fn route_vote(&self, request: VoteRequest) {
        self.inbox.message(PeerInput::Vote(request)).ok();
    }

    /// Takes a message that is for this member.
    pub fn route(&self, message: PeerMessage) {
        // Full queues drop: raft sends again, and a lease question is asked again.
        match message.body {
            Some(Body::LeaseForward(_) | Body::LeaseForwardReply(_)) => {
                self.lease_messages.try_send(message).ok();
            }
            _ => {
                self.inbox.message(PeerInput::Message(message)).ok();
            }
        }
    }
}

#[tonic::async_trait]
impl Peer for PeerHandler {
    async fn append_entries(
        &self,
        request: Request<Streaming<PeerMessage>>,
    ) -> Result<Response<StreamEnd>, Status> {
        let mut stream = request.into_inner();
        while let Some(message) = stream.message().await? {
            self.check_address(message.to, message.cluster_id)?;
            self.route(message);
        }
        Ok(Response::new(StreamEnd {}))
    }

    async fn request_vote(
        &self,
        request: Request<VoteRequest>,
    ) -> Result<Response<Accepted>, Status> {
        let request = request.into_inner();
        self.check_address(request.to, request.cluster_id)?;
        self.route_vote(request);
        Ok(Response::new(Accepted {}))
    }

    async fn install_snapshot(
        &self,
        _request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<Accepted>, Status> {
        Err(Status::unimplemented("this version never cuts its log, so no snapshot is needed"))
    }
}
