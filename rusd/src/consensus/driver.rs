//! The driver thread: alone owns the raft node and its log.
//!
//! A turn: take what waits (messages, proposals, reads), step the node, let it persist what it has
//! to with one write and one sync, send, hand committed entries on. Never waits for the applier:
//! when the applier's queue is full, only the *range* of what it still has to get is remembered,
//! and the entries are read back from the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use prost::Message as _;
use rusd_proto::raftpb::{ConfChange, ConfState, Entry, EntryType};
use rusd_raft::log::LogStore;
use rusd_raft::{Fatal, Index, Node, Outbox, Outgoing, StepError, Turn};
use rusd_state::members::Members;
use rusd_state::storage::History;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::inbox::{InboxReceiver, PeerInput, Proposal, ReadWaiter, drain};
use super::log_keeper::{KeptLog, LogKeeper, SnapshotsUnderWay};
use super::progress::Progress;
use super::proposer::Waiters;
use super::read_barrier::{ProvenReads, Rounds};
use super::snapshot_io::ReceivedSnapshot;
use super::transport::Transport;
use crate::applier::CommittedRun;
#[cfg(feature = "planted-bugs")]
use crate::plant::Plant;

/// Messages and proposals stepped in one turn, so that a turn ends and its sync is shared.
const INPUTS_PER_TURN_MAX: usize = 1024;
/// Reads that wait here for a leader. Beyond it they wait in their queue, which refuses when full.
const READS_WAITING_MAX: usize = 4096;
/// Bytes proposed at once, beyond the first payload: a follower sends them as one message.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of entries handed to a lagging applier at once.
const BACKLOG_BYTES_PER_RUN: u64 = 4 * 1024 * 1024;
/// Runs of committed entries waiting for the applier. Full: the range is remembered instead.
pub const COMMITTED_RUNS_QUEUED_MAX: usize = 64;

