//! Accounts between which money is moved: the total stays.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use crate::search::{Model, Shape};

/// Balances by account.
pub type Balances = BTreeMap<u64, i64>;

/// The accounts of a bank.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bank {
    balances: Balances,
    /// Whether an account may be overdrawn.
    may_be_negative: bool,
}

/// What can be asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BankOp {
    /// Move an amount.
    Transfer {
        /// The account that has less.
        from: u64,
        /// The account that has more.
        to: u64,
        /// How much.
        amount: i64,
    },
    /// What are all the balances?
    Read,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BankRet {
    /// The amount was moved.
    Transferred,
    /// There is no such account, or not enough in it.
    Refused,
    /// All balances.
    Balances(Balances),
}

impl Bank {
    /// With these balances.
    pub fn new(balances: Balances, may_be_negative: bool) -> Bank {
        Bank { balances, may_be_negative }
    }

    fn transfer(&mut self, from: u64, to: u64, amount: i64) -> BankRet {
        let (Some(giver), true) = (self.balances.get_mut(&from), amount >= 0) else {
            return BankRet::Refused;
        };
        let rest = giver.saturating_sub(amount);
        if rest < 0 && !self.may_be_negative {
            return BankRet::Refused;
        }
        let before = std::mem::replace(giver, rest);
        let Some(taker) = self.balances.get_mut(&to) else {
            self.balances.insert(from, before);
            return BankRet::Refused;
        };
        *taker = taker.saturating_add(amount);
        BankRet::Transferred
    }
}

impl SequentialSpec for Bank {
    type Op = BankOp;
    type Ret = BankRet;

    fn invoke(&mut self, op: &BankOp) -> BankRet {
        match op {
            BankOp::Transfer { from, to, amount } => self.transfer(*from, *to, *amount),
            BankOp::Read => BankRet::Balances(self.balances.clone()),
        }
    }
}

impl Model for Bank {
    type Key = ();

    fn partition(_: &BankOp) {}

    fn is_read_only(op: &BankOp, ret: Option<&BankRet>) -> bool {
        matches!((op, ret), (BankOp::Read, _) | (_, Some(BankRet::Refused)))
    }

    fn shape(&self, op: &BankOp, ret: Option<&BankRet>) -> Shape<Bank> {
        match (op, ret) {
            (BankOp::Read, Some(BankRet::Balances(balances))) => {
                Shape::reads(Bank::new(balances.clone(), self.may_be_negative))
            }
            _ => Shape::opaque(Self::is_read_only(op, ret)),
        }
    }

    fn describe(op: &BankOp, ret: Option<&BankRet>) -> String {
        let asked = match op {
            BankOp::Transfer { from, to, amount } => {
                format!("transfer {amount} from {from} to {to}")
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
