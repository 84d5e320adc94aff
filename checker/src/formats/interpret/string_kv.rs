//! A store of strings: `:get [key nil]`, `:put [key text]`, `:append [key text]`.

use std::sync::Arc;

use super::super::calls::{Keyed, Outcome, StringOp, StringRet};
use super::super::edn::Edn;
use super::super::error::FormatError;
use super::super::jepsen::Events;
use super::super::pairing::Paired;
use super::{Meaning, calls};
use crate::search::Call;

/// The calls on a store.
pub fn string_kv(
    events: impl Events,
) -> Result<Vec<Call<Keyed<StringOp>, StringRet>>, FormatError> {
    calls(events, meaning)
}

fn meaning(pair: &Paired) -> Meaning<Keyed<StringOp>, StringRet> {
    let (key, value) = of_key(pair, &pair.called)?;
    let op = match pair.f_name() {
        Some("get" | "read") => StringOp::Get,
        Some("put" | "write") => StringOp::Put(string(pair, value)?),
        Some("append") => StringOp::Append(string(pair, value)?),
        _ => return Err(pair.unexpected(":get, :put and :append")),
    };
    let ret = match (pair.outcome, &op) {
        (Outcome::Fail, _) => return Ok(None),
        (Outcome::Unknown, _) => None,
        (Outcome::Ok, StringOp::Get) => {
            let (_, got) = of_key(pair, &pair.answered)?;
            let got = if *got == Edn::Nil { None } else { Some(string(pair, got)?) };
            Some(StringRet::Got(got))
        }
        (Outcome::Ok, StringOp::Put(_) | StringOp::Append(_)) => Some(StringRet::Done),
    };
    Ok(Some((Keyed { key: Some(key.into()), op }, ret)))
}

fn of_key<'a>(pair: &Paired, value: &'a Edn) -> Result<(&'a Edn, &'a Edn), FormatError> {
    value.pair().ok_or_else(|| pair.wrong_value(value, "a pair [key value]"))
}

fn string(pair: &Paired, form: &Edn) -> Result<Arc<str>, FormatError> {
    match form.untagged() {
        Edn::String(text) => Ok(text.as_str().into()),
        _ => Err(pair.wrong_value(form, "a string")),
    }
}
