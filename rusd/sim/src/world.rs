//! The members, the network between them and what goes wrong, one millisecond at a time.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusd::config::Config;

use crate::doors::Doors;
use crate::faults::{self, Fault, Planned};
use crate::host::{Failure, Host};
use crate::invariants::{Broken, Invariants};
use crate::network::{Arrival, Network, Packet};
use crate::plan::{Cluster, Plan};
use crate::plants::Plant;
use crate::trace::Trace;

/// Time between two ticks of a node.
const TICK_MS: u64 = 10;
/// Time between two turns of an engine.
const ENGINE_MS: u64 = 50;
/// Time between two looks at the members' states.
const STATES_MS: u64 = 500;

/// A schedule that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// An invariant does not hold.
    #[error(transparent)]
    Invariant(#[from] Broken),
    /// A member failed for no fault of its disk.
    #[error("m{member} failed: {failure}")]
    Failed {
        /// Index of the member.
        member: usize,
        /// How.
        failure: Failure,
    },
    /// The history is not valid.
    #[error("{rules}: {what}")]
    History {
        /// The rules that it breaks.
        rules: String,
        /// The first violation.
        what: String,
    },
    /// The faults are healed, and the cluster does not recover.
    #[error("not recovered: {0}")]
    Stuck(String),
}

/// Everything but the clients.
pub struct World {
    /// Who is in the cluster.
    pub cluster: Cluster,
    /// The members.
    pub hosts: Vec<Host>,
    /// The clients' way to them.
    pub doors: Doors,
    /// What must hold.
    pub invariants: Invariants,
    /// What happened.
    pub trace: Trace,
    /// Packets delivered.
    pub packets: u64,
    /// Faults begun.
    pub faults: u64,
    now_ms: u64,
    network: Network,
    network_rng: ChaCha8Rng,
    fault_rng: ChaCha8Rng,
    disk_rng: ChaCha8Rng,
    next_fault_ms: u64,
    calm_ms_max: u64,
    /// Faults that end, with the time at which they do.
    under_way: Vec<(u64, Fault)>,
    paused: Vec<u32>,
    idle_engines: Vec<u32>,
    plant: Option<Plant>,
    /// The next turn of a member is due although nothing arrived.
    is_due: Vec<bool>,
}

impl World {
    /// All members, started.
    pub fn start(
        plan: &Plan,
        config: &Arc<Config>,
        trace: Trace,
        plant: Option<Plant>,
    ) -> Result<World, Violation> {
        let rng = |stream| {
            let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
            rng.set_stream(stream);
            rng
        };
        let cluster = Cluster::new(plan.members);
        let host = |index| Host::new(index, plan, &cluster, config, plant);
        let hosts: Vec<Host> = (0..plan.members).map(host).collect();
        let mut fault_rng = rng(101);
        let mut world = World {
            doors: Doors::new(plan.members),
            invariants: Invariants::new(plan.members),
            trace,
            packets: 0,
            faults: 0,
            now_ms: 0,
            network: Network::new(plan.members),
            network_rng: rng(100),
            next_fault_ms: fault_rng.random_range(0..plan.calm_ms_max),
            calm_ms_max: plan.calm_ms_max,
            fault_rng,
            disk_rng: rng(102),
            under_way: Vec::new(),
            paused: vec![0; plan.members],
            idle_engines: vec![0; plan.members],
            plant,
            is_due: vec![true; plan.members],
            hosts,
            cluster,
        };
        for member in 0..plan.members {
            world.start_member(member)?;
        }
        Ok(world)
    }

    /// Milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Index of the member that leads in the newest term.
    pub fn leader(&self) -> Option<usize> {
        let leads = |host: &&Host| host.node().is_some_and(rusd_raft::Node::is_leader);
        let term = |host: &&Host| host.node().map(rusd_raft::Node::term);
        self.hosts.iter().filter(leads).max_by_key(term).map(|host| host.index)
    }

    /// The next millisecond: what has arrived, what is due, then the invariants.
    pub async fn step(&mut self, with_faults: bool) -> Result<(), Violation> {
        tokio::time::advance(Duration::from_millis(1)).await;
        self.now_ms += 1;
        self.end_faults()?;
        if with_faults && self.now_ms >= self.next_fault_ms {
            let leader = self.leader();
            let planned = faults::draw(&mut self.fault_rng, self.hosts.len(), leader);
            self.begin(planned);
            self.next_fault_ms = self.now_ms + self.fault_rng.random_range(1..self.calm_ms_max);
        }
        while let Some(Arrival { from, to, packet }) = self.network.receive(self.now_ms) {
            self.note_packet(from, to, &packet);
            self.hosts[to].receive(packet);
            self.is_due[to] = true;
        }
        for member in 0..self.hosts.len() {
            self.step_member(member)?;
        }
        Ok(())
    }

    fn step_member(&mut self, member: usize) -> Result<(), Violation> {
        if self.paused[member] > 0 || !self.hosts[member].is_up() {
            return Ok(());
        }
        // Members do not tick at one moment.
        let offset = u64::try_from(member).expect("members are few");
        if (self.now_ms + 3 * offset).is_multiple_of(TICK_MS) {
            self.hosts[member].tick();
            self.is_due[member] = true;
        }
        if std::mem::take(&mut self.is_due[member]) || self.hosts[member].has_work() {
            let (network, rng, now_ms) = (&mut self.network, &mut self.network_rng, self.now_ms);
            let mut send = |arrival| network.send(now_ms, arrival, rng);
            if let Err(failure) = self.hosts[member].turn(&self.cluster, &mut send) {
                return self.failed(member, failure);
            }
            self.invariants.check(member, &self.hosts)?;
        }
        let is_idle = self.idle_engines[member] > 0;
        if !is_idle
            && (self.now_ms + 7 * offset).is_multiple_of(ENGINE_MS)
            && let Err(failure) = self.hosts[member].engine_turn()
        {
            return self.failed(member, failure);
        }
        if (self.now_ms + 11 * offset).is_multiple_of(STATES_MS) {
            self.invariants.check_state(member, &self.hosts)?;
        }
        Ok(())
    }

