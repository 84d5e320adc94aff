//! The members, the network between them and what goes wrong, one millisecond at a time.

use std::time::Duration;

use prost::Message as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusd_state::View;
use rusd_state::members::Member as ClusterMember;

use crate::disk::Loss;
use crate::doors::Doors;
use crate::faults::{Change, Fault, Planned, Source};
use crate::host::{Failure, Host, Turned};
use crate::invariants::{Broken, Invariants, Seen as _};
use crate::network::{Arrival, Network, Packet, Weather};
use crate::operator::Operator;
use crate::plan::{Cluster, Plan};
use crate::plants::Plant;
use crate::snapshots::Sent;
use crate::streams::Streams;
use crate::trace::Trace;

/// Time between two ticks of a node.
const TICK_MS: u64 = 10;
/// Time between two turns of an engine.
const ENGINE_MS: u64 = 50;
/// Time between two looks at the members' states.
const STATES_MS: u64 = 500;
/// Time between two looks at who was added and removed.
const TEND_MS: u64 = 100;
/// How long a member goes on that was removed, as a server does, in which it reaches all others. A leader
/// of two that is removed and heard by nobody leaves the other one without a quorum for ever, in etcd too;
/// whoever removes a member has to look after that.
const REMOVED_MS: u64 = 1000;

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
    /// Something that cannot be was met: a bug of a member, or of the simulation.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The faults are healed, and the cluster does not recover.
    #[error("not recovered: {0}")]
    Stuck(String),
}

impl Violation {
    /// What it is a case of: two of one kind may have the same cause.
    pub fn kind(&self) -> String {
        match self {
            Violation::Invariant(broken) => broken.name.to_owned(),
            Violation::Failed { .. } => "failed".to_owned(),
            Violation::History { rules, .. } => rules.clone(),
            Violation::Panicked(text) => text.clone(),
            Violation::Stuck(_) => "stuck".to_owned(),
        }
    }
}

/// Everything but the clients.
pub struct World {
    /// Who is, or was, in the cluster.
    pub cluster: Cluster,
    /// All members that there ever were.
    pub hosts: Vec<Host>,
    /// The clients' way to them.
    pub doors: Doors,
    /// What must hold.
    pub invariants: Invariants,
    /// What happened.
    pub trace: Trace,
    /// Packets delivered.
    pub packets: u64,
    /// Faults begun, with the time at which they were.
    pub faults: Vec<(u64, Planned)>,
    /// Snapshots installed.
    pub snapshots: u64,
    /// Who changes the membership.
    pub operator: Operator,
    plan: Plan,
    now_ms: u64,
    network: Network,
    streams: Streams,
    network_rng: ChaCha8Rng,
    disk_rng: ChaCha8Rng,
    source: Source,
    /// Faults that end, with the time at which they do.
    under_way: Vec<(u64, Fault)>,
    members: Vec<Condition>,
    plant: Option<Plant>,
}

/// How a member fares.
#[derive(Debug, Clone, Copy, Default)]
struct Condition {
    /// Pauses under way.
    paused: u32,
    /// Times that its engine is to do nothing.
    idle_engine: u32,
    /// Its next turn is due although nothing arrived.
    is_due: bool,
    /// When it stops because it was removed.
    stops_ms: Option<u64>,
}

