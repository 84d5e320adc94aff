//! Accounts between which money is moved: the total stays.
//!
//! [`Bank`] begins with known balances; [`UnknownBank`] with whatever the first read tells of them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use crate::search::{Model, Shape};

/// Balances by account.
pub type Balances<K = u64> = BTreeMap<K, i64>;

/// The accounts of a bank.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bank<K = u64> {
    balances: Balances<K>,
    /// Whether an account may be overdrawn.
    may_be_negative: bool,
}

/// What can be asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BankOp<K = u64> {
    /// Move an amount.
    Transfer {
        /// The account that has less.
        from: K,
        /// The account that has more.
        to: K,
        /// How much.
        amount: i64,
    },
    /// What are all the balances?
    Read,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", bound(deserialize = "K: Ord + Deserialize<'de>"))]
pub enum BankRet<K = u64> {
    /// The amount was moved.
    Transferred,
    /// There is no such account, or not enough in it.
    Refused,
    /// All balances.
    Balances(Balances<K>),
}

impl<K: Clone + Ord> Bank<K> {
    /// With these balances.
    pub fn new(balances: Balances<K>, may_be_negative: bool) -> Bank<K> {
        Bank { balances, may_be_negative }
    }

    fn transfer(&mut self, from: &K, to: &K, amount: i64) -> BankRet<K> {
        if amount < 0 || !self.balances.contains_key(to) {
            return BankRet::Refused;
        }
        let Some(giver) = self.balances.get_mut(from) else { return BankRet::Refused };
        let rest = giver.saturating_sub(amount);
        if rest < 0 && !self.may_be_negative {
            return BankRet::Refused;
        }
        *giver = rest;
        let taker = self.balances.get_mut(to).expect("it was looked for above");
        *taker = taker.saturating_add(amount);
        BankRet::Transferred
    }
}

impl<K: Clone + Ord> SequentialSpec for Bank<K> {
    type Op = BankOp<K>;
    type Ret = BankRet<K>;

    fn invoke(&mut self, op: &BankOp<K>) -> BankRet<K> {
        match op {
            BankOp::Transfer { from, to, amount } => self.transfer(from, to, *amount),
            BankOp::Read => BankRet::Balances(self.balances.clone()),
        }
    }
}

impl<K: Clone + Ord + Hash + Debug> Model for Bank<K> {
    type Key = ();

    fn partition(_: &BankOp<K>) {}

    fn is_read_only(op: &BankOp<K>, ret: Option<&BankRet<K>>) -> bool {
        matches!((op, ret), (BankOp::Read, _) | (_, Some(BankRet::Refused)))
    }

    fn shape(&self, op: &BankOp<K>, ret: Option<&BankRet<K>>) -> Shape<Bank<K>> {
        match (op, ret) {
            (BankOp::Read, Some(BankRet::Balances(balances))) => {
                Shape::reads(Bank::new(balances.clone(), self.may_be_negative))
            }
            _ => Shape::opaque(Self::is_read_only(op, ret)),
        }
    }

    fn describe(op: &BankOp<K>, ret: Option<&BankRet<K>>) -> String {
        let asked = match op {
            BankOp::Transfer { from, to, amount } => {
                format!("transfer {amount} from {from:?} to {to:?}")
            }
            BankOp::Read => "read".into(),
        };
        match ret {
            None | Some(BankRet::Transferred) => asked,
            Some(BankRet::Refused) => format!("{asked} -> refused"),
            Some(BankRet::Balances(balances)) => format!("{asked} -> {balances:?}"),
        }
    }

    fn describe_state(&self) -> String {
        format!("{:?}", self.balances)
    }
}

/// A bank of which nobody knows what it began with. The first read tells, so that any is right that
/// has all accounts between which money was moved; if no account may be overdrawn, none may have been
/// before it. A transfer that was refused tells nothing of it: leave it out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UnknownBank<K = u64> {
    may_be_negative: bool,
    state: Known<K>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Known<K> {
    /// What was moved.
    Moved(BTreeMap<K, Moved>),
    /// All of it.
    All(Bank<K>),
}

/// What was moved to an account, compared with its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Moved {
    sum: i64,
    /// The least that the sum has been: 0 or below.
    low: i64,
}

impl Moved {
    fn add(&mut self, amount: i64) {
        self.sum = self.sum.saturating_add(amount);
        self.low = self.low.min(self.sum);
    }

    /// Whether an account that holds `balance` now was never overdrawn.
    fn was_covered(self, balance: i64) -> bool {
        balance.saturating_sub(self.sum).saturating_add(self.low) >= 0
    }
}

impl<K: Clone + Ord> UnknownBank<K> {
    /// Nothing was moved yet.
    pub fn new(may_be_negative: bool) -> UnknownBank<K> {
        UnknownBank { may_be_negative, state: Known::Moved(BTreeMap::new()) }
    }

    /// A first read has told these balances: whether that can be.
    fn reads_first(&mut self, balances: &Balances<K>) -> bool {
        let Known::Moved(moved) = &self.state else { return false };
        let is_covered = |(account, balance): (&K, &i64)| {
            moved.get(account).copied().unwrap_or_default().was_covered(*balance)
        };
        let can_be = moved.keys().all(|account| balances.contains_key(account))
            && (self.may_be_negative || balances.iter().all(is_covered));
        if can_be {
            self.state = Known::All(Bank::new(balances.clone(), self.may_be_negative));
        }
        can_be
    }
}

impl<K: Clone + Ord> SequentialSpec for UnknownBank<K> {
    type Op = BankOp<K>;
    type Ret = BankRet<K>;

    /// A first read finds what was moved and as much more as was needed for it.
    fn invoke(&mut self, op: &BankOp<K>) -> BankRet<K> {
        let moved = match &mut self.state {
            Known::All(bank) => return bank.invoke(op),
            Known::Moved(moved) => moved,
        };
        match op {
            BankOp::Transfer { amount, .. } if *amount < 0 => BankRet::Refused,
            BankOp::Transfer { from, to, amount } => {
                moved.entry(from.clone()).or_default().add(-amount);
                moved.entry(to.clone()).or_default().add(*amount);
                BankRet::Transferred
            }
            BankOp::Read => {
                let least = |(account, moved): (&K, &Moved)| {
                    (account.clone(), moved.sum.saturating_sub(moved.low))
                };
                let balances: Balances<K> = moved.iter().map(least).collect();
                self.state = Known::All(Bank::new(balances.clone(), self.may_be_negative));
                BankRet::Balances(balances)
            }
        }
    }

    fn is_valid_step(&mut self, op: &BankOp<K>, ret: &BankRet<K>) -> bool {
        match (&self.state, op, ret) {
            (Known::Moved(_), BankOp::Read, BankRet::Balances(balances)) => {
                self.reads_first(balances)
            }
            _ => self.invoke(op) == *ret,
        }
    }
}

impl<K: Clone + Ord + Hash + Debug> Model for UnknownBank<K> {
    type Key = ();

    fn partition(_: &BankOp<K>) {}

    /// A read is not: the first one tells what there is.
    fn is_read_only(_: &BankOp<K>, ret: Option<&BankRet<K>>) -> bool {
        matches!(ret, Some(BankRet::Refused))
    }

    fn describe(op: &BankOp<K>, ret: Option<&BankRet<K>>) -> String {
        Bank::describe(op, ret)
    }

    fn describe_state(&self) -> String {
        match &self.state {
            Known::All(bank) => bank.describe_state(),
            Known::Moved(_) => "not read yet".into(),
        }
    }
}
