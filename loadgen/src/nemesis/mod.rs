//! Breaks things on a timetable, and mends them.
//!
//! [`schedule`] turns the workload's faults into a timetable (a pure function of the seed),
//! [`target`] chooses the members when a fault is due, and the fault's own file does it. Every
//! fault is written into the history when it begins and when it ends.
//!
//! Invariant: a member is under one fault at a time, and every fault that began is ended before
//! [`Nemesis::run`] returns, whatever happened meanwhile.

pub mod kill;
pub mod pause;
pub mod proxy;
pub mod schedule;
pub mod target;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rusd_checker::history::record::{Nemesis as NemesisRecord, NemesisPhase, Record};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError};
use crate::recorder::Recorder;
use crate::stats::seconds;
use crate::workload::{CutMode, FaultKind};
use schedule::Planned;

/// Breaks things on a timetable, and mends them.
#[derive(Debug)]
pub struct Nemesis {
    cluster: Arc<Cluster>,
    recorder: Recorder,
    clock: Clock,
    random: Mutex<ChaCha8Rng>,
    /// Members under a fault.
    busy: Mutex<BTreeSet<u32>>,
    done: Mutex<Vec<Window>>,
}

/// A fault that was done, for reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
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

impl Nemesis {
    /// A nemesis of `cluster`.
    pub fn new(cluster: Arc<Cluster>, recorder: Recorder, clock: Clock, seed: u64) -> Nemesis {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(schedule::TARGET_STREAM);
        let random = Mutex::new(random);
        let (busy, done) = (Mutex::default(), Mutex::default());
        Nemesis { cluster, recorder, clock, random, busy, done }
    }

    /// Does what the timetable says, its times counted from `start_ns`, until all is done or `stop`
    /// is set; then mends what is still broken. Says what was done, in order of time.
    pub async fn run(
        self: Arc<Self>,
        timetable: Vec<Planned>,
        start_ns: u64,
        stop: CancellationToken,
    ) -> Vec<Window> {
        let mut faults = JoinSet::new();
        for planned in timetable {
            let nemesis = Arc::clone(&self);
            let stop = stop.clone();
            faults.spawn(async move { nemesis.fault(planned, start_ns, stop).await });
        }
        while let Some(ended) = faults.join_next().await {
            ended.expect("a fault does not panic");
        }
        let mut done = std::mem::take(&mut *self.done.lock().expect("no holder panics"));
        done.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
        done
    }

    async fn fault(&self, planned: Planned, start_ns: u64, stop: CancellationToken) {
        let due = self.clock.instant(start_ns + planned.start_ns);
        // Cancel-safe: nothing is broken yet.
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(due) => {}
        }
        let members = match self.choose(&planned).await {
            Ok(members) => members,
            Err(error) => return self.skipped(&planned, error).await,
        };
        let began_ns = self.clock.now_ns();
        let mut error = self.begin(&planned, &members).await.err().map(|e| e.to_string());
        self.record(&planned, NemesisPhase::Start, &members, began_ns, error.clone()).await;
        let healed = self.clock.instant(start_ns + planned.end_ns);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(healed) => {}
        }
        if let Err(failed) = self.end(&planned, &members) {
            error = Some(failed.to_string());
        }
        let ended_ns = self.clock.now_ns();
        self.record(&planned, NemesisPhase::End, &members, ended_ns, error.clone()).await;
        let mut busy = self.busy.lock().expect("no holder panics");
        busy.retain(|member| !members.contains(member));
        drop(busy);
        self.keep(&planned, members, (began_ns, ended_ns), error);
    }

    /// Chooses the members and marks them as under a fault.
    async fn choose(&self, planned: &Planned) -> Result<Vec<u32>, String> {
        let leader = target::leader_if_needed(&self.cluster, planned.target).await;
        let mut busy = self.busy.lock().expect("no holder panics");
        let mut random = self.random.lock().expect("no holder panics");
        let count = self.cluster.count();
        let members = target::choose(planned.target, count, leader, &busy, &mut *random)?;
        busy.extend(members.iter().copied());
        Ok(members)
    }

    async fn begin(&self, planned: &Planned, members: &[u32]) -> Result<(), ClusterError> {
        match planned.kind {
            FaultKind::Kill => kill::begin(&self.cluster, members, planned.lose_unsynced).await,
            FaultKind::Pause => pause::begin(&self.cluster, members),
            FaultKind::Partition => {
                self.cluster.net().cut(members, planned.mode);
                Ok(())
            }
        }
    }

    fn end(&self, planned: &Planned, members: &[u32]) -> Result<(), ClusterError> {
        match planned.kind {
            FaultKind::Kill => kill::end(&self.cluster, members),
            FaultKind::Pause => pause::end(&self.cluster, members),
            FaultKind::Partition => {
                self.cluster.net().heal(members);
                Ok(())
            }
        }
    }

    async fn skipped(&self, planned: &Planned, error: String) {
        let now_ns = self.clock.now_ns();
        let error = Some(error);
        for phase in [NemesisPhase::Start, NemesisPhase::End] {
            self.record(planned, phase, &[], now_ns, error.clone()).await;
        }
        self.keep(planned, Vec::new(), (now_ns, now_ns), error);
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
        let target = planned.target.name().to_owned();
        let members = members.to_vec();
        let record = NemesisRecord { time_ns, fault, phase, members, target, error };
        self.recorder.record(Record::Nemesis(record)).await;
    }

    fn keep(&self, planned: &Planned, members: Vec<u32>, ns: (u64, u64), error: Option<String>) {
        let window = Window {
            fault: planned.kind.name(),
            target: planned.target.name(),
            members,
            start_s: seconds(ns.0),
            end_s: seconds(ns.1),
            error,
        };
        self.done.lock().expect("no holder panics").push(window);
    }
}

/// How a partition cuts, if the fault is one.
pub(crate) fn cut_mode(mode: Option<CutMode>) -> CutMode {
    mode.unwrap_or_default()
}
