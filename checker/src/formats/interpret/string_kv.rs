//! A store of strings: `:get [key nil]`, `:put [key text]`, `:append [key text]`. As Porcupine has it,
//! a key that is not there, nil, holds the empty string.

use super::super::calls::{ObjectKey, Outcome};
use super::super::edn::Edn;
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Meaning, calls};
use crate::model::append::{AppendOp, AppendRet};
use crate::model::keyed::KeyedOp;
use crate::search::Call;

/// An operation on one of several strings.
pub type KeyedAppend = KeyedOp<ObjectKey, AppendOp>;

/// The calls on a store.
pub fn string_kv(events: impl Events) -> Result<Vec<Call<KeyedAppend, AppendRet>>, FormatError> {
    calls(events, meaning)
}

fn meaning(pair: &Paired) -> Meaning<KeyedAppend, AppendRet> {
    let (key, value) = of_key(pair, &pair.called)?;
    let op = match pair.f_name() {
        Some("get" | "read") => AppendOp::Get,
        Some("put" | "write") => AppendOp::Put(string(pair, value)?),
        Some("append") => AppendOp::Append(string(pair, value)?),
        _ => return Err(pair.unexpected(":get, :put and :append")),
    };
    let ret = match (pair.outcome, &op) {
        (Outcome::Fail, _) => return Ok(None),
        (Outcome::Unknown, _) => None,
        (Outcome::Ok, AppendOp::Get) => {
            let (answered, got) = of_key(pair, &pair.answered)?;
            if answered != key {
                return Err(
                    pair.wrong_value(&pair.answered, "a pair [key value] of the called key")
                );
            }
            let is_there = *got != Edn::Nil;
            let got = if is_there { string(pair, got)? } else { String::new() };
            Some(AppendRet::Text(got))
        }
        (Outcome::Ok, AppendOp::Put(_) | AppendOp::Append(_)) => Some(AppendRet::Done),
    };
    Ok(Some((KeyedOp { key: ObjectKey::Of(key.into()), op }, ret)))
}

fn of_key<'a>(pair: &Paired, value: &'a Edn) -> Result<(&'a Edn, &'a Edn), FormatError> {
    value.pair().ok_or_else(|| pair.wrong_value(value, "a pair [key value]"))
}

fn string(pair: &Paired, form: &Edn) -> Result<String, FormatError> {
    match form.untagged() {
        Edn::String(text) => Ok(text.clone()),
        _ => Err(pair.wrong_value(form, "a string")),
    }
}
