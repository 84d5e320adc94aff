//! Jepsen's log lines of old: `INFO  jepsen.util - 3<tab>:invoke<tab>:cas<tab>[1 2]`.
//!
//! Lines of other loggers are passed over. A keyword where an outcome's value should be is what went
//! wrong: `:info :cas :timed-out` is an operation of unknown outcome.

use std::io::Read;

use super::edn::{Edn, Field, Reader as Forms};
use super::error::{FormatError, Place};
use super::jepsen::{Event, Events, JepsenOp, Kind};
use super::scanner::Scanner;

/// What stands before an operation. Whatever comes before it, a time or a level, says nothing.
pub(crate) const MARK: &[u8] = b"jepsen.util - ";
/// Text of one line.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Reads a history.
#[derive(Debug)]
pub struct Reader<R> {
    scanner: Scanner<R>,
    line: Vec<u8>,
    position: u64,
}

impl<R: Read> Reader<R> {
    /// Reads from the start of an input.
    pub fn new(input: R) -> Reader<R> {
        Reader { scanner: Scanner::new(input), line: Vec::new(), position: 0 }
    }

    /// Takes the next line, without its end; its place, or `None` at the end.
    fn next_line(&mut self) -> Result<Option<Place>, FormatError> {
        let place = self.scanner.place();
        if self.scanner.peek()?.is_none() {
            return Ok(None);
        }
        self.line.clear();
        while self.scanner.take_run(|byte| byte != b'\n', |run| self.line.extend_from_slice(run))? {
            if self.line.len() > LINE_BYTES_MAX {
                let reason = format!("a line of more than {LINE_BYTES_MAX} bytes");
                return Err(FormatError::too_large(place, reason));
            }
        }
        self.scanner.take()?;
        Ok(Some(place))
    }
}

impl<R: Read> Events for Reader<R> {
    fn next_event(&mut self) -> Result<Option<Event>, FormatError> {
        while let Some(place) = self.next_line()? {
            let Some(mark) = self.line.windows(MARK.len()).position(|bytes| bytes == MARK) else {
                continue;
            };
            let (before, text) = self.line.split_at(mark + MARK.len());
            let op_place = place.after(before);
            let position = self.position;
            if let Some(fields) = fields(op_place, text)? {
                self.position += 1;
                let mut op = JepsenOp::from_fields(op_place, position, fields)?;
                explain(&mut op);
                return Ok(Some(Event { place: op_place, position, op }));
            }
        }
        Ok(None)
    }
}

/// The columns of an operation. `None` if the line is a remark: it begins with neither a number nor
/// a keyword.
fn fields(place: Place, text: &[u8]) -> Result<Option<Vec<Field>>, FormatError> {
    if !text.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b':') {
        return Ok(None);
    }
    let mut forms = Forms::at(text, place);
    let mut fields = Vec::new();
    let mut names = ["process", "type", "f", "value", "error"].into_iter();
    while let Some((place, value)) = forms.next_form()? {
        let Some(name) = names.next() else {
            return Err(FormatError::syntax(place, "an operation has at most five columns"));
        };
        fields.push(Field { place, key: Edn::keyword(name), value });
    }
    if fields.len() < 4 {
        let reason = "an operation has columns for process, type, function and value";
        return Err(FormatError::syntax(forms.place(), reason));
    }
    Ok(Some(fields))
}

/// Moves what went wrong from the value to the error.
fn explain(op: &mut JepsenOp) {
    let failed = matches!(op.kind, Kind::Fail | Kind::Info) && op.process.client().is_some();
    if failed && op.error.is_none() && matches!(op.value, Edn::Keyword(_)) {
        op.error = Some(std::mem::replace(&mut op.value, Edn::Nil));
    }
}
