//! Hands requests to the log and waits for this member's applier to answer them.
//!
//! Every request gets an id that is fresh in the cluster and in time, and is proposed exactly
//! once: a lost proposal ends in a time-out, never in a second attempt that could apply it twice.
//! A caller that stops waiting does not take its proposal back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dashmap::DashMap;
use prost::Message as _;
use rusd_proto::etcdserverpb::{InternalRaftRequest, RequestHeader};
use rusd_proto::raftpb::ConfChange;
use rusd_state::{ApplyError, Response};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::inbox::{Inbox, Proposal, Refused};
use super::links::Links;
use super::progress::Progress;

/// How far committing may run ahead of applying before this member refuses new proposals (etcd's
/// `maxGapBetweenApplyAndCommitIndex`).
const APPLY_LAG_MAX: u64 = 5000;

/// What the state machine answered.
pub type Outcome = Result<Response, ApplyError>;

/// Why there is no outcome. Whether the proposal was applied is known only for the refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Refused: the queue is full or the applier lags.
    #[error("too many requests")]
    TooManyRequests,
    /// Refused: the encoded request is larger than the limit.
    #[error("request is too large")]
    TooLarge,
    /// Not proposed at all, since there was no leader all the time.
    #[error("no leader in time")]
    NeverProposed,
    /// No answer in time.
    #[error("request timed out")]
    Timeout,
    /// No answer in time, and this member became the leader meanwhile.
    #[error("request timed out, possibly due to previous leader failure")]
    TimeoutLeaderLost,
    /// No answer in time, and the connection to the leader, or to a quorum of followers, is new.
    #[error("request timed out, possibly due to connection lost")]
    TimeoutConnectionLost,
    /// This member is stopping.
    #[error("server stopped")]
    Stopped,
}

impl ProposeError {
    pub(crate) fn of_refusal(refused: Refused) -> Self {
        match refused {
            Refused::Full => ProposeError::TooManyRequests,
            Refused::Stopped => ProposeError::Stopped,
        }
    }
}

/// Proposes requests and waits for their outcomes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Proposer {
    inbox: Inbox,
    waiters: Arc<Waiters>,
    progress: Arc<Progress>,
    links: Arc<Links>,
    ids: Arc<IdGenerator>,
    limits: ProposerLimits,
}

/// What bounds a proposal.
#[derive(Debug, Clone, Copy)]
pub struct ProposerLimits {
    /// Longest encoded request.
    pub request_bytes_max: usize,
    /// Longest wait for an outcome.
    pub timeout: Duration,
    /// `--election-timeout`.
    pub election_timeout: Duration,
}

impl Proposer {
    /// A proposer whose outcomes arrive through `waiters`.
    pub fn new(
        inbox: Inbox,
        waiters: Arc<Waiters>,
        progress: Arc<Progress>,
        links: Arc<Links>,
        ids: Arc<IdGenerator>,
        limits: ProposerLimits,
    ) -> Self {
        Proposer { inbox, waiters, progress, links, ids, limits }
    }

    /// Proposes `request` and waits until this member has applied it. Fills in the header's id.
    pub async fn propose(&self, request: InternalRaftRequest) -> Result<Outcome, ProposeError> {
        self.propose_within(request, None).await
    }

    /// The same, but only while this member leads in `term`: the request is never forwarded to
    /// another leader, who may know better. If it is dropped, the answer is a time-out.
    pub async fn propose_as_leader(
        &self,
        request: InternalRaftRequest,
        term: u64,
    ) -> Result<Outcome, ProposeError> {
        self.propose_within(request, Some(term)).await
    }

    /// Proposes a membership change and waits until this member has applied or refused it. As in
    /// etcd, only the caller knows how long: a change waits for the one before it.
    pub async fn propose_conf_change(&self, change: ConfChange) -> Result<Outcome, ProposeError> {
        let id = self.ids.next();
        let waiting = self.waiters.register(id);
        let change = ConfChange { id: Some(id), ..change };
        self.inbox.propose_conf_change(change).map_err(ProposeError::of_refusal)?;
        waiting.await.map_err(|_closed| ProposeError::Stopped)
    }

