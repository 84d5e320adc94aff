//! Changing the membership: who may be added, removed, updated and promoted, and when.
//!
//! What would make no sense at all is refused when it is applied, by every member alike
//! (`rusd_state::members`). Here are etcd's strict checks, which refuse in advance what would put
//! the quorum at risk: they look at who has started and at who is reached right now, so two
//! members may judge differently, and none of it is replicated.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusd_proto::raftpb::{ConfChange, ConfChangeType};
use rusd_raft::Index;
use rusd_state::members::{Member, MemberContext};
use rusd_state::{ApplyError, Response, View};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::inbox::{Inbox, PeerInput};
use super::links::Links;
use super::membership::member_id;
use super::progress::Progress;
use super::proposer::{ProposeError, Proposer};
use super::read_barrier::ProvenReads;

/// How long a member must have been reached to count as healthy (etcd's `HealthInterval`).
const HEALTHY_AFTER: Duration = Duration::from_secs(5);
/// How long a leader waits for its own applier before it judges a learner, as in etcd.
const APPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the membership was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    /// Too few voters would have started.
    #[error("re-configuration failed due to not enough started members")]
    NotEnoughStartedMembers,
    /// Too few voters are reached.
    #[error("unhealthy cluster")]
    Unhealthy,
    /// The learner's log is too short to vote.
    #[error("can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    /// Only the leader knows how far the learner is.
    #[error("not leader")]
    NotLeader,
    /// This member's applier is late.
    #[error("request timed out, waiting for the applied index took too long")]
    ApplyTimeout,
    /// It was applied and refused.
    #[error(transparent)]
    Refused(#[from] ApplyError),
    /// It may or may not have been applied.
    #[error(transparent)]
    Proposal(#[from] ProposeError),
}

/// Changes the membership. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reconfigurer {
    pub(crate) proposer: Proposer,
    pub(crate) inbox: Inbox,
    pub(crate) view: View,
    pub(crate) progress: Arc<Progress>,
    pub(crate) proven_reads: Arc<ProvenReads>,
    pub(crate) links: Arc<Links>,
    /// `--strict-reconfig-check`
    pub(crate) is_strict: bool,
    /// The time, from which the ids of new members are made.
    pub(crate) clock: Clock,
}

/// The time of day, as it goes on from the moment at which this life of the member began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: SystemTime,
    since: Instant,
}

impl Clock {
    /// It is `now`.
    pub(crate) fn at(now: SystemTime) -> Clock {
        Clock { began: now, since: Instant::now() }
    }

    fn seconds(&self) -> u64 {
        let before = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        (before + self.since.elapsed()).as_secs()
    }
}

type Outcome = Result<Vec<Member>, ReconfigureError>;

impl Reconfigurer {
    /// Adds a member with these peer URLs. Gives it, and the members after it.
    pub async fn add(
        &self,
        peer_urls: Vec<String>,
        is_learner: bool,
    ) -> Result<(Member, Vec<Member>), ReconfigureError> {
        let id = member_id(&peer_urls, &self.clock.seconds().to_string());
        if self.is_strict {
            self.check_add(is_learner)?;
        }
        let context =
            MemberContext { id, peer_urls: peer_urls.clone(), is_learner, ..Default::default() };
        let kind = if is_learner {
            ConfChangeType::ConfChangeAddLearnerNode
        } else {
            ConfChangeType::ConfChangeAddNode
        };
        let members = self.change(kind, id, Some(&context)).await?;
        Ok((Member { id, peer_ur_ls: peer_urls, is_learner, ..Member::default() }, members))
    }

    /// Removes a member. Gives the members after it.
    pub async fn remove(&self, id: u64) -> Outcome {
        if self.is_strict {
            self.check_remove(id)?;
        }
        self.change(ConfChangeType::ConfChangeRemoveNode, id, None).await
    }

    /// Gives a member other peer URLs. Gives the members after it.
    pub async fn update(&self, id: u64, peer_urls: Vec<String>) -> Outcome {
        let context = MemberContext { id, peer_urls, ..MemberContext::default() };
        self.change(ConfChangeType::ConfChangeUpdateNode, id, Some(&context)).await
    }

    /// Makes a voter of a learner, if this member leads. Gives the members after it.
    pub async fn promote(&self, id: u64) -> Outcome {
        self.check_learner(id).await?;
        if self.is_strict {
            self.check_promote()?;
        }
        let context = MemberContext::promotion(id);
        self.change(ConfChangeType::ConfChangeAddNode, id, Some(&context)).await
    }

    async fn change(
        &self,
        kind: ConfChangeType,
        id: u64,
        context: Option<&MemberContext>,
    ) -> Outcome {
        let change = ConfChange {
            r#type: Some(kind.into()),
            node_id: Some(id),
            context: context.map(MemberContext::to_json),
            id: None,
        };
        match self.proposer.propose_conf_change(change).await?? {
            Response::Members(members) => Ok(members),
            other => unreachable!("a membership change was answered with {other:?}"),
        }
    }

    fn check_add(&self, is_learner: bool) -> Result<(), ReconfigureError> {
        let voters = self.voters();
        if !is_learner && !may_add(&voters) {
            return Err(ReconfigureError::NotEnoughStartedMembers);
        }
        // The new member counts as one that is not reached. A member alone may always get another.
        if voters.len() != 1 && self.reached(&voters) < quorum(voters.len() + 1) {
            return Err(ReconfigureError::Unhealthy);
        }
        Ok(())
    }

