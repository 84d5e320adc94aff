//! The readers that are fuzzed, and readers with bugs that fuzzing must find.

use std::fs;
use std::path::Path;

use rusd_checker::elle;
use rusd_checker::formats::interpret::{self, Interpreted, interpret, recognise};
use rusd_checker::formats::jepsen::{Event, EventSink, Events, JepsenOp};
use rusd_checker::formats::native::{RecordSink, Records};
use rusd_checker::formats::{
    Format, FormatError, Place, Source, Target, compressed, convert, detect, jepsen_edn,
    jepsen_json, jepsen_log, native, porcupine_kv, robustness,
};
use rusd_checker::history::record::Record;
use rusd_checker::search;
use rusd_checker::{CallsOptions, check_calls, check_list_append, check_rw_register};

/// Reads an input, with a folder to itself; what comes of it.
pub(crate) type Read = fn(&[u8], &Path) -> Result<(), FormatError>;

/// A reader, and what its inputs begin as.
pub(crate) struct Reader {
    pub(crate) name: &'static str,
    /// Files of testdata.
    pub(crate) corpus: &'static [&'static str],
    pub(crate) read: Read,
    /// Memory that it may take whatever its input is.
    pub(crate) own_kib: u64,
}

const fn reader(name: &'static str, corpus: &'static [&'static str], read: Read) -> Reader {
    Reader { name, corpus, read, own_kib: 0 }
}

/// Every reader.
pub(crate) const READERS: [Reader; 9] = [
    reader(
        "edn",
        &[
            "convert/register/in.edn",
            "convert/independent/in.edn",
            "convert/txns/out.edn",
            "convert/bank/out.edn",
            "transactions/valid/lists.edn",
            "transactions/invalid/stale_register.edn",
        ],
        edn,
    ),
    reader(
        "json",
        &[
            "convert/txns/in.json",
            "convert/bank/in.json",
            "transactions/valid/registers.json",
            "transactions/invalid/aborted_read.json",
        ],
        json,
    ),
    reader("log", &["convert/log/in.log"], log),
    reader("porcupine", &["convert/key_value/in.txt"], porcupine),
    reader("jsonl", &["robustness/to_report.jsonl", "convert/native_registers/in.jsonl"], jsonl),
    Reader {
        name: "zstd",
        corpus: &["robustness/to_report.jsonl"],
        read: zstd_jsonl,
        // The largest window that is taken.
        own_kib: 130 << 10,
    },
    reader("operations", &["robustness/report/client-1/operations.json"], operations),
    reader("watch", &["robustness/report/client-2/watch.json"], watch),
    reader(
        "any",
        &[
            "convert/register/in.edn",
            "convert/txns/in.json",
            "convert/log/in.log",
            "convert/key_value/in.txt",
            "convert/native_registers/in.jsonl",
        ],
        any,
    ),
];

/// Readers with a bug each.
pub(crate) const PLANTED: [Reader; 5] = [
    reader("planted-panic", &["convert/register/in.edn"], planted_panic),
    reader("planted-hang", &["convert/register/in.edn"], planted_hang),
    reader("planted-depth", &["convert/register/in.edn"], planted_depth),
    reader("planted-length", &["convert/register/in.edn"], planted_length),
    reader("planted-square", &["convert/register/in.edn"], planted_square),
];

fn ops(mut events: impl Events) -> Result<Vec<JepsenOp>, FormatError> {
    let events = std::iter::from_fn(|| events.next_event().transpose());
    events.map(|event| event.map(|event| event.op)).collect()
}

/// Reads all events, and again what is written of them.
fn events_stay_themselves(events: impl Events) -> Result<(), FormatError> {
    let ops = ops(events)?;
    let mut text = Vec::new();
    let mut writer = jepsen_edn::Writer::new(&mut text);
    for (position, op) in (0..).zip(&ops) {
        let event = Event { place: Place::START, position, op: op.clone() };
        writer.write(&event).expect("memory takes everything");
    }
    let again = self::ops(jepsen_edn::Reader::new(text.as_slice()));
    assert_eq!(again.expect("what was written is read"), ops, "read again");
    Ok(())
}

/// Tells the model, and judges what is judged.
fn judge(events: impl Events) {
    let failed = interpret::FailedCas::HeldAnother;
    let options = elle::Options { search_steps_max: 100_000, ..elle::Options::default() };
    let interpreted =
        recognise(events).and_then(|(model, events)| interpret(model, events, failed));
    match interpreted {
        Ok(Interpreted::ListAppend(own)) => drop(check_list_append(&own, &options)),
        Ok(Interpreted::RwRegister(own)) => drop(check_rw_register(&own, &options)),
        Ok(Interpreted::Object(calls)) => {
            let search = search::Options { steps_max: 100_000, ..search::Options::default() };
            let options = CallsOptions { search, ..CallsOptions::default() };
            drop(check_calls(calls, &options));
        }
        Err(_) => {}
    }
}

fn edn(input: &[u8], _: &Path) -> Result<(), FormatError> {
    let events = || jepsen_edn::Reader::new(input);
    drop(interpret::cas_register(events(), interpret::FailedCas::HeldAnother));
    drop(interpret::bank(events()));
    judge(events());
    events_stay_themselves(events())
}

fn json(input: &[u8], _: &Path) -> Result<(), FormatError> {
    let events = || jepsen_json::Reader::new(input);
    drop(interpret::bank(events()));
    judge(events());
    drop(to_text(Format::JepsenJson, input, Format::JepsenJson));
    events_stay_themselves(events())
}

fn log(input: &[u8], _: &Path) -> Result<(), FormatError> {
    let events = || jepsen_log::Reader::new(input);
    drop(interpret::cas_register(events(), interpret::FailedCas::TellsNothing));
    events_stay_themselves(events())
}

fn porcupine(input: &[u8], _: &Path) -> Result<(), FormatError> {
    let events = || porcupine_kv::Reader::new(input);
    drop(interpret::string_kv(events()));
    drop(to_text(Format::PorcupineKv, input, Format::PorcupineKv));
    events_stay_themselves(events())
}

fn to_text(from: Format, input: &[u8], to: Format) -> Result<(), FormatError> {
    let source = Source::Text(from, Box::new(input));
    convert(source, Target::Text(to, Box::new(std::io::sink()))).map(drop)
}

fn records(mut records: impl Records) -> Result<Vec<Record>, FormatError> {
    let records = std::iter::from_fn(|| records.next_record().transpose());
    records.map(|record| record.map(|(_, record)| record)).collect()
}

/// Reads all records, and again what is written of them.
fn records_stay_themselves(from: impl Records) -> Result<(), FormatError> {
    let read = records(from)?;
    let mut text = Vec::new();
    let mut writer = native::Writer::new(&mut text);
    for record in &read {
        writer.write(Place::START, record)?;
    }
    writer.finish()?;
    let again = records(native::Reader::new(text.as_slice()));
    assert_eq!(again.expect("what was written is read"), read, "read again");
    Ok(())
}

fn jsonl(input: &[u8], folder: &Path) -> Result<(), FormatError> {
    drop(to_text(Format::Jsonl, input, Format::JepsenEdn));
    let report = folder.join("report");
    let source = Source::Text(Format::Jsonl, Box::new(input));
    let written = convert(source, Target::Folder(&report));
    if written.is_ok() {
        let read = robustness::Reader::open(&report).and_then(records);
        read.expect("a report that was written is read");
    }
    if report.exists() {
        fs::remove_dir_all(&report).expect("ours");
    }
    records_stay_themselves(native::Reader::new(input))
}

/// Compressed before it was damaged.
fn zstd_jsonl(input: &[u8], _: &Path) -> Result<(), FormatError> {
    let plain = compressed::plain(input).map_err(FormatError::from)?;
    records(native::Reader::new(plain)).map(drop)
}

fn report(file: &str, input: &[u8], folder: &Path) -> Result<(), FormatError> {
    let client = folder.join("client-1");
    fs::create_dir_all(&client).expect("ours");
    fs::write(client.join(file), input).expect("written");
    let read = robustness::Reader::open(folder).and_then(records);
    fs::remove_dir_all(&client).expect("ours");
    read.map(drop)
}

fn operations(input: &[u8], folder: &Path) -> Result<(), FormatError> {
    report("operations.json", input, folder)
}

fn watch(input: &[u8], folder: &Path) -> Result<(), FormatError> {
    report("watch.json", input, folder)
}

fn any(input: &[u8], _: &Path) -> Result<(), FormatError> {
    let plain = compressed::plain(input).map_err(FormatError::from)?;
    let (format, input) = detect(plain)?;
    let sink = Target::Text(Format::JepsenEdn, Box::new(std::io::sink()));
    convert(Source::Text(format, input), sink).map(drop)
}

/// Whether there is anything in the input that no history of the corpus has.
fn is_odd(input: &[u8]) -> bool {
    let has = |part: &str| input.windows(part.len()).any(|bytes| bytes == part.as_bytes());
    ["##Inf", "1/3", "1.5M", "0x1f", "007"].into_iter().any(has)
}

/// Refuses some damage.
fn refuses(input: &[u8]) -> Result<(), FormatError> {
    if input.ends_with(b"\n") {
        return Ok(());
    }
    Err(FormatError::Request { reason: "no end of line".into() })
}

fn planted_panic(input: &[u8], _: &Path) -> Result<(), FormatError> {
    assert!(!is_odd(input), "unwrapped");
    refuses(input)
}

fn planted_hang(input: &[u8], _: &Path) -> Result<(), FormatError> {
    while is_odd(input) {
        std::thread::yield_now();
    }
    refuses(input)
}

/// As deep as its input, with what a reader has on its stack.
fn planted_depth(input: &[u8], _: &Path) -> Result<(), FormatError> {
    fn nested(input: &[u8]) -> usize {
        std::hint::black_box([0_u8; 512]);
        let Some((first, rest)) = input.split_first() else { return 0 };
        let inner = if b"[{(".contains(first) { 1 + nested(rest) } else { return 0 };
        std::hint::black_box(inner)
    }
    let deepest = (0..input.len()).filter(|at| *at == 0 || input[at - 1] != input[*at]);
    std::hint::black_box(deepest.map(|at| nested(&input[at..])).max());
    refuses(input)
}

/// Believes a length.
fn planted_length(input: &[u8], _: &Path) -> Result<(), FormatError> {
    let digits = |bytes: &[u8]| str::from_utf8(bytes).ok()?.parse::<u32>().ok();
    let number = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit).then(|| digits(bytes))?;
    let longest = input.split(|byte| !byte.is_ascii_digit()).filter_map(number).max();
    let length = usize::try_from(longest.unwrap_or(0)).expect("32 bits");
    std::hint::black_box(Vec::<u8>::with_capacity(length.min(1 << 30)));
    refuses(input)
}

/// Keeps more than its input is long.
fn planted_square(input: &[u8], _: &Path) -> Result<(), FormatError> {
    let kept: Vec<Vec<u8>> = input.chunks(256).map(|_| input.to_vec()).collect();
    std::hint::black_box(kept);
    refuses(input)
}
