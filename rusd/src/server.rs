//! Gives the parts of a member their threads, and takes them apart again.
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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rusd_raft::Metadata;
use rusd_raft::log::{LogStore, Wal};
use rusd_state::members::Member as ClusterMember;
use rusd_state::storage::Generations;
use rusd_state::{StateMachine, View};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::assembly::{self, Assembly, AssemblyError, Background, Entropy, Materials};
use crate::background::corruption::{self, CorruptAtStart};
use crate::background::publisher::Publisher;
use crate::blocking::BlockingWork;
use crate::bootstrap::{BootstrapError, Start};
use crate::config::{Config, Url};
use crate::consensus::inbox::{Inbox, inbox};
use crate::consensus::join::JoinError;
use crate::consensus::log_keeper::SnapshotsUnderWay;
use crate::consensus::peer_handler::{PeerHandler, Roster};
use crate::consensus::peer_http::PeerAsker;
use crate::consensus::peer_link::GrpcCarrier;
use crate::consensus::proposer::Proposer;
use crate::consensus::snapshot_io::{SnapshotSink, SnapshotSource};
use crate::consensus::transfer::HandOver;
use crate::consensus::transport::{Endpoint, Transport};
use crate::hasher::Hasher;
use crate::member::{Identity, Member};
use crate::metrics::Metrics;
use crate::net;
use crate::plant::Plant;
use crate::storage::{BackendKind, OpenError, Origin, Storage, StorageOptions};
use crate::tls::{Acceptor, Dialer, NameCheck, Tls, TlsError, TlsOptions};

/// How long a stop waits for open requests.
const GRACE: Duration = Duration::from_secs(2);

/// How long a member that was removed goes on, as in etcd: others may learn from it that it was.
const REMOVED_DELAY: Duration = Duration::from_secs(1);

