//! One raft instance, stepped from outside.
//!
//! Order of use: any of `tick`, `step`, `propose`, `read_index`; then `poll`; then
//! `apply_conf_change` for every membership entry of the turn, before the next `poll`.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{self, Message};
use raft::{RawNode, StateRole};
use rusd_proto::raftpb::{ConfChange, ConfState, Entry, EntryType};
use rusd_proto::rusdpeerpb::{PeerMessage, VoteRequest};

use crate::conf_change;
use crate::convert;
use crate::error::{Fatal, ProposeError, StepError};
use crate::log::{LogStore, SnapshotMark};
use crate::read_index::{self, ReadState};
use crate::ready::{Outbox, Turn};
use crate::storage::Store;
use crate::types::{HardState, Index, NodeStatus, Role, Term};

/// Data that one turn hands out as committed, at most twice: a long backlog comes out over many
/// turns, so that heartbeats go on in between.
const COMMITTED_BYTES_PER_READY_MAX: u64 = 4 * 1024 * 1024;

/// Data of entries proposed here and not yet committed. Beyond it proposals are dropped.
const UNCOMMITTED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How a node behaves. Times are in ticks.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node. Never 0.
    pub id: u64,
    /// Silence after which a follower asks for an election; drawn from this to twice this.
    pub election_ticks: usize,
    /// Time between a leader's heartbeats. Less than `election_ticks`.
    pub heartbeat_ticks: usize,
    /// Data of one append message.
    pub max_size_per_msg_bytes: u64,
    /// Append messages on their way to one follower.
    pub inflight_max: usize,
    /// Fixes the election timeouts, for simulation. Without it they are drawn at random.
    pub seed: Option<u64>,
}

impl Config {
    /// The defaults of DESIGN: with a tick of 10 ms, elections after 150-300 ms, heartbeats every 30.
    pub fn new(id: u64) -> Self {
        Self {
            id,
            election_ticks: 15,
            heartbeat_ticks: 3,
            max_size_per_msg_bytes: 1024 * 1024,
            inflight_max: 32,
            seed: None,
        }
    }

    fn to_crate(&self, applied: Index) -> raft::Config {
        raft::Config {
            id: self.id,
            election_tick: self.election_ticks,
            heartbeat_tick: self.heartbeat_ticks,
            applied: applied.0,
            max_size_per_msg: self.max_size_per_msg_bytes,
            max_inflight_msgs: self.inflight_max,
            check_quorum: true,
            pre_vote: true,
            read_only_option: raft::ReadOnlyOption::Safe,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX.max(self.max_size_per_msg_bytes),
            max_committed_size_per_ready: COMMITTED_BYTES_PER_READY_MAX,
            ..raft::Config::default()
        }
    }
}

/// A bug that a harness plants to prove that the checker finds it.
#[cfg(feature = "planted-bugs")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// No bug.
    #[default]
    None,
    /// Messages and committed entries go out before the log is synced; a sync comes only every so
    /// many turns.
    AcknowledgeBeforeSync {
        /// Turns from one sync to the next; 0 is never.
        turns_per_sync: u64,
    },
    /// A leader counts entries of earlier terms as committed when a quorum has them (Raft paper,
    /// figure 8).
    CommitEarlierTerms,
    /// A leader counts what learners have as if they were voters, but asks for no larger quorum.
    CountLearners,
}

/// One raft instance over a log.
pub struct Node<L: LogStore> {
    raw: RawNode<Store<L>>,
    seed: Option<u64>,
    /// Last entry given to the caller.
    /// Invariant: applied (of the crate) <= `handed_out` <= committed.
    handed_out: Index,
    /// The commit index has moved since the hard state was last appended.
    is_commit_unsaved: bool,
    #[cfg(feature = "planted-bugs")]
    planted: Planted,
}

#[cfg(feature = "planted-bugs")]
#[derive(Debug, Default)]
struct Planted {
    plant: Plant,
    turns: u64,
}

