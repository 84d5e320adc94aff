//! One thing is wrong in a long concurrent history: it is found, and the right rule is blamed.

#![expect(clippy::ptr_arg, reason = "some damages need the vector, and all have one type")]

use rusd_checker::history::History;
use rusd_checker::history::record::{
    Event, EventKind, FinalState, KeyValue, LeaseGrant, Operation, Outcome, Put, Range, Record,
    Request, Response, ResponseBody, TxnOpResponse, WatchBody, WatchResponse,
};
use rusd_checker::history::text::Text;
use rusd_checker::synthetic::{Mix, Run, Shape};
use rusd_checker::{Options, Rule, Verdict, check};

const SEEDS: u64 = 6;

/// Damages the records, or says that there is nothing to damage.
type Damage = fn(&mut Vec<Record>) -> Option<()>;

const DAMAGES: [(&str, Damage, Rule); 22] = [
    ("a read shows another value", wrong_value, Rule::ContentResponse),
    ("a read shows another version", wrong_version, Rule::ContentResponse),
    ("a read lacks a key", missing_key, Rule::ContentResponse),
    ("a read of the past shows another value", wrong_past, Rule::ContentResponse),
    ("a put forgets what was before", forgotten_prev_kv, Rule::ContentResponse),
    ("a delete counts one more", wrong_deleted, Rule::ContentResponse),
    ("a transaction claims the other branch", other_branch, Rule::TxnBranch),
    ("two writes at a time claim one revision", duplicate_revision, Rule::RevisionDuplicate),
    ("an acknowledged write is nobody's", vanished_operation, Rule::RevisionGap),
    ("a write is seen before its call", effect_before_call, Rule::LostWrite),
    ("a put uses a lease that nobody granted", foreign_lease, Rule::LeaseLifecycle),
    ("a grant is refused without reason", refused_grant, Rule::ContentRefusal),
    ("an event is dropped", dropped_event, Rule::WatchComplete),
    ("an event comes twice", repeated_event, Rule::WatchUnique),
    ("two responses change places", swapped_events, Rule::WatchOrdered),
    ("a revision is torn apart", torn_revision, Rule::WatchAtomic),
    ("progress is told ahead of an event", early_progress, Rule::WatchBookmarkable),
    ("an event shows another value", wrong_event, Rule::WatchContent),
    ("an event shows another predecessor", wrong_event_prev, Rule::WatchPrevKv),
    ("an event is of the future", future_event, Rule::WatchNoFuture),
    ("a member ends with another value", wrong_final, Rule::FinalState),
    ("a member ends with another hash", wrong_hash, Rule::FinalHash),
];

#[test]
fn each_damage_is_blamed_on_its_rule() {
    let options = Options::default();
    for (what, damage, rule) in DAMAGES {
        let mut damaged = 0;
        for seed in 0..SEEDS {
            let mut records = good(seed);
            let history = History::collect(records.clone()).expect("well-formed");
            assert_eq!(check(&history, &options).verdict, Verdict::Valid, "seed {seed}");
            if damage(&mut records).is_none() {
                continue;
            }
            damaged += 1;
            let history = History::collect(records).expect("still well-formed");
            let verdict = check(&history, &options).verdict;
            assert_eq!(verdict.rule(), Some(rule), "{what}, seed {seed}: {verdict:#?}");
        }
        assert!(damaged > 0, "{what}: nothing was damaged");
    }
}

fn good(seed: u64) -> Vec<Record> {
    let mix = Mix { lease_grant: 3, ..Shape::large().mix };
    let mut run = Run::shaped(seed, Shape { mix, ..Shape::medium() });
    let header = Record::Header(run.header());
    std::iter::once(header).chain(run.records(1_500)).collect()
}

/// Answered operations from the middle of the history on.
fn answered(records: &mut [Record]) -> impl Iterator<Item = (&mut Operation, usize)> {
    let middle = records.len() / 2;
    records[middle..].iter_mut().enumerate().filter_map(move |(place, record)| match record {
        Record::Op(operation) if matches!(operation.outcome, Outcome::Ok(_)) => {
            Some((operation, middle + place))
        }
        _ => None,
    })
}

fn response(operation: &mut Operation) -> &mut Response {
    match &mut operation.outcome {
        Outcome::Ok(response) => response,
        other => panic!("answered operations have answers, not {other:?}"),
    }
}

