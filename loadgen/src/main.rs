//! `loadgen`: drives an etcd-compatible cluster with load and faults, and judges what it answered.
//!
//! Exit codes: 0 valid (or done, if nothing was recorded), 1 a promise was broken, 2 bad input,
//! 3 the checker could not decide, 4 the run itself failed, 5 a service level was missed, 6 one
//! system is worse than the other.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rusd_loadgen::agreement::{self, Agreement};
use rusd_loadgen::client::describe;
use rusd_loadgen::client::etcd::Client;
use rusd_loadgen::client::tls;
use rusd_loadgen::cluster::{ClusterError, process};
use rusd_loadgen::report::{Outcome, RunReport};
use rusd_loadgen::runner::{self, Settings};
use rusd_loadgen::wire::null;
use rusd_loadgen::workload::{ClusterSpec, Overrides, System};
use tokio_util::sync::CancellationToken;

use options::Running;

mod cluster_verb;
mod compare_verb;
mod conform_verb;
mod faults_verb;
mod generate_verb;
mod options;
mod results_verb;
mod search_verb;

const BAD_INPUT: u8 = 2;
const RUN_FAILED: u8 = 4;

/// Histories are written in one thread and dropped in another, connections come and go for hours: with
/// this one the memory stays what is in use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(version, about, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    tls: tls::Options,
}

const EXIT_CODES: &str = "Exit codes: 0 valid, or done if nothing was recorded; 1 a promise was \
                          broken; 2 bad input; 3 the checker could not decide; 4 the run failed, or \
                          did not count; 5 a service level was missed; 6 a regression.";

#[derive(Subcommand)]
enum Verb {
    /// Run a workload and judge the history.
    Run(RunArguments),
    /// Run two systems in turns on one workload, and say how they differ.
    Compare(Box<compare_verb::Arguments>),
    /// Find the highest rate at which a workload keeps its service levels.
    Search(Box<search_verb::Arguments>),
    /// Start members to try things on.
    #[command(subcommand)]
    Cluster(cluster_verb::Verb),
    /// List the runs below a folder.
    Ls(results_verb::Below),
    /// Show the newest run below a folder.
    Show(results_verb::Below),
    /// Check that runs' folders are whole, and judge their histories again.
    Validate(results_verb::Several),
    /// Do a run again: the same workload, seed and faults.
    Replay(Box<results_verb::ReplayArguments>),
    /// Compare the checker's model with a live server, answer by answer.
    Model(ModelArguments),
    /// Run scripts of requests, and compare each answer with etcd's.
    Conform(Box<conform_verb::Arguments>),
    /// Answer every call at once, with next to nothing: the yardstick of what this machine can
    /// measure.
    Null(NullArguments),
    /// Say which faults can be done here.
    Faults(faults_verb::Arguments),
    /// Become a member of a cluster under test; used by `run` itself.
    #[command(name = process::GUARD_VERB, hide = true)]
    BecomeMember {
        parent: u32,
        program: OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(clap::Args)]
struct NullArguments {
    /// Address to serve at.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
}

#[derive(clap::Args)]
struct ModelArguments {
    /// Client address of a fresh server, instead of starting one.
    #[arg(long)]
    endpoints: Option<String>,
    /// How many operations.
    #[arg(long, default_value_t = 10_000)]
    operations: u64,
    /// Seed of every random choice.
    #[arg(long)]
    seed: Option<u64>,
    /// Which server to start.
    #[arg(long, value_enum, default_value = "etcd")]
    system: System,
    /// The server's executable.
    #[arg(long)]
    binary: Option<PathBuf>,
}

#[derive(clap::Args)]
struct RunArguments {
    /// The workload file.
    file: PathBuf,
    #[command(flatten)]
    running: Running,
}

fn main() -> ExitCode {
    let Arguments { verb, tls } = Arguments::parse();
    // A member is no client.
    if !matches!(verb, Verb::BecomeMember { .. })
        && let Err(error) = tls::install(&tls)
    {
        return refuse(BAD_INPUT, &error.to_string());
    }
    match verb {
        Verb::Run(arguments) => run(arguments),
        Verb::Compare(arguments) => compare_verb::run(*arguments),
        Verb::Search(arguments) => search_verb::run(*arguments),
        Verb::Cluster(verb) => cluster_verb::run(verb),
        Verb::Ls(arguments) => results_verb::list(&arguments),
        Verb::Show(arguments) => results_verb::show(&arguments),
        Verb::Validate(arguments) => results_verb::check(&arguments),
        Verb::Replay(arguments) => results_verb::replay(*arguments),
        Verb::Model(arguments) => model(arguments),
        Verb::Conform(arguments) => conform_verb::run(*arguments),
        Verb::Null(arguments) => null(&arguments),
        Verb::Faults(arguments) => faults_verb::run(arguments),
        Verb::BecomeMember { parent, program, arguments } => {
            let Err(error) = process::guard(parent, &program, &arguments);
            eprintln!("cannot become {}: {error}", program.display());
            ExitCode::from(RUN_FAILED)
        }
    }
}

fn run(arguments: RunArguments) -> ExitCode {
    let json = arguments.running.leaving.json;
    match settings(arguments) {
        Ok(settings) => done(settings, json),
        Err(message) => refuse(BAD_INPUT, &message),
    }
}

/// Runs a workload, tells what came of it, and ends with that.
fn done(settings: Settings, json: bool) -> ExitCode {
    let ran = with_runtime(|interrupt| runner::run(settings, interrupt));
    match ran {
        Ok(Ok((report, folder))) => {
            if json {
                print_json(&report);
            } else {
                print_result(&report, &folder);
            }
            ExitCode::from(report.outcome().exit_code())
        }
        Ok(Err(error @ runner::RunError::Cluster(ClusterError::NoBinary { .. }))) => {
            refuse(BAD_INPUT, &error.to_string())
        }
        Ok(Err(error)) => refuse(RUN_FAILED, &error.to_string()),
        Err(error) => refuse(RUN_FAILED, &error.to_string()),
    }
}

/// Does something that an interrupt ends early, on a runtime of its own.
fn with_runtime<F: Future>(work: impl FnOnce(CancellationToken) -> F) -> io::Result<F::Output> {
    raise_open_files();
    let runtime = tokio::runtime::Runtime::new()?;
    let interrupt = CancellationToken::new();
    runtime.spawn(interrupt_on_signal(interrupt.clone()));
    Ok(runtime.block_on(work(interrupt)))
}

/// Many watches are many connections, ours and the members' whom we start. What is allowed to be
/// raised is raised; if it does not suffice, the run says what failed.
fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        eprintln!("the limit of {soft} open files could not be raised: {error}");
    }
}

