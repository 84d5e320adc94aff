//! Rust source without its comments and strings, enough to find what it imports.

/// A path named in code, such as `crate::mvcc::store`, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention {
    /// Counted from 1.
    pub(super) line: usize,
    /// Segments joined by `::`.
    pub(super) path: String,
}

/// Every path in the code that begins with `first`. Groups (`use crate::{a, b::c}`) are opened.
pub(super) fn mentions(text: &str, first: &str) -> Vec<Mention> {
    let code = blank(text);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(offset) = code.get(from..).and_then(|rest| rest.find(first)) {
        let start = from + offset;
        let end = start + first.len();
        from = end;
        let before = code[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        if let Some(rest) = code[end..].strip_prefix("::") {
            let line = code[..start].matches('\n').count() + 1;
            expand(first, rest, &mut |path| found.push(Mention { line, path }));
        }
    }
    found
}

/// Opens what follows `prefix::`, and gives every full path.
fn expand(prefix: &str, rest: &str, each: &mut dyn FnMut(String)) {
    let rest = rest.trim_start();
    let Some(inner) = rest.strip_prefix('{') else {
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let path = if name.is_empty() { prefix.to_owned() } else { format!("{prefix}::{name}") };
        match rest[name.len()..].strip_prefix("::") {
            Some(deeper) if !name.is_empty() => expand(&path, deeper, each),
            _ => each(path),
        }
        return;
    };
    for item in group_items(inner) {
        expand(prefix, item, each);
    }
}

/// The items between an opening brace and the closing one that matches it.
fn group_items(inner: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(inner[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

/// Comments and strings turned into blanks; line breaks stay. Raw strings are not known: they
/// are rare, and at worst make a finding that a person sees.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '/' if rest.peek() == Some(&'/') => while rest.next_if(|c| *c != '\n').is_some() {},
            '"' => {
                code.push(' ');
                while let Some(inside) = rest.next() {
                    match inside {
                        '\\' => {
                            rest.next();
                        }
                        '"' => break,
                        '\n' => code.push('\n'),
                        _ => {}
                    }
                }
            }
            '\'' => {
                // A quote or backslash as a character literal would open a string above.
                code.push(' ');
                if rest.peek() == Some(&'\\') {
                    rest.next();
                    rest.next();
                } else if rest.peek() == Some(&'"') {
                    rest.next();
                }
            }
            other => code.push(other),
        }
    }
    code
}
