//! Values in the report: those of 20 bytes and more are told by a digest, FNV-1a of 32 bits.
//!
//! Here a digest stands for its value as `fnv32a:0123abcd`, wherever the value appears, so that equal
//! values stay equal. A value that is written this way is taken for the digest again.

use super::model::ValueOrHash;
use crate::history::text::Text;

/// Shorter values are told as they are.
const WHOLE_BYTES_MAX: usize = 19;
const PREFIX: &str = "fnv32a:";
/// In the report, the end of a range that has none: all keys there are text, and lie before this.
pub(super) const LAST_TEXT: &str = "\u{10ffff}";

/// The value, or what stands for it.
pub(super) fn read(value: &ValueOrHash) -> Text {
    if value.hash != 0 {
        return stand_in(value.hash);
    }
    // Transactions tell the values of their puts in full: the answers do not.
    if value.value.len() > WHOLE_BYTES_MAX {
        return stand_in(fnv32a(value.value.as_bytes()));
    }
    Text::from(&value.value)
}

/// The value as the report tells it; `None` if it is short and no text.
pub(super) fn write(value: &Text) -> Option<ValueOrHash> {
    let bytes = value.as_bytes();
    if bytes.len() > WHOLE_BYTES_MAX {
        return Some(ValueOrHash { value: String::new(), hash: fnv32a(bytes) });
    }
    let text = str::from_utf8(bytes).ok()?;
    let digest = text.strip_prefix(PREFIX).filter(|digits| digits.len() == 8);
    match digest.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
        Some(hash) => Some(ValueOrHash { value: String::new(), hash }),
        None => Some(ValueOrHash { value: text.to_owned(), hash: 0 }),
    }
}

/// The end of a range, as we have it.
pub(super) fn range_end(end: &str) -> Text {
    Text::from(if end == LAST_TEXT { "\0" } else { end })
}

/// A key as the report tells it; `None` if it is no text.
pub(super) fn key(key: &Text) -> Option<String> {
    str::from_utf8(key.as_bytes()).ok().map(str::to_owned)
}

fn stand_in(hash: u32) -> Text {
    Text::from(&format!("{PREFIX}{hash:08x}"))
}

fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> Text {
        read(&write(&Text::from(text)).expect("text"))
    }

    #[test]
    fn short_values_stay_and_long_ones_become_digests() {
        assert_eq!(round(""), Text::default());
        assert_eq!(round("nineteen bytes long"), Text::from("nineteen bytes long"));
        let long = round("this one has twenty.");
        assert_eq!(long, Text::from("fnv32a:0c255f68"));
        assert_eq!(round(&long.to_string()), long, "told again, it is the same digest");
        // A transaction's put in full, and a read of it.
        let full = ValueOrHash { value: "this one has twenty.".into(), hash: 0 };
        assert_eq!(read(&full), long);
    }

    #[test]
    fn bytes_are_told_by_digest_or_not_at_all() {
        assert_eq!(write(&Text::from(&[0xff; 3])), None);
        assert!(write(&Text::from(&[0xff; 20])).is_some_and(|value| value.hash != 0));
    }

    /// Published values of FNV-1a.
    #[test]
    fn the_digest_is_fnv() {
        assert_eq!(fnv32a(b""), 0x811c_9dc5);
        assert_eq!(fnv32a(b"a"), 0xe40c_292c);
        assert_eq!(fnv32a(b"foobar"), 0xbf9c_f968);
    }
}
