//! Follows a history that is being written: reads on where others would find its end.

use std::cell::RefCell;
use std::io::{self, BufRead, Read};

use crate::formats::compressed;
use crate::history::error::{InputError, Position};
use crate::history::jsonl;
use crate::history::record::Record;
use crate::verdict::Report;

use super::judge::{Stream, StreamOptions};

/// What to do where nothing more is there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Look again: the caller has waited.
    Again,
    /// Nothing more will come.
    Gone,
}

/// Reads and judges a history, which may be compressed with zstd, until its end, until the first
/// violation, or until `wait` says that its writer is gone: then it is unknown at best. `wait` is
/// called whenever nothing more is there.
pub fn follow<'a>(
    input: impl Read + 'a,
    options: StreamOptions,
    wait: &'a mut dyn FnMut() -> Wait,
) -> Result<Report, InputError> {
    let judged: RefCell<Option<Stream>> = RefCell::new(None);
    let mut is_gone = false;
    let read = {
        let growing = Growing { input, judged: &judged, wait, is_gone: &mut is_gone };
        let position = Position::line(1);
        match compressed::plain(growing) {
            Ok(plain) => read(plain, options, &judged),
            Err(source) => Err(InputError::Read { position, source }),
        }
    };
    let stream = judged.into_inner();
    match (read, stream) {
        (Ok(()), Some(stream)) => Ok(stream.finish()),
        (Err(_), Some(stream)) if is_gone || stream.violation().is_some() => Ok(stream.cut_off()),
        (Err(error), _) => Err(error),
        (Ok(()), None) => Err(InputError::malformed(1, "a header must come first")),
    }
}

/// Hands records on until the end, or until the first violation.
fn read(
    plain: impl BufRead,
    options: StreamOptions,
    judged: &RefCell<Option<Stream>>,
) -> Result<(), InputError> {
    let mut reader = jsonl::Reader::new(plain);
    while let Some((line, record)) = reader.next_record()? {
        let mut judged = judged.borrow_mut();
        match (judged.as_mut(), record) {
            (Some(stream), record) => {
                let is_end = matches!(record, Record::End(_));
                stream.take(line, record)?;
                if is_end || stream.violation().is_some() {
                    return Ok(());
                }
            }
            (None, Record::Header(header)) => {
                *judged = Some(Stream::begin(header, options)?);
            }
            (None, _) => {
                return Err(InputError::malformed(line, "the first record must be a header"));
            }
        }
    }
    Ok(())
}

/// An input that grows. While nothing more is there, the stream goes on with what it has.
struct Growing<'a, 'j, R> {
    input: R,
    judged: &'j RefCell<Option<Stream>>,
    wait: &'a mut dyn FnMut() -> Wait,
    is_gone: &'j mut bool,
}

impl<R: Read> Read for Growing<'_, '_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.input.read(into)?;
            if read > 0 || into.is_empty() || *self.is_gone {
                return Ok(read);
            }
            if let Some(stream) = self.judged.borrow_mut().as_mut() {
                stream.settle();
                if stream.violation().is_some() {
                    return Ok(0);
                }
            }
            *self.is_gone = (self.wait)() == Wait::Gone;
        }
    }
}
