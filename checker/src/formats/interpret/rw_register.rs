//! Transactions on registers: `[[:w key value] [:r key value]]`. A register that was never written
//! is nil.

use super::super::calls::{Outcome, RegisterMop, Transaction};
use super::super::edn::Edn;
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Mop, transactions};

/// The transactions of a history.
pub fn rw_register(events: impl Events) -> Result<Vec<Transaction<RegisterMop>>, FormatError> {
    transactions(events, meaning)
}

fn meaning(pair: &Paired, mop: &Mop<'_>) -> Result<RegisterMop, FormatError> {
    let key = mop.key.clone();
    match mop.f {
        // Nobody could tell it from a register that was never written.
        "w" if *mop.value.untagged() == Edn::Nil => {
            Err(pair.wrong_value(mop.value, "a value that a read tells from nothing"))
        }
        "w" => Ok(RegisterMop::Write(key, mop.value.into())),
        "r" => {
            let is_known = pair.outcome == Outcome::Ok;
            Ok(RegisterMop::Read(key, is_known.then(|| mop.value.into())))
        }
        other => {
            let other = Edn::keyword(other);
            Err(pair.wrong_value(&other, "made of [:w key value] and [:r key value]"))
        }
    }
}
