//! Jepsen histories as JSON, as elle-cli reads them: an array of objects, or one object after another.
//!
//! JSON has no keywords, and object keys are strings. Read, these become keywords: the names of
//! fields, `type`, `f`, the functions of a transaction's micro-operations, and keys of objects (whole
//! numbers where they are written so: accounts). All other strings stay strings. Written, keywords
//! and symbols become strings, sets and lists become arrays, tags are dropped.

use std::io::{Read, Write};

use super::edn::{Edn, Field, is_token};
use super::error::{FormatError, Place};
use super::jepsen::{Event, EventSink, Events, JepsenOp};
use super::json::Json;
use super::left_out::LeftOut;

/// Text of one operation.
const OPERATION_BYTES_MAX: usize = 16 << 20;

/// Reads a history.
#[derive(Debug)]
pub struct Reader<R> {
    json: Json<R>,
    array: Array,
    position: u64,
}

/// Where in the array we are, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Array {
    Unknown,
    None,
    Open(Place),
    Ended,
}

impl<R: Read> Reader<R> {
    /// Reads from the start of an input.
    pub fn new(input: R) -> Reader<R> {
        let json = Json::at(input, Place::START, OPERATION_BYTES_MAX);
        Reader { json, array: Array::Unknown, position: 0 }
    }

    /// Goes to the next operation; whether there is one.
    fn seek(&mut self) -> Result<bool, FormatError> {
        match self.array {
            Array::Unknown => {
                let next = self.json.peek()?;
                let place = self.json.place();
                self.array = Array::None;
                if next == Some(b'[') {
                    self.json.expect(b'[')?;
                    self.array = Array::Open(place);
                    if self.json.takes(b']')? {
                        return self.end();
                    }
                }
            }
            Array::Open(opened) => {
                if self.json.takes(b']')? {
                    return self.end();
                }
                if self.json.peek()?.is_none() {
                    let reason = format!("the text ends in the history that begins at {opened}");
                    return Err(FormatError::syntax(self.json.place(), reason));
                }
                self.json.expect(b',')?;
            }
            Array::None => {}
            Array::Ended => return Ok(false),
        }
        Ok(self.array != Array::None || self.json.peek()?.is_some())
    }

    fn end(&mut self) -> Result<bool, FormatError> {
        self.array = Array::Ended;
        if self.json.peek()?.is_some() {
            let reason = "text after the end of the history";
            return Err(FormatError::syntax(self.json.place(), reason));
        }
        Ok(false)
    }
}

impl<R: Read> Events for Reader<R> {
    fn next_event(&mut self) -> Result<Option<Event>, FormatError> {
        if !self.seek()? {
            return Ok(None);
        }
        let (place, value) = self.json.parse::<Edn>()?;
        let Edn::Map(pairs) = value else {
            let reason = format!("an operation is an object, but here is {}", value.kind());
            return Err(FormatError::syntax(place, reason));
        };
        let fields = pairs.into_iter().map(|(key, value)| field(place, key, value)).collect();
        let position = self.position;
        self.position += 1;
        Ok(Some(Event { place, position, op: JepsenOp::from_fields(place, position, fields)? }))
    }
}

fn field(place: Place, key: Edn, value: Edn) -> Field {
    let value = match key.name() {
        Some("type" | "f") => to_keyword(value),
        Some("value") => with_keywords(value),
        _ => value,
    };
    Field { place, key: to_keyword(key), value }
}

fn to_keyword(form: Edn) -> Edn {
    match form {
        Edn::String(name) if is_keyword(&name) => Edn::Keyword(name),
        other => other,
    }
}

fn is_keyword(name: &str) -> bool {
    is_token(name) && !name.starts_with(':')
}

/// A value with keywords where Jepsen has them.
fn with_keywords(value: Edn) -> Edn {
    match value {
        Edn::Vector(items) if is_mops(&items) => Edn::Vector(items.into_iter().map(mop).collect()),
        Edn::Vector(items) => Edn::Vector(items.into_iter().map(with_keywords).collect()),
        other => with_map_keys(other),
    }
}

/// A value with keys of maps that are no strings.
fn with_map_keys(value: Edn) -> Edn {
    match value {
        Edn::Vector(items) => Edn::Vector(items.into_iter().map(with_map_keys).collect()),
        Edn::Map(pairs) => Edn::Map(
            pairs.into_iter().map(|(key, value)| (map_key(key), with_map_keys(value))).collect(),
        ),
        other => other,
    }
}

/// Whether these are a transaction's micro-operations: `["append", 1, 2]`.
fn is_mops(items: &[Edn]) -> bool {
    let is_mop = |item: &Edn| matches!(item, Edn::Vector(parts) if matches!(parts.first(), Some(Edn::String(_))));
    !items.is_empty() && items.iter().all(is_mop)
}

