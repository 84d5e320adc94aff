//! `loadgen ls`, `show`, `validate` and `replay`: runs that have ended.

use std::path::PathBuf;
use std::process::ExitCode;

use rusd_loadgen::results::validate::{Validation, validate};
use rusd_loadgen::results::{Folder, ReadError, listing};
use rusd_loadgen::runner::Settings;
use rusd_loadgen::workload::Overrides;

use crate::options::Running;
use crate::{BAD_INPUT, RUN_FAILED, done, refuse};

/// What `validate` ends with if a history breaks a promise.
const VIOLATION: u8 = 1;
/// What it ends with if a history could not be decided.
const UNDECIDED: u8 = 3;

#[derive(clap::Args)]
pub(crate) struct Below {
    /// Folder of runs.
    #[arg(default_value = "results")]
    folder: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct Several {
    /// Folders of runs; all runs below each.
    #[arg(default_value = "results")]
    folders: Vec<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct ReplayArguments {
    /// Folder of the run, or one of runs, of which the newest is done again.
    #[arg(default_value = "results")]
    folder: PathBuf,
    #[command(flatten)]
    running: Running,
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
pub(crate) fn list(arguments: &Below) -> ExitCode {
    let folders = Folder::all(&arguments.folder);
    if folders.is_empty() {
        let path = arguments.folder.clone();
        return refuse(BAD_INPUT, &ReadError::NoRun { path }.to_string());
    }
    print!("{}", listing::render(&folders));
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
pub(crate) fn show(arguments: &Below) -> ExitCode {
    let shown = Folder::newest(&arguments.folder)
        .and_then(|folder| Ok((folder.summary()?, folder.path.join("report.html"))));
    match shown {
        Ok((summary, page)) => {
            println!("{summary}\nreport: {}", page.display());
            ExitCode::SUCCESS
        }
        Err(error) => refuse(BAD_INPUT, &error.to_string()),
    }
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
pub(crate) fn check(arguments: &Several) -> ExitCode {
    let mut code = 0;
    for root in &arguments.folders {
        let folders = match Folder::open(root) {
            Ok(folder) => vec![folder],
            Err(error @ ReadError::Json { .. }) => return refuse(BAD_INPUT, &error.to_string()),
            Err(_) => Folder::all(root),
        };
        if folders.is_empty() {
            return refuse(BAD_INPUT, &ReadError::NoRun { path: root.clone() }.to_string());
        }
        for folder in folders {
            let found = validate(&folder);
            println!("{}", folder.path.display());
            for checked in &found.checked {
                println!("  ok     {checked}");
            }
            for mistake in &found.mistakes {
                println!("  WRONG  {mistake}");
            }
            code = worst(code, exit_code(&found));
        }
    }
    ExitCode::from(code)
}

fn exit_code(found: &Validation) -> u8 {
    match found.verdict {
        Some("invalid") => VIOLATION,
        _ if !found.mistakes.is_empty() => RUN_FAILED,
        Some("unknown") => UNDECIDED,
        _ => 0,
    }
}

/// A broken promise outweighs a folder that is not whole, as in a run.
fn worst(one: u8, other: u8) -> u8 {
    let weight = |code: u8| [0, UNDECIDED, RUN_FAILED, VIOLATION].iter().position(|c| *c == code);
    if weight(one) >= weight(other) { one } else { other }
}

pub(crate) fn replay(arguments: ReplayArguments) -> ExitCode {
    let json = arguments.running.leaving.json;
    match settings(arguments) {
        Ok((settings, before)) => {
            eprintln!("again: {before}");
            done(settings, json)
        }
        Err(message) => refuse(BAD_INPUT, &message),
    }
}

/// What is to be done again, and what came of it before.
fn settings(arguments: ReplayArguments) -> Result<(Settings, String), String> {
    let ReplayArguments { folder, mut running } = arguments;
    let folder = Folder::newest(&folder).map_err(|error| error.to_string())?;
    let replay = folder.replay().map_err(|error| error.to_string())?;
    if replay.attached && running.endpoints.is_none() {
        let folder = folder.path.display();
        return Err(format!("{folder} ran on members that were there before; name --endpoints"));
    }
    running.leaving.seed.get_or_insert(replay.seed);
    let overrides = over(replay.overrides, Overrides::from(running.overriding.clone()));
    // The name of a workload that names none is its file's.
    let file = format!("{}.toml", folder.text("/workload"));
    let settings = running
        .settings(&file, replay.source, overrides)
        .map_err(|message| format!("{message} (from {})", replay.file.display()))?;
    Ok((settings, format!("{}: {}", folder.path.display(), folder.text("/headline"))))
}

/// What is said now counts more than what was said then.
fn over(then: Overrides, now: Overrides) -> Overrides {
    let is_other_system = now.system.is_some() && now.system != then.system;
    Overrides {
        binary: now.binary.or(then.binary.filter(|_| !is_other_system)),
        system: now.system.or(then.system),
        args: if now.args.is_empty() { then.args } else { now.args },
        members: now.members.or(then.members),
        duration_ms: now.duration_ms.or(then.duration_ms),
        rate: now.rate.or(then.rate),
        pin: now.pin.or(then.pin),
        no_faults: now.no_faults || then.no_faults,
        record: now.record.or(then.record),
        trace: then.trace,
    }
}
