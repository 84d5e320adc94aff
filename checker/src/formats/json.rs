//! Single values out of a stream of JSON, each with its place.
//!
//! A value's text is cut out first, within limits, and then parsed by `serde_json`; so a file that is
//! one array of a gigabyte is read item by item.

use std::io::Read;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};

use super::edn::Edn;
use super::error::{FormatError, Place};
use super::scanner::Scanner;

/// Nesting of one value: less than `serde_json` would take.
const DEPTH_MAX: usize = 100;

/// Takes values from an input.
#[derive(Debug)]
pub(crate) struct Json<R> {
    scanner: Scanner<R>,
    /// Text of the value that was cut out last.
    text: Vec<u8>,
    value_bytes_max: usize,
}

impl<R: Read> Json<R> {
    /// Reads an input whose first byte lies at `place` of something larger.
    pub(crate) fn at(input: R, place: Place, value_bytes_max: usize) -> Json<R> {
        Json { scanner: Scanner::at(input, place), text: Vec::new(), value_bytes_max }
    }

    /// Place of the next byte.
    pub(crate) fn place(&self) -> Place {
        self.scanner.place()
    }

    /// The next byte that is no white space, without taking it; `None` at the end.
    pub(crate) fn peek(&mut self) -> Result<Option<u8>, FormatError> {
        while self.scanner.take_run(|byte| b" \t\r\n".contains(&byte), |_| {})? {}
        self.scanner.peek()
    }

    /// Takes `byte`, which must come next but for white space.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), FormatError> {
        if self.takes(byte)? {
            return Ok(());
        }
        let found = self.found()?;
        let reason = format!("`{}` is expected, but here is {found}", char::from(byte));
        Err(FormatError::syntax(self.place(), reason))
    }

    /// Takes `byte` if it comes next but for white space.
    pub(crate) fn takes(&mut self, byte: u8) -> Result<bool, FormatError> {
        let comes = self.peek()? == Some(byte);
        if comes {
            self.scanner.take()?;
        }
        Ok(comes)
    }

    /// What comes next, for errors.
    pub(crate) fn found(&mut self) -> Result<String, FormatError> {
        Ok(match self.peek()? {
            None => "the end".into(),
            Some(byte) if byte.is_ascii_graphic() => format!("`{}`", char::from(byte)),
            Some(byte) => format!("byte {byte:#04x}"),
        })
    }

    /// The next value.
    pub(crate) fn parse<T: DeserializeOwned>(&mut self) -> Result<(Place, T), FormatError> {
        let place = self.cut()?;
        let parsed = serde_json::from_slice(&self.text);
        let value = parsed.map_err(|error| {
            let at = offset_of(&self.text, &error);
            FormatError::syntax(place.after(&self.text[..at]), reason_of(&error))
        })?;
        Ok((place, value))
    }

    /// Takes the next value, and drops it.
    pub(crate) fn skip(&mut self) -> Result<(), FormatError> {
        self.parse::<serde::de::IgnoredAny>().map(drop)
    }

    /// Cuts out the text of the next value.
    fn cut(&mut self) -> Result<Place, FormatError> {
        let first = self.peek()?;
        let began = self.place();
        self.text.clear();
        match first {
            Some(b'{' | b'[') => self.cut_nested(began)?,
            Some(b'"') => self.cut_string(began)?,
            Some(byte) if byte == b'-' || byte.is_ascii_alphanumeric() => {
                let is_scalar = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
                while self.scanner.take_run(is_scalar, |run| self.text.extend_from_slice(run))? {
                    self.check_size(began)?;
                }
            }
            _ => {
                let found = self.found()?;
                let reason = format!("a value is expected, but here is {found}");
                return Err(FormatError::syntax(began, reason));
            }
        }
        self.check_size(began)?;
        Ok(began)
    }

    fn cut_nested(&mut self, began: Place) -> Result<(), FormatError> {
        let mut depth = 0_usize;
        loop {
            let place = self.place();
            match self.scanner.peek()? {
                Some(b'"') => self.cut_string(began)?,
                Some(byte @ (b'{' | b'[')) => {
                    depth += 1;
                    if depth > DEPTH_MAX {
                        let reason = format!("nested more than {DEPTH_MAX} deep");
                        return Err(FormatError::too_large(place, reason));
                    }
                    self.cut_byte(byte)?;
                }
                Some(byte @ (b'}' | b']')) => {
                    self.cut_byte(byte)?;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                Some(_) => {
                    let is_plain = |byte| !b"\"{}[]".contains(&byte);
                    self.scanner.take_run(is_plain, |run| self.text.extend_from_slice(run))?;
                }
                None => {
                    let reason = format!("the text ends in the value that begins at {began}");
                    return Err(FormatError::syntax(place, reason));
                }
            }
            self.check_size(began)?;
        }
    }

    fn cut_string(&mut self, began: Place) -> Result<(), FormatError> {
        let opened = self.place();
        self.cut_byte(b'"')?;
        loop {
            let is_plain = |byte| byte != b'"' && byte != b'\\';
            while self.scanner.take_run(is_plain, |run| self.text.extend_from_slice(run))? {
                self.check_size(began)?;
            }
            match self.scanner.peek()? {
                Some(b'"') => return self.cut_byte(b'"'),
                Some(byte) => {
                    self.cut_byte(byte)?;
                    if let Some(escaped) = self.scanner.peek()? {
                        self.cut_byte(escaped)?;
                    }
                }
                None => {
                    let reason = format!("the text ends in the string at {opened}");
                    return Err(FormatError::syntax(self.place(), reason));
                }
            }
        }
    }

    fn cut_byte(&mut self, byte: u8) -> Result<(), FormatError> {
        self.scanner.take()?;
        self.text.push(byte);
        Ok(())
    }

    fn check_size(&self, began: Place) -> Result<(), FormatError> {
        if self.text.len() <= self.value_bytes_max {
            return Ok(());
        }
        let reason = format!("one value takes more than {} bytes", self.value_bytes_max);
        Err(FormatError::too_large(began, reason))
    }
}

