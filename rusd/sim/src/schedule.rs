//! One schedule: load with faults, then peace, then the verdict.

use std::panic::AssertUnwindSafe;

use rusd_checker::history::record::{
    FORMAT_VERSION, FinalState, Header, Record, Request, ResponseBody,
};
use rusd_checker::{Options, Verdict, check_records};
use rusd_loadgen::keys::KeySpace;
use tokio_util::sync::CancellationToken;

use crate::clients::{self, History, Shared, Watcher};
use crate::doors::Doors;
use crate::faults::{Planned, Source};
use crate::plan::Plan;
use crate::plants::Plant;
use crate::trace::Trace;
use crate::world::{Violation, World};

/// Longest time until the cluster must have recovered.
pub(crate) const SETTLE_MS_MAX: u64 = 30_000;

/// Steps of the checker's search, which few histories need: about a second.
const SEARCH_STEPS_MAX: u64 = 200_000;

/// How to run a schedule.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Keep the trace in words.
    pub in_words: bool,
    /// A bug planted on purpose.
    pub plant: Option<Plant>,
    /// Faults in place of those that the seed would draw, with the times at which they begin.
    pub faults: Option<Vec<(u64, Planned)>>,
}

/// What came of a schedule.
#[derive(Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was violated, if anything.
    pub violation: Option<Violation>,
    /// What happened.
    pub trace: Trace,
    /// Its history.
    pub records: Vec<Record>,
    /// The faults, with the times at which they began.
    pub faults: Vec<(u64, Planned)>,
    /// What it was made of.
    pub counts: Counts,
}

/// What a schedule was made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Faults.
    pub faults: u64,
    /// Snapshots that members got from others.
    pub snapshots: u64,
    /// Changes of the membership.
    pub changes: u64,
    /// Terms that had a leader.
    pub elections: u64,
    /// Packets delivered.
    pub packets: u64,
    /// Operations of clients.
    pub operations: u64,
    /// Entries committed.
    pub committed: u64,
    /// Histories on which the checker gave up: neither valid nor a violation.
    pub undecided: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.simulated_ms += other.simulated_ms;
        self.faults += other.faults;
        self.snapshots += other.snapshots;
        self.changes += other.changes;
        self.elections += other.elections;
        self.packets += other.packets;
        self.operations += other.operations;
        self.committed += other.committed;
        self.undecided += other.undecided;
    }
}

/// Runs the schedule of a plan to its end, in one of the two layers.
pub type Layer = fn(&Plan, &Settings) -> Outcome;

/// Runs the schedule of a plan to its end, in a runtime of its own with a clock of its own.
pub fn run(plan: &Plan, settings: &Settings) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without IO needs nothing");
    let running = || runtime.block_on(schedule(plan, settings));
    std::panic::catch_unwind(AssertUnwindSafe(running)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        Outcome::at_once(plan.seed, Violation::Panicked(text.to_owned()))
    })
}

async fn schedule(plan: &Plan, settings: &Settings) -> Outcome {
    let trace = if settings.in_words { Trace::in_words() } else { Trace::default() };
    let history = History::new(header(plan));
    let source = match &settings.faults {
        Some(faults) => Source::Listed(faults.iter().cloned().collect()),
        None => Source::of(plan),
    };
    let mut world = match World::start(plan, source, trace, settings.plant) {
        Ok(world) => world,
        Err(violation) => return Outcome::at_once(plan.seed, violation),
    };
    let (violation, is_undecided) = match play(plan, &mut world, &history).await {
        Ok(Judged::Valid) => (None, false),
        Ok(Judged::Undecided) => (None, true),
        Err(violation) => (Some(violation), false),
    };
    let records = history.records();
    let operations = records.iter().filter(|record| matches!(record, Record::Op(_))).count();
    let wide = |count: usize| u64::try_from(count).expect("a count fits");
    let counts = Counts {
        simulated_ms: world.now_ms(),
        faults: wide(world.faults.len()),
        snapshots: world.snapshots,
        changes: world.operator.done(),
        elections: wide(world.invariants.elections()),
        packets: world.packets,
        operations: wide(operations),
        committed: wide(world.invariants.committed()),
        undecided: u64::from(is_undecided),
    };
    let (mut trace, faults) = (std::mem::take(&mut world.trace), std::mem::take(&mut world.faults));
    for record in &records {
        trace.bytes(&serde_json::to_vec(record).expect("records are JSON"));
    }
    Outcome { seed: plan.seed, violation, trace, records, faults, counts }
}

impl Outcome {
    /// Nothing is known of it but that it failed.
    fn at_once(seed: u64, violation: Violation) -> Outcome {
        Outcome {
            seed,
            violation: Some(violation),
            trace: Trace::default(),
            records: Vec::new(),
            faults: Vec::new(),
            counts: Counts::default(),
        }
    }
}

pub(crate) fn header(plan: &Plan) -> Header {
    Header {
        version: FORMAT_VERSION,
        workload: "sim".to_owned(),
        seed: plan.seed,
        system: "rusd, simulated".to_owned(),
        first_revision: 1,
        initial: Vec::new(),
    }
}

