//! Several registers, of which an operation reads and writes some at once: `:txn` with
//! `[[:read key nil] [:write key value]]`. A register that was never written is nil.

use super::super::calls::{Outcome, Value};
use super::super::edn::Edn;
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Meaning, calls, each_mop};
use crate::model::multi_register::Access;
use crate::search::Call;

/// The steps of an operation.
pub type Steps = Vec<Access<Value, Value>>;

/// What its reads found, in their order.
pub type Found = Vec<Option<Value>>;

/// The calls on registers.
pub fn multi_register(events: impl Events) -> Result<Vec<Call<Steps, Found>>, FormatError> {
    calls(events, meaning)
}

fn meaning(pair: &Paired) -> Meaning<Steps, Found> {
    if pair.f_name() != Some("txn") {
        return Err(pair.unexpected(":txn"));
    }
    let steps = each_mop(pair, &pair.called)?.into_iter().map(|mop| match mop.f {
        "read" | "r" => Ok(Access::Read(mop.key)),
        // Nobody could tell it from a register that was never written.
        "write" | "w" if *mop.value.untagged() == Edn::Nil => {
            Err(pair.wrong_value(mop.value, "a value that a read tells from nothing"))
        }
        "write" | "w" => Ok(Access::Write(mop.key, mop.value.into())),
        _ => Err(pair.wrong_value(&pair.called, "made of [:read key nil] and [:write key value]")),
    });
    let steps: Steps = steps.collect::<Result<_, _>>()?;
    let ret = match pair.outcome {
        Outcome::Fail => return Ok(None),
        Outcome::Unknown => None,
        Outcome::Ok => Some(found(pair, &steps)?),
    };
    Ok(Some((steps, ret)))
}

/// What the reads found: an answer to each, of its register.
fn found(pair: &Paired, steps: &Steps) -> Result<Found, FormatError> {
    let answers = each_mop(pair, &pair.answered)?;
    let read = answers.into_iter().filter(|mop| matches!(mop.f, "read" | "r"));
    let (answered, found): (Vec<Value>, Found) = read
        .map(|mop| (mop.key, Some(mop.value.into()).filter(|value| *value != Value::Nil)))
        .unzip();
    let asked = steps.iter().filter_map(|step| match step {
        Access::Read(key) => Some(key),
        Access::Write(..) => None,
    });
    if !asked.eq(&answered) {
        return Err(pair.wrong_value(&pair.answered, "an answer to each read"));
    }
    Ok(found)
}
