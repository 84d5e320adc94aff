//! A bank: `:transfer {:from a, :to b, :amount n}`, and `:read`, which returns all balances.

use super::super::calls::{Outcome, Value};
use super::super::edn::Edn;
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Meaning, calls, whole};
use crate::model::bank::{Balances, BankOp, BankRet};
use crate::search::Call;

/// A call on a bank.
pub type BankCall = Call<BankOp<Value>, BankRet<Value>>;

/// The calls on a bank.
pub fn bank(events: impl Events) -> Result<Vec<BankCall>, FormatError> {
    calls(events, meaning)
}

fn meaning(pair: &Paired) -> Meaning<BankOp<Value>, BankRet<Value>> {
    let op = match pair.f_name() {
        Some("transfer") => transfer(pair)?,
        Some("read") => BankOp::Read,
        _ => return Err(pair.unexpected(":transfer and :read")),
    };
    let ret = match (pair.outcome, &op) {
        (Outcome::Fail, _) => return Ok(None),
        (Outcome::Unknown, _) => None,
        (Outcome::Ok, BankOp::Transfer { .. }) => Some(BankRet::Transferred),
        (Outcome::Ok, BankOp::Read) => Some(BankRet::Balances(balances(pair)?)),
    };
    Ok(Some((op, ret)))
}

fn transfer(pair: &Paired) -> Result<BankOp<Value>, FormatError> {
    let expected = "a map with :from, :to and :amount";
    let field = |name: &str| match pair.called.untagged() {
        Edn::Map(pairs) => {
            pairs.iter().find(|(key, _)| key.name() == Some(name)).map(|(_, value)| value)
        }
        _ => None,
    };
    let (Some(from), Some(to), Some(amount)) = (field("from"), field("to"), field("amount")) else {
        return Err(pair.wrong_value(&pair.called, expected));
    };
    Ok(BankOp::Transfer { from: from.into(), to: to.into(), amount: whole(pair, amount)? })
}

fn balances(pair: &Paired) -> Result<Balances<Value>, FormatError> {
    let Edn::Map(pairs) = pair.answered.untagged() else {
        return Err(pair.wrong_value(&pair.answered, "a map of accounts and balances"));
    };
    let mut balances = Balances::new();
    for (account, balance) in pairs {
        if balances.insert(account.into(), whole(pair, balance)?).is_some() {
            return Err(pair.wrong_value(&pair.answered, &format!("a map with {account} once")));
        }
    }
    Ok(balances)
}
