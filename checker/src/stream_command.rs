//! `checker stream`: how fast a stream is judged, and in how much memory. For `cargo xtask stream`.
//!
//! The history is made up as it goes on, by the same thread; only judging is timed.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rusd_checker::stream::{Held, Stream, StreamOptions};
use rusd_checker::synthetic::{Mix, Run, Shape};

/// Make up a long history and judge it as a stream.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Operations.
    #[arg(long, default_value_t = 10_000_000)]
    operations: u64,
    /// Seed of every choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Without watches, and so without unknown outcomes.
    #[arg(long)]
    unwatched: bool,
    /// Puts and reads of single keys alone, without watches.
    #[arg(long)]
    single: bool,
}

/// Judges, and prints what it took as a line of JSON.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut run = Run::shaped(arguments.seed, arguments.shape());
    let mut stream = Stream::begin(run.header(), StreamOptions::default())?;
    let mut spent = Duration::ZERO;
    let mut line = 1;
    let mut most = Held::default();
    while let Some(records) = run.next_records(arguments.operations) {
        let start = Instant::now();
        for record in records {
            line += 1;
            stream.take(line, record)?;
        }
        spent += start.elapsed();
        let held = stream.held();
        if held.total() > most.total() {
            most = held;
        }
    }
    let start = Instant::now();
    let report = stream.finish();
    spent += start.elapsed();
    let told = serde_json::json!({
        "verdict": report.verdict.name(),
        "operations": report.counts.operations,
        "events": report.counts.events,
        "millis": u64::try_from(spent.as_millis())?,
        "held": most.total(),
        "peak_kib": peak_kib()?,
    });
    writeln!(std::io::stdout(), "{told}")?;
    Ok(report.verdict.exit_code())
}

impl Arguments {
    /// A large run without what is left to the whole check.
    fn shape(&self) -> Shape {
        let without = Mix {
            lease_grant: 0,
            lease_put: 0,
            lease_revoke: 0,
            lease_keep_alive: 0,
            ..Shape::large().mix
        };
        let single = Mix { range_past: 0, range_serializable: 0, delete: 0, txn: 0, ..without };
        let observed = !self.unwatched && !self.single;
        let unknown_per_mille = if observed { Shape::large().unknown_per_mille } else { 0 };
        let mix = if self.single { single } else { without };
        Shape { mix, observed, unknown_per_mille, ..Shape::large() }
    }
}

/// The most memory that this process has had.
fn peak_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    peak.context("the system does not say VmHWM")?.trim().parse().context("VmHWM")
}
