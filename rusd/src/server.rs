//! Wires the member together and takes it apart again.
//!
//! ```text
//! thread          owns                          fed by                 feeds
//! api-N           client connections            clients                driver (inbox), views
//! peer            peer connections, background  peers                  driver (inbox)
//! driver          raft node, log                inbox, clock           transport, applier
//! applier         state machine                 driver                 waiters, hub, engine
//! watch-hub       subscribers                   applier                watch streams
//! engine          engine's writing side         applier (buffer)       disk
//! wal-segments    the next log segment          driver                 disk
//! ```
//!
//! Stopping goes against the wiring: clients first, then peers and driver, then the applier, and
//! the engine flushes last. A thread that fails takes the member down with it: a member that is
//! half alive would answer what it can no longer know.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, bounded};
use rusd_proto::etcdserverpb::InternalRaftRequest;
use rusd_proto::membershippb::{Attributes, ClusterMemberAttrSetRequest};
use rusd_raft::log::{LogStore, Wal};
use rusd_raft::{Config as RaftConfig, Index, Metadata, Node};
use rusd_state::{StateMachine, View};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::applier::{Applier, CommittedRun};
use crate::background::auto_compaction::AutoCompactor;
use crate::background::lease_clock::LeaseClock;
use crate::background::lease_expiry::LeaseExpiry;
use crate::background::leases::Leases;
use crate::background::space::SpaceAlarm;
use crate::config::Config;
use crate::consensus::driver::{COMMITTED_RUNS_QUEUED_MAX, Driver, Wiring};
use crate::consensus::inbox::{Inbox, InboxReceiver, inbox};
use crate::consensus::membership::InitialCluster;
use crate::consensus::progress::Progress;
use crate::consensus::proposer::{IdGenerator, Proposer, ProposerLimits, Waiters};
use crate::consensus::read_barrier::{ProvenReads, ReadBarrier};
use crate::consensus::transfer::{LeaderTransfer, TransferTimes};
use crate::consensus::transport::{PeerHandler, Transport};
use crate::engine::{Engine, EngineMeter};
use crate::member::{Identity, Limits, Member};
use crate::metrics::Metrics;
use crate::net;
use crate::plant::Plant;
use crate::quota::{Quota, SpaceWatch};
use crate::storage::{OpenError, Storage, StorageOptions};
use crate::watch::hub::Hub;

/// The node's clock: etcd's flags in milliseconds are counted in ticks of this.
pub const TICK: Duration = Duration::from_millis(10);
/// How long a stop waits for open requests.
const GRACE: Duration = Duration::from_secs(2);
/// Pause between attempts to publish this member's attributes.
const PUBLISH_RETRY: Duration = Duration::from_millis(100);