/// The key-values of the first range that satisfies `wanted` and has some.
fn range_kvs(
    records: &mut [Record],
    wanted: fn(&Range) -> bool,
) -> Option<(&mut Vec<KeyValue>, &mut i64)> {
    let found = |operation: &Operation| {
        matches!(&operation.request, Request::Range(range) if wanted(range))
            && matches!(&operation.outcome, Outcome::Ok(Response { body: ResponseBody::Range(body), .. })
                if !body.kvs.is_empty())
    };
    let (operation, _) = answered(records).find(|(operation, _)| found(operation))?;
    match &mut response(operation).body {
        ResponseBody::Range(body) => Some((&mut body.kvs, &mut body.count)),
        _ => None,
    }
}

fn is_plain(range: &Range) -> bool {
    range.revision == 0 && !range.keys_only && range.limit == 0
}

fn wrong_value(records: &mut Vec<Record>) -> Option<()> {
    range_kvs(records, is_plain)?.0[0].value = Text::from("nobody wrote this");
    Some(())
}

fn wrong_version(records: &mut Vec<Record>) -> Option<()> {
    range_kvs(records, is_plain)?.0[0].version += 1;
    Some(())
}

fn missing_key(records: &mut Vec<Record>) -> Option<()> {
    let (kvs, count) = range_kvs(records, is_plain)?;
    kvs.pop();
    *count -= 1;
    Some(())
}

fn wrong_past(records: &mut Vec<Record>) -> Option<()> {
    let (kvs, _) = range_kvs(records, |range| range.revision > 0 && !range.keys_only)?;
    kvs[0].value = Text::from("nobody wrote this");
    Some(())
}

fn forgotten_prev_kv(records: &mut Vec<Record>) -> Option<()> {
    answered(records).find_map(|(operation, _)| match &mut response(operation).body {
        ResponseBody::Put(put) => put.prev_kv.take().map(|_| ()),
        _ => None,
    })
}

fn wrong_deleted(records: &mut Vec<Record>) -> Option<()> {
    answered(records).find_map(|(operation, _)| match &mut response(operation).body {
        ResponseBody::DeleteRange(delete) if delete.deleted > 0 => {
            delete.deleted += 1;
            Some(())
        }
        _ => None,
    })
}

fn other_branch(records: &mut Vec<Record>) -> Option<()> {
    answered(records).find_map(|(operation, _)| match &mut response(operation).body {
        ResponseBody::Txn(txn) if matches!(txn.responses[0], TxnOpResponse::Put(_)) => {
            txn.succeeded = !txn.succeeded;
            Some(())
        }
        _ => None,
    })
}

fn puts(records: &mut [Record]) -> Vec<usize> {
    answered(records)
        .filter(|(operation, _)| matches!(operation.request, Request::Put(_)))
        .map(|(_, place)| place)
        .collect()
}

fn operation(records: &mut [Record], place: usize) -> &mut Operation {
    match &mut records[place] {
        Record::Op(operation) => operation,
        other => panic!("not an operation: {other:?}"),
    }
}

fn duplicate_revision(records: &mut Vec<Record>) -> Option<()> {
    let puts = puts(records);
    let pair = puts.windows(2).find(|pair| {
        let (one, other) =
            (operation(records, pair[0]).clone(), operation(records, pair[1]).clone());
        other.call_ns < one.return_ns.expect("answered")
            && one.call_ns < other.return_ns.expect("answered")
    })?;
    let revision = response(operation(records, pair[0])).revision;
    response(operation(records, pair[1])).revision = revision;
    Some(())
}

fn vanished_operation(records: &mut Vec<Record>) -> Option<()> {
    let place = *puts(records).first()?;
    records.remove(place);
    Some(())
}

fn effect_before_call(records: &mut Vec<Record>) -> Option<()> {
    let place = *puts(records).first()?;
    let late = operation(records, place);
    late.process = 1_000_000;
    late.call_ns += 50_000_000;
    late.return_ns = late.return_ns.map(|ns| ns + 50_000_000);
    Some(())
}

fn foreign_lease(records: &mut Vec<Record>) -> Option<()> {
    let granted = |records: &[Record], id: i64| {
        records.iter().position(|record| {
            matches!(record, Record::Op(Operation {
                request: Request::LeaseGrant(LeaseGrant { id: own, .. }), ..
            }) if *own == id)
        })
    };
    let lease = answered(records).find_map(|(operation, _)| match &operation.request {
        Request::Put(Put { lease, .. }) if *lease != 0 => Some(*lease),
        _ => None,
    })?;
    let place = granted(records, lease)?;
    records.remove(place);
    Some(())
}

