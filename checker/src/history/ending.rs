//! Whether a history is whole: its last record is the end, which counts those before it.

use super::error::{InputError, Position};
use super::record::Record;

/// Follows a history to its end.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    records: u64,
    last_line: u64,
    ended: bool,
}

impl Ending {
    /// Takes note of the next record. Nothing may follow the end.
    pub(crate) fn see(&mut self, line: u64, record: &Record) -> Result<(), InputError> {
        if self.ended {
            return Err(InputError::malformed(line, "a record after the end"));
        }
        if let Record::End(end) = record {
            if end.records != self.records {
                let reason = format!(
                    "the end counts {} records before it, but there are {}",
                    end.records, self.records
                );
                return Err(InputError::malformed(line, reason));
            }
            self.ended = true;
        }
        self.records += 1;
        self.last_line = line;
        Ok(())
    }

    /// Line of the last record.
    pub(crate) fn line(&self) -> u64 {
        self.last_line
    }

    /// Refuses a file that stops before its end.
    pub(crate) fn check(&self) -> Result<(), InputError> {
        if self.ended {
            return Ok(());
        }
        let position = Position::line(self.last_line + 1);
        Err(InputError::Truncated { position, reason: "the end record is missing".into() })
    }
}
