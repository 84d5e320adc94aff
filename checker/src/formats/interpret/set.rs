//! A set: `:add element`, and `:read`, which returns all of them.

use std::collections::BTreeSet;

use super::super::calls::{Outcome, Value};
use super::super::edn::Edn;
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Meaning, calls};
use crate::model::set::{SetOp, SetRet};
use crate::search::Call;

/// A call on a set.
pub type SetCall = Call<SetOp<Value>, SetRet<Value>>;

/// The calls on a set.
pub fn set(events: impl Events) -> Result<Vec<SetCall>, FormatError> {
    calls(events, meaning)
}

fn meaning(pair: &Paired) -> Meaning<SetOp<Value>, SetRet<Value>> {
    let op = match pair.f_name() {
        Some("add") => SetOp::Add((&pair.called).into()),
        Some("read") => SetOp::Read,
        _ => return Err(pair.unexpected(":add and :read")),
    };
    let ret = match (pair.outcome, &op) {
        (Outcome::Fail, _) => return Ok(None),
        (Outcome::Unknown, _) => None,
        (Outcome::Ok, SetOp::Add(_)) => Some(SetRet::Added),
        (Outcome::Ok, SetOp::Read) => Some(SetRet::Elements(elements(pair, &pair.answered)?)),
    };
    Ok(Some((op, ret)))
}

/// What a read returned; nothing may be in it twice.
fn elements(pair: &Paired, answered: &Edn) -> Result<BTreeSet<Value>, FormatError> {
    let items = answered.items().ok_or_else(|| pair.wrong_value(answered, "a collection"))?;
    let mut elements = BTreeSet::new();
    for item in items {
        if !elements.insert(item.into()) {
            let expected = format!("a set, which has {item} once");
            return Err(pair.wrong_value(answered, &expected));
        }
    }
    Ok(elements)
}
