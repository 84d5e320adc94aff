//! `cargo xtask crash`: `kill -9` of a single loaded member, again and again.
//!
//! Each cycle starts the member on the folder the last one left, checks that every acknowledged
//! write is there, loads it, kills it after a random time, and lets `rusd verify` rebuild the
//! state from the history and the log. Some cycles also kill it while it starts. What happened is
//! told by the [`ledger`]; on a loss the folder is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::server::{Addresses, Options, Scratch, Server, System};
use crate::workspace::Binaries;
use crate::{report, workspace};

mod ledger;
mod load;

use ledger::Ledger;

/// Kill a loaded member again and again: no acknowledged write may be lost
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many times to kill it
    #[arg(long, default_value_t = 200)]
    cycles: u32,
    /// Seed of keys, values and times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writers that run at once
    #[arg(long, default_value_t = 16)]
    writers: u16,
    /// Start from an empty folder after so many cycles
    #[arg(long, default_value_t = 50)]
    fresh_every: u32,
    /// The longest time under load before the kill, in milliseconds
    #[arg(long, default_value_t = 1500)]
    load_ms_max: u64,
    /// Use this rusd instead of the release build
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// What all cycles together came to.
#[derive(Debug, Default)]
struct Totals {
    cycles: u32,
    killed_at_start: u32,
    acknowledged: u64,
    unknown: u64,
    reread: u64,
    verify: Vec<Duration>,
    restart: Vec<Duration>,
}

/// Runs the cycles; the table goes to stdout and to `results/crash.md`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => Binaries::release()?.server().to_owned(),
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start a runtime")?;
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let mut totals = Totals::default();
    while totals.cycles < args.cycles {
        let folder = Scratch::new("crash")?;
        let mut subject = Subject::new(&binary, &folder, args)?;
        let cycles = args.fresh_every.min(args.cycles - totals.cycles);
        let held = (0..cycles)
            .try_for_each(|_| subject.cycle(&runtime, &mut rng, &mut totals))
            .and_then(|()| subject.close(&runtime, &mut totals));
        if let Err(error) = held {
            let kept = keep(folder.path())?;
            report::line(&format!("after {} cycles: {error:#}", totals.cycles));
            report::line(&format!("the data folder is kept in {}", kept.display()));
            return Ok(ExitCode::FAILURE);
        }
    }
    if totals.acknowledged == 0 {
        bail!("no write was acknowledged: nothing was shown");
    }
    let lines = totals.summary(args.seed);
    for line in &lines {
        report::line(line);
    }
    report::keep("crash.md", &lines)?;
    Ok(ExitCode::SUCCESS)
}

/// A folder, what must be in it, and how its member is run.
struct Subject<'a> {
    binary: &'a Path,
    data_dir: PathBuf,
    addresses: Addresses,
    ledgers: Vec<Ledger>,
    /// Reads below this revision may be refused: a compaction was asked for.
    compacted: i64,
    load_ms_max: u64,
}

impl<'a> Subject<'a> {
    fn new(binary: &'a Path, folder: &Scratch, args: &Args) -> Result<Self> {
        Ok(Self {
            binary,
            data_dir: folder.path().join("data"),
            addresses: Addresses::free()?,
            ledgers: (0..args.writers).map(Ledger::new).collect(),
            compacted: 0,
            load_ms_max: args.load_ms_max,
        })
    }

    fn options(&self) -> Result<Options> {
        let options = Options::new(System::Rusd, self.binary)?;
        Ok(options.data_dir(&self.data_dir).addresses(self.addresses))
    }

