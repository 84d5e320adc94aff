//! One member: its disk, and its lives.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use rand_chacha::ChaCha8Rng;
use rusd::applier::{Applier, CommittedRun};
use rusd::assembly::{Assembly, Entropy, Materials};
use rusd::blocking::BlockingWork;
use rusd::config::Config;
use rusd::consensus::driver::Driver;
use rusd::consensus::inbox::inbox;
use rusd::consensus::links::Links;
use rusd::consensus::log_keeper::SnapshotsUnderWay;
use rusd::consensus::peer_handler::PeerHandler;
use rusd::consensus::peer_http::PeerAsker;
use rusd::consensus::peer_link::Addresses;
use rusd::consensus::progress::Progress;
use rusd::consensus::snapshot_io::SnapshotSink;
use rusd::consensus::transport::{Carrier, Outbound, Transport};
use rusd::engine::Engine;
use rusd::member::{Identity, Member};
use rusd::watch::hub::Dispatcher;
use rusd_loadgen::client::etcd::Client;
use rusd_raft::log::LogStore as _;
use rusd_raft::{Node, SnapshotOrder, bootstrap};
use rusd_state::StateMachine;
use rusd_state::storage::{Generations, HistoryOptions, MemoryBackend};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::disk::{Disk, Loss, SimLog};
use crate::doors::{Door, Doors};
use crate::network::{Arrival, Packet};
use crate::plan::{Cluster, Plan};
use crate::plants::Plant;

