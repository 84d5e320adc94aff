//! `cargo xtask bit-flips`: one bit of a member's files changes while it is stopped.
//!
//! A member is loaded and stopped, and everything it serves is noted; its state is made from its own log,
//! or was sent by another member, or restored from a file. Then, again and again, one bit
//! of a copy of its folder is flipped, and the member is started on it. Right is that it refuses and
//! says where, or refuses the reads that would need what is damaged, or serves what it served before
//! (the bit was of no use, or of something that is made again). Wrong is anything else that is served.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::client::Client;
use crate::power_loss::recording::Plan;
use crate::power_loss::wanted_backends;
use crate::server::{Scratch, Server};
use crate::workspace::Binaries;
use crate::{report, workspace};

mod origin;
mod state;

use origin::Origin;
use state::State;

/// Flip one bit of a stopped member's files: it is found, or it does no harm
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many bits are flipped, with each engine and each origin of its state
    #[arg(long, default_value_t = 200)]
    flips: usize,
    /// Seed of the data and of the bits
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this engine
    #[arg(long)]
    backend: Option<String>,
    /// Millions of bytes of values in the member's log
    #[arg(long, default_value_t = 100)]
    megabytes: u64,
    /// Bits that are looked at at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Use this rusd instead of the release build
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Keep the table in results/bit-flips.md
    #[arg(long)]
    keep: bool,
}

/// Reads of the past that are compared.
const PAST_READS: usize = 200;
/// One bit in so many is chosen among the zeros of a file, too.
const ZEROS_ONE_IN: u32 = 10;
/// Bytes that are looked at for one that is not zero.
const CHOICES_MAX: usize = 10_000;
/// Copied at once; what is zeros stays a hole.
const COPY_BYTES: usize = 64 * 1024;

/// What came of a bit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The member did not start, and named the file, the segment or the place in the engine.
    RefusedToStart,
    /// The member refused a read.
    RefusedToRead,
    /// All is as before.
    Harmless,
}

