//! The bytes of an input, one at a time or in runs, each with its place.
//!
//! Memory holds one buffer, whatever the input's length.

use std::io::{self, Read};

use super::error::{FormatError, Place};

/// What is read at first: many inputs are one line.
const FIRST_BYTES: usize = 1 << 10;
/// What is read at a time later on.
const BUFFER_BYTES: usize = 64 << 10;

/// An input and how far it was read.
#[derive(Debug)]
pub(crate) struct Scanner<R> {
    input: R,
    buffer: Vec<u8>,
    /// First byte of the buffer that was not taken.
    next: usize,
    /// Place of that byte.
    place: Place,
    is_at_end: bool,
    /// What the next read asks for.
    asked_bytes: usize,
}

impl<R: Read> Scanner<R> {
    /// Reads from the start of an input.
    pub(crate) fn new(input: R) -> Scanner<R> {
        Scanner::at(input, Place::START)
    }

    /// Reads an input whose first byte lies at `place` of something larger.
    pub(crate) fn at(input: R, place: Place) -> Scanner<R> {
        Scanner {
            input,
            buffer: Vec::new(),
            next: 0,
            place,
            is_at_end: false,
            asked_bytes: FIRST_BYTES,
        }
    }

    /// Place of the next byte.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The next byte, without taking it.
    pub(crate) fn peek(&mut self) -> Result<Option<u8>, FormatError> {
        self.fill(1)?;
        Ok(self.buffer.get(self.next).copied())
    }

    /// The byte after the next one, without taking either.
    pub(crate) fn peek_second(&mut self) -> Result<Option<u8>, FormatError> {
        self.fill(2)?;
        Ok(self.buffer.get(self.next + 1).copied())
    }

    /// Takes the next byte.
    pub(crate) fn take(&mut self) -> Result<Option<u8>, FormatError> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.next += 1;
            self.place = self.place.after(&[byte]);
        }
        Ok(byte)
    }

    /// Takes bytes for as long as they are wanted and one buffer holds them, and hands them to
    /// `see`. Whether more may follow: the run ended where the buffer did.
    pub(crate) fn take_run(
        &mut self,
        is_wanted: impl Fn(u8) -> bool,
        see: impl FnOnce(&[u8]),
    ) -> Result<bool, FormatError> {
        self.fill(1)?;
        let rest = &self.buffer[self.next..];
        let length = rest.iter().position(|byte| !is_wanted(*byte)).unwrap_or(rest.len());
        let run = &rest[..length];
        see(run);
        self.place = self.place.after(run);
        let is_cut = length > 0 && length == rest.len();
        self.next += length;
        Ok(is_cut)
    }

    /// Makes `wanted` bytes available, unless the input ends before.
    fn fill(&mut self, wanted: usize) -> Result<(), FormatError> {
        while self.buffer.len() - self.next < wanted && !self.is_at_end {
            self.buffer.drain(..self.next);
            self.next = 0;
            let kept = self.buffer.len();
            self.buffer.resize(kept + self.asked_bytes, 0);
            let read = match self.input.read(&mut self.buffer[kept..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.buffer.truncate(kept);
                    continue;
                }
                other => other,
            };
            self.buffer.truncate(kept + *read.as_ref().unwrap_or(&0));
            let read = read.map_err(|source| FormatError::Read { place: self.place, source })?;
            self.is_at_end = read == 0;
            self.asked_bytes = BUFFER_BYTES;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, as a slow pipe does.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(into.len()).min(1);
            let (now, later) = self.0.split_at(length);
            into[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    #[test]
    fn bytes_come_in_order_whatever_the_pieces() {
        let text = b"ab\ncd";
        let mut scanner = Scanner::new(Slow(text));
        assert_eq!(scanner.peek_second().unwrap(), Some(b'b'));
        assert_eq!(scanner.take().unwrap(), Some(b'a'));
        let mut run = Vec::new();
        while scanner.take_run(|byte| byte != b'd', |bytes| run.extend_from_slice(bytes)).unwrap() {
        }
        assert_eq!(run, b"b\nc");
        assert_eq!(scanner.place(), Place { line: 2, column: 2, offset: 4 });
        assert_eq!(scanner.take().unwrap(), Some(b'd'));
        assert_eq!((scanner.take().unwrap(), scanner.peek_second().unwrap()), (None, None));
    }

    #[test]
    fn a_run_longer_than_the_buffer_is_cut() {
        let text = vec![b'x'; BUFFER_BYTES + 7];
        let mut scanner = Scanner::new(text.as_slice());
        let mut lengths = Vec::new();
        while scanner.take_run(|_| true, |bytes| lengths.push(bytes.len())).unwrap() {}
        assert_eq!(lengths, [FIRST_BYTES, BUFFER_BYTES + 7 - FIRST_BYTES, 0]);
    }
}
