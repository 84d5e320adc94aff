//! One member on a host of its own: everything that a server runs, with real connections over the
//! simulated network.
//!
//! What a server gives threads (driver, applier, hub, engine) is stepped by one task, every
//! millisecond; the rest are tasks, as in a server. A crash drops them all; the disk stays.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use rusd::api::{self, Routes, peer_routes};
use rusd::applier::{Applier, CommittedRun};
use rusd::assembly::{Assembly, Entropy, Materials};
use rusd::background::publisher::Publisher;
use rusd::blocking::BlockingWork;
use rusd::consensus::driver::Driver;
use rusd::consensus::inbox::{Inbox, inbox};
use rusd::consensus::log_keeper::SnapshotsUnderWay;
use rusd::consensus::peer_handler::{PeerHandler, Roster};
use rusd::consensus::peer_http::PeerAsker;
use rusd::consensus::peer_link::GrpcCarrier;
use rusd::consensus::snapshot_io::{SnapshotSink, SnapshotSource};
use rusd::consensus::transport::{Endpoint, Transport};
use rusd::engine::Engine;
use rusd::member::Identity;
use rusd::net::{self, Serving};
use rusd::watch::hub::Dispatcher;
use rusd_raft::{Node, bootstrap};
use rusd_state::View;
use rusd_state::storage::Generations;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::wire::{self, CLIENT_PORT, PEER_PORT, Port};
use crate::disk::{Disk, SimLog};
use crate::host::{self, Failure, Opened, in_parts};
use crate::plan::{Cluster, Plan};
use crate::plants::Plant;

/// Time between two steps.
const STEP: Duration = Duration::from_millis(1);
/// Steps between two ticks of a node.
const TICK_STEPS: u64 = 10;
/// Steps between two turns of an engine.
const ENGINE_STEPS: u64 = 50;

/// A member and its disk.
pub(super) struct Member {
    /// Index among the members.
    pub(super) index: usize,
    /// Raft id.
    pub(super) id: u64,
    /// What outlives it.
    pub(super) disk: Disk,
    /// While it lives.
    pub(super) life: RefCell<Option<Life>>,
    /// How it fares.
    pub(super) fares: Fares,
    identity: Arc<Identity>,
    plan: Plan,
    plant: Option<Plant>,
}

/// What happens to a member, and what it is to do.
#[derive(Debug, Default)]
pub(super) struct Fares {
    /// Times that its threads are to stand still.
    pub(super) stalled: Cell<u32>,
    /// Times that its engine is to do nothing.
    pub(super) idle_engine: Cell<u32>,
    /// Leadership is to be handed to this member.
    pub(super) transfer_to: Cell<Option<u64>>,
    /// Its engine is to be copied.
    pub(super) defragments: Cell<bool>,
    /// Why it stopped.
    pub(super) failure: RefCell<Option<Failure>>,
    /// It has installed the state of another member, and is to start again.
    pub(super) has_installed: Cell<bool>,
    /// How often it was started.
    pub(super) lives: Cell<u64>,
}

/// A member that lives.
pub(super) struct Life {
    pub(super) driver: Driver<SimLog>,
    pub(super) member: rusd::member::Member,
    committed: Receiver<CommittedRun>,
    applier: Applier,
    dispatcher: Dispatcher,
    engine: Engine,
    steps: u64,
}

/// What the ports of a member need.
struct Ends {
    inbox: Inbox,
    transport: Transport,
    roster: Roster,
    generations: Arc<Generations>,
    stop: CancellationToken,
}

