//! One member: its disk, and its lives.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use rand_chacha::ChaCha8Rng;
use rusd::applier::{Applier, CommittedRun};
use rusd::assembly::{Assembly, Entropy, Materials};
use rusd::background::publisher::Publisher;
use rusd::blocking::BlockingWork;
use rusd::config::Config;
use rusd::consensus::driver::Driver;
use rusd::consensus::inbox::{Inbox, PeerInput, inbox};
use rusd::consensus::links::Links;
use rusd::consensus::log_keeper::SnapshotsUnderWay;
use rusd::consensus::peer_handler::PeerHandler;
use rusd::consensus::peer_http::PeerAsker;
use rusd::consensus::peer_link::Addresses;
use rusd::consensus::progress::Progress;
use rusd::consensus::snapshot_io::{SnapshotSink, SnapshotSource};
use rusd::consensus::transport::{Carrier, Outbound, Transport};
use rusd::engine::Engine;
use rusd::member::{Identity, Member};
use rusd::metrics::Metrics;
use rusd::storage::generations_for;
use rusd::watch::hub::Dispatcher;
use rusd_proto::raftpb::ConfState;
use rusd_raft::log::LogStore as _;
use rusd_raft::{Entry, HardState, Node, SnapshotOrder, bootstrap};
use rusd_state::storage::{Generations, HistoryOptions};
use rusd_state::{StateMachine, View};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::disk::{Disk, Loss, SimLog};
use crate::doors::{Door, Doors};
use crate::invariants::Seen;
use crate::network::{Arrival, Packet};
use crate::plan::{Cluster, Plan};
use crate::plants::Plant;
use crate::snapshots::{Sent, Snapshots};

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
    /// Index among all members that there ever were.
    pub index: usize,
    /// Raft id.
    pub id: u64,
    /// What outlives it.
    pub disk: Disk,
    /// It never comes back: it was removed, or its machine is lost.
    pub is_gone: bool,
    identity: Arc<Identity>,
    /// Members that it knows of besides those in its log.
    known: Vec<u64>,
    lives: u64,
    plan: Plan,
    streams: u64,
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
    handler: Arc<PeerHandler>,
    snapshots: Snapshots,
    member: Member,
    transport: Transport,
    inbox: Inbox,
    removed: CancellationToken,
    stop: CancellationToken,
    plant: Option<Plant>,
}

/// Entries that are applied at once: fewer than the watch hub has room for.
const ENTRIES_AT_ONCE: usize = 1000;

/// A run in parts, between which the watch hub can take what it is told: nobody else does it meanwhile
/// in one thread, and the applier would wait for ever.
pub(crate) fn in_parts(run: CommittedRun) -> Vec<CommittedRun> {
    let mut conf_states = run.conf_states.into_iter().peekable();
    let part = |entries: &[Entry]| {
        let last = entries.last().expect("a chunk is not empty").index();
        let is_in = |(index, _): &(u64, ConfState)| *index <= last;
        let conf_states = std::iter::from_fn(|| conf_states.next_if(is_in)).collect();
        CommittedRun { entries: entries.to_vec(), conf_states }
    };
    run.entries.chunks(ENTRIES_AT_ONCE).map(part).collect()
}

/// What a member has queued for its peers.
#[derive(Debug, Default)]
struct Outbounds {
    queues: Mutex<Vec<Outbound>>,
    snapshots: Mutex<Vec<SnapshotOrder>>,
}

impl Carrier for Outbounds {
    fn carry(&self, outbound: Outbound, _links: &Arc<Links>) {
        self.queues.lock().expect("one thread").push(outbound);
    }

    fn carry_snapshot(&self, order: SnapshotOrder, _addresses: Option<Arc<Addresses>>) {
        self.snapshots.lock().expect("one thread").push(order);
    }
}

/// What came of a turn.
#[derive(Debug)]
pub enum Turned {
    /// The member goes on.
    On,
    /// It has installed a state, and starts again.
    Installed {
        /// The last entry that is in it.
        index: u64,
        /// What it may still say.
        answers: Vec<Sent>,
    },
}

impl Host {
    /// A member that founds a cluster, not yet started.
    pub fn founding(index: usize, plan: &Plan, cluster: &Cluster, plant: Option<Plant>) -> Host {
        Host::new(index, plan, cluster, plant, bootstrap(&cluster.bootstrap))
    }

