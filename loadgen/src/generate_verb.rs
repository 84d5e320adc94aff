//! `loadgen conform generate`: its arguments, and what it prints.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{fs, io};

use rusd_loadgen::conform::generate::run::{self, Plan};
use rusd_loadgen::conform::generate::summary::{Found, Summary};
use rusd_loadgen::conform::servers::Origin;
use rusd_loadgen::runner::drawn_seed;
use rusd_loadgen::workload::System;

use crate::conform_verb::{named, started};
use crate::{BAD_INPUT, RUN_FAILED, refuse};

/// Workers when servers are started for them: a watch that catches up waits for etcd's next turn.
const JOBS: usize = 4;

#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// Seed of every random choice.
    #[arg(long)]
    seed: Option<u64>,
    /// How many streams.
    #[arg(long, default_value_t = 200)]
    streams: u64,
    /// Requests of each stream.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// Only the stream with this number.
    #[arg(long)]
    only: Option<u64>,
    /// Compare hashes of everything after each so many requests, not only at the end of a stream.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    hash_every: Option<u64>,
    /// How many differences are shrunk and shown before we end.
    #[arg(long, default_value_t = 3)]
    differences: usize,
    /// Client address of the server under test. Everything on it is deleted: see --wipe.
    #[arg(long, conflicts_with_all = ["system", "binary"])]
    endpoints: Option<String>,
    /// Confirms that everything on the servers that are named by address may be deleted.
    #[arg(long)]
    wipe: bool,
    /// Which server to start.
    #[arg(long, value_enum, default_value = "rusd")]
    system: System,
    /// The server's executable.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Client address of the server that is believed. It is wiped too.
    #[arg(long)]
    against: Option<String>,
    /// Executable of the etcd that is believed.
    #[arg(long, conflicts_with = "against")]
    against_binary: Option<PathBuf>,
    /// Folder for the data of servers that are started [default: the system's for temporary files].
    /// One in memory, such as /dev/shm, makes it faster, and no answer depends on it.
    #[arg(long)]
    data: Option<PathBuf>,
    /// How many streams run at a time, each on servers of its own [default: 4, or 1 with
    /// addresses].
    #[arg(long)]
    jobs: Option<usize>,
    /// Folder for generate.json, generate.md and a script for each difference.
    #[arg(long)]
    out: Option<PathBuf>,
}

const EXIT_CODES: &str = "Exit codes: 0 all answers were the same; 1 the servers differ, and the \
                          script that shows it was printed; 2 bad input; 4 a server could not be \
                          started or reached.";

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let is_attached = arguments.endpoints.is_some() || arguments.against.is_some();
    if is_attached && !arguments.wipe {
        return refuse(
            BAD_INPUT,
            "this deletes everything on the servers named: confirm by --wipe",
        );
    }
    if is_attached && arguments.jobs.is_some_and(|jobs| jobs > 1) {
        return refuse(BAD_INPUT, "streams share a server that is there already: --jobs must be 1");
    }
    let folder = arguments.data.clone().unwrap_or_else(std::env::temp_dir);
    let folder = folder.join(format!("loadgen-generate-{}", std::process::id()));
    let jobs = arguments.jobs.unwrap_or(if is_attached { 1 } else { JOBS });
    let plan = match plan(arguments, &folder, jobs) {
        Ok(plan) => plan,
        Err(message) => return refuse(BAD_INPUT, &message),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(RUN_FAILED, &error.to_string()),
    };
    let seed = plan.seed;
    eprintln!("{} streams of {} requests, seed {seed}", arguments.streams, arguments.requests);
    let start = Instant::now();
    let ran = runtime.block_on(run::run(plan, |line| eprintln!("{line}")));
    // Left over at worst; it is in a folder for such things.
    drop(fs::remove_dir_all(&folder));
    let (tally, found) = match ran {
        Ok(ran) => ran,
        Err(error) => return refuse(RUN_FAILED, &error.to_string()),
    };
    let addresses = [&arguments.endpoints, &arguments.against];
    let [subject, against] = addresses.map(|address| address.as_ref().map(std::slice::from_ref));
    let summary = Summary {
        subject: named(subject, arguments.system, arguments.binary.as_deref()),
        against: named(against, System::Etcd, arguments.against_binary.as_deref()),
        seed,
        tally,
        found,
        seconds: start.elapsed().as_secs_f64(),
    };
    print(&summary);
    if let Some(out) = &arguments.out
        && let Err(error) = write(&summary, out)
    {
        return refuse(RUN_FAILED, &format!("cannot write into {}: {error}", out.display()));
    }
    ExitCode::from(u8::from(!summary.found.is_empty()))
}

fn plan(arguments: &Arguments, folder: &Path, jobs: usize) -> Result<Plan, String> {
    let attached = |address: &String| Origin::Attached(vec![address.clone()]).into();
    let subject = match &arguments.endpoints {
        Some(address) => attached(address),
        None => started(arguments.system, arguments.binary.clone(), folder.join("subject"))?,
    };
    let against = match &arguments.against {
        Some(address) => attached(address),
        None => started(System::Etcd, arguments.against_binary.clone(), folder.join("against"))?,
    };
    let streams = match arguments.only {
        Some(number) => number..number.saturating_add(1),
        None => 0..arguments.streams,
    };
    Ok(Plan {
        subject,
        against,
        seed: arguments.seed.unwrap_or_else(drawn_seed),
        streams,
        requests: arguments.requests,
        hash_every: arguments.hash_every,
        differences_max: arguments.differences.max(1),
        jobs,
    })
}

fn write(summary: &Summary, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let json = serde_json::to_string_pretty(&summary.json()).expect("it is plain data");
    fs::write(folder.join("generate.json"), json + "\n")?;
    fs::write(folder.join("generate.md"), summary.markdown())?;
    for found in &summary.found {
        fs::write(folder.join(format!("stream-{}.txt", found.stream)), &found.script)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
fn print(summary: &Summary) {
    for Found { stream, requests, is_steady, script } in &summary.found {
        let how = if *is_steady { "shrunk to" } else { "not seen again; all its" };
        println!("stream {stream} differs, {how} {requests} requests:\n\n{script}");
    }
    print!("{}", summary.markdown());
}
