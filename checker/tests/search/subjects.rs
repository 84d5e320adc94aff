//! The objects that are tested: how each begins, what it is asked, and how it can lie.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use rusd_checker::history::record::{
    Compare, CompareResult, CompareTarget, DeleteRange, LeaseGrant, LeaseId, Outcome, Put, Range,
    Request, ResponseBody, Txn, TxnOp,
};
use rusd_checker::history::text::Text;
use rusd_checker::model::append::{AppendOp, AppendRet, AppendString};
use rusd_checker::model::bank::{Bank, BankOp, BankRet, UnknownBank};
use rusd_checker::model::cas_register::{CasOp, CasRegister, CasRet};
use rusd_checker::model::counter::{Counter, CounterOp, CounterRet};
use rusd_checker::model::etcd_store::EtcdStore;
use rusd_checker::model::keyed::{Keyed, KeyedOp};
use rusd_checker::model::lock::{Lock, LockOp, LockRet};
use rusd_checker::model::multi_register::{Access, MultiRegister};
use rusd_checker::model::register::{Register, RegisterOp, RegisterRet};
use rusd_checker::model::set::{GrowSet, SetOp, SetRet};
use rusd_checker::model::versioned_register::{VersionedOp, VersionedRegister, VersionedRet};
use rusd_checker::search::Model;
use rusd_checker::synthetic::Dice;

use super::damage::pick;

/// An object under test.
pub(crate) trait Subject: Model + Debug + Sync
where
    Self::Op: Clone + Debug + Sync,
    Self::Ret: Clone + Debug + Sync,
{
    /// As it begins.
    fn initial(dice: &mut Dice) -> Self;
    /// Something to ask; `nth` is different each time.
    fn op(dice: &mut Dice, nth: u64) -> Self::Op;
    /// Another answer.
    fn lie(dice: &mut Dice, ret: &Self::Ret) -> Self::Ret;
}

fn small(dice: &mut Dice) -> u64 {
    dice.below(3)
}

fn maybe(dice: &mut Dice) -> Option<u64> {
    dice.per_mille(800).then(|| small(dice))
}

impl Subject for Register<u64> {
    fn initial(dice: &mut Dice) -> Register<u64> {
        Register::new(maybe(dice))
    }

    fn op(dice: &mut Dice, _: u64) -> RegisterOp<u64> {
        if dice.per_mille(500) { RegisterOp::Read } else { RegisterOp::Write(small(dice)) }
    }

    fn lie(dice: &mut Dice, ret: &RegisterRet<u64>) -> RegisterRet<u64> {
        match ret {
            RegisterRet::Value(_) => RegisterRet::Value(maybe(dice)),
            RegisterRet::Written => RegisterRet::Written,
        }
    }
}

/// A register whose values are mostly written once: what zones are for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Unique<M>(pub(crate) M);

impl<M: Model> stateright::semantics::SequentialSpec for Unique<M> {
    type Op = M::Op;
    type Ret = M::Ret;

    fn invoke(&mut self, op: &M::Op) -> M::Ret {
        self.0.invoke(op)
    }
}

impl<M: Model> Model for Unique<M> {
    type Key = M::Key;

    fn partition(op: &M::Op) -> M::Key {
        M::partition(op)
    }

    fn is_read_only(op: &M::Op, ret: Option<&M::Ret>) -> bool {
        M::is_read_only(op, ret)
    }

    fn shape(&self, op: &M::Op, ret: Option<&M::Ret>) -> rusd_checker::search::Shape<Unique<M>> {
        self.0.shape(op, ret).map(Unique)
    }

    fn describe(op: &M::Op, ret: Option<&M::Ret>) -> String {
        M::describe(op, ret)
    }

    fn describe_state(&self) -> String {
        self.0.describe_state()
    }
}

impl Subject for Unique<Register<u64>> {
    fn initial(_: &mut Dice) -> Unique<Register<u64>> {
        Unique(Register::default())
    }

    fn op(dice: &mut Dice, nth: u64) -> RegisterOp<u64> {
        if dice.per_mille(550) { RegisterOp::Read } else { RegisterOp::Write(nth) }
    }

    fn lie(dice: &mut Dice, ret: &RegisterRet<u64>) -> RegisterRet<u64> {
        match ret {
            RegisterRet::Value(_) => RegisterRet::Value(dice.per_mille(900).then(|| dice.below(9))),
            RegisterRet::Written => RegisterRet::Written,
        }
    }
}

impl Subject for Unique<CasRegister<u64>> {
    fn initial(_: &mut Dice) -> Unique<CasRegister<u64>> {
        Unique(CasRegister::default())
    }

    fn op(dice: &mut Dice, nth: u64) -> CasOp<u64> {
        match dice.below(5) {
            0 | 1 => CasOp::Read,
            2 => CasOp::Write(nth),
            _ => CasOp::Cas(nth.saturating_sub(1 + dice.below(3)), nth),
        }
    }