/// Flips the bits; the table goes to stdout.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => Binaries::release()?.server().to_owned(),
    };
    let commit = workspace::commit();
    let backends = wanted_backends(args.backend.as_deref())?;
    let mut rows = vec![
        ["engine", "state", "files", "bits", "refused to start", "refused to read", "harmless"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let mut wrong = Vec::new();
    for backend in &backends {
        let (megabytes, seed) = (args.megabytes, args.seed);
        let plan = Plan { binary: &binary, backend, plant: None, megabytes, seed };
        for origin in Origin::ALL {
            let seen = flip_bits(&plan, origin, args, &mut wrong)
                .with_context(|| format!("{backend}, {}", origin.name()))?;
            rows.extend(seen.into_iter().map(|(files, counts)| {
                let count = |outcome| counts.get(&outcome).copied().unwrap_or(0);
                let counts =
                    [Outcome::RefusedToStart, Outcome::RefusedToRead, Outcome::Harmless].map(count);
                let bits = counts.iter().sum::<usize>().to_string();
                let mut row = vec![(*backend).to_owned(), origin.name().to_owned(), files, bits];
                row.extend(counts.iter().map(usize::to_string));
                row
            }));
        }
    }
    let mut lines = vec![format!("Commit {commit}, seed {}.", args.seed), String::new()];
    lines.extend(report::table(&rows));
    lines.extend([String::new(), format!("Served as data: {}.", wrong.len())]);
    lines.extend(wrong.iter().cloned());
    for line in &lines {
        report::line(line);
    }
    if !wrong.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    if args.keep {
        report::keep("bit-flips.md", &lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A bit of a file.
#[derive(Debug, Clone)]
struct Bit {
    /// From the data directory.
    file: PathBuf,
    byte: u64,
    place: u32,
}

type Counts = BTreeMap<Outcome, usize>;

/// What came of the bits, by the kind of their files. What was served wrongly is added to `wrong`.
fn flip_bits(
    plan: &Plan<'_>,
    origin: Origin,
    args: &Args,
    wrong: &mut Vec<String>,
) -> Result<BTreeMap<String, Counts>> {
    let name = format!("{}, {}", plan.backend, origin.name());
    let scratch = Scratch::new("bit-flips")?;
    let whole = scratch.path().join("data");
    report::progress(&format!("{name}: loading"));
    let (expected, past) = prepare(plan, origin, &whole)?;
    let groups = groups_in(&whole)?;
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut seen: BTreeMap<String, Counts> = BTreeMap::new();
    let mut done = 0;
    while done < args.flips {
        let count = args.jobs.min(args.flips - done);
        let bits: Vec<Bit> =
            (0..count).map(|_| choose(&mut rng, &whole, &groups)).collect::<Result<_>>()?;
        let outcomes: Vec<Result<Outcome>> = thread::scope(|scope| {
            let looking: Vec<_> = (bits.iter())
                .map(|bit| scope.spawn(|| look_at(plan, &whole, bit, &expected, &past)))
                .collect();
            looking.into_iter().map(|it| it.join().expect("looking does not panic")).collect()
        });
        for (bit, outcome) in bits.iter().zip(outcomes) {
            let place = format!("{}: bit {} of byte {}", bit.file.display(), bit.place, bit.byte);
            match outcome {
                Ok(outcome) => {
                    let kind = kind_of(&bit.file);
                    *seen.entry(kind).or_default().entry(outcome).or_default() += 1;
                }
                Err(error) => {
                    wrong.push(format!("- {name}, {place}: {error:#}"));
                    report::error(&format!("{place}: {error:#}"));
                }
            }
        }
        done += count;
        report::progress(&format!("{name}: {done} bits, {} wrong", wrong.len()));
    }
    Ok(seen)
}

/// Reads that are repeated.
type Past = Vec<(Vec<u8>, i64)>;

/// Loads a member and stops it. What it serves, as a start of an untouched copy serves it.
fn prepare(plan: &Plan<'_>, origin: Origin, whole: &Path) -> Result<(State, Past)> {
    let writes = origin.make(plan, whole)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let copy = Scratch::new("bit-flips-copy")?;
    let data_dir = copy.path().join("data");
    copy_folder(whole, &data_dir)?;
    let server = Server::start(&plan.options(&data_dir)?)?;
    let past = writes.readable_past(PAST_READS);
    let state = runtime
        .block_on(async { State::of(&mut Client::new(&server.client_url())?, &past).await })?;
    server.kill()?;
    Ok((state, past))
}

/// Starts a member on a copy with one bit flipped. An error says what it served that is wrong, and
/// where the copy is.
fn look_at(
    plan: &Plan<'_>,
    whole: &Path,
    bit: &Bit,
    expected: &State,
    past: &Past,
) -> Result<Outcome> {
    let copy = Scratch::new("bit-flips-copy")?;
    let data_dir = copy.path().join("data");
    copy_folder(whole, &data_dir)?;
    flip(&data_dir.join(&bit.file), bit)?;
    judge(plan, &data_dir, bit, expected, past).map_err(|error| copy.keep(error))
}

/// What a member makes of its damaged folder.
fn judge(
    plan: &Plan<'_>,
    data_dir: &Path,
    bit: &Bit,
    expected: &State,
    past: &Past,
) -> Result<Outcome> {
    let options = plan.options(data_dir)?.variable("RUST_BACKTRACE", "0");
    let mut server = Server::spawn(&options)?;
    if server.wait_until_ready().is_err() {
        ensure!(server.has_ended()?, "it neither starts nor ends\n{}", server.log_tail());
        let said = server.log_tail();
        ensure!(names_the_damage(&said, &bit.file), "it does not say what is damaged\n{said}");
        return Ok(Outcome::RefusedToStart);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found =
        runtime.block_on(async { State::of(&mut Client::new(&server.client_url())?, past).await });
    match found {
        Ok(state) => state.must_be(expected).map(|()| Outcome::Harmless),
        Err(refused) => {
            let said = format!("{refused:#}\n{}", server.log_tail());
            ensure!(names_the_damage(&said, &bit.file), "it does not say what is damaged\n{said}");
            Ok(Outcome::RefusedToRead)
        }
    }
}

/// Whether the member says which file or which part of the engine it cannot use.
fn names_the_damage(said: &str, file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let is_of_engine = file.starts_with("member/engine");
    name.is_some_and(|name| said.contains(&name))
        || (is_of_engine && ["tree ", "/engine", "engine:"].iter().any(|it| said.contains(it)))
}

fn flip(path: &Path, bit: &Bit) -> Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit.byte)?;
    byte[0] ^= 1_u8 << bit.place;
    file.write_all_at(&byte, bit.byte)?;
    Ok(())
}

/// A group of files, as likely as any other, and a file of it; of that a byte that is not zero, or
/// now and then any.
fn choose(rng: &mut ChaCha8Rng, whole: &Path, groups: &Groups) -> Result<Bit> {
    let group = groups.values().nth(rng.random_range(0..groups.len())).expect("it is one of them");
    let file = group[rng.random_range(0..group.len())].clone();
    let opened = File::open(whole.join(&file))?;
    let length = opened.metadata()?.len();
    let is_any = rng.random_ratio(1, ZEROS_ONE_IN);
    let mut at = rng.random_range(0..length);
    for _ in 0..CHOICES_MAX {
        let mut byte = [0];
        opened.read_exact_at(&mut byte, at)?;
        if is_any || byte[0] != 0 {
            break;
        }
        at = rng.random_range(0..length);
    }
    Ok(Bit { file, byte: at, place: rng.random_range(0..8) })
}

/// Files that are not empty, from the folder; by the folder they are in and the end of their name,
/// so that a few small files are flipped as often as many large ones.
type Groups = BTreeMap<(PathBuf, String), Vec<PathBuf>>;

fn groups_in(folder: &Path) -> Result<Groups> {
    let mut groups = Groups::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.metadata()?.len() > 0 {
                let file = path.strip_prefix(folder).context("a file of the folder")?;
                let end = file.extension().unwrap_or_default().to_string_lossy().into_owned();
                let place = file.parent().unwrap_or(file).to_path_buf();
                groups.entry((place, end)).or_default().push(file.to_path_buf());
            }
        }
    }
    for files in groups.values_mut() {
        files.sort();
    }
    Ok(groups)
}

fn kind_of(file: &Path) -> String {
    let kind = match file.extension() {
        Some(extension) if extension == "wal" => "log",
        Some(extension) if extension == "tmp" => "log, prepared",
        _ if file.starts_with("member/engine") => "engine",
        _ => "other",
    };
    kind.to_owned()
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            copy_file(&entry.path(), &target)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let (mut from, to) = (File::open(from)?, File::create(to)?);
    to.set_len(from.metadata()?.len())?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        if buffer[..count].iter().any(|byte| *byte != 0) {
            to.write_all_at(&buffer[..count], at)?;
        }
        at += u64::try_from(count)?;
    }
}
