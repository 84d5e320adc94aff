//! One small history for each model, and the calls it means.

use std::collections::{BTreeMap, BTreeSet};

use super::super::calls::ObjectKey;
use super::super::{jepsen_edn, jepsen_log};
use super::*;
use crate::model::append::AppendOp;
use crate::model::bank::{BankOp, BankRet};
use crate::model::cas_register::CasOp;
use crate::model::keyed::KeyedOp;
use crate::model::multi_register::Access;
use crate::model::set::{SetOp, SetRet};

fn events(text: &str) -> impl Events {
    jepsen_edn::Reader::new(text.as_bytes())
}

fn integer(number: i64) -> Value {
    Value::Integer(number)
}

fn call<O, R>(
    process: u64,
    invoked: u64,
    returned: impl Into<Option<u64>>,
    op: O,
    ret: Option<R>,
) -> Call<O, R> {
    Call { process, invoked, returned: returned.into(), op, ret }
}

#[test]
fn a_register() {
    let text = "
        {:process 0, :type :invoke, :f :write, :value 1}
        {:process 1, :type :invoke, :f :cas, :value [1 2]}
        {:process :nemesis, :type :info, :f :start}
        {:process 2, :type :invoke, :f :read, :value nil}
        {:process 0, :type :ok, :f :write, :value 1}
        {:process 2, :type :ok, :f :read, :value 1}
        {:process 1, :type :info, :f :cas, :value [1 2]}
        {:process 3, :type :invoke, :f :cas, :value [7 8]}
        {:process 3, :type :fail, :f :cas, :value [7 8]}
        {:process 4, :type :invoke, :f :read, :value nil}";
    let of = |op| KeyedOp { key: ObjectKey::Only, op };
    let write = call(0, 0, 4, of(CasOp::Write(integer(1))), Some(CasRet::Written));
    let crashed = call(1, 1, None, of(CasOp::Cas(integer(1), integer(2))), None);
    let read = call(2, 3, 5, of(CasOp::Read), Some(CasRet::Value(Some(integer(1)))));
    let failed = of(CasOp::Cas(integer(7), integer(8)));
    let failed = call(3, 7, 8, failed, Some(CasRet::Differs));
    let pending = call(4, 9, None, of(CasOp::Read), None);
    assert_eq!(
        cas_register(events(text), FailedCas::TellsNothing).unwrap(),
        [write.clone(), crashed.clone(), read.clone(), pending.clone()]
    );
    assert_eq!(
        cas_register(events(text), FailedCas::HeldAnother).unwrap(),
        [write, crashed, read, failed, pending]
    );
}

