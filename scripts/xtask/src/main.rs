//! `cargo xtask VERB`: every verb that a person or CI needs.
//!
//! One file (or folder) per verb. A verb parses its arguments with clap, does its work through
//! [`workspace`] (paths and child processes), and either returns an exit code or an error that is
//! printed once, here. Whatever was left out is said in the summary table of [`steps`]; nothing
//! is skipped in silence.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod bite;
mod check;
mod client;
mod crash;
mod demo;
mod golden;
mod peers;
mod report;
mod run_folder;
mod seeds;
mod server;
mod steps;
mod test;
mod tidy;
mod transcript;
mod versus;
mod workspace;

/// The task runner of the rusd workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Check(check::Args),
    Test(test::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    Tidy(tidy::Args),
    Golden(golden::Args),
    Peers(peers::Args),
    Transcript(transcript::Args),
    Bite(bite::Args),
    Crash(crash::Args),
    Seeds(seeds::Args),
    Versus(versus::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Check(_) => Ok(check::run()),
        Verb::Test(args) => test::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Tidy(_) => tidy::run(),
        Verb::Golden(_) => golden::run(),
        Verb::Peers(args) => peers::run(&args),
        Verb::Transcript(args) => transcript::run(&args),
        Verb::Bite(args) => bite::run(&args),
        Verb::Crash(args) => crash::run(&args),
        Verb::Seeds(args) => seeds::run(&args),
        Verb::Versus(args) => versus::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        report::error(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}
