//! What is held depends on what is under way, not on the length of the history.

use rusd_checker::Verdict;
use rusd_checker::history::record::{
    Operation, Outcome, Range, RangeResponse, Record, Request, Response, ResponseBody,
};
use rusd_checker::history::text::Text;
use rusd_checker::stream::{Held, StreamOptions};
use rusd_checker::synthetic::{Dice, Shape};

use super::orders::delayed;
use super::{plain, records, stream, stream_with};

const OPTIONS: StreamOptions =
    StreamOptions { revisions_kept: 500, waiting_max: 2_000, unknown_max: 10_000, patience: 50 };

fn most_held(operations: u64) -> Held {
    let shape = Shape { unknown_per_mille: 0, ..plain() };
    let keys = usize::try_from(shape.keys).expect("small");
    let records = delayed(records(5, shape, operations), 60, &mut Dice::new(1));
    let mut most = Held::default();
    let report = stream_with(&records, OPTIONS, |stream| {
        let held = stream.held();
        assert!(held.revisions <= OPTIONS.revisions_kept + OPTIONS.waiting_max, "{held:?}");
        assert!(held.changes <= 10 * OPTIONS.revisions_kept, "{held:?}");
        assert!(held.keys <= keys, "{held:?}");
        if held.total() > most.total() {
            most = held;
        }
    });
    assert_eq!(report.verdict, Verdict::Valid);
    most
}

#[test]
fn a_history_ten_times_as_long_holds_no_more() {
    let [short, long] = [3_000, 30_000].map(most_held);
    println!("{short:?}, {long:?}");
    assert!(long.total() * 10 <= short.total() * 12, "{long:?}, and of a tenth {short:?}");
    assert!(long.unknown <= 5, "{long:?}");
    assert!(long.watches <= 3, "{long:?}");
}

/// What outgrows the bounds is not held, and the verdict says so.
#[test]
fn beyond_the_bounds_it_is_unknown() {
    let records = records(5, plain(), 3_000);
    assert_eq!(stream(&records, OPTIONS), Verdict::Valid);
    let too_few_unknown = StreamOptions { unknown_max: 3, ..OPTIONS };
    let late = delayed(records.clone(), 400, &mut Dice::new(1));
    let too_small_window = StreamOptions { revisions_kept: 10, ..OPTIONS };
    let too_few_waiting = StreamOptions { waiting_max: 5, ..OPTIONS };
    let cases = [
        (&records, too_few_unknown, "who made some revisions"),
        (&late, too_small_window, "came too late"),
        (&late, too_few_waiting, "what revision"),
    ];
    for (records, options, why) in cases {
        let mut most = 0;
        let report = stream_with(records, options, |stream| {
            most = most.max(stream.held().waiting);
        });
        let Verdict::Unknown { reason } = report.verdict else { panic!("{:?}", report.verdict) };
        assert!(reason.contains(why), "{reason}");
        assert!(most <= options.waiting_max + 200, "{most} waited");
    }
}

/// A read of a revision that has left the window is not compared, and so nothing is called valid.
#[test]
fn a_read_of_what_is_forgotten_is_not_taken_for_right() {
    let shape = Shape { observed: false, unknown_per_mille: 0, ..plain() };
    let mut records = records(5, shape, 500);
    let last = records.iter().filter_map(|record| match record {
        Record::Op(operation) => match &operation.outcome {
            Outcome::Ok(response) => Some((operation.return_ns?, response.revision)),
            Outcome::Fail(_) | Outcome::Unknown(_) => None,
        },
        _ => None,
    });
    let (now, revision) = last.max().expect("somebody was answered");
    let everything = Text::from("\0");
    let range =
        Range { key: everything.clone(), range_end: everything, revision: 2, ..Range::default() };
    let wrong = ResponseBody::Range(RangeResponse { count: 1000, ..RangeResponse::default() });
    records.push(Record::Op(Operation {
        process: 1_000_000,
        member: 0,
        call_ns: now + 1,
        return_ns: Some(now + 2),
        request: Request::Range(range),
        outcome: Outcome::Ok(Response { revision, body: wrong }),
    }));
    assert_eq!(stream(&records, StreamOptions::default()).name(), "invalid");
    let verdict = stream(&records, StreamOptions { revisions_kept: 50, ..OPTIONS });
    let Verdict::Unknown { reason } = verdict else { panic!("{verdict:?}") };
    assert_eq!(reason, "1 answers and events came too late, or too far ahead");
}
