//! A key or value as it stands in a history: any bytes, readable where they are text.
//!
//! Invariant: bytes -> JSON -> bytes is the identity. Bytes that are UTF-8 and do not start with
//! `base64:` stand as themselves; all others as `base64:` and the encoded bytes.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A key or value. Cheap to clone, and to compare while it is short, as most are.
#[derive(Clone)]
pub struct Text(Bytes);

/// Invariant: what is not longer than `SHORT_MAX` is short, so equal texts are of one kind.
#[derive(Clone)]
enum Bytes {
    /// In place: reading it touches no other memory. Beyond `length` there are zeros.
    Short {
        length: u8,
        bytes: [u8; SHORT_MAX],
    },
    Long(Arc<[u8]>),
}

/// As much as three words hold besides the length and the kind.
const SHORT_MAX: usize = 22;

impl Text {
    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { length, bytes } => &bytes[..usize::from(*length)],
            Bytes::Long(bytes) => bytes,
        }
    }

    /// No bytes at all.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Bytes::Short { length: 0, .. })
    }

    /// The text, if it is short.
    fn short(from: &[u8]) -> Option<Text> {
        let length = u8::try_from(from.len()).ok()?;
        let mut bytes = [0; SHORT_MAX];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Text(Bytes::Short { length, bytes }))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        match (&self.0, &other.0) {
            (
                Bytes::Short { length, bytes },
                Bytes::Short { length: other_length, bytes: other_bytes },
            ) => length == other_length && bytes == other_bytes,
            (Bytes::Long(bytes), Bytes::Long(other)) => Arc::ptr_eq(bytes, other) || bytes == other,
            (Bytes::Short { .. }, Bytes::Long(_)) | (Bytes::Long(_), Bytes::Short { .. }) => false,
        }
    }
}

impl Eq for Text {}

impl Ord for Text {
    fn cmp(&self, other: &Text) -> Ordering {
        match (&self.0, &other.0) {
            // Zeros in the one may be its end: then the length decides.
            (
                Bytes::Short { length, bytes },
                Bytes::Short { length: other_length, bytes: other_bytes },
            ) => in_words(bytes).cmp(&in_words(other_bytes)).then(length.cmp(other_length)),
            _ => self.as_bytes().cmp(other.as_bytes()),
        }
    }
}

/// Two numbers in the order of the bytes: some bytes are in both.
fn in_words(bytes: &[u8; SHORT_MAX]) -> (u128, u64) {
    let first = bytes.first_chunk().expect("longer than 16 bytes");
    let last = bytes.last_chunk().expect("longer than 8 bytes");
    (u128::from_be_bytes(*first), u64::from_be_bytes(*last))
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Text) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

pub(super) const BASE64_PREFIX: &str = "base64:";

impl Default for Text {
    fn default() -> Self {
        Text(Bytes::Short { length: 0, bytes: [0; SHORT_MAX] })
    }
}

impl<T: AsRef<[u8]> + ?Sized> From<&T> for Text {
    fn from(bytes: &T) -> Self {
        let bytes = bytes.as_ref();
        Text::short(bytes).unwrap_or_else(|| Text(Bytes::Long(Arc::from(bytes))))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) if !text.starts_with(BASE64_PREFIX) => f.write_str(text),
            _ => write!(f, "{BASE64_PREFIX}{}", STANDARD.encode(self.as_bytes())),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) if !text.starts_with(BASE64_PREFIX) => serializer.serialize_str(text),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                let Some(encoded) = text.strip_prefix(BASE64_PREFIX) else {
                    return Ok(shared(text.as_bytes()));
                };
                let bytes = STANDARD.decode(encoded).map_err(E::custom)?;
                Ok(Text::from(&bytes))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Long texts that were read lately. A history says the same keys and values over and over: an operation
/// writes what some events and reads then show. Sharing them saves memory, and makes most
/// comparisons one of pointers.
struct Recent(Vec<Text>);

/// A power of two.
const RECENT_MAX: usize = 1 << 14;

impl Recent {
    fn share(&mut self, bytes: &[u8]) -> Text {
        let place = usize::try_from(fnv(bytes)).unwrap_or(0) & (RECENT_MAX - 1);
        let recent = &mut self.0[place];
        if recent.as_bytes() != bytes {
            *recent = Text::from(bytes);
        }
        recent.clone()
    }
}

/// FNV-1a, folded so that the low bits depend on all.
fn fnv(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

fn shared(bytes: &[u8]) -> Text {
    thread_local! {
        static RECENT: RefCell<Recent> = RefCell::new(Recent(vec![Text::default(); RECENT_MAX]));
    }
    Text::short(bytes).unwrap_or_else(|| RECENT.with_borrow_mut(|recent| recent.share(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Around the longest short text, with zeros at the end, and equal beginnings.
    fn samples() -> Vec<Vec<u8>> {
        let mut samples: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0, 0], b"a\0b".to_vec()];
        for length in [1, SHORT_MAX - 1, SHORT_MAX, SHORT_MAX + 1, SHORT_MAX + 2, 300] {
            for last in [0, b'a', 0xff] {
                let mut sample = vec![b'a'; length - 1];
                sample.push(last);
                samples.push(sample);
            }
        }
        samples
    }

    #[test]
    fn texts_compare_as_their_bytes_do() {
        for one in samples() {
            let text = Text::from(&one);
            assert_eq!(text.as_bytes(), one);
            assert_eq!(text.is_empty(), one.is_empty());
            for other in samples() {
                let other_text = Text::from(&other);
                assert_eq!(text == other_text, one == other, "{one:?} and {other:?}");
                assert_eq!(text.cmp(&other_text), one.cmp(&other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn a_text_takes_three_words() {
        assert_eq!(size_of::<Text>(), 24);
        assert_eq!(size_of::<Option<Text>>(), 24);
    }
}
