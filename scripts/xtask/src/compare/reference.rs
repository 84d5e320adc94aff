//! rusd beside etcd, one kind of work after the other, alone and as three members.
//!
//! Beside them stands a server that answers at once and keeps nothing (`loadgen null`): what the
//! machine and the generator take themselves.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdout, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Args, Compared, Comparison, compare};
use crate::run_folder::{Ended, Run};
use crate::versus::cpu::process_seconds;
use crate::workspace::Binaries;
use crate::{guard, peers, report, workspace};

/// Files of `workloads/compare`.
const WORKS: [&str; 6] = ["put", "get", "range-100", "txn", "watch-fanout", "lease-grant"];
const MEMBERS: [usize; 2] = [1, 3];
/// What the yardstick is measured with: it answers single keys only.
const MEASURED_ALONE: [&str; 2] = ["put", "get"];

/// One comparison.
struct Row {
    work: &'static str,
    members: usize,
    comparison: Comparison,
}

/// What the server that does nothing takes.
struct Yardstick {
    work: &'static str,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

/// Compares, and prints the table.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    peers::build(false)?;
    let (commit, binaries) = (workspace::commit(), Binaries::release()?);
    let rusd = format!("rusd={}", binaries.server().display());
    let etcd = format!("etcd={}", workspace::peer("etcd").display());
    let out = workspace::target().join("compare");
    let mut rows = Vec::new();
    for members in MEMBERS {
        for work in WORKS {
            report::progress(&format!("{work}, members: {members}"));
            let comparison = compare(&binaries, (&rusd, &etcd), &file(work), &out, |command| {
                command.args(["--rounds", &args.rounds.to_string(), "--duration", &args.duration]);
                command.args(["--members", &members.to_string()]);
            })?;
            rows.push(Row { work, members, comparison });
        }
    }
    let alone = MEASURED_ALONE.map(|work| yardstick(&binaries, work, &args.duration));
    let alone = alone.into_iter().collect::<Result<Vec<_>>>()?;
    let lines = summary(args, &commit, &rows, &alone);
    for line in &lines {
        report::line(line);
    }
    if args.keep {
        report::keep("compare.md", &lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn file(work: &str) -> std::path::PathBuf {
    Path::new("workloads/compare").join(format!("{work}.toml"))
}

/// Runs a work on the server that does nothing.
fn yardstick(binaries: &Binaries, work: &'static str, duration: &str) -> Result<Yardstick> {
    let mut server = guard::command(&binaries.loadgen());
    let mut server = server.arg("null").stdout(Stdio::piped()).spawn().context("loadgen null")?;
    let measured = (|| {
        let address = first_line(server.stdout.take().expect("stdout was asked for"))?;
        let before = process_seconds(server.id())?;
        let out = workspace::target().join("compare-null");
        let run = Run::of(binaries, &file(work), &out, |command| {
            command.args(["--endpoints", &address, "--no-record", "--duration", duration]);
        })?;
        ensure!(run.ended == Ended::Valid, "{work} on the null server: see {}", run.place());
        let seconds = process_seconds(server.id())? - before;
        let answered = run.measure("/load/counts/ok");
        ensure!(answered > 0.0, "{work} on the null server: nothing was answered");
        Ok(Yardstick {
            work,
            p50_us: run.measure("/load/response_us/p50"),
            p99_us: run.measure("/load/response_us/p99"),
            cpu_us: seconds * 1e6 / answered,
        })
    })();
    server.kill()?;
    server.wait()?;
    measured
}

fn first_line(stdout: ChildStdout) -> Result<String> {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let both = |metric: &str| match self.comparison.of(metric) {
            Some(compared) => {
                let (rusd, etcd) = &compared.in_words;
                format!("{rusd} / {etcd}")
            }
            None => "not measured".to_owned(),
        };
        let ratio = |metric: &str| self.comparison.of(metric).map_or_else(String::new, marked);
        let mut cells = vec![self.work.to_owned(), self.members.to_string(), both("rate")];
        for metric in ["cpu", "p50", "p99", "memory", "written", "syncs"] {
            cells.extend([both(metric), ratio(metric)]);
        }
        cells
    }
}

/// The ratio, with a star if it is no chance.
fn marked(compared: &Compared) -> String {
    format!("{}{}", compared.interval(), if compared.differs { " *" } else { "" })
}

fn summary(args: &Args, commit: &str, rows: &[Row], alone: &[Yardstick]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(Row { comparison: first, .. }) = rows.first() {
        lines.push(format!(
            "`cargo xtask compare`, commit {commit}: {} (sled) beside {}, by `loadgen compare`: {} \
             pairs of runs of {} each, by turns, each on fresh members; the same open loop, generator \
             and machine. Both sync each batch of writes. Each cell is rusd's median / etcd's, then how \
             many times as much etcd takes, with an interval at {:.0} % for all numbers of a row \
             together; a star where that is no chance. CPU, bytes written and syncs are of all members, \
             per operation; memory is what all members held at most.",
            first.a_system,
            first.b_system,
            first.pairs,
            args.duration,
            first.confidence * 100.0,
        ));
    }
    lines.push(String::new());
    let head = [
        "work",
        "members",
        "rate",
        "CPU",
        "etcd / rusd",
        "p50",
        "etcd / rusd",
        "p99",
        "etcd / rusd",
        "memory",
        "etcd / rusd",
        "written",
        "etcd / rusd",
        "syncs",
        "etcd / rusd",
    ];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(Row::cells));
    lines.extend(report::table(&table));
    lines.extend([String::new(), "A server that answers at once and keeps nothing:".to_owned()]);
    lines.push(String::new());
    let head = ["work", "CPU us per operation", "p50 us", "p99 us"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    let cells = |it: &Yardstick| {
        let numbers = [it.cpu_us, it.p50_us, it.p99_us].map(|number| format!("{number:.1}"));
        std::iter::once(it.work.to_owned()).chain(numbers).collect()
    };
    table.extend(alone.iter().map(cells));
    lines.extend(report::table(&table));
    lines
}
