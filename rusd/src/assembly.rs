//! The parts of a member, wired to each other and at rest.
//!
//! A server gives each its thread; a simulation steps them, all in one. Nothing here opens a file
//! or a socket: the log, the state and the way to the peers are handed in.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, bounded};
use rusd_raft::log::LogStore;
use rusd_raft::{Config as RaftConfig, Index, Node};
use rusd_state::StateMachine;
use rusd_state::storage::{Generations, StorageError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::applier::{Applier, CommittedRun};
use crate::background::auto_compaction::AutoCompactor;
use crate::background::cluster_version::ClusterVersion;
use crate::background::corruption::CorruptionChecks;
use crate::background::lease_clock::LeaseClock;
use crate::background::lease_expiry::LeaseExpiry;
use crate::background::leases::Leases;
use crate::background::space::SpaceAlarm;
use crate::blocking::BlockingWork;
use crate::config::{CheckTimes, Config};
use crate::consensus::driver::{COMMITTED_RUNS_QUEUED_MAX, Driver, Membership, Wiring};
use crate::consensus::inbox::{Inbox, InboxReceiver};
use crate::consensus::log_keeper::{KeptLog, SnapshotsUnderWay};
use crate::consensus::peer_handler::Roster;
use crate::consensus::peer_hash::PeerHashes;
use crate::consensus::peer_http::PeerAsker;
use crate::consensus::progress::Progress;
use crate::consensus::proposer::{IdGenerator, Proposer, ProposerLimits, Waiters};
use crate::consensus::read_barrier::{ProvenReads, ReadBarrier};
use crate::consensus::reconfigure::{Clock, Reconfigurer};
use crate::consensus::transfer::{LeaderTransfer, TransferTimes};
use crate::consensus::transport::Transport;
use crate::engine::{Defragmenter, Engine, EngineMeter};
use crate::hasher::Hasher;
use crate::member::{Identity, Limits, Member};
use crate::metrics::Metrics;
use crate::plant::Plant;
use crate::quota::{Quota, SpaceWatch};
use crate::storage::BackendKind;
use crate::watch::hub::{Dispatcher, Hub};

/// The node's clock: etcd's flags in milliseconds are counted in ticks of this.
pub const TICK: Duration = Duration::from_millis(10);

/// What a member is made of.
#[derive(Debug)]
pub struct Materials<L> {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Its log.
    pub log: L,
    /// How often that is synced.
    pub log_syncs: Arc<AtomicU64>,
    /// The state as the engine has it.
    pub state: StateMachine,
    /// Where that engine is, and others may be made.
    pub generations: Arc<Generations>,
    /// The way to its peers.
    pub transport: Transport,
    /// Both ends of the driver's queues.
    pub inbox: (Inbox, InboxReceiver),
    /// Asks peers outside consensus.
    pub asker: PeerAsker,
    /// Snapshots on their way to peers.
    pub snapshots_under_way: SnapshotsUnderWay,
    /// Cancelled when this member is removed from its cluster.
    pub removed: CancellationToken,
    /// What makes this life of the member unlike any other.
    pub entropy: Entropy,
    /// Where reads are done that may block.
    pub blocking_work: BlockingWork,
}

/// What makes one life of a member unlike any other, and what a simulation varies.
#[derive(Debug, Clone, Copy)]
pub struct Entropy {
    /// When it began. Later than any earlier life of this member.
    pub started: SystemTime,
    /// Fixes the election timeouts. Without it they are drawn at random.
    pub seed: Option<u64>,
    /// Bytes of entries in one message to a peer, if not as many as usual.
    pub message_bytes_max: Option<u64>,
}

impl Entropy {
    /// The clock's time; a restart takes longer than a nanosecond.
    pub fn of_system() -> Self {
        Entropy { started: SystemTime::now(), seed: None, message_bytes_max: None }
    }

    fn nanos(self) -> u64 {
        let since_epoch = self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX / 2)
    }
}

