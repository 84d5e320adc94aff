//! A counter: `:add n`, and `:read`.

use super::super::calls::Outcome;
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Meaning, calls, whole};
use crate::model::counter::{CounterOp, CounterRet};
use crate::search::Call;

/// The calls on a counter.
pub fn counter(events: impl Events) -> Result<Vec<Call<CounterOp, CounterRet>>, FormatError> {
    calls(events, meaning)
}

fn meaning(pair: &Paired) -> Meaning<CounterOp, CounterRet> {
    let op = match pair.f_name() {
        Some("add") => CounterOp::Add(whole(pair, &pair.called)?),
        Some("read") => CounterOp::Read,
        _ => return Err(pair.unexpected(":add and :read")),
    };
    let ret = match (pair.outcome, &op) {
        (Outcome::Fail, _) => return Ok(None),
        (Outcome::Unknown, _) => None,
        (Outcome::Ok, CounterOp::Add(_)) => Some(CounterRet::Added),
        (Outcome::Ok, CounterOp::Read) => Some(CounterRet::Sum(whole(pair, &pair.answered)?)),
    };
    Ok(Some((op, ret)))
}
