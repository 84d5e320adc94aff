//! Every reader on damaged input: it reads or refuses, and neither panics, nor hangs, nor takes more
//! memory than in proportion to its input. What it reads, it reads again from what is written of it.
//!
//! Inputs are the histories of `testdata`, changed by a seed. A few hundred for each reader by
//! default; `FORMAT_FUZZ_SECONDS=600 FORMAT_FUZZ_READER=edn FORMAT_FUZZ_SEED=7` for one of them in
//! earnest. The input that a run ends with lies in `target/tmp`, and
//! `FORMAT_FUZZ_READER=edn FORMAT_FUZZ_INPUT=path` reads it again.
//!
//! That all of this is seen, readers with planted bugs show.

mod bounds;
mod damage;
mod readers;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rusd_checker::synthetic::Dice;
use tempfile::TempDir;

use self::bounds::Taken;
use self::readers::{PLANTED, READERS, Reader};

/// Inputs of each reader by default.
const INPUTS: u64 = 300;
/// One input takes milliseconds; this is a hang on the slowest machine.
const HANG_SECONDS: u64 = 60;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn corpus(reader: &Reader) -> Vec<Vec<u8>> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let texts = reader.corpus.iter().map(|file| fs::read(testdata.join(file)).expect("readable"));
    if reader.name == "zstd" {
        return texts.map(|text| zstd::encode_all(&*text, 3).expect("compresses")).collect();
    }
    texts.collect()
}

/// Memory is counted of the whole process, so that only one may read.
static ALONE: Mutex<()> = Mutex::new(());

fn hang_limit() -> Duration {
    Duration::from_secs(setting("FORMAT_FUZZ_HANG_SECONDS").unwrap_or(HANG_SECONDS))
}

#[test]
fn damaged_input_is_read_or_refused() {
    let _alone = ALONE.lock();
    let only = std::env::var("FORMAT_FUZZ_READER").ok();
    let readers: Vec<&Reader> = match &only {
        None => READERS.iter().collect(),
        Some(only) => READERS.iter().chain(&PLANTED).filter(|reader| reader.name == only).collect(),
    };
    assert!(!readers.is_empty(), "no such reader");
    let seed = setting("FORMAT_FUZZ_SEED").unwrap_or(1);
    bounds::watch_for_hangs(hang_limit(), format!("{only:?}, seed {seed}"));
    let all = setting("FORMAT_FUZZ_SECONDS").map(Duration::from_secs);
    let each = all.map(|all| all / u32::try_from(readers.len()).expect("few"));
    for reader in readers {
        if let Some(path) = std::env::var_os("FORMAT_FUZZ_INPUT") {
            let mut run = Run::new(reader);
            run.read(&fs::read(path).expect("readable"));
            continue;
        }
        println!("{}", fuzz(reader, seed, each));
    }
}

/// Fuzzes one reader for some time, or with some inputs; what was done.
fn fuzz(reader: &Reader, seed: u64, time: Option<Duration>) -> String {
    let corpus = corpus(reader);
    let mut run = Run::new(reader);
    for whole in &corpus {
        assert!(run.read(whole), "{}: the corpus can be read", reader.name);
    }
    let mut dice = Dice::new(seed);
    let start = Instant::now();
    let (mut inputs, mut taken, mut bytes) = (0_u64, 0_u64, 0_usize);
    let is_over = |inputs| time.map_or(inputs >= INPUTS, |time| start.elapsed() >= time);
    while !is_over(inputs) {
        let input = damage::damaged(&corpus, &mut dice);
        inputs += 1;
        bytes += input.len();
        taken += u64::from(run.read(&input));
    }
    assert!(taken < inputs, "{}: no damage was noticed", reader.name);
    format!(
        "{}: seed {seed}, {inputs} inputs, {} MiB, {taken} of them read, the rest refused; slowest \
         {:?}, at most {} KiB of memory",
        reader.name,
        bytes >> 20,
        run.slowest,
        run.memory.resident_kib
    )
}

/// A reader that is given inputs.
struct Run<'a> {
    reader: &'a Reader,
    folder: TempDir,
    /// Holds the input that is being read, for whatever ends the process.
    last: PathBuf,
    memory: Taken,
    slowest: Duration,
}

