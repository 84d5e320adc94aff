//! What an object begins with, as it is said in EDN.

use std::collections::BTreeMap;

use crate::formats::FormatError;
use crate::formats::calls::Value;
use crate::formats::edn::Edn;
use crate::formats::interpret::Model;
use crate::model::bank::Balances;

/// Of a register.
pub(super) fn value(initial: Option<&Edn>) -> Value {
    initial.map_or(Value::Nil, Value::from)
}

/// Of several registers.
pub(super) fn registers(initial: Option<&Edn>) -> Result<BTreeMap<Value, Value>, FormatError> {
    let expected = "a map of registers and what they hold: {:x 0, :y 0}";
    map(initial.unwrap_or(&Edn::Map(Vec::new())), expected, |value| Some(value.into()))
}

/// Of the accounts of a bank, if it is said.
pub(super) fn balances(initial: Option<&Edn>) -> Result<Option<Balances<Value>>, FormatError> {
    let expected = "a map of accounts and balances: {0 10, 1 10}";
    initial.map(|initial| map(initial, expected, whole)).transpose()
}

/// Of a counter.
pub(super) fn sum(initial: Option<&Edn>) -> Result<i64, FormatError> {
    let Some(initial) = initial else { return Ok(0) };
    whole(initial).ok_or_else(|| wrong(initial, "a whole number"))
}

/// Of what begins empty.
pub(super) fn none(model: Model, initial: Option<&Edn>) -> Result<(), FormatError> {
    match initial {
        None => Ok(()),
        Some(initial) => {
            Err(FormatError::request(format!("--initial {initial}: {model} begins empty")))
        }
    }
}

fn map<T>(
    initial: &Edn,
    expected: &str,
    value: impl Fn(&Edn) -> Option<T>,
) -> Result<BTreeMap<Value, T>, FormatError> {
    let Edn::Map(pairs) = initial.untagged() else { return Err(wrong(initial, expected)) };
    let pairs = pairs.iter().map(|(key, own)| Some((key.into(), value(own)?)));
    pairs.collect::<Option<_>>().ok_or_else(|| wrong(initial, expected))
}

fn whole(form: &Edn) -> Option<i64> {
    match form.untagged() {
        Edn::Integer(number) => Some(*number),
        _ => None,
    }
}

fn wrong(initial: &Edn, expected: &str) -> FormatError {
    FormatError::request(format!("--initial {initial}: it must be {expected}"))
}
