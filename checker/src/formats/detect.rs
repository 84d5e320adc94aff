//! Which format an input is in, by how it begins.

use std::io::{self, BufRead, Cursor, Read};

use super::error::{FormatError, Place};
use super::jepsen_log;

/// Bytes that are looked at.
const LOOKED_AT_BYTES: u64 = 64 << 10;

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Our own: JSONL, which may be compressed.
    Jsonl,
    /// Jepsen's EDN.
    JepsenEdn,
    /// Jepsen's JSON.
    JepsenJson,
    /// Jepsen's log lines of old.
    JepsenLog,
    /// Porcupine's key-value files.
    PorcupineKv,
    /// A report of etcd's robustness tests: a folder.
    Robustness,
}

impl Format {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "our JSONL",
            Format::JepsenEdn => "Jepsen's EDN",
            Format::JepsenJson => "Jepsen's JSON",
            Format::JepsenLog => "Jepsen's log lines",
            Format::PorcupineKv => "Porcupine's key-value text",
            Format::Robustness => "etcd's robustness report",
        }
    }
}

/// The format of an input, and the input from its start.
pub fn detect<'a>(
    mut input: Box<dyn BufRead + 'a>,
) -> Result<(Format, Box<dyn BufRead + 'a>), FormatError> {
    let mut start = Vec::new();
    let read = input.by_ref().take(LOOKED_AT_BYTES).read_to_end(&mut start);
    read.map_err(|source: io::Error| FormatError::Read { place: Place::START, source })?;
    let format = of_text(&start).ok_or_else(|| {
        FormatError::syntax(Place::START, "the text is in none of the known formats: say --from")
    })?;
    Ok((format, Box::new(Cursor::new(start).chain(input))))
}

fn of_text(start: &[u8]) -> Option<Format> {
    let text = without_blank(start);
    let (is_sequence, inside) = match text {
        [b'[' | b'(', rest @ ..] => (true, without_blank(rest)),
        _ => (false, text),
    };
    match inside {
        [b'{', rest @ ..] if without_blank(rest).first() == Some(&b'"') => {
            let is_record = !is_sequence && without_blank(rest).starts_with(b"\"t\"");
            Some(if is_record { Format::Jsonl } else { Format::JepsenJson })
        }
        [b'{', ..] if is_key_value(first_map(inside)) => Some(Format::PorcupineKv),
        [b'{' | b'#', ..] => Some(Format::JepsenEdn),
        _ if is_sequence => Some(Format::JepsenEdn),
        _ if has(start, jepsen_log::MARK) => Some(Format::JepsenLog),
        _ => None,
    }
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|bytes| bytes == part)
}

/// Whether an operation has a key of its own, and is one that Porcupine's files have.
fn is_key_value(operation: &[u8]) -> bool {
    let functions: [&[u8]; 3] = [b":f :get", b":f :put", b":f :append"];
    has(operation, b":key ") && functions.into_iter().any(|function| has(operation, function))
}

/// The text up to the first closing brace.
fn first_map(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'}');
    end.map_or(text, |end| &text[..end])
}

/// The text without what EDN and JSON have before a form.
fn without_blank(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        match text {
            [b',', rest @ ..] => text = rest,
            [b';', ..] => {
                let end = text.iter().position(|byte| *byte == b'\n');
                text = end.map_or(&[], |end| &text[end..]);
            }
            _ => return text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_beginning() {
        for (text, format) in [
            ("{\"t\":\"header\",\"version\":1}", Some(Format::Jsonl)),
            ("[{\"t\":1}]", Some(Format::JepsenJson)),
            (" [ {\"type\": \"invoke\"}", Some(Format::JepsenJson)),
            ("{\"type\": \"invoke\"}", Some(Format::JepsenJson)),
            ("; a comment\n[{:type :invoke}]", Some(Format::JepsenEdn)),
            ("{:type :invoke, :process 1}", Some(Format::JepsenEdn)),
            ("(#jepsen.history.Op{:index 0})", Some(Format::JepsenEdn)),
            ("[]", Some(Format::JepsenEdn)),
            ("{:process 0, :type :invoke, :f :get, :key \"0\", :value nil}", {
                Some(Format::PorcupineKv)
            }),
            ("{:process 0, :type :invoke, :f :move, :value {:key 1}}", Some(Format::JepsenEdn)),
            ("INFO  jepsen.core - go\nINFO  jepsen.util - 3\t:invoke", Some(Format::JepsenLog)),
            ("hello", None),
            ("", None),
        ] {
            assert_eq!(of_text(text.as_bytes()), format, "{text}");
        }
    }
}
