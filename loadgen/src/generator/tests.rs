//! What clients ask, and what they make of answers.

use std::collections::BTreeSet;

use rusd_checker::history::record::{Failure, KeyValue, PutResponse, RangeResponse, TxnResponse};

use super::*;
use crate::keys::KeySpace;

const TEXT: &str = r#"
    duration = "1s"
    clients = 2
    keys = { count = 20, distribution = "zipf" }
    values = { size = "40B" }
    [mix]
    put = 5
    txn_cas = 2
    txn_multi = 2
    txn_read_modify_write = 2
    lease_grant = 1
    put_lease = 1
    lease_revoke = 1
"#;

fn generators() -> Vec<Generator> {
    let workload = Workload::parse("test.toml", TEXT).unwrap();
    let seen = Arc::new(Seen::new(KeySpace::new(&workload.keys), &workload.lists, 1, 7));
    (0..2).map(|client| Generator::new(&workload, 42, client, Arc::clone(&seen))).collect()
}

/// What is asked next of the store.
fn next(generator: &mut Generator) -> (OpKind, Request) {
    let (kind, Ask::Store(request)) = generator.next_ask() else { panic!("not of the store") };
    (kind, request)
}

fn values(request: &Request) -> Vec<String> {
    let of_ops = |ops: &[TxnOp]| -> Vec<String> {
        let puts = ops.iter().filter_map(|op| match op {
            TxnOp::Put(put) => Some(put.value.to_string()),
            _ => None,
        });
        puts.collect()
    };
    match request {
        Request::Put(put) => vec![put.value.to_string()],
        Request::Txn(txn) => [of_ops(&txn.success), of_ops(&txn.failure)].concat(),
        _ => Vec::new(),
    }
}

#[test]
fn no_value_is_written_twice_even_after_unknown_outcomes() {
    let mut generators = generators();
    let mut seen = BTreeSet::new();
    let mut leases = BTreeSet::new();
    for round in 0..2000 {
        let generator = &mut generators[round % 2];
        let (kind, request) = next(generator);
        for value in values(&request) {
            assert!(value.len() >= 40, "{value}");
            assert!(seen.insert(value.clone()), "{value} was written before");
        }
        if let Request::LeaseGrant(grant) = &request {
            assert!(leases.insert(grant.id));
        }
        let lost = Outcome::Unknown(Failure { code: String::new(), message: String::new() });
        if round % 7 == 0 {
            generator.observe(kind, &request, &lost);
        }
    }
    assert!(seen.len() > 1000 && !leases.is_empty());
}

#[test]
fn the_seed_decides() {
    let first: Vec<_> = {
        let mut generators = generators();
        (0..50).map(|i| next(&mut generators[i % 2]).1).collect()
    };
    let mut again = generators();
    for (i, request) in first.into_iter().enumerate() {
        assert_eq!(next(&mut again[i % 2]).1, request);
    }
}

#[test]
fn an_unknown_outcome_retires_the_process() {
    let mut generator = generators().remove(0);
    let before = generator.process();
    let (kind, request) = next(&mut generator);
    let failure = Failure { code: "Unavailable".to_owned(), message: String::new() };
    generator.observe(kind, &request, &Outcome::Fail(failure.clone()));
    assert_eq!(generator.process(), before);
    generator.observe(kind, &request, &Outcome::Unknown(failure));
    assert_ne!(generator.process(), before);
}

#[test]
fn read_modify_write_compares_with_what_was_read() {
    let mut generator = generators().remove(0);
    let read = Request::Range(generator.get());
    let Request::Range(Range { key, .. }) = &read else { unreachable!() };
    let kv = KeyValue { key: key.clone(), mod_revision: 17, ..KeyValue::default() };
    let body = ResponseBody::Range(RangeResponse { kvs: vec![kv], count: 1, more: false });
    let answer = Outcome::Ok(Response { revision: 20, body });
    generator.observe(OpKind::TxnReadModifyWrite, &read, &answer);
    let (kind, Request::Txn(txn)) = next(&mut generator) else { panic!("not a txn") };
    assert_eq!(kind, OpKind::TxnReadModifyWrite);
    assert_eq!(txn.compare[0].target, CompareTarget::Mod(17));
}

/// A generator that only does this.
fn only(mix: &str) -> Generator {
    let text = format!(
        "duration = \"1s\"\nclients = 1\nkeys = {{ count = 1 }}\nmix = {{ {mix} }}\n\
         lists = {{ count = 1, elements_max = 2 }}"
    );
    let workload = Workload::parse("test.toml", &text).unwrap();
    let seen = Arc::new(Seen::new(KeySpace::new(&workload.keys), &workload.lists, 1, 7));
    Generator::new(&workload, 42, 0, seen)
}

fn txn(asked: (OpKind, Request)) -> Txn {
    let Request::Txn(txn) = asked.1 else { panic!("{asked:?}") };
    txn
}