fn mop(item: Edn) -> Edn {
    let Edn::Vector(parts) = item else { return item };
    let mut parts = parts.into_iter();
    let function = parts.next().map(to_keyword);
    Edn::Vector(function.into_iter().chain(parts.map(with_map_keys)).collect())
}

fn map_key(key: Edn) -> Edn {
    match key {
        Edn::String(name) => match name.parse::<i64>() {
            Ok(number) if number.to_string() == name => Edn::Integer(number),
            _ => to_keyword(Edn::String(name)),
        },
        other => other,
    }
}

/// Writes a history.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    text: String,
    is_begun: bool,
    left_out: LeftOut,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Writer<W> {
        Writer { out, text: String::new(), is_begun: false, left_out: LeftOut::default() }
    }
}

impl<W: Write> EventSink for Writer<W> {
    fn write(&mut self, event: &Event) -> Result<(), FormatError> {
        self.text.clear();
        self.text.push_str(if self.is_begun { ",\n" } else { "[" });
        self.is_begun = true;
        let begin = self.text.len();
        to_json(&Edn::Map(event.op.to_pairs()), &mut self.text)
            .map_err(|reason| FormatError::untellable(event.place, reason))?;
        if !is_read_as(&self.text[begin..], &event.op) {
            self.left_out.add(
                "operations' keywords, lists, sets and tags: strings and arrays stand for them",
            );
        }
        Ok(self.out.write_all(self.text.as_bytes())?)
    }

    fn finish(&mut self) -> Result<(), FormatError> {
        let end: &[u8] = if self.is_begun { b"]\n" } else { b"[]\n" };
        self.out.write_all(end)?;
        Ok(self.out.flush()?)
    }

    fn left_out(&self) -> LeftOut {
        self.left_out.clone()
    }
}

/// Whether an operation is read from its text as it is.
fn is_read_as(text: &str, op: &JepsenOp) -> bool {
    let Ok(Edn::Map(pairs)) = serde_json::from_str::<Edn>(text) else { return false };
    let fields = pairs.into_iter().map(|(key, value)| field(Place::START, key, value)).collect();
    JepsenOp::from_fields(Place::START, op.index, fields).is_ok_and(|read| read == *op)
}

/// Appends a form as JSON; why not, if it cannot be.
fn to_json(form: &Edn, text: &mut String) -> Result<(), String> {
    match form {
        Edn::Nil => text.push_str("null"),
        Edn::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Edn::Integer(value) => text.push_str(&value.to_string()),
        // An address, which only names something.
        Edn::Number(address) if address.starts_with("0x") => push_string(address, text),
        Edn::Number(number) => text.push_str(&json_number(number)?),
        Edn::Char(value) => push_string(&value.to_string(), text),
        Edn::String(value) | Edn::Symbol(value) | Edn::Keyword(value) => push_string(value, text),
        Edn::List(items) | Edn::Vector(items) | Edn::Set(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                to_json(item, text)?;
            }
            text.push(']');
        }
        Edn::Map(pairs) => push_object(pairs, text)?,
        Edn::Tagged(_, form) => to_json(form, text)?,
    }
    Ok(())
}

fn push_object(pairs: &[(Edn, Edn)], text: &mut String) -> Result<(), String> {
    let mut names: Vec<String> = Vec::new();
    text.push('{');
    for (key, value) in pairs {
        let name = match key {
            Edn::Integer(number) => number.to_string(),
            Edn::String(name) | Edn::Symbol(name) | Edn::Keyword(name) => name.clone(),
            other => {
                return Err(format!(
                    "a key of an object in JSON cannot be {}: {other}",
                    other.kind()
                ));
            }
        };
        if !names.is_empty() {
            text.push(',');
        }
        push_string(&name, text);
        text.push(':');
        to_json(value, text)?;
        names.push(name);
    }
    names.sort_unstable();
    if let Some([twice, _]) = names.array_windows().find(|[one, other]| one == other) {
        return Err(format!("in JSON two keys of a map would be the same: \"{twice}\""));
    }
    text.push('}');
    Ok(())
}

fn json_number(number: &str) -> Result<String, String> {
    let plain = number.strip_suffix(['N', 'M']).unwrap_or(number);
    let plain = plain.strip_prefix('+').unwrap_or(plain);
    // Every valid text parses, and nothing else: `1/3`, `##Inf`, `1.`.
    match serde_json::from_str::<serde_json::Number>(plain) {
        Ok(_) => Ok(plain.to_owned()),
        Err(_) => Err(format!("JSON has no number {number}")),
    }
}

fn push_string(value: &str, text: &mut String) {
    let quoted = serde_json::to_string(value).expect("strings are JSON");
    text.push_str(&quoted);
}
