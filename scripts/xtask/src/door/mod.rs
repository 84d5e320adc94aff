//! `cargo xtask door`: from etcd to rusd and back, losing nothing.
//!
//! ```text
//! etcd --operations--> snapshot --> rusd --operations--> snapshot, while writes go on --> etcd
//! ```
//!
//! After each way every server that was made from a snapshot, rusd and etcd alike, must show the
//! [`Picture`] of the one it was taken from. etcdutl and rusd must say the same of each file, and refuse
//! it when a byte is flipped. A restore that is killed leaves nothing or all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Runtime;

use crate::server::{Addresses, Options, Scratch, Server, System};
use crate::steps::{Outcome, Steps};
use crate::workspace::Binaries;
use crate::{peers, report, workspace};

mod load;
mod picture;
mod tools;

use load::Load;
use picture::Picture;
use tools::{Restore, Tool};

/// Move from etcd to rusd and back by snapshots: nothing may be lost on the way
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Operations on each of the two servers that are loaded
    #[arg(long, default_value_t = 10_000)]
    operations: u64,
    /// Places at which a byte of each snapshot is flipped
    #[arg(long, default_value_t = 500)]
    flips: u64,
    /// Restores that are killed
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Use this rusd instead of the release build
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Keep what was seen in results/door.md
    #[arg(long)]
    keep: bool,
}

/// Of the pass of `test`.
const TESTED: Args =
    Args { operations: 1000, flips: 40, kills: 5, seed: 1, binary: None, keep: false };

/// By how much the revision is raised where it is.
const BUMP: i64 = 1_000_000;

