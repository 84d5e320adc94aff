//! `checker calls`: makes and judges histories without revisions, for comparing engines.
//!
//! What is printed is for programs: for each file the verdict and the nanoseconds of judging it,
//! reading left out. `scripts/peers/porcupine` prints the same of the same files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use rusd_checker::history::History;
use rusd_checker::history::jsonl::Writer;
use rusd_checker::model::append::AppendOp;
use rusd_checker::model::cas_register::CasOp;
use rusd_checker::model::register::RegisterOp;
use rusd_checker::search::{Calls, CallsFile, Engine, Options};
use rusd_checker::synthetic::Dice;
use rusd_checker::synthetic_calls::{self, Load, Values};

mod etcd;
mod jepsen_log;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a history.
    Generate(Generate),
    /// Write the history that an old log of Jepsen's tells.
    Import(Import),
    /// Write a history of etcd, and the same key by key without revisions.
    Etcd(Etcd),
    /// Judge histories: a line each with the verdict and the nanoseconds.
    Judge(Judge),
}

#[derive(Debug, clap::Args)]
struct Generate {
    /// Where to write it.
    file: PathBuf,
    /// The object.
    #[arg(long, value_enum)]
    object: Object,
    /// Clients that call at once.
    #[arg(long, default_value_t = 10)]
    clients: u64,
    /// Calls of all clients.
    #[arg(long, default_value_t = 1_000)]
    calls: u64,
    /// Calls in a thousand whose outcome stays unknown.
    #[arg(long, default_value_t = 0)]
    unknown_per_mille: u64,
    /// Values that are written, or keys; no value is written twice if this is 0.
    #[arg(long, default_value_t = 5)]
    values: u64,
    /// Answer one read as an earlier one was.
    #[arg(long)]
    old_read: bool,
    /// Seed of every choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// The log.
    log: PathBuf,
    /// Where to write the history.
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Etcd {
    /// Where to write what etcd's clients saw.
    history: PathBuf,
    /// Where to write it key by key.
    file: PathBuf,
    /// Operations.
    #[arg(long, default_value_t = 1_000_000)]
    operations: u64,
    /// Seed of every choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Object {
    Register,
    CasRegister,
    Kv,
}

#[derive(Debug, clap::Args)]
struct Judge {
    /// The histories.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Which engine.
    #[arg(long, value_enum, default_value_t = EngineArgument::Auto)]
    engine: EngineArgument,
    /// They are of etcd, to be judged by their revisions.
    #[arg(long)]
    etcd: bool,
    /// Say on stderr why a history is illegal.
    #[arg(long)]
    explain: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineArgument {
    Auto,
    Zones,
    Wgl,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    match &arguments.verb {
        Verb::Generate(arguments) => generate(arguments),
        Verb::Import(arguments) => import(arguments),
        Verb::Etcd(arguments) => etcd(arguments),
        Verb::Judge(arguments) => judge(arguments),
    }
}

fn generate(arguments: &Generate) -> anyhow::Result<u8> {
    let Generate { clients, calls, unknown_per_mille, seed, .. } = *arguments;
    let load = Load { clients, calls, unknown_per_mille };
    let values = match arguments.values {
        0 => Values::Unique,
        values => Values::Few(values),
    };
    let age = arguments.old_read.then_some(seed);
    let file = match arguments.object {
        Object::Register => {
            let calls = synthetic_calls::register(load, values, seed);
            CallsFile::Register(aged(calls, age, |op| *op == RegisterOp::Read))
        }
        Object::CasRegister => {
            let calls = synthetic_calls::cas_register(load, values, seed);
            CallsFile::CasRegister(aged(calls, age, |op| *op == CasOp::Read))
        }
        Object::Kv => {
            let calls = synthetic_calls::kv(load, arguments.values.max(1), seed);
            CallsFile::Kv(aged(calls, age, |op| op.op == AppendOp::Get))
        }
    };
    write(&file, &arguments.file)
}

fn import(arguments: &Import) -> anyhow::Result<u8> {
    let named = || arguments.log.display().to_string();
    let log = File::open(&arguments.log).with_context(named)?;
    let calls = jepsen_log::read(BufReader::new(log)).with_context(named)?;
    write(&CallsFile::CasRegister(calls), &arguments.file)
}

fn etcd(arguments: &Etcd) -> anyhow::Result<u8> {
    let named = || format!("cannot write {}", arguments.history.display());
    let mut run = etcd::run(arguments.seed);
    let output = BufWriter::new(File::create(&arguments.history).with_context(named)?);
    let mut writer = Writer::new(output, &run.header()).with_context(named)?;
    let records = run.records(arguments.operations);
    for record in &records {
        writer.write(record).with_context(named)?;
    }
    writer.finish().with_context(named)?;
    write(&CallsFile::Kv(etcd::by_key(&records)), &arguments.file)
}

fn write(file: &CallsFile, path: &Path) -> anyhow::Result<u8> {
    let output = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write(BufWriter::new(output))?;
    Ok(0)
}

/// With one old read, if there is a seed for it.
fn aged<O: Clone, R: Clone>(
    calls: Calls<O, R>,
    seed: Option<u64>,
    is_read: impl Fn(&O) -> bool,
) -> Calls<O, R> {
    match seed {
        Some(seed) => synthetic_calls::with_an_old_read(&calls, is_read, &mut Dice::new(!seed)),
        None => calls,
    }
}

fn judge(arguments: &Judge) -> anyhow::Result<u8> {
    let engine = match arguments.engine {
        EngineArgument::Auto => Engine::Auto,
        EngineArgument::Zones => Engine::Zones,
        EngineArgument::Wgl => Engine::Wgl,
    };
    let options = Options { engine, ..Options::default() };
    let mut output = std::io::stdout().lock();
    for path in &arguments.files {
        if arguments.etcd {
            writeln!(output, "{}", judge_by_revisions(path)?)?;
            continue;
        }
        let file = read(path)?;
        let start = Instant::now();
        let answer = file.check(&options);
        let nanoseconds = start.elapsed().as_nanos();
        writeln!(output, "{} {nanoseconds}", answer.verdict.name())?;
        if let Some(why) = answer.counterexample().filter(|_| arguments.explain) {
            eprint!("{}: {}", path.display(), file.render(why));
        }
    }
    Ok(0)
}

/// The same line of a history of etcd.
fn judge_by_revisions(path: &Path) -> anyhow::Result<String> {
    let named = || path.display().to_string();
    let input = BufReader::new(File::open(path).with_context(named)?);
    let history = History::read(input, &mut |_| {}).with_context(named)?;
    let start = Instant::now();
    let report = rusd_checker::check(&history, &rusd_checker::Options::default());
    let nanoseconds = start.elapsed().as_nanos();
    let verdict = match report.verdict {
        rusd_checker::Verdict::Valid => "linearizable",
        rusd_checker::Verdict::Invalid { .. } => "illegal",
        rusd_checker::Verdict::Unknown { .. } => "unknown",
    };
    Ok(format!("{verdict} {nanoseconds}"))
}

fn read(path: &Path) -> anyhow::Result<CallsFile> {
    let named = || path.display().to_string();
    let file = File::open(path).with_context(named)?;
    CallsFile::read(BufReader::new(file)).with_context(named)
}
