//! What requests are made of: few keys, values and leases, and revisions around those that are
//! readable. Mostly what is there, sometimes what is not, seldom what is wrong.

use prost::bytes::Bytes;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Keys that are in one range, beside each other, and one that is no text.
const KEYS: [&[u8]; 7] = [b"a", b"a/1", b"a/2", b"b", b"c", b"d", b"\xfe"];
/// Ends of ranges, of which some come before some keys.
const ENDS: [&[u8]; 7] = [b"a/1", b"a/2", b"a0", b"b", b"d", b"zz", b"\xff"];
/// All keys from here on.
const REST: &[u8] = b"\0";
const VALUES: [&[u8]; 4] = [b"", b"x", b"y", b"zz"];
/// Leases that can be granted; the last is never granted.
const LEASES: std::ops::RangeInclusive<i64> = 1..=5;

/// Random choices, and what is known of the server.
#[derive(Debug)]
pub(super) struct Draw {
    random: ChaCha8Rng,
    /// The newest revision.
    pub(super) revision: i64,
    /// What was compacted.
    pub(super) compacted: i64,
    /// The leases that were granted.
    pub(super) leases: Vec<i64>,
}

/// A range of keys, as requests name it.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    pub(super) key: Bytes,
    pub(super) end: Bytes,
}

impl Draw {
    pub(super) fn new(seed: u64, stream: u64) -> Draw {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        Draw { random, revision: 1, compacted: 0, leases: Vec::new() }
    }

    /// True in so many of a thousand cases.
    pub(super) fn in_thousand(&mut self, cases: u32) -> bool {
        self.random.random_ratio(cases, 1000)
    }

    pub(super) fn number(&mut self, range: std::ops::Range<i64>) -> i64 {
        self.random.random_range(range)
    }

    pub(super) fn count(&mut self, range: std::ops::RangeInclusive<usize>) -> usize {
        self.random.random_range(range)
    }

    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.choose(&mut self.random).expect("there are choices")
    }

    /// The one whose weight is drawn.
    pub(super) fn weighted<T: Copy>(&mut self, choices: &[(T, u32)]) -> T {
        let chosen = choices.choose_weighted(&mut self.random, |(_, weight)| *weight);
        chosen.expect("a weight is positive").0
    }

    pub(super) fn key(&mut self) -> Bytes {
        if self.in_thousand(8) {
            return Bytes::new();
        }
        Bytes::from_static(self.one_of(&KEYS))
    }

    pub(super) fn keys(&mut self) -> Keys {
        let key = self.key();
        let end = match self.number(0..100) {
            0..45 => Bytes::new(),
            45..60 => Bytes::from_static(REST),
            60..66 => return Keys { key: Bytes::from_static(REST), end: Bytes::from_static(REST) },
            66..70 => key.clone(),
            _ => Bytes::from_static(self.one_of(&ENDS)),
        };
        Keys { key, end }
    }

    pub(super) fn value(&mut self) -> Bytes {
        Bytes::from_static(self.one_of(&VALUES))
    }

    /// A lease: mostly one that was granted, if there is one.
    pub(super) fn lease(&mut self) -> i64 {
        if self.leases.is_empty() || self.in_thousand(150) {
            return self.random.random_range(LEASES);
        }
        let leases = self.leases.clone();
        self.one_of(&leases)
    }

    /// A lease's id to grant.
    pub(super) fn new_lease(&mut self) -> i64 {
        match self.number(0..100) {
            // The server chooses.
            0..3 => 0,
            _ => self.random.random_range(*LEASES.start()..*LEASES.end()),
        }
    }

    /// Mostly a revision that can be read.
    pub(super) fn revision(&mut self) -> i64 {
        let oldest = self.compacted.max(1);
        match self.number(0..100) {
            0..55 => self.number(oldest..self.revision.max(oldest) + 1),
            55..75 => self.revision,
            75..82 => oldest,
            82..92 => self.revision + self.number(1..4),
            92..98 => self.number(1..oldest + 1),
            _ => -1,
        }
    }
}
