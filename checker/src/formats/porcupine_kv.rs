//! Porcupine's histories of a key-value store: one map a line, with a `:key` and strings.
//!
//! ```text
//!  {:process 0, :type :invoke, :f :append, :key "3", :value "x"}
//! ```
//!
//! Read, key and value become Jepsen's pair for independent keys: `:value ["3" "x"]`. Porcupine reads
//! these files by patterns, so each line is written as it expects them, and what it has no pattern
//! for cannot be told: failures, and reads without an answer. A write without an answer is told by its
//! call alone. To Porcupine a key that is not there holds the empty string.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use super::edn::Edn;
use super::error::{FormatError, Place};
use super::jepsen::{Event, EventSink, Events, Kind};
use super::jepsen_edn;
use super::left_out::LeftOut;

/// Reads a history.
#[derive(Debug)]
pub struct Reader<R> {
    inner: jepsen_edn::Reader<R>,
}

impl<R: Read> Reader<R> {
    /// Reads from the start of an input.
    pub fn new(input: R) -> Reader<R> {
        Reader { inner: jepsen_edn::Reader::new(input) }
    }
}

impl<R: Read> Events for Reader<R> {
    fn next_event(&mut self) -> Result<Option<Event>, FormatError> {
        let Some(mut event) = self.inner.next_event()? else { return Ok(None) };
        let op = &mut event.op;
        let is_key = |(name, _): &(Edn, Edn)| *name == Edn::keyword("key");
        let Some(at) = op.extra.iter().position(is_key) else {
            return Err(FormatError::malformed(event.place, "an operation without :key"));
        };
        if !matches!(op.f_name(), Some("get" | "put" | "append")) {
            let reason = "an operation is :get, :put or :append";
            return Err(FormatError::malformed(event.place, reason));
        }
        let (_, key) = op.extra.remove(at);
        let value = std::mem::replace(&mut op.value, Edn::Nil);
        op.value = Edn::Vector(vec![key, value]);
        Ok(Some(event))
    }
}

/// Writes a history.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// Calls that have not returned: where they are, and whether they read.
    open: BTreeMap<u64, (Place, bool)>,
    left_out: LeftOut,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Writer<W> {
        Writer { out, open: BTreeMap::new(), left_out: LeftOut::default() }
    }
}

impl<W: Write> EventSink for Writer<W> {
    fn write(&mut self, event: &Event) -> Result<(), FormatError> {
        let op = &event.op;
        let untellable = |reason: &str| Err(FormatError::untellable(event.place, reason));
        let Some(process) = op.process.client() else {
            self.left_out.add("lines that are of no client");
            return Ok(());
        };
        let f = match op.f_name() {
            Some("get" | "read") => "get",
            Some("put" | "write") => "put",
            Some("append") => "append",
            _ => return untellable("Porcupine's key-value files have only :get, :put and :append"),
        };
        let reads = f == "get";
        match op.kind {
            Kind::Invoke => {
                self.open.insert(process, (event.place, reads));
            }
            Kind::Ok => {
                self.open.remove(&process);
            }
            Kind::Info if !reads => {
                self.left_out.add("ends of unknown outcome: the call tells as much");
                return Ok(());
            }
            Kind::Info => return untellable(OPEN_READ),
            Kind::Fail => return untellable("Porcupine's key-value files have no failures"),
        }
        let Some((key, value)) = op.value.pair() else {
            return untellable("not the value of one key: [key value]");
        };
        let (Some(key), Some(value)) = (text(key), value_text(value, reads, op.kind)) else {
            return untellable("Porcupine's key-value files have strings for keys and values");
        };
        if op.time.is_some() {
            self.left_out.add("times");
        }
        if op.error.is_some() || !op.extra.is_empty() {
            self.left_out.add("errors and other fields of operations");
        }
        let kind = op.kind.name();
        writeln!(
            self.out,
            "{{:process {process}, :type :{kind}, :f :{f}, :key {key}, :value {value}}}"
        )?;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FormatError> {
        if let Some((place, _)) = self.open.values().find(|(_, reads)| *reads) {
            return Err(FormatError::untellable(*place, OPEN_READ));
        }
        Ok(self.out.flush()?)
    }

    fn left_out(&self) -> LeftOut {
        self.left_out.clone()
    }
}

const OPEN_READ: &str = "Porcupine takes a :get without an answer for one that read nothing";

/// A string, quoted; a whole number as its digits.
fn text(form: &Edn) -> Option<String> {
    match form.untagged() {
        Edn::String(_) => Some(form.untagged().to_string()),
        Edn::Integer(number) => Some(format!("\"{number}\"")),
        _ => None,
    }
}

fn value_text(value: &Edn, reads: bool, kind: Kind) -> Option<String> {
    match (reads, kind) {
        (true, Kind::Invoke) => Some("nil".into()),
        (true, _) if *value == Edn::Nil => Some("\"\"".into()),
        _ => text(value),
    }
}
