//! The format: what is written is read again, and what is cut off is refused.

use proptest::prelude::*;
use rusd_checker::history::History;
use rusd_checker::history::jsonl::{Reader, Writer};
use rusd_checker::history::record::{End, Operation, Outcome, Put, PutResponse, Record, Request};
use rusd_checker::history::record::{Response, ResponseBody, WatchBody};
use rusd_checker::history::text::Text;
use rusd_checker::synthetic::{Run, Shape};
use rusd_checker::{InputError, Options, check_records};

fn written(records: &[Record]) -> Vec<u8> {
    let Some((Record::Header(header), rest)) = records.split_first() else { panic!("no header") };
    let mut writer = Writer::new(Vec::new(), header).expect("memory takes everything");
    for record in rest {
        writer.write(record).expect("memory takes everything");
    }
    writer.finish().expect("memory takes everything")
}

/// Everything but the end, which must be there.
fn read(bytes: &[u8]) -> Result<Vec<Record>, InputError> {
    let records = Reader::new(bytes).map(|read| read.map(|(_, record)| record));
    let mut records: Vec<Record> = records.collect::<Result<_, _>>()?;
    assert!(matches!(records.pop(), Some(Record::End(_))), "the end comes last");
    Ok(records)
}

fn run(seed: u64, shape: Shape, operations: u64) -> Vec<Record> {
    let mut run = Run::shaped(seed, shape);
    let header = Record::Header(run.header());
    std::iter::once(header).chain(run.records(operations)).collect()
}

#[test]
fn what_is_written_is_read_again() {
    for seed in 0..20 {
        let records = run(seed, Shape::medium(), 300);
        let bytes = written(&records);
        assert_eq!(read(&bytes).expect("whole"), records);
        let history = History::read(bytes.as_slice(), &mut |_| {}).expect("whole");
        assert_eq!(history, History::collect(records).expect("well-formed"));
    }
}

/// Lines that the straight readers take, and the same lines in another order of fields, which
/// they do not.
#[test]
fn the_order_of_fields_does_not_matter() {
    let records = run(3, Shape::medium(), 200);
    let straight = String::from_utf8(written(&records)).expect("JSON is text");
    let mut sorted = String::new();
    for line in straight.lines() {
        let fields: serde_json::Value = serde_json::from_str(line).expect("JSON");
        sorted.push_str(&fields.to_string());
        sorted.push('\n');
    }
    assert_ne!(sorted, straight);
    assert_eq!(read(sorted.as_bytes()).expect("whole"), records);
}

/// Also where a line ends: there the rest would make a shorter history that may well be valid.
#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = written(&run(1, Shape::medium(), 12));
    let whole = bytes.strip_suffix(b"\n").expect("the last line ends");
    read(whole).expect("nothing but the end of the last line is missing");
    for end in 1..whole.len() {
        let cut = &bytes[..end];
        let one = read(cut).expect_err("cut off");
        let other = History::read(cut, &mut |_| {}).expect_err("cut off");
        assert!(matches!(one, InputError::Truncated { .. }), "cut at {end}: {one}");
        assert_eq!(one.to_string(), other.to_string());
    }
}

#[test]
fn a_file_without_one_of_its_lines_is_refused() {
    let records = run(1, Shape::medium(), 12);
    let bytes = written(&records);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for missing in 0..lines.len() {
        let rest = [&lines[..missing], &lines[missing + 1..]].concat().concat();
        assert!(History::read(rest.as_slice(), &mut |_| {}).is_err(), "without line {missing}");
    }
}

#[test]
fn records_in_memory_need_no_end_and_may_have_one() {
    let mut records = run(1, Shape::medium(), 12);
    let without = History::collect(records.clone()).expect("well-formed");
    let count = u64::try_from(records.len()).expect("few");
    records.push(Record::End(End { records: count }));
    assert_eq!(History::collect(records.clone()).expect("well-formed"), without);
    records.push(Record::End(End { records: count + 1 }));
    let error = History::collect(records).expect_err("ends twice");
    assert!(error.to_string().contains("after the end"), "{error}");
}

#[test]
fn errors_tell_the_line_in_the_file_and_not_in_its_block() {
    let mut bytes = written(&run(1, Shape::medium(), 60_000));
    let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
    bytes.extend_from_slice(b"{\"t\":\"op\",}\n");
    let error = History::read(bytes.as_slice(), &mut |_| {}).expect_err("the last line is bad");
    let position = error.position().expect("a place");
    assert_eq!(usize::try_from(position.line).expect("few lines"), lines + 1, "{error}");
}

proptest! {
    #[test]
    fn any_bytes_survive(key in prop::collection::vec(any::<u8>(), 1..40), value: Vec<u8>) {
        let Record::Header(header) = run(0, Shape::small(), 1).swap_remove(0) else {
            panic!("a header comes first")
        };
        let put = Put { key: Text::from(&key), value: Text::from(&value), ..Put::default() };
        let body = ResponseBody::Put(PutResponse::default());
        let records = [
            Record::Header(header),
            Record::Op(Operation {
                process: 1,
                member: 0,
                call_ns: 1,
                return_ns: Some(2),
                request: Request::Put(put),
                outcome: Outcome::Ok(Response { revision: 2, body }),
            }),
        ];
        let again = read(&written(&records)).expect("whole");
        prop_assert_eq!(&again[..], &records[..]);
    }

    /// No input makes the checker panic: it is refused, or judged.
    #[test]
    fn any_revisions_are_judged(revisions in prop::collection::vec(any::<i64>(), 1..6)) {
        let mut records = run(5, Shape::medium(), 40);
        let answered = records.iter_mut().filter_map(|record| match record {
            Record::Op(Operation { outcome: Outcome::Ok(response), .. }) => Some(response),
            _ => None,
        });
        for (response, revision) in answered.skip(7).zip(revisions) {
            response.revision = revision;
        }
        check_records(records, &Options::default()).expect("well-formed");
    }

    #[test]
    fn any_watched_revisions_are_judged(
        revisions in prop::collection::vec(any::<i64>(), 1..9),
        fragments: bool,
    ) {
        let mut records = run(6, Shape::medium(), 40);
        let mut revisions = revisions.into_iter();
        for record in records.iter_mut().skip(5) {
            let Record::Watch(response) = record else { continue };
            if let WatchBody::Events { events, fragment } = &mut response.body {
                *fragment = fragments;
                events[0].kv.mod_revision = revisions.next().unwrap_or(events[0].kv.mod_revision);
            }
            response.revision = revisions.next().unwrap_or(response.revision);
        }
        check_records(records, &Options::default()).expect("well-formed");
    }

    #[test]
    fn any_text_is_refused_or_read(text in ".{0,200}") {
        drop(History::read(text.as_bytes(), &mut |_| {}));
    }
}
