//! A set: `:add element`, and `:read`, which returns all of them.

use super::super::calls::{Outcome, SetOp, SetRet};
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Meaning, calls};
use crate::search::Call;

/// The calls on a set.
pub fn set(events: impl Events) -> Result<Vec<Call<SetOp, SetRet>>, FormatError> {
    calls(events, meaning)
}

fn meaning(pair: &Paired) -> Meaning<SetOp, SetRet> {
    let op = match pair.f_name() {
        Some("add") => SetOp::Add((&pair.called).into()),
        Some("read") => SetOp::Read,
        _ => return Err(pair.unexpected(":add and :read")),
    };
    let ret = match (pair.outcome, &op) {
        (Outcome::Fail, _) => return Ok(None),
        (Outcome::Unknown, _) => None,
        (Outcome::Ok, SetOp::Add(_)) => Some(SetRet::Added),
        (Outcome::Ok, SetOp::Read) => {
            let elements = pair.answered.items();
            let elements =
                elements.ok_or_else(|| pair.wrong_value(&pair.answered, "a collection"))?;
            Some(SetRet::Read(elements.iter().map(Into::into).collect()))
        }
    };
    Ok(Some((op, ret)))
}
