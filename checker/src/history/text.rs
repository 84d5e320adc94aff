//! A key or value as it stands in a history: any bytes, readable where they are text.
//!
//! Invariant: bytes -> JSON -> bytes is the identity. Bytes that are UTF-8 and do not start with
//! `base64:` stand as themselves; all others as `base64:` and the encoded bytes.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A key or value. Cheap to clone.
#[derive(Clone, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::derived_hash_with_manual_eq, reason = "the same bytes, only faster to compare")]
pub struct Text(Arc<[u8]>);

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Text {
    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// No bytes at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub(super) const BASE64_PREFIX: &str = "base64:";

impl Default for Text {
    fn default() -> Self {
        Text(Arc::from([]))
    }
}

impl<T: AsRef<[u8]> + ?Sized> From<&T> for Text {
    fn from(bytes: &T) -> Self {
        Text(Arc::from(bytes.as_ref()))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.starts_with(BASE64_PREFIX) => f.write_str(text),
            _ => write!(f, "{BASE64_PREFIX}{}", STANDARD.encode(&self.0)),
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
        match std::str::from_utf8(&self.0) {
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

/// Texts that were read lately. A history says the same keys and values over and over: an operation
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
    RECENT.with_borrow_mut(|recent| recent.share(bytes))
}
