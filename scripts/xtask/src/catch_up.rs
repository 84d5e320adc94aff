//! `cargo xtask catch-up`: what clients feel while a follower that missed half a million entries gets
//! the state of another member.
//!
//! Three members are under a paced load. A follower goes (killed, or stopped as by SIGSTOP and then
//! killed), so many entries are written, and it is started again while the paced load goes on. The
//! load is open: each write has a time at which it is due, and its latency counts from then, so a
//! stall is felt by every write that was due in it. Compared are the 99th percentiles of one run:
//! before, with all members; during, from the start of the follower until it has what the leader had;
//! and after. Each member would have a machine of its own: the follower is kept on one core, and the
//! other members and the client on another. The disk they share.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::Client;
use crate::server::{Addresses, Options, Scratch, Server, System};
use crate::workspace::Binaries;
use crate::{cores, peers, report, workspace};

/// Measure writes while a follower that was down for long catches up by a snapshot
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Entries that are written while the follower is down
    #[arg(long, default_value_t = 500_000)]
    entries: u64,
    /// Runs, on fresh members; in every second one the follower is stopped before it is killed
    #[arg(long, default_value_t = 4)]
    runs: usize,
    /// Writes a second of the paced load
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Seconds before and after that are compared with
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// On etcd too
    #[arg(long)]
    etcd: bool,
    /// Keep what was seen in results/catch-up.md
    #[arg(long)]
    keep: bool,
}

/// The one that goes. It starts when there is a leader, so that it does not lead.
const FOLLOWER: usize = 2;
/// For the follower, and for the other members and the client.
const ITS_CORE: usize = 1;
const OTHERS_CORE: usize = 0;
/// By how much the 99th percentile may grow.
const RATIO_MAX: f64 = 2.0;
/// In thousandths.
const PERCENTILE: usize = 990;
/// Writes of the paced load that can be under way at once: of more, it is no longer open.
const PACED_AT_ONCE: usize = 256;
/// Writers of the entries that the follower misses.
const WRITERS: usize = 96;
/// Keys are overwritten, some times each.
const KEYS: u64 = 200_000;
const VALUE_BYTES: usize = 128;
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
const CAUGHT_UP_TIMEOUT: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(50);
/// The first seconds of a load are not measured.
const WARM_UP: Duration = Duration::from_secs(3);

/// How the follower goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    Killed,
    /// By SIGSTOP: its connections stay open and nobody reads from them.
    Stopped,
}

/// What was seen in one run.
struct Seen {
    going: Going,
    caught_up: Duration,
    before: Felt,
    during: Felt,
    after: Felt,
    /// Resident bytes of the leader: before the follower goes, after the entries, and the most ever.
    leader: [u64; 3],
}

/// What writes of a stretch of time felt.
struct Felt {
    count: usize,
    p99: Duration,
    max: Duration,
}