/// Where in the text `serde_json` stopped.
fn offset_of(text: &[u8], error: &serde_json::Error) -> usize {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.by_ref().take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    let column = error.column().saturating_sub(1);
    before + column.min(lines.next().map_or(0, <[u8]>::len))
}

/// The error without `serde_json`'s own position.
fn reason_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// JSON as it stands: names stay strings, objects become maps.
impl<'de> Deserialize<'de> for Edn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Edn, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Edn;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Edn, E> {
                Ok(Edn::Nil)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Edn, E> {
                Ok(Edn::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Edn, E> {
                Ok(Edn::Integer(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Edn, E> {
                Ok(i64::try_from(value)
                    .map_or_else(|_| Edn::Number(value.to_string()), Edn::Integer))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Edn, E> {
                // A longer whole number has lost its last digits by now.
                if value.fract() == 0.0 && value.abs() >= 18_446_744_073_709_551_615.0 {
                    return Err(E::custom("a whole number of more than 64 bits"));
                }
                Ok(Edn::Number(format!("{value:?}")))
            }

            fn visit_str<E>(self, value: &str) -> Result<Edn, E> {
                Ok(Edn::string(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Edn, A::Error> {
                let mut vector = Vec::new();
                while let Some(item) = items.next_element()? {
                    vector.push(item);
                }
                Ok(Edn::Vector(vector))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Edn, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = entries.next_entry::<String, Edn>()? {
                    pairs.push((Edn::String(key), value));
                }
                Ok(Edn::Map(pairs))
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Edn>, FormatError> {
        let mut json = Json::at(text.as_bytes(), Place::START, 1000);
        let mut values = Vec::new();
        while json.peek()?.is_some() {
            values.push(json.parse()?.1);
        }
        Ok(values)
    }

    #[test]
    fn values_follow_each_other() {
        let values =
            read(" {\"a\":[1,-2.5,\"x\\\"]\"]}\n7 null true\n[18446744073709551615]").unwrap();
        let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["{\"a\" [1 -2.5 \"x\\\"]\"]}", "7", "nil", "true", "[18446744073709551615]"]
        );
    }

    #[test]
    fn bad_text_is_refused_at_its_place() {
        for (text, error) in [
            ("[1,\n 2", "2:3 (byte 6): the text ends in the value that begins at 1:1 (byte 0)"),
            ("{\"a", "1:4 (byte 3): the text ends in the string at 1:2 (byte 1)"),
            ("[1,\n x]", "2:2 (byte 5): expected value"),
            ("{\"a\" 1}", "1:6 (byte 5): expected `:`"),
            ("7 }", "1:3 (byte 2): a value is expected, but here is `}`"),
            ("nul", "1:3 (byte 2): EOF while parsing a value"),
            ("1e400", "1:5 (byte 4): number out of range"),
            ("1000000000000000000000", "1:22 (byte 21): a whole number of more than 64 bits"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn depth_and_length_are_limited() {
        for text in ["[".repeat(100_000), "{\"a\":".repeat(100_000), "1".repeat(1001), {
            format!("\"{}\"", "x".repeat(1001))
        }] {
            let error = read(&text).unwrap_err();
            assert!(matches!(error, FormatError::TooLarge { .. }), "{error}");
        }
    }
}
