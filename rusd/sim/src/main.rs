//! `rusd-sim`: runs schedules of whole clusters, each from its seed, and stops at a violation.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use rusd_sim::plan::Plan;
use rusd_sim::plants::Plant;
use rusd_sim::schedule::{self, Counts, Layer, Outcome, Settings};
use rusd_sim::shrink::Failing;
use rusd_sim::whole;

/// Simulate whole clusters from seeds; a violation is printed with the seed that shows it
#[derive(Debug, Parser)]
#[command(name = "rusd-sim", version)]
struct Args {
    /// How many schedules
    #[arg(long, default_value_t = 500)]
    schedules: u64,
    /// The first seed; the others follow it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; each runs schedules of its own
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Whole servers, with connections over a simulated network
    #[arg(long)]
    whole: bool,
    /// Run the one schedule of `--seed` twice, show what happened, and that it was the same
    #[arg(long)]
    replay: bool,
    /// Plant a bug, to see it found
    #[arg(long)]
    plant: Option<Plant>,
    /// Leave a schedule that fails as it is
    #[arg(long)]
    unshrunk: bool,
}

/// At most one history in so many may be undecided.
const UNDECIDED_ONE_IN: u64 = 50;

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.replay { replay(&args) } else { Ok(search(&args)) }
}

impl Args {
    fn plan(&self, seed: u64) -> Plan {
        if self.whole { whole::plan(seed) } else { Plan::of(seed) }
    }

    fn run(&self, plan: &Plan, settings: &Settings) -> Outcome {
        self.layer()(plan, settings)
    }

    fn layer(&self) -> Layer {
        if self.whole { whole::run } else { schedule::run }
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    counts: Counts,
    done: u64,
    /// The schedule with the lowest seed that failed.
    failing: Option<Failing>,
    violations: usize,
    /// Seeds of histories that the checker gave up on.
    undecided: Vec<u64>,
}

fn search(args: &Args) -> ExitCode {
    let settings = Settings { plant: args.plant, ..Settings::default() };
    let (started, next) = (Instant::now(), AtomicU64::new(0));
    let found = Mutex::new(Found::default());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let is_broken = found.lock().expect("no panic").violations > 0;
                    if number >= args.schedules || is_broken {
                        return;
                    }
                    let plan = args.plan(args.seed + number);
                    let outcome = args.run(&plan, &settings);
                    found.lock().expect("no panic").add(args, &plan, outcome);
                }
            });
        }
    });
    let Found { counts, done, failing, violations, mut undecided } =
        found.into_inner().expect("no panic");
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    if let Some(failing) = failing
        && !args.unshrunk
    {
        say(&failing.shrunk().describe());
    }
    if !undecided.is_empty() {
        undecided.sort_unstable();
        say(&format!("undecided: seeds {undecided:?}"));
    }
    say(&headline(args, done, counts, violations, minutes));
    let is_decided = counts.undecided * UNDECIDED_ONE_IN <= done;
    if !is_decided {
        say("too many histories are undecided");
    }
    let holds = violations == 0 && is_decided;
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Found {
    fn add(&mut self, args: &Args, plan: &Plan, outcome: Outcome) {
        self.counts += outcome.counts;
        self.done += 1;
        if outcome.counts.undecided > 0 {
            self.undecided.push(plan.seed);
        }
        let Some(violation) = &outcome.violation else { return };
        self.violations += 1;
        // At once: whatever comes after it, this much is known.
        say(&format!("seed {}: {violation}", plan.seed));
        let whole = if args.whole { "--whole " } else { "" };
        say(&format!("again: rusd-sim {whole}--replay --seed {}", plan.seed));
        self.failing = Failing::of(plan, args.layer(), args.plant, outcome).or(self.failing.take());
    }
}

fn headline(args: &Args, done: u64, counts: Counts, violations: usize, minutes: f64) -> String {
    let Counts { simulated_ms, faults, snapshots, changes, elections, .. } = counts;
    let Counts { packets, operations, committed, undecided, .. } = counts;
    let (seed, rate) = (args.seed, per_minute(done, minutes));
    let (what, of_layer) = if args.whole {
        ("schedules of whole servers", String::new())
    } else {
        ("schedules", format!("{changes} membership changes, {packets} packets, "))
    };
    format!(
        "{done} {what} from seed {seed}: {simulated_ms} simulated ms, {faults} faults, \
         {snapshots} snapshots, {elections} elections, {of_layer}{operations} operations, \
         {committed} entries; {violations} violations, {undecided} undecided; {rate} schedules a \
         minute"
    )
}

fn per_minute(done: u64, minutes: f64) -> String {
    let done = u32::try_from(done).map_or(f64::INFINITY, f64::from);
    format!("{:.0}", done / minutes)
}

fn replay(args: &Args) -> Result<ExitCode> {
    let plan = args.plan(args.seed);
    let settings = Settings { in_words: true, plant: args.plant, faults: None };
    let runs = [0, 1].map(|_| args.run(&plan, &settings));
    let [Outcome { trace, violation, counts, records, .. }, again] = &runs;
    trace.log().iter().for_each(|line| say(line));
    if violation.is_some() {
        let path = std::env::temp_dir().join(format!("rusd-sim-{}.jsonl", args.seed));
        let file = std::fs::File::create(&path)?;
        write_history(file, records)?;
        say(&format!("history: {}", path.display()));
    }
    say(&format!("{counts:?}"));
    let hash = trace.hash();
    say(&format!("trace {hash:016x} over {} steps", trace.steps()));
    if again.trace.hash() != hash {
        let lines = trace.log().iter().zip(again.trace.log());
        let records = records.iter().zip(&again.records);
        let records = records.map(|(one, other)| (format!("{one:?}"), format!("{other:?}")));
        let mut both = lines.map(|(one, other)| (one.clone(), other.clone())).chain(records);
        if let Some((one, other)) = both.find(|(one, other)| one != other) {
            say(&format!("first: {one}\nthen:  {other}"));
        }
        say(&format!("NOT THE SAME in the second run: {:016x}", again.trace.hash()));
        return Ok(ExitCode::from(2));
    }
    match violation {
        None => say("no violation"),
        Some(violation) => say(&format!("VIOLATION: {violation}")),
    }
    Ok(if violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_history(
    file: std::fs::File,
    records: &[rusd_checker::history::record::Record],
) -> Result<()> {
    use rusd_checker::history::jsonl::Writer;
    use rusd_checker::history::record::Record;
    let mut records = records.iter();
    let Some(Record::Header(header)) = records.next() else {
        anyhow::bail!("a history begins with its header");
    };
    let mut writer = Writer::new(std::io::BufWriter::new(file), header)?;
    records.try_for_each(|record| writer.write(record))?;
    writer.finish()?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result is the output")]
fn say(line: &str) {
    println!("{line}");
}
