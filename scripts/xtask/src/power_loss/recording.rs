//! A loaded member whose file operations are traced.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use super::trace;
use super::writes::{self, Write, Writes};
use crate::client::{Client, Effect};
use crate::server::{Options, Scratch, Server, System};
use crate::workspace;

/// How to get strace.
pub(super) const STRACE_MISSING: &str = "needs strace (apt-get install strace)";

/// Writers that run at once.
const WRITERS: u16 = 12;
/// Keys of one writer: few, so that they are overwritten and deleted often.
const KEYS: u32 = 16;
/// Writes between two compactions, and revisions that a compaction leaves.
const COMPACTED_EVERY: i64 = 400;
const REVISIONS_KEPT: i64 = 150;
/// Long values fill the log, so that segments of it are begun and removed.
const LONG_VALUE_BYTES: std::ops::Range<usize> = 50_000..300_000;
const SHORT_VALUE_BYTES: std::ops::Range<usize> = 0..2_000;
/// Of so many values one is long.
const LONG_ONE_IN: u32 = 6;
/// All writers rest so often, for so long that an idle member folds its images meanwhile.
const RESTS: u64 = 5;
const REST: Duration = Duration::from_secs(2);
/// How long one operation may take: a traced member is slow, and a copy of its engine is one, too.
const OPERATION_TIMEOUT: Duration = Duration::from_mins(3);
/// How long strace may take to write its last line.
const TRACE_END_TIMEOUT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);
/// How far the clock may be from the time that has passed: it may run a little slow or fast, which does
/// not matter, but was not set.
const CLOCK_STEP_MAX: Duration = Duration::from_millis(100);

/// What is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// The member's program.
    pub(crate) binary: &'a Path,
    /// `--backend`.
    pub(crate) backend: &'a str,
    /// A bug that is planted in it.
    pub(crate) plant: Option<&'a str>,
    /// Millions of bytes of values that are written.
    pub(crate) megabytes: u64,
    /// Seed of keys and values.
    pub(crate) seed: u64,
}

impl Plan<'_> {
    /// The member, over a data directory. Its log is cut as early as can be.
    pub(crate) fn options(&self, data_dir: &Path) -> Result<Options> {
        let options = Options::new(System::Rusd, self.binary)?.data_dir(data_dir);
        Ok(options
            .flag("--backend", self.backend)
            .flag("--snapshot-count", "100")
            .flag("--snapshot-catchup-entries", "10")
            .flag("--max-wals", "1"))
    }
}

/// A recording.
pub(super) struct Recording {
    /// Where the data directory was made, and nothing else.
    pub(super) root: PathBuf,
    /// The trace.
    pub(super) trace: PathBuf,
    /// What was written.
    pub(super) writes: Writes,
    _scratch: Scratch,
}

/// Starts a member, loads it, and stops it.
pub(super) fn record(plan: &Plan<'_>) -> Result<Recording> {
    if !workspace::is_installed("strace") {
        bail!("cargo xtask power-loss {STRACE_MISSING}");
    }
    let scratch = Scratch::new("power-loss")?;
    let (root, trace) = (scratch.path().join("root"), scratch.path().join("trace"));
    std::fs::create_dir(&root)?;
    // As the member names its files.
    let root = root.canonicalize()?;
    let mut options = plan.options(&root.join("data"))?.through(tracer(&trace));
    if let Some(plant) = plan.plant {
        options = options.variable(crate::bite::PLANT_VARIABLE, plant);
    }
    let (clock, since) = (writes::now(), Instant::now());
    let server = Server::start(&options)?;
    let process = server.pid();
    let runtime = tokio::runtime::Runtime::new()?;
    let writes = runtime.block_on(load(plan, &server.client_url()))?;
    let status = server.stop()?;
    ensure!(status.success(), "SIGTERM ended it with {status}");
    let by_clock = Duration::from_micros(writes::now().saturating_sub(clock));
    let passed = since.elapsed();
    ensure!(by_clock.abs_diff(passed) < CLOCK_STEP_MAX, "the clock was set meanwhile; try again");
    let deadline = Instant::now() + TRACE_END_TIMEOUT;
    while !trace::is_over(&trace, process) {
        ensure!(Instant::now() < deadline, "strace does not end");
        thread::sleep(POLL);
    }
    Ok(Recording { root, trace, writes, _scratch: scratch })
}

