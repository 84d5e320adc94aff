//! Why a history cannot be read, or cannot be told in another format: always with a place.

use std::fmt;
use std::io;

use crate::history::error::InputError;

/// A place in an input. Lines and columns count from 1, a column is a byte; the offset counts from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line of the input.
    pub line: u64,
    /// Byte in the line.
    pub column: u64,
    /// Byte in the input.
    pub offset: u64,
}

impl Place {
    /// Where every input begins.
    pub const START: Place = Place { line: 1, column: 1, offset: 0 };

    /// The place behind `bytes` that lie here.
    #[must_use]
    pub fn after(self, bytes: &[u8]) -> Place {
        let length = u64::try_from(bytes.len()).expect("usize fits u64");
        let offset = self.offset + length;
        let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            return Place { offset, column: self.column + length, ..self };
        };
        let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
        let column = u64::try_from(bytes.len() - last).expect("usize fits u64");
        Place { line: self.line + u64::try_from(lines).expect("usize fits u64"), column, offset }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} (byte {})", self.line, self.column, self.offset)
    }
}

/// A history that cannot be read or told.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The file or folder cannot be opened.
    #[error("{path}: cannot be opened")]
    Open {
        /// The file or folder.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Reading stopped.
    #[error("{place}: cannot be read")]
    Read {
        /// How far reading came.
        place: Place,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Writing stopped.
    #[error("cannot be written")]
    Write {
        /// What the system said.
        #[from]
        source: io::Error,
    },
    /// The text is not in the format.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where it stops making sense.
        place: Place,
        /// Why.
        reason: String,
    },
    /// The text is longer or nested deeper than a reader takes.
    #[error("{place}: {reason}")]
    TooLarge {
        /// Where it begins, or where it goes too deep.
        place: Place,
        /// The limit.
        reason: String,
    },
    /// The text is in the format, but tells no history.
    #[error("{place}: {reason}")]
    Malformed {
        /// The offending operation or field.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// The format that is asked for has no words for this.
    #[error("{place}: {reason}")]
    Untellable {
        /// The first operation that cannot be told.
        place: Place,
        /// What it is, and what the format has.
        reason: String,
    },
    /// Something in one file of a folder.
    #[error("{path}")]
    In {
        /// The file, from the folder.
        path: String,
        /// What and where.
        source: Box<FormatError>,
    },
    /// A history of our own that cannot be read.
    #[error(transparent)]
    Native(#[from] InputError),
    /// What is asked for makes no sense.
    #[error("{reason}")]
    Request {
        /// Why.
        reason: String,
    },
}

impl FormatError {
    pub(crate) fn syntax(place: Place, reason: impl Into<String>) -> FormatError {
        FormatError::Syntax { place, reason: reason.into() }
    }

    pub(crate) fn too_large(place: Place, reason: impl Into<String>) -> FormatError {
        FormatError::TooLarge { place, reason: reason.into() }
    }

    pub(crate) fn malformed(place: Place, reason: impl Into<String>) -> FormatError {
        FormatError::Malformed { place, reason: reason.into() }
    }

    pub(crate) fn untellable(place: Place, reason: impl Into<String>) -> FormatError {
        FormatError::Untellable { place, reason: reason.into() }
    }

    pub(crate) fn request(reason: impl Into<String>) -> FormatError {
        FormatError::Request { reason: reason.into() }
    }

    /// The same error, in a file of a folder.
    pub(crate) fn in_file(self, path: impl Into<String>) -> FormatError {
        FormatError::In { path: path.into(), source: Box::new(self) }
    }

    /// Where the input is bad; `None` if no place is to blame. An error in a history of our own
    /// knows no offset, and has its [`InputError::position`].
    pub fn place(&self) -> Option<Place> {
        match self {
            FormatError::Open { .. }
            | FormatError::Write { .. }
            | FormatError::Native(_)
            | FormatError::Request { .. } => None,
            FormatError::Read { place, .. }
            | FormatError::Syntax { place, .. }
            | FormatError::TooLarge { place, .. }
            | FormatError::Malformed { place, .. }
            | FormatError::Untellable { place, .. } => Some(*place),
            FormatError::In { source, .. } => source.place(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_text() {
        let after = |text: &str| Place::START.after(text.as_bytes());
        assert_eq!(after(""), Place::START);
        assert_eq!(after("ab"), Place { line: 1, column: 3, offset: 2 });
        assert_eq!(after("ab\n"), Place { line: 2, column: 1, offset: 3 });
        assert_eq!(after("ab\n\nc"), Place { line: 3, column: 2, offset: 5 });
        let steps = "ab\n\nc".bytes().fold(Place::START, |place, byte| place.after(&[byte]));
        assert_eq!(steps, after("ab\n\nc"));
    }
}