    /// Start, check, load, kill, verify.
    fn cycle(
        &mut self,
        runtime: &tokio::runtime::Runtime,
        rng: &mut ChaCha8Rng,
        totals: &mut Totals,
    ) -> Result<()> {
        if self.data_dir.exists() && rng.random_ratio(1, 10) {
            let server = Server::spawn(&self.options()?)?;
            thread::sleep(Duration::from_millis(rng.random_range(0..100)));
            server.kill()?;
            totals.killed_at_start += 1;
        }
        let start = Instant::now();
        let server = Server::start(&self.options()?)?;
        totals.restart.push(start.elapsed());

        let load = Duration::from_millis(rng.random_range(20..self.load_ms_max.max(21)));
        let seed = rng.random();
        let url = server.client_url();
        runtime.block_on(self.check(&url, totals))?;
        let killed = runtime.block_on(load::run(
            &mut self.ledgers,
            &mut self.compacted,
            &url,
            seed,
            load,
            || server.kill(),
        ));
        killed?;
        for ledger in &self.ledgers {
            totals.acknowledged += ledger.acknowledged_in_cycle();
            totals.unknown += u64::from(ledger.has_unknown());
        }
        totals.verify.push(self.verify()?);
        totals.cycles += 1;
        report::progress(&format!(
            "cycle {}: killed after {} ms, {} writes acknowledged so far",
            totals.cycles,
            load.as_millis(),
            totals.acknowledged
        ));
        Ok(())
    }

    /// Everything acknowledged is there, and nothing else.
    async fn check(&mut self, url: &str, totals: &mut Totals) -> Result<()> {
        let mut client = crate::client::Client::new(url)?;
        let (revision, found) = client.all().await.context("cannot read everything back")?;
        let wanted = self.ledgers.iter().map(Ledger::revision).max().unwrap_or(0);
        if revision < wanted {
            bail!("LOST: the store is at revision {revision}, {wanted} was acknowledged");
        }
        let known: usize = self.ledgers.iter_mut().map(|l| l.check(&found)).sum::<Result<_>>()?;
        if known != found.len() {
            bail!("{} keys are there, {known} were written", found.len());
        }
        for ledger in &self.ledgers {
            for past in ledger.past().filter(|past| past.revision >= self.compacted) {
                let seen = client.get_at(past.key.clone(), past.revision).await;
                let seen = seen.with_context(|| format!("cannot read {past}"))?;
                if seen.as_ref().is_none_or(|kv| kv.value != past.value) {
                    bail!("LOST: the past does not hold {past}, but {seen:?}");
                }
                totals.reread += 1;
            }
        }
        Ok(())
    }

    /// After the last kill there is no next cycle that would look. And a graceful stop leaves a
    /// folder that is as good.
    fn close(&mut self, runtime: &tokio::runtime::Runtime, totals: &mut Totals) -> Result<()> {
        let server = Server::start(&self.options()?)?;
        runtime.block_on(self.check(&server.client_url(), totals))?;
        let status = server.stop()?;
        if !status.success() {
            bail!("SIGTERM ended it with {status}");
        }
        totals.verify.push(self.verify()?);
        Ok(())
    }

    fn verify(&self) -> Result<Duration> {
        let start = Instant::now();
        let output = Command::new(self.binary).arg("verify").arg(&self.data_dir).output()?;
        if !output.status.success() {
            bail!(
                "rusd verify ended with {}\n{}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(start.elapsed())
    }
}

impl Totals {
    fn summary(&self, seed: u64) -> Vec<String> {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let rows = vec![
            row("what", "seen".to_owned()),
            row("commit", workspace::commit()),
            row("seed", seed.to_string()),
            row("cycles of kill -9 under load", self.cycles.to_string()),
            row("kills while starting, besides", self.killed_at_start.to_string()),
            row("acknowledged writes", self.acknowledged.to_string()),
            row("acknowledged writes lost", "0".to_owned()),
            row("writes cut off by a kill (either outcome is right)", self.unknown.to_string()),
            row("past revisions read again", self.reread.to_string()),
            row("rusd verify agreed", self.verify.len().to_string()),
            row("rusd verify, longest", longest(&self.verify)),
            row("restart until it serves, longest", longest(&self.restart)),
        ];
        report::table(&rows)
    }
}

fn longest(times: &[Duration]) -> String {
    let seconds = times.iter().max().map_or(0.0, Duration::as_secs_f64);
    format!("{seconds:.2} s")
}

fn keep(folder: &Path) -> Result<PathBuf> {
    let kept = workspace::target().join(format!("crash-failed-{}", std::process::id()));
    fs::rename(folder, &kept).context("cannot keep the data folder")?;
    Ok(kept)
}