    async fn propose_within(
        &self,
        mut request: InternalRaftRequest,
        leader_term: Option<u64>,
    ) -> Result<Outcome, ProposeError> {
        if self.progress.committed() > self.progress.applied() + APPLY_LAG_MAX {
            return Err(ProposeError::TooManyRequests);
        }
        let id = self.ids.next();
        request.header = Some(RequestHeader { id, ..RequestHeader::default() });
        let payload = Bytes::from(request.encode_to_vec());
        if payload.len() > self.limits.request_bytes_max {
            return Err(ProposeError::TooLarge);
        }
        let started = Instant::now();
        let mut waiting = self.waiters.register(id);
        let proposal = Proposal { id, payload, leader_term };
        self.inbox.propose(proposal).map_err(ProposeError::of_refusal)?;
        match tokio::time::timeout(self.limits.timeout, &mut waiting).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_closed)) => Err(ProposeError::Stopped),
            Err(_elapsed) if waiting.was_proposed() => Err(self.why_late(started)),
            Err(_elapsed) => Err(ProposeError::NeverProposed),
        }
    }

    /// etcd's guess at why what was proposed had no answer in time.
    fn why_late(&self, started: Instant) -> ProposeError {
        let is_in_lost_reign = |elected: Instant| {
            started < elected && elected - started < 2 * self.limits.election_timeout
        };
        let leader = self.progress.leader();
        if self.progress.elected_at().is_some_and(is_in_lost_reign) {
            ProposeError::TimeoutLeaderLost
        } else if leader != 0 && !self.links.reach_since(leader, started) {
            ProposeError::TimeoutConnectionLost
        } else {
            ProposeError::Timeout
        }
    }
}

/// Who waits for which request id.
#[derive(Debug, Default)]
pub struct Waiters {
    by_id: DashMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    reply: oneshot::Sender<Outcome>,
    /// The driver has taken the request up.
    is_proposed: bool,
}

impl Waiters {
    /// Starts to wait for `id`. Dropping the result stops waiting.
    fn register(self: &Arc<Self>, id: u64) -> Waiting {
        let (sender, receiver) = oneshot::channel();
        let earlier = self.by_id.insert(id, Waiter { reply: sender, is_proposed: false });
        assert!(earlier.is_none(), "request ids are fresh");
        Waiting { id, receiver, waiters: Arc::clone(self) }
    }

    /// The request is about to be proposed. False if nobody on this member waits for it any more.
    pub(crate) fn take_up(&self, id: u64) -> bool {
        let waiter = self.by_id.get_mut(&id);
        waiter.map(|mut waiter| waiter.is_proposed = true).is_some()
    }

    /// Tells the one who waits for `id`, if it is this member's.
    pub(crate) fn answer(&self, id: u64, outcome: impl FnOnce() -> Outcome) {
        if let Some((_, waiter)) = self.by_id.remove(&id) {
            // The caller may have gone meanwhile; its request is applied all the same.
            drop(waiter.reply.send(outcome()));
        }
    }

    /// Nobody will answer any more: everyone who waits is told that the member stops.
    pub(crate) fn close(&self) {
        self.by_id.clear();
    }
}

/// A place in [`Waiters`], given up when dropped.
struct Waiting {
    id: u64,
    receiver: oneshot::Receiver<Outcome>,
    waiters: Arc<Waiters>,
}

impl Waiting {
    fn was_proposed(&self) -> bool {
        self.waiters.by_id.get(&self.id).is_none_or(|waiter| waiter.is_proposed)
    }
}

impl Future for Waiting {
    type Output = Result<Outcome, oneshot::error::RecvError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.receiver).poll(context)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.receiver.is_terminated() {
            self.waiters.by_id.remove(&self.id);
        }
    }
}

/// Request ids, as etcd's `idutil` makes them: two bytes of the member, five of the start time in
/// milliseconds and one that counts, so that ids do not repeat across members and restarts.
#[derive(Debug)]
pub struct IdGenerator {
    prefix: u64,
    suffix: AtomicU64,
}

const SUFFIX_BITS: u32 = 48;
const SUFFIX_MASK: u64 = (1 << SUFFIX_BITS) - 1;

