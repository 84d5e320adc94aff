//! `cargo xtask power-loss`: the power fails, at any moment, under a loaded member on real files.
//!
//! ```text
//!   a member under load ── strace ──> trace ──> disk, step by step ──> image at a random step
//!                       ── client ──> writes, with the time of        │
//!                                     each acknowledgement            v
//!                                              └──> all that were acknowledged are there: rusd on
//!                                                   the image is asked, and `rusd verify`
//! ```
//!
//! What an image may have lost is told in [`disk`]. Before any image is made the whole trace is
//! replayed, and must give what is in the member's folder, byte by byte: so nothing was overlooked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::client::Client;
use crate::server::{Scratch, Server};
use crate::steps::{Outcome, Steps};
use crate::workspace::Binaries;
use crate::{bite, report, workspace};

mod disk;
pub(crate) mod recording;
mod replay;
mod trace;
pub(crate) mod writes;

use disk::{Everything, Random};
use recording::{Plan, Recording};
use replay::Replay;
use trace::Trace;

/// Lose the power of a loaded member at random moments: no acknowledged write may be lost
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many times the power is lost, with each engine
    #[arg(long, default_value_t = 300)]
    images: usize,
    /// Seed of keys, values, moments, and of what is lost
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this engine
    #[arg(long)]
    backend: Option<String>,
    /// Millions of bytes of values that are written while it is traced
    #[arg(long, default_value_t = 100)]
    megabytes: u64,
    /// Images that are looked at at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Let the engine not sync what it has flushed, which must be found
    #[arg(long)]
    plant: bool,
    /// Use this rusd instead of the release build
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Keep the table in results/power-loss.md
    #[arg(long)]
    keep: bool,
}

/// The engines that have files.
pub(crate) const BACKENDS: [&str; 2] = ["sled", "fjall"];

/// The engine that is asked for, or all.
pub(crate) fn wanted_backends(only: Option<&str>) -> Result<Vec<&'static str>> {
    let is_wanted = |backend: &&str| only.is_none_or(|only| only == *backend);
    let backends: Vec<&str> = BACKENDS.into_iter().filter(is_wanted).collect();
    ensure!(!backends.is_empty(), "the engines are {}", BACKENDS.join(" and "));
    Ok(backends)
}

/// The bug that must be found.
const PLANT: &str = "engine-not-synced";

/// Of the pass of `test`, with each engine.
const IMAGES_TESTED: usize = 8;
const MEGABYTES_TESTED: u64 = 8;

/// What was seen of one engine.
#[derive(Debug, Default)]
struct Seen {
    steps: usize,
    writes: usize,
    first_segment: String,
    images: usize,
    /// Acknowledged writes that were looked for, in all images.
    wanted: usize,
    /// Writes that were there before they were acknowledged, in all images.
    early: usize,
}