#[test]
fn a_register_for_each_key() {
    let text = "
        {:process 0, :type :invoke, :f :write, :value #tuple [:x 1]}
        {:process 0, :type :ok, :f :write, :value #tuple [:x 1]}
        {:process 0, :type :invoke, :f :cas, :value [:x [1 nil]]}
        {:process 0, :type :ok, :f :cas, :value [:x [1 nil]]}
        {:process 0, :type :invoke, :f :read, :value [:x nil]}
        {:process 0, :type :ok, :f :read, :value [:x nil]}";
    let of = |op| KeyedOp { key: ObjectKey::Of(Value::Other(":x".into())), op };
    assert_eq!(
        cas_register(events(text), FailedCas::TellsNothing).unwrap(),
        [
            call(0, 0, 1, of(CasOp::Write(integer(1))), Some(CasRet::Written)),
            call(0, 2, 3, of(CasOp::Cas(integer(1), Value::Nil)), Some(CasRet::Swapped)),
            call(0, 4, 5, of(CasOp::Read), Some(CasRet::Value(Some(Value::Nil)))),
        ]
    );
}

#[test]
fn log_lines() {
    let text = "INFO  jepsen.util - 3\t:invoke\t:write\t4\n\
                INFO  jepsen.util - 5\t:invoke\t:read\tnil\n\
                INFO  jepsen.util - 3\t:info\t:write\t:timed-out\n\
                INFO  jepsen.util - 5\t:fail\t:read\t:timed-out\n";
    let calls = cas_register(jepsen_log::Reader::new(text.as_bytes()), FailedCas::HeldAnother);
    let write = KeyedOp { key: ObjectKey::Only, op: CasOp::Write(integer(4)) };
    assert_eq!(calls.unwrap(), [call(3, 0, None, write, None)]);
}

#[test]
fn several_registers() {
    let text = "
        {:process 0, :type :invoke, :f :txn, :value [[:read :x nil] [:write :y 2]]}
        {:process 0, :type :ok, :f :txn, :value [[:read :x 0] [:write :y 2]]}
        {:process 0, :type :invoke, :f :txn, :value [[:write :x 1]]}
        {:process 0, :type :info, :f :txn, :value [[:write :x 1]]}";
    let key = |name: &str| Value::Other(name.into());
    let steps = vec![Access::Read(key(":x")), Access::Write(key(":y"), integer(2))];
    assert_eq!(
        multi_register(events(text)).unwrap(),
        [
            call(0, 0, 1, steps, Some(vec![Some(integer(0))])),
            call(0, 2, None, vec![Access::Write(key(":x"), integer(1))], None),
        ]
    );
}

#[test]
fn a_lock() {
    let text = "
        {:process 0, :type :invoke, :f :release}
        {:process 0, :type :fail, :f :release, :error :not-held}
        {:process 0, :type :invoke, :f :acquire}
        {:process 0, :type :ok, :f :acquire}
        {:process 0, :type :invoke, :f :release}";
    assert_eq!(
        mutex(events(text)).unwrap(),
        [
            call(0, 2, 3, LockOp::Acquire(Anybody), Some(LockRet::Done)),
            call(0, 4, None, LockOp::Release(Anybody), None)
        ]
    );
}

#[test]
fn a_store_of_strings() {
    let text = "
        {:process 0, :type :invoke, :f :append, :value [\"k\" \"x\"]}
        {:process 0, :type :ok, :f :append, :value [\"k\" \"x\"]}
        {:process 0, :type :invoke, :f :get, :value [\"k\" nil]}
        {:process 0, :type :ok, :f :get, :value [\"k\" \"x\"]}
        {:process 0, :type :invoke, :f :read, :value [\"l\" nil]}
        {:process 0, :type :ok, :f :read, :value [\"l\" nil]}
        {:process 0, :type :invoke, :f :put, :value [\"k\" \"\"]}
        {:process 0, :type :info, :f :put, :value [\"k\" \"\"]}";
    let of = |key: &str, op| KeyedOp { key: ObjectKey::Of(Value::Text(key.into())), op };
    assert_eq!(
        string_kv(events(text)).unwrap(),
        [
            call(0, 0, 1, of("k", AppendOp::Append("x".into())), Some(AppendRet::Done)),
            call(0, 2, 3, of("k", AppendOp::Get), Some(AppendRet::Text("x".into()))),
            call(0, 4, 5, of("l", AppendOp::Get), Some(AppendRet::Text(String::new()))),
            call(0, 6, None, of("k", AppendOp::Put(String::new())), None),
        ]
    );
}

#[test]
fn a_set() {
    let text = "
        {:process 0, :type :invoke, :f :add, :value 3}
        {:process 0, :type :ok, :f :add, :value 3}
        {:process 0, :type :invoke, :f :read, :value nil}
        {:process 0, :type :ok, :f :read, :value #{3 \"x\"}}";
    assert_eq!(
        set(events(text)).unwrap(),
        [
            call(0, 0, 1, SetOp::Add(integer(3)), Some(SetRet::Added)),
            call(
                0,
                2,
                3,
                SetOp::Read,
                Some(SetRet::Elements(BTreeSet::from([integer(3), Value::Text("x".into())])))
            ),
        ]
    );
}

#[test]
fn a_bank() {
    let text = "
        {:process 0, :type :invoke, :f :transfer, :value {:from 1, :to 2, :amount 5}}
        {:process 0, :type :ok, :f :transfer, :value {:from 1, :to 2, :amount 5}}
        {:process 0, :type :invoke, :f :read}
        {:process 0, :type :ok, :f :read, :value {1 -5, 2 5}}";
    let transfer = BankOp::Transfer { from: integer(1), to: integer(2), amount: 5 };
    let balances = BTreeMap::from([(integer(1), -5), (integer(2), 5)]);
    assert_eq!(
        bank(events(text)).unwrap(),
        [
            call(0, 0, 1, transfer, Some(BankRet::Transferred)),
            call(0, 2, 3, BankOp::Read, Some(BankRet::Balances(balances))),
        ]
    );
}

#[test]
fn a_counter() {
    let text = "
        {:process 0, :type :invoke, :f :add, :value -2}
        {:process 1, :type :invoke, :f :read, :value nil}
        {:process 1, :type :ok, :f :read, :value -2}
        {:process 0, :type :ok, :f :add, :value -2}";
    assert_eq!(
        counter(events(text)).unwrap(),
        [
            call(0, 0, 3, CounterOp::Add(-2), Some(CounterRet::Added)),
            call(1, 1, 2, CounterOp::Read, Some(CounterRet::Sum(-2))),
        ]
    );
}

#[test]
fn transactions_on_lists() {
    let text = "
        {:type :invoke, :value [[:append 1 2] [:r 1 nil] [:r 3 nil]]}
        {:type :ok, :value [[:append 1 2] [:r 1 [9 2]] [:r 3 nil]]}
        {:type :invoke, :f :txn, :value [[:append 1 3] [:r 1 nil]]}
        {:type :fail, :f :txn, :value [[:append 1 3] [:r 1 nil]]}
        {:type :invoke, :f :txn, :value [[:append 1 4]]}";
    let key = || integer(1);
    let found = list_append(events(text)).unwrap();
    let shape = |outcome, invoked, returned, mops| Transaction {
        process: 0,
        invoked,
        returned,
        outcome,
        mops,
    };
    assert_eq!(
        found,
        [
            shape(
                Outcome::Ok,
                0,
                Some(1),
                vec![
                    AppendMop::Append(key(), integer(2)),
                    AppendMop::Read(key(), Some(vec![integer(9), integer(2)])),
                    AppendMop::Read(integer(3), Some(vec![])),
                ]
            ),
            shape(
                Outcome::Fail,
                2,
                Some(3),
                vec![AppendMop::Append(key(), integer(3)), AppendMop::Read(key(), None),]
            ),
            shape(Outcome::Unknown, 4, None, vec![AppendMop::Append(key(), integer(4))]),
        ]
    );
}

#[test]
fn transactions_on_registers() {
    let text = "
        {:process 0, :type :invoke, :f :txn, :value [[:w :x 2] [:r :y nil]]}
        {:process 0, :type :ok, :f :txn, :value [[:w :x 2] [:r :y nil]]}
        {:process 0, :type :invoke, :f :txn, :value [[:r :x nil]]}
        {:process 0, :type :info, :f :txn, :value [[:r :x nil]]}";
    let found = rw_register(events(text)).unwrap();
    let key = |name: &str| Value::Other(name.into());
    assert_eq!(
        found.iter().map(|transaction| transaction.mops.clone()).collect::<Vec<_>>(),
        [
            vec![
                RegisterMop::Write(key(":x"), integer(2)),
                RegisterMop::Read(key(":y"), Some(Value::Nil)),
            ],
            vec![RegisterMop::Read(key(":x"), None)],
        ]
    );
    assert_eq!(found[1].outcome, Outcome::Unknown);
}