/// Runs, prints the table.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let rusd = Binaries::release()?.server().to_owned();
    cores::keep_thread_on(OTHERS_CORE);
    let mut rows = vec![
        [
            "system",
            "follower",
            "caught up in",
            "writes during",
            "p99 before",
            "p99 during",
            "p99 after",
            "during / before",
            "worst during",
            "leader's memory before",
            "after the entries",
            "most",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    let mut ratios = Vec::new();
    for number in 0..args.runs {
        let going = if number % 2 == 0 { Going::Killed } else { Going::Stopped };
        let seen = one(args, System::Rusd, &rusd, going)?;
        ratios.push(seen.ratio());
        rows.push(seen.row(System::Rusd));
        if args.etcd && peers::is_available() {
            peers::build(false)?;
            let seen = one(args, System::Etcd, &workspace::peer("etcd"), going)?;
            rows.push(seen.row(System::Etcd));
        }
    }
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    let median = ratios[ratios.len() / 2];
    let mut lines = vec![
        format!(
            "Commit {}: {} entries missed, {} writes a second of {VALUE_BYTES} bytes; the follower \
             on a core of its own, all on one disk. The 99th percentile during over before, on \
             rusd: median {median:.2} ({least:.2} to {most:.2}); at most {RATIO_MAX} is wanted.",
            workspace::commit(),
            args.entries,
            args.rate
        ),
        String::new(),
    ];
    lines.extend(report::table(&rows));
    for line in &lines {
        report::line(line);
    }
    if args.keep {
        report::keep("catch-up.md", &lines)?;
    }
    Ok(if median <= RATIO_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Seen {
    fn ratio(&self) -> f64 {
        self.during.p99.as_secs_f64() / self.before.p99.as_secs_f64()
    }

    fn row(&self, system: System) -> Vec<String> {
        let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        let going = match self.going {
            Going::Killed => "killed",
            Going::Stopped => "stopped",
        };
        let mut row = vec![
            system.name().to_owned(),
            going.to_owned(),
            format!("{:.1} s", self.caught_up.as_secs_f64()),
            self.during.count.to_string(),
        ];
        row.extend([&self.before, &self.during, &self.after].map(|felt| millis(felt.p99)));
        row.push(format!("{:.2}", self.ratio()));
        row.push(millis(self.during.max));
        row.extend(self.leader.map(|bytes| format!("{} MB", bytes / 1_000_000)));
        row
    }
}

fn one(args: &Args, system: System, binary: &Path, going: Going) -> Result<Seen> {
    let runtime = Runtime::new()?;
    let folder = Scratch::new("catch-up")?;
    let addresses = Addresses::several(3)?;
    let start = |position: usize| {
        let data_dir = folder.path().join(format!("m{}", position + 1));
        let core = if position == FOLLOWER { ITS_CORE } else { OTHERS_CORE };
        let options = Options::new(system, binary)?
            .member_of(&addresses, position)
            .data_dir(&data_dir)
            .core(core);
        Server::spawn(&options)
    };
    let mut members = (0..FOLLOWER).map(start).collect::<Result<Vec<_>>>()?;
    members.iter_mut().try_for_each(Server::wait_until_ready)?;
    let leader = leader(&runtime, &members)?;
    let mut gone = start(FOLLOWER)?;
    gone.wait_until_ready()?;
    let url = members[leader].client_url();
    report::progress(&format!("{}: the paced load before", system.name()));
    let pid = members[leader].pid();
    let client = |url: &str| Client::with_timeout(url, OPERATION_TIMEOUT);
    let stretch = Duration::from_secs(args.seconds);
    let before = runtime.block_on(async {
        let paced = Paced::start(client(&url)?, args.rate);
        sleep(WARM_UP + stretch).await;
        paced.finish().await?.felt(WARM_UP, WARM_UP + stretch)
    })?;
    let memory_before = memory(pid, "VmRSS")?;
    let signal = match going {
        Going::Killed => Signal::SIGKILL,
        Going::Stopped => Signal::SIGSTOP,
    };
    kill(Pid::from_raw(i32::try_from(gone.pid())?), signal)?;
    report::progress("writing what it misses");
    runtime.block_on(async { write_entries(client(&url)?, args.entries).await })?;
    gone.kill()?;
    let memory_after = memory(pid, "VmRSS")?;
    report::progress("the paced load while it catches up, and after");
    let back = runtime.block_on(async {
        let paced = Paced::start(client(&url)?, args.rate);
        sleep(WARM_UP).await;
        let from = paced.elapsed();
        let back = start(FOLLOWER)?;
        caught_up(&url, &back.client_url()).await?;
        let until = paced.elapsed();
        sleep(stretch).await;
        let done = paced.finish().await?;
        let took = until.saturating_sub(from);
        anyhow::Ok((back, took, done.felt(from, until)?, done.felt(until, until + stretch)?))
    })?;
    let (mut back, caught_up, during, after) = back;
    ensure!(!back.has_ended()?, "the follower has ended\n{}", back.log_tail());
    let installs = match system {
        System::Rusd => "installing a snapshot",
        System::Etcd => "applied snapshot",
    };
    ensure!(back.has_said(installs), "it caught up without a snapshot\n{}", back.log_tail());
    Ok(Seen {
        going,
        caught_up,
        before,
        during,
        after,
        leader: [memory_before, memory_after, memory(pid, "VmHWM")?],
    })
}

/// Which of them leads.
fn leader(runtime: &Runtime, members: &[Server]) -> Result<usize> {
    for (position, member) in members.iter().enumerate() {
        let leads = runtime.block_on(async {
            Client::new(&member.client_url())?.leads().await.context("status")
        })?;
        if leads {
            return Ok(position);
        }
    }
    bail!("nobody leads")
}

/// Waits until the one has applied what the other had applied.
async fn caught_up(leader: &str, follower: &str) -> Result<()> {
    let (mut leader, mut follower) = (Client::new(leader)?, Client::new(follower)?);
    let deadline = Instant::now() + CAUGHT_UP_TIMEOUT;
    loop {
        let wanted = leader.applied_index().await?;
        // It may not serve yet.
        if follower.applied_index().await.is_ok_and(|index| index >= wanted) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the follower does not catch up");
        sleep(POLL).await;
    }
}

/// As fast as it goes.
async fn write_entries(client: Client, entries: u64) -> Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (mut client, next) = (client.clone(), Arc::clone(&next));
        writers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= entries {
                    return anyhow::Ok(());
                }
                client.put(key(number), vec![b'x'; VALUE_BYTES]).await?;
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

fn key(number: u64) -> Vec<u8> {
    // Apart from each other, so that they do not come in order.
    format!("k{:08}", number.wrapping_mul(7_919) % KEYS).into_bytes()
}

/// A load with a time for each write.
struct Paced {
    start: Instant,
    is_over: Arc<AtomicBool>,
    writers: JoinSet<Result<Vec<Latency>>>,
}

/// When a write was due, and how long after that it was acknowledged.
type Latency = (Duration, Duration);

impl Paced {
    /// Begins.
    fn start(client: Client, rate: u32) -> Self {
        let (start, is_over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let next = Arc::new(AtomicU64::new(0));
        let mut writers = JoinSet::new();
        for _ in 0..PACED_AT_ONCE {
            let (mut client, next) = (client.clone(), Arc::clone(&next));
            let is_over = Arc::clone(&is_over);
            writers.spawn(async move {
                let mut latencies = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let due = Duration::from_secs(number) / rate;
                    sleep_until(start + due).await;
                    client.put(key(number), vec![b'y'; VALUE_BYTES]).await?;
                    latencies.push((due, start.elapsed().saturating_sub(due)));
                }
                Ok(latencies)
            });
        }
        Self { start, is_over, writers }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    async fn finish(mut self) -> Result<Latencies> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(ended) = self.writers.join_next().await {
            all.extend(ended??);
        }
        Ok(Latencies(all))
    }
}

struct Latencies(Vec<Latency>);

impl Latencies {
    /// Of the writes that were due in a stretch of time.
    fn felt(&self, from: Duration, until: Duration) -> Result<Felt> {
        let due = self.0.iter().filter(|(due, _)| (from..until).contains(due));
        let mut latencies: Vec<Duration> = due.map(|(_, latency)| *latency).collect();
        latencies.sort_unstable();
        let Some(&max) = latencies.last() else { bail!("no write was due meanwhile") };
        Ok(Felt { count: latencies.len(), p99: at(&latencies, PERCENTILE), max })
    }
}

/// The smallest of the sorted latencies that so many thousandths of them do not exceed.
fn at(sorted: &[Duration], thousandths: usize) -> Duration {
    let rank = (sorted.len() * thousandths).div_ceil(1000);
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// A size in bytes that Linux tells of a process.
fn memory(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name)).context("Linux tells no size")?;
    let kib = line.split_whitespace().nth(1).context("a size has a number")?;
    Ok(kib.parse::<u64>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_latency_that_was_seen() {
        let millis = Duration::from_millis;
        let sorted: Vec<Duration> = (1..=200).map(millis).collect();
        assert_eq!(at(&sorted, 990), millis(198));
        assert_eq!(at(&sorted[..1], 990), millis(1));
        let latencies = Latencies(sorted.iter().map(|it| (*it, *it)).collect());
        let felt = latencies.felt(millis(101), millis(201)).unwrap();
        assert_eq!((felt.count, felt.p99, felt.max), (100, millis(199), millis(200)));
        assert!(latencies.felt(millis(300), millis(400)).is_err());
    }
}