/// Loses the power with each engine; the table goes to stdout.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None if args.plant => bite::build_broken(&Binaries::release()?)?.server().to_owned(),
        None => Binaries::release()?.server().to_owned(),
    };
    let commit = workspace::commit();
    let backends = wanted_backends(args.backend.as_deref())?;
    let mut columns = Vec::new();
    for backend in &backends {
        let plant = args.plant.then_some(PLANT);
        let (megabytes, seed) = (args.megabytes, args.seed);
        let plan = Plan { binary: &binary, backend, plant, megabytes, seed };
        match (lose_power(&plan, args.images, args.jobs), args.plant) {
            (Ok(seen), false) => columns.push(seen),
            (Err(error), true) if format!("{error:#}").contains(FOUND) => {
                report::line(&format!("{backend}, {PLANT}: caught: {error:#}"));
            }
            (Ok(_), true) => bail!("{backend}, {PLANT}: not caught"),
            (Err(error), _) => return Err(error.context(format!("with {backend}"))),
        }
    }
    if args.plant {
        return Ok(ExitCode::SUCCESS);
    }
    let lines = table(&backends, &columns, &commit, args.seed);
    for line in &lines {
        report::line(line);
    }
    if args.keep {
        report::keep("power-loss.md", &lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The step of `test`: some images, of another recording each time.
pub(crate) fn steps(steps: &mut Steps, binaries: &Binaries) {
    steps.run("power loss: acknowledged writes are on every image", || {
        if !workspace::is_installed("strace") {
            return Ok(Outcome::Skipped(recording::STRACE_MISSING.to_owned()));
        }
        let (seed, megabytes) = (rand::random(), MEGABYTES_TESTED);
        let mut notes = Vec::new();
        for backend in BACKENDS {
            let plan = Plan { binary: binaries.server(), backend, plant: None, megabytes, seed };
            let seen = lose_power(&plan, IMAGES_TESTED, 2)
                .with_context(|| format!("with {backend}, seed {seed}"))?;
            notes.push(format!("{backend}: {} images, {} writes", seen.images, seen.wanted));
        }
        Ok(Outcome::Passed(format!("{}; none lost; seed {seed}", notes.join("; "))))
    });
}

/// Records a member, and looks at images of its disk.
fn lose_power(plan: &Plan<'_>, images: usize, jobs: usize) -> Result<Seen> {
    report::progress(&format!("{}: recording", plan.backend));
    let recording = recording::record(plan)?;
    let mut seen = Seen { writes: recording.writes.count(), ..Seen::default() };
    seen.steps = check_model(&recording)?;
    seen.first_segment = first_segment(&recording.root)?;
    report::progress(&format!(
        "{}: {} writes, {} steps, the log begins with {}",
        plan.backend, seen.writes, seen.steps, seen.first_segment
    ));
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut moments = index::sample(&mut rng, seen.steps, images.min(seen.steps)).into_vec();
    moments.sort_unstable();
    let mut batch = Vec::new();
    let mut replay = Replay::new(&recording.root);
    let mut trace = Trace::open(&recording.trace)?;
    let mut moments = moments.into_iter().peekable();
    let mut step = 0;
    while let Some(event) = trace.next()? {
        let micros = event.micros;
        if !replay.step(event)? {
            continue;
        }
        if moments.next_if_eq(&step).is_some() {
            let folder = Scratch::new("power-loss-image")?;
            let mut chance = Random::new(ChaCha8Rng::seed_from_u64(rng.random()));
            replay.disk.image(folder.path(), &mut chance)?;
            batch.push(Image { folder, step, micros });
        }
        step += 1;
        if batch.len() == jobs || (moments.peek().is_none() && !batch.is_empty()) {
            look_at(plan, &recording, &mut batch, &mut seen)?;
        }
    }
    Ok(seen)
}

/// What the power left.
struct Image {
    folder: Scratch,
    /// After which step.
    step: usize,
    /// When that was.
    micros: u64,
}

/// How an image that fails is told.
const FOUND: &str = "the power is lost after step";

/// Looks at some images side by side.
fn look_at(
    plan: &Plan<'_>,
    recording: &Recording,
    batch: &mut Vec<Image>,
    seen: &mut Seen,
) -> Result<()> {
    let found: Vec<Result<usize>> = thread::scope(|scope| {
        let looking: Vec<_> = (batch.iter())
            .map(|image| scope.spawn(|| look_at_one(plan, recording, image)))
            .collect();
        looking.into_iter().map(|it| it.join().expect("looking does not panic")).collect()
    });
    for (image, found) in batch.drain(..).zip(found) {
        match found {
            Ok(count) => {
                let wanted = recording.writes.acknowledged_before(image.micros);
                seen.images += 1;
                seen.wanted += wanted;
                seen.early += count - wanted;
            }
            Err(error) => {
                let name = format!("power-loss-failed-{}", std::process::id());
                let kept = workspace::target().join(name);
                fs::rename(image.folder.path(), &kept).context("cannot keep the image")?;
                let place = format!("{FOUND} {} (image in {})", image.step, kept.display());
                return Err(error.context(place));
            }
        }
        report::progress(&format!("{}: {} images hold", plan.backend, seen.images));
    }
    Ok(())
}

/// Starts a member on an image, and verifies what it leaves. Returns how many writes are there.
fn look_at_one(plan: &Plan<'_>, recording: &Recording, image: &Image) -> Result<usize> {
    let data_dir = image.folder.path().join("data");
    let server = Server::start(&plan.options(&data_dir)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        let mut client = Client::new(&server.client_url())?;
        recording.writes.check(&mut client, image.micros).await
    });
    let found = found.with_context(|| server.log_tail())?;
    server.kill()?;
    let output = Command::new(plan.binary).arg("verify").arg(&data_dir).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("rusd verify ended with {}: {said}", output.status);
    }
    Ok(found)
}

/// The whole trace must give what is there. Returns how many steps it has.
fn check_model(recording: &Recording) -> Result<usize> {
    let mut replay = Replay::new(&recording.root);
    let mut trace = Trace::open(&recording.trace)?;
    let mut steps = 0;
    while let Some(event) = trace.next()? {
        steps += usize::from(replay.step(event)?);
    }
    let rebuilt = Scratch::new("power-loss-model")?;
    replay.disk.image(rebuilt.path(), &mut Everything)?;
    same(&recording.root, rebuilt.path()).context("the trace does not give what is there")?;
    Ok(steps)
}

/// Two folders hold the same.
fn same(one: &Path, other: &Path) -> Result<()> {
    let names = |folder: &Path| -> Result<Vec<_>> {
        let mut names: Vec<_> = fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<std::io::Result<_>>()?;
        names.sort();
        Ok(names)
    };
    let (here, there) = (names(one)?, names(other)?);
    ensure!(here == there, "{}: {here:?}, rebuilt {there:?}", one.display());
    for name in here {
        let (one, other) = (one.join(&name), other.join(&name));
        if one.is_dir() {
            same(&one, &other)?;
        } else {
            ensure!(fs::read(&one)? == fs::read(&other)?, "{} differs", one.display());
        }
    }
    Ok(())
}

/// Name of the oldest segment of the log that is left.
fn first_segment(root: &Path) -> Result<String> {
    let paths = fs::read_dir(root.join("data/member/wal"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<PathBuf>>>()?;
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|it| it == "wal");
    let first = paths.into_iter().filter(is_segment).min();
    let name = first.as_deref().and_then(Path::file_name).context("there is no log")?;
    Ok(name.to_string_lossy().into_owned())
}

fn table(backends: &[&str], columns: &[Seen], commit: &str, seed: u64) -> Vec<String> {
    let mut rows = vec![["what"].iter().chain(backends).map(|it| (*it).to_owned()).collect()];
    let mut row = |name: &str, value: &dyn Fn(&Seen) -> String| {
        let cells = columns.iter().map(value);
        rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    };
    row("commit", &|_| commit.to_owned());
    row("seed", &|_| seed.to_string());
    row("writes while it was traced", &|seen| seen.writes.to_string());
    row("steps of the trace that change the disk", &|seen| seen.steps.to_string());
    row("first segment of the log at the end", &|seen| seen.first_segment.clone());
    row("images on which rusd started", &|seen| seen.images.to_string());
    row("rusd verify agreed", &|seen| seen.images.to_string());
    row("acknowledged writes looked for", &|seen| seen.wanted.to_string());
    row("acknowledged writes lost", &|_| "0".to_owned());
    row("writes not yet acknowledged that were there", &|seen| seen.early.to_string());
    report::table(&rows)
}