    /// A member that was added, not yet started: it has nothing, and knows who the others are.
    pub fn joining(index: usize, plan: &Plan, cluster: &Cluster, plant: Option<Plant>) -> Host {
        Host::new(index, plan, cluster, plant, (Vec::new(), HardState::default()))
    }

    fn new(
        index: usize,
        plan: &Plan,
        cluster: &Cluster,
        plant: Option<Plant>,
        (entries, hard_state): (Vec<Entry>, HardState),
    ) -> Host {
        let id = cluster.ids[index];
        let metadata = rusd_raft::Metadata { node_id: id, cluster_id: cluster.id };
        let is_torn = plant == Some(Plant::AppliedIndexApart);
        Host {
            index,
            id,
            disk: Disk::new(metadata, &entries, hard_state, is_torn),
            is_gone: false,
            identity: Arc::new(Identity {
                cluster_id: cluster.id,
                member_id: id,
                name: format!("m{index}"),
            }),
            known: cluster.ids.iter().copied().filter(|peer| *peer != id).collect(),
            lives: 0,
            plan: plan.clone(),
            streams: 0,
            life: None,
        }
    }

    /// It lives.
    pub fn is_up(&self) -> bool {
        self.life.is_some()
    }

    /// What its api sees, while it lives.
    pub fn member(&self) -> Option<&Member> {
        self.life.as_ref().map(|life| &life.member)
    }

    /// How often it was started.
    pub fn lives(&self) -> u64 {
        self.lives
    }

