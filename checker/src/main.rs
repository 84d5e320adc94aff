//! The command line: `checker check HISTORY`, `checker convert IN OUT`, `checker shrink IN`.
//!
//! Exit codes: 0 valid, 1 invalid, 2 unknown, 3 bad input (a file or an argument).

mod cli;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rusd_checker::history::jsonl::Writer;
use rusd_checker::synthetic;

mod calls_command;
mod stream_command;

/// A history is millions of small pieces, taken by some threads and given back by another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What an argument or a file that makes no sense ends with.
const BAD_INPUT: u8 = 3;

/// Judges histories of key-value stores, and tells them in other formats.
#[derive(Debug, Parser)]
#[command(name = "checker", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge a history: exit 0 valid, 1 invalid, 2 unknown, 3 bad input.
    Check(cli::check::Arguments),
    /// Tell a history in another format.
    Convert(cli::convert::Arguments),
    /// Find the shortest history that breaks the same rule: exit 1 written, 3 bad input.
    Shrink(cli::shrink::Arguments),
    /// Write a valid history, for measuring.
    #[command(hide = true)]
    Generate(Generate),
    /// Make and judge histories without revisions, for comparing engines.
    #[command(hide = true)]
    Calls(calls_command::Arguments),
    /// Make up a long history and judge it as a stream, for measuring.
    #[command(hide = true)]
    Stream(stream_command::Arguments),
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
        Command::Check(arguments) => cli::check::run(&arguments),
        Command::Convert(arguments) => cli::convert::run(&arguments),
        Command::Shrink(arguments) => cli::shrink::run(&arguments),
        Command::Generate(arguments) => generate(&arguments),
        Command::Calls(arguments) => calls_command::run(&arguments),
        Command::Stream(arguments) => stream_command::run(&arguments),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("checker: {error:#}");
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn generate(arguments: &Generate) -> anyhow::Result<u8> {
    let file = std::io::BufWriter::new(std::fs::File::create(&arguments.history)?);
    let mut run = synthetic::Run::new(arguments.seed);
    let mut writer = Writer::new(file, &run.header())?;
    while let Some(records) = run.next_records(arguments.operations) {
        for record in records {
            writer.write(&record)?;
        }
    }
    writer.finish()?;
    Ok(0)
}
