//! Reads forms one after another.
//!
//! Invariant: what is read at once, a form at the top or a field's value in an operation, takes at
//! most [`FORM_BYTES_MAX`] of text and nests at most [`DEPTH_MAX`] deep, so memory is bounded
//! whatever the input is.

use std::io::Read;

use super::value::Edn;
use crate::formats::error::{FormatError, Place};
use crate::formats::scanner::Scanner;

/// Nesting of one form.
pub(crate) const DEPTH_MAX: usize = 100;
/// Text of one operation. A form in memory takes up to some fifty times its text.
pub(crate) const FORM_BYTES_MAX: u64 = 16 << 20;
/// Text of a name or number.
const TOKEN_BYTES_MAX: usize = 4096;

/// A key and value of a map, with the place of the value.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) place: Place,
    pub(crate) key: Edn,
    pub(crate) value: Edn,
}

/// Takes forms from an input.
#[derive(Debug)]
pub struct Reader<R> {
    scanner: Scanner<R>,
    /// Where the form at the top that is being read began.
    began: Place,
}

impl<R: Read> Reader<R> {
    /// Reads from the start of an input.
    pub fn new(input: R) -> Reader<R> {
        Reader::at(input, Place::START)
    }

    /// Reads an input whose first byte lies at `place` of something larger.
    pub(crate) fn at(input: R, place: Place) -> Reader<R> {
        Reader { scanner: Scanner::at(input, place), began: place }
    }

    /// The next form and its place; `None` at the end.
    pub fn next_form(&mut self) -> Result<Option<(Place, Edn)>, FormatError> {
        if self.skip_blank(0)?.is_none() {
            return Ok(None);
        }
        let place = self.begin();
        Ok(Some((place, self.form(0)?)))
    }

    /// The next form, a map with or without a tag, as its fields.
    pub(crate) fn next_map(&mut self) -> Result<(Place, Vec<Field>), FormatError> {
        let place = self.begin();
        if self.scanner.peek()? == Some(b'#') {
            self.scanner.take()?;
            self.tag(place)?;
            self.skip_blank(0)?;
        }
        match self.scanner.peek()? {
            Some(b'{') => self.scanner.take()?,
            other => {
                let found = other.map_or("the end".into(), shown);
                let reason = format!("an operation is a map, but here is {found}");
                return Err(FormatError::syntax(self.scanner.place(), reason));
            }
        };
        let mut fields = Vec::new();
        while !self.closes(b'}', place, 1)? {
            let key = self.form(1)?;
            let value_place = self.value_of_key(place, 1)?;
            fields.push(Field { place: value_place, key, value: self.form(1)? });
        }
        Ok((place, fields))
    }

    /// The next byte that belongs to a form, without taking it; `None` at the end.
    pub(crate) fn peek_form(&mut self) -> Result<Option<u8>, FormatError> {
        self.skip_blank(0)
    }

    /// Takes the byte that was peeked.
    pub(crate) fn take_peeked(&mut self) -> Result<Place, FormatError> {
        let place = self.scanner.place();
        self.scanner.take()?;
        Ok(place)
    }

    /// Place of the next byte.
    pub(crate) fn place(&self) -> Place {
        self.scanner.place()
    }

    fn begin(&mut self) -> Place {
        self.began = self.scanner.place();
        self.began
    }

    fn form(&mut self, depth: usize) -> Result<Edn, FormatError> {
        let place = self.scanner.place();
        self.check_size(depth)?;
        let Some(byte) = self.scanner.peek()? else {
            return Err(FormatError::syntax(place, "the text ends where a form is expected"));
        };
        match byte {
            b'(' => Ok(Edn::List(self.items(b')', depth)?)),
            b'[' => Ok(Edn::Vector(self.items(b']', depth)?)),
            b'{' => self.map(depth),
            b'"' => self.string(),
            b'\\' => self.char(),
            b'#' => self.dispatch(depth),
            b':' => {
                self.scanner.take()?;
                let name = self.token(place)?;
                if name.is_empty() {
                    return Err(FormatError::syntax(place, "a keyword without a name"));
                }
                Ok(Edn::Keyword(name))
            }
            b'0'..=b'9' => self.number(),
            b'+' | b'-'
                if self.scanner.peek_second()?.is_some_and(|next| next.is_ascii_digit()) =>
            {
                self.number()
            }
            _ if is_token_byte(byte) && !b"@^`'~".contains(&byte) => {
                let name = self.token(place)?;
                Ok(match name.as_str() {
                    "nil" => Edn::Nil,
                    "true" => Edn::Bool(true),
                    "false" => Edn::Bool(false),
                    _ => Edn::Symbol(name),
                })
            }
            other => Err(FormatError::syntax(place, format!("unexpected {}", shown(other)))),
        }
    }

    fn check_size(&self, depth: usize) -> Result<(), FormatError> {
        let place = self.scanner.place();
        if depth > DEPTH_MAX {
            let reason = format!("nested more than {DEPTH_MAX} deep");
            return Err(FormatError::too_large(place, reason));
        }
        if place.offset - self.began.offset > FORM_BYTES_MAX {
            let reason = format!("one form takes more than {FORM_BYTES_MAX} bytes");
            return Err(FormatError::too_large(self.began, reason));
        }
        Ok(())
    }

