//! What a conversion left out, since the other format has no words for it.
//!
//! Only what tells of the store may be left out: reads, watches, refusals. Without it a valid history
//! stays valid. What changed the store must be told, or the conversion fails.

use std::collections::BTreeMap;

/// Counts by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    counts: BTreeMap<&'static str, u64>,
}

impl LeftOut {
    /// Counts one more of what is left out for a reason.
    pub(crate) fn add(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// What was left out, and how often.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(what, count)| (*what, *count))
    }

    /// Adds what another part of the conversion left out.
    pub(crate) fn merge(&mut self, other: &LeftOut) {
        for (what, count) in other.counts() {
            *self.counts.entry(what).or_default() += count;
        }
    }
}
