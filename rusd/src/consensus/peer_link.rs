//! The way to one peer: one long stream of messages, and a call for each vote request.
//!
//! A stream that breaks is made again after a back-off, to the peer's next address; what was queued
//! meanwhile is stale and thrown away.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use rusd_proto::rusdpeerpb::peer_client::PeerClient;
use rusd_proto::rusdpeerpb::{PeerMessage, VoteRequest};
use rusd_raft::SnapshotOrder;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::inbox::{Inbox, PeerInput, Refused};
use super::links::Links;
use super::snapshot_io::SnapshotSource;
use super::transport::{Carrier, Endpoint, Outbound};
use crate::tls::Dialer;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const VOTE_TIMEOUT: Duration = Duration::from_millis(500);
const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(20);
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);
/// A stream that lasted this long was a good one: the next is tried without delay.
const STREAM_GOOD_AFTER: Duration = Duration::from_secs(1);
/// Pause before a peer that did not take a snapshot may get another one.
const SNAPSHOT_RETRY_DELAY: Duration = Duration::from_secs(1);
/// A silent connection is probed after this long, and given up when the probe goes unanswered.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Longest message from a peer: entries of the largest allowed requests, with room to spare.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a member is told, and says, that is none any more. In etcd's words.
pub(super) const REMOVED: &str = "the member has been permanently removed from the cluster";

const FROM: &str = "rusd-from";
const TO: &str = "rusd-to";
const CLUSTER: &str = "rusd-cluster";
const PEER_URLS: &str = "rusd-peer-urls";

/// A peer's status for one that was a member and is none any more.
pub(super) fn removed_status() -> Status {
    Status::permission_denied(REMOVED)
}

fn says_removed(status: &Status) -> bool {
    status.code() == Code::PermissionDenied && status.message() == REMOVED
}

/// What a stream begins with: who speaks to whom, and where the speaker can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) cluster_id: u64,
    pub(super) peer_urls: Vec<String>,
}

impl Greeting {
    pub(super) fn new(own: &Endpoint, to: u64) -> Greeting {
        let Endpoint { member_id, cluster_id, ref peer_urls } = *own;
        Greeting { from: member_id, to, cluster_id, peer_urls: peer_urls.clone() }
    }

    fn write(&self, metadata: &mut MetadataMap) {
        let ids = [(FROM, self.from), (TO, self.to), (CLUSTER, self.cluster_id)];
        for (name, id) in ids {
            metadata.insert(name, format!("{id:x}").parse().expect("digits are ASCII"));
        }
        // A URL that is not ASCII is of no use to anybody.
        if let Ok(urls) = self.peer_urls.join(",").parse() {
            metadata.insert(PEER_URLS, urls);
        }
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(super) fn read(metadata: &MetadataMap) -> Option<Greeting> {
        let text = |name: &'static str| metadata.get(name)?.to_str().ok();
        let id = |name: &'static str| u64::from_str_radix(text(name)?, 16).ok();
        let urls = text(PEER_URLS).unwrap_or_default().split(',').filter(|url| !url.is_empty());
        Some(Greeting {
            from: id(FROM)?,
            to: id(TO)?,
            cluster_id: id(CLUSTER)?,
            peer_urls: urls.map(str::to_owned).collect(),
        })
    }
}

/// Where a peer can be reached.
#[derive(Debug, Default)]
pub struct Addresses {
    known: Mutex<Known>,
    failures: AtomicUsize,
}

#[derive(Debug, Default)]
struct Known {
    /// As the membership has it.
    of_member: Vec<String>,
    /// As the peer itself told us.
    told: Vec<String>,
}

impl Addresses {
    pub(super) fn set_of_member(&self, urls: &[String]) {
        self.known.lock().of_member = urls.to_vec();
    }

    pub(super) fn set_told(&self, urls: &[String]) {
        self.known.lock().told = urls.to_vec();
    }

    /// The one to try now.
    pub(super) fn current(&self) -> Option<String> {
        let known = self.known.lock();
        let count = known.of_member.len() + known.told.len();
        let at = self.failures.load(Ordering::Relaxed).checked_rem(count)?;
        known.of_member.iter().chain(&known.told).nth(at).cloned()
    }

