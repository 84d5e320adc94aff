//! The second layer: whole servers over a simulated network with connections.
//!
//! ```text
//!   host m0                      host m1 ...            host clients
//!   peer port   <-- HTTP/2, gRPC -->                    load, watches, last reads
//!   client port <-------------------------------------------'
//!   driver, applier, hub, engine (stepped)
//!   simulated disk
//! ```
//!
//! What the first layer leaves out runs here: HTTP/2 and gRPC on both sides, the accept loops, the
//! links to peers with their back-off and keep-alives, snapshots as streams, the routes. Each host has
//! a runtime of its own; `turmoil` steps them one after the other and carries what they send.
//! Plans, faults, disk, clients, invariants and verdict are those of the first layer.
//!
//! What differs: messages are segments of connections, so one that is lost ends its connection, and
//! none is doubled or reordered within one. A pause holds up a member's threads and its network.
//! The membership stays as it is.

mod clients;
mod links;
mod member;
mod panics;
mod wire;
mod world;

use rusd_checker::history::record::Record;

use crate::faults::Source;
use crate::plan::Plan;
use crate::schedule::{Counts, Judged, Outcome, SETTLE_MS_MAX, Settings, judge};
use crate::trace::Trace;
use crate::world::Violation;
use world::World;

/// The load is so many times shorter than in the first layer, where a millisecond costs less.
const SHORTER: u64 = 3;

/// The plan of a seed.
pub fn plan(seed: u64) -> Plan {
    let plan = Plan::of(seed);
    Plan { newcomers: 0, load_ms: plan.load_ms / SHORTER, ..plan }
}

/// Runs the schedule of a plan to its end.
pub fn run(plan: &Plan, settings: &Settings) -> Outcome {
    let trace = if settings.in_words { Trace::in_words() } else { Trace::default() };
    let source = match &settings.faults {
        Some(faults) => Source::Listed(faults.iter().cloned().collect()),
        None => Source::of(plan),
    };
    let mut world = World::start(plan, source, trace, settings.plant);
    let (violation, is_undecided) = match play(plan, &mut world) {
        Ok(Judged::Valid) => (None, false),
        Ok(Judged::Undecided) => (None, true),
        Err(violation) => (Some(violation), false),
    };
    let records = world.clients.records();
    let operations = records.iter().filter(|record| matches!(record, Record::Op(_))).count();
    let wide = |count: usize| u64::try_from(count).expect("a count fits");
    let counts = Counts {
        simulated_ms: world.now_ms,
        faults: wide(world.faults.len()),
        snapshots: world.snapshots,
        changes: 0,
        elections: wide(world.invariants.elections()),
        packets: 0,
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

fn play(plan: &Plan, world: &mut World<'_>) -> Result<Judged, Violation> {
    while world.now_ms < plan.load_ms {
        world.step(true)?;
    }
    world.heal();
    world.clients.stop.cancel();
    until(world, "clients end, and all members have applied everything", |world| {
        world.clients.are_quiet.get() && world.is_settled()
    })?;
    world.clients.settled.cancel();
    until(world, "everything is read, and watches have come to the end", |world| {
        world.clients.are_done.get()
    })?;
    if let Some(violation) = world.clients.violation.take() {
        return Err(violation);
    }
    world.check_states()?;
    judge(world.clients.records())
}

fn until(
    world: &mut World<'_>,
    what: &str,
    is_so: impl Fn(&World<'_>) -> bool,
) -> Result<(), Violation> {
    let until_ms = world.now_ms + SETTLE_MS_MAX;
    while !is_so(world) {
        if world.now_ms > until_ms {
            return Err(Violation::Stuck(format!("{SETTLE_MS_MAX} ms, and not so: {what}")));
        }
        world.step(false)?;
    }
    Ok(())
}
