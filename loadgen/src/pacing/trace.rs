//! Times of a load that was seen elsewhere: a file with a time in seconds on each line, counted from
//! the start, in ascending order. Empty lines and those that begin with `#` are passed over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::nanos;

/// What is wrong with a trace, and where.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A line is no time, or goes back.
    #[error("{path}:{line}:{column}: {message}")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// It has no times.
    #[error("{path}: no times in it")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The times of a trace, in nanoseconds since the start.
pub fn read(path: &Path) -> Result<Vec<u64>, TraceError> {
    let read = fs::read_to_string(path);
    let text = read.map_err(|source| TraceError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<u64>, TraceError> {
    let mut times: Vec<u64> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let word = line.trim();
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        let column = line.chars().take_while(|letter| letter.is_whitespace()).count() + 1;
        let refuse = |message: String| TraceError::Line {
            path: path.to_owned(),
            line: number,
            column,
            message,
        };
        let seconds = word.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
        let Some(seconds) = seconds else {
            let message = format!("`{word}` is no time in seconds since the start, such as 0.25");
            return Err(refuse(message));
        };
        let at_ns = nanos(seconds);
        if times.last().is_some_and(|last| *last > at_ns) {
            return Err(refuse(format!("{word} is before the time above it: times must ascend")));
        }
        times.push(at_ns);
    }
    if times.is_empty() {
        return Err(TraceError::Empty { path: path.to_owned() });
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_what_is_none_is_named() {
        let read = |text: &str| parse(Path::new("t.txt"), text).map_err(|error| error.to_string());
        assert_eq!(
            read("# seen on monday\n0\n0.25\n\n 0.25 \n"),
            Ok(vec![0, 250_000_000, 250_000_000])
        );
        for (text, error) in [
            ("0\n  1s\n", "t.txt:2:3: `1s` is no time in seconds since the start, such as 0.25"),
            ("-1\n", "t.txt:1:1: `-1` is no time in seconds since the start, such as 0.25"),
            ("2\n1\n", "t.txt:2:1: 1 is before the time above it: times must ascend"),
            ("# none\n", "t.txt: no times in it"),
        ] {
            assert_eq!(read(text), Err(error.to_owned()));
        }
    }
}
