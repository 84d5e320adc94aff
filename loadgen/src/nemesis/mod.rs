//! Breaks things on a timetable, and mends them.
//!
//! [`schedule`] turns the workload's faults into a timetable (a pure function of the seed),
//! [`target`] chooses the members when a fault is due, and the fault's own file does it. Every
//! fault is written into the history when it begins and when it ends.
//!
//! Invariants: a member is under one fault at a time, and the membership under one change; every fault that began is ended before
//! [`Nemesis::run`] returns, whatever happened meanwhile; and a fault that was not done as planned
//! says so in its [`Window::error`], which makes the run a failed one.

mod cpu;
mod damage;
mod disk;
pub mod doctor;
pub mod kill;
mod links;
mod maintain;
mod moments;
mod move_leader;
pub mod network;
pub mod pause;
mod restart;
pub mod schedule;
pub mod target;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusd_checker::history::record::{Nemesis as NemesisRecord, NemesisPhase, Record};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError, membership, readiness};
use crate::recorder::Recorder;
use crate::stats::seconds;
use crate::workload::{FaultKind, Target};
use moments::Moments;
use network::RuleId;
use schedule::{Moment, Planned};

/// Processes that ask in the nemesis' name; those of clients are below.
const FIRST_PROCESS: u64 = 1 << 40;

/// Breaks things on a timetable, and mends them.
#[derive(Debug)]
pub struct Nemesis {
    cluster: Arc<Cluster>,
    recorder: Recorder,
    clock: Clock,
    random: Mutex<ChaCha8Rng>,
    /// Members under a fault.
    busy: Mutex<BTreeSet<u32>>,
    /// Held by who changes the membership, or breaks a learner, in the order in which they came.
    changing: tokio::sync::Mutex<()>,
    /// The next process that asks in our name.
    process: AtomicU64,
}

/// How a fault is mended.
#[derive(Debug)]
pub enum Mend {
    /// There is nothing to mend.
    Nothing,
    /// The members ended by it, and are started.
    Launch,
    /// The members stand still, and go on.
    Continue,
    /// A rule on links is taken back.
    Lift(RuleId),
    /// What was set at a place in the server's code is taken back.
    Place,
    /// The members must have ended by themselves, and said why after so many bytes; they are started.
    Ended(Vec<u64>),
    /// There is space again; those that ended are started.
    Space,
    /// Files are mended where they must be, and the members started.
    Files(Vec<damage::Damaged>),
    /// The members get their cores back.
    Cores(Vec<cpu::Starved>),
    /// The members are stopped, and started from their own executable.
    Restart,
    /// The members go for good, and new ones come.
    Replace,
}

/// A fault that was done, for reports.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Window {
    /// What was done.
    pub fault: &'static str,
    /// How the members were named.
    pub target: &'static str,
    /// To whom.
    pub members: Vec<u32>,
    /// When it began, in seconds of the run's clock.
    pub start_s: f64,
    /// When it ended.
    pub end_s: f64,
    /// What went wrong in doing it, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Window {
    /// What went wrong, for the report.
    pub fn failure(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        Some(format!("the {} of {} was not done as planned: {error}", self.fault, self.target))
    }
}

impl Nemesis {
    /// A nemesis of `cluster`.
    pub fn new(cluster: Arc<Cluster>, recorder: Recorder, clock: Clock, seed: u64) -> Nemesis {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(schedule::TARGET_STREAM);
        let random = Mutex::new(random);
        let changing = tokio::sync::Mutex::default();
        let (busy, process) = (Mutex::default(), AtomicU64::new(FIRST_PROCESS));
        Nemesis { cluster, recorder, clock, random, busy, changing, process }
    }

    /// Does what the timetable says, its times counted from the start of the load, until all is
    /// done or `stop` is set; then mends what is still broken. Says what was done, in order of
    /// time.
    pub async fn run(
        self: Arc<Self>,
        timetable: Vec<Planned>,
        load_ns: Range<u64>,
        stop: CancellationToken,
    ) -> Vec<Window> {
        let moments = Arc::new(Moments::of(&timetable));
        let mut faults = JoinSet::new();
        for planned in timetable {
            let nemesis = Arc::clone(&self);
            let (load_ns, stop, moments) = (load_ns.clone(), stop.clone(), Arc::clone(&moments));
            faults.spawn(async move { nemesis.fault(planned, load_ns, &moments, stop).await });
        }
        let mut done = Vec::new();
        while let Some(ended) = faults.join_next().await {
            done.extend(ended.expect("a fault does not panic"));
        }
        done.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
        done
    }

