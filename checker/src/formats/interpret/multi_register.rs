//! Several registers, of which an operation reads and writes some at once: `:txn` with
//! `[[:read key nil] [:write key value]]`.

use super::super::calls::{MultiStep, Outcome, Value};
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Meaning, calls, each_mop};
use crate::search::Call;

/// A call on several registers; it returns what its reads saw, in order.
pub type MultiCall = Call<Vec<MultiStep>, Vec<Value>>;

/// The calls on registers.
pub fn multi_register(events: impl Events) -> Result<Vec<MultiCall>, FormatError> {
    calls(events, meaning)
}

fn meaning(pair: &Paired) -> Meaning<Vec<MultiStep>, Vec<Value>> {
    if pair.f_name() != Some("txn") {
        return Err(pair.unexpected(":txn"));
    }
    let steps = each_mop(pair, &pair.called)?.into_iter().map(|mop| match mop.f {
        "read" | "r" => Ok(MultiStep::Read(mop.key)),
        "write" | "w" => Ok(MultiStep::Write(mop.key, mop.value.into())),
        _ => Err(pair.wrong_value(&pair.called, "made of [:read key nil] and [:write key value]")),
    });
    let steps: Vec<MultiStep> = steps.collect::<Result<_, _>>()?;
    let ret = match pair.outcome {
        Outcome::Fail => return Ok(None),
        Outcome::Unknown => None,
        Outcome::Ok => {
            let answers = each_mop(pair, &pair.answered)?;
            let read = answers.iter().filter(|mop| matches!(mop.f, "read" | "r"));
            let read: Vec<Value> = read.map(|mop| mop.value.into()).collect();
            let asked = steps.iter().filter(|step| matches!(step, MultiStep::Read(_))).count();
            if read.len() != asked {
                return Err(pair.wrong_value(&pair.answered, "an answer to each read"));
            }
            Some(read)
        }
    };
    Ok(Some((steps, ret)))
}
