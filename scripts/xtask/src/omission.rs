//! `cargo xtask omission`: whether the generator tells how long operations waited.
//!
//! A member is stopped for one of ten seconds while 1,000 operations are due in each. A tenth of all
//! operations wait, evenly between nothing and a second: by arithmetic the 99th percentile is 0.9 s.
//! An open loop must report that, to within a twentieth. A closed loop reports what it saw, which is
//! shown beside it: while the member stands still it asks nothing.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::run_folder::{Ended, Run};
use crate::workspace::Binaries;
use crate::{report, workspace};

/// Stop a member under load and compare the reported waiting with arithmetic; the table goes to results/omission.md
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often
    #[arg(long, default_value_t = 3)]
    repetitions: u32,
}

const OPEN: &str = "workloads/pause-open.toml";
const CLOSED: &str = "workloads/pause-closed.toml";
/// What the 99th percentile is by arithmetic, in microseconds.
const TRUTH_US: f64 = 900_000.0;
/// How far from that it may be reported.
const DIFFERENCE_MAX: f64 = 0.05;

/// One run.
struct Row {
    workload: &'static str,
    is_open: bool,
    run: Run,
}

/// Runs both loops, several times.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binaries = Binaries::release()?;
    let mut rows = Vec::new();
    for repetition in 0..args.repetitions {
        for (workload, is_open) in [(OPEN, true), (CLOSED, false)] {
            let name = format!("omission/{}-{repetition}", if is_open { "open" } else { "closed" });
            let out = workspace::target().join(name);
            let run = Run::of(&binaries, Path::new(workload), &out, |_| {})?;
            rows.push(Row { workload, is_open, run });
        }
    }
    let lines = summary(&rows);
    for line in &lines {
        report::line(line);
    }
    report::keep("omission.md", &lines)?;
    let holds = rows.iter().all(|row| row.lacks().is_none());
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Row {
    fn response_us(&self, quantile: &str) -> f64 {
        self.run.measure(&format!("/load/response_us/{quantile}"))
    }

    /// How far the 99th percentile is from the truth, as a part of it.
    fn difference(&self) -> f64 {
        (self.response_us("p99") - TRUTH_US) / TRUTH_US
    }

    /// What the run must have shown and has not.
    fn lacks(&self) -> Option<String> {
        if self.run.ended != Ended::Valid {
            return Some(self.run.ended.name().to_owned());
        }
        if self.run.faults("pause", None) != 1 {
            return Some("the member was not stopped".to_owned());
        }
        let is_far = self.is_open && self.difference().abs() > DIFFERENCE_MAX;
        is_far.then(|| "too far from the truth".to_owned())
    }

    fn cells(&self) -> Vec<String> {
        let ms = |quantile: &str| format!("{:.1}", self.response_us(quantile) / 1000.0);
        let service = self.run.measure("/load/service_us/p99") / 1000.0;
        let off = format!("{:+.1} %", self.difference() * 100.0);
        vec![
            self.workload.to_owned(),
            self.run.count("/load/counts/ok").to_string(),
            ms("p50"),
            ms("p90"),
            ms("p99"),
            ms("max"),
            format!("{service:.1}"),
            if self.is_open { off } else { String::new() },
            self.lacks().unwrap_or_else(|| "holds".to_owned()),
        ]
    }
}

fn summary(rows: &[Row]) -> Vec<String> {
    let mut lines = vec![
        "A member of rusd is stopped (SIGSTOP) for one of ten seconds. In the open loop 1,000 \
         operations are due in each second, so a tenth of all wait, evenly between nothing and a \
         second: the 99th percentile is 900 ms by arithmetic. Milliseconds; `service` counts from \
         when an operation was sent."
            .to_owned(),
        String::new(),
    ];
    let head = ["workload", "answered", "p50", "p90", "p99", "max", "service p99", "off", "result"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(Row::cells));
    lines.extend(report::table(&table));
    lines.push(String::new());
    lines.push(
        "The closed loop has ten clients that ask again when they were answered: while the member \
         stands still ten operations wait, and no percentile shows it."
            .to_owned(),
    );
    lines
}
