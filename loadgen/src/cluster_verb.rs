//! `loadgen cluster up`: members to try things on, until an interrupt.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rusd_loadgen::cluster::{Cluster, ClusterError, executable, readiness};
use rusd_loadgen::workload::{ClusterSpec, System};
use tokio_util::sync::CancellationToken;
use toml::Spanned;

use crate::{BAD_INPUT, RUN_FAILED, refuse, with_runtime};

/// More members than anybody runs.
const MEMBERS_MAX: u32 = 9;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Start members, say where they are, and stay until Ctrl-C; then end them and remove their data.
    Up(UpArguments),
}

#[derive(Parser)]
pub(crate) struct UpArguments {
    /// Which server.
    #[arg(long, value_enum, default_value = "rusd")]
    system: System,
    /// The server's executable: any that takes etcd's flags.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// How many members.
    #[arg(long, short = 'n', default_value_t = 3)]
    members: u32,
    /// Where data and logs go, and stay.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Further flags of the server, after `--`.
    #[arg(last = true)]
    flags: Vec<String>,
}

pub(crate) fn run(verb: Verb) -> ExitCode {
    let Verb::Up(arguments) = verb;
    if !(1..=MEMBERS_MAX).contains(&arguments.members) {
        return refuse(BAD_INPUT, &format!("--members must be 1 to {MEMBERS_MAX}"));
    }
    let spec = ClusterSpec {
        system: arguments.system,
        binary: arguments.binary,
        members: Spanned::new(0..0, arguments.members),
        args: arguments.flags,
        ..ClusterSpec::default()
    };
    if let Err(error) = executable(&spec) {
        return refuse(BAD_INPUT, &error.to_string());
    }
    let is_kept = arguments.folder.is_some();
    let folder = arguments.folder.unwrap_or_else(|| {
        std::env::temp_dir().join(format!("loadgen-cluster-{}", std::process::id()))
    });
    let ended = with_runtime(|interrupt| up(&spec, &folder, interrupt));
    if !is_kept {
        // Left over at worst; it is in the system's folder for such things.
        drop(std::fs::remove_dir_all(&folder));
    }
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => refuse(RUN_FAILED, &error.to_string()),
        Err(error) => refuse(RUN_FAILED, &error.to_string()),
    }
}

/// Members until the interrupt, or until one ends by itself, which is an error.
async fn up(
    spec: &ClusterSpec,
    folder: &Path,
    interrupt: CancellationToken,
) -> Result<(), ClusterError> {
    let cluster = Cluster::start(spec, folder).await?;
    let result = serve(&cluster, folder, interrupt).await;
    cluster.stop().await;
    result
}

async fn serve(
    cluster: &Cluster,
    folder: &Path,
    interrupt: CancellationToken,
) -> Result<(), ClusterError> {
    let roster = cluster.roster();
    for seat in roster.seats() {
        // Cancel-safe: only questions are asked.
        tokio::select! {
            biased;
            () = interrupt.cancelled() => return Ok(()),
            ready = readiness::ready(cluster, seat.member) => drop(ready?),
        }
    }
    print(cluster, folder);
    tokio::select! {
        () = interrupt.cancelled() => Ok(()),
        ended = cluster.first_to_end() => Err(ended),
    }
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
fn print(cluster: &Cluster, folder: &Path) {
    let endpoints = cluster.endpoints().join(",");
    println!("ENDPOINTS={endpoints}");
    eprintln!("  etcdctl --endpoints={endpoints} endpoint status");
    eprintln!("  loadgen run WORKLOAD --endpoints {endpoints}");
    eprintln!("data and logs are in {}; Ctrl-C ends it", folder.display());
}