#[expect(clippy::print_stdout, reason = "whoever starts it must learn where it serves")]
fn null(arguments: &NullArguments) -> ExitCode {
    let serving = std::net::TcpListener::bind(&arguments.listen).and_then(|listener| {
        println!("{}", listener.local_addr()?);
        null::serve(&listener)
    });
    match serving {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(RUN_FAILED, &format!("{}: {error}", arguments.listen)),
    }
}

fn model(arguments: ModelArguments) -> ExitCode {
    let seed = arguments.seed.unwrap_or_else(runner::drawn_seed);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(RUN_FAILED, &error.to_string()),
    };
    let operations = arguments.operations;
    eprintln!("comparing {operations} operations (seed {seed})");
    let compared = runtime.block_on(async {
        if let Some(endpoint) = &arguments.endpoints {
            let client = Client::connect(endpoint).await.map_err(|error| describe(&error))?;
            return Ok(agreement::compare(&client, operations, seed).await);
        }
        let (system, binary) = (arguments.system, arguments.binary);
        let spec = ClusterSpec { system, binary, ..ClusterSpec::default() };
        let folder = std::env::temp_dir().join(format!("loadgen-model-{}", std::process::id()));
        let compared = agreement::compare_started(&spec, &folder, operations, seed).await;
        // Left over at worst; it is in the system's folder for such things.
        drop(std::fs::remove_dir_all(&folder));
        compared.map_err(|error| error.to_string())
    });
    match compared {
        Ok(agreement) => {
            print_agreement(&agreement);
            ExitCode::from(u8::from(agreement.disagreement.is_some()))
        }
        Err(message) => refuse(RUN_FAILED, &message),
    }
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
fn print_agreement(agreement: &Agreement) {
    let Agreement { operations, refusals, disagreement } = agreement;
    println!("{operations} answers agree, {refusals} of them refusals");
    if let Some(differs) = disagreement {
        println!("operation {} differs:", differs.operation);
        println!("  request {:?}", differs.request);
        println!("  model   {:?}", differs.model);
        println!("  server  {:?}", differs.server);
    }
}

fn refuse(code: u8, message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(code)
}

/// What `run` is to do.
fn settings(arguments: RunArguments) -> Result<Settings, String> {
    let RunArguments { file, running } = arguments;
    let text = options::read(&file)?;
    let overrides = Overrides::from(running.overriding.clone());
    running.settings(&file.display().to_string(), text, overrides)
}

/// The first interrupt ends the load, heals and reports; the second ends us at once.
async fn interrupt_on_signal(interrupt: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        eprintln!("interrupted: mending and reporting; once more to end at once");
        interrupt.cancel();
    }
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(i32::from(RUN_FAILED));
    }
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
fn print_json(report: &RunReport) {
    let text = serde_json::to_string_pretty(report).expect("a report is plain data");
    println!("{text}");
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
fn print_result(report: &RunReport, folder: &std::path::Path) {
    if let Some(load) = &report.load {
        println!(
            "{}; p50 {} us, p99 {} us; {} faults",
            load.in_words(),
            load.response_us.p50,
            load.response_us.p99,
            report.faults.len(),
        );
    }
    if report.outcome() != Outcome::Ok {
        for violation in report.judgement.iter().flat_map(|j| j.verdict.violations()) {
            println!("{}: expected {}; got {}", violation.rule, violation.expected, violation.got);
            for named in &violation.operations {
                println!("  line {}: {}", named.line, named.text);
            }
        }
        for incident in &report.incidents {
            println!("{incident}");
        }
    }
    for checked in &report.slo {
        let holds = if checked.holds { "holds" } else { "MISSED" };
        println!("{holds}: {} ({})", checked.condition, checked.in_words);
    }
    println!("report: {}", folder.join("report.html").display());
    println!("{}", report.headline());
}