impl Run<'_> {
    fn new(reader: &Reader) -> Run<'_> {
        let name = format!("format_fuzz-{}.input", reader.name);
        Run {
            reader,
            folder: TempDir::new().expect("a folder"),
            last: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name),
            memory: Taken::default(),
            slowest: Duration::ZERO,
        }
    }

    /// Whether the input was read and not refused.
    fn read(&mut self, input: &[u8]) -> bool {
        let Reader { name, read, own_kib, .. } = self.reader;
        fs::write(&self.last, input).expect("written");
        let began = Instant::now();
        let (done, too_much) = {
            let _begun = bounds::begin();
            self.memory.measure(input.len(), *own_kib, || {
                catch_unwind(AssertUnwindSafe(|| read(input, self.folder.path())))
            })
        };
        self.slowest = self.slowest.max(began.elapsed());
        let shown = self.last.display();
        // What a panic takes to tell where it was counts as memory, too.
        let done = done.unwrap_or_else(|_| panic!("{name}: {shown} made it panic"));
        if let Some(why) = too_much {
            panic!("{name}: {shown} {why}");
        }
        done.is_ok()
    }
}

/// The test above, on a reader with a planted bug.
fn fuzz_planted(name: &str) -> Output {
    Command::new(std::env::current_exe().expect("a test knows its program"))
        .args(["--exact", "damaged_input_is_read_or_refused", "--nocapture"])
        .env("FORMAT_FUZZ_READER", name)
        .env("FORMAT_FUZZ_HANG_SECONDS", "3")
        .env_remove("FORMAT_FUZZ_SECONDS")
        .env_remove("FORMAT_FUZZ_INPUT")
        .output()
        .expect("the test runs")
}

#[test]
fn planted_bugs_are_found() {
    for (name, said) in [
        ("planted-panic", "made it panic"),
        ("planted-hang", "a hang"),
        ("planted-depth", "overflowed its stack"),
        ("planted-length", "KiB of addresses"),
        ("planted-square", "KiB of memory"),
    ] {
        let output = fuzz_planted(name);
        let found = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && found.contains(said), "{name}: {found}");
    }
}

/// Much of one thing: what takes time or memory by the square of its input shows here.
#[test]
fn much_of_one_thing_is_no_hang() {
    const BYTES: usize = 1 << 20;
    let _alone = ALONE.lock();
    bounds::watch_for_hangs(hang_limit(), "much of one thing".into());
    let many = |piece: &dyn Fn(usize) -> String| -> String {
        let mut text = String::new();
        let mut number = 0;
        while text.len() < BYTES {
            text.push_str(&piece(number));
            number += 1;
        }
        text
    };
    let fields = many(&|number| format!(":k{number} 1 "));
    let json_fields = many(&|number| format!("\"k{number}\":1,"));
    let quotes = many(&|_| "\\\"".into());
    let inputs = [
        ("edn", format!("{{:type :invoke {fields}}}")),
        ("edn", format!("{{:type :invoke :f :txn :value {{{fields}}}}}")),
        ("edn", many(&|number| format!("{{:type :invoke :process {number} :f :read}}"))),
        ("edn", "[".repeat(BYTES)),
        ("edn", "#_".repeat(BYTES)),
        ("edn", format!("{{:type :ok :value \"{quotes}\"}}")),
        ("json", format!("[{{{json_fields}\"type\":\"invoke\"}}]")),
        ("json", format!("[{{\"type\":\"invoke\",\"value\":{{{json_fields}\"a\":1}}}}]")),
        ("json", format!("[{{\"type\":\"invoke\",\"value\":\"{quotes}\"}}]")),
        ("json", "{\"a\":".repeat(BYTES / 5)),
        ("log", many(&|_| "INFO  jepsen.util - \n".into())),
        ("log", "INFO  jepsen.util - ".repeat(BYTES / 20)),
        ("porcupine", format!("{{:key \"a\" :type :invoke {fields}}}")),
        ("jsonl", "[".repeat(BYTES)),
        ("jsonl", format!("{{\"t\":\"op\",\"x\":[{}0]}}", "0,".repeat(BYTES / 2))),
        ("operations", format!("{{{json_fields}\"ClientId\":1}}")),
        ("watch", format!("{{\"Request\":{{}},\"Responses\":[{}{{}}]}}", "{},".repeat(BYTES / 3))),
        ("watch", "{\"Request\":{},\"Responses\":[{\"Time\":1}]}".repeat(BYTES / 40)),
    ];
    for (name, text) in &inputs {
        let reader = READERS.iter().find(|reader| reader.name == *name).expect("a reader");
        Run::new(reader).read(text.as_bytes());
    }
}