/// Why the parts do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// The log and the engine do not fit.
    #[error(transparent)]
    Raft(#[from] rusd_raft::Fatal),
    /// The engine cannot be measured.
    #[error(transparent)]
    Engine(#[from] StorageError),
}

/// The parts of a member.
pub struct Assembly<L: LogStore> {
    /// Owns the node and its log.
    pub driver: Driver<L>,
    /// From the driver to the applier.
    pub committed: Receiver<CommittedRun>,
    /// Owns the state machine.
    pub applier: Applier,
    /// Hands events to watchers.
    pub dispatcher: Dispatcher,
    /// Owns the engine's writing side.
    pub engine: Engine,
    /// What goes on without being asked for.
    pub background: Background,
    /// What the api layer sees.
    pub member: Member,
    /// What is measured.
    pub metrics: Metrics,
    /// The membership as the driver has it.
    pub roster: Roster,
}

/// What a member does without being asked.
#[derive(Debug)]
pub struct Background {
    /// Revokes leases that have run out.
    pub lease_expiry: LeaseExpiry,
    cluster_version: ClusterVersion,
    auto_compactor: Option<AutoCompactor>,
    space_alarm: SpaceAlarm,
    space: SpaceWatch,
    corruption_checks: CorruptionChecks,
    check_times: CheckTimes,
}

impl Background {
    /// Starts all of it, until `stop`.
    pub fn spawn(self, runtime: &Handle, stop: &CancellationToken) {
        runtime.spawn(self.lease_expiry.run(stop.clone()));
        runtime.spawn(self.cluster_version.run(stop.clone()));
        if let Some(compactor) = self.auto_compactor {
            runtime.spawn(compactor.run(stop.clone()));
        }
        runtime.spawn(self.space_alarm.run(self.space, stop.clone()));
        runtime.spawn(self.corruption_checks.run(self.check_times, stop.clone()));
    }
}

/// What several parts hold.
struct Shared {
    inbox: Inbox,
    transport: Transport,
    progress: Arc<Progress>,
    waiters: Arc<Waiters>,
    proven_reads: Arc<ProvenReads>,
    lease_clock: Arc<LeaseClock>,
    engine: Arc<EngineMeter>,
    quota: Quota,
    space: SpaceWatch,
    clock: Clock,
}

impl<L: LogStore> Assembly<L> {
    /// Wires the parts of a member with these settings.
    pub fn new(
        config: &Config,
        plant: Option<Plant>,
        materials: Materials<L>,
    ) -> Result<Self, AssemblyError> {
        let Materials {
            identity,
            log,
            log_syncs,
            state,
            generations,
            transport,
            inbox: (inbox, inbox_out),
            removed,
            asker,
            snapshots_under_way,
            entropy,
            blocking_work,
        } = materials;
        let (membership, roster) = membership(&state, removed);
        let shared = Shared::new(config, &state, &identity, entropy.started, (transport, inbox))?;
        let (committed, committed_out) = bounded(COMMITTED_RUNS_QUEUED_MAX);
        let (applied, _) = state.applied();
        let raft_config = raft_config(config, identity.member_id, entropy);
        let node = Node::new(raft_config, log, Index(applied), state.conf_state())?;
        let wiring = Wiring {
            inbox: inbox_out,
            transport: shared.transport.clone(),
            committed,
            proven_reads: Arc::clone(&shared.proven_reads),
            waiters: Arc::clone(&shared.waiters),
            progress: Arc::clone(&shared.progress),
            membership,
            kept_log: kept_log(config),
            snapshots_under_way,
            history: state.history(),
            first_read_context: entropy.nanos(),
            read_round_ticks_max: 2 * ticks(config.election_timeout),
        };
        let driver = Driver::new(node, wiring, applied, TICK);
        let (view, history) = (state.view(), state.history());
        let (hub, dispatcher, events) = Hub::new(view.clone(), view.revision() + 1, plant);
        let meter = Arc::clone(&shared.engine);
        let (compactor, to_history) = (state.compactor(), Arc::clone(&history));
        let (engine, engine_bell, defragmenter) =
            Engine::new(to_history, generations, compactor, Arc::clone(&meter), blocking_work);
        let applier = Applier {
            state,
            progress: Arc::clone(&shared.progress),
            waiters: Arc::clone(&shared.waiters),
            proven_reads: Arc::clone(&shared.proven_reads),
            lease_clock: Arc::clone(&shared.lease_clock),
            events,
            engine: engine_bell,
            space: shared.space.clone(),
        };
        let proposer = shared.proposer(config, &identity, entropy);
        let progress = Arc::clone(&shared.progress);
        let metrics = Metrics { history, view, progress, engine: meter, log_syncs };
        let hasher = Hasher::new(metrics.view.clone(), blocking_work);
        let made = (proposer, hub, defragmenter, hasher);
        let mut member = shared.member(config, plant, identity, made, metrics.view.clone());
        member.blocking_work = blocking_work;
        member.asker = asker;
        Ok(Assembly {
            driver: planted(driver, plant),
            committed: committed_out,
            applier,
            dispatcher,
            engine,
            background: shared.background(config, plant, &member),
            member,
            metrics,
            roster,
        })
    }
}

impl Shared {
    fn new(
        config: &Config,
        state: &StateMachine,
        identity: &Identity,
        started: SystemTime,
        (transport, inbox): (Transport, Inbox),
    ) -> Result<Self, StorageError> {
        let (applied, _) = state.applied();
        let progress = Arc::new(Progress::new(identity.member_id, applied));
        let lease_clock = Arc::new(LeaseClock::default());
        for lease in state.view().lease_times() {
            lease_clock.granted(lease.id, lease.ttl, lease.remaining_ttl);
        }
        let engine = Arc::new(EngineMeter::new(state.history())?);
        let quota = Quota::new(config.quota_backend_bytes, Arc::clone(&engine));
        Ok(Shared {
            engine,
            space: SpaceWatch::new(quota.clone()),
            clock: Clock::at(started),
            quota,
            transport,
            inbox,
            waiters: Arc::default(),
            proven_reads: Arc::new(ProvenReads::new(Arc::clone(&progress))),
            progress,
            lease_clock,
        })
    }

    fn proposer(&self, config: &Config, identity: &Identity, entropy: Entropy) -> Proposer {
        let ids = IdGenerator::new(identity.member_id, entropy.started);
        let limits = ProposerLimits {
            request_bytes_max: config.max_request_bytes,
            timeout: request_timeout(config.election_timeout),
            election_timeout: config.election_timeout,
        };
        let (waiters, progress) = (Arc::clone(&self.waiters), Arc::clone(&self.progress));
        let links = self.transport.links();
        Proposer::new(self.inbox.clone(), waiters, progress, links, Arc::new(ids), limits)
    }

    fn member(
        &self,
        config: &Config,
        plant: Option<Plant>,
        identity: Arc<Identity>,
        (proposer, hub, defragmenter, hasher): (Proposer, Hub, Defragmenter, Hasher),
        view: rusd_state::View,
    ) -> Member {
        let timeout = request_timeout(config.election_timeout);
        let read_barrier = ReadBarrier::new(self.inbox.clone(), timeout, plant);
        let leases = Leases::new(
            Arc::clone(&self.lease_clock),
            Arc::clone(&self.progress),
            read_barrier.clone(),
            self.transport.clone(),
            config.features.lease_checkpoint.then(|| proposer.clone()),
            timeout,
            plant,
        );
        let times = TransferTimes { election_timeout: config.election_timeout, timeout };
        let space_alarm = SpaceAlarm {
            view: view.clone(),
            proposer: proposer.clone(),
            member_id: identity.member_id,
        };
        Member {
            identity,
            asker: PeerAsker::unconnected(),
            reconfigurer: Reconfigurer {
                proposer: proposer.clone(),
                inbox: self.inbox.clone(),
                view: view.clone(),
                progress: Arc::clone(&self.progress),
                proven_reads: Arc::clone(&self.proven_reads),
                links: self.transport.links(),
                is_strict: config.membership.is_strict,
                clock: self.clock,
            },
            space_alarm,
            proposer,
            read_barrier,
            view,
            hasher,
            hub,
            leases,
            progress: Arc::clone(&self.progress),
            blocking_work: BlockingWork::OnThreads,
            limits: Limits {
                request_bytes_max: config.max_request_bytes,
                txn_ops_max: config.max_txn_ops,
                leaderless_max: 3 * config.election_timeout,
                request_timeout: timeout,
            },
            engine: Arc::clone(&self.engine),
            defragmenter,
            quota: self.quota.clone(),
            leader_transfer: LeaderTransfer::new(
                self.inbox.clone(),
                Arc::clone(&self.progress),
                times,
            ),
        }
    }

    fn background(self, config: &Config, plant: Option<Plant>, member: &Member) -> Background {
        let auto_compactor = config.auto_compaction.map(|keep| AutoCompactor {
            keep,
            view: member.view.clone(),
            progress: Arc::clone(&self.progress),
            proposer: member.proposer.clone(),
        });
        let cluster_version = ClusterVersion {
            view: member.view.clone(),
            progress: Arc::clone(&self.progress),
            read_barrier: member.read_barrier.clone(),
            asker: member.asker.clone(),
            proposer: member.proposer.clone(),
        };
        let corruption_checks = CorruptionChecks {
            hasher: member.hasher.clone(),
            peers: peer_hashes(config, &member.identity, &member.asker, &member.view),
            progress: Arc::clone(&self.progress),
            read_barrier: member.read_barrier.clone(),
            proposer: member.proposer.clone(),
        };
        let lease_expiry = LeaseExpiry {
            clock: self.lease_clock,
            progress: self.progress,
            proposer: member.proposer.clone(),
            promotion_extra: config.election_timeout,
            is_checkpointing: config.features.lease_checkpoint,
            plant,
        };
        let space_alarm = member.space_alarm.clone();
        let space = self.space;
        Background {
            lease_expiry,
            cluster_version,
            auto_compactor,
            space_alarm,
            space,
            corruption_checks,
            check_times: config.corruption_checks,
        }
    }
}

/// What asks the peers of a member for the hashes of their histories.
pub fn peer_hashes(
    config: &Config,
    identity: &Identity,
    asker: &PeerAsker,
    view: &rusd_state::View,
) -> PeerHashes {
    PeerHashes {
        asker: asker.clone(),
        view: view.clone(),
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
        answer_timeout: request_timeout(config.election_timeout),
    }
}

/// What the driver knows of the membership when it starts, and how others hear of its changes.
fn membership(state: &StateMachine, removed: CancellationToken) -> (Membership, Roster) {
    let members = state.view().membership();
    let (roster, news) = watch::channel(Arc::new(members.clone()));
    (Membership { members, roster, removed }, news)
}

/// What a memory engine has is lost with the process, so that its log is never cut.
fn kept_log(config: &Config) -> KeptLog {
    match config.backend {
        BackendKind::Memory => KeptLog { entries_per_mark: u64::MAX, catch_up_entries: 0 },
        _ => config.log_keeping.kept_log(),
    }
}

fn raft_config(config: &Config, member_id: u64, entropy: Entropy) -> RaftConfig {
    let usual = RaftConfig::new(member_id);
    let count = |time| usize::try_from(ticks(time)).unwrap_or(usize::MAX);
    RaftConfig {
        election_ticks: count(config.election_timeout),
        heartbeat_ticks: count(config.heartbeat_interval).max(1),
        seed: entropy.seed,
        max_size_per_msg_bytes: entropy.message_bytes_max.unwrap_or(usual.max_size_per_msg_bytes),
        ..usual
    }
}

#[cfg(feature = "planted-bugs")]
fn planted<L: LogStore>(mut driver: Driver<L>, plant: Option<Plant>) -> Driver<L> {
    driver.plant(plant);
    driver
}

#[cfg(not(feature = "planted-bugs"))]
fn planted<L: LogStore>(driver: Driver<L>, _plant: Option<Plant>) -> Driver<L> {
    driver
}

/// A duration in ticks of the node's clock.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX)
}

/// etcd's `ReqTimeout`: time for the work, and for an election to be lost and won.
fn request_timeout(election_timeout: Duration) -> Duration {
    Duration::from_secs(5) + 2 * election_timeout
}
