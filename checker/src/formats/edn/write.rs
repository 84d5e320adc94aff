//! Writes forms so that they can be read again.

use std::fmt::{self, Display, Formatter, Write as _};

use super::value::Edn;

impl Display for Edn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Edn::Nil => f.write_str("nil"),
            Edn::Bool(value) => write!(f, "{value}"),
            Edn::Integer(value) => write!(f, "{value}"),
            Edn::Number(text) | Edn::Symbol(text) => f.write_str(text),
            Edn::Char(value) => char_text(f, *value),
            Edn::String(text) => string_text(f, text),
            Edn::Keyword(name) => write!(f, ":{name}"),
            Edn::List(items) => sequence(f, "(", items, ")"),
            Edn::Vector(items) => sequence(f, "[", items, "]"),
            Edn::Set(items) => sequence(f, "#{", items, "}"),
            Edn::Map(pairs) => map(f, pairs),
            Edn::Tagged(tag, form) if matches!(**form, Edn::Map(_)) => write!(f, "#{tag}{form}"),
            Edn::Tagged(tag, form) => write!(f, "#{tag} {form}"),
        }
    }
}

fn sequence(f: &mut Formatter<'_>, open: &str, items: &[Edn], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_char(' ')?;
        }
        write!(f, "{item}")?;
    }
    f.write_str(close)
}

fn map(f: &mut Formatter<'_>, pairs: &[(Edn, Edn)]) -> fmt::Result {
    f.write_char('{')?;
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{key} {value}")?;
    }
    f.write_char('}')
}

fn string_text(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            other if other.is_control() => write!(f, "\\u{:04x}", u32::from(other))?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}

fn char_text(f: &mut Formatter<'_>, char: char) -> fmt::Result {
    match char {
        '\n' => f.write_str("\\newline"),
        '\r' => f.write_str("\\return"),
        ' ' => f.write_str("\\space"),
        '\t' => f.write_str("\\tab"),
        // Only these have no glyph of their own and fit four digits.
        other if other.is_control() => write!(f, "\\u{:04x}", u32::from(other)),
        other => write!(f, "\\{other}"),
    }
}
