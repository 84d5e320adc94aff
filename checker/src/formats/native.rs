//! Histories of our own as streams of records: the header first, the end left to the file.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use super::error::{FormatError, Place};
use super::left_out::LeftOut;
use super::pairing::Remarks;
use crate::history::jsonl;
use crate::history::lint::OperationLint;
use crate::history::record::Record;

/// A history as it is read.
pub trait Records {
    /// The next record and its place: the header, then the others; `None` at the end.
    fn next_record(&mut self) -> Result<Option<(Place, Record)>, FormatError>;

    /// What was left out so far.
    fn left_out(&self) -> LeftOut {
        LeftOut::default()
    }
}

/// A history as it is written.
pub trait RecordSink {
    /// Writes a record that stands at `place` of the input; the header comes first.
    fn write(&mut self, place: Place, record: &Record) -> Result<(), FormatError>;

    /// Writes what must come last.
    fn finish(&mut self) -> Result<(), FormatError>;

    /// What was left out so far.
    fn left_out(&self) -> LeftOut {
        LeftOut::default()
    }
}

/// Reads JSONL, and checks that each process does one thing at a time.
#[derive(Debug)]
pub struct Reader<R: BufRead> {
    lines: jsonl::Reader<R>,
    lint: OperationLint,
    is_begun: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads from the start of an input.
    pub fn new(input: R) -> Reader<R> {
        Reader { lines: jsonl::Reader::new(input), lint: OperationLint::default(), is_begun: false }
    }
}

impl<R: BufRead> Records for Reader<R> {
    fn next_record(&mut self) -> Result<Option<(Place, Record)>, FormatError> {
        let Some((line, record)) = self.lines.next_record()? else { return Ok(None) };
        let place = Place { line, column: 1, offset: self.lines.record_offset() };
        let is_header = matches!(record, Record::Header(_));
        if is_header == self.is_begun {
            let reason =
                if is_header { "a second header" } else { "the first record must be a header" };
            return Err(FormatError::malformed(place, reason));
        }
        self.is_begun = true;
        match record {
            Record::Op(operation) => {
                self.lint.see(line, &operation)?;
                Ok(Some((place, Record::Op(operation))))
            }
            // The reader has compared its count; whoever writes counts anew.
            Record::End(_) => self.next_record(),
            other => Ok(Some((place, other))),
        }
    }
}

/// Remarks on what is odd in records, and no error: a clock that goes back within a watch. Within a
/// process it is an error, since operations would overlap.
#[derive(Debug, Default)]
pub(crate) struct RecordLint {
    arrived: BTreeMap<u64, u64>,
    pub(crate) remarks: Remarks,
}

impl RecordLint {
    /// Looks at the next record.
    pub(crate) fn see(&mut self, place: Place, record: &Record) {
        let Record::Watch(response) = record else { return };
        let (watch, now) = (response.watch, response.arrived_ns);
        let before = self.arrived.insert(watch, now);
        if let Some(before) = before.filter(|before| *before > now) {
            self.remarks.add(place, || {
                format!("the clock of watch {watch} goes back from {before} ns to {now} ns")
            });
        }
    }
}

/// Writes JSONL.
#[derive(Debug)]
pub struct Writer<W: Write> {
    state: State<W>,
}

#[derive(Debug)]
enum State<W: Write> {
    Fresh(W),
    Begun(jsonl::Writer<W>),
    Ended,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Writer<W> {
        Writer { state: State::Fresh(out) }
    }
}

impl<W: Write> RecordSink for Writer<W> {
    fn write(&mut self, place: Place, record: &Record) -> Result<(), FormatError> {
        match (std::mem::replace(&mut self.state, State::Ended), record) {
            (State::Fresh(out), Record::Header(header)) => {
                self.state = State::Begun(jsonl::Writer::new(out, header)?);
            }
            (State::Begun(mut writer), record) => {
                writer.write(record)?;
                self.state = State::Begun(writer);
            }
            (State::Fresh(_) | State::Ended, _) => {
                return Err(FormatError::malformed(place, "the first record must be a header"));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FormatError> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Begun(writer) => Ok(writer.finish().map(drop)?),
            State::Fresh(_) | State::Ended => {
                Err(FormatError::malformed(Place::START, "a history without a header"))
            }
        }
    }
}
