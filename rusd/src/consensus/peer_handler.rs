//! What peers send: checked, and put where it belongs.

use std::sync::Arc;

use rusd_proto::rusdpeerpb::peer_server::{Peer, PeerServer};
use rusd_proto::rusdpeerpb::{
    Accepted, PeerMessage, SnapshotChunk, StreamEnd, VoteRequest, peer_message::Body,
};
use rusd_state::members::Members;
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::inbox::{Inbox, PeerInput};
use super::peer_link::{Greeting, MESSAGE_BYTES_MAX, removed_status};
use super::snapshot_io::SnapshotSink;
use super::transport::Transport;

/// Lease questions of peers waiting to be answered. Full: dropped, the asker times out.
const LEASE_QUESTIONS_QUEUED_MAX: usize = 1024;

/// The membership as the driver has it; news of every change.
pub type Roster = watch::Receiver<Arc<Members>>;

/// Answers peers.
#[derive(Debug)]
pub struct PeerHandler {
    member_id: u64,
    cluster_id: u64,
    inbox: Inbox,
    transport: Transport,
    roster: Roster,
    snapshots: SnapshotSink,
    lease_messages: mpsc::Sender<PeerMessage>,
}

impl PeerHandler {
    /// A handler, and what it hears about leases.
    pub fn new(
        (member_id, cluster_id): (u64, u64),
        inbox: Inbox,
        transport: Transport,
        roster: Roster,
        snapshots: SnapshotSink,
    ) -> (Self, mpsc::Receiver<PeerMessage>) {
        let (lease_messages, lease_messages_out) = mpsc::channel(LEASE_QUESTIONS_QUEUED_MAX);
        let handler = PeerHandler {
            member_id,
            cluster_id,
            inbox,
            transport,
            roster,
            snapshots,
            lease_messages,
        };
        (handler, lease_messages_out)
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

    /// Refuses who was removed.
    pub fn check_membership(&self, from: u64) -> Result<(), Status> {
        if self.roster.borrow().is_removed(from) { Err(removed_status()) } else { Ok(()) }
    }

    /// Takes note of a peer that opens its stream, unless it was removed.
    pub fn greet(&self, from: u64, peer_urls: &[String]) -> Result<(), Status> {
        self.check_membership(from)?;
        self.transport.told_by_peer(from, peer_urls);
        Ok(())
    }

    /// Takes the state of another member, chunk by chunk.
    pub async fn take_snapshot(
        &self,
        chunks: impl Stream<Item = Result<SnapshotChunk, Status>> + Send,
    ) -> Result<(), Status> {
        let checked = chunks.map(|chunk| {
            let chunk = chunk?;
            self.check_address(chunk.to, chunk.cluster_id)?;
            self.check_membership(chunk.from)?;
            Ok(chunk)
        });
        self.snapshots.take(checked).await
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
        let greeting = Greeting::read(request.metadata())
            .ok_or_else(|| Status::invalid_argument("the stream does not say who speaks"))?;
        self.check_address(greeting.to, greeting.cluster_id)?;
        let mut roster = self.roster.clone();
        self.greet(greeting.from, &greeting.peer_urls)?;
        let mut stream = request.into_inner();
        loop {
            // Both may be dropped half-way: a message is taken whole or stays in the stream.
            let message = tokio::select! {
                biased;
                changed = roster.changed() => {
                    if changed.is_err() {
                        return Err(Status::unavailable("the member is stopping"));
                    }
                    if roster.borrow_and_update().is_removed(greeting.from) {
                        // It may have come back by its greeting while it was being removed.
                        self.transport.remove_peer(greeting.from);
                        return Err(removed_status());
                    }
                    continue;
                }
                message = stream.message() => message?,
            };
            let Some(message) = message else { return Ok(Response::new(StreamEnd {})) };
            if message.from != greeting.from {
                return Err(Status::invalid_argument("a message of another member"));
            }
            self.check_address(message.to, message.cluster_id)?;
            self.route(message);
        }
    }

    async fn request_vote(
        &self,
        request: Request<VoteRequest>,
    ) -> Result<Response<Accepted>, Status> {
        let request = request.into_inner();
        self.check_address(request.to, request.cluster_id)?;
        self.check_membership(request.from)?;
        self.route_vote(request);
        Ok(Response::new(Accepted {}))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<Accepted>, Status> {
        self.take_snapshot(request.into_inner()).await?;
        Ok(Response::new(Accepted {}))
    }
}
