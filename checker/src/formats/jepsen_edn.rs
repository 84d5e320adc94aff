//! Jepsen's `history.edn`: operations as maps, one after another or in one vector.
//!
//! Maps may bear a tag, as in `#jepsen.history.Op{...}`. Written they stand one a line without a
//! vector around them, which Jepsen, Knossos and elle-cli read, and which can be cut and joined.

use std::io::{Read, Write};

use super::edn::{Edn, Reader as Forms};
use super::error::{FormatError, Place};
use super::jepsen::{Event, EventSink, Events, JepsenOp};

/// Reads a history.
#[derive(Debug)]
pub struct Reader<R> {
    forms: Forms<R>,
    outer: Outer,
    position: u64,
}

/// What is around the operations.
#[derive(Debug, Clone, Copy)]
enum Outer {
    /// Nothing was read yet.
    Unknown,
    /// Nothing.
    Nothing,
    /// A vector or list, which ends with this byte.
    Sequence(u8, Place),
    /// The history has ended.
    Ended,
}

impl<R: Read> Reader<R> {
    /// Reads from the start of an input.
    pub fn new(input: R) -> Reader<R> {
        Reader { forms: Forms::new(input), outer: Outer::Unknown, position: 0 }
    }

    /// Goes to the next operation; `None` if there is none.
    fn seek(&mut self) -> Result<Option<()>, FormatError> {
        if matches!(self.outer, Outer::Ended) {
            return Ok(None);
        }
        let mut next = self.forms.peek_form()?;
        if matches!(self.outer, Outer::Unknown) {
            let close = match next {
                Some(b'[') => Some(b']'),
                Some(b'(') => Some(b')'),
                _ => None,
            };
            self.outer = match close {
                Some(close) => {
                    let opened = self.forms.take_peeked()?;
                    next = self.forms.peek_form()?;
                    Outer::Sequence(close, opened)
                }
                None => Outer::Nothing,
            };
        }
        match (self.outer, next) {
            (Outer::Sequence(close, _), Some(byte)) if byte == close => {
                self.forms.take_peeked()?;
                self.outer = Outer::Ended;
                if self.forms.peek_form()?.is_some() {
                    let reason = "text after the end of the history";
                    return Err(FormatError::syntax(self.forms.place(), reason));
                }
                Ok(None)
            }
            (Outer::Sequence(_, opened), None) => {
                let reason = format!("the text ends in the history that begins at {opened}");
                Err(FormatError::syntax(self.forms.place(), reason))
            }
            (_, None) => {
                self.outer = Outer::Ended;
                Ok(None)
            }
            (_, Some(_)) => Ok(Some(())),
        }
    }
}

impl<R: Read> Events for Reader<R> {
    fn next_event(&mut self) -> Result<Option<Event>, FormatError> {
        if self.seek()?.is_none() {
            return Ok(None);
        }
        let (place, fields) = self.forms.next_map()?;
        let position = self.position;
        self.position += 1;
        Ok(Some(Event { place, position, op: JepsenOp::from_fields(place, position, fields)? }))
    }
}

/// Writes a history.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Writer<W> {
        Writer { out }
    }
}

impl<W: Write> EventSink for Writer<W> {
    fn write(&mut self, event: &Event) -> Result<(), FormatError> {
        Ok(writeln!(self.out, "{}", Edn::Map(event.op.to_pairs()))?)
    }

    fn finish(&mut self) -> Result<(), FormatError> {
        Ok(self.out.flush()?)
    }
}