/// Why a member is gone.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its parts do not fit together, after a loss of power for example.
    #[error("it cannot start: {0}")]
    Start(String),
    /// The driver stopped.
    #[error("the driver stopped: {0}")]
    Driver(#[from] rusd::consensus::driver::DriverError),
    /// The applier stopped.
    #[error("the applier stopped: {0}")]
    Applier(#[from] rusd_state::Fatal),
    /// The engine stopped.
    #[error("the engine stopped: {0}")]
    Engine(#[from] rusd_state::storage::StorageError),
}

/// A member and its disk.
pub struct Host {
    /// Index among the members.
    pub index: usize,
    /// Raft id.
    pub id: u64,
    /// What outlives it.
    pub disk: Disk,
    identity: Arc<Identity>,
    config: Arc<Config>,
    peers: Vec<u64>,
    lives: u64,
    seed: u64,
    message_bytes_max: Option<u64>,
    life: Option<Life>,
}

/// A member that lives.
struct Life {
    driver: Driver<SimLog>,
    committed: Receiver<CommittedRun>,
    applier: Applier,
    dispatcher: Dispatcher,
    engine: Engine,
    outbound: Arc<Outbounds>,
    handler: PeerHandler,
    member: Member,
    stop: CancellationToken,
    plant: Option<Plant>,
}

/// What a member has queued for its peers.
#[derive(Debug, Default)]
struct Outbounds(Mutex<Vec<Outbound>>);

impl Carrier for Outbounds {
    fn carry(&self, outbound: Outbound, _links: &Arc<Links>) {
        self.0.lock().expect("one thread").push(outbound);
    }

    fn carry_snapshot(&self, order: SnapshotOrder, _addresses: Option<Arc<Addresses>>) {
        // The logs of these members are never cut.
        panic!("a snapshot is due: {order:?}");
    }
}

impl Host {
    /// A new member of a new cluster, not yet started.
    pub fn new(
        index: usize,
        plan: &Plan,
        cluster: &Cluster,
        config: &Arc<Config>,
        plant: Option<Plant>,
    ) -> Host {
        let id = cluster.ids[index];
        let metadata = rusd_raft::Metadata { node_id: id, cluster_id: cluster.id };
        let (entries, hard_state) = bootstrap(&cluster.bootstrap);
        let engine = if plant == Some(Plant::AppliedIndexApart) {
            MemoryBackend::crashable_and_torn()
        } else {
            MemoryBackend::crashable()
        };
        Host {
            index,
            id,
            disk: Disk::new(metadata, &entries, hard_state, engine),
            identity: Arc::new(Identity {
                cluster_id: cluster.id,
                member_id: id,
                name: format!("m{index}"),
            }),
            config: Arc::clone(config),
            peers: cluster.ids.iter().copied().filter(|peer| *peer != id).collect(),
            lives: 0,
            seed: plan.seed,
            message_bytes_max: plan.message_bytes_max,
            life: None,
        }
    }

    /// It lives.
    pub fn is_up(&self) -> bool {
        self.life.is_some()
    }

    /// Its node, while it lives.
    pub fn node(&self) -> Option<&Node<SimLog>> {
        self.life.as_ref().map(|life| life.driver.node())
    }

    /// What its api sees, while it lives.
    pub fn member(&self) -> Option<&Member> {
        self.life.as_ref().map(|life| &life.member)
    }

    /// Starts it from what its disk holds, at a time since the beginning.
    pub fn start(
        &mut self,
        now: Duration,
        doors: &Doors,
        plant: Option<Plant>,
    ) -> Result<(), Failure> {
        let fail = |error: &dyn std::fmt::Display| Failure::Start(error.to_string());
        self.lives += 1;
        let mut log = self.disk.log();
        // As the log on files does when it is opened.
        log.sync().map_err(|error| fail(&error))?;
        let options = rusd_state::Options {
            lease_ttl_seconds_min: self.config.lease_ttl_seconds_min(),
            ..rusd_state::Options::default()
        };
        let state = StateMachine::open(self.disk.engine(), HistoryOptions::default(), options)
            .map_err(|error| fail(&error))?;
        let identity = (self.id, self.identity.cluster_id);
        let outbound = Arc::<Outbounds>::default();
        let carrier: Arc<dyn Carrier> = Arc::<Outbounds>::clone(&outbound);
        let transport = Transport::new(identity, carrier);
        for peer in &self.peers {
            transport.set_peer(*peer, &[]);
        }
        let (inbox, inbox_out) = inbox();
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30) + now;
        let entropy = Entropy {
            started,
            seed: Some(self.seed ^ (self.lives << 32)),
            message_bytes_max: self.message_bytes_max,
        };
        let materials = Materials {
            identity: Arc::clone(&self.identity),
            log,
            state,
            generations: Arc::new(Generations::of_memory(self.disk.engine())),
            transport: transport.clone(),
            inbox: (inbox.clone(), inbox_out),
            asker: PeerAsker::unconnected(),
            snapshots_under_way: SnapshotsUnderWay::default(),
            removed: CancellationToken::new(),
            entropy,
            blocking_work: BlockingWork::InPlace,
        };
        let assembly = Assembly::new(&self.config, plant.and_then(Plant::of_member), materials)
            .map_err(|error| fail(&error))?;
        let roster = assembly.roster.clone();
        let snapshots = SnapshotSink {
            generations: None,
            progress: Arc::<Progress>::clone(&assembly.member.progress),
            inbox: inbox.clone(),
            turn: Semaphore::new(1),
        };
        let (handler, lease_messages) =
            PeerHandler::new(identity, inbox, transport, roster, snapshots);
        let stop = CancellationToken::new();
        let Assembly { driver, committed, applier, dispatcher, engine, .. } = assembly;
        let member = assembly.member;
        assembly.background.spawn(&tokio::runtime::Handle::current(), &stop);
        tokio::spawn(member.leases.clone().serve_peers(lease_messages, stop.clone()));
        let routes = rusd::api::routes(&member).in_process(&Arc::new(assembly.metrics), &stop);
        doors.open(self.index, Door { client: Client::over(routes), gone: stop.clone() });
        self.life = Some(Life {
            driver,
            committed,
            applier,
            dispatcher,
            engine,
            outbound,
            handler,
            member,
            stop,
            plant,
        });
        Ok(())
    }

    /// Ends its life.
    pub fn crash(&mut self, loss: Loss, doors: &Doors, rng: &mut ChaCha8Rng) {
        doors.shut(self.index);
        if let Some(life) = self.life.take() {
            life.stop.cancel();
        }
        self.disk.crash(loss, rng);
    }

    /// Something waits for its driver.
    pub fn has_work(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.driver.has_work())
    }

    /// Lets a tick pass.
    pub fn tick(&mut self) {
        if let Some(life) = &mut self.life {
            life.driver.tick();
        }
    }

    /// Takes a packet in.
    pub fn receive(&self, packet: Packet) {
        let Some(life) = &self.life else { return };
        match packet {
            Packet::Message(message) => life.handler.route(*message),
            Packet::Vote(request) => life.handler.route_vote(request),
        }
    }

    /// A turn of the driver, and then of everything that it feeds; what is sent goes to `send`.
    pub fn turn(
        &mut self,
        cluster: &Cluster,
        send: &mut dyn FnMut(Arrival),
    ) -> Result<(), Failure> {
        let Some(life) = &mut self.life else { return Ok(()) };
        if let Some(plant) = life.plant {
            self.disk.set_flaws(plant.flaws(life.driver.node().is_leader()));
        }
        life.driver.poll_once()?;
        while let Ok(run) = life.committed.try_recv() {
            life.applier.apply_run(run)?;
            while life.dispatcher.step() {}
        }
        for outbound in life.outbound.0.lock().expect("one thread").iter_mut() {
            let to = cluster.index_of(outbound.peer);
            while let Ok(message) = outbound.messages.try_recv() {
                let packet = Packet::Message(Box::new(message));
                send(Arrival { from: self.index, to, packet });
            }
            while let Ok(request) = outbound.votes.try_recv() {
                send(Arrival { from: self.index, to, packet: Packet::Vote(request) });
            }
        }
        Ok(())
    }

    /// A turn of the engine.
    pub fn engine_turn(&mut self) -> Result<(), Failure> {
        if let Some(life) = &mut self.life {
            life.engine.turn()?;
        }
        Ok(())
    }
}
