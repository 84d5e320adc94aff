//! A register, or one for each key: `:read`, `:write v`, `:cas [from to]`.
//!
//! With independent keys a value is a pair, `[key value]`, for a read `[key nil]`. Values of a
//! register are no vectors, so the pair shows without its tag. Nil is a value like others, and what a
//! register begins with unless something else is said.

use super::super::calls::{ObjectKey, Outcome, Value};
use super::super::edn::Edn;
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Meaning, calls};
use crate::model::cas_register::{CasOp, CasRet};
use crate::model::keyed::KeyedOp;
use crate::search::Call;

/// What it means that a `:cas` failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedCas {
    /// It took no effect, and nothing more is known: Jepsen's and Knossos' reading.
    TellsNothing,
    /// The register held something else then: Porcupine's reading of Jepsen's log lines.
    HeldAnother,
}

/// An operation on one of several registers.
pub type KeyedCas = KeyedOp<ObjectKey, CasOp<Value>>;

/// The calls on registers.
pub fn cas_register(
    events: impl Events,
    failed: FailedCas,
) -> Result<Vec<Call<KeyedCas, CasRet<Value>>>, FormatError> {
    calls(events, |pair| meaning(pair, failed))
}

fn meaning(pair: &Paired, failed: FailedCas) -> Meaning<KeyedCas, CasRet<Value>> {
    let called = &pair.called;
    let (key, op) = match pair.f_name() {
        Some("read") => (called.pair().map(|(key, _)| key), CasOp::Read),
        Some("write") => {
            let (key, value) = keyed(called, called.pair());
            (key, CasOp::Write(value.into()))
        }
        Some("cas") => {
            // A value is no vector, so a pair in second place is what to compare and write.
            let outer = called.pair().filter(|(_, inner)| inner.pair().is_some());
            let (key, values) = keyed(called, outer);
            let Some((from, to)) = values.pair() else {
                return Err(pair.wrong_value(called, "a pair [from to]"));
            };
            (key, CasOp::Cas(from.into(), to.into()))
        }
        _ => return Err(pair.unexpected(":read, :write and :cas")),
    };
    let is_cas = matches!(op, CasOp::Cas(..));
    let ret = match (pair.outcome, &op) {
        (Outcome::Unknown, _) => None,
        (Outcome::Fail, _) if !(is_cas && failed == FailedCas::HeldAnother) => return Ok(None),
        (Outcome::Fail, _) => Some(CasRet::Differs),
        (Outcome::Ok, CasOp::Read) => Some(CasRet::Value(Some(read(pair, key)?.into()))),
        (Outcome::Ok, CasOp::Write(_)) => Some(CasRet::Written),
        (Outcome::Ok, CasOp::Cas(..)) => Some(CasRet::Swapped),
    };
    let key = key.map_or(ObjectKey::Only, |key| ObjectKey::Of(key.into()));
    Ok(Some((KeyedOp { key, op }, ret)))
}

/// What a read returned.
fn read<'a>(pair: &'a Paired, key: Option<&Edn>) -> Result<&'a Edn, FormatError> {
    if key.is_none() {
        return Ok(&pair.answered);
    }
    let answered = pair.answered.pair().filter(|(answered, _)| Some(*answered) == key);
    let answered = answered
        .ok_or_else(|| pair.wrong_value(&pair.answered, "a pair [key value] of the called key"))?;
    Ok(answered.1)
}

/// The key and value of a pair, or all of the value without a key.
fn keyed<'a>(whole: &'a Edn, pair: Option<(&'a Edn, &'a Edn)>) -> (Option<&'a Edn>, &'a Edn) {
    pair.map_or((None, whole), |(key, value)| (Some(key), value))
}
