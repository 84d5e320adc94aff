//! Values that a script has named: `let L = ID` names one, `$L` uses it.
//!
//! In a request, `$L` stands for the value; inside a string, a number's hexadecimal form, which is
//! how etcd writes a lease into a key. A string may be repeated: `"x"*1000`.

use std::collections::BTreeMap;
use std::fmt::Write;

/// A named value, as text format would write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// An id, or another number.
    Number(i128),
    /// A string or bytes.
    Bytes(Vec<u8>),
}

/// All named values of a script.
#[derive(Debug, Clone, Default)]
pub struct Values {
    named: BTreeMap<String, Named>,
}

impl Values {
    /// Names a value, or names another one so.
    pub fn set(&mut self, name: &str, value: Named) {
        self.named.insert(name.to_owned(), value);
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Named> {
        self.named.get(name)
    }

    /// Name of a number.
    pub fn name_of_number(&self, number: i128) -> Option<&str> {
        self.name_of(&Named::Number(number))
    }

    fn name_of(&self, value: &Named) -> Option<&str> {
        self.named.iter().find(|(_, named)| *named == value).map(|(name, _)| name.as_str())
    }

    /// Bytes as a script writes them: `$K` if they have a name, else quoted, with the hexadecimal
    /// form of a named id written as its name.
    pub fn show_bytes(&self, bytes: &[u8]) -> String {
        if bytes.len() >= NAMED_BYTES_MIN
            && let Some(name) = self.name_of(&Named::Bytes(bytes.to_vec()))
        {
            return format!("${name}");
        }
        if bytes.len() >= REPEATED_MIN && bytes.iter().all(|byte| *byte == bytes[0]) {
            return format!("{}*{}", quoted(&bytes[..1]), bytes.len());
        }
        let mut shown = quoted(bytes);
        for (name, value) in &self.named {
            match value {
                Named::Number(number) if *number >= HEX_MIN => {
                    shown = shown.replace(&format!("{number:x}"), &format!("${name}"));
                }
                Named::Bytes(part) if part.len() >= URL_MIN => {
                    let part = quoted(part);
                    shown = shown.replace(&part[1..part.len() - 1], &format!("${name}"));
                }
                Named::Number(_) | Named::Bytes(_) => {}
            }
        }
        shown
    }

    /// A text that is no text format, with every `$NAME` as its plain value.
    pub fn raw(&self, text: &str) -> Result<String, String> {
        let Some(name) = text.strip_prefix('$') else { return Ok(text.to_owned()) };
        match self.get(name) {
            Some(Named::Number(number)) => Ok(number.to_string()),
            Some(Named::Bytes(bytes)) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            None => Err(format!("nothing was named ${name}")),
        }
    }

    /// A request's text with every `$NAME` and every repetition written out.
    pub fn substitute(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut string_start = None;
        while let Some(char) = rest.chars().next() {
            let (taken, left) = rest.split_at(char.len_utf8());
            rest = left;
            match (char, string_start) {
                ('\\', Some(_)) => {
                    let escaped = rest.chars().next().map_or(0, char::len_utf8);
                    out.push_str(taken);
                    out.push_str(&rest[..escaped]);
                    rest = &rest[escaped..];
                }
                ('"', None) => {
                    string_start = Some(out.len());
                    out.push('"');
                }
                ('"', Some(start)) => {
                    out.push('"');
                    string_start = None;
                    rest = repeat(&mut out, start, rest)?;
                }
                ('$', start) => {
                    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                    let (name, left) = rest.split_at(length.unwrap_or(rest.len()));
                    let value =
                        self.get(name).ok_or_else(|| format!("nothing was named ${name}"))?;
                    out.push_str(&written(value, start.is_some()));
                    rest = left;
                }
                _ => out.push_str(taken),
            }
        }
        Ok(out)
    }
}

/// Shorter bytes are never shown by their name.
const NAMED_BYTES_MIN: usize = 4;
/// Shorter bytes are never shown by their name within others.
const URL_MIN: usize = 8;
/// Bytes of one kind are counted from this length on.
const REPEATED_MIN: usize = 64;
/// The hexadecimal form of smaller numbers may be anything.
const HEX_MIN: i128 = 1 << 32;
/// More than any request may have.
const REPETITIONS_MAX: usize = 64 << 20;

/// If `*COUNT` follows the string that starts at `start` of `out`, repeats what is in it. Returns
/// what is left of the text.
fn repeat<'a>(out: &mut String, start: usize, rest: &'a str) -> Result<&'a str, String> {
    let Some(after) = rest.strip_prefix('*') else { return Ok(rest) };
    let length = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    let (count, left) = after.split_at(length);
    let count: usize = count.parse().map_err(|error| format!("after `*`: {error}"))?;
    let body = out[start + 1..out.len() - 1].to_owned();
    if count.saturating_mul(body.len()) > REPETITIONS_MAX {
        return Err(format!("{count} repetitions are too many"));
    }
    out.truncate(start + 1);
    out.push_str(&body.repeat(count));
    out.push('"');
    Ok(left)
}

fn written(value: &Named, in_string: bool) -> String {
    match value {
        Named::Number(number) if in_string => format!("{number:x}"),
        Named::Number(number) => number.to_string(),
        Named::Bytes(bytes) => {
            let quoted = quoted(bytes);
            if in_string { quoted[1..quoted.len() - 1].to_owned() } else { quoted }
        }
    }
}

/// Bytes as a string of the text format.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '$' => text.push_str("\\x24"),
                '\n' => text.push_str("\\n"),
                char if char.is_ascii_graphic() || char == ' ' => text.push(char),
                char => {
                    let mut buffer = [0; 4];
                    hex(&mut text, char.encode_utf8(&mut buffer).as_bytes());
                }
            }
        }
        hex(&mut text, chunk.invalid());
    }
    text.push('"');
    text
}

fn hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(text, "\\x{byte:02x}").expect("writing into a string does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        let mut values = Values::default();
        values.set("L", Named::Number(0x7_0000_00ab));
        values.set("K", Named::Bytes(b"name/\xff".to_vec()));
        values
    }

    #[test]
    fn names_are_written_out_in_requests() {
        for (text, expected) in [
            ("ID: $L", "ID: 30064771243"),
            (r#"key: "a/$L""#, r#"key: "a/7000000ab""#),
            ("key: $K value: \"\"", r#"key: "name/\xff" value: """#),
            (r#"value: "ab"*3"#, r#"value: "ababab""#),
            (r#"value: "\"$L""#, r#"value: "\"7000000ab""#),
        ] {
            assert_eq!(values().substitute(text).unwrap(), expected);
        }
        assert!(values().substitute("ID: $M").unwrap_err().contains("$M"));
        assert!(values().substitute(r#"key: "a"*9999999999"#).is_err());
    }

    #[test]
    fn values_are_shown_by_their_names() {
        assert_eq!(values().show_bytes(b"a/7000000ab"), r#""a/$L""#);
        assert_eq!(values().show_bytes(b"name/\xff"), "$K");
        assert_eq!(values().show_bytes(b"$\0\"\xc3\xa9"), r#""\x24\x00\"\xc3\xa9""#);
        assert_eq!(values().show_bytes(&[b'x'; 100]), r#""x"*100"#);
    }
}
