//! What is written in a format is read again as it was, and a verdict survives the way through
//! etcd's report.

use std::path::Path;

use proptest::prelude::*;
use rusd_checker::formats::edn::Edn;
use rusd_checker::formats::jepsen::{Event, EventSink, Events, JepsenOp, Kind, Process};
use rusd_checker::formats::native::{RecordSink, Records};
use rusd_checker::formats::{Place, jepsen_edn, jepsen_json, porcupine_kv, robustness};
use rusd_checker::history::record::{
    DeleteRange, DeleteRangeResponse, Operation, Outcome, Record, Request, Response, ResponseBody,
    WatchBody,
};
use rusd_checker::synthetic::{Bug, Mix, Run, Shape};
use rusd_checker::{Options, Report, Rule, Verdict, check_records};
use tempfile::TempDir;

fn written(sink: &mut dyn EventSink, ops: &[JepsenOp]) {
    for (position, op) in (0..).zip(ops) {
        let event = Event { place: Place::START, position, op: op.clone() };
        sink.write(&event).expect("tellable");
    }
    sink.finish().expect("memory takes everything");
}

fn read(mut events: impl Events) -> Vec<JepsenOp> {
    let events = std::iter::from_fn(|| events.next_event().transpose());
    events.map(|event| event.expect("well-formed").op).collect()
}

fn values() -> impl Strategy<Value = Edn> {
    let leaf = prop_oneof![
        Just(Edn::Nil),
        any::<bool>().prop_map(Edn::Bool),
        any::<i64>().prop_map(Edn::Integer),
        any::<String>().prop_map(Edn::String),
        "[a-z][a-z-]{0,5}".prop_map(Edn::Keyword),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Edn::Vector),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Edn::Set),
            prop::collection::vec((inner.clone(), inner), 0..3).prop_map(Edn::Map),
        ]
    })
}

/// Values that JSON has, as the reader gives them: strings that stand where a micro-operation's
/// function would are none.
fn json_values() -> impl Strategy<Value = Edn> {
    let leaf = prop_oneof![
        Just(Edn::Nil),
        any::<bool>().prop_map(Edn::Bool),
        any::<i64>().prop_map(Edn::Integer),
        any::<String>().prop_map(Edn::String),
    ];
    let flat = prop_oneof![
        leaf.clone(),
        prop::collection::vec(any::<i64>().prop_map(Edn::Integer), 0..4).prop_map(Edn::Vector),
        prop::collection::btree_map(any::<i64>(), leaf.clone(), 0..4)
            .prop_map(|map| map.into_iter().map(|(k, v)| (Edn::Integer(k), v)).collect())
            .prop_map(Edn::Map),
    ];
    let mop = (prop_oneof![Just("append"), Just("r")], leaf, flat.clone())
        .prop_map(|(f, key, value)| Edn::Vector(vec![Edn::keyword(f), key, value]));
    prop_oneof![flat, prop::collection::vec(mop, 1..4).prop_map(Edn::Vector)]
}

fn ops(values: impl Strategy<Value = Edn>) -> impl Strategy<Value = Vec<JepsenOp>> {
    let process = prop_oneof![
        4 => (0_u64..9).prop_map(Process::Client),
        1 => Just(Process::Named("nemesis".into())),
        1 => any::<String>().prop_map(Process::Named),
        1 => Just(Process::Unnamed),
    ];
    let kind = prop_oneof![Just(Kind::Invoke), Just(Kind::Ok), Just(Kind::Fail), Just(Kind::Info)];
    let f = prop::option::of("[a-z][a-z-]{0,6}".prop_map(Edn::Keyword));
    let error = prop::option::of(any::<String>().prop_map(Edn::String));
    let one = (process, kind, f, values, prop::option::of(any::<i64>()), error, any::<bool>());
    let one = one.prop_map(|(process, kind, f, value, time, error, more)| JepsenOp {
        index: 0,
        process,
        kind,
        f,
        value,
        time,
        error,
        extra: if more { vec![(Edn::keyword("node"), Edn::string("n1"))] } else { vec![] },
    });
    prop::collection::vec((one, 1_u64..5), 0..20).prop_map(|ops| {
        let mut index = 0;
        let counted = ops.into_iter().map(|(op, step)| {
            index += step;
            JepsenOp { index, ..op }
        });
        counted.collect()
    })
}

