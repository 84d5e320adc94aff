//! The command line: `checker check HISTORY`, `checker convert IN OUT`.
//!
//! Exit codes: 0 valid, 1 invalid, 2 unknown, 3 bad input (a file or an argument).

mod cli;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use rusd_checker::history::jsonl::Writer;
use rusd_checker::report::{json, junit, text};
use rusd_checker::{Engine, InputError, Options, Report, check_file_with, synthetic};

/// What an argument or a file that makes no sense ends with.
const BAD_INPUT: u8 = 3;

/// Judges the history of an etcd-like store.
#[derive(Debug, Parser)]
#[command(name = "checker", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge a history: exit 0 valid, 1 invalid, 2 unknown, 3 bad input.
    Check(Check),
    /// Tell a history in another format.
    Convert(cli::convert::Arguments),
    /// Write a valid history, for measuring.
    #[command(hide = true)]
    Generate(Generate),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The history, as JSONL.
    history: PathBuf,
    /// What decides on linearizability. `auto` is `revision`; `stateright` is for small histories.
    #[arg(long, value_enum, default_value_t = EngineArgument::Auto)]
    engine: EngineArgument,
    /// How to report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Generate {
    /// Where to write it.
    history: PathBuf,
    /// Operations.
    #[arg(long, default_value_t = 1_000_000)]
    operations: u64,
    /// Seed of every choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineArgument {
    Auto,
    Revision,
    Stateright,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
    Junit,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; anything else is bad input.
            let code = if error.use_stderr() { BAD_INPUT } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(BAD_INPUT),
            };
        }
    };
    let done = match arguments.command {
        Command::Check(arguments) => check(&arguments),
        Command::Convert(arguments) => cli::convert::run(&arguments),
        Command::Generate(arguments) => generate(&arguments),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("checker: {error:#}");
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn check(arguments: &Check) -> anyhow::Result<u8> {
    let engine = match arguments.engine {
        EngineArgument::Auto => Engine::Auto,
        EngineArgument::Revision => Engine::Revision,
        EngineArgument::Stateright => Engine::Stateright,
    };
    let options = Options { engine, ..Options::default() };
    let path = &arguments.history;
    let report = read_and_check(path, &options).map_err(|error| {
        let named = !matches!(error, InputError::Open { .. });
        let error = anyhow::Error::new(error);
        if named { error.context(path.display().to_string()) } else { error }
    })?;
    let rendered = match arguments.format {
        Format::Text => text::render(&report),
        Format::Json => json::render(&report),
        Format::Junit => junit::render(&report, &path.display().to_string()),
    };
    std::io::stdout().write_all(rendered.as_bytes())?;
    Ok(report.verdict.exit_code())
}

fn read_and_check(path: &Path, options: &Options) -> Result<Report, InputError> {
    let total = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let shows = std::io::stderr().is_terminal() && total > PROGRESS_FROM_BYTES;
    let mut shown = None;
    let report = check_file_with(path, options, &mut |read| {
        let percent = (read * 100 / total.max(1)).min(100);
        if shows && shown != Some(percent) {
            eprint!("\rreading {percent} %");
            shown = Some(percent);
        }
    });
    if shown.is_some() {
        eprint!("\r{:16}\r", "");
    }
    report
}

/// Shorter files are read before anyone looks.
const PROGRESS_FROM_BYTES: u64 = 32 << 20;

fn generate(arguments: &Generate) -> anyhow::Result<u8> {
    let file = std::io::BufWriter::new(std::fs::File::create(&arguments.history)?);
    let mut run = synthetic::Run::new(arguments.seed);
    let mut writer = Writer::new(file, &run.header())?;
    for record in run.records(arguments.operations) {
        writer.write(&record)?;
    }
    writer.finish()?;
    Ok(0)
}