/// Why a member could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The flags do not fit together.
    #[error("{0}")]
    Config(String),
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log and the engine do not fit together.
    #[error(transparent)]
    Raft(#[from] rusd_raft::Fatal),
    /// A listener or an api thread could not be made.
    #[error(transparent)]
    Net(#[from] net::NetError),
    /// A runtime or thread could not be made.
    #[error("cannot {what}: {source}")]
    Start {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A peer URL is no URL.
    #[error("bad peer URL: {0}")]
    PeerUrl(#[from] tonic::transport::Error),
    /// It was stopped before there was a leader.
    #[error("stopped before the cluster had a leader")]
    StoppedEarly,
    /// A thread failed; its own log line says why.
    #[error("the member had to stop")]
    Failed,
}

/// A running member.
#[derive(Debug)]
pub struct Server {
    stop_api: CancellationToken,
    stop_core: CancellationToken,
    failed: Arc<AtomicBool>,
    api: net::ApiThreads,
    core: Vec<JoinHandle<()>>,
    peer_runtime: Runtime,
    _storage_lock: rusd_raft::log::DataDirLock,
}

impl Server {
    /// Starts a member. Returns once it serves clients.
    /// `stop` ends the wait for a leader; stop the server afterwards all the same.
    pub fn start(config: &Config, stop: &CancellationToken) -> Result<Self, ServerError> {
        let plant = Plant::from_env();
        let cluster = InitialCluster::new(
            config.initial_cluster.iter().map(|(name, url)| (name.clone(), url.to_string())),
            &config.initial_cluster_token,
        );
        let member_id = cluster.id_of(&config.name).ok_or_else(|| {
            ServerError::Config(format!(
                "couldn't find local name {:?} in the initial cluster configuration",
                config.name
            ))
        })?;
        let cluster_id = cluster.cluster_id();
        let peer_listener = net::bind_peers(&config.listen_peer_urls)?;
        let client_listeners = net::bind_clients(&config.listen_client_urls)?;
        let storage = Storage::open(
            storage_options(config, plant),
            &cluster,
            Metadata { node_id: member_id, cluster_id },
        )?;
        let identity = Identity { cluster_id, member_id, name: config.name.clone() };
        let starting = Starting { config, cluster, identity: Arc::new(identity), plant };
        starting.start(storage, peer_listener, client_listeners, stop)
    }

    /// Cancelled when the member stops by itself, because a part of it failed.
    pub fn stopped(&self) -> CancellationToken {
        self.stop_core.clone()
    }

    /// Stops the member: open requests get a moment, and everything applied becomes durable.
    pub fn stop(self) -> Result<(), ServerError> {
        self.stop_api.cancel();
        self.api.join(GRACE);
        self.stop_core.cancel();
        self.peer_runtime.shutdown_timeout(GRACE);
        for thread in self.core {
            if thread.join().is_err() {
                self.failed.store(true, Ordering::Release);
            }
        }
        if self.failed.load(Ordering::Acquire) { Err(ServerError::Failed) } else { Ok(()) }
    }
}

fn storage_options(config: &Config, plant: Option<Plant>) -> StorageOptions {
    let state = rusd_state::Options {
        resident_bytes_max: config.backend_cache_bytes,
        lease_ttl_seconds_min: config.lease_ttl_seconds_min(),
        #[cfg(feature = "planted-bugs")]
        planted: rusd_state::options::PlantedBugs { split_txn: plant == Some(Plant::SplitTxn) },
    };
    #[cfg(feature = "planted-bugs")]
    if let Some(Plant::State(bug)) = plant {
        rusd_state::planted::plant(bug);
    }
    #[cfg(not(feature = "planted-bugs"))]
    let _: Option<Plant> = plant;
    StorageOptions {
        data_dir: config.data_dir.clone(),
        backend: config.backend,
        cluster_state: config.initial_cluster_state,
        state,
    }
}

/// What is known before the first thread starts.
struct Starting<'a> {
    config: &'a Config,
    cluster: InitialCluster,
    identity: Arc<Identity>,
    plant: Option<Plant>,
}

/// Starts threads that take the member down when they fail.
struct Threads {
    stop: CancellationToken,
    failed: Arc<AtomicBool>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    fn spawn<E: std::fmt::Display>(
        &mut self,
        name: &str,
        run: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> Result<(), ServerError> {
        let (stop, failed) = (self.stop.clone(), Arc::clone(&self.failed));
        let thread = name.to_owned();
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Also on a panic: nobody may go on with a part missing.
                let _stop = stop.drop_guard();
                if let Err(error) = run() {
                    failed.store(true, Ordering::Release);
                    tracing::error!(thread, %error, "this member can no longer be trusted");
                }
            })
            .map_err(|source| ServerError::Start {
                what: format!("start thread {name}"),
                source,
            })?;
        self.handles.push(handle);
        Ok(())
    }
}

/// What the threads share.
struct Shared {
    inbox: Inbox,
    transport: Transport,
    progress: Arc<Progress>,
    waiters: Arc<Waiters>,
    proven_reads: Arc<ProvenReads>,
    lease_clock: Arc<LeaseClock>,
    view: View,
    engine: Arc<EngineMeter>,
    quota: Quota,
    space: SpaceWatch,
}

impl Starting<'_> {
    fn start(
        self,
        storage: Storage,
        peer_listeners: Vec<TcpListener>,
        client_listeners: net::ClientListeners,
        stop_waiting: &CancellationToken,
    ) -> Result<Server, ServerError> {
        let Storage { lock, wal, state } = storage;
        let mut threads = Threads {
            stop: CancellationToken::new(),
            failed: Arc::new(AtomicBool::new(false)),
            handles: Vec::new(),
        };
        let stop = threads.stop.clone();
        let peer_runtime = peer_runtime()?;
        let (inbox, inbox_out) = inbox();
        let shared = self.shared(&state, inbox, &peer_runtime, &stop)?;
        let committed = self.start_driver(&mut threads, &shared, inbox_out, wal, &state)?;
        let (hub, metrics) = self.start_applier(&mut threads, &shared, state, committed)?;
        let member = self.member(&shared, hub);
        self.start_background(&peer_runtime, &shared, &member, &stop);
        self.serve_peers(&peer_runtime, peer_listeners, &shared.inbox, &member.leases, &stop)?;
        self.publish(&peer_runtime, &member.proposer, [stop_waiting, &stop])?;

        let stop_api = CancellationToken::new();
        let api = api::routes(&member)
            .with_progress_notify_interval(self.config.watch_progress_notify_interval);
        let streams_max = self.config.max_concurrent_streams;
        let serving = net::Serving { stop: stop_api.clone(), streams_max };
        let api = net::serve_clients(client_listeners, &api, metrics, &serving)?;
        tracing::info!("ready to serve client requests");
        Ok(Server {
            stop_api,
            stop_core: stop,
            failed: threads.failed,
            api,
            core: threads.handles,
            peer_runtime,
            _storage_lock: lock,
        })
    }

    fn shared(
        &self,
        state: &StateMachine,
        inbox: Inbox,
        runtime: &Runtime,
        stop: &CancellationToken,
    ) -> Result<Shared, ServerError> {
        let (applied, _) = state.applied();
        let progress = Arc::new(Progress::new(self.identity.member_id, applied));
        let lease_clock = Arc::new(LeaseClock::default());
        let view = state.view();
        for lease in view.lease_times() {
            lease_clock.granted(lease.id, lease.ttl, lease.remaining_ttl);
        }
        let engine = Arc::new(EngineMeter::new(state.history()).map_err(OpenError::Engine)?);
        let quota = Quota::new(self.config.quota_backend_bytes, Arc::clone(&engine));
        Ok(Shared {
            engine,
            space: SpaceWatch::new(quota.clone()),
            quota,
            transport: self.start_transport(runtime, &inbox, stop)?,
            inbox,
            waiters: Arc::default(),
            proven_reads: Arc::new(ProvenReads::new(Arc::clone(&progress))),
            progress,
            lease_clock,
            view,
        })
    }

    fn start_driver(
        &self,
        threads: &mut Threads,
        shared: &Shared,
        inbox: InboxReceiver,
        wal: Wal,
        state: &StateMachine,
    ) -> Result<Receiver<CommittedRun>, ServerError> {
        let (committed, committed_out) = bounded(COMMITTED_RUNS_QUEUED_MAX);
        let preparer = wal.preparer();
        threads.spawn("wal-segments", move || preparer.run())?;
        let (applied, _) = state.applied();
        let conf_state = state.conf_state();
        let node = Node::new(self.raft_config(), noted(wal), Index(applied), conf_state)?;
        let wiring = Wiring {
            inbox,
            transport: shared.transport.clone(),
            committed,
            proven_reads: Arc::clone(&shared.proven_reads),
            waiters: Arc::clone(&shared.waiters),
            progress: Arc::clone(&shared.progress),
            first_read_context: nanos_since_epoch(),
            read_round_ticks_max: 2 * ticks(self.config.election_timeout),
        };
        let driver = self.planted(Driver::new(node, wiring, applied, TICK));
        let stop = threads.stop.clone();
        threads.spawn("driver", move || driver.run(&stop))?;
        Ok(committed_out)
    }

    fn start_applier(
        &self,
        threads: &mut Threads,
        shared: &Shared,
        state: StateMachine,
        committed: Receiver<CommittedRun>,
    ) -> Result<(Hub, Metrics), ServerError> {
        let (view, history) = (shared.view.clone(), state.history());
        let (hub, dispatcher, events) = Hub::new(view.clone(), view.revision() + 1, self.plant);
        threads.spawn("watch-hub", move || {
            dispatcher.run();
            Ok::<_, Infallible>(())
        })?;
        let meter = Arc::clone(&shared.engine);
        let (engine, engine_bell) =
            Engine::new(Arc::clone(&history), state.compactor(), Arc::clone(&meter));
        threads.spawn("engine", move || engine.run())?;
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
        threads.spawn("applier", move || applier.run(&committed))?;
        let progress = Arc::clone(&shared.progress);
        Ok((hub, Metrics { history, view, progress, engine: meter }))
    }

    fn member(&self, shared: &Shared, hub: Hub) -> Member {
        let timeout = request_timeout(self.config.election_timeout);
        let proposer = self.proposer(shared);
        let read_barrier = ReadBarrier::new(shared.inbox.clone(), timeout, self.plant);
        let leases = Leases::new(
            Arc::clone(&shared.lease_clock),
            Arc::clone(&shared.progress),
            read_barrier.clone(),
            shared.transport.clone(),
            self.config.features.lease_checkpoint.then(|| proposer.clone()),
            timeout,
        );
        Member {
            identity: Arc::clone(&self.identity),
            space_alarm: SpaceAlarm {
                view: shared.view.clone(),
                proposer: proposer.clone(),
                member_id: self.identity.member_id,
            },
            proposer,
            read_barrier,
            view: shared.view.clone(),
            hub,
            leases,
            progress: Arc::clone(&shared.progress),
            limits: Limits {
                request_bytes_max: self.config.max_request_bytes,
                txn_ops_max: self.config.max_txn_ops,
                leaderless_max: 3 * self.config.election_timeout,
            },
            engine: Arc::clone(&shared.engine),
            quota: shared.quota.clone(),
            leader_transfer: self.leader_transfer(shared),
        }
    }

    fn start_background(
        &self,
        runtime: &Runtime,
        shared: &Shared,
        member: &Member,
        stop: &CancellationToken,
    ) {
        let expiry = LeaseExpiry {
            clock: Arc::clone(&shared.lease_clock),
            progress: Arc::clone(&shared.progress),
            proposer: member.proposer.clone(),
            promotion_extra: self.config.election_timeout,
            is_checkpointing: self.config.features.lease_checkpoint,
        };
        runtime.spawn(expiry.run(stop.clone()));
        if let Some(keep) = self.config.auto_compaction {
            let compactor = AutoCompactor {
                keep,
                view: member.view.clone(),
                progress: Arc::clone(&shared.progress),
                proposer: member.proposer.clone(),
            };
            runtime.spawn(compactor.run(stop.clone()));
        }
        runtime.spawn(member.space_alarm.clone().run(shared.space.clone(), stop.clone()));
    }
}

