//! The hosts, the network between them and what goes wrong, one millisecond at a time.

use std::cell::Ref;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusd_raft::Node;
use rusd_state::View;
use turmoil::{Builder, Sim};

use super::clients::Clients;
use super::links::Links;
use super::member::{Life, Member};
use super::{panics, wire};
use crate::disk::{Disk, Loss, SimLog};
use crate::faults::{Fault, Planned, Source};
use crate::invariants::{Invariants, Seen};
use crate::network::Weather;
use crate::plan::{Cluster, Plan};
use crate::plants::Plant;
use crate::trace::Trace;
use crate::world::Violation;

/// What a step takes.
const STEP: Duration = Duration::from_millis(1);
/// Steps between two looks at the members' states.
const STATES_STEPS: u64 = 500;
/// Longest way of a message in fair weather.
const LATENCY_MAX_MS: u64 = 3;
/// Segments that a connection holds.
const SEGMENTS_MAX: usize = 4096;
/// A broken link comes back with this chance at each attempt to send.
const REPAIR_RATE: f64 = 0.05;
/// Of packets that a network without connections would lose, how many break a link here: one lost
/// segment is the end of its connection.
const BREAKS_PER_LOSS: f64 = 0.02;
/// How often a cut is between clients and a member too.
const CUTS_CLIENTS: f64 = 0.3;
/// The clients' host.
const CLIENTS: &str = "clients";
/// The simulation begins here: a time that no earlier life had.
const EPOCH: Duration = Duration::from_secs(1 << 30);

/// Everything.
pub(super) struct World<'a> {
    pub(super) clients: Rc<Clients>,
    pub(super) invariants: Invariants,
    pub(super) trace: Trace,
    /// Faults begun, with the time at which they were.
    pub(super) faults: Vec<(u64, Planned)>,
    /// Snapshots installed.
    pub(super) snapshots: u64,
    /// Steps so far, in milliseconds.
    pub(super) now_ms: u64,
    sim: Sim<'a>,
    members: Vec<Rc<Member>>,
    is_up: Vec<bool>,
    links: Links,
    source: Source,
    rng: ChaCha8Rng,
    under_way: Vec<UnderWay>,
    /// By member: term, whether it leads, and committed index, as last noted.
    noted: Vec<(u64, bool, u64)>,
}

/// A fault that ends.
struct UnderWay {
    until_ms: u64,
    fault: Fault,
    /// A member that clients cannot reach meanwhile.
    unreached: Option<usize>,
}

