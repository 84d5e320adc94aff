//! `cargo xtask write-faults`: a member ends, or its disk fails or is full, at each place where it
//! writes, under load, alone and as one of three.
//!
//! A rusd with failpoints (see `rusd-failpoint`) is loaded; then one member, the leader or a
//! follower, is made to end or to fail at a place. Right is that it stops with a reason, that the
//! others go on, and that after its restart every acknowledged write is there, on every member, at
//! the revision it was acknowledged with; the members have one hash, and `rusd verify` agrees with
//! what each left.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::power_loss::{BACKENDS, wanted_backends};
use crate::{report, workspace};

mod case;
mod cluster;
mod full_disk;
mod load;

use case::Case;

/// Let one member end or fail at each place where it writes: no acknowledged write may be lost
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this engine; nothing is kept
    #[arg(long)]
    backend: Option<String>,
    /// Only this place, by its failpoint, or `disk-full`; nothing is kept
    #[arg(long)]
    only: Option<String>,
    /// Use this rusd, built with the feature `failpoints`
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// What a run of the cases is of.
#[derive(Clone, Copy)]
struct Plan<'a> {
    binary: &'a std::path::Path,
    backend: &'a str,
}

/// Runs every case; the table goes to stdout, and of all cases to `results/write-faults.md`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binary = match &args.binary {
        // It is started from other folders, too.
        Some(binary) => binary.canonicalize().with_context(|| binary.display().to_string())?,
        None => build()?,
    };
    let commit = workspace::commit();
    let is_wanted = |name: &str| args.only.as_deref().is_none_or(|only| only == name);
    let cases: Vec<Case> = case::all().into_iter().filter(|it| is_wanted(it.place)).collect();
    let is_full_wanted = is_wanted(full_disk::NAME);
    if cases.is_empty() && !is_full_wanted {
        bail!("no such place; there are {} and {}", case::places().join(", "), full_disk::NAME);
    }
    case::must_have_all(&Plan { binary: &binary, backend: BACKENDS[0] })?;
    let heading =
        ["engine", "place", "what happens", "members", "whose", "the member", "writes kept"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut wrong = 0;
    for backend in wanted_backends(args.backend.as_deref())? {
        let plan = Plan { binary: &binary, backend };
        let mut add = |cells: [String; 4], seen: Result<cluster::Seen>| {
            let mut row = vec![backend.to_owned()];
            row.extend(cells);
            row.extend(match seen {
                Ok(seen) => [seen.end, seen.writes.to_string()],
                Err(error) => {
                    wrong += 1;
                    report::error(&format!("{}: {error:#}", row.join(", ")));
                    [format!("WRONG: {error:#}"), String::new()]
                }
            });
            report::progress(&row.join(", "));
            rows.push(row);
        };
        for case in &cases {
            add(case.cells(), case.run(&plan));
        }
        if is_full_wanted {
            for case in full_disk::all() {
                add(case.cells(), case.run(&plan));
            }
        }
    }
    let mut lines =
        vec![format!("Commit {commit}: {} cases, {wrong} wrong.", rows.len() - 1), String::new()];
    lines.extend(report::table(&rows));
    for line in &lines {
        report::line(line);
    }
    if wrong > 0 {
        return Ok(ExitCode::FAILURE);
    }
    if args.only.is_none() && args.backend.is_none() {
        debug_assert_eq!(BACKENDS.len(), 2, "both engines were run");
        report::keep("write-faults.md", &lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A rusd with failpoints, as its tests are built: they share what they depend on. A copy, since the
/// next build of anything puts another one in its place.
fn build() -> Result<PathBuf> {
    let built =
        ["test", "--workspace", "--no-run", "--test", "e2e", "--features", "rusd/failpoints"];
    workspace::must(&mut workspace::cargo(built))?;
    let folder = workspace::target().join("write-faults");
    fs::create_dir_all(&folder)?;
    let rusd = folder.join("rusd");
    fs::copy(workspace::target().join("debug/rusd"), &rusd).context("there is no rusd")?;
    Ok(rusd)
}
