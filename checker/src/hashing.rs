//! The hash of maps that are asked for every operation.

use std::hash::{BuildHasherDefault, Hasher};

/// For a map whose keys are short, or numbers: nobody attacks a history.
pub(crate) type Hashing = BuildHasherDefault<Fnv>;

/// FNV-1a over whole words, and a last mix.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fnv(u64);

impl Fnv {
    fn take(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.take(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            self.take(rest.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.take(number);
    }

    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    }
}
