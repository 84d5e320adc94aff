//! A whole history in memory, sorted by kind of record, each with its line.
//!
//! Invariant: a `History` that [`History::finish`] has returned keeps the format's invariants.

use std::collections::HashMap;
use std::io::Read;

use super::blocks;
use super::ending::Ending;
use super::error::InputError;
use super::lint;
use super::record::{
    FORMAT_VERSION, FinalState, Header, Nemesis, Operation, Record, WatchResponse,
};

/// An operation and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationLine {
    /// Line in the file.
    pub line: u64,
    /// What it says.
    pub operation: Operation,
}

/// A watch response and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchLine {
    /// Line in the file.
    pub line: u64,
    /// What it says.
    pub response: WatchResponse,
}

/// A member's final state and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalLine {
    /// Line in the file.
    pub line: u64,
    /// What it says.
    pub state: FinalState,
}

/// A fault and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NemesisLine {
    /// Line in the file.
    pub line: u64,
    /// What it says.
    pub nemesis: Nemesis,
}

/// A whole history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The first line.
    pub header: Header,
    /// Operations, in file order.
    pub operations: Vec<OperationLine>,
    /// Watch responses, in file order.
    pub watches: Vec<WatchLine>,
    /// Faults, in file order.
    pub nemeses: Vec<NemesisLine>,
    /// Final states, in file order.
    pub finals: Vec<FinalLine>,
}

impl History {
    /// A history without operations.
    pub fn new(header: Header) -> History {
        History {
            header,
            operations: Vec::new(),
            watches: Vec::new(),
            nemeses: Vec::new(),
            finals: Vec::new(),
        }
    }

    /// Collects and lints everything `input` has, which must be whole. `progress` is told the bytes
    /// read, now and then.
    pub fn read(input: impl Read, progress: &mut dyn FnMut(u64)) -> Result<History, InputError> {
        let mut history: Option<History> = None;
        let mut ending = Ending::default();
        blocks::read(input, progress, &mut |line, record| {
            ending.see(line, &record)?;
            match &mut history {
                None => history = Some(History::begin(line, record)?),
                Some(history) => history.push(line, record)?,
            }
            Ok(())
        })?;
        let history = history.ok_or_else(|| {
            InputError::malformed(1, "the file holds no record; a header must come first")
        })?;
        ending.check()?;
        history.finish()
    }

    /// Collects and lints records in memory. The header must come first; lines count from 1. They
    /// need no end.
    pub fn collect(records: impl IntoIterator<Item = Record>) -> Result<History, InputError> {
        let mut lines = (1_u64..).zip(records);
        let (line, first) = lines
            .next()
            .ok_or_else(|| InputError::malformed(1, "no record; a header must come first"))?;
        let mut ending = Ending::default();
        ending.see(line, &first)?;
        let mut history = History::begin(line, first)?;
        for (line, record) in lines {
            ending.see(line, &record)?;
            history.push(line, record)?;
        }
        history.finish()
    }

    fn begin(line: u64, record: Record) -> Result<History, InputError> {
        let Record::Header(header) = record else {
            return Err(InputError::malformed(line, "the first record must be a header"));
        };
        if header.version != FORMAT_VERSION {
            let reason = format!(
                "format version {}, but this checker reads version {FORMAT_VERSION}",
                header.version
            );
            return Err(InputError::malformed(line, reason));
        }
        Ok(History::new(header))
    }

    fn push(&mut self, line: u64, record: Record) -> Result<(), InputError> {
        match record {
            Record::Header(_) => {
                return Err(InputError::malformed(line, "a second header"));
            }
            Record::Op(operation) => self.operations.push(OperationLine { line, operation }),
            Record::Watch(response) => self.watches.push(WatchLine { line, response }),
            Record::Nemesis(nemesis) => self.nemeses.push(NemesisLine { line, nemesis }),
            Record::Final(state) => self.finals.push(FinalLine { line, state }),
            Record::End(_) => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<History, InputError> {
        lint::lint(&self)?;
        Ok(self)
    }

    /// Watch responses by watch, each in file order.
    pub(crate) fn watches_by_id(&self) -> Vec<(u64, Vec<&WatchLine>)> {
        let mut place: HashMap<u64, usize> = HashMap::new();
        let mut watches: Vec<(u64, Vec<&WatchLine>)> = Vec::new();
        for line in &self.watches {
            let id = line.response.watch;
            let at = *place.entry(id).or_insert_with(|| {
                watches.push((id, Vec::new()));
                watches.len() - 1
            });
            watches[at].1.push(line);
        }
        watches
    }
}
