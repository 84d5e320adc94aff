//! Histories so large that several threads check them: they find what one would, in its order.

use rusd_checker::history::History;
use rusd_checker::history::record::{Event, EventKind, Outcome, Record, ResponseBody, WatchBody};
use rusd_checker::synthetic::{Run, Shape};
use rusd_checker::{Options, Report, Rule, Verdict, Violation, check};

/// From 20,000 records on there are threads.
const OPERATIONS: u64 = 25_000;

/// A valid history, the header first.
fn records() -> Vec<Record> {
    let mut run = Run::shaped(5, Shape::large());
    let header = Record::Header(run.header());
    std::iter::once(header).chain(run.records(OPERATIONS)).collect()
}

fn judge(records: Vec<Record>) -> Report {
    check(&History::collect(records).expect("well-formed"), &Options::default())
}

/// Places of the responses with events of one watch.
fn responses(records: &[Record], watch: u64) -> Vec<usize> {
    let brings_events = |record: &Record| {
        matches!(record, Record::Watch(own)
            if own.watch == watch && matches!(own.body, WatchBody::Events { .. }))
    };
    let places = records.iter().enumerate().filter(|(_, record)| brings_events(record));
    places.map(|(place, _)| place).collect()
}

/// Of a response with events.
fn first_event(response: &mut Record) -> &mut Event {
    let Record::Watch(own) = response else { unreachable!("a response") };
    let WatchBody::Events { events, .. } = &mut own.body else { unreachable!("with events") };
    &mut events[0]
}

/// Some of a list: the first, the last, and some in between.
fn some(list: &[usize]) -> impl Iterator<Item = usize> {
    [0, list.len() / 3, list.len() / 2, list.len() * 3 / 4, list.len() - 1]
        .map(|at| list[at])
        .into_iter()
}

fn of_watch(violation: &Violation, watch: u64) -> bool {
    violation.operations.iter().all(|own| own.text.starts_with(&format!("watch {watch} ")))
}

#[test]
fn everything_is_counted_once() {
    let records = records();
    let of = |is: fn(&Record) -> bool| records.iter().filter(|record| is(record)).count();
    let operations = of(|record| matches!(record, Record::Op(_)));
    let unknown = of(
        |record| matches!(record, Record::Op(own) if matches!(own.outcome, Outcome::Unknown(_))),
    );
    let events = records.iter().map(|record| match record {
        Record::Watch(own) => match &own.body {
            WatchBody::Events { events, .. } => events.len(),
            _ => 0,
        },
        _ => 0,
    });
    let expected = [operations, unknown, events.sum()].map(|count| u64::try_from(count).unwrap());
    let Report { verdict, counts, .. } = judge(records);
    assert_eq!(verdict, Verdict::Valid);
    assert_eq!([counts.operations, counts.unknown, counts.events], expected);
    assert!(counts.gaps > 10 && counts.events > 20_000, "{counts:?}");
}

#[test]
fn an_event_that_is_missing_is_found_wherever_it_was() {
    let records = records();
    for watch in 0..3 {
        for place in some(&responses(&records, watch)) {
            let mut records = records.clone();
            records.remove(place);
            let verdict = judge(records).verdict;
            assert_eq!(verdict.rule(), Some(Rule::WatchComplete), "watch {watch}: {place}");
            let [violation] = verdict.violations() else { panic!("{verdict:?}") };
            assert!(of_watch(violation, watch), "{violation:?}");
        }
    }
}

#[test]
fn an_event_that_says_something_else_is_found_wherever_it_is() {
    let records = records();
    let mut places = responses(&records, 1);
    places.retain(|place| first_event(&mut records[*place].clone()).kind == EventKind::Put);
    for place in some(&places) {
        let mut records = records.clone();
        first_event(&mut records[place]).kv.version += 1;
        let verdict = judge(records).verdict;
        let mut violations = verdict.violations().iter();
        let is_content = |violation: &&Violation| violation.rule == Rule::WatchContent;
        let content = violations.find(is_content).expect("it is another content");
        assert!(of_watch(content, 1), "{place}: {content:?}");
    }
}

#[test]
fn what_several_watches_break_is_told_in_their_order() {
    let mut records = records();
    // The later the watch, the earlier what it lacks.
    let mut missing: Vec<usize> = (0..3)
        .map(|watch| responses(&records, watch))
        .zip([4, 3, 1])
        .map(|(places, quarter)| places[places.len() * quarter / 4 - 1])
        .collect();
    missing.sort_unstable();
    missing.iter().rev().for_each(|place| drop(records.remove(*place)));
    let verdict = judge(records).verdict;
    let violations = verdict.violations();
    assert_eq!(violations.len(), 3, "{violations:?}");
    for (watch, violation) in (0..3).zip(violations) {
        assert_eq!(violation.rule, Rule::WatchComplete);
        assert!(of_watch(violation, watch), "{violation:?}");
    }
}

#[test]
fn an_answer_that_is_wrong_is_found_wherever_it_is() {
    let records = records();
    let is_range = |record: &Record| {
        matches!(record, Record::Op(own) if matches!(&own.outcome, Outcome::Ok(response)
            if matches!(&response.body, ResponseBody::Range(range) if range.kvs.len() == 1)))
    };
    let ranges = records.iter().enumerate().filter(|(_, record)| is_range(record));
    let ranges: Vec<usize> = ranges.map(|(place, _)| place).collect();
    for place in some(&ranges) {
        let mut records = records.clone();
        let Record::Op(own) = &mut records[place] else { unreachable!("an operation") };
        let Outcome::Ok(response) = &mut own.outcome else { unreachable!("answered") };
        let ResponseBody::Range(range) = &mut response.body else { unreachable!("a range") };
        range.count += 1;
        let verdict = judge(records).verdict;
        assert_eq!(verdict.rule(), Some(Rule::ContentResponse), "{place}: {verdict:?}");
        assert_eq!(verdict.violations().len(), 1, "{place}: {verdict:?}");
    }
}