/// Answers a transaction with one operation.
fn answer(
    generator: &mut Generator,
    kind: OpKind,
    txn: Txn,
    succeeded: bool,
    found: TxnOpResponse,
) {
    let body = ResponseBody::Txn(TxnResponse { succeeded, responses: vec![found] });
    let outcome = Outcome::Ok(Response { revision: 50, body });
    generator.observe(kind, &Request::Txn(txn), &outcome);
}

fn list(key: &Text, elements: Option<&str>) -> TxnOpResponse {
    let kv = |value| KeyValue {
        key: key.clone(),
        value: Text::from(value),
        mod_revision: 9,
        ..KeyValue::default()
    };
    let kvs: Vec<KeyValue> = elements.map(kv).into_iter().collect();
    TxnOpResponse::Range(RangeResponse { kvs, count: 0, more: false })
}

#[test]
fn lists_are_read_then_appended_to_and_replaced_when_they_are_long() {
    let mut generator = only("txn_append = 1");
    for (elements, expected, next_list) in [
        (None, "p0.1", "key/list/0/0"),
        (Some("p7.7"), "p7.7 p0.2", "key/list/0/0"),
        (Some("p7.7 p7.8"), "p7.7 p7.8 p0.3", "key/list/0/1"),
    ] {
        let read = txn(next(&mut generator));
        let [TxnOp::Range(range)] = read.success.as_slice() else { panic!("{read:?}") };
        let key = range.key.clone();
        answer(&mut generator, OpKind::TxnAppend, read, true, list(&key, elements));
        let append = txn(next(&mut generator));
        let unchanged = CompareTarget::Mod(if elements.is_some() { 9 } else { 0 });
        assert_eq!(append.compare, [compare(key.clone(), CompareResult::Equal, unchanged)]);
        let [TxnOp::Put(put)] = append.success.as_slice() else { panic!("{append:?}") };
        assert_eq!((&put.key, put.value.to_string().as_str()), (&key, expected));
        answer(&mut generator, OpKind::TxnAppend, append, false, list(&key, elements));
        assert_eq!(generator.list(0).to_string(), next_list);
    }
}

/// Grants the lease that a client asks for first.
fn granted(generator: &mut Generator) {
    let (kind, request) = next(generator);
    let Request::LeaseGrant(_) = &request else { panic!("{request:?}") };
    let response = Response { revision: 1, body: ResponseBody::LeaseGrant { ttl: 3 } };
    generator.observe(kind, &request, &Outcome::Ok(response));
}

#[test]
fn a_lock_that_was_taken_is_given_back_and_one_that_was_not_is_asked_for_again() {
    let mut generator = only("lock = 1");
    granted(&mut generator);
    let take = txn(next(&mut generator));
    let taken = list(&Text::from("key/lock/0"), Some("other"));
    answer(&mut generator, OpKind::Lock, take, false, taken);
    let take = txn(next(&mut generator));
    assert_eq!(take.compare[0].target, CompareTarget::Create(0));
    let TxnOp::Put(put) = &take.success[0] else { panic!("{take:?}") };
    assert!(put.lease != 0 && put.key.to_string() == "key/lock/0");
    let put = TxnOpResponse::Put(PutResponse::default());
    answer(&mut generator, OpKind::Lock, take, true, put);
    let release = txn(next(&mut generator));
    assert_eq!(release.compare[0].target, CompareTarget::Create(50));
    assert!(matches!(release.success[0], TxnOp::DeleteRange(_)));
}

#[test]
fn a_leader_speaks_until_it_resigns_or_is_none_any_more() {
    let mut generator = only("election = 1");
    granted(&mut generator);
    let put = || TxnOpResponse::Put(PutResponse::default());
    let stand = txn(next(&mut generator));
    answer(&mut generator, OpKind::Election, stand, true, put());
    let mut spoke = 0;
    loop {
        let speak = txn(next(&mut generator));
        assert_eq!(speak.compare[0].target, CompareTarget::Create(50));
        let resigns = matches!(speak.success[0], TxnOp::DeleteRange(_));
        answer(&mut generator, OpKind::Election, speak, true, put());
        if resigns {
            break;
        }
        spoke += 1;
    }
    assert!((1..100).contains(&spoke), "{spoke}");
    let stand = txn(next(&mut generator));
    assert_eq!(stand.compare[0].target, CompareTarget::Create(0));
}

#[test]
fn folders_are_read_whole_without_values_or_counted() {
    for (mix, keys_only, count_only) in [
        ("range_prefix = 1", false, false),
        ("range_keys_only = 1", true, false),
        ("range_count = 1", false, true),
    ] {
        let Request::Range(range) = next(&mut only(mix)).1 else { panic!("{mix}") };
        assert_eq!(
            (range.key.to_string(), range.range_end.to_string()),
            ("key/".into(), "key0".into())
        );
        assert_eq!((range.keys_only, range.count_only), (keys_only, count_only));
    }
}

#[test]
fn what_is_not_of_the_store_is_asked_too() {
    assert_eq!(only("defragment = 1").next_ask(), (OpKind::Defragment, Ask::Defragment));
    assert_eq!(only("snapshot = 1").next_ask(), (OpKind::Snapshot, Ask::Snapshot));
}
