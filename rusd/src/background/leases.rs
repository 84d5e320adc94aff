//! Renewing leases and asking for the time they have left, on any member.
//!
//! The leader answers from its clock, and then proves by a read barrier that it still leads: a new
//! leader would have given the lease its whole time later than this one did, so what the client is
//! told holds. A follower asks the leader over the peer stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use rusd_proto::rusdpeerpb::lease_forward::Question;
use rusd_proto::rusdpeerpb::lease_forward_reply::Answer;
use rusd_proto::rusdpeerpb::{LeaseForward, LeaseForwardReply, PeerMessage, peer_message::Body};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::lease_clock::{LeaseClock, LeaseState};
use super::lease_expiry::checkpoints;
use crate::consensus::progress::Progress;
use crate::consensus::proposer::Proposer;
use crate::consensus::read_barrier::{ReadBarrier, ReadBarrierError};
use crate::consensus::transport::Transport;
use crate::plant::Plant;

/// Questions of peers answered at once. More wait in the transport's queue.
const ANSWERS_AT_ONCE_MAX: usize = 256;

/// The time a lease has left; less than nothing until it is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeToLive {
    /// Seconds left.
    pub ttl: i64,
    /// Seconds granted.
    pub granted_ttl: i64,
}

/// Why a lease question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// There is no such lease.
    #[error("requested lease not found")]
    NotFound,
    /// No leader is known, or it did not answer.
    #[error("no leader")]
    NoLeader,
    /// No answer in time.
    #[error("request timed out")]
    Timeout,
    /// Too many questions.
    #[error("too many requests")]
    TooManyRequests,
    /// This member is stopping.
    #[error("server stopped")]
    Stopped,
}

impl From<ReadBarrierError> for LeaseError {
    fn from(error: ReadBarrierError) -> Self {
        match error {
            ReadBarrierError::TooManyRequests => LeaseError::TooManyRequests,
            ReadBarrierError::Timeout => LeaseError::Timeout,
            ReadBarrierError::Stopped => LeaseError::Stopped,
        }
    }
}

/// Answers lease questions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leases {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<LeaseClock>,
    progress: Arc<Progress>,
    barrier: ReadBarrier,
    transport: Transport,
    /// Takes the notes on renewed leases, if notes are taken.
    notes: Option<Proposer>,
    timeout: Duration,
    plant: Option<Plant>,
    next_request: AtomicU64,
    asked: DashMap<u64, oneshot::Sender<LeaseForwardReply>>,
}

impl Leases {
    /// Answers from `clock` on the leader, and over `transport` elsewhere. If the time left to
    /// leases is noted in the log, `notes` takes what is noted when one is renewed.
    pub fn new(
        clock: Arc<LeaseClock>,
        progress: Arc<Progress>,
        barrier: ReadBarrier,
        transport: Transport,
        notes: Option<Proposer>,
        timeout: Duration,
        plant: Option<Plant>,
    ) -> Self {
        let next_request = AtomicU64::new(1);
        let asked = DashMap::new();
        Leases {
            shared: Arc::new(Shared {
                clock,
                progress,
                barrier,
                transport,
                notes,
                timeout,
                plant,
                next_request,
                asked,
            }),
        }
    }

    /// Gives the lease its whole time again; answers it in seconds.
    pub async fn renew(&self, id: i64) -> Result<i64, LeaseError> {
        Ok(self.ask(id, Question::Renew).await?.ttl)
    }

    /// The time the lease has left.
    pub async fn time_to_live(&self, id: i64) -> Result<TimeToLive, LeaseError> {
        self.ask(id, Question::TimeToLive).await
    }

    async fn ask(&self, id: i64, question: Question) -> Result<TimeToLive, LeaseError> {
        let asking = async {
            loop {
                let mut leader_changes = self.shared.progress.leader_changes();
                let leader = leader_changes.leader();
                let answer = if self.shared.progress.is_leader() {
                    self.answer_as_leader(id, question).await?
                } else if leader != 0 {
                    tokio::select! {
                        biased;
                        answer = self.ask_leader(leader, id, question) => answer?,
                        () = leader_changes.changed() => None,
                    }
                } else {
                    None
                };
                if let Some(answer) = answer {
                    return Ok(answer);
                }
                // Not the leader after all, or none is known: ask again when that changes, or soon.
                let soon = Duration::from_millis(100);
                drop(tokio::time::timeout(soon, leader_changes.changed()).await);
            }
        };
        match tokio::time::timeout(self.shared.timeout, asking).await {
            Ok(answered) => answered,
            Err(_elapsed) if self.shared.progress.leader() == 0 => Err(LeaseError::NoLeader),
            Err(_elapsed) => Err(LeaseError::Timeout),
        }
    }

    /// Ids of all leases, the one that ends first by this member's clock first.
    pub fn ids(&self) -> Vec<i64> {
        self.shared.clock.ids()
    }