/// strace as a grandchild, so that the member is our own child.
fn tracer(trace: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> =
        ["strace", "-D", "-f", "-q", "--seccomp-bpf", "-ttt", "-s"].map(OsString::from).to_vec();
    words.extend([trace::STRING_BYTES_MAX, "-e", "signal=none", "-e"].map(OsString::from));
    words.push(format!("trace={}", trace::CALLS).into());
    words.extend(["-o".into(), trace.into()]);
    words
}

/// Loads a member until the planned bytes are written.
pub(crate) async fn load(plan: &Plan<'_>, url: &str) -> Result<Writes> {
    let client = Client::with_timeout(url, OPERATION_TIMEOUT)?;
    let written = Arc::new(AtomicU64::new(0));
    let bytes_max = plan.megabytes * 1_000_000;
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let writer = Writer {
            prefix: format!("w{number:02}/"),
            present: vec![false; usize::try_from(KEYS)?],
            rng: ChaCha8Rng::seed_from_u64(rng.random()),
            writes: Vec::new(),
            compactions: Vec::new(),
        };
        writers.spawn(writer.run(client.clone(), Arc::clone(&written), bytes_max, number == 0));
    }
    let (mut all, mut compactions) = (Vec::new(), Vec::new());
    while let Some(ended) = writers.join_next().await {
        let (writes, asked) = ended??;
        all.extend(writes);
        compactions.extend(asked);
    }
    Writes::new(all, compactions)
}

/// Writes its own keys, one operation at a time.
struct Writer {
    prefix: String,
    /// Which of its keys are there.
    present: Vec<bool>,
    rng: ChaCha8Rng,
    writes: Vec<Write>,
    compactions: Vec<(u64, i64)>,
}

type Written = (Vec<Write>, Vec<(u64, i64)>);

impl Writer {
    async fn run(
        mut self,
        mut client: Client,
        written: Arc<AtomicU64>,
        bytes_max: u64,
        keeps_house: bool,
    ) -> Result<Written> {
        let (mut next_compaction, mut is_defragmented) = (COMPACTED_EVERY, false);
        let mut rested = 0;
        loop {
            let before = written.load(Ordering::Relaxed);
            if before >= bytes_max {
                return Ok((self.writes, self.compactions));
            }
            if before * (RESTS + 1) / bytes_max > rested {
                rested += 1;
                tokio::time::sleep(REST).await;
            }
            let effects = self.choose();
            let bytes: usize = effects.iter().flat_map(|it| &it.value).map(Vec::len).sum();
            written.fetch_add(u64::try_from(bytes)?, Ordering::Relaxed);
            let revision =
                client.apply(effects.clone()).await.context("a write was not acknowledged")?;
            self.writes.push(Write { revision, acknowledged: writes::now(), effects });
            if keeps_house && revision >= next_compaction {
                next_compaction = revision + COMPACTED_EVERY;
                let at = revision - REVISIONS_KEPT;
                self.compactions.push((writes::now(), at));
                client.compact(at).await.context("it does not compact")?;
            }
            if keeps_house && !is_defragmented && before >= bytes_max / 2 {
                is_defragmented = true;
                client.defragment().await.context("it does not defragment")?;
            }
        }
    }

    /// A write of one to four keys, of which each changes.
    fn choose(&mut self) -> Vec<Effect> {
        let count = if self.rng.random_ratio(1, 4) { self.rng.random_range(2..5) } else { 1 };
        let mut effects: Vec<Effect> = Vec::new();
        while effects.len() < count {
            let number = self.rng.random_range(0..KEYS);
            let key = format!("{}{number:02}", self.prefix).into_bytes();
            if effects.iter().any(|effect| effect.key == key) {
                continue;
            }
            let present = &mut self.present[usize::try_from(number).expect("few keys")];
            let is_put = !*present || self.rng.random_ratio(5, 6);
            *present = is_put;
            let value = is_put.then(|| value(&mut self.rng));
            effects.push(Effect { key, value });
        }
        effects
    }
}

/// A value that no other write has. A sector of it may be all zeros.
fn value(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut value = format!("{:016x}-", rng.random::<u64>()).into_bytes();
    let longer =
        if rng.random_ratio(1, LONG_ONE_IN) { LONG_VALUE_BYTES } else { SHORT_VALUE_BYTES };
    let fill = [0, b'x', b'y'][rng.random_range(0..3)];
    value.resize(value.len() + rng.random_range(longer), fill);
    value
}
