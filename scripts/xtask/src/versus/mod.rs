//! `cargo xtask versus`: server CPU per operation, rusd and etcd side by side in one run.
//!
//! Each server is kept on one core; slices of load alternate between them while the other is
//! idle, and the client runs on the idle one's core. Both sync every write. CPU is that of the
//! whole process, all threads, counted until the engine has flushed what was written; what rusd's
//! fold costs when idle is counted apart. The servers are restarted, and the cores exchanged, for
//! each repetition.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::server::{Options, Server, System};
use crate::workspace::Binaries;
use crate::{peers, report, workspace};

pub(crate) mod cpu;
mod load;
mod table;

use load::{Load, Operation};
use table::Sample;

/// Measure server CPU per operation, side by side with etcd
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Repetitions, each with fresh servers
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Distinct keys, all written before the measurement
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Operations of each kind per server and repetition
    #[arg(long, default_value_t = 400_000)]
    operations: u64,
    /// Slices into which the operations are cut
    #[arg(long, default_value_t = 4)]
    slices: u64,
    /// Operations in flight
    #[arg(long, default_value_t = 256)]
    in_flight: usize,
    /// Connections they share
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Bytes of each value
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Use this rusd instead of the release build
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Measures; the table goes to stdout and to `results/versus.md`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if cfg!(debug_assertions) {
        // The client must not be what limits the load: run it optimised.
        let arguments = std::env::args_os().skip(1);
        let mut command = workspace::cargo(["run", "--release", "--package", "xtask", "--"]);
        return Ok(workspace::exit_code(workspace::status(command.args(arguments))?));
    }
    peers::build(false)?;
    let rusd = match &args.binary {
        Some(binary) => binary.clone(),
        None => Binaries::release()?.server().to_owned(),
    };
    let etcd = workspace::peer("etcd");
    let mut samples = Vec::new();
    for repetition in 0..args.repeat {
        report::progress(&format!("repetition {} of {}", repetition + 1, args.repeat));
        samples.extend(repeat(args, repetition, &rusd, &etcd)?);
    }
    let lines = table::lines(&samples, &describe(args));
    for line in &lines {
        report::line(line);
    }
    report::keep("versus.md", &lines)?;
    Ok(ExitCode::SUCCESS)
}

fn describe(args: &Args) -> String {
    format!(
        "rusd at {} (sled) and etcd 3.7.3; {} repetitions of {} operations of each kind in {} \
         slices, {} uniform keys, {} B values, {} in flight over {} connections; one core each{}",
        workspace::commit(),
        args.repeat,
        args.operations,
        args.slices,
        args.keys,
        args.value_bytes,
        args.in_flight,
        args.connections,
        if workspace::is_installed("taskset") { "" } else { " NOT: no taskset on this machine" }
    )
}

/// One system under measurement.
struct Subject {
    system: System,
    server: Server,
    core: usize,
}

fn repeat(args: &Args, repetition: usize, rusd: &Path, etcd: &Path) -> Result<Vec<Sample>> {
    let start = |system, binary, core| -> Result<Subject> {
        let mut options = Options::new(system, binary)?.core(core);
        if system == System::Etcd {
            options = options.flag("--quota-backend-bytes", "8589934592");
        }
        Ok(Subject { system, server: Server::start(&options)?, core })
    };
    // Two cores, exchanged each time.
    let (first, second) = (repetition % 2, (repetition + 1) % 2);
    let mut subjects = [start(System::Rusd, rusd, first)?, start(System::Etcd, etcd, second)?];
    if repetition % 2 == 1 {
        subjects.reverse();
    }
    let mut samples = Vec::new();
    for subject in &subjects {
        samples.push(measure(args, repetition, 0, subject, Operation::Fill, args.keys)?);
    }
    for operation in [Operation::Put, Operation::Get] {
        for slice in 0..args.slices {
            let count = args.operations / args.slices;
            for subject in &subjects {
                samples.push(measure(args, repetition, slice, subject, operation, count)?);
            }
        }
    }
    Ok(samples)
}

/// Loads one server and counts its CPU until it is flushed, and then until it is folded.
fn measure(
    args: &Args,
    repetition: usize,
    slice: u64,
    subject: &Subject,
    operation: Operation,
    operations: u64,
) -> Result<Sample> {
    let load = Load {
        url: subject.server.client_url(),
        operation,
        operations,
        keys: args.keys,
        value_bytes: args.value_bytes,
        in_flight: args.in_flight,
        connections: args.connections,
        seed: u64::try_from(repetition)? * 1000 + slice,
    };
    let before = cpu::read(&subject.server, subject.system)?;
    let start = Instant::now();
    // The client takes the other core, whose server is idle now.
    load::run_on_core(&load, 1 - subject.core)
        .with_context(|| format!("{} under {operation:?}", subject.system.name()))?;
    let elapsed = start.elapsed();
    cpu::wait_until_flushed(&subject.server, subject.system)?;
    let flushed = cpu::read(&subject.server, subject.system)?;
    cpu::wait_until_folded(&subject.server, subject.system)?;
    let folded = cpu::read(&subject.server, subject.system)?;
    let total = flushed.total_seconds - before.total_seconds;
    let fold_within = flushed.fold_seconds - before.fold_seconds;
    if total < fold_within {
        bail!("the fold claims {fold_within:.2} s of {total:.2} s: its counter is wrong");
    }
    let sample = Sample {
        system: subject.system,
        operation,
        repetition,
        operations,
        cpu_seconds: total - fold_within,
        // Whatever is used after the flush, by the engine's own threads too.
        fold_seconds: fold_within + folded.total_seconds - flushed.total_seconds,
        elapsed_seconds: elapsed.as_secs_f64(),
    };
    report::progress(&sample.describe());
    Ok(sample)
}
