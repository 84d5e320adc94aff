//! The keys of a workload, and how often each is chosen.
//!
//! Invariant: keys are in byte order of their index, so that neighbours by index are neighbours
//! in a range.

mod choice;

use rusd_checker::history::text::Text;

use crate::workload::{KeyShape, Keys};
pub use choice::{Chooser, Purpose};

/// Digits of a hash.
const HASH_DIGITS: usize = 16;
/// Digits between two slashes of a path.
const SEGMENT_DIGITS: usize = 2;

/// The keys of a workload.
#[derive(Debug)]
pub struct KeySpace {
    prefix: String,
    count: usize,
    digits: usize,
    shape: KeyShape,
    /// What hashed keys are called, in order.
    hashes: Vec<u64>,
    choice: choice::Tables,
}

impl KeySpace {
    /// The keys that the workload declares.
    pub fn new(keys: &Keys) -> KeySpace {
        let count = usize::try_from(*keys.count.get_ref()).expect("u32 fits usize");
        let mut digits = (count - 1).to_string().len();
        let mut hashes = Vec::new();
        match keys.shape {
            KeyShape::Padded => {}
            KeyShape::Path => digits = digits.next_multiple_of(SEGMENT_DIGITS),
            KeyShape::Hashed => {
                hashes = (0..*keys.count.get_ref()).map(|index| scattered(index.into())).collect();
                hashes.sort_unstable();
            }
        }
        let (prefix, shape) = (keys.prefix.clone(), keys.shape);
        KeySpace { prefix, count, digits, shape, hashes, choice: choice::Tables::new(keys) }
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The key of an index. An index past the last is the end of a range over the last keys.
    pub fn key(&self, index: usize) -> Text {
        if index >= self.count {
            return Text::from(&prefix_end(self.prefix.as_bytes()));
        }
        Text::from(&self.name(index))
    }

    fn name(&self, index: usize) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.prefix.len() + HASH_DIGITS + self.digits);
        name.extend_from_slice(self.prefix.as_bytes());
        match self.shape {
            KeyShape::Padded => write_digits(&mut name, index, self.digits),
            KeyShape::Hashed => name.extend(format!("{:016x}", self.hashes[index]).into_bytes()),
            KeyShape::Path => {
                let mut digits = Vec::with_capacity(self.digits);
                write_digits(&mut digits, index, self.digits);
                for (place, segment) in digits.chunks(SEGMENT_DIGITS).enumerate() {
                    if place > 0 {
                        name.push(b'/');
                    }
                    name.extend_from_slice(segment);
                }
            }
        }
        name
    }

    /// First key and end of the range that holds all keys.
    pub fn whole(&self) -> (Text, Text) {
        (Text::from(&self.prefix), Text::from(&prefix_end(self.prefix.as_bytes())))
    }

    /// First key and end of the range that holds the key of an index and those beside it in its
    /// folder; where there are no folders, those that differ in the last two digits.
    pub fn folder(&self, index: usize) -> (Text, Text) {
        let mut name = self.name(index.min(self.count - 1));
        let after_prefix = name.len() - self.prefix.len();
        name.truncate(name.len() - after_prefix.min(SEGMENT_DIGITS));
        let end = prefix_end(&name);
        (Text::from(&name), Text::from(&end))
    }

    /// The index of a key of this space.
    pub fn index_of(&self, key: &[u8]) -> Option<usize> {
        let name = std::str::from_utf8(key.strip_prefix(self.prefix.as_bytes())?).ok()?;
        let index = match self.shape {
            KeyShape::Padded => name.parse().ok()?,
            KeyShape::Hashed => {
                self.hashes.binary_search(&u64::from_str_radix(name, 16).ok()?).ok()?
            }
            KeyShape::Path => name.replace('/', "").parse().ok()?,
        };
        (index < self.count).then_some(index)
    }
}

/// A number with leading zeros.
fn write_digits(out: &mut Vec<u8>, number: usize, digits: usize) {
    let start = out.len();
    out.resize(start + digits, b'0');
    let mut rest = number;
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
    }
}

/// A number that tells nothing of the one it is made of, and is made of no other (the finalizer of
/// `SplitMix64`, which can be undone).
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// End of the range of all keys that start with `prefix`, as etcd has it.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests;