/// Operations of a key-value store that Porcupine's files have.
fn kv_ops() -> impl Strategy<Value = Vec<JepsenOp>> {
    let one = ("[a-c]{0,2}", any::<String>(), 0..3_u8, 0_u64..5);
    prop::collection::vec(one, 0..20).prop_map(|ops| {
        let mut index = 0;
        let mut all = Vec::new();
        for (key, text, f, process) in ops {
            let f = ["get", "put", "append"][usize::from(f)];
            for kind in [Kind::Invoke, Kind::Ok] {
                let is_asked = f == "get" && kind == Kind::Invoke;
                let value = if is_asked { Edn::Nil } else { Edn::string(text.clone()) };
                all.push(JepsenOp {
                    index,
                    process: Process::Client(process),
                    kind,
                    f: Some(Edn::keyword(f)),
                    value: Edn::Vector(vec![Edn::string(key.clone()), value]),
                    time: None,
                    error: None,
                    extra: vec![],
                });
                index += 1;
            }
        }
        all
    })
}

proptest! {
    #[test]
    fn edn(ops in ops(values())) {
        let mut text = Vec::new();
        written(&mut jepsen_edn::Writer::new(&mut text), &ops);
        prop_assert_eq!(read(jepsen_edn::Reader::new(text.as_slice())), ops.clone());
        let in_vector = [b"[", text.as_slice(), b"]"].concat();
        prop_assert_eq!(read(jepsen_edn::Reader::new(in_vector.as_slice())), ops);
    }

    #[test]
    fn json(ops in ops(json_values())) {
        let mut text = Vec::new();
        written(&mut jepsen_json::Writer::new(&mut text), &ops);
        prop_assert_eq!(read(jepsen_json::Reader::new(text.as_slice())), ops);
    }

    #[test]
    fn key_values(ops in kv_ops()) {
        let mut text = Vec::new();
        written(&mut porcupine_kv::Writer::new(&mut text), &ops);
        prop_assert_eq!(read(porcupine_kv::Reader::new(text.as_slice())), ops);
    }
}

/// What the report has words for.
fn shape() -> Shape {
    Shape {
        mix: Mix {
            put: 40,
            range: 20,
            range_past: 5,
            range_serializable: 0,
            delete: 0,
            txn: 0,
            lease_grant: 2,
            lease_put: 5,
            lease_revoke: 2,
            lease_keep_alive: 0,
            compact: 0,
        },
        lease_ttl: 7200,
        unknown_per_mille: 30,
        ..Shape::medium()
    }
}

fn records(seed: u64, shape: Shape, operations: u64) -> Vec<Record> {
    let mut run = Run::shaped(seed, shape);
    let header = Record::Header(run.header());
    std::iter::once(header).chain(run.records(operations)).collect()
}

fn to_report(records: &[Record], folder: &Path) {
    let mut writer = robustness::Writer::create(folder).expect("a new folder");
    for record in records {
        writer.write(Place::START, record).expect("tellable");
    }
    writer.finish().expect("written");
}

fn from_report(folder: &Path) -> Vec<Record> {
    let mut reader = robustness::Reader::open(folder).expect("a report");
    let records = std::iter::from_fn(|| reader.next_record().transpose());
    records.map(|record| record.expect("well-formed").1).collect()
}

fn through_report(records: &[Record]) -> Vec<Record> {
    let folder = TempDir::new().expect("a folder");
    let report = folder.path().join("report");
    to_report(records, &report);
    from_report(&report)
}

/// The operations, but for what the report does not tell.
fn told(records: &[Record]) -> Vec<Operation> {
    let operations = records.iter().filter_map(|record| match record {
        Record::Op(operation) => Some(operation.clone()),
        _ => None,
    });
    let mut told: Vec<Operation> = operations
        // What was refused took no effect, and is left out.
        .filter(|operation| !matches!(operation.outcome, Outcome::Fail(_)))
        .map(|mut operation| {
            operation.process = 0;
            operation.member = 0;
            if let Outcome::Unknown(failure) = &mut operation.outcome {
                failure.code.clear();
                operation.return_ns = None;
            }
            if let Request::Put(put) = &mut operation.request {
                put.prev_kv = false;
            }
            if let Outcome::Ok(Response { body: ResponseBody::Put(answer), .. }) =
                &mut operation.outcome
            {
                answer.prev_kv = None;
            }
            operation
        })
        .collect();
    told.sort_by_key(|operation| (operation.call_ns, operation.return_ns));
    told
}