/// Builds what is needed, goes both ways, prints what was seen.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let rusd = match &args.binary {
        Some(binary) => binary.clone(),
        None => Binaries::release()?.server().to_owned(),
    };
    peers::build(false)?;
    let seen = go(args, rusd)?;
    let lines = report::table(&seen.rows);
    for line in &lines {
        report::line(line);
    }
    if args.keep {
        report::keep("door.md", &lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The step of `test`.
pub(crate) fn steps(steps: &mut Steps, binaries: &Binaries) {
    steps.run("door: etcd, rusd, etcd by snapshots", || {
        if !peers::is_available() {
            return Ok(Outcome::Skipped(peers::MISSING.to_owned()));
        }
        go(&TESTED, binaries.server().to_owned())?;
        Ok(Outcome::Passed(format!("{} operations on each side", TESTED.operations)))
    });
}

/// A table of what was seen.
struct Seen {
    rows: Vec<Vec<String>>,
}

impl Seen {
    fn add(&mut self, what: &str, seen: impl ToString) {
        let seen = seen.to_string();
        report::progress(&format!("{what}: {seen}"));
        self.rows.push(vec![what.to_owned(), seen]);
    }
}

fn go(args: &Args, rusd: PathBuf) -> Result<Seen> {
    let runtime = Runtime::new().context("cannot start a runtime")?;
    let folder = Scratch::new("door")?;
    let programs = Programs {
        etcd: workspace::peer("etcd"),
        etcdutl: Tool::new(workspace::peer("etcdutl")),
        rusd: Tool::new(rusd),
    };
    let mut way = Way {
        args,
        programs,
        runtime,
        folder: folder.path().to_path_buf(),
        rng: ChaCha8Rng::seed_from_u64(args.seed),
        seen: Seen { rows: vec![vec!["what".to_owned(), "seen".to_owned()]] },
    };
    way.seen.add("commit", workspace::commit());
    way.seen.add("seed", args.seed);

    let etcd = Place::new(&way.folder.join("etcd"), System::Etcd)?;
    let server = etcd.start(&way.programs)?;
    let mut load = Load::new(args.seed);
    way.load(&server, &mut load)?;
    let first = way.save(&server, "etcd.db")?;
    let picture = way.picture(&server)?;
    server.stop()?;
    way.look_into(&first, "etcd's file")?;
    let server = way.arrive(&first, &picture, "etcd's file")?;

    way.load(&server, &mut load)?;
    let second = way.save_while_written(&server)?;
    let revision = tools::status_revision(&way.programs.etcdutl, &second)?;
    let picture = way.picture_at(&server, Some(revision))?;
    server.stop()?;
    way.look_into(&second, "rusd's file")?;
    way.arrive(&second, &picture, "rusd's file")?;
    way.raise(&second)?;
    way.kill_restores(&second)?;
    Ok(way.seen)
}

/// A data directory, addresses, and what runs there.
struct Place {
    data_dir: PathBuf,
    addresses: Addresses,
    system: System,
}

impl Place {
    fn new(data_dir: &Path, system: System) -> Result<Place> {
        let data_dir = data_dir.to_path_buf();
        Ok(Place { data_dir, addresses: Addresses::free()?, system })
    }

    fn options(&self, programs: &Programs) -> Result<Options> {
        let binary = match self.system {
            System::Rusd => programs.rusd.program(),
            System::Etcd => &programs.etcd,
        };
        let options = Options::new(self.system, binary)?;
        Ok(options.addresses(self.addresses).data_dir(&self.data_dir))
    }

    fn start(&self, programs: &Programs) -> Result<Server> {
        Server::start(&self.options(programs)?)
    }

    /// By the tool of the server's own side.
    fn restore(&self, programs: &Programs, file: &Path, bump: Option<i64>) -> Result<Restore> {
        let tool = match self.system {
            System::Rusd => &programs.rusd,
            System::Etcd => &programs.etcdutl,
        };
        let flags = self.options(programs)?.founding_flags();
        Ok(Restore::of(tool, file, &self.data_dir, &flags, bump))
    }
}

struct Programs {
    etcd: PathBuf,
    etcdutl: Tool,
    /// The server, and the tool.
    rusd: Tool,
}

struct Way<'a> {
    args: &'a Args,
    programs: Programs,
    runtime: Runtime,
    folder: PathBuf,
    rng: ChaCha8Rng,
    seen: Seen,
}

impl Way<'_> {
    fn load(&mut self, server: &Server, load: &mut Load) -> Result<()> {
        let url = server.client_url();
        let done = self.runtime.block_on(load.run(&url, self.args.operations))?;
        self.seen.add("operations", done);
        Ok(())
    }

    fn picture(&self, server: &Server) -> Result<Picture> {
        self.picture_at(server, None)
    }

    /// As of a revision that is still readable, or now.
    fn picture_at(&self, server: &Server, revision: Option<i64>) -> Result<Picture> {
        self.runtime.block_on(Picture::of(&server.client_url(), revision))
    }

    fn save(&mut self, server: &Server, name: &str) -> Result<PathBuf> {
        let file = self.folder.join(name);
        let since = Instant::now();
        tools::save(&server.client_address(), &file)?;
        let (bytes, took) = (fs::metadata(&file)?.len(), since.elapsed().as_secs_f64());
        self.seen.add(&format!("{name}: snapshot save"), format!("{bytes} bytes in {took:.2} s"));
        Ok(file)
    }

    /// Writes to other keys go on, without a compaction, so that the snapshot's revision stays
    /// readable, and its leases stay as they are.
    fn save_while_written(&mut self, server: &Server) -> Result<PathBuf> {
        let url = server.client_url();
        let stop = Arc::new(AtomicBool::new(false));
        let writing = self.runtime.spawn(load::write_beside(url.clone(), Arc::clone(&stop)));
        let before = self.runtime.block_on(picture::revision(&url))?;
        let saved = self.save(server, "rusd.db");
        stop.store(true, Ordering::Relaxed);
        let written = self.runtime.block_on(writing)??;
        let file = saved?;
        let after = self.runtime.block_on(picture::revision(&url))?;
        let revision = tools::status_revision(&self.programs.etcdutl, &file)?;
        ensure!(
            (before..=after).contains(&revision),
            "the snapshot is of {revision}, but it was asked for between {before} and {after}"
        );
        ensure!(written > 0, "nothing was written meanwhile");
        self.seen.add("rusd.db: writes meanwhile", written);
        Ok(file)
    }

    /// Both tools say the same of a file, and refuse it when a byte is flipped.
    fn look_into(&mut self, file: &Path, name: &str) -> Result<()> {
        for format in ["simple", "table", "json", "fields"] {
            let etcdutl = tools::status(&self.programs.etcdutl, file, format)?;
            let rusd = tools::status(&self.programs.rusd, file, format)?;
            ensure!(etcdutl == rusd, "{name}: etcdutl says\n{etcdutl}rusd says\n{rusd}");
        }
        let told = tools::status(&self.programs.rusd, file, "simple")?;
        self.seen.add(&format!("{name}: status of etcdutl and of rusd"), told.trim());
        let sound = fs::read(file)?;
        let bad = self.folder.join("flipped.db");
        let nowhere = Place::new(&self.folder.join("nowhere"), System::Rusd)?;
        for flip in 0..self.args.flips {
            let mut flipped = sound.clone();
            let at = self.rng.random_range(0..flipped.len());
            flipped[at] ^= 1 << (flip % 8);
            fs::write(&bad, &flipped)?;
            for refused in [
                tools::refusal(&mut tools::status_command(&self.programs.rusd, &bad, "simple")),
                tools::refusal(&mut nowhere.restore(&self.programs, &bad, None)?.command),
            ] {
                let refused = refused.with_context(|| format!("{name}: byte {at} flipped"))?;
                ensure!(refused.contains("expected sha256"), "{name}: byte {at}: {refused}");
            }
            // Whoever does not ask for the hash gets an answer, not a crash.
            let mut unasked = nowhere.restore(&self.programs, &bad, None)?;
            tools::answers(unasked.command.arg("--skip-hash-check"))
                .with_context(|| format!("{name}: byte {at} flipped, hash skipped"))?;
            if nowhere.data_dir.exists() {
                fs::remove_dir_all(&nowhere.data_dir)?;
            }
        }
        self.seen.add(&format!("{name}: flipped bytes, all refused by the hash"), self.args.flips);
        Ok(())
    }

    /// etcd and rusd restored from a file show the same as the server it is from. Gives rusd.
    fn arrive(&mut self, file: &Path, wanted: &Picture, name: &str) -> Result<Server> {
        let mut last = None;
        for system in [System::Etcd, System::Rusd] {
            let number = self.seen.rows.len();
            let place =
                Place::new(&self.folder.join(format!("{}-{number}", system.name())), system)?;
            let since = Instant::now();
            place.restore(&self.programs, file, None)?.run()?;
            let took = since.elapsed().as_secs_f64();
            let server = place.start(&self.programs)?;
            let found = self.picture(&server)?;
            wanted.compare(&found).with_context(|| format!("{name} in {}", system.name()))?;
            let what = format!("{name} in {}: the same", system.name());
            self.seen.add(&what, format!("{found}; restored in {took:.2} s"));
            last = Some(server);
        }
        last.context("two systems")
    }

    /// With a raised revision both show the same too.
    fn raise(&mut self, file: &Path) -> Result<()> {
        let mut pictures = Vec::new();
        for system in [System::Etcd, System::Rusd] {
            let place = Place::new(&self.folder.join(format!("raised-{}", system.name())), system)?;
            place.restore(&self.programs, file, Some(BUMP))?.run()?;
            pictures.push(self.picture(&place.start(&self.programs)?)?);
        }
        let [etcd, rusd] = &pictures[..] else { bail!("two systems") };
        etcd.compare(rusd).context("with a raised revision")?;
        self.seen.add("--bump-revision: etcd and rusd the same", rusd);
        Ok(())
    }

    fn kill_restores(&mut self, file: &Path) -> Result<()> {
        let place = Place::new(&self.folder.join("killed"), System::Rusd)?;
        let since = Instant::now();
        place.restore(&self.programs, file, None)?.run()?;
        let longest = since.elapsed();
        let mut whole = 0;
        for _ in 0..self.args.kills {
            fs::remove_dir_all(&place.data_dir).ok();
            let mut child = place.restore(&self.programs, file, None)?.command.spawn()?;
            let micros = u64::try_from(longest.as_micros())?;
            thread::sleep(Duration::from_micros(self.rng.random_range(0..=micros)));
            child.kill()?;
            child.wait()?;
            if place.data_dir.exists() {
                let rusd = self.programs.rusd.program();
                workspace::output(Command::new(rusd).arg("verify").arg(&place.data_dir))?;
                whole += 1;
            }
        }
        let seen = format!("{}, of which {whole} had finished and are whole", self.args.kills);
        self.seen.add("restores killed", seen);
        Ok(())
    }
}