    fn lie(dice: &mut Dice, ret: &CasRet<u64>) -> CasRet<u64> {
        match ret {
            CasRet::Value(_) => CasRet::Value(dice.per_mille(900).then(|| dice.below(9))),
            CasRet::Written => CasRet::Written,
            CasRet::Swapped | CasRet::Differs => CasRet::Swapped,
        }
    }
}

impl Subject for CasRegister<u64> {
    fn initial(dice: &mut Dice) -> CasRegister<u64> {
        CasRegister::new(maybe(dice))
    }

    fn op(dice: &mut Dice, _: u64) -> CasOp<u64> {
        match dice.below(3) {
            0 => CasOp::Read,
            1 => CasOp::Write(small(dice)),
            _ => CasOp::Cas(small(dice), small(dice)),
        }
    }

    fn lie(dice: &mut Dice, ret: &CasRet<u64>) -> CasRet<u64> {
        match ret {
            CasRet::Value(_) => CasRet::Value(maybe(dice)),
            CasRet::Written => CasRet::Written,
            CasRet::Swapped => CasRet::Differs,
            CasRet::Differs => CasRet::Swapped,
        }
    }
}

impl Subject for VersionedRegister<u64> {
    fn initial(_: &mut Dice) -> VersionedRegister<u64> {
        VersionedRegister::default()
    }

    fn op(dice: &mut Dice, _: u64) -> VersionedOp<u64> {
        match dice.below(3) {
            0 => VersionedOp::Read,
            1 => VersionedOp::Write(small(dice)),
            _ => VersionedOp::WriteIf(small(dice), small(dice)),
        }
    }

    fn lie(dice: &mut Dice, ret: &VersionedRet<u64>) -> VersionedRet<u64> {
        match ret {
            VersionedRet::Value(version, value) if dice.per_mille(500) => {
                VersionedRet::Value(*version, value.map(|value| value ^ 1))
            }
            VersionedRet::Value(_, value) => VersionedRet::Value(small(dice), *value),
            VersionedRet::Written(_) | VersionedRet::Differs => {
                VersionedRet::Written(1 + small(dice))
            }
        }
    }
}

impl Subject for Keyed<u64, AppendString> {
    fn initial(_: &mut Dice) -> Keyed<u64, AppendString> {
        Keyed::new(AppendString::default())
    }

    fn op(dice: &mut Dice, _: u64) -> KeyedOp<u64, AppendOp> {
        let text = |dice: &mut Dice| ["", "a", "b"][pick(dice, 3)].into();
        let op = match dice.below(5) {
            0 | 1 => AppendOp::Get,
            2 => AppendOp::Put(text(dice)),
            _ => AppendOp::Append(text(dice)),
        };
        KeyedOp { key: dice.below(2), op }
    }

    fn lie(dice: &mut Dice, ret: &AppendRet) -> AppendRet {
        match ret {
            AppendRet::Text(text) if dice.per_mille(500) => AppendRet::Text(format!("{text}a")),
            AppendRet::Text(_) => AppendRet::Text("b".into()),
            AppendRet::Done => AppendRet::Done,
        }
    }
}

impl Subject for Keyed<u64, CasRegister<u64>> {
    fn initial(dice: &mut Dice) -> Keyed<u64, CasRegister<u64>> {
        Keyed::new(CasRegister::initial(dice))
    }

    fn op(dice: &mut Dice, nth: u64) -> KeyedOp<u64, CasOp<u64>> {
        KeyedOp { key: dice.below(2), op: CasRegister::op(dice, nth) }
    }

    fn lie(dice: &mut Dice, ret: &CasRet<u64>) -> CasRet<u64> {
        CasRegister::lie(dice, ret)
    }
}

impl Subject for GrowSet<u64> {
    fn initial(_: &mut Dice) -> GrowSet<u64> {
        GrowSet::default()
    }

    fn op(dice: &mut Dice, _: u64) -> SetOp<u64> {
        if dice.per_mille(400) { SetOp::Read } else { SetOp::Add(dice.below(4)) }
    }

    fn lie(dice: &mut Dice, ret: &SetRet<u64>) -> SetRet<u64> {
        match ret {
            SetRet::Elements(elements) => {
                let mut elements: BTreeSet<u64> = elements.clone();
                let element = dice.below(4);
                if !elements.remove(&element) {
                    elements.insert(element);
                }
                SetRet::Elements(elements)
            }
            SetRet::Added => SetRet::Added,
        }
    }
}

impl Subject for Counter {
    fn initial(_: &mut Dice) -> Counter {
        Counter::default()
    }

    fn op(dice: &mut Dice, _: u64) -> CounterOp {
        match dice.below(5) {
            0 | 1 => CounterOp::Read,
            2 => CounterOp::Add(-1),
            _ => CounterOp::Add([0, 1, 2][pick(dice, 3)]),
        }
    }

    fn lie(dice: &mut Dice, ret: &CounterRet) -> CounterRet {
        match ret {
            CounterRet::Sum(sum) => CounterRet::Sum(sum + if dice.per_mille(500) { 1 } else { -1 }),
            CounterRet::Added => CounterRet::Added,
        }
    }
}

impl Subject for Lock {
    fn initial(dice: &mut Dice) -> Lock {
        Lock { owner: dice.per_mille(200).then(|| small(dice)) }
    }

