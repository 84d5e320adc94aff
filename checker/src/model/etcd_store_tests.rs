//! The model, one rule of etcd at a time.

use super::*;
use crate::history::record::{
    Compare, CompareResult, CompareTarget, DeleteRange, LeaseId, TxnOp, TxnOpResponse,
};

fn text(text: &str) -> Text {
    Text::from(text)
}

fn put(key: &str, value: &str) -> Request {
    Request::Put(Put { key: text(key), value: text(value), ..Put::default() })
}

fn put_leased(key: &str, lease: i64) -> Request {
    Request::Put(Put { key: text(key), lease, ..Put::default() })
}

fn range(key: &str, end: &str, revision: i64) -> Request {
    Request::Range(Range { key: text(key), range_end: text(end), revision, ..Range::default() })
}

fn delete(key: &str, end: &str) -> Request {
    Request::DeleteRange(DeleteRange { key: text(key), range_end: text(end), prev_kv: false })
}

fn compare(key: &str, result: CompareResult, target: CompareTarget) -> Compare {
    Compare { key: text(key), range_end: Text::default(), result, target }
}

/// Short form: revision and what matters of the answer, or the refusal's text.
fn show(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Fail(failure) | Outcome::Unknown(failure) => failure.message.clone(),
        Outcome::Ok(response) => {
            let body = match &response.body {
                ResponseBody::Range(range) => range
                    .kvs
                    .iter()
                    .map(|kv| {
                        format!(
                            "{}={} c{} m{} v{} l{}",
                            kv.key,
                            kv.value,
                            kv.create_revision,
                            kv.mod_revision,
                            kv.version,
                            kv.lease
                        )
                    })
                    .collect::<Vec<_>>()
                    .join(", "),
                ResponseBody::DeleteRange(delete) => format!("deleted {}", delete.deleted),
                ResponseBody::Txn(txn) => format!("succeeded {}", txn.succeeded),
                _ => "ok".into(),
            };
            format!("@{} {body}", response.revision)
        }
    }
}

#[track_caller]
fn check(store: &mut EtcdStore, request: &Request, expected: &str) {
    assert_eq!(show(&store.apply(request)), expected, "{request:?}");
}

#[test]
fn a_write_takes_one_revision_and_an_empty_delete_none() {
    let store = &mut EtcdStore::new();
    check(store, &range("a", "", 0), "@1 ");
    check(store, &put("a", "1"), "@2 ok");
    check(store, &put("a", "2"), "@3 ok");
    check(store, &range("a", "", 0), "@3 a=2 c2 m3 v2 l0");
    check(store, &delete("b", ""), "@3 deleted 0");
    check(store, &delete("a", "z"), "@4 deleted 1");
    check(store, &put("a", "3"), "@5 ok");
    check(store, &range("a", "", 0), "@5 a=3 c5 m5 v1 l0");
}

#[test]
fn the_past_is_readable_down_to_the_compact_revision() {
    let store = &mut EtcdStore::new();
    for value in ["1", "2", "3"] {
        store.apply(&put("a", value));
    }
    check(store, &range("a", "", 3), "@4 a=2 c2 m3 v2 l0");
    let compact = |revision| Request::Compact(Compact { revision });
    check(store, &compact(3), "@4 ok");
    check(store, &range("a", "", 3), "@4 a=2 c2 m3 v2 l0");
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    check(store, &range("a", "", 2), compacted);
    check(store, &compact(3), compacted);
    let future = "etcdserver: mvcc: required revision is a future revision";
    check(store, &range("a", "", 5), future);
    check(store, &compact(5), future);
}

#[test]
fn a_lease_takes_its_keys_with_it() {
    let store = &mut EtcdStore::new();
    let missing = "etcdserver: requested lease not found";
    check(store, &put_leased("a", 7), missing);
    let grant = Request::LeaseGrant(LeaseGrant { id: 7, ttl: 5 });
    check(store, &grant, "@1 ok");
    check(store, &grant, "etcdserver: lease already exists");
    check(store, &put_leased("a", 7), "@2 ok");
    check(store, &put_leased("b", 7), "@3 ok");
    check(store, &put("b", "free"), "@4 ok");
    let revoke = Request::LeaseRevoke(LeaseId { id: 7 });
    check(store, &revoke, "@5 ok");
    check(store, &revoke, missing);
    check(store, &range("\0", "\0", 0), "@5 b=free c3 m4 v2 l0");
}