impl<L: LogStore> Node<L> {
    /// A node over `log`. `applied` and `conf_state` come from the engine; committed entries after
    /// `applied` come out again.
    pub fn new(
        config: Config,
        log: L,
        applied: Index,
        conf_state: ConfState,
    ) -> Result<Self, Fatal> {
        let mut hard_state = log.hard_state();
        let is_commit_unsaved = hard_state.commit < applied.0;
        hard_state.commit = hard_state.commit.max(applied.0);
        if hard_state.commit > log.last_index().0 {
            return Err(Fatal::LogTooShort {
                last_index: log.last_index().0,
                needed: hard_state.commit,
            });
        }
        if log.first_index() > applied.next() {
            return Err(Fatal::LogBeginsTooLate {
                first_index: log.first_index().0,
                needed: applied.next().0,
            });
        }
        // The crate starts from its first index when nothing is applied.
        let handed_out = applied.max(Index(log.first_index().0 - 1));
        let mark = log.term(applied).map(|term| SnapshotMark {
            index: applied,
            term,
            conf_state: conf_state.clone(),
        });
        let store = Store::new(log, hard_state, &conf_state, mark);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config.to_crate(applied), store, &logger)?;
        let mut node = Self {
            raw,
            seed: config.seed,
            handed_out,
            is_commit_unsaved,
            #[cfg(feature = "planted-bugs")]
            planted: Planted::default(),
        };
        node.fix_election_timeout();
        Ok(node)
    }

    /// Lets one tick pass.
    pub fn tick(&mut self) {
        self.raw.tick();
        self.fix_election_timeout();
    }

    /// Takes a message from the `AppendEntries` stream.
    pub fn step(&mut self, message: PeerMessage) -> Result<(), StepError> {
        self.check_target(message.to, message.cluster_id)?;
        let message = convert::message_to_crate(message)?;
        self.check_content(&message)?;
        let (kind, from) = (message.get_msg_type(), message.from);
        self.step_crate(message)?;
        if kind == eraftpb::MessageType::MsgHeartbeat && from == self.leader_id() {
            self.tell_of_state();
        }
        Ok(())
    }

    /// Takes a vote request.
    pub fn step_vote(&mut self, request: &VoteRequest) -> Result<(), StepError> {
        self.check_target(request.to, request.cluster_id)?;
        if request.term == 0 {
            return Err(StepError::Malformed("term"));
        }
        self.step_crate(convert::vote_to_crate(request))
    }

    /// Proposes an entry. A follower forwards it to the leader; then it may get lost.
    pub fn propose(&mut self, data: Bytes) -> Result<(), ProposeError> {
        self.propose_batch([data])
    }

    /// Proposes entries in order, with one message to each follower. All are taken or none.
    pub fn propose_batch(
        &mut self,
        entries: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), ProposeError> {
        let message = convert::proposal(self.raw.raft.id, EntryType::EntryNormal, entries);
        if message.entries.is_empty() {
            return Ok(());
        }
        self.propose_crate(message)
    }

    /// Proposes a membership change. A leader refuses a second one while one is pending; when a
    /// follower forwards it, a pending one makes it come out as an empty entry.
    pub fn propose_conf_change(&mut self, change: &ConfChange) -> Result<(), ProposeError> {
        if self.is_conf_change_pending() {
            return Err(ProposeError::ConfChangePending);
        }
        let data = Bytes::from(change.encode_to_vec());
        let kind = EntryType::EntryConfChange;
        self.propose_crate(convert::proposal(self.raw.raft.id, kind, [data]))
    }

    /// An earlier membership change is not handed out yet: this leader takes no other one.
    pub fn is_conf_change_pending(&self) -> bool {
        self.is_leader() && self.raw.raft.has_pending_conf()
    }

    /// Asks for the index that a linearizable read must wait for; the answer is in a later turn,
    /// or never comes, and then the caller asks again with a **fresh** context.
    ///
    /// False says at once that no answer will come: nobody leads, or this leader has not committed
    /// an entry of its term yet.
    pub fn read_index(&mut self, context: u64) -> bool {
        let raft = &self.raw.raft;
        let can_answer = if self.is_leader() {
            raft.commit_to_current_term()
        } else {
            raft.leader_id != raft::INVALID_ID
        };
        if can_answer {
            let context = read_index::encode(raft.id, context);
            let message = convert::read_request(Bytes::copy_from_slice(&context));
            self.raw.raft.step(message).expect("the crate refuses no read request");
        }
        can_answer
    }

    /// Starts an election now, if this node may lead.
    pub fn campaign(&mut self) {
        if self.raw.raft.promotable() {
            self.raw.campaign().expect("the crate refuses no campaign");
            self.fix_election_timeout();
        }
    }

    /// Hands leadership to `to`, if this node leads. The crate would have a follower pass it on as
    /// a message of `to`; when leadership has just changed, that would take it back again.
    pub fn transfer_leader(&mut self, to: u64) {
        if self.is_leader() {
            self.raw.transfer_leader(to);
        }
    }

    /// A transfer of leadership is under way: this node leads and takes no proposals.
    pub fn is_transferring(&self) -> bool {
        self.raw.raft.lead_transferee.is_some()
    }

    /// Notes that the state up to `index` is kept elsewhere, durably: a member that needs more than
    /// the log has gets that state or a later one.
    pub fn mark(&mut self, index: Index, conf_state: ConfState) -> Result<(), Fatal> {
        assert!(index <= self.handed_out, "the state goes no further than what was handed out");
        let term = self.log().term(index).expect("what was handed out lately is in the log");
        let mark = SnapshotMark { index, term, conf_state };
        self.log_mut().append_mark(&mark)?;
        self.log_mut().sync()?;
        self.raw.mut_store().mark = Some(mark);
        Ok(())
    }

    /// Forgets the entries up to and with `base`, if they are before the last mark.
    pub fn forget(&mut self, base: Index) -> Result<(), Fatal> {
        let marked = self.raw.store().mark.as_ref().map(|mark| mark.index);
        if marked.is_some_and(|marked| base <= marked) {
            self.log_mut().cut(base)?;
        }
        Ok(())
    }

    /// Tells what became of a snapshot for `peer`.
    pub fn report_snapshot(&mut self, peer: u64, is_installed: bool) {
        let status =
            if is_installed { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.raw.report_snapshot(peer, status);
    }

    /// True if a state up to `mark`, sent by the leader of `term`, is newer than what this node has,
    /// and the log does not lead there by itself. A log that does must not be thrown away: others
    /// may count on entries in it that come after.
    pub fn may_install(&self, mark: &SnapshotMark, term: Term) -> bool {
        let raft = &self.raw.raft;
        let is_of_leader = term.0 > raft.term || (term.0 == raft.term && !self.is_leader());
        is_of_leader
            && mark.term <= term
            && mark.index > self.committed()
            && self.log().term(mark.index) != Some(mark.term)
    }

    /// Ends this node: its log goes on after `mark`, up to which the state is durable elsewhere.
    /// Start a node over the log then, with that state.
    ///
    /// # Panics
    /// When [`Node::may_install`] says no.
    pub fn install(mut self, mark: &SnapshotMark, term: Term) -> Result<L, Fatal> {
        assert!(self.may_install(mark, term), "a snapshot is installed over newer entries");
        let before = self.log().hard_state();
        let vote = if term.0 == before.term { before.vote } else { 0 };
        let term = term.0.max(before.term);
        let state = HardState { term, vote, commit: mark.index.0 };
        rusd_failpoint::hit("raftBeforeApplySnap");
        self.log_mut().restart_after(mark, state)?;
        self.log_mut().sync()?;
        rusd_failpoint::hit("raftAfterApplySnap");
        Ok(self.raw.raft.r.raft_log.store.log)
    }

    /// Tells that a message to `peer` was lost, so that appends to it start over.
    pub fn report_unreachable(&mut self, peer: u64) {
        self.raw.report_unreachable(peer);
    }

    /// One turn: persists what is new with one write and one sync, and gives out what follows.
    ///
    /// Messages go to `outbox` in two groups: those that promise nothing about this disk before
    /// the sync starts, the others after it is done.
    pub fn poll(&mut self, outbox: &mut dyn Outbox) -> Result<Turn, Fatal> {
        self.raw.advance_apply_to(self.handed_out.0);
        #[cfg(feature = "planted-bugs")]
        {
            self.commit_earlier_terms();
            self.count_learners();
        }
        self.campaign_alone();
        self.take_failure()?;
        if !self.raw.has_ready() {
            self.save_commit()?;
            return Ok(Turn::default());
        }
        let mut ready = self.raw.ready();
        self.take_failure()?;
        let messages = self.persist(&mut ready, outbox)?;
        if !messages.is_empty() {
            rusd_failpoint::hit("raftBeforeFollowerSend");
        }
        send_all(messages, self.cluster_id(), outbox);

        let mut turn = Turn {
            soft_state_changed: ready.ss().is_some(),
            reads: self.own_reads(ready.take_read_states()),
            committed: Vec::new(),
        };
        self.hand_out(ready.take_committed_entries(), &mut turn);
        rusd_failpoint::hit("raftBeforeAdvance");
        let mut light = self.raw.advance_append(ready);
        self.take_failure()?;
        self.is_commit_unsaved |= light.commit_index().is_some();
        send_all(light.take_messages(), self.cluster_id(), outbox);
        self.hand_out(light.take_committed_entries(), &mut turn);
        self.fix_election_timeout();
        Ok(turn)
    }

    /// Applies a committed membership change and gives the membership that follows, for the engine.
    ///
    /// A leader that has no vote any more steps down: the crate leaves that to us, and would panic
    /// when such a leader commits another entry. That the change is committed was told to the others
    /// with the turn that handed it out.
    pub fn apply_conf_change(&mut self, change: &ConfChange) -> Result<ConfState, Fatal> {
        if let Some(change) = conf_change::to_crate(change) {
            self.raw.apply_conf_change(&change)?;
        }
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Leader && !raft.promotable() {
            raft.become_follower(raft.term, raft::INVALID_ID);
        }
        Ok(self.conf_state())
    }

    /// The membership that consensus works with.
    pub fn conf_state(&self) -> ConfState {
        conf_change::state_from_crate(&self.raw.raft.prs().conf().to_conf_state())
    }

    /// Entries of `low..high` from the log, for an applier that lags; at least one.
    pub fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>, Fatal> {
        self.log().entries(low, high, bytes_max)
    }

    /// What this node knows now.
    pub fn status(&self) -> NodeStatus {
        let raft = &self.raw.raft;
        let conf_state = self.conf_state();
        NodeStatus {
            id: raft.id,
            term: raft.term,
            leader_id: raft.leader_id,
            role: role(raft.state),
            committed: raft.raft_log.committed,
            handed_out: self.handed_out.0,
            last_index: raft.raft_log.last_index(),
            is_leader_ready: self.is_leader() && raft.commit_to_current_term(),
            voters: conf_state.voters,
            learners: conf_state.learners,
        }
    }

    /// How far each member's log is known to reach, ascending by id. Only a leader knows.
    pub fn matched(&self) -> Option<Vec<(u64, Index)>> {
        self.is_leader().then(|| {
            let progress = self.raw.raft.prs().iter();
            let mut matched: Vec<_> =
                progress.map(|(id, progress)| (*id, Index(progress.matched))).collect();
            matched.sort_unstable();
            matched
        })
    }

    /// The current term.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// The leader of the current term, 0 when none is known.
    pub fn leader_id(&self) -> u64 {
        self.raw.raft.leader_id
    }

    /// Last entry known to be on a quorum's disks.
    pub fn committed(&self) -> Index {
        Index(self.raw.raft.raft_log.committed)
    }

    /// Last entry of the log.
    pub fn last_index(&self) -> Index {
        Index(self.raw.raft.raft_log.last_index())
    }

    /// True while this node leads.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// The log.
    pub fn log(&self) -> &L {
        &self.raw.store().log
    }

    /// The log, for upkeep such as a last sync.
    pub fn log_mut(&mut self) -> &mut L {
        &mut self.raw.mut_store().log
    }

    /// Plants a bug, or takes it out.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, plant: Plant) {
        self.planted = Planted { plant, turns: 0 };
    }

    /// Writes what the turn must remember, hands out what need not wait for the disk, and syncs.
    /// Returns the messages that had to wait.
    fn persist(
        &mut self,
        ready: &mut raft::Ready,
        outbox: &mut dyn Outbox,
    ) -> Result<Vec<Message>, Fatal> {
        let entries: Vec<_> =
            ready.take_entries().into_iter().map(convert::entry_from_crate).collect();
        let before = self.log().hard_state();
        let hard_state = match ready.hs() {
            Some(state) => Some(hard_state_from_crate(state)),
            None if self.is_commit_unsaved => Some(self.hard_state()),
            None => None,
        };
        rusd_failpoint::hit("raftBeforeSave");
        if !entries.is_empty() || hard_state.is_some() {
            self.log_mut().append(&entries, hard_state)?;
            self.is_commit_unsaved = false;
        }

        let mut early = ready.take_messages();
        let mut late = ready.take_persisted_messages();
        // The crate lets every message of a leader go early, because the votes that made it leader
        // were synced. A node that elected itself alone has no such sync behind it.
        let after = self.log().hard_state();
        if (before.term, before.vote) != (after.term, after.vote) {
            late.splice(0..0, early.drain(..));
        }
        if !early.is_empty() {
            rusd_failpoint::hit("raftBeforeLeaderSend");
        }
        send_all(early, self.cluster_id(), outbox);
        if ready.must_sync() {
            self.sync_turn()?;
        }
        rusd_failpoint::hit("raftAfterSave");
        Ok(late)
    }

    #[cfg(not(feature = "planted-bugs"))]
    fn sync_turn(&mut self) -> Result<(), Fatal> {
        self.log_mut().sync()
    }

    #[cfg(feature = "planted-bugs")]
    fn commit_earlier_terms(&mut self) {
        if self.planted.plant == Plant::CommitEarlierTerms && self.is_leader() {
            let (index, _) = self.raw.raft.mut_prs().maximal_committed_index();
            self.raw.raft.raft_log.commit_to(index);
        }
    }

    #[cfg(feature = "planted-bugs")]
    fn count_learners(&mut self) {
        if self.planted.plant != Plant::CountLearners {
            return;
        }
        let Some(matched) = self.matched() else { return };
        let mut matched: Vec<Index> = matched.into_iter().map(|(_, index)| index).collect();
        matched.sort_unstable_by(|one, other| other.cmp(one));
        let Some(index) = matched.get(self.conf_state().voters.len() / 2).copied() else { return };
        let raft = &mut self.raw.raft;
        if raft.raft_log.term(index.0) == Ok(raft.term) {
            raft.raft_log.commit_to(index.0);
        }
    }

    #[cfg(feature = "planted-bugs")]
    fn sync_turn(&mut self) -> Result<(), Fatal> {
        if let Plant::AcknowledgeBeforeSync { turns_per_sync } = self.planted.plant {
            self.planted.turns += 1;
            if turns_per_sync == 0 || !self.planted.turns.is_multiple_of(turns_per_sync) {
                return Ok(());
            }
        }
        self.log_mut().sync()
    }

    /// Saves a commit index that moved while nothing else was to be written. Needs no sync: it
    /// only makes the next start hand out more at once.
    fn save_commit(&mut self) -> Result<(), Fatal> {
        if std::mem::take(&mut self.is_commit_unsaved) {
            let hard_state = self.hard_state();
            self.log_mut().append(&[], Some(hard_state))?;
        }
        Ok(())
    }

    fn hand_out(&mut self, entries: Vec<eraftpb::Entry>, turn: &mut Turn) {
        let Some(last) = entries.last() else { return };
        assert_eq!(entries[0].index, self.handed_out.0 + 1, "entries are handed out without gaps");
        self.handed_out = Index(last.index);
        turn.committed.extend(entries.into_iter().map(convert::entry_from_crate));
    }

    fn own_reads(&self, states: Vec<raft::ReadState>) -> Vec<ReadState> {
        let own = |state: raft::ReadState| {
            let context = read_index::decode(self.raw.raft.id, &state.request_ctx)?;
            Some(ReadState { context, index: state.index })
        };
        states.into_iter().filter_map(own).collect()
    }

    /// A node that has a state and no entry tells the leader how far the state goes. A leader that has
    /// sent it may not have heard what became of it, and would send the whole state again.
    fn tell_of_state(&mut self) {
        let committed = self.committed();
        if committed == Index(0) || self.last_index() >= self.log().first_index() {
            return;
        }
        let raft = &mut self.raw.raft;
        let mut message = Message::default();
        message.set_msg_type(eraftpb::MessageType::MsgAppendResponse);
        (message.from, message.to, message.term) = (raft.id, raft.leader_id, raft.term);
        (message.index, message.commit) = (committed.0, committed.0);
        raft.msgs.push(message);
    }

    /// A node that is the only voter need not wait for a timeout, but until what it was sent last is on
    /// its disk: it leads at once, and what a leader has counts as committed.
    fn campaign_alone(&mut self) {
        let raft = &self.raw.raft;
        let is_alone = raft.prs().is_singleton() && raft.promotable();
        let is_persisted = raft.raft_log.persisted == raft.raft_log.last_index();
        if is_alone && is_persisted && raft.state == StateRole::Follower {
            self.campaign();
        }
    }

    /// With a seed, replaces the crate's random draw. The crate may draw inside any call and does
    /// not tell, so the value is a function of what makes it draw: a new term or role.
    fn fix_election_timeout(&mut self) {
        let Some(seed) = self.seed else { return };
        let raft = &mut self.raw.raft;
        let role = match raft.state {
            StateRole::Follower => 0,
            StateRole::PreCandidate => 1,
            StateRole::Candidate => 2,
            StateRole::Leader => 3,
        };
        let mut state = seed;
        for input in [raft.id, raft.term, role] {
            state = mix(state ^ input);
        }
        let span = u64::try_from(raft.election_timeout()).expect("ticks fit u64");
        let extra = usize::try_from(state % span).expect("less than a usize");
        raft.set_randomized_election_timeout(raft.election_timeout() + extra);
    }

    fn check_target(&self, to: u64, cluster_id: u64) -> Result<(), StepError> {
        if to != self.raw.raft.id || cluster_id != self.cluster_id() {
            return Err(StepError::WrongTarget { to, cluster_id });
        }
        Ok(())
    }

    /// Refuses what would make the crate panic.
    fn check_content(&self, message: &Message) -> Result<(), StepError> {
        use eraftpb::MessageType::{MsgAppend, MsgHeartbeat, MsgPropose, MsgReadIndex};
        let kind = message.get_msg_type();
        match kind {
            MsgPropose if message.entries.is_empty() => Err(StepError::Malformed("entries")),
            // These act on this node's own term.
            MsgPropose | MsgReadIndex => Ok(()),
            _ if message.term == 0 => Err(StepError::Malformed("term")),
            MsgAppend if message.term >= self.raw.raft.term => self.check_append(message),
            MsgHeartbeat if message.term >= self.raw.raft.term => {
                let last_index = self.raw.raft.raft_log.last_index();
                if message.commit > last_index {
                    return Err(contradiction(
                        message.from,
                        format!(
                            "committed up to {}, this log ends at {last_index}",
                            message.commit
                        ),
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_append(&self, message: &Message) -> Result<(), StepError> {
        let log = &self.raw.raft.raft_log;
        for (expected, entry) in (message.index + 1..).zip(&message.entries) {
            if entry.index != expected || entry.term > message.term {
                return Err(StepError::Malformed("entries"));
            }
            let is_behind = message.index < log.committed;
            if !is_behind
                && entry.index <= log.committed
                && !log.match_term(entry.index, entry.term)
            {
                return Err(contradiction(
                    message.from,
                    format!("another entry {} than the one committed here", entry.index),
                ));
            }
        }
        Ok(())
    }

    fn step_crate(&mut self, message: Message) -> Result<(), StepError> {
        let from = message.from;
        let stepped = self.raw.step(message);
        self.fix_election_timeout();
        match stepped {
            Ok(()) => Ok(()),
            Err(raft::Error::StepPeerNotFound) => Err(StepError::UnknownPeer(from)),
            Err(raft::Error::ProposalDropped) => Err(StepError::Dropped),
            Err(error) => Err(StepError::Fatal(error.into())),
        }
    }

    fn propose_crate(&mut self, message: Message) -> Result<(), ProposeError> {
        if self.raw.raft.leader_id == raft::INVALID_ID {
            return Err(ProposeError::NoLeader);
        }
        // The crate has one refusal for proposals; it concerns load or a leadership transfer.
        self.raw.raft.step(message).or(Err(ProposeError::Dropped))
    }

    fn take_failure(&mut self) -> Result<(), Fatal> {
        self.raw.mut_store().take_failure()
    }

    fn hard_state(&self) -> HardState {
        hard_state_from_crate(&self.raw.raft.hard_state())
    }

    fn cluster_id(&self) -> u64 {
        self.log().metadata().cluster_id
    }
}

fn contradiction(from: u64, reason: String) -> StepError {
    StepError::Fatal(Fatal::Contradiction { from, reason })
}

fn send_all(messages: Vec<Message>, cluster_id: u64, outbox: &mut dyn Outbox) {
    for message in messages {
        if let Some(message) = convert::outgoing(message, cluster_id) {
            outbox.send(message);
        }
    }
}

fn role(role: StateRole) -> Role {
    match role {
        StateRole::Follower => Role::Follower,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    }
}

fn hard_state_from_crate(state: &eraftpb::HardState) -> HardState {
    HardState { term: state.term, vote: state.vote, commit: state.commit }
}

/// The finalizer of splitmix64: spreads every input bit over all output bits.
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