    /// The current one was of no use.
    fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// Carries messages over gRPC, by tasks of its own for each peer.
#[derive(Debug)]
pub struct GrpcCarrier {
    /// Where the tasks run.
    pub runtime: Handle,
    /// Who this member is.
    pub own: Endpoint,
    /// Makes the connections.
    pub dialer: Dialer,
    /// Told of peers that cannot be reached.
    pub inbox: Inbox,
    /// The state, for members that are too far behind.
    pub snapshots: SnapshotSource,
    /// Ends all tasks.
    pub stop: CancellationToken,
    /// Cancelled when a peer says that this member is none any more.
    pub removed: CancellationToken,
}

impl Carrier for GrpcCarrier {
    fn carry(&self, outbound: Outbound, links: &Arc<Links>) {
        let Outbound { peer, messages, votes, addresses, stop } = outbound;
        let link = Link {
            peer,
            greeting: Greeting::new(&self.own, peer),
            addresses,
            dialer: self.dialer.clone(),
            inbox: self.inbox.clone(),
            links: Arc::clone(links),
            removed: self.removed.clone(),
        };
        let stream = link.clone().stream_messages(messages);
        let asking = link.ask_for_votes(votes);
        let stop_all = self.stop.clone();
        self.runtime.spawn(async move {
            let link = Box::pin(async { tokio::join!(stream, asking) });
            stop_all.run_until_cancelled(stop.run_until_cancelled(link)).await;
        });
    }

    fn carry_snapshot(&self, order: SnapshotOrder, addresses: Option<Arc<Addresses>>) {
        let under_way = self.snapshots.under_way.begin();
        let (snapshots, dialer, inbox) =
            (self.snapshots.clone(), self.dialer.clone(), self.inbox.clone());
        let stop = self.stop.clone();
        self.runtime.spawn(async move {
            let sending = send_snapshot(&snapshots, &dialer, addresses, order);
            let Some(is_installed) = stop.run_until_cancelled(sending).await else { return };
            if !is_installed {
                tokio::time::sleep(SNAPSHOT_RETRY_DELAY).await;
            }
            // Must not get lost: until it is told, the peer gets nothing else.
            let sent = || PeerInput::SnapshotSent { peer: order.to, is_installed };
            while inbox.message(sent()) == Err(Refused::Full) {
                tokio::time::sleep(RECONNECT_DELAY_MIN).await;
            }
            if is_installed {
                stop.run_until_cancelled(under_way.linger()).await;
            }
        });
    }
}

/// Sends the state on a connection of its own. True if the peer has it now.
async fn send_snapshot(
    snapshots: &SnapshotSource,
    dialer: &Dialer,
    addresses: Option<Arc<Addresses>>,
    order: SnapshotOrder,
) -> bool {
    let peer = format!("{:x}", order.to);
    let Some(url) = addresses.and_then(|addresses| addresses.current()) else { return false };
    tracing::info!(peer, "sending a snapshot");
    let connected = async { dialer.connect(&endpoint(url)?).await };
    let channel = match connected.await {
        Ok(channel) => channel,
        Err(error) => {
            tracing::warn!(peer, ?error, "cannot connect to a peer that needs a snapshot");
            return false;
        }
    };
    let chunks = ReceiverStream::new(snapshots.read(order));
    match PeerClient::new(channel).install_snapshot(chunks).await {
        Ok(_) => {
            tracing::info!(peer, "a snapshot was sent");
            true
        }
        Err(status) => {
            tracing::warn!(peer, %status, "a snapshot was not taken");
            false
        }
    }
}

/// The way to one peer.
#[derive(Debug, Clone)]
struct Link {
    peer: u64,
    greeting: Greeting,
    addresses: Arc<Addresses>,
    dialer: Dialer,
    inbox: Inbox,
    links: Arc<Links>,
    /// The peer said that we are no member any more.
    removed: CancellationToken,
}

/// A connection to a peer, as yet to be made.
fn endpoint(url: String) -> Result<tonic::transport::Endpoint, tonic::transport::Error> {
    Ok(tonic::transport::Endpoint::from_shared(url)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(8 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024))
}

impl Link {
    /// Connects to the peer's current address.
    async fn connect(&self) -> Option<PeerClient<Channel>> {
        let url = self.addresses.current()?;
        let connected = async { self.dialer.connect(&endpoint(url)?).await };
        match connected.await {
            Ok(channel) => {
                Some(PeerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
            }
            Err(error) => {
                tracing::debug!(
                    peer = format!("{:x}", self.peer),
                    ?error,
                    "cannot connect to a peer"
                );
                self.addresses.failed();
                None
            }
        }
    }

    /// Keeps one stream of messages open.
    async fn stream_messages(self, queue: mpsc::Receiver<PeerMessage>) {
        let peer = format!("{:x}", self.peer);
        let queue = Arc::new(Mutex::new(queue));
        let mut delay = RECONNECT_DELAY_MIN;
        loop {
            if let Some(mut client) = self.connect().await {
                tracing::debug!(peer, "connected to a peer");
                let since = Instant::now();
                let mut stream = Request::new(QueueStream(Arc::clone(&queue)));
                self.greeting.write(stream.metadata_mut());
                self.links.opened(self.peer);
                let ended = client.append_entries(stream).await;
                self.links.closed(self.peer);
                let error = ended.err();
                self.heed(error.as_ref());
                let error = error.map(|status| status.to_string());
                if since.elapsed() >= STREAM_GOOD_AFTER {
                    delay = RECONNECT_DELAY_MIN;
                    tracing::warn!(peer, error, "lost the stream to a peer");
                } else {
                    self.addresses.failed();
                    tracing::debug!(peer, error, "a peer ended the stream at once");
                }
            }
            self.inbox.message(PeerInput::Unreachable(self.peer)).ok();
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RECONNECT_DELAY_MAX);
            let mut stale = queue.lock();
            while stale.try_recv().is_ok() {}
        }
    }

