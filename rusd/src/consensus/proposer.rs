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
use rusd_state::{ApplyError, Response};
use tokio::sync::oneshot;

use super::inbox::{Inbox, Proposal, Refused};
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
    /// No answer in time.
    #[error("request timed out")]
    Timeout,
    /// No answer in time, and the leader was lost meanwhile.
    #[error("request timed out, possibly due to previous leader failure")]
    TimeoutLeaderLost,
    /// This member is stopping.
    #[error("server stopped")]
    Stopped,
}

/// Proposes requests and waits for their outcomes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Proposer {
    inbox: Inbox,
    waiters: Arc<Waiters>,
    progress: Arc<Progress>,
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
}

impl Proposer {
    /// A proposer whose outcomes arrive through `waiters`.
    pub fn new(
        inbox: Inbox,
        waiters: Arc<Waiters>,
        progress: Arc<Progress>,
        ids: Arc<IdGenerator>,
        limits: ProposerLimits,
    ) -> Self {
        Proposer { inbox, waiters, progress, ids, limits }
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
        let leader_changes = self.progress.leader_changes();
        let waiting = self.waiters.register(id);
        let proposal = Proposal { id, payload, leader_term };
        self.inbox.propose(proposal).map_err(|refused| match refused {
            Refused::Full => ProposeError::TooManyRequests,
            Refused::Stopped => ProposeError::Stopped,
        })?;
        match tokio::time::timeout(self.limits.timeout, waiting).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_closed)) => Err(ProposeError::Stopped),
            Err(_elapsed) if leader_changes.has_changed().unwrap_or(true) => {
                Err(ProposeError::TimeoutLeaderLost)
            }
            Err(_elapsed) => Err(ProposeError::Timeout),
        }
    }
}

/// Who waits for which request id.
#[derive(Debug, Default)]
pub struct Waiters {
    by_id: DashMap<u64, oneshot::Sender<Outcome>>,
}

impl Waiters {
    /// Starts to wait for `id`. Dropping the result stops waiting.
    fn register(self: &Arc<Self>, id: u64) -> Waiting {
        let (sender, receiver) = oneshot::channel();
        let earlier = self.by_id.insert(id, sender);
        assert!(earlier.is_none(), "request ids are fresh");
        Waiting { id, receiver, waiters: Arc::clone(self) }
    }

    /// Someone on this member still waits for `id`.
    pub(crate) fn is_waiting(&self, id: u64) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Tells the one who waits for `id`, if it is this member's.
    pub(crate) fn answer(&self, id: u64, outcome: impl FnOnce() -> Outcome) {
        if let Some((_, waiter)) = self.by_id.remove(&id) {
            // The caller may have gone meanwhile; its request is applied all the same.
            drop(waiter.send(outcome()));
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
        assert!(waiters.is_waiting(7));
        drop(waiting);
        assert!(!waiters.is_waiting(7));
    }
}