    fn check_remove(&self, id: u64) -> Result<(), ReconfigureError> {
        let voters = self.voters();
        let is_learner =
            self.view.members().iter().any(|member| member.id == id && member.is_learner);
        if is_learner {
            return Ok(());
        }
        if !may_remove(&voters, id) {
            return Err(ReconfigureError::NotEnoughStartedMembers);
        }
        // Who is down is no part of the quorum that there is.
        if id != self.progress.member_id() && self.links.open_since(id).is_none() {
            return Ok(());
        }
        if self.reached(&voters) < 1 + quorum(voters.len().saturating_sub(1)) {
            return Err(ReconfigureError::Unhealthy);
        }
        Ok(())
    }

    fn check_promote(&self) -> Result<(), ReconfigureError> {
        let voters = self.voters();
        let started = 1 + started(&voters);
        if started < quorum(voters.len() + 1) {
            return Err(ReconfigureError::NotEnoughStartedMembers);
        }
        Ok(())
    }

    /// A learner must have nine tenths of the leader's log. That it is no member, or no learner, is
    /// found here or when the change is applied.
    async fn check_learner(&self, id: u64) -> Result<(), ReconfigureError> {
        let (waiter, passed) = oneshot::channel();
        self.proven_reads.proven(self.progress.committed(), vec![waiter]);
        let applied = tokio::time::timeout(APPLY_TIMEOUT, passed).await;
        applied.map_err(|_elapsed| ReconfigureError::ApplyTimeout)?.ok();
        let (asked, matched) = oneshot::channel();
        self.inbox.message(PeerInput::TellMatched(asked)).map_err(ProposeError::of_refusal)?;
        let matched = matched.await.map_err(|_stopped| ProposeError::Stopped)?;
        let matched = matched.ok_or(ReconfigureError::NotLeader)?;
        let of =
            |id: u64| matched.iter().find(|(member, _)| *member == id).map(|(_, index)| *index);
        let own = of(self.progress.member_id()).unwrap_or_default();
        let learner = of(id).ok_or(ApplyError::MemberNotFound)?;
        if is_ready(learner, own) { Ok(()) } else { Err(ReconfigureError::LearnerNotReady) }
    }

    fn voters(&self) -> Vec<Member> {
        let mut voters = self.view.members();
        voters.retain(|member| !member.is_learner);
        voters
    }

    /// How many of these are reached, and have been for a while.
    fn reached(&self, voters: &[Member]) -> usize {
        let Some(since) = Instant::now().checked_sub(HEALTHY_AFTER) else { return 0 };
        self.links.reached_since(voters.iter().map(|member| member.id), since)
    }
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

fn started(voters: &[Member]) -> usize {
    voters.iter().filter(|member| !member.name.is_empty()).count()
}

/// With one voter more, the started ones are still a quorum. A member alone may always get another:
/// that is how a cluster is restored.
fn may_add(voters: &[Member]) -> bool {
    let started = started(voters);
    (started == 1 && voters.len() == 1) || started >= quorum(voters.len() + 1)
}

/// Without this voter, the started ones are still a quorum.
fn may_remove(voters: &[Member], id: u64) -> bool {
    let left: Vec<Member> = voters.iter().filter(|member| member.id != id).cloned().collect();
    started(&left) >= quorum(left.len())
}

fn is_ready(learner: Index, leader: Index) -> bool {
    u128::from(learner.0) * 10 >= u128::from(leader.0) * 9
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Voters with ids from 1, the first `started` of which have started.
    fn voters(count: u64, started: u64) -> Vec<Member> {
        let name = |id| if id <= started { "m".to_owned() } else { String::new() };
        (1..=count).map(|id| Member { id, name: name(id), ..Member::default() }).collect()
    }

    #[test]
    fn a_voter_is_added_when_the_started_ones_stay_a_quorum() {
        for (count, started, expected) in [
            (1, 1, true),
            (1, 0, false),
            (2, 2, true),
            (2, 1, false),
            (3, 3, true),
            (3, 2, false),
            (4, 3, true),
            (0, 0, false),
        ] {
            assert_eq!(may_add(&voters(count, started)), expected, "{started} of {count}");
        }
    }

    #[test]
    fn a_voter_is_removed_when_the_started_ones_stay_a_quorum() {
        for (count, started, removed, expected) in [
            (1, 1, 2, true),
            (1, 0, 1, false),
            (2, 2, 2, true),
            (2, 1, 2, true),
            (2, 1, 1, false),
            (3, 3, 3, true),
            (3, 2, 3, true),
            (3, 2, 1, false),
            (4, 3, 4, true),
            (4, 3, 2, true),
            (5, 2, 5, false),
        ] {
            let may = may_remove(&voters(count, started), removed);
            assert_eq!(may, expected, "{removed}, {started} of {count} started");
        }
    }

    #[test]
    fn a_learner_is_ready_at_nine_tenths() {
        assert!(is_ready(Index(90), Index(100)));
        assert!(!is_ready(Index(89), Index(100)));
        assert!(is_ready(Index(u64::MAX), Index(u64::MAX)));
    }
}