/// With planted bugs, whether there is one or not, the log tells how far it is synced.
#[cfg(feature = "planted-bugs")]
fn noted(wal: Wal) -> impl LogStore + Send + 'static {
    crate::plant::NotedLog::new(wal)
}

#[cfg(not(feature = "planted-bugs"))]
fn noted(wal: Wal) -> Wal {
    wal
}

impl Starting<'_> {
    fn raft_config(&self) -> RaftConfig {
        let count = |time| usize::try_from(ticks(time)).unwrap_or(usize::MAX);
        RaftConfig {
            election_ticks: count(self.config.election_timeout),
            heartbeat_ticks: count(self.config.heartbeat_interval).max(1),
            ..RaftConfig::new(self.identity.member_id)
        }
    }

    #[cfg(feature = "planted-bugs")]
    fn planted<L: LogStore>(&self, mut driver: Driver<L>) -> Driver<L> {
        if self.plant == Some(Plant::AckBeforeSync) {
            driver.acknowledge_before_sync();
        }
        driver
    }

    #[cfg(not(feature = "planted-bugs"))]
    #[expect(clippy::unused_self, reason = "the same signature as with planted bugs")]
    fn planted<L: LogStore>(&self, driver: Driver<L>) -> Driver<L> {
        driver
    }

    fn start_transport(
        &self,
        runtime: &Runtime,
        inbox: &Inbox,
        stop: &CancellationToken,
    ) -> Result<Transport, ServerError> {
        let Identity { member_id, cluster_id, .. } = *self.identity;
        let peers = self
            .cluster
            .members()
            .filter(|(id, _)| *id != member_id)
            .map(|(id, member)| (id, member.peer_urls[0].clone()));
        let handle = runtime.handle();
        Ok(Transport::start(handle, (member_id, cluster_id), peers, inbox, stop)?)
    }

    fn proposer(&self, shared: &Shared) -> Proposer {
        let ids = IdGenerator::new(self.identity.member_id, SystemTime::now());
        let limits = ProposerLimits {
            request_bytes_max: self.config.max_request_bytes,
            timeout: request_timeout(self.config.election_timeout),
            election_timeout: self.config.election_timeout,
        };
        let (waiters, progress) = (Arc::clone(&shared.waiters), Arc::clone(&shared.progress));
        let links = shared.transport.links();
        Proposer::new(shared.inbox.clone(), waiters, progress, links, Arc::new(ids), limits)
    }

    fn leader_transfer(&self, shared: &Shared) -> LeaderTransfer {
        let election_timeout = self.config.election_timeout;
        let times = TransferTimes { election_timeout, timeout: request_timeout(election_timeout) };
        LeaderTransfer::new(shared.inbox.clone(), Arc::clone(&shared.progress), times)
    }

    fn serve_peers(
        &self,
        runtime: &Runtime,
        listeners: Vec<TcpListener>,
        inbox: &Inbox,
        leases: &Leases,
        stop: &CancellationToken,
    ) -> Result<(), ServerError> {
        let Identity { member_id, cluster_id, .. } = *self.identity;
        let (service, lease_messages) =
            PeerHandler::service((member_id, cluster_id), inbox.clone());
        runtime.spawn(leases.clone().serve_peers(lease_messages, stop.clone()));
        net::serve_peers(runtime.handle(), listeners, service, stop)
            .map_err(|source| ServerError::Start { what: "serve peers".into(), source })
    }

    /// Puts this member's name and client URLs into the membership, through the log, as etcd does
    /// before it calls itself ready. Waits for a leader as long as it takes.
    fn publish(
        &self,
        runtime: &Runtime,
        proposer: &Proposer,
        stops: [&CancellationToken; 2],
    ) -> Result<(), ServerError> {
        let attributes = Attributes {
            name: self.identity.name.clone(),
            client_urls: self.config.advertise_client_urls.clone(),
        };
        let request = InternalRaftRequest {
            cluster_member_attr_set: Some(ClusterMemberAttrSetRequest {
                member_id: self.identity.member_id,
                member_attributes: Some(attributes),
            }),
            ..InternalRaftRequest::default()
        };
        let publishing = async {
            while let Err(error) = proposer.propose(request.clone()).await {
                tracing::warn!(%error, "failed to publish local member to cluster through raft");
                tokio::time::sleep(PUBLISH_RETRY).await;
            }
        };
        let [by_us, by_failure] = stops;
        runtime.block_on(async {
            tokio::select! {
                () = publishing => Ok(()),
                () = by_us.cancelled() => Err(ServerError::StoppedEarly),
                () = by_failure.cancelled() => Err(ServerError::Failed),
            }
        })
    }
}

/// A duration in ticks of the node's clock.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX)
}

/// The clock's time; a restart takes longer than a nanosecond.
fn nanos_since_epoch() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// etcd's `ReqTimeout`: time for the work, and for an election to be lost and won.
fn request_timeout(election_timeout: Duration) -> Duration {
    Duration::from_secs(5) + 2 * election_timeout
}

fn peer_runtime() -> Result<Runtime, ServerError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("peer")
        .enable_all()
        .build()
        .map_err(|source| ServerError::Start { what: "start the peer runtime".into(), source })
}