    /// One fault, for each group of members that it is done to at once; none if the load ended
    /// before it was due.
    async fn fault(
        &self,
        planned: Planned,
        load_ns: Range<u64>,
        moments: &Moments,
        stop: CancellationToken,
    ) -> Vec<Window> {
        // Cancel-safe: nothing is broken yet.
        tokio::select! {
            biased;
            () = stop.cancelled() => return self.missed(&planned, load_ns.end).await,
            () = self.due(&planned, load_ns.start, moments) => {}
        }
        // A learner may still be on its way, or be promoted just now.
        let waits = planned.kind.changes_membership() || planned.target == Target::Learner;
        let alone = if waits { Some(self.changing.lock().await) } else { None };
        let groups = match self.choose(&planned).await {
            Ok(groups) => groups,
            Err(error) => return vec![self.skipped(&planned, error).await],
        };
        moments.begin(&planned);
        let mut windows = Vec::new();
        for members in &groups {
            let window = self.fault_on(&planned, members, load_ns.end, &stop).await;
            let failed = window.error.is_some();
            windows.push(window);
            if failed {
                break;
            }
        }
        drop(alone);
        self.release(&groups);
        moments.end(&planned);
        windows
    }

    /// Waits until a fault is to begin.
    async fn due(&self, planned: &Planned, load_start_ns: u64, moments: &Moments) {
        let from_ns = match &planned.from {
            Moment::Load => load_start_ns,
            Moment::During(name) => {
                moments.has_begun(name).await;
                self.clock.now_ns()
            }
            Moment::After(name) => {
                moments.has_ended(name).await;
                self.clock.now_ns()
            }
        };
        tokio::time::sleep_until(self.clock.instant(from_ns + planned.start_ns)).await;
    }

    /// What is told of a fault that was never due: nothing if the load was cut short.
    async fn missed(&self, planned: &Planned, load_end_ns: u64) -> Vec<Window> {
        let name = match &planned.from {
            Moment::During(name) | Moment::After(name) if self.clock.now_ns() >= load_end_ns => {
                name
            }
            Moment::Load | Moment::During(_) | Moment::After(_) => return Vec::new(),
        };
        let error = format!("the fault {name} that it waits for came too late, or not at all");
        vec![self.skipped(planned, error).await]
    }