    /// A member whose disk fails stops; any other has no reason to.
    fn failed(&mut self, member: usize, failure: Failure) -> Result<(), Violation> {
        let loss_of = |(_, fault): &(u64, Fault)| match fault {
            Fault::DiskError { member: other, loss, .. } if *other == member => Some(*loss),
            _ => None,
        };
        let Some(loss) = self.under_way.iter().find_map(loss_of) else {
            return Err(Violation::Failed { member, failure });
        };
        self.trace.words(|| format!("m{member} stops: {failure}"));
        self.hosts[member].crash(loss, &self.doors, &mut self.disk_rng);
        Ok(())
    }

    fn start_member(&mut self, member: usize) -> Result<(), Violation> {
        let now = Duration::from_millis(self.now_ms);
        self.hosts[member]
            .start(now, &self.doors, self.plant)
            .map_err(|failure| Violation::Failed { member, failure })?;
        self.invariants.restarted(member);
        self.is_due[member] = true;
        Ok(())
    }

    fn begin(&mut self, planned: Planned) {
        let Planned { fault, for_ms } = planned;
        self.faults += 1;
        self.trace.words(|| format!("{} ms: {fault:?} for {for_ms} ms", self.now_ms));
        match &fault {
            Fault::Crash { members, loss } => {
                for member in members {
                    let host = &mut self.hosts[*member];
                    if host.is_up() {
                        host.crash(*loss, &self.doors, &mut self.disk_rng);
                    }
                }
            }
            Fault::Pause(member) => {
                self.paused[*member] += 1;
                self.doors.set_paused(*member, true);
            }
            Fault::Cut(links) => {
                for (from, to) in links {
                    self.network.set_cut(*from, *to, true);
                }
            }
            Fault::Weather(weather) => self.network.set_weather(*weather),
            Fault::DiskError { member, after_writes, .. } if self.hosts[*member].is_up() => {
                self.hosts[*member].disk.fail_after(*after_writes);
            }
            Fault::DiskError { .. } => {}
            Fault::IdleEngine(member) => self.idle_engines[*member] += 1,
            Fault::Transfer { to } => self.transfer(*to),
        }
        self.under_way.push((self.now_ms + for_ms, fault));
    }

    fn transfer(&self, to: usize) {
        let Some(leader) = self.leader() else { return };
        let (target, host) = (self.cluster.ids[to], &self.hosts[leader]);
        if let Some(member) = host.member() {
            let transfer = member.leader_transfer.clone();
            // Whether it works is not the point.
            tokio::spawn(async move { transfer.to(target).await.ok() });
        }
    }

    fn end_faults(&mut self) -> Result<(), Violation> {
        while let Some(position) = self.under_way.iter().position(|(at, _)| *at <= self.now_ms) {
            let (_, fault) = self.under_way.remove(position);
            self.end(fault)?;
        }
        Ok(())
    }

    fn end(&mut self, fault: Fault) -> Result<(), Violation> {
        match fault {
            Fault::Crash { members, .. } => {
                for member in members {
                    if !self.hosts[member].is_up() {
                        self.start_member(member)?;
                    }
                }
            }
            Fault::Pause(member) => {
                self.paused[member] -= 1;
                self.doors.set_paused(member, self.paused[member] > 0);
                self.is_due[member] = true;
            }
            Fault::Cut(links) => {
                for (from, to) in links {
                    self.network.set_cut(from, to, false);
                }
            }
            Fault::Weather(_) => self.network.set_weather(crate::network::Weather::FAIR),
            Fault::DiskError { member, loss, .. } => {
                self.hosts[member].crash(loss, &self.doors, &mut self.disk_rng);
                self.start_member(member)?;
            }
            Fault::IdleEngine(member) => self.idle_engines[member] -= 1,
            Fault::Transfer { .. } => {}
        }
        Ok(())
    }

    /// Ends all faults.
    pub fn heal(&mut self) -> Result<(), Violation> {
        self.trace.words(|| format!("{} ms: healed", self.now_ms));
        for (_, fault) in std::mem::take(&mut self.under_way) {
            self.end(fault)?;
        }
        self.network.heal();
        for member in 0..self.hosts.len() {
            if !self.hosts[member].is_up() {
                self.start_member(member)?;
            }
        }
        Ok(())
    }

    /// One leads, and everyone has applied what was committed.
    pub fn is_settled(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(committed) = self.hosts[leader].node().map(|node| node.committed().0) else {
            return false;
        };
        let has_applied = |host: &Host| {
            host.member().is_some_and(|member| member.progress.applied() >= committed)
        };
        self.hosts.iter().all(has_applied)
    }

    fn note_packet(&mut self, from: usize, to: usize, packet: &Packet) {
        self.packets += 1;
        let bytes = match packet {
            Packet::Message(message) => message.encode_to_vec(),
            Packet::Vote(request) => request.encode_to_vec(),
        };
        self.trace.bytes(&self.now_ms.to_be_bytes());
        self.trace.bytes(&[from.to_be_bytes(), to.to_be_bytes()].concat());
        self.trace.bytes(&bytes);
        self.trace.aside(|| format!("{} {from}>{to} {packet:?}", self.now_ms));
    }
}