async fn play(plan: &Plan, world: &mut World, history: &History) -> Result<Judged, Violation> {
    let stop = CancellationToken::new();
    let shared =
        Shared { doors: world.doors.clone(), history: history.clone(), stop: stop.clone() };
    let clients = clients::start(plan, &shared);
    let mut watches = Vec::new();
    while world.now_ms() < plan.load_ms {
        watch_all(plan, world, &shared, &mut watches);
        world.step(true).await?;
    }
    world.heal()?;
    stop.cancel();
    until(world, "clients end, and all members have applied everything", |world| {
        clients.iter().all(tokio::task::JoinHandle::is_finished) && world.is_settled()
    })
    .await?;
    let voters = voters(world);
    let reading = read_all(plan, voters.clone(), world.doors.clone(), history.clone());
    let mut reading = std::pin::pin!(reading);
    let revision = loop {
        tokio::select! {
            biased;
            read = reading.as_mut() => break read?,
            stepped = world.step(false) => stepped?,
        }
        if world.now_ms() > plan.load_ms + 2 * SETTLE_MS_MAX {
            return Err(Violation::Stuck("the last reads have no answer".to_owned()));
        }
    };
    watch_all(plan, world, &shared, &mut watches);
    until(world, "watches have come to the last revision", |_| {
        let mut of_voters = watches.iter().filter(|watch| voters.contains(&watch.member));
        of_voters.all(|watch| *watch.reached.borrow() >= revision)
    })
    .await?;
    for watch in &watches {
        watch.end(!voters.contains(&watch.member));
    }
    until(world, "watches end", |_| watches.iter().all(|watch| watch.task.is_finished())).await?;
    world.check_states()?;
    judge(history.records())
}

/// Every member there is has a watch on it.
fn watch_all(plan: &Plan, world: &World, shared: &Shared, watches: &mut Vec<Watcher>) {
    for member in watches.len()..world.hosts.len() {
        watches.push(clients::start_watch(plan, member, shared));
    }
}

/// Who has a vote at the end, and is there.
fn voters(world: &World) -> Vec<usize> {
    let members = world.members().unwrap_or_default();
    let voters = members.iter().filter(|member| !member.is_learner);
    voters.filter_map(|member| world.cluster.index_of(member.id)).collect()
}

async fn until(
    world: &mut World,
    what: &str,
    mut is_so: impl FnMut(&World) -> bool,
) -> Result<(), Violation> {
    let until_ms = world.now_ms() + SETTLE_MS_MAX;
    while !is_so(world) {
        if world.now_ms() > until_ms {
            return Err(Violation::Stuck(format!("{SETTLE_MS_MAX} ms, and not so: {what}")));
        }
        world.step(false).await?;
    }
    Ok(())
}

/// Reads everything from every member that has a vote; returns the newest revision.
pub(crate) async fn read_all(
    plan: &Plan,
    members: Vec<usize>,
    doors: Doors,
    history: History,
) -> Result<i64, Violation> {
    let (key, range_end) = KeySpace::new(&plan.workload.keys).whole();
    let mut newest = 0;
    for member in members {
        let stuck = |what: &str| Violation::Stuck(format!("m{member}: {what}"));
        let door = doors.reach(member).await.ok_or_else(|| stuck("gone"))?;
        let range = rusd_checker::history::record::Range {
            key: key.clone(),
            range_end: range_end.clone(),
            ..rusd_checker::history::record::Range::default()
        };
        let call_ns = history.now_ns();
        let answer = door.client.execute(&Request::Range(range)).await;
        let answer = answer.map_err(|status| stuck(status.message()))?;
        let return_ns = history.now_ns();
        let ResponseBody::Range(found) = answer.body else {
            return Err(stuck("answers something else"));
        };
        let hash = door.client.newest_hash().await.map_err(|status| stuck(status.message()))?;
        // A lease may have ended in between: the hash is then of another state.
        let hash = hash.filter(|(at, _)| *at == answer.revision).map(|(_, hash)| hash);
        newest = newest.max(answer.revision);
        history.push(Record::Final(FinalState {
            member: u32::try_from(member).expect("members are few"),
            call_ns,
            return_ns,
            revision: answer.revision,
            kvs: found.kvs,
            hash,
        }));
    }
    Ok(newest)
}

/// What the checker says of a history without a violation.
pub(crate) enum Judged {
    Valid,
    /// It gave up.
    Undecided,
}

pub(crate) fn judge(records: Vec<Record>) -> Result<Judged, Violation> {
    let options = Options { search_steps_max: SEARCH_STEPS_MAX, ..Options::default() };
    let report = check_records(records, &options);
    let report = report.map_err(|error| Violation::Stuck(format!("bad history: {error}")))?;
    match &report.verdict {
        Verdict::Valid => Ok(Judged::Valid),
        Verdict::Unknown { .. } => Ok(Judged::Undecided),
        verdict @ Verdict::Invalid { .. } => {
            let violations = verdict.violations();
            let mut rules: Vec<&str> =
                violations.iter().map(|violation| violation.rule.id()).collect();
            rules.dedup();
            let what = violations.first().map(|violation| format!("{violation:?}"));
            let (rules, what) = (rules.join(", "), what.unwrap_or_default());
            Err(Violation::History { rules, what })
        }
    }
}