impl World<'_> {
    /// All members and the clients, started.
    pub(super) fn start(plan: &Plan, source: Source, trace: Trace, plant: Option<Plant>) -> Self {
        panics::begin();
        let cluster = Cluster::new(plan.members);
        let mut builder = Builder::new();
        builder
            .rng_seed(plan.seed)
            .epoch(SystemTime::UNIX_EPOCH + EPOCH)
            .simulation_duration(Duration::MAX)
            .tick_duration(STEP)
            .min_message_latency(STEP)
            .max_message_latency(Duration::from_millis(LATENCY_MAX_MS))
            .repair_rate(REPAIR_RATE)
            .tcp_capacity(SEGMENTS_MAX)
            .enable_random_order();
        let mut sim = builder.build();
        let members: Vec<Rc<Member>> = (0..plan.members)
            .map(|index| Rc::new(Member::new(index, plan, &cluster, plant)))
            .collect();
        for member in &members {
            let member = Rc::clone(member);
            sim.host(wire::name(member.index), move || {
                let member = Rc::clone(&member);
                async move {
                    Box::pin(member.live()).await;
                    Ok(())
                }
            });
        }
        let clients = Rc::<Clients>::default();
        let running = Rc::clone(&clients).run(plan.clone());
        sim.client(CLIENTS, async move {
            running.await;
            Ok(())
        });
        let mut names: Vec<String> = (0..plan.members).map(wire::name).collect();
        names.push(CLIENTS.to_owned());
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        rng.set_stream(102);
        World {
            clients,
            invariants: Invariants::new(plan.members),
            trace,
            faults: Vec::new(),
            snapshots: 0,
            now_ms: 0,
            sim,
            is_up: vec![true; plan.members],
            links: Links::new(names),
            source,
            rng,
            under_way: Vec::new(),
            noted: vec![(0, false, 0); plan.members],
            members,
        }
    }

    /// The next millisecond: what is due, then the invariants.
    pub(super) fn step(&mut self, with_faults: bool) -> Result<(), Violation> {
        self.now_ms += 1;
        self.end_faults();
        if with_faults {
            self.begin_faults();
        }
        if let Err(error) = self.sim.step() {
            return Err(Violation::Panicked(error.to_string()));
        }
        if let Some(panic) = panics::seen() {
            return Err(Violation::Panicked(panic));
        }
        for member in 0..self.members.len() {
            self.look_after(member)?;
        }
        self.check()
    }

    /// A member that stopped, or that starts again.
    fn look_after(&mut self, member: usize) -> Result<(), Violation> {
        let fares = &self.members[member].fares;
        if let Some(failure) = fares.failure.take() {
            let loss_of = |under_way: &UnderWay| match under_way.fault {
                Fault::DiskError { member: other, loss, .. } if other == member => Some(loss),
                _ => None,
            };
            let Some(loss) = self.under_way.iter().find_map(loss_of) else {
                return Err(Violation::Failed { member, failure });
            };
            self.trace.words(|| format!("{} ms: m{member} stops: {failure}", self.now_ms));
            self.crash(member, loss);
        } else if fares.has_installed.take() {
            self.snapshots += 1;
            self.trace.words(|| format!("{} ms: m{member} got the state", self.now_ms));
            self.crash(member, Loss::OfProcess);
            self.bounce(member);
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), Violation> {
        let lives: Vec<Looked<'_>> = self.members.iter().map(|member| Looked::at(member)).collect();
        for (member, looked) in lives.iter().enumerate() {
            let Some(node) = looked.node() else { continue };
            let now = (node.term(), node.is_leader(), node.committed().0);
            if self.noted[member] == now {
                continue;
            }
            self.noted[member] = now;
            self.trace.words(|| {
                let (term, leads, committed) = now;
                let leads = if leads { ", which it leads" } else { "" };
                format!("{} ms: m{member} in term {term}{leads}: {committed}", self.now_ms)
            });
            self.invariants.check(member, &lives)?;
        }
        if self.now_ms.is_multiple_of(STATES_STEPS) {
            for member in 0..lives.len() {
                self.invariants.check_state(member, &lives)?;
            }
        }
        Ok(())
    }

    /// Compares the states of all members.
    pub(super) fn check_states(&mut self) -> Result<(), Violation> {
        let lives: Vec<Looked<'_>> = self.members.iter().map(|member| Looked::at(member)).collect();
        for member in 0..lives.len() {
            self.invariants.check_state(member, &lives)?;
        }
        Ok(())
    }

    /// Index of the member that leads in the newest term.
    fn leader(&self) -> Option<usize> {
        let term = |member: &Rc<Member>| {
            let life = member.life.borrow();
            let node = life.as_ref()?.node();
            node.is_leader().then(|| (node.term(), member.index))
        };
        self.members.iter().filter_map(term).max().map(|(_, index)| index)
    }

    /// All members have applied everything that the leader has.
    pub(super) fn is_settled(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let lives: Vec<Looked<'_>> = self.members.iter().map(|member| Looked::at(member)).collect();
        let last = lives[leader].node().map(Node::last_index);
        let has_all = |looked: &Looked<'_>| {
            let applied = looked.view().map(View::applied_index);
            applied.is_some_and(|applied| last.is_some_and(|last| last.0 <= applied))
        };
        lives.iter().all(has_all)
    }

    fn begin_faults(&mut self) {
        let (all, leader) = ((0..self.members.len()).collect::<Vec<_>>(), self.leader());
        if !self.source.is_due(self.now_ms, || leader) {
            return;
        }
        while let Some(planned) = self.source.next(self.now_ms, &all, leader) {
            self.begin(planned);
        }
    }

    fn begin(&mut self, planned: Planned) {
        self.trace.words(|| format!("{} ms: {planned}", self.now_ms));
        self.faults.push((self.now_ms, planned.clone()));
        let Planned { fault, for_ms } = planned;
        let mut unreached = None;
        match &fault {
            Fault::Crash { members, loss } => {
                for member in members {
                    self.crash(*member, *loss);
                }
            }
            Fault::Pause(member) => self.stall(*member, true),
            Fault::Cut(links) => {
                for (from, to) in links {
                    self.links.set_cut(&self.sim, *from, *to, true);
                }
                unreached = links.first().map(|(from, _)| *from);
                unreached = unreached.filter(|_| self.rng.random_bool(CUTS_CLIENTS));
                self.cut_clients(unreached, true);
            }
            Fault::Weather(weather) => self.set_weather(*weather),
            Fault::DiskError { member, after_writes, .. } if self.is_up[*member] => {
                self.members[*member].disk.fail_after(*after_writes);
            }
            Fault::IdleEngine(member) => {
                let idle = &self.members[*member].fares.idle_engine;
                idle.set(idle.get() + 1);
            }
            Fault::Transfer { to } => {
                if let Some(leader) = self.leader() {
                    let target = self.members[*to].id;
                    self.members[leader].fares.transfer_to.set(Some(target));
                }
            }
            Fault::Defragment(member) => self.members[*member].fares.defragments.set(true),
            // A disk that nobody uses does not fail, and the members stay who they are.
            Fault::DiskError { .. } | Fault::Membership(_) => {}
        }
        self.under_way.push(UnderWay { until_ms: self.now_ms + for_ms, fault, unreached });
    }

    fn end_faults(&mut self) {
        let now_ms = self.now_ms;
        while let Some(position) = self.under_way.iter().position(|fault| fault.until_ms <= now_ms)
        {
            let ended = self.under_way.remove(position);
            self.end(ended);
        }
    }

    fn end(&mut self, UnderWay { fault, unreached, .. }: UnderWay) {
        match fault {
            Fault::Crash { members, .. } => {
                for member in members {
                    self.bounce(member);
                }
            }
            Fault::Pause(member) => self.stall(member, false),
            Fault::Cut(links) => {
                for (from, to) in links {
                    self.links.set_cut(&self.sim, from, to, false);
                }
                self.cut_clients(unreached, false);
            }
            Fault::Weather(_) => self.set_weather(Weather::FAIR),
            Fault::DiskError { member, loss, .. } => {
                self.crash(member, loss);
                self.bounce(member);
            }
            Fault::IdleEngine(member) => {
                let idle = &self.members[member].fares.idle_engine;
                idle.set(idle.get() - 1);
            }
            Fault::Transfer { .. } | Fault::Defragment(_) | Fault::Membership(_) => {}
        }
    }

    /// Everything that goes wrong ends.
    pub(super) fn heal(&mut self) {
        self.trace.words(|| format!("{} ms: healed", self.now_ms));
        for ended in std::mem::take(&mut self.under_way) {
            self.end(ended);
        }
        self.links.heal(&self.sim);
    }

    /// Its threads stand still, and so does its network.
    fn stall(&mut self, member: usize, is_stalled: bool) {
        let stalled = &self.members[member].fares.stalled;
        stalled.set(if is_stalled { stalled.get() + 1 } else { stalled.get() - 1 });
        self.links.set_held(&self.sim, member, is_stalled);
    }

    fn cut_clients(&mut self, member: Option<usize>, is_cut: bool) {
        let clients = self.members.len();
        if let Some(member) = member {
            self.links.set_cut(&self.sim, member, clients, is_cut);
            self.links.set_cut(&self.sim, clients, member, is_cut);
        }
    }

    fn set_weather(&mut self, weather: Weather) {
        let slowest = weather.delay_ms.1.max(LATENCY_MAX_MS);
        self.sim.set_max_message_latency(Duration::from_millis(slowest));
        self.sim.set_fail_rate(weather.loss * BREAKS_PER_LOSS);
    }

    /// Ends a member, without a word to anybody: the order in which a runtime that ends drops its
    /// connections is not the same in two runs. The others notice by their keep-alives and
    /// time-outs, or when it is back and does not know their connections.
    fn crash(&mut self, member: usize, loss: Loss) {
        if !std::mem::take(&mut self.is_up[member]) {
            return;
        }
        self.links.set_alone(&self.sim, member, true);
        self.sim.crash(wire::name(member));
        self.links.set_alone(&self.sim, member, false);
        let member = &self.members[member];
        member.life.take();
        member.fares.failure.take();
        member.fares.has_installed.set(false);
        member.disk.crash(loss, &mut self.rng);
    }

    /// Starts a member that is down.
    fn bounce(&mut self, member: usize) {
        if !std::mem::replace(&mut self.is_up[member], true) {
            self.sim.bounce(wire::name(member));
            self.noted[member] = (0, false, 0);
            let lives: Vec<Looked<'_>> =
                self.members.iter().map(|member| Looked::at(member)).collect();
            self.invariants.restarted(member, &lives);
        }
    }
}

/// A member as the invariants see it.
struct Looked<'a> {
    member: &'a Member,
    life: Ref<'a, Option<Life>>,
}

impl<'a> Looked<'a> {
    fn at(member: &'a Member) -> Looked<'a> {
        Looked { member, life: member.life.borrow() }
    }
}

impl Seen for Looked<'_> {
    fn id(&self) -> u64 {
        self.member.id
    }

    fn disk(&self) -> &Disk {
        &self.member.disk
    }

    fn node(&self) -> Option<&Node<SimLog>> {
        self.life.as_ref().map(Life::node)
    }

    fn view(&self) -> Option<&View> {
        self.life.as_ref().map(Life::view)
    }
}