    /// `None` if this member does not lead.
    async fn answer_as_leader(
        &self,
        id: i64,
        question: Question,
    ) -> Result<Option<TimeToLive>, LeaseError> {
        let shared = &*self.shared;
        if shared.clock.promoted_term() != shared.progress.term() {
            return Ok(None);
        }
        if question == Question::Renew {
            self.forget_note(id).await;
        }
        let mut waited = false;
        loop {
            let revocation = shared.clock.next_revocation();
            let state = match question {
                Question::Renew if shared.plant == Some(Plant::RenewalForgotten) => {
                    as_if_renewed(shared.clock.state(id))
                }
                Question::Renew => shared.clock.renew(id),
                Question::TimeToLive => shared.clock.state(id),
            };
            let term = shared.progress.term();
            shared.barrier.wait().await?;
            if !shared.progress.is_leader() || shared.progress.term() != term {
                return Ok(None);
            }
            // A revocation of an earlier term may have been applied by the barrier.
            let revoked = shared.clock.state(id) == LeaseState::Unknown;
            match if revoked { LeaseState::Unknown } else { state } {
                LeaseState::Alive { remaining, ttl } => {
                    let (ttl, granted_ttl) = (whole_seconds(remaining), whole_seconds(ttl));
                    return Ok(Some(TimeToLive { ttl, granted_ttl }));
                }
                LeaseState::Expired { overdue, ttl } if question == Question::TimeToLive => {
                    let (ttl, granted_ttl) = (-whole_seconds(overdue), whole_seconds(ttl));
                    return Ok(Some(TimeToLive { ttl, granted_ttl }));
                }
                // Its grant may just have been applied by the barrier: look once more.
                LeaseState::Unknown if !waited => waited = true,
                LeaseState::Unknown => return Err(LeaseError::NotFound),
                // As in etcd, its holder is told that it is gone when it is.
                LeaseState::Expired { .. } => {
                    waited = true;
                    revocation.await;
                }
            }
        }
    }

    /// A renewed lease has its whole time, under the next leader too.
    async fn forget_note(&self, id: i64) {
        let shared = &*self.shared;
        let Some(notes) = shared.notes.as_ref().filter(|_| shared.clock.is_noted(id)) else {
            return;
        };
        let term = shared.progress.term();
        if let Err(error) = notes.propose_as_leader(checkpoints(&[(id, 0)]), term).await {
            tracing::warn!(%error, id, "a note on a renewed lease stays");
        }
    }

    /// `None` if the one asked does not lead.
    async fn ask_leader(
        &self,
        leader: u64,
        id: i64,
        question: Question,
    ) -> Result<Option<TimeToLive>, LeaseError> {
        let shared = &*self.shared;
        let request_id = shared.next_request.fetch_add(1, Ordering::Relaxed);
        let (reply, replied) = oneshot::channel();
        shared.asked.insert(request_id, reply);
        let _asked = Asked { shared, request_id };
        let forward = LeaseForward { request_id, lease_id: id, question: question.into() };
        shared.transport.send(message(leader, Body::LeaseForward(forward)));
        let reply = replied.await.map_err(|_closed| LeaseError::Stopped)?;
        match reply.answer() {
            Answer::Found => {
                Ok(Some(TimeToLive { ttl: reply.ttl, granted_ttl: reply.granted_ttl }))
            }
            Answer::NotFound => Err(LeaseError::NotFound),
            Answer::NotLeader => Ok(None),
        }
    }

    /// Handles what peers ask and answer, until `stop`.
    pub async fn serve_peers(
        self,
        mut messages: mpsc::Receiver<PeerMessage>,
        stop: CancellationToken,
    ) {
        let permits = Arc::new(Semaphore::new(ANSWERS_AT_ONCE_MAX));
        while let Some(Some(message)) = stop.run_until_cancelled(messages.recv()).await {
            match message.body {
                Some(Body::LeaseForward(forward)) => {
                    let permit = Arc::clone(&permits).acquire_owned().await;
                    let leases = self.clone();
                    tokio::spawn(async move {
                        leases.answer_peer(message.from, forward).await;
                        drop(permit);
                    });
                }
                Some(Body::LeaseForwardReply(reply)) => {
                    if let Some((_, waiter)) = self.shared.asked.remove(&reply.request_id) {
                        // The asker may have given up.
                        waiter.send(reply).ok();
                    }
                }
                _ => {}
            }
        }
    }

    async fn answer_peer(&self, asker: u64, forward: LeaseForward) {
        let question = forward.question();
        let answered = if self.shared.progress.is_leader() {
            let answering = self.answer_as_leader(forward.lease_id, question);
            match tokio::time::timeout(self.shared.timeout, answering).await {
                Ok(answered) => answered,
                Err(_elapsed) => Err(LeaseError::Timeout),
            }
        } else {
            Ok(None)
        };
        let (answer, found) = match answered {
            Ok(Some(found)) => (Answer::Found, found),
            Ok(None) => (Answer::NotLeader, TimeToLive { ttl: 0, granted_ttl: 0 }),
            Err(LeaseError::NotFound) => (Answer::NotFound, TimeToLive { ttl: 0, granted_ttl: 0 }),
            // The asker's own time-out tells it.
            Err(_) => return,
        };
        let reply = LeaseForwardReply {
            request_id: forward.request_id,
            answer: answer.into(),
            ttl: found.ttl,
            granted_ttl: found.granted_ttl,
        };
        self.shared.transport.send(message(asker, Body::LeaseForwardReply(reply)));
    }
}

/// What whoever renewed it is told.
fn as_if_renewed(state: LeaseState) -> LeaseState {
    match state {
        LeaseState::Alive { ttl, .. } => LeaseState::Alive { remaining: ttl, ttl },
        other => other,
    }
}

fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// A question under way, forgotten when dropped.
struct Asked<'a> {
    shared: &'a Shared,
    request_id: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.shared.asked.remove(&self.request_id);
    }
}

fn message(to: u64, body: Body) -> PeerMessage {
    PeerMessage { to, body: Some(body), ..PeerMessage::default() }
}