#[test]
fn a_missing_key_compares_as_zero_and_has_no_value() {
    let mut store = EtcdStore::new();
    let cases = [
        (CompareResult::Equal, CompareTarget::Version(0), true),
        (CompareResult::Equal, CompareTarget::Create(0), true),
        (CompareResult::Greater, CompareTarget::Mod(-1), true),
        (CompareResult::Equal, CompareTarget::Lease(0), true),
        (CompareResult::Equal, CompareTarget::Value(Text::default()), false),
        (CompareResult::NotEqual, CompareTarget::Value(text("x")), false),
        (CompareResult::Less, CompareTarget::Value(text("x")), false),
    ];
    for (result, target, holds) in cases {
        let compare = vec![compare("none", result, target.clone())];
        let txn = Request::Txn(Txn { compare, ..Txn::default() });
        check(&mut store, &txn, &format!("@1 succeeded {holds}"));
    }
}

#[test]
fn a_nested_compare_does_not_see_the_parents_writes() {
    let mut store = EtcdStore::new();
    let absent = compare("a", CompareResult::Equal, CompareTarget::Version(0));
    let nested = Txn { compare: vec![absent], ..Txn::default() };
    let put_a = Put { key: text("a"), ..Put::default() };
    let read_a = Range { key: text("a"), ..Range::default() };
    let success = vec![TxnOp::Put(put_a), TxnOp::Txn(nested), TxnOp::Range(read_a)];
    let Outcome::Ok(response) = store.apply(&Request::Txn(Txn { success, ..Txn::default() }))
    else {
        panic!("nothing to refuse");
    };
    assert_eq!(response.revision, 2);
    let ResponseBody::Txn(txn) = response.body else { panic!("a txn answers a txn") };
    assert!(matches!(&txn.responses[1], TxnOpResponse::Txn(nested) if nested.succeeded));
    assert!(matches!(&txn.responses[2], TxnOpResponse::Range(range) if range.count == 1));
}

#[test]
fn a_transaction_writes_a_key_once() {
    let mut store = EtcdStore::new();
    let put_a = || TxnOp::Put(Put { key: text("a"), ..Put::default() });
    let delete_a = TxnOp::DeleteRange(DeleteRange { key: text("a"), ..DeleteRange::default() });
    let duplicate = "etcdserver: duplicate key given in txn request";
    let txn = |success| Request::Txn(Txn { success, ..Txn::default() });
    check(&mut store, &txn(vec![put_a(), put_a()]), duplicate);
    check(&mut store, &txn(vec![delete_a.clone(), put_a()]), duplicate);
    let both = Txn { success: vec![put_a()], failure: vec![put_a()], ..Txn::default() };
    check(&mut store, &txn(vec![TxnOp::Txn(both.clone())]), "@2 succeeded true");
    check(&mut store, &txn(vec![TxnOp::Txn(both), put_a()]), duplicate);
}

#[test]
fn a_limit_cuts_the_answer_but_not_the_count() {
    let mut store = EtcdStore::new();
    for key in ["a", "b", "c"] {
        store.apply(&put(key, key));
    }
    let range = Range { key: text("a"), range_end: text("\0"), limit: 2, ..Range::default() };
    let Outcome::Ok(response) = store.apply(&Request::Range(range)) else { panic!("refused") };
    let ResponseBody::Range(range) = response.body else { panic!("not a range") };
    assert_eq!((range.kvs.len(), range.count, range.more), (2, 3, true));
}

#[test]
fn ignoring_needs_something_to_keep() {
    let store = &mut EtcdStore::new();
    let ignore = Request::Put(Put { key: text("a"), ignore_value: true, ..Put::default() });
    check(store, &ignore, "etcdserver: key not found");
    store.apply(&put("a", "1"));
    check(store, &ignore, "@3 ok");
    check(store, &range("a", "", 0), "@3 a=1 c2 m3 v2 l0");
}