/// Nothing but the names of processes changes, create revisions and leases are worked out again.
#[test]
fn a_report_tells_all_of_its_operations() {
    for seed in 0..12 {
        let before = records(seed, shape(), 400);
        let after = through_report(&before);
        let (mut before, mut after) = (told(&before), told(&after));
        // The report shows that the store was empty.
        after.retain(|operation| operation.call_ns != 1 || operation.return_ns != Some(2));
        let short = |operations: &mut Vec<Operation>| {
            operations.retain(|operation| matches!(operation.outcome, Outcome::Ok(_)));
        };
        // A read without an answer becomes one that failed: it took no effect either way.
        short(&mut before);
        short(&mut after);
        assert_eq!(before.len(), after.len(), "seed {seed}");
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(without_values(before), without_values(after), "seed {seed}");
        }
    }
}

/// Long values become digests on the way.
fn without_values(operation: &Operation) -> Operation {
    let mut operation = operation.clone();
    if let Request::Put(put) = &mut operation.request {
        put.value = "".into();
    }
    if let Outcome::Ok(Response { body: ResponseBody::Range(answer), .. }) = &mut operation.outcome
    {
        for kv in &mut answer.kvs {
            kv.value = "".into();
        }
    }
    operation
}

fn judge(records: Vec<Record>) -> Report {
    check_records(records, &Options::default()).expect("well-formed")
}

#[test]
fn a_valid_history_stays_valid() {
    for seed in 0..25 {
        let report = judge(through_report(&records(seed, shape(), 300)));
        assert_eq!(report.verdict, Verdict::Valid, "seed {seed}");
        assert!(report.counts.events > 0 && report.counts.unknown > 0, "seed {seed}");
    }
}

/// What a store does wrong is still seen: the report tells enough.
#[test]
fn an_invalid_history_stays_invalid() {
    for (bug, rules) in [
        (Bug::StaleRead, &[Rule::StaleRead, Rule::ContentResponse][..]),
        (Bug::LostWrites, &[Rule::LostWrite]),
        (Bug::DroppedEvent, &[Rule::WatchComplete, Rule::WatchContent]),
    ] {
        let mut seen = 0;
        for seed in 0..20 {
            let before = records(seed, Shape { bug: Some(bug), ..shape() }, 300);
            if judge(before.clone()).verdict == Verdict::Valid {
                continue;
            }
            seen += 1;
            let verdict = judge(through_report(&before)).verdict;
            let rule = verdict.rule();
            assert!(rule.is_some_and(|rule| rules.contains(&rule)), "{bug:?} {seed}: {verdict:?}");
        }
        assert!(seen >= 5, "{bug:?} shows only {seen} times");
    }
}

/// Deletes of one key and transactions are told, too: by hand, since made-up runs have wider ones.
#[test]
fn deletes_of_one_key_stay_what_they_are() {
    let before = records(1, shape(), 50);
    let Some(Record::Op(last)) = before
        .iter()
        .rfind(|record| matches!(record, Record::Op(Operation { outcome: Outcome::Ok(_), .. })))
    else {
        panic!("no answer")
    };
    let Outcome::Ok(answer) = &last.outcome else { panic!("an answer") };
    let mut gone = last.clone();
    gone.process = 1_000_000;
    gone.request =
        Request::DeleteRange(DeleteRange { key: "none".into(), ..DeleteRange::default() });
    gone.outcome = Outcome::Ok(Response {
        revision: answer.revision,
        body: ResponseBody::DeleteRange(DeleteRangeResponse::default()),
    });
    let mut records = before;
    records.push(Record::Op(gone.clone()));
    let after = through_report(&records);
    let found = after.iter().any(|record| {
        matches!(record, Record::Op(operation) if operation.request == gone.request
            && operation.outcome == gone.outcome)
    });
    assert!(found);
}

/// Watches keep what they saw.
#[test]
fn watches_keep_their_events() {
    let before = records(3, shape(), 300);
    let after = through_report(&before);
    let events = |records: &[Record]| -> Vec<(u64, i64)> {
        let responses = records.iter().filter_map(|record| match record {
            Record::Watch(response) => Some(response),
            _ => None,
        });
        let mut events: Vec<(u64, i64)> = responses
            .filter_map(|response| match &response.body {
                WatchBody::Events { events, .. } => Some((response.arrived_ns, events)),
                _ => None,
            })
            .flat_map(|(time, events)| {
                events.iter().map(move |event| (time, event.kv.mod_revision))
            })
            .collect();
        events.sort_unstable();
        events
    };
    assert!(events(&before).len() > 300);
    assert_eq!(events(&before), events(&after));
}