    fn op(dice: &mut Dice, _: u64) -> LockOp {
        let owner = dice.below(2);
        if dice.per_mille(500) { LockOp::Acquire(owner) } else { LockOp::Release(owner) }
    }

    fn lie(dice: &mut Dice, _: &LockRet) -> LockRet {
        match small(dice) {
            0 => LockRet::Held,
            1 => LockRet::NotHeld,
            _ => LockRet::Done,
        }
    }
}

impl Subject for Bank {
    fn initial(dice: &mut Dice) -> Bank {
        Bank::new(BTreeMap::from([(0, 2), (1, 1), (2, 0)]), dice.per_mille(300))
    }

    fn op(dice: &mut Dice, _: u64) -> BankOp {
        if dice.per_mille(400) {
            return BankOp::Read;
        }
        let amount = [1, 2][pick(dice, 2)];
        BankOp::Transfer { from: small(dice), to: dice.below(4), amount }
    }

    fn lie(dice: &mut Dice, ret: &BankRet) -> BankRet {
        match ret {
            BankRet::Balances(balances) => {
                let mut balances = balances.clone();
                *balances.get_mut(&small(dice)).expect("three accounts") += 1;
                BankRet::Balances(balances)
            }
            BankRet::Transferred => BankRet::Refused,
            BankRet::Refused => BankRet::Transferred,
        }
    }
}

impl Subject for UnknownBank {
    fn initial(dice: &mut Dice) -> UnknownBank {
        UnknownBank::new(dice.per_mille(300))
    }

    fn op(dice: &mut Dice, nth: u64) -> BankOp {
        <Bank as Subject>::op(dice, nth)
    }

    fn lie(dice: &mut Dice, ret: &BankRet) -> BankRet {
        match ret {
            // Of what was never moved any balance may be read first.
            BankRet::Balances(balances) => {
                let mut balances = balances.clone();
                *balances.entry(small(dice)).or_insert(0) += 1;
                BankRet::Balances(balances)
            }
            BankRet::Transferred | BankRet::Refused => ret.clone(),
        }
    }
}

impl Subject for MultiRegister<u64, u64> {
    fn initial(_: &mut Dice) -> MultiRegister<u64, u64> {
        MultiRegister { values: BTreeMap::from([(0, 0)]) }
    }

    fn op(dice: &mut Dice, _: u64) -> Vec<Access<u64, u64>> {
        let steps = 1 + dice.below(3);
        (0..steps)
            .map(|_| match dice.below(2) {
                0 => Access::Read(dice.below(2)),
                _ => Access::Write(dice.below(2), small(dice)),
            })
            .collect()
    }

    fn lie(dice: &mut Dice, ret: &Vec<Option<u64>>) -> Vec<Option<u64>> {
        ret.iter().map(|found| if dice.per_mille(500) { maybe(dice) } else { *found }).collect()
    }
}

impl Subject for EtcdStore {
    fn initial(_: &mut Dice) -> EtcdStore {
        EtcdStore::new()
    }

    fn op(dice: &mut Dice, _: u64) -> Request {
        let key = etcd_key(dice);
        let id = 1 + i64::from(dice.per_mille(300));
        match dice.below(12) {
            0..4 => Request::Range(Range { key, ..Range::default() }),
            4 | 5 => Request::DeleteRange(DeleteRange { key, ..DeleteRange::default() }),
            6 => Request::LeaseGrant(LeaseGrant { id, ttl: 60 }),
            7 => Request::LeaseRevoke(LeaseId { id }),
            8 => Request::Put(Put { lease: id, ..etcd_put(key) }),
            9 => Request::Txn(Txn {
                compare: vec![Compare {
                    key: etcd_key(dice),
                    range_end: Text::default(),
                    result: CompareResult::Equal,
                    target: CompareTarget::Version(i64::from(dice.per_mille(500))),
                }],
                success: vec![TxnOp::Put(etcd_put(key.clone())), etcd_get(dice)],
                failure: vec![TxnOp::DeleteRange(DeleteRange { key, ..DeleteRange::default() })],
            }),
            _ => Request::Put(etcd_put(key)),
        }
    }

    fn lie(dice: &mut Dice, ret: &Outcome) -> Outcome {
        let mut ret = ret.clone();
        if let Outcome::Ok(response) = &mut ret {
            match &mut response.body {
                ResponseBody::Range(range) if dice.per_mille(500) => {
                    range.kvs.clear();
                    range.count = 0;
                }
                ResponseBody::Txn(txn) if dice.per_mille(500) => txn.succeeded = !txn.succeeded,
                _ => response.revision += 1,
            }
        }
        ret
    }
}

fn etcd_key(dice: &mut Dice) -> Text {
    Text::from(["a", "b"][pick(dice, 2)])
}

fn etcd_put(key: Text) -> Put {
    Put { key, value: Text::from("v"), ..Put::default() }
}

fn etcd_get(dice: &mut Dice) -> TxnOp {
    TxnOp::Range(Range { key: etcd_key(dice), ..Range::default() })
}