/// Why the driver had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The node or its log failed.
    #[error(transparent)]
    Raft(#[from] Fatal),
    /// The member that a committed membership change carries cannot be read.
    #[error(transparent)]
    Membership(#[from] rusd_state::Fatal),
    /// A committed membership change cannot be read.
    #[error("entry {index} holds no membership change: {source}")]
    MalformedConfChange {
        /// Index of the entry.
        index: u64,
        /// What is wrong with it.
        #[source]
        source: prost::DecodeError,
    },
}

/// Owns the node.
pub struct Driver<L: LogStore> {
    node: Node<L>,
    inbox: InboxReceiver,
    transport: Transport,
    committed: Committed,
    reads: Reads,
    waiters: Arc<Waiters>,
    progress: Arc<Progress>,
    membership: Membership,
    keeper: LogKeeper,
    history: Arc<History>,
    /// Waits to be installed, which ends this driver.
    received: Option<ReceivedSnapshot>,
    clock: Clock,
}

/// Everything the driver is connected to.
pub struct Wiring {
    /// What waits for the driver.
    pub inbox: InboxReceiver,
    /// The way to the peers.
    pub transport: Transport,
    /// The way to the applier.
    pub committed: Sender<CommittedRun>,
    /// Reads on their way to the applier.
    pub(crate) proven_reads: Arc<ProvenReads>,
    /// Who still waits for a proposal.
    pub waiters: Arc<Waiters>,
    /// Where the driver announces how far it is.
    pub progress: Arc<Progress>,
    /// The membership as far as it is applied, and who is told how it goes on.
    pub membership: Membership,
    /// How much of the log is kept.
    pub kept_log: KeptLog,
    /// Nothing of the log is forgotten while there are some.
    pub snapshots_under_way: SnapshotsUnderWay,
    /// How far the engine is.
    pub history: Arc<History>,
    /// Greater than any context of a read in an earlier life of this member.
    pub first_read_context: u64,
    /// Ticks after which a round of reads that nobody answered is given up for a new one.
    pub read_round_ticks_max: u64,
}

struct Reads {
    rounds: Rounds,
    /// Reads whose round could not start, since nobody could answer it.
    waiting: Vec<ReadWaiter>,
    proven: Arc<ProvenReads>,
}

impl Reads {
    /// Another round may start, and what waits for one does not pile up.
    fn has_room(&self) -> bool {
        self.rounds.has_room() && self.waiting.len() < READS_WAITING_MAX
    }
}

struct Clock {
    interval: Duration,
    ticks: u64,
    next_at: Instant,
}

impl<L: LogStore> Driver<L> {
    /// A driver of `node`, ticking every `tick_interval`. `applied` is what the applier has.
    pub fn new(node: Node<L>, wiring: Wiring, applied: u64, tick_interval: Duration) -> Self {
        let keeper = LogKeeper::new(
            wiring.kept_log,
            wiring.snapshots_under_way,
            Index(applied),
            node.conf_state(),
        );
        let driver = Driver {
            node,
            keeper,
            history: wiring.history,
            received: None,
            inbox: wiring.inbox,
            transport: wiring.transport,
            committed: Committed::new(wiring.committed, applied),
            reads: Reads {
                rounds: Rounds::new(wiring.first_read_context, wiring.read_round_ticks_max),
                waiting: Vec::new(),
                proven: wiring.proven_reads,
            },
            waiters: wiring.waiters,
            progress: wiring.progress,
            membership: wiring.membership,
            clock: Clock {
                interval: tick_interval,
                ticks: 0,
                next_at: Instant::now() + tick_interval,
            },
        };
        driver.announce_membership();
        driver
    }

    /// Something waits for a turn.
    pub fn has_work(&self) -> bool {
        !self.inbox.bell.is_empty()
    }

    /// The node, to look at.
    pub fn node(&self) -> &Node<L> {
        &self.node
    }

    /// Plants a bug of consensus, if it is one.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, plant: Option<Plant>) {
        match plant {
            Some(Plant::AckBeforeSync) => {
                self.node.plant(rusd_raft::Plant::AcknowledgeBeforeSync { turns_per_sync: 1000 });
            }
            Some(Plant::CommitEarlierTerms) => {
                self.node.plant(rusd_raft::Plant::CommitEarlierTerms);
            }
            Some(Plant::LearnerCounted) => self.node.plant(rusd_raft::Plant::CountLearners),
            Some(Plant::ReadContextReused) => self.reads.rounds.reuse_contexts(),
            _ => {}
        }
    }

    /// Drives until `stop`, which is looked at once a tick, until the log fails, or until a state is
    /// installed: then the member must start again.
    ///
    /// `installs` is set before a state is installed, and so before anyone can see this driver end.
    pub fn run(
        mut self,
        stop: &CancellationToken,
        installs: &AtomicBool,
    ) -> Result<(), DriverError> {
        while !stop.is_cancelled() {
            let wait = self.clock.next_at.saturating_duration_since(Instant::now());
            // Rung, or time for a tick: either way there is a turn to take.
            self.inbox.bell.recv_timeout(wait).ok();
            self.tick_if_due(Instant::now());
            self.poll_once()?;
            if self.received.is_some() {
                installs.store(true, Ordering::Release);
                self.install()?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// A state waits to be installed: take no more turns.
    pub fn has_received(&self) -> bool {
        self.received.is_some()
    }

    /// Lets the log go on after the state that waits. Gives the log.
    pub fn install(self) -> Result<L, DriverError> {
        let ReceivedSnapshot { mark, term, reply, turn } =
            self.received.expect("asked for when there is one");
        // Once the log begins after this state, it must be there at the next start.
        turn.keep();
        tracing::info!(index = mark.index.0, term = mark.term.0, "installing a snapshot");
        let log = self.node.install(&mark, term)?;
        // The leader may have gone.
        reply.send(true).ok();
        Ok(log)
    }

    /// Ticks when it is time. After a pause (a stopped process) it ticks once, not for every tick
    /// missed: the peers' messages that wait should be heard before an election starts.
    fn tick_if_due(&mut self, now: Instant) {
        if now < self.clock.next_at {
            return;
        }
        self.clock.next_at = now.max(self.clock.next_at + self.clock.interval);
        self.tick();
    }

    /// Lets one tick pass.
    pub fn tick(&mut self) {
        self.clock.ticks += 1;
        self.node.tick();
        let mut waiters = std::mem::take(&mut self.reads.waiting);
        waiters.extend(self.reads.rounds.give_up(self.clock.ticks));
        self.start_round(waiters);
    }

    /// One turn.
    pub fn poll_once(&mut self) -> Result<(), DriverError> {
        // What rang it is seen in this turn.
        self.inbox.bell.try_recv().ok();
        self.step_messages()?;
        if self.received.is_some() {
            return Ok(());
        }
        self.step_proposals();
        self.step_conf_changes();
        self.step_reads();
        let mut outbox = TransportOutbox(&self.transport);
        let turn = self.node.poll(&mut outbox)?;
        self.announce();
        self.hand_on(turn)?;
        self.keep_log()
    }

    /// Marks and forgets what is due.
    fn keep_log(&mut self) -> Result<(), DriverError> {
        let durable = Index(self.history.durable().applied_index);
        if let Some((index, conf_state)) = self.keeper.due(durable) {
            self.node.mark(index, conf_state)?;
            if let Some(base) = self.keeper.forgettable() {
                self.node.forget(base)?;
            }
            tracing::info!(index = index.0, "marked the log");
        }
        Ok(())
    }

    fn step_messages(&mut self) -> Result<(), Fatal> {
        for input in drain(&self.inbox.messages, INPUTS_PER_TURN_MAX) {
            if self.received.is_some() {
                // The rest is for another node.
                return Ok(());
            }
            let stepped = match input {
                PeerInput::Message(message) => self.node.step(message),
                PeerInput::Vote(request) => self.node.step_vote(&request),
                PeerInput::Unreachable(peer) => {
                    self.node.report_unreachable(peer);
                    Ok(())
                }
                PeerInput::SnapshotSent { peer, is_installed } => {
                    self.node.report_snapshot(peer, is_installed);
                    Ok(())
                }
                PeerInput::Snapshot(received) => {
                    if self.node.may_install(&received.mark, received.term) {
                        self.received = Some(received);
                    } else {
                        received.reply.send(false).ok();
                    }
                    Ok(())
                }
                PeerInput::TellMatched(reply) => {
                    // Who asked may have gone.
                    drop(reply.send(self.node.matched()));
                    Ok(())
                }
                PeerInput::TransferLeader(peer) => {
                    self.node.transfer_leader(peer);
                    Ok(())
                }
            };
            match stepped {
                Ok(()) => {}
                Err(StepError::Fatal(fatal)) => return Err(fatal),
                Err(error) => tracing::debug!(%error, "a peer's message was not taken"),
            }
        }
        Ok(())
    }

    /// Without a leader proposals wait in their queue, as they do in etcd, until one is elected or
    /// their callers give up. So they do while leadership is handed over.
    fn step_proposals(&mut self) {
        let has_leader = self.node.leader_id() != 0 && !self.node.is_transferring();
        if self.inbox.proposals.is_empty() || !has_leader {
            return;
        }
        let leads_in = self.node.is_leader().then(|| self.node.term());
        let waiters = &self.waiters;
        let wanted = |proposal: &Proposal| {
            waiters.take_up(proposal.id)
                && proposal.leader_term.is_none_or(|term| leads_in == Some(term))
        };
        let wanted = drain(&self.inbox.proposals, INPUTS_PER_TURN_MAX).filter(wanted);
        let mut payloads = wanted.map(|proposal| proposal.payload).peekable();
        while let Some(first) = payloads.next() {
            let mut bytes = first.len();
            let mut batch = vec![first];
            while let Some(payload) = payloads.next_if(|next| bytes + next.len() <= BATCH_BYTES_MAX)
            {
                bytes += payload.len();
                batch.push(payload);
            }
            if let Err(error) = self.node.propose_batch(batch) {
                // Dropped: the callers time out, which is all that can be said of their fate.
                tracing::debug!(%error, "proposals were dropped");
            }
        }
    }

    /// A membership change waits, in its queue, for a leader and for the end of the one before it.
    fn step_conf_changes(&mut self) {
        while self.node.leader_id() != 0
            && !self.node.is_transferring()
            && !self.node.is_conf_change_pending()
        {
            let Ok(change) = self.inbox.conf_changes.try_recv() else { return };
            if self.waiters.take_up(change.id())
                && let Err(error) = self.node.propose_conf_change(&change)
            {
                tracing::warn!(%error, "a membership change was dropped");
            }
        }
    }

    fn step_reads(&mut self) {
        if self.inbox.reads.is_empty() || !self.reads.has_room() {
            return;
        }
        let waiters: Vec<_> = self.inbox.reads.try_iter().collect();
        self.start_round(waiters);
    }

    fn start_round(&mut self, mut waiters: Vec<ReadWaiter>) {
        waiters.retain(|waiter| !waiter.is_closed());
        if waiters.is_empty() {
            return;
        }
        let context = self.reads.rounds.start(self.clock.ticks, waiters);
        if !self.node.read_index(context) {
            // Nobody leads, or the leader has not committed in its term: again at the next tick.
            self.reads.waiting.extend(self.reads.rounds.finish(context));
        }
    }

    fn announce(&self) {
        self.progress.set_log(self.node.committed().0, self.node.last_index().0);
        let (term, leader) = (self.node.term(), self.node.leader_id());
        let before = self.progress.leader();
        if leader != before {
            tracing::info!(
                term,
                leader = format!("{leader:x}"),
                before = format!("{before:x}"),
                "the leader changed"
            );
        }
        self.progress.set_leader(term, leader);
    }

    fn hand_on(&mut self, turn: Turn) -> Result<(), DriverError> {
        for read in turn.reads {
            let waiters = self.reads.rounds.finish(read.context);
            self.reads.proven.proven(read.index, waiters);
        }
        let mut conf_states = Vec::new();
        for entry in &turn.committed {
            if entry.r#type() == EntryType::EntryConfChange {
                conf_states.push((entry.index(), self.change_membership(entry)?));
            }
        }
        self.committed.push(turn.committed, conf_states);
        self.committed.send(&self.node)?;
        Ok(())
    }

    /// Does a committed membership change, unless it is none: the state machine will refuse the
    /// same. Gives the voters and learners after it.
    fn change_membership(&mut self, entry: &Entry) -> Result<ConfState, DriverError> {
        let index = entry.index();
        let change = ConfChange::decode(entry.data.clone().unwrap_or_default())
            .map_err(|source| DriverError::MalformedConfChange { index, source })?;
        match self.membership.members.change(&change, index)? {
            Ok(member) => {
                let conf_state = self.node.apply_conf_change(&change)?;
                self.keeper.changed(index, conf_state.clone());
                self.connect_as_changed(member);
                self.announce_membership();
                tracing::info!(
                    kind = change.r#type().as_str_name(),
                    member = format!("{member:x}"),
                    voters = conf_state.voters.len(),
                    learners = conf_state.learners.len(),
                    "the membership changed"
                );
                Ok(conf_state)
            }
            Err(refusal) => {
                tracing::error!(%refusal, index, "validation on configuration change failed");
                Ok(self.node.conf_state())
            }
        }
    }

    /// The connections follow the membership.
    fn connect_as_changed(&self, member: u64) {
        let is_own = member == self.progress.member_id();
        match self.membership.members.get(member) {
            Some(changed) if !is_own => self.transport.set_peer(member, &changed.peer_ur_ls),
            Some(_) => {}
            None if is_own => self.membership.removed.cancel(),
            None => self.transport.remove_peer(member),
        }
    }

    fn announce_membership(&self) {
        let members = &self.membership.members;
        let own = members.get(self.progress.member_id());
        self.progress.set_learner(own.is_some_and(|own| own.is_learner));
        self.membership.roster.send_replace(Arc::new(members.clone()));
    }
}

/// The membership as far as it is committed, and who is told of its changes.
#[derive(Debug)]
pub struct Membership {
    /// The members.
    pub members: Members,
    /// Told of every change.
    pub roster: watch::Sender<Arc<Members>>,
    /// Cancelled when this member is removed.
    pub removed: CancellationToken,
}

/// Hands messages to the transport in the order in which the node gives them.
struct TransportOutbox<'a>(&'a Transport);

impl Outbox for TransportOutbox<'_> {
    fn send(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Message(message) => self.0.send(message),
            Outgoing::Vote(request) => self.0.ask_for_vote(request),
            Outgoing::Snapshot(order) => self.0.send_snapshot(order),
        }
    }
}

