//! `cargo xtask VERB`: every verb that a person or CI needs.
//!
//! One file (or folder) per verb. A verb parses its arguments with clap, does its work through
//! [`workspace`] (paths and child processes), and either returns an exit code or an error that is
//! printed once, here. Whatever was left out is said in the summary table of [`steps`]; nothing
//! is skipped in silence.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod bit_flips;
mod bite;
mod catch_up;
mod certificates;
mod check;
mod client;
mod clients;
mod compare;
mod conform;
mod cores;
mod crash;
mod demo;
mod difference;
mod door;
mod generate;
mod golden;
mod guard;
mod membership;
mod mutants;
mod omission;
mod oracle;
mod pages;
mod peers;
mod pinned;
mod porcupine;
mod power_loss;
mod presets;
mod report;
mod run_folder;
mod seeds;
mod server;
mod sim;
mod soak;
mod steps;
mod stream;
mod stress;
mod test;
mod tidy;
mod transcript;
mod versus;
mod workspace;
mod write_faults;

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
    Clients(clients::Args),
    Conform(conform::Args),
    Generate(generate::Args),
    Bite(bite::Args),
    Crash(crash::Args),
    Door(door::Args),
    #[command(name = "bit-flips")]
    BitFlips(bit_flips::Args),
    #[command(name = "power-loss")]
    PowerLoss(power_loss::Args),
    #[command(name = "write-faults")]
    WriteFaults(write_faults::Args),
    #[command(name = "catch-up")]
    CatchUp(catch_up::Args),
    Sim(sim::Args),
    Seeds(seeds::Args),
    Soak(soak::Args),
    Membership(membership::Args),
    Versus(versus::Args),
    Compare(compare::Args),
    #[command(name = "watch-stress")]
    WatchStress(stress::Args),
    Stream(stream::Args),
    Omission(omission::Args),
    Presets(presets::Args),
    Pages(pages::Args),
    Mutants(mutants::Args),
    Oracle(oracle::Args),
    Porcupine(porcupine::Args),
    #[command(name = guard::VERB, hide = true)]
    BecomeServer(guard::Args),
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
        Verb::Clients(args) => clients::run(&args),
        Verb::Conform(args) => conform::run(&args),
        Verb::Generate(args) => generate::run(&args),
        Verb::Bite(args) => bite::run(&args),
        Verb::Crash(args) => crash::run(&args),
        Verb::Door(args) => door::run(&args),
        Verb::BitFlips(args) => bit_flips::run(&args),
        Verb::PowerLoss(args) => power_loss::run(&args),
        Verb::WriteFaults(args) => write_faults::run(&args),
        Verb::CatchUp(args) => catch_up::run(&args),
        Verb::Sim(args) => sim::run(&args),
        Verb::Seeds(args) => seeds::run(&args),
        Verb::Soak(args) => soak::run(&args),
        Verb::Membership(args) => membership::run(&args),
        Verb::Versus(args) => versus::run(&args),
        Verb::Compare(args) => compare::run(&args),
        Verb::WatchStress(args) => stress::run(&args),
        Verb::Stream(args) => stream::run(&args),
        Verb::Omission(args) => omission::run(&args),
        Verb::Presets(args) => presets::run(&args),
        Verb::Pages(args) => pages::run(&args),
        Verb::Mutants(args) => mutants::run(&args),
        Verb::Oracle(args) => oracle::run(&args),
        Verb::Porcupine(args) => porcupine::run(&args),
        Verb::BecomeServer(args) => guard::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        report::error(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// What a verb does, and what each of its arguments means, is told by `--help`.
    #[test]
    fn every_verb_and_every_argument_has_help() {
        Cli::command().debug_assert();
        for verb in Cli::command().get_subcommands() {
            let name = verb.get_name();
            assert!(verb.get_about().is_some(), "{name} has no help");
            for argument in verb.get_arguments() {
                assert!(argument.get_help().is_some(), "{name}: {argument} has no help");
            }
        }
    }

    /// `--help` is not passed on to loadgen or criterion, whose help would be another one.
    #[test]
    fn every_verb_answers_help_itself() {
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let parsed = Cli::try_parse_from(["xtask", verb.get_name(), "--help"]);
            let error = parsed.err().map(|error| error.kind());
            assert_eq!(error, Some(clap::error::ErrorKind::DisplayHelp), "{}", verb.get_name());
        }
    }
}
