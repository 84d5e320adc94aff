//! Why a history cannot be judged: bad input, always with the place where it is bad.

use std::fmt;

/// A place in a history file. Lines and columns count from 1; column 0 is the whole line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line of the file.
    pub line: u64,
    /// Byte in the line.
    pub column: u64,
}

impl Position {
    /// A whole line.
    pub fn line(line: u64) -> Position {
        Position { line, column: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column.max(1))
    }
}

/// A history that cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file cannot be opened.
    #[error("{path}: cannot be opened")]
    Open {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Reading stopped.
    #[error("{position}: cannot be read")]
    Read {
        /// How far reading came.
        position: Position,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line is not a record.
    #[error("{position}: not a history record: {reason}")]
    Parse {
        /// Where the line stops making sense.
        position: Position,
        /// Why.
        reason: String,
    },
    /// The file stops before the history's end.
    #[error("{position}: the history is cut off: {reason}")]
    Truncated {
        /// Where the file ends.
        position: Position,
        /// What was expected next.
        reason: String,
    },
    /// The lines are records, but together they are no history.
    #[error("{position}: {reason}")]
    Malformed {
        /// The offending line.
        position: Position,
        /// The invariant that does not hold.
        reason: String,
    },
}

impl InputError {
    /// Where the input is bad; `None` if it could not be opened.
    pub fn position(&self) -> Option<Position> {
        match self {
            InputError::Open { .. } => None,
            InputError::Read { position, .. }
            | InputError::Parse { position, .. }
            | InputError::Truncated { position, .. }
            | InputError::Malformed { position, .. } => Some(*position),
        }
    }

    /// The same error in a file with `lines` more lines before it.
    pub(super) fn moved_down(mut self, lines: u64) -> InputError {
        match &mut self {
            InputError::Open { .. } => {}
            InputError::Read { position, .. }
            | InputError::Parse { position, .. }
            | InputError::Truncated { position, .. }
            | InputError::Malformed { position, .. } => position.line += lines,
        }
        self
    }

    pub(crate) fn malformed(line: u64, reason: impl Into<String>) -> InputError {
        InputError::Malformed { position: Position::line(line), reason: reason.into() }
    }
}