/// Committed entries that the applier has not got yet.
struct Committed {
    applier: Sender<CommittedRun>,
    /// Fresh from the node, not yet sent. Empty while `sent < fresh_from - 1`.
    fresh: Vec<Entry>,
    /// Last entry that the applier was sent.
    sent: Index,
    /// Last entry that is committed.
    until: Index,
    /// The voters and learners after each membership change that is not yet sent.
    conf_states: BTreeMap<u64, ConfState>,
}

impl Committed {
    fn new(applier: Sender<CommittedRun>, applied: u64) -> Self {
        let applied = Index(applied);
        Committed {
            applier,
            fresh: Vec::new(),
            sent: applied,
            until: applied,
            conf_states: BTreeMap::new(),
        }
    }

    /// Adds what the node gave as committed.
    fn push(&mut self, entries: Vec<Entry>, conf_states: Vec<(u64, ConfState)>) {
        let Some(last) = entries.last().map(Entry::index) else { return };
        let first = entries[0].index();
        assert_eq!(first, self.until.0 + 1, "committed entries come without gaps");
        self.conf_states.extend(conf_states);
        if self.sent == self.until {
            self.fresh = entries;
        }
        self.until = Index(last);
    }

    /// Sends what the applier's queue takes.
    fn send<L: LogStore>(&mut self, node: &Node<L>) -> Result<(), Fatal> {
        while self.sent < self.until {
            let entries = if self.fresh.is_empty() {
                let (low, high) = (Index(self.sent.0 + 1), Index(self.until.0 + 1));
                node.entries(low, high, BACKLOG_BYTES_PER_RUN)?
            } else {
                std::mem::take(&mut self.fresh)
            };
            let last = entries.last().map(Entry::index).expect("committed entries are in the log");
            let later = self.conf_states.split_off(&(last + 1));
            let due = std::mem::replace(&mut self.conf_states, later);
            let run = CommittedRun { entries, conf_states: due.into_iter().collect() };
            match self.applier.try_send(run) {
                Ok(()) => self.sent = Index(last),
                Err(TrySendError::Full(run)) => {
                    self.conf_states.extend(run.conf_states);
                    break;
                }
                // The applier has stopped; its own error says why.
                Err(TrySendError::Disconnected(_)) => break,
            }
        }
        Ok(())
    }
}