    /// Skips what lies between forms; the byte after it.
    fn skip_blank(&mut self, depth: usize) -> Result<Option<u8>, FormatError> {
        loop {
            let next = self.scanner.peek()?;
            match next {
                Some(byte) if is_blank(byte) => {
                    self.scanner.take_run(is_blank, |_| {})?;
                }
                Some(b';') => while self.scanner.take_run(|byte| byte != b'\n', |_| {})? {},
                Some(b'#') if self.scanner.peek_second()? == Some(b'_') => self.discard(depth)?,
                _ => return Ok(next),
            }
        }
    }

    /// `#_ form`, which counts for nothing.
    fn discard(&mut self, depth: usize) -> Result<(), FormatError> {
        if depth == 0 {
            self.begin();
        }
        // A discard before a discard takes the form after it: that is nesting, too.
        self.check_size(depth + 1)?;
        self.scanner.take()?;
        self.scanner.take()?;
        self.skip_blank(depth + 1)?;
        self.form(depth + 1).map(drop)
    }

    /// Takes the closing bracket if it comes next; items lie at `depth`.
    fn closes(&mut self, close: u8, opened: Place, depth: usize) -> Result<bool, FormatError> {
        match self.skip_blank(depth)? {
            Some(byte) if byte == close => {
                self.scanner.take()?;
                Ok(true)
            }
            Some(_) => Ok(false),
            None => {
                let reason = format!("the text ends before the {} of {opened}", shown(close));
                Err(FormatError::syntax(self.scanner.place(), reason))
            }
        }
    }

    fn items(&mut self, close: u8, depth: usize) -> Result<Vec<Edn>, FormatError> {
        let opened = self.take_peeked()?;
        let mut items = Vec::new();
        while !self.closes(close, opened, depth + 1)? {
            items.push(self.form(depth + 1)?);
        }
        Ok(items)
    }

    fn map(&mut self, depth: usize) -> Result<Edn, FormatError> {
        let opened = self.take_peeked()?;
        let mut pairs = Vec::new();
        while !self.closes(b'}', opened, depth + 1)? {
            let key = self.form(depth + 1)?;
            self.value_of_key(opened, depth + 1)?;
            pairs.push((key, self.form(depth + 1)?));
        }
        Ok(Edn::Map(pairs))
    }

    /// Goes to the value that a key of the map at `opened` must have.
    fn value_of_key(&mut self, opened: Place, depth: usize) -> Result<Place, FormatError> {
        let next = self.skip_blank(depth)?;
        let place = self.scanner.place();
        if next.is_none_or(|byte| byte == b'}') {
            let reason = format!("the map at {opened} has a key without a value");
            return Err(FormatError::syntax(place, reason));
        }
        Ok(place)
    }

    fn dispatch(&mut self, depth: usize) -> Result<Edn, FormatError> {
        let place = self.scanner.place();
        if self.scanner.peek_second()? == Some(b'{') {
            self.scanner.take()?;
            return Ok(Edn::Set(self.items(b'}', depth)?));
        }
        self.scanner.take()?;
        if self.scanner.peek()? == Some(b'#') {
            return Ok(Edn::Number(format!("#{}", self.token(place)?)));
        }
        let tag = self.tag(place)?;
        self.skip_blank(depth + 1)?;
        Ok(Edn::Tagged(tag, Box::new(self.form(depth + 1)?)))
    }

    /// The name after a `#`.
    fn tag(&mut self, place: Place) -> Result<String, FormatError> {
        match self.scanner.peek()? {
            Some(byte) if byte.is_ascii_alphabetic() || byte == b':' || byte >= 0x80 => {
                self.token(place)
            }
            other => {
                let found = other.map_or("the end".into(), shown);
                Err(FormatError::syntax(place, format!("`#` before {found}")))
            }
        }
    }

    fn token(&mut self, began: Place) -> Result<String, FormatError> {
        let mut bytes = Vec::new();
        while self.scanner.take_run(is_token_byte, |run| bytes.extend_from_slice(run))?
            && bytes.len() <= TOKEN_BYTES_MAX
        {}
        if bytes.len() > TOKEN_BYTES_MAX {
            let reason = format!("a name or number of more than {TOKEN_BYTES_MAX} bytes");
            return Err(FormatError::too_large(began, reason));
        }
        utf8(bytes, began)
    }

    fn number(&mut self) -> Result<Edn, FormatError> {
        let place = self.scanner.place();
        let text = self.token(place)?;
        number(&text).ok_or_else(|| FormatError::syntax(place, format!("not a number: {text}")))
    }