impl Member {
    /// A member that founds a cluster, not yet started.
    pub(super) fn new(
        index: usize,
        plan: &Plan,
        cluster: &Cluster,
        plant: Option<Plant>,
    ) -> Member {
        let id = cluster.ids[index];
        let metadata = rusd_raft::Metadata { node_id: id, cluster_id: cluster.id };
        let (entries, hard_state) = bootstrap(&cluster.bootstrap);
        let is_torn = plant == Some(Plant::AppliedIndexApart);
        let identity = Identity { cluster_id: cluster.id, member_id: id, name: wire::name(index) };
        Member {
            index,
            id,
            disk: Disk::new(metadata, &entries, hard_state, is_torn),
            life: RefCell::default(),
            fares: Fares::default(),
            identity: Arc::new(identity),
            plan: plan.clone(),
            plant,
        }
    }

    /// Lives until the host crashes, or until it fails.
    pub(super) async fn live(self: Rc<Self>) {
        let started = Box::pin(self.start()).await;
        let mut steps = tokio::time::interval(STEP);
        let mut outcome = started.map(|life| {
            self.life.replace(Some(life));
        });
        while outcome.is_ok() && !self.fares.has_installed.get() {
            steps.tick().await;
            if self.fares.stalled.get() == 0 {
                outcome = self.step();
            }
        }
        if let Err(failure) = outcome {
            self.fares.failure.replace(Some(failure));
        }
        // The host is stopped from outside, as a process that ends by itself would be.
        std::future::pending::<()>().await;
    }

    /// Starts it from what its disk holds.
    async fn start(&self) -> Result<Life, Failure> {
        let life = self.fares.lives.get() + 1;
        self.fares.lives.set(life);
        let Opened { log, state, generations } = host::open(&self.disk, &self.plan.config)?;
        let (inbox, inbox_out) = inbox();
        let (removed, stop) = (CancellationToken::new(), CancellationToken::new());
        let snapshots = SnapshotSource {
            history: state.history(),
            under_way: SnapshotsUnderWay::default(),
            cluster_id: self.identity.cluster_id,
            blocking_work: BlockingWork::InPlace,
        };
        let snapshots_under_way = snapshots.under_way.clone();
        let carrier = GrpcCarrier {
            runtime: Handle::current(),
            own: Endpoint {
                member_id: self.id,
                cluster_id: self.identity.cluster_id,
                peer_urls: vec![format!("http://{}:{PEER_PORT}", self.identity.name)],
            },
            dialer: wire::dialer(),
            inbox: inbox.clone(),
            snapshots,
            stop: stop.clone(),
            removed: removed.clone(),
        };
        let transport = Transport::new((self.id, self.identity.cluster_id), Arc::new(carrier));
        for member in state.view().members() {
            transport.set_peer(member.id, &member.peer_ur_ls);
        }
        let now = turmoil::since_epoch().expect("it lives in a simulation");
        let materials = Materials {
            identity: Arc::clone(&self.identity),
            log,
            // Nobody reads metrics here.
            log_syncs: Arc::default(),
            state,
            generations: Arc::clone(&generations),
            transport: transport.clone(),
            inbox: (inbox.clone(), inbox_out),
            asker: PeerAsker::new(wire::dialer()),
            snapshots_under_way,
            removed,
            entropy: Entropy {
                started: SystemTime::UNIX_EPOCH + now,
                seed: Some(self.plan.seed ^ (life << 32)),
                message_bytes_max: self.plan.message_bytes_max,
            },
            blocking_work: BlockingWork::InPlace,
        };
        let plant = self.plant.and_then(Plant::of_member);
        let assembly = Assembly::new(&self.plan.config, plant, materials)
            .map_err(|error| Failure::Start(error.to_string()))?;
        let ends = Ends { inbox, transport, roster: assembly.roster.clone(), generations, stop };
        self.serve(assembly, ends).await
    }

