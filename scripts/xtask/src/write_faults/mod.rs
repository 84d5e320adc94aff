//! `cargo xtask write-faults`: a member ends, or its disk fails or is full, at each place where it
//! writes, under load, alone and as one of three.
//!
//! A rusd with failpoints (see `rusd-failpoint`) is loaded; then one member, the leader or a
//! follower, is made to end or to fail at a place. Right is that it stops and says why and on which
//! file, or, where nothing that was acknowledged is at stake (a copy of the engine, the state of a
//! member on its way), that it refuses, goes on and leaves nothing behind; that the others go on; and
//! that in the end every acknowledged write is there, on every member, at the revision it was
//! acknowledged with; the members have one hash, and `rusd verify` agrees with what each left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::power_loss::{BACKENDS, wanted_backends};
use crate::steps::{Outcome, Steps};
use crate::{report, workspace};

mod case;
mod cluster;
mod full_disk;
mod load;
mod places;

use case::Case;

/// Let one member end or fail at each place where it writes: no acknowledged write may be lost
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this engine
    #[arg(long)]
    backend: Option<String>,
    /// Only this place, by its failpoint, or `disk-full`; nothing is kept
    #[arg(long)]
    only: Option<String>,
    /// Only so many cases of three members, none that fills the disk or segments of the log, picked by
    /// the seed; nothing is kept
    #[arg(long)]
    sample: Option<usize>,
    /// Seed of a sample; drawn if absent
    #[arg(long, requires = "sample")]
    seed: Option<u64>,
    /// Use this rusd, built with the feature `failpoints`
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// What a run of the cases is of.
#[derive(Clone, Copy)]
struct Plan<'a> {
    binary: &'a Path,
    backend: &'a str,
}

/// Of the pass of `test`.
const CASES_TESTED: usize = 5;

/// A few cases, others each time, with one engine or the other.
pub(crate) fn step(steps: &mut Steps, binary: &Path) {
    steps.run("write faults: a member of three ends or refuses, and nothing is lost", || {
        let seed: u64 = rand::random();
        let plan = Plan { binary, backend: BACKENDS[usize::from(seed.is_multiple_of(2))] };
        let words = format!("--backend {} --sample {CASES_TESTED} --seed {seed}", plan.backend);
        report::progress(&words);
        case::must_have_all(&plan)?;
        let mut found = Found::default();
        for case in sample(case::all(), CASES_TESTED, seed) {
            found.add(plan.backend, case.0.cells(), case.run(&plan));
        }
        let note = format!("{CASES_TESTED} cases, {words}");
        if found.wrong.is_empty() {
            return Ok(Outcome::Passed(note));
        }
        Ok(Outcome::Failed(format!("{}; {note}", found.wrong.join("; "))))
    });
}

/// Runs every case; the table goes to stdout. That of all cases of an engine is kept as soon as it is
/// whole, in `results/write-faults-ENGINE.md`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binary = match &args.binary {
        // It is started from other folders, too.
        Some(binary) => binary.canonicalize().with_context(|| binary.display().to_string())?,
        None => build()?,
    };
    let commit = workspace::commit();
    let is_wanted = |name: &str| args.only.as_deref().is_none_or(|only| only == name);
    let mut cases: Vec<Case> = case::all().into_iter().filter(|it| is_wanted(it.0.place)).collect();
    if let Some(count) = args.sample {
        let seed = args.seed.unwrap_or_else(rand::random);
        report::progress(&format!("{count} cases, seed {seed}"));
        cases = sample(cases, count, seed);
    }
    let is_full_wanted = is_wanted(full_disk::NAME) && args.sample.is_none();
    if cases.is_empty() && !is_full_wanted {
        bail!("no such place; there are {} and {}", places::names().join(", "), full_disk::NAME);
    }
    case::must_have_all(&Plan { binary: &binary, backend: BACKENDS[0] })?;
    let mut is_right = true;
    for backend in wanted_backends(args.backend.as_deref())? {
        let plan = Plan { binary: &binary, backend };
        let mut found = Found::default();
        for case in &cases {
            found.add(backend, case.0.cells(), case.run(&plan));
        }
        if is_full_wanted {
            for case in full_disk::all() {
                found.add(backend, case.cells(), case.run(&plan));
            }
        }
        let (count, wrong) = (found.rows.len(), found.wrong.len());
        let heading = format!("Commit {commit}, {backend}: {count} cases, {wrong} wrong.");
        let mut lines = vec![heading, String::new()];
        lines.extend(found.table());
        for line in &lines {
            report::line(line);
        }
        is_right &= wrong == 0;
        if wrong == 0 && args.only.is_none() && args.sample.is_none() {
            report::keep(&format!("write-faults-{backend}.md"), &lines)?;
        }
    }
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What came of the cases.
#[derive(Default)]
struct Found {
    rows: Vec<Vec<String>>,
    wrong: Vec<String>,
}

impl Found {
    fn add(&mut self, backend: &str, cells: [String; 4], seen: Result<cluster::Seen>) {
        let mut row = vec![backend.to_owned()];
        row.extend(cells);
        row.extend(match seen {
            Ok(seen) => [seen.end, seen.writes.to_string()],
            Err(error) => {
                let wrong = format!("{}: {error:#}", row.join(", "));
                report::error(&wrong);
                self.wrong.push(wrong);
                [format!("WRONG: {error:#}"), String::new()]
            }
        });
        report::progress(&row.join(", "));
        self.rows.push(row);
    }

    fn table(self) -> Vec<String> {
        let heading =
            ["engine", "place", "what happens", "members", "whose", "the member", "writes kept"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(self.rows);
        report::table(&rows)
    }
}

/// Some cases of three members, each of which takes a few seconds.
fn sample(mut cases: Vec<Case>, count: usize, seed: u64) -> Vec<Case> {
    cases.retain(|case| case.0.members == 3 && !case.0.is_long());
    cases.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    cases.truncate(count);
    cases
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
