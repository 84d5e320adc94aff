//! `loadgen conform`: its arguments, and what it prints.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use rusd_loadgen::cluster;
use rusd_loadgen::conform::library;
use rusd_loadgen::conform::report::Report;
use rusd_loadgen::conform::runner::{self, Plan};
use rusd_loadgen::conform::servers::Origin;
use rusd_loadgen::conform::session::ANSWER_MAX;
use rusd_loadgen::conform::version::Version;
use rusd_loadgen::workload::{ClusterSpec, System};

use crate::{BAD_INPUT, RUN_FAILED, generate_verb, refuse};

/// Workers when servers are started for them: most scripts wait, for a disk or for a lease.
const JOBS: usize = 4;

#[derive(clap::Args)]
#[command(after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Client addresses of a server's members. Everything on it is deleted: see --wipe.
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["system", "binary"])]
    endpoints: Option<Vec<String>>,
    /// Confirms that each script may delete everything on the servers that are named by address.
    #[arg(long)]
    wipe: bool,
    /// Which server to start.
    #[arg(long, value_enum, default_value = "rusd")]
    system: System,
    /// The server's executable.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Compare with this server, not with the recorded answers. It is wiped too.
    #[arg(long, value_delimiter = ',')]
    against: Option<Vec<String>>,
    /// Compare with this executable of etcd, not with the recorded answers.
    #[arg(long, conflicts_with = "against")]
    against_binary: Option<PathBuf>,
    /// Version of etcd whose answers are expected [default: what the server presents, 3.7.3 for
    /// a started rusd].
    #[arg(long)]
    version: Option<Version>,
    /// Only scripts whose name (area/situation) contains this.
    #[arg(long)]
    filter: Option<String>,
    /// Folder of scripts, instead of those that are built in.
    #[arg(long)]
    scripts: Option<PathBuf>,
    /// Write the server's answers into the scripts of --scripts. For etcd only.
    #[arg(long, requires = "scripts", conflicts_with_all = ["against", "against_binary"])]
    record: bool,
    /// How many scripts run at a time, each on a server of its own [default: 4, or 1 with
    /// --endpoints].
    #[arg(long)]
    jobs: Option<usize>,
    /// Folder for conform.json, junit.xml and conform.md.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Send random streams of requests to two servers, and show the shortest on which they differ.
    Generate(Box<generate_verb::Arguments>),
}

const EXIT_CODES: &str = "Exit codes: 0 every script passed, or was skipped for the reason shown; \
                          1 an answer was not the expected one; 2 bad input, such as a script that \
                          cannot be read; 4 a server could not be started or reached.";

pub(crate) fn run(arguments: Arguments) -> ExitCode {
    if let Some(Verb::Generate(arguments)) = arguments.verb {
        return generate_verb::run(&arguments);
    }
    if (arguments.endpoints.is_some() || arguments.against.is_some()) && !arguments.wipe {
        return refuse(
            BAD_INPUT,
            "this deletes everything on the servers named: confirm by --wipe",
        );
    }
    let filter = arguments.filter.as_deref();
    let sources = match library::scripts(arguments.scripts.as_deref(), filter) {
        Ok(sources) => sources,
        Err(error) => return refuse(BAD_INPUT, &error.to_string()),
    };
    let folder = std::env::temp_dir().join(format!("loadgen-conform-{}", std::process::id()));
    let plan = match plan(&arguments, &folder) {
        Ok(plan) => plan,
        Err(message) => return refuse(BAD_INPUT, &message),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(RUN_FAILED, &error.to_string()),
    };
    let start = Instant::now();
    let ran = runtime.block_on(runner::run(plan, sources));
    // Left over at worst; it is in the system's folder for such things.
    drop(std::fs::remove_dir_all(&folder));
    let (version, scripts) = match ran {
        Ok(ran) => ran,
        Err(error) => return refuse(RUN_FAILED, &error.to_string()),
    };
    let server =
        named(arguments.endpoints.as_deref(), arguments.system, arguments.binary.as_deref());
    let against = against(&arguments);
    let seconds = start.elapsed().as_secs_f64();
    let report = Report { server, against, version, scripts, seconds };
    print(&report);
    if let Some(out) = &arguments.out
        && let Err(error) = report.write(out)
    {
        return refuse(RUN_FAILED, &format!("cannot write into {}: {error}", out.display()));
    }
    ExitCode::from(report.exit_code())
}

fn plan(arguments: &Arguments, folder: &Path) -> Result<Plan, String> {
    let started = |system, binary: Option<&PathBuf>, name: &str| {
        started(system, binary.cloned(), folder.join(name))
    };
    let subject = match &arguments.endpoints {
        Some(endpoints) => Arc::new(Origin::Attached(endpoints.clone())),
        None => started(arguments.system, arguments.binary.as_ref(), "subject")?,
    };
    let against = match (&arguments.against, &arguments.against_binary) {
        (Some(endpoints), _) => Some(Arc::new(Origin::Attached(endpoints.clone()))),
        (None, Some(binary)) => Some(started(System::Etcd, Some(binary), "against")?),
        (None, None) => None,
    };
    let is_attached = arguments.endpoints.is_some() || arguments.against.is_some();
    let most = if is_attached { 1 } else { JOBS };
    let jobs = match arguments.jobs {
        Some(jobs) if is_attached && jobs > 1 => {
            return Err("scripts share a server that is there already: --jobs must be 1".into());
        }
        jobs => jobs.unwrap_or(most),
    };
    let is_our_rusd = arguments.endpoints.is_none() && arguments.system == System::Rusd;
    let version = arguments.version.clone().or(is_our_rusd.then(Version::recorded));
    Ok(Plan { subject, against, version, jobs, record: arguments.record, patience: ANSWER_MAX })
}

/// Servers that are started in `folder`; an `Err` says why they cannot be.
pub(crate) fn started(
    system: System,
    binary: Option<PathBuf>,
    folder: PathBuf,
) -> Result<Arc<Origin>, String> {
    let spec = ClusterSpec { system, binary: binary.clone(), ..ClusterSpec::default() };
    cluster::executable(&spec).map_err(|error| error.to_string())?;
    Ok(Arc::new(Origin::started(system, binary, folder)))
}

pub(crate) fn named(endpoints: Option<&[String]>, system: System, binary: Option<&Path>) -> String {
    match (endpoints, binary) {
        (Some(endpoints), _) => endpoints.join(","),
        (None, Some(binary)) => binary.display().to_string(),
        (None, None) => system.name().to_owned(),
    }
}

fn against(arguments: &Arguments) -> String {
    match (&arguments.against, &arguments.against_binary) {
        (Some(endpoints), _) => format!("against {}", endpoints.join(",")),
        (None, Some(binary)) => format!("against {}", binary.display()),
        (None, None) if arguments.record => "recorded anew".to_owned(),
        (None, None) => "as recorded".to_owned(),
    }
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
fn print(report: &Report) {
    print!("{}", report.text());
}