    /// Opens the ports: that for peers at once, that for clients when the cluster knows the member,
    /// as a server does.
    async fn serve(&self, assembly: Assembly<SimLog>, ends: Ends) -> Result<Life, Failure> {
        let Assembly { driver, committed, applier, dispatcher, engine, .. } = assembly;
        let (member, stop) = (assembly.member, ends.stop);
        assembly.background.spawn(&Handle::current(), &stop);
        let sink = SnapshotSink {
            generations: Some(ends.generations),
            progress: Arc::clone(&member.progress),
            inbox: ends.inbox.clone(),
            turn: Arc::new(Semaphore::new(1)),
            blocking_work: BlockingWork::InPlace,
        };
        let ids = (self.id, self.identity.cluster_id);
        let (handler, lease_messages) =
            PeerHandler::new(ids, ends.inbox, ends.transport, ends.roster, sink);
        tokio::spawn(member.leases.clone().serve_peers(lease_messages, stop.clone()));
        let bound = |error: std::io::Error| Failure::Start(error.to_string());
        let (peers, clients) = (Port::bind(PEER_PORT), Port::bind(CLIENT_PORT));
        let routes = peer_routes(&member, handler.into_service());
        tokio::spawn(net::serve_peers_on(peers.await.map_err(bound)?, routes, stop.clone()));
        let routes = api::routes(&member).routes(&Arc::new(assembly.metrics), &stop);
        let publisher = Publisher {
            proposer: member.proposer.clone(),
            member_id: self.id,
            name: self.identity.name.clone(),
            client_urls: vec![format!("http://{}:{CLIENT_PORT}", self.identity.name)],
        };
        tokio::spawn(serve_clients(clients, publisher, routes, self.serving(stop)));
        Ok(Life { driver, member, committed, applier, dispatcher, engine, steps: 0 })
    }

    fn serving(&self, stop: CancellationToken) -> Serving {
        Serving { stop, streams_max: self.plan.config.max_concurrent_streams }
    }

    /// A step of everything that a server gives a thread.
    fn step(&self) -> Result<(), Failure> {
        let mut life = self.life.borrow_mut();
        let Some(living) = life.as_mut() else { return Ok(()) };
        self.do_as_told(living);
        living.steps += 1;
        // Members do not tick at one moment.
        let steps = living.steps + 3 * u64::try_from(self.index).expect("members are few");
        let ticks = steps.is_multiple_of(TICK_STEPS);
        if ticks {
            living.driver.tick();
        }
        let is_first = living.steps == 1;
        if is_first || ticks || living.driver.has_work() {
            living.driver.poll_once()?;
        }
        if living.driver.has_received() {
            let living = life.take().expect("it has just taken a step");
            living.driver.install()?;
            self.fares.has_installed.set(true);
            return Ok(());
        }
        while let Ok(run) = living.committed.try_recv() {
            for part in in_parts(run) {
                living.applier.apply_run(part)?;
                while living.dispatcher.step() {}
            }
        }
        if steps.is_multiple_of(ENGINE_STEPS) && self.fares.idle_engine.get() == 0 {
            living.engine.turn()?;
        }
        Ok(())
    }

    fn do_as_told(&self, living: &Life) {
        if let Some(plant) = self.plant {
            self.disk.set_flaws(plant.flaws(living.driver.node().is_leader()));
        }
        // What comes of it shows in what follows.
        if let Some(target) = self.fares.transfer_to.take() {
            let transfer = living.member.leader_transfer.clone();
            tokio::spawn(async move { transfer.to(target).await.ok() });
        }
        if self.fares.defragments.take() {
            let defragmenter = living.member.defragmenter.clone();
            tokio::spawn(async move { defragmenter.defragment().await.ok() });
        }
    }
}

async fn serve_clients(
    port: impl Future<Output = std::io::Result<Port>>,
    publisher: Publisher,
    routes: Routes,
    serving: Serving,
) {
    publisher.run().await;
    let port = port.await.expect("nobody else has the port");
    net::serve_on(port, routes, serving).await;
}

impl Life {
    /// Its node.
    pub(super) fn node(&self) -> &Node<SimLog> {
        self.driver.node()
    }

    /// Its state.
    pub(super) fn view(&self) -> &View {
        &self.member.view
    }
}