    /// It was told that it is no member any more.
    pub fn is_removed(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.removed.is_cancelled())
    }

    /// Starts it from what its disk holds, at a time since the beginning.
    pub fn start(
        &mut self,
        now: Duration,
        doors: &Doors,
        plant: Option<Plant>,
    ) -> Result<(), Failure> {
        self.lives += 1;
        let Opened { log, state, generations } = open(&self.disk, &self.plan.config)?;
        let identity = (self.id, self.identity.cluster_id);
        let (transport, outbound) = self.transport(&state);
        let (inbox, inbox_out) = inbox();
        let source = SnapshotSource {
            history: state.history(),
            under_way: SnapshotsUnderWay::default(),
            cluster_id: identity.1,
            blocking_work: BlockingWork::InPlace,
        };
        let removed = CancellationToken::new();
        let materials = Materials {
            identity: Arc::clone(&self.identity),
            log,
            // Nobody reads metrics here.
            log_syncs: Arc::default(),
            state,
            generations: Arc::clone(&generations),
            transport: transport.clone(),
            inbox: (inbox.clone(), inbox_out),
            asker: PeerAsker::unconnected(),
            snapshots_under_way: source.under_way.clone(),
            removed: removed.clone(),
            entropy: self.entropy(now),
            blocking_work: BlockingWork::InPlace,
        };
        let plant_of_member = plant.and_then(Plant::of_member);
        let assembly = Assembly::new(&self.plan.config, plant_of_member, materials)
            .map_err(|error| Failure::Start(error.to_string()))?;
        let roster = assembly.roster.clone();
        let sink = SnapshotSink {
            generations: Some(generations),
            progress: Arc::<Progress>::clone(&assembly.member.progress),
            inbox: inbox.clone(),
            turn: Arc::new(Semaphore::new(1)),
            blocking_work: BlockingWork::InPlace,
        };
        let (handler, lease_messages) =
            PeerHandler::new(identity, inbox.clone(), transport.clone(), roster, sink);
        let stop = CancellationToken::new();
        let Assembly { driver, committed, applier, dispatcher, engine, .. } = assembly;
        let member = assembly.member;
        assembly.background.spawn(&tokio::runtime::Handle::current(), &stop);
        tokio::spawn(member.leases.clone().serve_peers(lease_messages, stop.clone()));
        self.publish(&member, &stop);
        doors.open(self.index, door(&member, assembly.metrics, &stop));
        self.life = Some(Life {
            driver,
            committed,
            applier,
            dispatcher,
            engine,
            outbound,
            handler: Arc::new(handler),
            snapshots: Snapshots::new(source, inbox.clone()),
            member,
            transport,
            inbox,
            removed,
            stop,
            plant,
        });
        Ok(())
    }

    /// The way to the members of the log and to those known besides.
    fn transport(&self, state: &StateMachine) -> (Transport, Arc<Outbounds>) {
        let outbound = Arc::<Outbounds>::default();
        let carrier: Arc<dyn Carrier> = Arc::<Outbounds>::clone(&outbound);
        let transport = Transport::new((self.id, self.identity.cluster_id), carrier);
        for member in state.view().members() {
            transport.set_peer(member.id, &member.peer_ur_ls);
        }
        for peer in &self.known {
            transport.told_by_peer(*peer, &[]);
        }
        (transport, outbound)
    }

    fn entropy(&self, now: Duration) -> Entropy {
        Entropy {
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30) + now,
            seed: Some(self.plan.seed ^ (self.lives << 32)),
            message_bytes_max: self.plan.message_bytes_max,
        }
    }

    fn publish(&self, member: &Member, stop: &CancellationToken) {
        let publisher = Publisher {
            proposer: member.proposer.clone(),
            member_id: self.id,
            name: self.identity.name.clone(),
            client_urls: vec![format!("http://{}:2379", self.identity.name)],
        };
        let stop = stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(publisher.run()).await });
    }

    /// Ends its life.
    pub fn crash(&mut self, loss: Loss, doors: &Doors, rng: &mut ChaCha8Rng) {
        self.stop(doors);
        self.disk.crash(loss, rng);
    }

    /// Ends its life; its disk knows nothing of it.
    pub fn stop(&mut self, doors: &Doors) {
        doors.shut(self.index);
        if let Some(life) = self.life.take() {
            life.stop.cancel();
        }
    }

    /// It has something that it can send to this member.
    pub fn knows(&self, peer: u64) -> bool {
        self.life.as_ref().is_some_and(|life| life.transport.has_peer(peer))
    }

    /// Opens its stream to another member. False if that one refuses.
    pub fn greet(&self, other: &Host) -> bool {
        let (Some(life), Some(others)) = (&self.life, &other.life) else { return false };
        match others.handler.greet(self.id, &[]) {
            Ok(()) => life.transport.links().opened(other.id),
            Err(_refusal) => life.removed.cancel(),
        }
        !life.removed.is_cancelled()
    }

    /// Its stream to another member has broken.
    pub fn lost(&self, peer: u64) {
        if let Some(life) = &self.life {
            life.transport.links().closed(peer);
            // Full: told again when the next attempt fails.
            life.inbox.message(PeerInput::Unreachable(peer)).ok();
        }
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

    /// Takes a packet in. Gives the answer, if the sender is no member any more.
    pub fn receive(&mut self, from: u64, packet: Packet, now_ms: u64) -> Option<Packet> {
        let life = self.life.as_mut()?;
        if matches!(packet, Packet::Removed) {
            life.removed.cancel();
            return None;
        }
        if life.handler.check_membership(from).is_err() {
            return Some(Packet::Removed);
        }
        match packet {
            Packet::Message(message) => life.handler.route(*message),
            Packet::Vote(request) => life.handler.route_vote(request),
            Packet::Snapshot { stream, part } => {
                let ends = (&life.handler, &life.stop);
                life.snapshots.receive(from, stream, part, now_ms, ends);
            }
            Packet::Removed => {}
        }
        None
    }

    /// A turn of the driver, and then of everything that it feeds; what is sent goes to `send`.
    pub fn turn(
        &mut self,
        cluster: &Cluster,
        send: &mut dyn FnMut(Arrival),
    ) -> Result<Turned, Failure> {
        let Some(life) = &mut self.life else { return Ok(Turned::On) };
        if let Some(plant) = life.plant {
            self.disk.set_flaws(plant.flaws(life.driver.node().is_leader()));
        }
        life.driver.poll_once()?;
        if life.driver.has_received() {
            return self.install();
        }
        while let Ok(run) = life.committed.try_recv() {
            for part in in_parts(run) {
                life.applier.apply_run(part)?;
                while life.dispatcher.step() {}
            }
        }
        let mut queues = life.outbound.queues.lock().expect("one thread");
        queues.retain(|outbound| !outbound.stop.is_cancelled());
        for outbound in queues.iter_mut() {
            let to = cluster.index_of(outbound.peer);
            let mut send = |packet| {
                // Who was added and is not there yet gets nothing.
                if let Some(to) = to {
                    send(Arrival { from: self.index, to, packet });
                }
            };
            while let Ok(message) = outbound.messages.try_recv() {
                send(Packet::Message(Box::new(message)));
            }
            while let Ok(request) = outbound.votes.try_recv() {
                send(Packet::Vote(request));
            }
        }
        Ok(Turned::On)
    }

    /// Lets the log go on after a snapshot, and ends: the state is there with the next life.
    fn install(&mut self) -> Result<Turned, Failure> {
        let life = self.life.take().expect("it has just taken a turn");
        life.stop.cancel();
        let log = life.driver.install()?;
        let answers = life.snapshots.into_answers();
        Ok(Turned::Installed { index: log.first_index().0 - 1, answers })
    }

    /// Sends snapshots without a pause from now on: in thousands of small chunks they would take longer
    /// than a cluster may take to recover.
    pub fn hurry(&mut self) {
        self.plan.pace.chunk_ms_max = 0;
    }

    /// Goes on with the snapshots that it sends and takes.
    pub fn step_snapshots(
        &mut self,
        now_ms: u64,
        rng: &mut ChaCha8Rng,
        is_whole: &dyn Fn(u64) -> bool,
    ) -> Vec<Sent> {
        let Some(life) = &mut self.life else { return Vec::new() };
        let orders = std::mem::take(&mut *life.outbound.snapshots.lock().expect("one thread"));
        for order in orders {
            self.streams += 1;
            let index = u64::try_from(self.index).expect("members are few");
            life.snapshots.send(order, (index << 32) + self.streams, now_ms, self.plan.pace);
        }
        if life.snapshots.is_idle() {
            return Vec::new();
        }
        life.snapshots.step(now_ms, self.plan.pace, rng, is_whole)
    }

    /// Another member is gone: streams with snapshots break.
    pub fn lost_snapshots(&mut self, peer: u64, loss: Loss, now_ms: u64, rng: &mut ChaCha8Rng) {
        if let Some(life) = &mut self.life {
            life.snapshots.lost(peer, loss, now_ms, rng);
        }
    }

    /// A turn of the engine.
    pub fn engine_turn(&mut self) -> Result<(), Failure> {
        if let Some(life) = &mut self.life {
            life.engine.turn()?;
        }
        Ok(())
    }
}

