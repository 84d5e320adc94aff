//! Slices of time: how long what ended in each took.
//!
//! The newest slices are whole histograms, of some 20 KiB each. The others are kept as such a
//! histogram's bytes, some hundred of them, and as nothing where nothing was answered: a long run has
//! many.
//!
//! Invariant: nothing is lost. What comes late, because its thread was held up between reading the
//! clock and recording, is added to the slice that it belongs to.

use std::collections::VecDeque;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

use super::{SLICE, SliceSummary, approximate, histogram};

/// The newest slices, into which nearly everything goes: the one that goes on, and the one before,
/// for whoever is a little late.
const NEWEST: usize = 2;

/// Slices of time, from the beginning of a run's clock.
#[derive(Debug, Default)]
pub(super) struct Slices {
    past: Vec<Packed>,
    newest: VecDeque<Slice>,
}

/// What ended in a slice of time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slice {
    /// Response times of what was answered, in microseconds.
    pub(super) response: Histogram<u64>,
    /// How much was not answered.
    pub(super) errors: u64,
}

/// The same in few bytes.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// A histogram as HdrHistogram's V2 has it; empty if nothing was answered.
    response: Box<[u8]>,
    answered: u64,
    errors: u64,
}

impl Slices {
    /// Counts an operation that ended in the slice with this index, with its response time in
    /// microseconds if it was answered.
    pub(super) fn record(&mut self, index: usize, response_us: Option<u64>) {
        self.come_to(index);
        if let Some(place) = index.checked_sub(self.past.len()) {
            self.newest[place].record(response_us);
        } else {
            let mut slice = self.past[index].unpacked();
            slice.record(response_us);
            self.past[index] = Packed::of(&slice);
        }
    }

    /// Makes the slice with this index be there. Those that are not among the newest then are packed.
    fn come_to(&mut self, index: usize) {
        while index >= self.past.len() + NEWEST {
            let oldest = self.newest.pop_front();
            self.past.push(oldest.map_or_else(Packed::default, |slice| Packed::of(&slice)));
        }
        while index >= self.len() {
            self.newest.push_back(Slice::new());
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.past.len() + self.newest.len()
    }

    /// Adds a slice, if it is there, to another one.
    pub(super) fn add_to(&self, index: usize, sum: &mut Slice) {
        if let Some(packed) = self.past.get(index) {
            sum.add(&packed.unpacked());
        } else if let Some(slice) = self.newest.get(index - self.past.len()) {
            sum.add(slice);
        }
    }

    /// How many operations were answered in a slice.
    pub(super) fn answered(&self, index: usize) -> u64 {
        if let Some(packed) = self.past.get(index) {
            return packed.answered;
        }
        self.newest.get(index - self.past.len()).map_or(0, |slice| slice.response.len())
    }
}

impl Slice {
    pub(super) fn new() -> Slice {
        Slice { response: histogram(2), errors: 0 }
    }

    fn record(&mut self, response_us: Option<u64>) {
        match response_us {
            Some(response_us) => self.response.saturating_record(response_us),
            None => self.errors += 1,
        }
    }

    pub(super) fn add(&mut self, other: &Slice) {
        self.response.add(&other.response).expect("equal bounds");
        self.errors += other.errors;
    }

    pub(super) fn summary(&self, index: usize) -> SliceSummary {
        let index = u64::try_from(index).expect("usize fits u64");
        SliceSummary {
            start_s: approximate(index) * SLICE.as_secs_f64(),
            per_second: approximate(self.response.len()) / SLICE.as_secs_f64(),
            errors: self.errors,
            p50_us: self.response.value_at_quantile(0.5),
            p99_us: self.response.value_at_quantile(0.99),
        }
    }
}

impl Packed {
    pub(super) fn of(slice: &Slice) -> Packed {
        let mut response = Vec::new();
        if !slice.response.is_empty() {
            let packed = V2Serializer::new().serialize(&slice.response, &mut response);
            packed.expect("counts are below 2^63, and memory takes all");
        }
        let (answered, errors) = (slice.response.len(), slice.errors);
        Packed { response: response.into_boxed_slice(), answered, errors }
    }

    pub(super) fn unpacked(&self) -> Slice {
        let mut slice = Slice { errors: self.errors, ..Slice::new() };
        if !self.response.is_empty() {
            let unpacked = Deserializer::new().deserialize(&mut &*self.response);
            slice.response = unpacked.expect("the bytes are our own");
        }
        slice
    }
}

#[cfg(test)]
impl Slices {
    /// Bytes that are held.
    pub(super) fn held(&self) -> usize {
        let packed = |packed: &Packed| size_of::<Packed>() + packed.response.len();
        let whole = |slice: &Slice| size_of::<Slice>() + slice.response.distinct_values() * 8;
        self.past.iter().map(packed).sum::<usize>() + self.newest.iter().map(whole).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// What an operation may come to: mostly some milliseconds, now and then longer than is told
    /// apart, or no answer.
    fn ended(rng: &mut ChaCha8Rng) -> Option<u64> {
        match rng.random_range(0..100) {
            0 => None,
            1 => Some(0),
            2 => Some(rng.random_range(0..400_000_000)),
            _ => Some(300 << rng.random_range(0..8)).map(|most| rng.random_range(most / 2..most)),
        }
    }

    fn slice(slices: &Slices, index: usize) -> Slice {
        let mut sum = Slice::new();
        slices.add_to(index, &mut sum);
        sum
    }

    /// Packed or not, a slice is what a whole histogram would be; also for whoever comes late.
    #[test]
    fn slices_are_what_whole_histograms_would_be() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut slices = Slices::default();
        let mut whole: Vec<Slice> = Vec::new();
        for place in 0..20_000_usize {
            let now = place / 100;
            let index = if place.is_multiple_of(40) { rng.random_range(0..=now) } else { now };
            let response_us = ended(&mut rng);
            slices.record(index, response_us);
            whole.resize_with(whole.len().max(index + 1), Slice::new);
            whole[index].record(response_us);
        }
        assert_eq!((slices.len(), slices.past.len()), (200, 198));
        for (index, expected) in whole.iter().enumerate() {
            let found = slice(&slices, index);
            assert_eq!(found, *expected, "{index}");
            assert_eq!(found.summary(index), expected.summary(index));
            assert_eq!(slices.answered(index), expected.response.len());
        }
        assert_eq!((slice(&slices, 200), slices.answered(200)), (Slice::new(), 0));
    }

    /// A run of an hour had 5 MiB more each minute.
    #[test]
    fn an_hour_takes_little_and_a_quiet_one_nearly_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut slices = Slices::default();
        for index in 0..7200 {
            for _ in 0..100 {
                slices.record(index, ended(&mut rng));
            }
        }
        let busy = slices.held();
        assert!(busy < 7200 * 400, "{busy}");
        slices.record(14_399, Some(300));
        let quiet = slices.held() - busy;
        assert!(quiet < 7200 * 64, "{quiet}");
    }
}
