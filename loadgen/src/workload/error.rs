//! What is wrong with a workload file, and where.

use std::ops::Range;

/// What is wrong with a workload file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct WorkloadError {
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, with a suggestion if there is one.
    pub message: String,
}

impl WorkloadError {
    /// An error at a span of bytes of the file's text.
    pub fn at(file: &str, text: &str, span: Range<usize>, message: String) -> WorkloadError {
        let (line, column) = position(text, span.start);
        WorkloadError { file: file.to_owned(), line, column, message }
    }

    pub(super) fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> WorkloadError {
        let mut message = error.message().trim().replace('\n', ", ");
        if let Some(suggestion) = suggestion(&message) {
            message = format!("{message}; did you mean `{suggestion}`?");
        }
        WorkloadError::at(file, text, error.span().unwrap_or(0..0), message)
    }
}

/// Line and column, from 1, of a byte of the text.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The word that was probably meant, from a message of the form
/// "unknown field `x`, expected one of `a`, `b`".
fn suggestion(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut words = message.split('`').skip(1).step_by(2);
    let written = words.next()?;
    nearest(written, words)
}

/// The candidate that was probably meant by what was written, if one is near.
pub(crate) fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(written, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= candidate.len().max(written.len()) / 2)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) that turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replace = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, expected) in [
            ("", "", 0),
            ("put", "put", 0),
            ("taget", "target", 1),
            ("gte", "get", 1),
            ("a", "xyz", 3),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn positions() {
        let text = "a = 1\nü = 2\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 6), (2, 1));
        assert_eq!(position(text, 8), (2, 2));
    }
}
