//! Transactions on lists: `[[:append key value] [:r key list]]`. A list that is not there is nil, and
//! as good as empty.

use super::super::calls::{AppendMop, Outcome, Transaction};
use super::super::edn::Edn;
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Mop, transactions};

/// The transactions of a history.
pub fn list_append(events: impl Events) -> Result<Vec<Transaction<AppendMop>>, FormatError> {
    transactions(events, meaning)
}

fn meaning(pair: &Paired, mop: &Mop<'_>) -> Result<AppendMop, FormatError> {
    let key = mop.key.clone();
    match mop.f {
        "append" => Ok(AppendMop::Append(key, mop.value.into())),
        "r" if pair.outcome != Outcome::Ok => Ok(AppendMop::Read(key, None)),
        "r" => {
            let elements = match mop.value.untagged() {
                Edn::Nil => &[][..],
                list => list.items().ok_or_else(|| pair.wrong_value(list, "a list"))?,
            };
            Ok(AppendMop::Read(key, Some(elements.iter().map(Into::into).collect())))
        }
        other => {
            let other = Edn::keyword(other);
            Err(pair.wrong_value(&other, "made of [:append key value] and [:r key list]"))
        }
    }
}