/// The clients' way to a member.
fn door(member: &Member, metrics: Metrics, stop: &CancellationToken) -> Door {
    let routes = rusd::api::routes(member).in_process(&Arc::new(metrics), stop);
    Door::new(routes, stop.clone())
}

impl Seen for Host {
    fn id(&self) -> u64 {
        self.id
    }

    fn disk(&self) -> &Disk {
        &self.disk
    }

    fn node(&self) -> Option<&Node<SimLog>> {
        self.life.as_ref().map(|life| life.driver.node())
    }

    fn view(&self) -> Option<&View> {
        self.member().map(|member| &member.view)
    }
}

/// What is on a disk, opened.
pub(crate) struct Opened {
    pub(crate) log: SimLog,
    pub(crate) state: StateMachine,
    pub(crate) generations: Arc<Generations>,
}

/// What a server does in `Storage::open`.
pub(crate) fn open(disk: &Disk, config: &Config) -> Result<Opened, Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure::Start(error.to_string());
    let mut log = disk.log();
    // As the log on files does when it is opened.
    log.sync().map_err(|error| fail(&error))?;
    let generations = generations_for(&log, &disk.shelf()).map_err(|error| fail(&error))?;
    let options = rusd_state::Options {
        lease_ttl_seconds_min: config.lease_ttl_seconds_min(),
        learners_max: config.membership.learners_max,
        ..rusd_state::Options::default()
    };
    let backend = generations.current();
    // So that a flush is several transactions, between which a crash may come.
    let history_options = HistoryOptions { batch_bytes_max: 1 << 10, ..HistoryOptions::default() };
    let state =
        StateMachine::open(backend, history_options, options).map_err(|error| fail(&error))?;
    Ok(Opened { log, state, generations: Arc::new(generations) })
}