impl IdGenerator {
    /// Ids of `member_id`, starting at the time `now`.
    pub fn new(member_id: u64, now: SystemTime) -> Self {
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        IdGenerator {
            prefix: member_id << SUFFIX_BITS,
            suffix: AtomicU64::new((millis << 8) & SUFFIX_MASK),
        }
    }

    /// A fresh id.
    pub fn next(&self) -> u64 {
        let suffix = self.suffix.fetch_add(1, Ordering::Relaxed) + 1;
        self.prefix | (suffix & SUFFIX_MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::inbox::{InboxReceiver, inbox};

    #[test]
    fn ids_carry_the_member_and_do_not_repeat() {
        let at = UNIX_EPOCH + Duration::from_millis(0x12_3456);
        let ids = IdGenerator::new(0xabcd, at);
        assert_eq!(ids.next(), 0xabcd_0000_1234_5601);
        assert_eq!(ids.next(), 0xabcd_0000_1234_5602);
    }

    #[test]
    fn a_dropped_wait_gives_its_place_up() {
        let waiters = Arc::new(Waiters::default());
        let waiting = waiters.register(7);
        assert!(!waiting.was_proposed());
        assert!(waiters.take_up(7));
        assert!(waiting.was_proposed());
        drop(waiting);
        assert!(!waiters.take_up(7));
    }

    fn proposer(progress: &Arc<Progress>, links: &Arc<Links>) -> (Proposer, InboxReceiver) {
        let (inbox, inbox_out) = inbox();
        let limits = ProposerLimits {
            request_bytes_max: 1000,
            timeout: Duration::from_millis(1),
            election_timeout: Duration::from_secs(10),
        };
        let ids = Arc::new(IdGenerator::new(1, UNIX_EPOCH));
        let (progress, links) = (Arc::clone(progress), Arc::clone(links));
        (Proposer::new(inbox, Arc::default(), progress, links, ids, limits), inbox_out)
    }

    fn links<const N: usize>(peers: [u64; N]) -> Arc<Links> {
        let links = Links::new(1);
        for peer in peers {
            links.added(peer);
        }
        Arc::new(links)
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_out_tells_whether_there_was_a_proposal() {
        let progress = Arc::new(Progress::new(1, 0));
        let (proposer, inbox_out) = proposer(&progress, &links([2]));
        let never = proposer.propose(InternalRaftRequest::default()).await;
        assert_eq!(never, Err(ProposeError::NeverProposed));
        let id = inbox_out.proposals.recv().unwrap().id;
        assert!(!proposer.waiters.take_up(id), "nobody waits any more");
        let mut proposing = std::pin::pin!(proposer.propose(InternalRaftRequest::default()));
        let now = tokio::time::timeout(Duration::ZERO, proposing.as_mut());
        assert!(now.await.is_err());
        let id = inbox_out.proposals.recv().unwrap().id;
        assert!(proposer.waiters.take_up(id));
        assert_eq!(proposing.await, Err(ProposeError::Timeout));
    }

    #[test]
    fn a_time_out_has_etcds_reason() {
        let (progress, links) = (Arc::new(Progress::new(1, 0)), links([2, 3]));
        let (proposer, _inbox_out) = proposer(&progress, &links);
        let started = Instant::now();
        assert_eq!(proposer.why_late(started), ProposeError::Timeout, "no leader");
        progress.set_leader(1, 2);
        assert_eq!(proposer.why_late(started), ProposeError::TimeoutConnectionLost);
        links.opened(2);
        assert_eq!(proposer.why_late(started), ProposeError::TimeoutConnectionLost, "new");
        assert_eq!(proposer.why_late(Instant::now()), ProposeError::Timeout);
        progress.set_leader(2, 1);
        assert_eq!(proposer.why_late(started), ProposeError::TimeoutLeaderLost, "elected since");
        assert_eq!(proposer.why_late(Instant::now()), ProposeError::Timeout);
        links.closed(2);
        assert_eq!(proposer.why_late(Instant::now()), ProposeError::TimeoutConnectionLost);
    }
}
