//! A lock: `:acquire` and `:release`. As Knossos has it, anybody may release what is held: processes
//! get new numbers after an unknown outcome, so that the one who holds it cannot be told.

use super::super::calls::Outcome;
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Meaning, calls};
use crate::model::lock::{Anybody, LockOp, LockRet};
use crate::search::Call;

/// The calls on a lock.
pub fn mutex(events: impl Events) -> Result<Vec<Call<LockOp<Anybody>, LockRet>>, FormatError> {
    calls(events, meaning)
}

fn meaning(pair: &Paired) -> Meaning<LockOp<Anybody>, LockRet> {
    let op = match pair.f_name() {
        Some("acquire") => LockOp::Acquire(Anybody),
        Some("release") => LockOp::Release(Anybody),
        _ => return Err(pair.unexpected(":acquire and :release")),
    };
    Ok(match pair.outcome {
        Outcome::Ok => Some((op, Some(LockRet::Done))),
        Outcome::Fail => None,
        Outcome::Unknown => Some((op, None)),
    })
}