/// Why a member could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It is not clear who this member is.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The parts do not fit together.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// Its state is not that of its peers.
    #[error(transparent)]
    Corrupt(#[from] CorruptAtStart),
    /// A listener or an api thread could not be made.
    #[error(transparent)]
    Net(#[from] net::NetError),
    /// Links cannot be secured as the flags want it.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A runtime or thread could not be made.
    #[error("cannot {what}: {source}")]
    Start {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It was stopped before there was a leader.
    #[error("stopped before the cluster had a leader")]
    StoppedEarly,
    /// It is no member any more, and found that out before it was ready.
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    /// It got the state of another member before it was ready, and must start again.
    #[error("the member starts again from a snapshot")]
    Restarting,
    /// A thread failed; its own log line says why.
    #[error("the member had to stop")]
    Failed,
}

/// A running member.
#[derive(Debug)]
pub struct Server {
    stop_api: CancellationToken,
    stop_core: CancellationToken,
    removed: CancellationToken,
    restarting: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
    hand_over: HandOver,
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
        if let Some(plant) = plant {
            plant.begin();
        }
        let peer_runtime = peer_runtime()?;
        let links = Links::open(config)?;
        let asker = PeerAsker::new(links.dialer.clone());
        let begin = peer_runtime.block_on(Start::find(config, &asker))?;
        let peer_listener = net::bind_peers(&config.listen_peer_urls, links.peers.as_ref())?;
        let client_listeners =
            net::bind_clients(&config.listen_client_urls, links.clients.as_ref())?;
        let storage = Storage::open(storage_options(config, plant), &begin.origin, begin.ids)?;
        if storage.state.view().membership().learners() > config.membership.learners_max {
            return Err(BootstrapError::from(JoinError::TooManyLearners).into());
        }
        let Metadata { node_id: member_id, cluster_id } = begin.ids;
        let identity = Identity { cluster_id, member_id, name: config.name.clone() };
        let starting = Starting {
            config,
            peers: begin.peers,
            identity: Arc::new(identity),
            dialer: links.dialer,
            plant,
            peer_runtime,
        };
        if config.features.initial_corrupt_check && matches!(begin.origin, Origin::Log) {
            starting.check_corruption(&storage.state.view())?;
        }
        starting.start(storage, peer_listener, client_listeners, stop)
    }

    /// The member stops because it was removed from its cluster.
    pub fn is_removed(&self) -> bool {
        self.removed.is_cancelled()
    }

    /// Cancelled when the member stops by itself, because a part of it failed.
    pub fn stopped(&self) -> CancellationToken {
        self.stop_core.clone()
    }

    /// The member stops to start again from a state that it got from another one.
    pub fn is_restarting(&self) -> bool {
        self.restarting.load(Ordering::Acquire)
    }

    /// Stops the member: open requests get a moment, and everything applied becomes durable.
    pub fn stop(self) -> Result<(), ServerError> {
        self.stop_api.cancel();
        self.api.join(GRACE);
        self.peer_runtime.block_on(self.hand_over.run(&self.stop_core));
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

/// How the member's links are secured.
struct Links {
    clients: Option<Acceptor>,
    peers: Option<Acceptor>,
    dialer: Dialer,
}

impl Links {
    fn open(config: &Config) -> Result<Links, ServerError> {
        let fixtures = config.data_dir.join("fixtures");
        let open = |options: &TlsOptions, folder: &str, urls: &[Url]| {
            let hosts: Vec<String> = urls.iter().map(|url| url.host().to_owned()).collect();
            Tls::open(options, &fixtures.join(folder), &hosts, config.self_signed_cert_years)
        };
        let clients = open(&config.client_tls, "client", &config.listen_client_urls)?;
        let peers = open(&config.peer_tls, "peer", &config.listen_peer_urls)?;
        Ok(Links {
            clients: clients.acceptor(NameCheck::Anywhere)?,
            peers: peers.acceptor(NameCheck::FromNamed)?,
            dialer: peers.dialer()?,
        })
    }
}

fn storage_options(config: &Config, plant: Option<Plant>) -> StorageOptions {
    let state = rusd_state::Options {
        resident_bytes_max: config.backend_cache_bytes,
        lease_ttl_seconds_min: config.lease_ttl_seconds_min(),
        learners_max: config.membership.learners_max,
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
        is_forced_new: config.membership.is_forced_new,
        segments_kept: config.log_keeping.segments_kept,
        state,
    }
}

/// What is known before the first thread starts.
struct Starting<'a> {
    config: &'a Config,
    /// Members known besides those in the log.
    peers: Vec<ClusterMember>,
    identity: Arc<Identity>,
    dialer: Dialer,
    plant: Option<Plant>,
    peer_runtime: Runtime,
}

/// Starts threads that take the member down when they fail.
struct Threads {
    stop: CancellationToken,
    failed: Arc<AtomicBool>,
    /// The driver has installed a state.
    restarting: Arc<AtomicBool>,
    handles: Vec<JoinHandle<()>>,
}

/// What is left of an assembly when its parts have their threads.
struct Running {
    member: Member,
    metrics: Metrics,
    roster: Roster,
    background: Background,
}

impl Threads {
    fn new() -> Self {
        Threads {
            stop: CancellationToken::new(),
            failed: Arc::default(),
            restarting: Arc::default(),
            handles: Vec::new(),
        }
    }

    /// Gives the parts their threads.
    fn spawn_core<L: LogStore + Send + 'static>(
        &mut self,
        assembly: Assembly<L>,
    ) -> Result<Running, ServerError> {
        let Assembly { driver, committed, applier, dispatcher, engine, background, .. } = assembly;
        let (member, metrics, roster) = (assembly.member, assembly.metrics, assembly.roster);
        let (stop, restarting) = (self.stop.clone(), Arc::clone(&self.restarting));
        self.spawn("driver", move || {
            // The end of this thread stops the member either way.
            driver.run(&stop, &restarting)
        })?;
        self.spawn("watch-hub", move || {
            dispatcher.run();
            Ok::<_, Infallible>(())
        })?;
        self.spawn("engine", move || engine.run())?;
        self.spawn("applier", move || applier.run(&committed))?;
        Ok(Running { member, metrics, roster, background })
    }

    /// Waits for all to end. What a thread failed of is in the log.
    fn join(self) {
        for handle in self.handles {
            drop(handle.join());
        }
    }

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

impl Starting<'_> {
    fn start(
        self,
        storage: Storage,
        peer_listeners: Vec<net::Listener>,
        client_listeners: net::ClientListeners,
        stop_waiting: &CancellationToken,
    ) -> Result<Server, ServerError> {
        let Storage { lock, wal, state, generations } = storage;
        let mut threads = Threads::new();
        let stop = threads.stop.clone();
        let (inbox, inbox_out) = inbox();
        let removed = CancellationToken::new();
        let snapshots = self.snapshots(&state);
        let snapshots_under_way = snapshots.under_way.clone();
        let transport = self.transport(&state.view(), &inbox, snapshots, &stop, &removed);
        let preparer = wal.preparer();
        threads.spawn("wal-segments", move || preparer.run())?;
        let materials = Materials {
            identity: Arc::clone(&self.identity),
            log_syncs: wal.syncs(),
            log: noted(wal),
            state,
            generations: Arc::clone(&generations),
            transport: transport.clone(),
            inbox: (inbox.clone(), inbox_out),
            removed: removed.clone(),
            asker: PeerAsker::new(self.dialer.clone()),
            snapshots_under_way,
            entropy: Entropy::of_system(),
            blocking_work: BlockingWork::OnThreads,
        };
        let assembly = Assembly::new(self.config, self.plant, materials)?;
        let Running { member, metrics, roster, background } = threads.spawn_core(assembly)?;
        background.spawn(self.peer_runtime.handle(), &stop);
        self.peer_runtime.spawn(stop_when_removed(removed.clone(), stop.clone()));
        let hand_over = HandOver {
            transfer: member.leader_transfer.clone(),
            view: member.view.clone(),
            links: transport.links(),
        };
        let sink = self.sink(generations, &member, &inbox);
        let ends = (inbox, transport, roster, sink);
        self.serve_peers(peer_listeners, &member, ends, &stop)?;
        let published = self.publish(&member.proposer, [stop_waiting, &stop]);
        if published.is_err() && removed.is_cancelled() {
            return Err(ServerError::Removed);
        }
        if published.is_err() && threads.restarting.load(Ordering::Acquire) {
            let failed = Arc::clone(&threads.failed);
            threads.join();
            let has_failed = failed.load(Ordering::Acquire);
            return Err(if has_failed { ServerError::Failed } else { ServerError::Restarting });
        }
        published?;

        let (stop_api, api) = self.serve_clients(client_listeners, &member, metrics)?;
        tracing::info!("ready to serve client requests");
        Ok(Server {
            stop_api,
            stop_core: stop,
            removed,
            restarting: threads.restarting,
            failed: threads.failed,
            hand_over,
            api,
            core: threads.handles,
            peer_runtime: self.peer_runtime,
            _storage_lock: lock,
        })
    }

    /// Refuses to start with another state than the peers have.
    fn check_corruption(&self, view: &View) -> Result<(), CorruptAtStart> {
        let hasher = Hasher::new(view.clone(), BlockingWork::InPlace);
        let asker = PeerAsker::new(self.dialer.clone());
        let peers = assembly::peer_hashes(self.config, &self.identity, &asker, view);
        self.peer_runtime.block_on(corruption::check_at_start(&hasher, &peers))
    }

    /// What the state is sent from.
    fn snapshots(&self, state: &StateMachine) -> SnapshotSource {
        SnapshotSource {
            history: state.history(),
            under_way: SnapshotsUnderWay::default(),
            cluster_id: self.identity.cluster_id,
            blocking_work: BlockingWork::OnThreads,
        }
    }

    /// Where the state of another member goes. A memory engine would lose it with the restart.
    fn sink(&self, generations: Arc<Generations>, member: &Member, inbox: &Inbox) -> SnapshotSink {
        let has_files = self.config.backend != BackendKind::Memory;
        SnapshotSink {
            generations: has_files.then_some(generations),
            progress: Arc::clone(&member.progress),
            inbox: inbox.clone(),
            turn: Arc::new(Semaphore::new(1)),
            blocking_work: BlockingWork::OnThreads,
        }
    }

    fn serve_clients(
        &self,
        listeners: net::ClientListeners,
        member: &Member,
        metrics: Metrics,
    ) -> Result<(CancellationToken, net::ApiThreads), net::NetError> {
        let stop = CancellationToken::new();
        let api = api::routes(member)
            .with_progress_notify_interval(self.config.watch_progress_notify_interval);
        let streams_max = self.config.max_concurrent_streams;
        let serving = net::Serving { stop: stop.clone(), streams_max };
        let threads = net::serve_clients(listeners, &api, metrics, &serving)?;
        Ok((stop, threads))
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
    /// The way to the members of the log and to those known besides.
    fn transport(
        &self,
        view: &View,
        inbox: &Inbox,
        snapshots: SnapshotSource,
        stop: &CancellationToken,
        removed: &CancellationToken,
    ) -> Transport {
        let Identity { member_id, cluster_id, .. } = *self.identity;
        let peer_urls = self.config.initial_advertise_peer_urls.iter().map(ToString::to_string);
        let carrier = GrpcCarrier {
            runtime: self.peer_runtime.handle().clone(),
            own: Endpoint { member_id, cluster_id, peer_urls: peer_urls.collect() },
            dialer: self.dialer.clone(),
            inbox: inbox.clone(),
            snapshots,
            stop: stop.clone(),
            removed: removed.clone(),
        };
        let transport = Transport::new((member_id, cluster_id), Arc::new(carrier));
        for member in view.members() {
            transport.set_peer(member.id, &member.peer_ur_ls);
        }
        for member in &self.peers {
            transport.told_by_peer(member.id, &member.peer_ur_ls);
        }
        transport
    }

    fn serve_peers(
        &self,
        listeners: Vec<net::Listener>,
        member: &Member,
        (inbox, transport, roster, sink): (Inbox, Transport, Roster, SnapshotSink),
        stop: &CancellationToken,
    ) -> Result<(), ServerError> {
        let Identity { member_id, cluster_id, .. } = *self.identity;
        let ids = (member_id, cluster_id);
        let (handler, lease_messages) = PeerHandler::new(ids, inbox, transport, roster, sink);
        let runtime = self.peer_runtime.handle();
        runtime.spawn(member.leases.clone().serve_peers(lease_messages, stop.clone()));
        let routes = api::peer_routes(member, handler.into_service());
        net::serve_peers(runtime, listeners, routes, stop)
            .map_err(|source| ServerError::Start { what: "serve peers".into(), source })
    }

    /// Puts this member's name and client URLs into the membership, through the log, as etcd does
    /// before it calls itself ready. Waits for a leader as long as it takes.
    fn publish(
        &self,
        proposer: &Proposer,
        stops: [&CancellationToken; 2],
    ) -> Result<(), ServerError> {
        let publisher = Publisher {
            proposer: proposer.clone(),
            member_id: self.identity.member_id,
            name: self.identity.name.clone(),
            client_urls: self.config.advertise_client_urls.clone(),
        };
        rusd_failpoint::hit("beforePublishing");
        let [by_us, by_failure] = stops;
        self.peer_runtime.block_on(async {
            tokio::select! {
                () = publisher.run() => Ok(()),
                () = by_us.cancelled() => Err(ServerError::StoppedEarly),
                () = by_failure.cancelled() => Err(ServerError::Failed),
            }
        })
    }
}

/// Stops a member that was removed, a moment later.
async fn stop_when_removed(removed: CancellationToken, stop: CancellationToken) {
    if stop.run_until_cancelled(removed.cancelled()).await.is_none() {
        return;
    }
    tokio::time::sleep(REMOVED_DELAY).await;
    let error = ServerError::Removed;
    tracing::warn!(%error, "server error");
    tracing::warn!("data-dir used by this member must be removed");
    stop.cancel();
}

fn peer_runtime() -> Result<Runtime, ServerError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("peer")
        .enable_all()
        .build()
        .map_err(|source| ServerError::Start { what: "start the peer runtime".into(), source })
}