fn refused_grant(records: &mut Vec<Record>) -> Option<()> {
    answered(records).find_map(|(operation, _)| {
        let Request::LeaseGrant(grant) = &mut operation.request else { return None };
        grant.id += 1_000_000;
        operation.outcome = Outcome::Fail(rusd_checker::history::record::Failure {
            code: "FailedPrecondition".into(),
            message: "etcdserver: lease already exists".into(),
        });
        Some(())
    })
}

/// Places of responses with events, of the first watch, from the middle of the history on.
fn event_places(records: &[Record], wanted: fn(&[Event]) -> bool) -> Vec<usize> {
    let of_first = |record: &Record| {
        matches!(record, Record::Watch(WatchResponse {
            watch: 0, body: WatchBody::Events { events, .. }, ..
        }) if wanted(events))
    };
    let middle = records.len() / 2;
    let places = records.iter().enumerate().skip(middle);
    places.filter(|(_, record)| of_first(record)).map(|(place, _)| place).collect()
}

fn events(records: &mut [Record], place: usize) -> &mut Vec<Event> {
    match &mut records[place] {
        Record::Watch(WatchResponse { body: WatchBody::Events { events, .. }, .. }) => events,
        other => panic!("no events: {other:?}"),
    }
}

fn dropped_event(records: &mut Vec<Record>) -> Option<()> {
    let place = *event_places(records, |_| true).first()?;
    records.remove(place);
    Some(())
}

fn repeated_event(records: &mut Vec<Record>) -> Option<()> {
    let place = *event_places(records, |_| true).first()?;
    records.insert(place, records[place].clone());
    Some(())
}

fn swapped_events(records: &mut Vec<Record>) -> Option<()> {
    let places = event_places(records, |_| true);
    records.swap(*places.first()?, *places.get(1)?);
    Some(())
}

fn torn_revision(records: &mut Vec<Record>) -> Option<()> {
    let place = *event_places(records, |events| events.len() > 1).first()?;
    let mut rest = records[place].clone();
    let second = events(records, place).split_off(1);
    if let Record::Watch(WatchResponse { body: WatchBody::Events { events, .. }, .. }) = &mut rest {
        *events = second;
    }
    records.insert(place + 1, rest);
    Some(())
}

/// A progress response that says what the first events from the middle on bring.
fn progress(records: &[Record]) -> Option<(usize, Record)> {
    let place = *event_places(records, |_| true).first()?;
    let Record::Watch(response) = &records[place] else { return None };
    let WatchBody::Events { events, .. } = &response.body else { return None };
    let revision = events.last()?.kv.mod_revision;
    let body = WatchBody::Progress;
    Some((place, Record::Watch(WatchResponse { revision, body, ..response.clone() })))
}

fn early_progress(records: &mut Vec<Record>) -> Option<()> {
    let (place, progress) = progress(records)?;
    records.insert(place, progress);
    Some(())
}

#[test]
fn progress_after_its_events_is_as_it_should_be() {
    for seed in 0..SEEDS {
        let mut records = good(seed);
        let (place, progress) = progress(&records).expect("there are events");
        records.insert(place + 1, progress);
        let history = History::collect(records).expect("well-formed");
        assert_eq!(check(&history, &Options::default()).verdict, Verdict::Valid, "seed {seed}");
    }
}

fn wrong_event(records: &mut Vec<Record>) -> Option<()> {
    let places = event_places(records, |events| events[0].kind == EventKind::Put);
    // The last of them that is not overwritten by something that would pin the wrong value.
    let place = *places.first()?;
    events(records, place)[0].kv.version += 1;
    Some(())
}

fn wrong_event_prev(records: &mut Vec<Record>) -> Option<()> {
    let place = *event_places(records, |events| events[0].prev_kv.is_some()).first()?;
    events(records, place)[0].prev_kv.as_mut()?.version += 1;
    Some(())
}

fn future_event(records: &mut Vec<Record>) -> Option<()> {
    let place = *event_places(records, |_| true).first()?;
    if let Record::Watch(response) = &mut records[place] {
        response.revision -= 1;
    }
    Some(())
}

fn finals(records: &mut [Record]) -> Option<&mut FinalState> {
    records.iter_mut().rev().find_map(|record| match record {
        Record::Final(state) => Some(state),
        _ => None,
    })
}

fn wrong_final(records: &mut Vec<Record>) -> Option<()> {
    finals(records)?.kvs.first_mut()?.value = Text::from("nobody wrote this");
    Some(())
}

fn wrong_hash(records: &mut Vec<Record>) -> Option<()> {
    finals(records)?.hash = Some(8);
    Some(())
}
