//! A lock: `:acquire` and `:release`.

use super::super::calls::{MutexOp, Outcome};
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Meaning, calls};
use crate::search::Call;

/// The calls on a lock.
pub fn mutex(events: impl Events) -> Result<Vec<Call<MutexOp, ()>>, FormatError> {
    calls(events, meaning)
}

fn meaning(pair: &Paired) -> Meaning<MutexOp, ()> {
    let op = match pair.f_name() {
        Some("acquire") => MutexOp::Acquire,
        Some("release") => MutexOp::Release,
        _ => return Err(pair.unexpected(":acquire and :release")),
    };
    Ok(match pair.outcome {
        Outcome::Ok => Some((op, Some(()))),
        Outcome::Fail => None,
        Outcome::Unknown => Some((op, None)),
    })
}