    /// Does it to these members, and mends it.
    async fn fault_on(
        &self,
        planned: &Planned,
        members: &[u32],
        load_end_ns: u64,
        stop: &CancellationToken,
    ) -> Window {
        let began_ns = self.clock.now_ns();
        // Finding the leader may have taken long, or the fault on those that came before.
        let Some(end_ns) = planned.end_ns(began_ns, load_end_ns) else {
            let left = Duration::from_nanos(load_end_ns.saturating_sub(began_ns));
            let lasts = Duration::from_nanos(planned.lasts_ns);
            let error =
                format!("too late: {left:.1?} of the load were left, for a fault of {lasts:?}");
            return self.skipped(planned, error).await;
        };
        let (mend, begun) = self.begin(planned, members).await;
        let began = begun.as_ref().err().map(ToString::to_string);
        self.record(planned, NemesisPhase::Start, members, began_ns, began).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(self.clock.instant(end_ns)) => {}
        }
        let ended = self.end(planned, members, mend).await;
        let joined = ended.as_ref().ok().copied().flatten();
        let error = begun.and(ended.map(drop)).err().map(|error| error.to_string());
        let ended_ns = self.clock.now_ns();
        let members: Vec<u32> = members.iter().copied().chain(joined).collect();
        self.record(planned, NemesisPhase::End, &members, ended_ns, error.clone()).await;
        window(planned, members, (began_ns, ended_ns), error)
    }

    /// Chooses the members, in groups to which the fault is done at once, and marks them as under a
    /// fault.
    pub async fn choose(&self, planned: &Planned) -> Result<Vec<Vec<u32>>, String> {
        if planned.target == Target::New {
            return Ok(vec![vec![self.cluster.next()]]);
        }
        let leader = target::leader_if_needed(&self.cluster, planned.target).await;
        let mut busy = self.busy.lock().expect("no holder panics");
        let mut random = self.random.lock().expect("no holder panics");
        let roster = self.cluster.roster();
        let members = target::choose(planned.target, &roster, leader, &busy, &mut *random)?;
        busy.extend(members.iter().copied());
        Ok(match planned.target {
            Target::Each => members.into_iter().map(|member| vec![member]).collect(),
            _ => vec![members],
        })
    }

    /// The members may be under another fault now.
    pub fn release(&self, groups: &[Vec<u32>]) {
        let mut busy = self.busy.lock().expect("no holder panics");
        busy.retain(|member| !groups.iter().any(|members| members.contains(member)));
    }

    /// Breaks it. Says how it is mended, whatever came of it.
    pub async fn begin(
        &self,
        planned: &Planned,
        members: &[u32],
    ) -> (Mend, Result<(), ClusterError>) {
        let (cluster, how) = (&self.cluster, &planned.how);
        match planned.kind {
            FaultKind::Kill => {
                (Mend::Launch, kill::begin(cluster, members, how.lose_unsynced).await)
            }
            FaultKind::Pause => (Mend::Continue, pause::begin(cluster, members)),
            FaultKind::Partition
            | FaultKind::Delay
            | FaultKind::Bandwidth
            | FaultKind::HalfOpen => {
                (Mend::Lift(links::begin(cluster, planned.kind, how, members)), Ok(()))
            }
            FaultKind::Reset => (Mend::Nothing, links::reset(cluster, how, members)),
            FaultKind::MoveLeader => (Mend::Nothing, move_leader::begin(cluster, members).await),
            FaultKind::Restart => (Mend::Launch, restart::begin(cluster, members).await),
            FaultKind::MemberAdd => {
                (Mend::Nothing, membership::add(cluster, how.role).await.map(drop))
            }
            FaultKind::MemberPromote => {
                (Mend::Nothing, membership::promote(cluster, one_of(members)).await)
            }
            FaultKind::MemberRemove => {
                (Mend::Nothing, membership::remove(cluster, one_of(members)).await)
            }
            FaultKind::MemberReplace => (Mend::Replace, kill::begin(cluster, members, false).await),
            FaultKind::SlowDisk => (Mend::Place, disk::slow(cluster, members, how.by).await),
            FaultKind::DiskError => {
                let (said, done) = disk::fail(cluster, members, how.place).await;
                (Mend::Ended(said), done)
            }
            FaultKind::DiskFull => (Mend::Space, disk::fill(cluster, members).await),
            FaultKind::TornWrite | FaultKind::BitFlip | FaultKind::Truncate => {
                let seed = self.random.lock().expect("no holder panics").random();
                let (damage, done) =
                    damage::begin(cluster, planned.kind, how.then, members, seed).await;
                (Mend::Files(damage), done)
            }
            FaultKind::Compact => (Mend::Nothing, self.compact(members, how.keep).await),
            FaultKind::Defragment => (Mend::Nothing, maintain::defragment(cluster, members).await),
            FaultKind::CpuStarve => {
                let (starved, done) = cpu::begin(cluster, members, how.hogs);
                (Mend::Cores(starved), done)
            }
            FaultKind::SwapBinary => {
                (Mend::Restart, restart::swap(cluster, members, how.binary.as_deref()).await)
            }
        }
    }

    /// Mends what the fault broke. Says who came instead, if somebody did.
    pub async fn end(
        &self,
        planned: &Planned,
        members: &[u32],
        mend: Mend,
    ) -> Result<Option<u32>, ClusterError> {
        let cluster = &self.cluster;
        match mend {
            Mend::Nothing => return Ok(None),
            Mend::Launch => each(members, |member| cluster.launch(member))?,
            Mend::Continue => pause::end(cluster, members)?,
            Mend::Lift(rule) => cluster.network().lift(rule)?,
            Mend::Place => disk::quicken(cluster, members).await?,
            Mend::Ended(said) => disk::ended(cluster, members, &said).await?,
            Mend::Space => disk::make_room(cluster, members).await?,
            Mend::Files(damage) => damage::end(cluster, members, damage)?,
            Mend::Cores(starved) => cpu::end(starved)?,
            Mend::Restart => restart::again(cluster, members).await?,
            Mend::Replace => {
                membership::remove(cluster, one_of(members)).await?;
                return membership::add(cluster, planned.how.role).await.map(Some);
            }
        }
        if planned.target == Target::Each {
            for &member in members {
                readiness::ready(cluster, member).await?;
            }
        }
        Ok(None)
    }

    /// Drops history through each of the members, and records it like any other operation.
    async fn compact(&self, members: &[u32], keep: u32) -> Result<(), ClusterError> {
        for &member in members {
            let process = self.process.fetch_add(1, Ordering::Relaxed);
            let operation =
                maintain::compact(&self.cluster, &self.clock, member, keep, process).await?;
            let done = maintain::done(&operation);
            self.recorder.record(Record::Op(operation)).await;
            done?;
        }
        Ok(())
    }

    async fn skipped(&self, planned: &Planned, error: String) -> Window {
        let now_ns = self.clock.now_ns();
        let error = Some(error);
        for phase in [NemesisPhase::Start, NemesisPhase::End] {
            self.record(planned, phase, &[], now_ns, error.clone()).await;
        }
        window(planned, Vec::new(), (now_ns, now_ns), error)
    }

    async fn record(
        &self,
        planned: &Planned,
        phase: NemesisPhase,
        members: &[u32],
        time_ns: u64,
        error: Option<String>,
    ) {
        let fault = planned.kind.name().to_owned();
        let target = planned.target.to_string();
        let members = members.to_vec();
        let record = NemesisRecord { time_ns, fault, phase, members, target, error };
        self.recorder.record(Record::Nemesis(record)).await;
    }
}

fn window(planned: &Planned, members: Vec<u32>, ns: (u64, u64), error: Option<String>) -> Window {
    Window {
        fault: planned.kind.name(),
        target: planned.target.name(),
        members,
        start_s: seconds(ns.0),
        end_s: seconds(ns.1),
        error,
    }
}

/// Does the same to every member, whatever came of the others; the first error is told.
fn each(
    members: &[u32],
    mut one: impl FnMut(u32) -> Result<(), ClusterError>,
) -> Result<(), ClusterError> {
    let mut result = Ok(());
    for &member in members {
        let done = one(member);
        result = result.and(done);
    }
    result
}

/// The member of a fault whose targets are never several at once.
fn one_of(members: &[u32]) -> u32 {
    let [member] = members else { unreachable!("validated: not several at once: {members:?}") };
    *member
}

#[cfg(test)]
mod tests;