    /// Sends vote requests, each by itself.
    async fn ask_for_votes(self, mut queue: mpsc::Receiver<VoteRequest>) {
        let mut connection = None;
        while let Some(request) = queue.recv().await {
            if connection.is_none() {
                connection = self.connect().await;
            }
            let Some(client) = &mut connection else { continue };
            let asked = tokio::time::timeout(VOTE_TIMEOUT, client.request_vote(request)).await;
            if let Ok(Ok(_)) = asked {
                continue;
            }
            connection = None;
            if let Ok(Err(status)) = asked {
                self.heed(Some(&status));
                tracing::debug!(peer = format!("{:x}", self.peer), %status, "no vote");
            }
        }
    }

    /// Does what must be done about a peer's refusal.
    fn heed(&self, refusal: Option<&Status>) {
        if refusal.is_some_and(says_removed) {
            self.removed.cancel();
        }
    }
}

/// The messages of a queue as a stream; the queue outlives the stream.
struct QueueStream(Arc<Mutex<mpsc::Receiver<PeerMessage>>>);

impl Stream for QueueStream {
    type Item = PeerMessage;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<PeerMessage>> {
        self.0.lock().poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_read_as_it_was_written() {
        let own = Endpoint {
            member_id: u64::MAX,
            cluster_id: 7,
            peer_urls: vec!["http://a:1".into(), "http://b:2".into()],
        };
        let greeting = Greeting::new(&own, 3);
        let mut metadata = MetadataMap::new();
        assert_eq!(Greeting::read(&metadata), None);
        greeting.write(&mut metadata);
        assert_eq!(Greeting::read(&metadata), Some(greeting));
    }

    #[test]
    fn addresses_take_turns_when_they_fail() {
        let addresses = Addresses::default();
        addresses.failed();
        assert_eq!(addresses.current(), None);
        addresses.set_told(&["told".into()]);
        assert_eq!(addresses.current().as_deref(), Some("told"));
        addresses.set_of_member(&["first".into(), "second".into()]);
        let tried: Vec<_> = std::iter::repeat_with(|| {
            addresses.failed();
            addresses.current().unwrap()
        })
        .take(3)
        .collect();
        assert_eq!(tried, ["told", "first", "second"]);
    }
}
