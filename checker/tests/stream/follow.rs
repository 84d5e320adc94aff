//! A history that is read while it is being written.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::rc::Rc;

use rusd_checker::history::jsonl::Writer;
use rusd_checker::history::record::Record;
use rusd_checker::stream::{StreamOptions, Wait, follow};
use rusd_checker::synthetic::{Bug, Dice, Shape};
use rusd_checker::{InputError, Report, Rule, Verdict};

use super::{plain, records};

pub(crate) fn text(records: &[Record]) -> Vec<u8> {
    let Record::Header(header) = &records[0] else { panic!("a header comes first") };
    let mut writer = Writer::new(Vec::new(), header).expect("memory takes everything");
    for record in &records[1..] {
        writer.write(record).expect("memory takes everything");
    }
    writer.finish().expect("memory takes everything")
}

/// Divides a text into chunks of any size, with pauses in between.
pub(crate) struct Chunks(Dice);

impl Chunks {
    pub(crate) fn new(seed: u64) -> Chunks {
        Chunks(Dice::new(seed))
    }

    fn divide(&mut self, text: &[u8]) -> VecDeque<Vec<u8>> {
        let mut chunks = VecDeque::new();
        let mut rest = text;
        while !rest.is_empty() {
            let size = match self.0.below(4) {
                0 => self.0.below(8),
                1 => self.0.below(200),
                _ => self.0.below(20_000),
            };
            let size = usize::try_from(size).expect("small").min(rest.len());
            let (chunk, after) = rest.split_at(size);
            chunks.push_back(chunk.to_vec());
            rest = after;
        }
        chunks
    }
}

/// What a writer has written so far. Where its chunk ends, there is nothing more.
struct Written(Rc<RefCell<VecDeque<u8>>>);

impl Read for Written {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(into)
    }
}

/// Follows a writer that writes a chunk whenever its reader has nothing more, and then is gone.
fn follow_written(
    mut chunks: VecDeque<Vec<u8>>,
    options: StreamOptions,
) -> Result<(Report, usize), InputError> {
    let written = Rc::new(RefCell::new(VecDeque::new()));
    let to = Rc::clone(&written);
    let mut wait = || match chunks.pop_front() {
        Some(chunk) => {
            to.borrow_mut().extend(chunk);
            Wait::Again
        }
        None => Wait::Gone,
    };
    let report = follow(Written(written), options, &mut wait)?;
    Ok((report, chunks.iter().map(Vec::len).sum()))
}

pub(crate) fn follow_chunks(
    records: &[Record],
    mut chunks: Chunks,
    options: StreamOptions,
) -> Verdict {
    let chunks = chunks.divide(&text(records));
    follow_written(chunks, options).expect("well-formed").0.verdict
}

#[test]
fn the_end_ends_it() {
    let mut chunks = Chunks::new(1).divide(&text(&records(1, plain(), 500)));
    let after = b"never read".to_vec();
    chunks.push_back(after.clone());
    let (report, left) = follow_written(chunks, StreamOptions::default()).expect("well-formed");
    assert_eq!(report.verdict, Verdict::Valid);
    assert_eq!(left, after.len());
}

#[test]
fn the_first_violation_ends_it() {
    let shape = Shape { bug: Some(Bug::StaleRead), ..plain() };
    let text = text(&records(3, shape, 4_000));
    let chunks = text.chunks(1000).map(<[u8]>::to_vec).collect();
    let (report, left) = follow_written(chunks, StreamOptions::default()).expect("well-formed");
    assert_eq!(report.verdict.rule(), Some(Rule::StaleRead));
    assert!(left > text.len() / 2, "{left} of {} bytes were left", text.len());
}

#[test]
fn a_writer_that_is_gone_leaves_the_rest_unknown() {
    let text = text(&records(1, plain(), 500));
    for cut in [text.len() / 3, text.len() / 2, text.len() - 2] {
        let chunks = VecDeque::from([text[..cut].to_vec()]);
        let (report, _) = follow_written(chunks, StreamOptions::default()).expect("well-formed");
        let Verdict::Unknown { reason } = report.verdict else { panic!("{:?}", report.verdict) };
        assert_eq!(reason, "the end of the history did not come");
    }
}

#[test]
fn what_is_no_history_is_bad_input() {
    for (text, line) in [("", 1), ("{}\n", 1), ("nonsense\n", 1)] {
        let chunks = VecDeque::from([text.as_bytes().to_vec()]);
        let error = follow_written(chunks, StreamOptions::default()).expect_err("no history");
        assert_eq!(error.position().map(|position| position.line), Some(line), "{text:?}");
    }
    let mut lines = text(&records(1, plain(), 50));
    lines.extend_from_slice(b"nonsense\n");
    let middle = lines.len() / 2;
    let at = middle + lines[middle..].iter().position(|byte| *byte == b'\n').expect("a line ends");
    lines.splice(at..=at, *b"\nnonsense\n");
    let error = follow_written(VecDeque::from([lines]), StreamOptions::default());
    assert!(matches!(error, Err(InputError::Parse { .. })), "{error:?}");
}

#[test]
fn a_compressed_history_is_followed_as_it_is_flushed() {
    use std::io::Write as _;

    let text = text(&records(1, plain(), 500));
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory takes everything");
    let mut chunks = VecDeque::new();
    for part in text.chunks(5_000) {
        encoder.write_all(part).expect("memory takes everything");
        encoder.flush().expect("memory takes everything");
        chunks.push_back(std::mem::take(encoder.get_mut()));
    }
    let cut: VecDeque<_> = chunks.iter().take(chunks.len() / 2).cloned().collect();
    chunks.push_back(encoder.finish().expect("memory takes everything"));
    let (report, _) = follow_written(chunks, StreamOptions::default()).expect("well-formed");
    assert_eq!(report.verdict, Verdict::Valid);
    let (report, _) = follow_written(cut, StreamOptions::default()).expect("well-formed");
    assert_eq!(report.verdict.name(), "unknown");
    assert!(report.counts.operations > 200, "{:?}", report.counts);
}
