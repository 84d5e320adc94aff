//! The format: what is written is read again, and what is cut off is refused.

use proptest::prelude::*;
use rusd_checker::history::History;
use rusd_checker::history::jsonl::{Reader, Writer};
use rusd_checker::history::record::{Operation, Outcome, Put, PutResponse, Record, Request};
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

fn read(bytes: &[u8]) -> Result<Vec<Record>, InputError> {
    Reader::new(bytes).map(|read| read.map(|(_, record)| record)).collect()
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
    for record in run(3, Shape::medium(), 200) {
        let straight = serde_json::to_string(&record).expect("plain data");
        let fields: serde_json::Value = serde_json::from_str(&straight).expect("JSON");
        let sorted = fields.to_string();
        assert_eq!(read(sorted.as_bytes()).expect("whole"), vec![record]);
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_or_shorter() {
    let records = run(1, Shape::medium(), 12);
    let bytes = written(&records);
    for end in 0..bytes.len() {
        let cut = &bytes[..end];
        let at_line_end = cut.is_empty() || cut.ends_with(b"\n") || bytes[end] == b'\n';
        match (read(cut), History::read(cut, &mut |_| {})) {
            (Ok(_), _) => assert!(at_line_end, "cut at {end}"),
            (Err(one), Err(other)) => {
                assert!(!at_line_end, "cut at {end}: {one}");
                assert!(matches!(one, InputError::Truncated { .. }), "cut at {end}: {one}");
                assert_eq!(one.to_string(), other.to_string());
            }
            (Err(one), Ok(_)) => panic!("cut at {end}: {one}"),
        }
    }
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
