//! Histories as JSONL: one record a line, the header first and the end last.
//!
//! Reading streams, so that memory holds the records but never the text. Every error says where
//! and why. A file without its end is refused, wherever it is cut off: what is missing is unknown.

use std::io::{self, BufRead, Read as _, Write};

use serde_json::error::Category;

pub use super::line::append_operation;

use super::ending::Ending;
use super::error::{InputError, Position};
use super::record::{End, Header, Record};

/// Writes a history, header first. Without [`Writer::finish`] it is not whole.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    line: Vec<u8>,
    records: u64,
}

impl<W: Write> Writer<W> {
    /// Starts a history. The header is written at once.
    pub fn new(out: W, header: &Header) -> io::Result<Writer<W>> {
        let mut writer = Writer { out, line: Vec::new(), records: 0 };
        writer.write(&Record::Header(header.clone()))?;
        Ok(writer)
    }

    /// Appends a record as one line.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)?;
        self.line.push(b'\n');
        self.records += 1;
        self.out.write_all(&self.line)
    }

    /// Appends lines that [`append_operation`] made, and how many there are.
    pub fn append(&mut self, lines: &[u8], count: u64) -> io::Result<()> {
        self.records += count;
        self.out.write_all(lines)
    }

    /// Hands everything written so far to the system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes the end, flushes, and gives the sink back.
    pub fn finish(mut self) -> io::Result<W> {
        self.write(&Record::End(End { records: self.records }))?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Text of one line. The longest tells all that a member held at the end.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// Reads a history record by record, each with its line number; the end is the last of them.
#[derive(Debug)]
pub struct Reader<R: BufRead> {
    input: R,
    line: u64,
    bytes_read: u64,
    record_offset: u64,
    buffer: Vec<u8>,
    ending: Ending,
}

impl<R: BufRead> Reader<R> {
    /// Reads from the start of `input`.
    pub fn new(input: R) -> Reader<R> {
        Reader {
            input,
            line: 0,
            bytes_read: 0,
            record_offset: 0,
            buffer: Vec::new(),
            ending: Ending::default(),
        }
    }

    /// Bytes consumed so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Where the line of the last record begins, in bytes.
    pub fn record_offset(&self) -> u64 {
        self.record_offset
    }

    /// The next record and its line; `None` after the end.
    pub fn next_record(&mut self) -> Result<Option<(u64, Record)>, InputError> {
        loop {
            self.buffer.clear();
            let mut limited = self.input.by_ref().take(LINE_BYTES_MAX);
            let read = limited.read_until(b'\n', &mut self.buffer);
            let is_cut = limited.limit() == 0 && self.buffer.last() != Some(&b'\n');
            let position = Position::line(self.line + 1);
            let read = read.map_err(|source| InputError::Read { position, source })?;
            if read == 0 {
                return self.ending.check().map(|()| None);
            }
            if is_cut {
                let reason = format!("a line of more than {LINE_BYTES_MAX} bytes");
                return Err(InputError::Parse { position, reason });
            }
            self.line += 1;
            self.record_offset = self.bytes_read;
            self.bytes_read += u64::try_from(read).expect("usize fits u64");
            let ended = self.buffer.last() == Some(&b'\n');
            let line = self.buffer.trim_ascii();
            if !line.is_empty() {
                let record = parse_line(self.line, line, ended)?;
                self.ending.see(self.line, &record)?;
                return Ok(Some((self.line, record)));
            }
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<(u64, Record), InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

/// Lines as the writer lays them out. Reading them through [`Record`]'s tag would buffer every
/// field first: this is the same line, read straight.
mod straight {
    use serde::Deserialize;

    use super::super::record::{Operation, Outcome, Record, Request, WatchBody, WatchResponse};

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Tag {
        Op,
        Watch,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct OperationText {
        #[serde(rename = "t")]
        _tag: Tag,
        #[serde(rename = "p")]
        process: u64,
        #[serde(rename = "m")]
        member: u32,
        #[serde(rename = "c")]
        call_ns: u64,
        #[serde(rename = "r", default)]
        return_ns: Option<u64>,
        #[serde(rename = "q")]
        request: Request,
        #[serde(rename = "o")]
        outcome: Outcome,
    }

    impl From<OperationText> for Record {
        fn from(text: OperationText) -> Record {
            let OperationText { _tag, process, member, call_ns, return_ns, request, outcome } =
                text;
            Record::Op(Operation { process, member, call_ns, return_ns, request, outcome })
        }
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct WatchText {
        #[serde(rename = "t")]
        _tag: Tag,
        #[serde(rename = "w")]
        watch: u64,
        #[serde(rename = "m")]
        member: u32,
        #[serde(rename = "r")]
        arrived_ns: u64,
        #[serde(rename = "rev")]
        revision: i64,
        #[serde(rename = "b")]
        body: WatchBody,
    }

    impl From<WatchText> for Record {
        fn from(text: WatchText) -> Record {
            let WatchText { _tag, watch, member, arrived_ns, revision, body } = text;
            Record::Watch(WatchResponse { watch, member, arrived_ns, revision, body })
        }
    }
}

pub(super) fn parse_line(line: u64, text: &[u8], ended: bool) -> Result<Record, InputError> {
    let parsed = if text.starts_with(b"{\"t\":\"op\",") {
        serde_json::from_slice::<straight::OperationText>(text).map(Record::from)
    } else if text.starts_with(b"{\"t\":\"watch\",") {
        serde_json::from_slice::<straight::WatchText>(text).map(Record::from)
    } else {
        serde_json::from_slice::<Record>(text)
    };
    parsed.map_err(|error| {
        let column = u64::try_from(error.column()).expect("usize fits u64");
        let position = Position { line, column };
        let reason = reason_of(&error);
        if error.classify() == Category::Eof && !ended {
            InputError::Truncated { position, reason }
        } else {
            InputError::Parse { position, reason }
        }
    })
}

/// The error without serde's own position: every line is parsed by itself, so its line is always 1.
fn reason_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