    fn string(&mut self) -> Result<Edn, FormatError> {
        let opened = self.take_peeked()?;
        let mut bytes = Vec::new();
        loop {
            let plain = |byte| byte != b'"' && byte != b'\\';
            while self.scanner.take_run(plain, |run| bytes.extend_from_slice(run))? {
                self.check_size(0)?;
            }
            self.check_size(0)?;
            let place = self.scanner.place();
            match self.scanner.take()? {
                Some(b'"') => return utf8(bytes, opened).map(Edn::String),
                Some(_) => self.escape(place, &mut bytes)?,
                None => {
                    let reason = format!("the text ends in the string at {opened}");
                    return Err(FormatError::syntax(place, reason));
                }
            }
        }
    }

    /// What follows a backslash in a string.
    fn escape(&mut self, place: Place, into: &mut Vec<u8>) -> Result<(), FormatError> {
        let char = match self.scanner.take()? {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte @ (b'"' | b'\\')) => char::from(byte),
            Some(b'u') => self.code_point(place)?,
            _ => return Err(FormatError::syntax(place, "no such escape in a string")),
        };
        into.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// Four hexadecimal digits, twice for a character beyond 16 bits.
    fn code_point(&mut self, place: Place) -> Result<char, FormatError> {
        let mut units = vec![self.code_unit(place)?];
        if (0xd800..0xdc00).contains(&units[0])
            && self.scanner.peek()? == Some(b'\\')
            && self.scanner.peek_second()? == Some(b'u')
        {
            self.scanner.take()?;
            self.scanner.take()?;
            units.push(self.code_unit(place)?);
        }
        let char = char::decode_utf16(units).next().and_then(Result::ok);
        char.ok_or_else(|| FormatError::syntax(place, "half of a character"))
    }

    fn code_unit(&mut self, place: Place) -> Result<u16, FormatError> {
        (0..4).try_fold(0, |unit, _| {
            let digit = self.scanner.take()?.and_then(|byte| char::from(byte).to_digit(16));
            let digit = digit.and_then(|digit| u16::try_from(digit).ok());
            let digit = digit
                .ok_or_else(|| FormatError::syntax(place, "`\\u` needs four hexadecimal digits"))?;
            Ok((unit << 4) | digit)
        })
    }

    fn char(&mut self) -> Result<Edn, FormatError> {
        let place = self.take_peeked()?;
        let mut text = String::new();
        match self.scanner.peek()? {
            // A bracket or the like, which would end a name.
            Some(byte) if byte.is_ascii() && !is_token_byte(byte) => {
                self.scanner.take()?;
                text.push(char::from(byte));
            }
            _ => text = self.token(place)?,
        }
        char_named(&text)
            .map(Edn::Char)
            .ok_or_else(|| FormatError::syntax(place, format!("no character is \\{text}")))
    }
}

fn utf8(bytes: Vec<u8>, began: Place) -> Result<String, FormatError> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        FormatError::syntax(began, format!("not UTF-8, {at} bytes into what begins here"))
    })
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b',' || byte == 0x0b
}

fn is_token_byte(byte: u8) -> bool {
    !is_blank(byte) && !byte.is_ascii_control() && !b"()[]{}\";\\".contains(&byte)
}

/// Whether a text can stand as a keyword's name.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= TOKEN_BYTES_MAX && text.bytes().all(is_token_byte)
}

fn shown(byte: u8) -> String {
    if byte.is_ascii_graphic() {
        format!("`{}`", char::from(byte))
    } else {
        format!("byte {byte:#04x}")
    }
}

fn char_named(text: &str) -> Option<char> {
    let mut chars = text.chars();
    let first = chars.next()?;
    if chars.as_str().is_empty() {
        return Some(first);
    }
    match text {
        "newline" => Some('\n'),
        "return" => Some('\r'),
        "space" => Some(' '),
        "tab" => Some('\t'),
        "backspace" => Some('\u{8}'),
        "formfeed" => Some('\u{c}'),
        _ => {
            let digits = text.strip_prefix('u').filter(|digits| digits.len() == 4)?;
            char::from_u32(u32::from_str_radix(digits, 16).ok()?)
        }
    }
}

/// A number, if the text is one.
fn number(text: &str) -> Option<Edn> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = digits.strip_suffix('N').unwrap_or(digits);
    if is_digits(whole) {
        // `010` is eight to Clojure: refused rather than misread.
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let plain = text.strip_suffix('N').unwrap_or(text);
        return Some(plain.parse().map_or_else(|_| Edn::Number(text.to_owned()), Edn::Integer));
    }
    let is_hexadecimal = digits.strip_prefix("0x").is_some_and(is_hexadecimal_digits);
    let is_ratio = || digits.split_once('/').is_some_and(|(n, d)| is_digits(n) && is_digits(d));
    (is_decimal(digits) || is_hexadecimal || is_ratio()).then(|| Edn::Number(text.to_owned()))
}

/// `1.5`, `1.`, `1e9`, `1.5e-3`, each with or without `M` behind it.
fn is_decimal(text: &str) -> bool {
    let text = text.strip_suffix('M').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    is_digits(whole) && is_digits(exponent) && (fraction.is_empty() || is_digits(fraction))
}

/// What printed objects have for an address: `#object[Name 0x1f2e "..."]`.
fn is_hexadecimal_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