impl World {
    /// All members, started.
    pub fn start(
        plan: &Plan,
        source: Source,
        trace: Trace,
        plant: Option<Plant>,
    ) -> Result<World, Violation> {
        let rng = |stream| {
            let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
            rng.set_stream(stream);
            rng
        };
        let cluster = Cluster::new(plan.members);
        let hosts: Vec<Host> =
            (0..plan.members).map(|index| Host::founding(index, plan, &cluster, plant)).collect();
        let (capacity, doors) = (plan.capacity(), Doors::new(plan.capacity()));
        let mut world = World {
            operator: Operator::new(doors.clone(), cluster.ids.clone()),
            doors,
            invariants: Invariants::new(capacity),
            trace,
            packets: 0,
            faults: Vec::new(),
            snapshots: 0,
            plan: plan.clone(),
            now_ms: 0,
            network: Network::new(
                capacity,
                if plan.has_unrest { Weather::FAR } else { Weather::FAIR },
            ),
            streams: Streams::new(capacity),
            network_rng: rng(100),
            disk_rng: rng(102),
            source,
            under_way: Vec::new(),
            members: vec![Condition::default(); capacity],
            plant,
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
        leader(&self.hosts)
    }

    /// The next millisecond: what has arrived, what is due, then the invariants.
    pub async fn step(&mut self, with_faults: bool) -> Result<(), Violation> {
        tokio::time::advance(Duration::from_millis(1)).await;
        self.now_ms += 1;
        self.end_faults()?;
        if with_faults {
            let hosts = &self.hosts;
            if self.source.is_due(self.now_ms, || leader(hosts)) {
                self.begin_faults();
            }
        }
        while let Some(Arrival { from, to, packet }) = self.network.receive(self.now_ms) {
            self.note_packet(from, to, &packet);
            if to >= self.hosts.len() {
                continue;
            }
            let answer = self.hosts[to].receive(self.cluster.ids[from], packet, self.now_ms);
            if let Some(packet) = answer {
                let arrival = Arrival { from: to, to: from, packet };
                self.network.send(self.now_ms, arrival, &mut self.network_rng);
            }
            self.members[to].is_due = true;
        }
        for member in 0..self.hosts.len() {
            self.step_member(member)?;
        }
        let (members, rng) = (&self.members, &mut self.network_rng);
        let is_paused = |member: usize| members[member].paused > 0;
        self.streams.step(self.now_ms, &self.hosts, &is_paused, &self.network, rng);
        self.tend_membership()
    }

    fn begin_faults(&mut self) {
        let present = self.hosts.iter().filter(|host| !host.is_gone).map(|host| host.index);
        let (present, leader): (Vec<usize>, _) = (present.collect(), self.leader());
        while let Some(planned) = self.source.next(self.now_ms, &present, leader) {
            self.begin(planned);
        }
    }

    /// Starts members that were added, and stops those that were removed.
    fn tend_membership(&mut self) -> Result<(), Violation> {
        if self.plan.newcomers == 0 || !self.now_ms.is_multiple_of(TEND_MS) {
            return Ok(());
        }
        for news in self.operator.news() {
            self.trace.words(|| format!("{} ms: {news}", self.now_ms));
        }
        for member in 0..self.hosts.len() {
            if !self.hosts[member].is_removed() || !self.reaches_all(member) {
                self.members[member].stops_ms = None;
                continue;
            }
            let stops_ms = *self.members[member].stops_ms.get_or_insert(self.now_ms + REMOVED_MS);
            if stops_ms <= self.now_ms {
                self.trace.words(|| format!("{} ms: m{member} was removed", self.now_ms));
                self.hosts[member].stop(&self.doors);
                self.hosts[member].is_gone = true;
                self.members[member].stops_ms = None;
                self.lost(member, Loss::OfProcess);
            }
        }
        while let Some(id) = self.newcomer() {
            let index = self.hosts.len();
            self.cluster.ids.push(id);
            let host = Host::joining(index, &self.plan, &self.cluster, self.plant);
            self.trace.words(|| format!("{} ms: m{index} is {id:x} and joins", self.now_ms));
            self.hosts.push(host);
            self.start_member(index)?;
        }
        Ok(())
    }

    /// A member that somebody knows of, that nobody has removed, and that is not there yet.
    fn newcomer(&self) -> Option<u64> {
        let views = || self.hosts.iter().filter_map(|host| Some(&host.member()?.view));
        let mut added = views().flat_map(View::members).map(|member| member.id);
        let is_removed = |id: u64| views().any(|view| view.membership().is_removed(id));
        let id = added.find(|id| self.cluster.index_of(*id).is_none() && !is_removed(*id))?;
        (self.hosts.len() < self.plan.capacity()).then_some(id)
    }

    fn step_member(&mut self, member: usize) -> Result<(), Violation> {
        if self.members[member].paused > 0 || !self.hosts[member].is_up() {
            return Ok(());
        }
        // Members do not tick at one moment.
        let offset = u64::try_from(member).expect("members are few");
        if (self.now_ms + 3 * offset).is_multiple_of(TICK_MS) {
            self.hosts[member].tick();
            self.members[member].is_due = true;
        }
        if std::mem::take(&mut self.members[member].is_due) || self.hosts[member].has_work() {
            let (network, rng, now_ms) = (&mut self.network, &mut self.network_rng, self.now_ms);
            let mut send = |arrival| network.send(now_ms, arrival, rng);
            match self.hosts[member].turn(&self.cluster, &mut send) {
                Ok(Turned::On) => self.invariants.check(member, &self.hosts)?,
                Ok(Turned::Installed { index, answers }) => {
                    return self.installed(member, index, answers);
                }
                Err(failure) => return self.failed(member, failure),
            }
        }
        self.step_snapshots(member);
        let is_idle = self.members[member].idle_engine > 0;
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

    fn step_snapshots(&mut self, member: usize) {
        let (network, cluster, now_ms) = (&self.network, &self.cluster, self.now_ms);
        let is_whole =
            |to: u64| cluster.index_of(to).is_some_and(|to| network.is_whole(member, to));
        let rng = &mut self.network_rng;
        let sent = self.hosts[member].step_snapshots(now_ms, rng, &is_whole);
        self.send_surely(member, sent);
    }

    fn send_surely(&mut self, member: usize, sent: Vec<Sent>) {
        for Sent { to, stream, part } in sent {
            let Some(to) = self.cluster.index_of(to) else { continue };
            let packet = Packet::Snapshot { stream, part };
            let arrival = Arrival { from: member, to, packet };
            self.network.send_surely(self.now_ms, arrival, &mut self.network_rng);
        }
    }

    /// A member has a state from another one, and starts again. Whether its answer leaves it before
    /// it ends is chance.
    fn installed(
        &mut self,
        member: usize,
        index: u64,
        answers: Vec<Sent>,
    ) -> Result<(), Violation> {
        self.snapshots += 1;
        if self.network_rng.random_bool(0.5) {
            self.send_surely(member, answers);
        }
        self.trace.words(|| format!("{} ms: m{member} got the state {index}", self.now_ms));
        self.hosts[member].stop(&self.doors);
        self.lost(member, Loss::OfProcess);
        self.start_member(member)
    }

    /// Streams with a member break.
    fn lost(&mut self, member: usize, loss: Loss) {
        let (id, now_ms) = (self.cluster.ids[member], self.now_ms);
        for host in &mut self.hosts {
            host.lost_snapshots(id, loss, now_ms, &mut self.network_rng);
        }
    }

    fn crash(&mut self, member: usize, loss: Loss) {
        self.hosts[member].crash(loss, &self.doors, &mut self.disk_rng);
        self.lost(member, loss);
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
        self.trace.words(|| format!("{} ms: m{member} stops: {failure}", self.now_ms));
        self.crash(member, loss);
        Ok(())
    }

    fn start_member(&mut self, member: usize) -> Result<(), Violation> {
        if self.hosts[member].is_gone {
            return Ok(());
        }
        let now = Duration::from_millis(self.now_ms);
        if let Err(failure) = self.hosts[member].start(now, &self.doors, self.plant) {
            return self.failed(member, failure);
        }
        self.invariants.restarted(member, &self.hosts);
        self.members[member].is_due = true;
        Ok(())
    }

    fn begin(&mut self, planned: Planned) {
        if planned.fault.members().iter().any(|member| *member >= self.hosts.len()) {
            // In a part of an earlier run: whom it concerned is not there.
            return;
        }
        self.trace.words(|| format!("{} ms: {planned}", self.now_ms));
        self.faults.push((self.now_ms, planned.clone()));
        let Planned { fault, for_ms } = planned;
        match &fault {
            Fault::Crash { members, loss } => {
                for member in members {
                    if self.hosts[*member].is_up() {
                        self.crash(*member, *loss);
                    }
                }
            }
            Fault::Pause(member) => {
                self.members[*member].paused += 1;
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
            Fault::IdleEngine(member) => self.members[*member].idle_engine += 1,
            Fault::Transfer { to } => self.transfer(*to),
            Fault::Defragment(member) => {
                if let Some(member) = self.hosts[*member].member() {
                    let defragmenter = member.defragmenter.clone();
                    // A failure is told by what follows from it.
                    tokio::spawn(async move { defragmenter.defragment().await.ok() });
                }
            }
            Fault::Membership(change) => self.change_membership(change),
        }
        self.under_way.push((self.now_ms + for_ms, fault));
    }

    fn reaches_all(&self, member: usize) -> bool {
        let mut others = self.hosts.iter().filter(|host| !host.is_gone && host.index != member);
        others.all(|host| {
            let is_whole = self.network.is_whole(member, host.index);
            host.is_up() && is_whole && self.members[host.index].paused == 0
        })
    }

    fn change_membership(&mut self, change: &Change) {
        let has_room = self.operator.added() < self.plan.newcomers;
        match change {
            Change::Add { is_learner, at } if has_room => self.operator.add(*at, *is_learner),
            Change::Promote => {
                if let Some(leader) = self.leader() {
                    self.operator.promote(leader);
                }
            }
            Change::Remove { member, at } => {
                self.operator.remove(*at, self.cluster.ids[*member]);
            }
            Change::Replace { member, is_learner } if has_room && self.is_spare(*member) => {
                self.hosts[*member].is_gone = true;
                self.crash(*member, Loss::OfPower);
                self.operator.replace(self.cluster.ids[*member], *is_learner);
            }
            Change::Add { .. } | Change::Replace { .. } => {}
        }
    }

    /// Without this member, those that are left are a quorum for certain.
    fn is_spare(&self, member: usize) -> bool {
        let Some(voters) = self.operator.certain_voters() else { return false };
        let id = self.cluster.ids[member];
        let is_left = |voter: &&u64| {
            let index = self.cluster.index_of(**voter);
            **voter != id && index.is_some_and(|index| !self.hosts[index].is_gone)
        };
        let left = voters.iter().filter(is_left).count();
        voters.contains(&id) && left > voters.len() / 2
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
                let condition = &mut self.members[member];
                condition.paused -= 1;
                condition.is_due = true;
                self.doors.set_paused(member, condition.paused > 0);
            }
            Fault::Cut(links) => {
                for (from, to) in links {
                    self.network.set_cut(from, to, false);
                }
            }
            Fault::Weather(_) => self.network.end_weather(),
            Fault::DiskError { member, loss, .. } => {
                if !self.hosts[member].is_gone {
                    self.crash(member, loss);
                    self.start_member(member)?;
                }
            }
            Fault::IdleEngine(member) => self.members[member].idle_engine -= 1,
            Fault::Transfer { .. } | Fault::Defragment(_) | Fault::Membership(_) => {}
        }
        Ok(())
    }

    /// Ends all faults; nothing is changed any more.
    pub fn heal(&mut self) -> Result<(), Violation> {
        self.operator.stop();
        self.trace.words(|| format!("{} ms: healed", self.now_ms));
        for (_, fault) in std::mem::take(&mut self.under_way) {
            self.end(fault)?;
        }
        self.network.heal();
        self.hosts.iter_mut().for_each(Host::hurry);
        for member in 0..self.hosts.len() {
            if !self.hosts[member].is_up() {
                self.start_member(member)?;
            }
        }
        Ok(())
    }

    /// The members as the leader has them, but for those whose machine is lost.
    pub fn members(&self) -> Option<Vec<ClusterMember>> {
        let leader = self.leader().and_then(|leader| self.hosts[leader].member())?;
        let mut members = leader.view.members();
        members.retain(|member| match self.cluster.index_of(member.id) {
            Some(index) => !self.hosts[index].is_gone,
            None => true,
        });
        Some(members)
    }

    /// One leads, and every member has applied all that it has, committed or not yet: what is not may
    /// remove a member. And every member has its name.
    pub fn is_settled(&self) -> bool {
        let (Some(leader), Some(members)) = (self.leader(), self.members()) else { return false };
        let Some(last) = self.hosts[leader].node().map(|node| node.last_index().0) else {
            return false;
        };
        members.iter().all(|member| {
            let index = self.cluster.index_of(member.id);
            let host = index.and_then(|index| self.hosts[index].member());
            host.is_some_and(|host| host.progress.applied() >= last) && !member.name.is_empty()
        })
    }

    /// Compares the states of all members that live.
    pub fn check_states(&mut self) -> Result<(), Violation> {
        for member in 0..self.hosts.len() {
            self.invariants.check_state(member, &self.hosts)?;
        }
        Ok(())
    }

    fn note_packet(&mut self, from: usize, to: usize, packet: &Packet) {
        self.packets += 1;
        let bytes = match packet {
            Packet::Message(message) => message.encode_to_vec(),
            Packet::Vote(request) => request.encode_to_vec(),
            Packet::Snapshot { stream, part } => part.to_bytes(*stream),
            Packet::Removed => Vec::new(),
        };
        self.trace.bytes(&self.now_ms.to_be_bytes());
        self.trace.bytes(&[from.to_be_bytes(), to.to_be_bytes()].concat());
        self.trace.bytes(&bytes);
        self.trace.aside(|| format!("{} {from}>{to} {packet:?}", self.now_ms));
    }
}

fn leader(hosts: &[Host]) -> Option<usize> {
    let leads = |host: &&Host| host.node().is_some_and(rusd_raft::Node::is_leader);
    let term = |host: &&Host| host.node().map(rusd_raft::Node::term);
    hosts.iter().filter(leads).max_by_key(term).map(|host| host.index)
}
