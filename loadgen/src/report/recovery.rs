//! How long service took to come back after each fault.
//!
//! Judged by slices of half a second, so a time is right to half a second. A slice is *well* if its
//! throughput is at least `THROUGHPUT_SHARE` of what it was before the fault, and its 99th
//! percentile at most twice what it was, and 5 ms. Service is *back* with the first of two slices in
//! succession that are well.

use schemars::JsonSchema;
use serde::Serialize;

use crate::nemesis::Window;
use crate::stats::{SLICE, SliceSummary, Summary, approximate};

/// Share of the throughput before a fault that counts as all of it.
const THROUGHPUT_SHARE: f64 = 0.8;
/// The 99th percentile may be so many times what it was before, and
const P99_TIMES: f64 = 2.0;
/// so many microseconds.
const P99_MORE_US: f64 = 5000.0;
/// How long before a fault is looked at.
const BEFORE_S: f64 = 5.0;
/// A fault that is felt is felt within so many slices. What comes later, if they were well, is chance,
/// or the mending.
const FELT_WITHIN: usize = 4;
/// Fewer slices before a fault say nothing.
const BEFORE_SLICES_MIN: usize = 2;

/// How service took a fault.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Recovery {
    /// What was done.
    pub fault: &'static str,
    /// To whom.
    pub members: Vec<u32>,
    /// When, in seconds of the run's clock.
    pub start_s: f64,
    /// Operations per second before it; `None` if too little of the run came before.
    pub before_per_second: Option<f64>,
    /// 99th percentile of the response time before it, in microseconds.
    pub before_p99_us: Option<u64>,
    /// Seconds from the beginning of the fault until service was back; 0 if it was never away;
    /// `None` if it was not back before the next fault or the end of the load.
    pub back_after_s: Option<f64>,
    /// Seconds in which service was not well, until the next fault or the end of the load.
    pub disturbed_s: Option<f64>,
}

impl Recovery {
    /// Whether it is of this fault.
    pub(crate) fn is_of(&self, window: &Window) -> bool {
        self.fault == window.fault
            && self.members == window.members
            && self.start_s.total_cmp(&window.start_s).is_eq()
    }

    /// When service was back, for people.
    pub(crate) fn in_words(&self) -> String {
        match (self.back_after_s, self.before_per_second) {
            (Some(seconds), _) => format!("{seconds:.1} s"),
            (None, Some(_)) => "not before the next".to_owned(),
            (None, None) => "too little came before".to_owned(),
        }
    }
}

/// The slices of a load that lie wholly in it.
fn whole_slices(load: &Summary, load_start_s: f64) -> Vec<SliceSummary> {
    let end_s = load_start_s + load.elapsed_s;
    let is_whole = |slice: &&SliceSummary| {
        slice.start_s >= load_start_s && slice.start_s + SLICE.as_secs_f64() <= end_s
    };
    load.slices.iter().filter(is_whole).copied().collect()
}

/// How service took each fault that was done.
pub fn recoveries(load: &Summary, load_start_s: f64, faults: &[Window]) -> Vec<Recovery> {
    let slices = whole_slices(load, load_start_s);
    let done: Vec<&Window> = faults.iter().filter(|window| window.error.is_none()).collect();
    done.iter()
        .map(|window| {
            let later = done.iter().map(|other| other.start_s).filter(|&s| s > window.start_s);
            let until_s = later.fold(f64::INFINITY, f64::min);
            recovery(&slices, &done, window, until_s)
        })
        .collect()
}

fn recovery(
    slices: &[SliceSummary],
    faults: &[&Window],
    window: &Window,
    until_s: f64,
) -> Recovery {
    let length_s = SLICE.as_secs_f64();
    let is_quiet = |slice: &&SliceSummary| {
        let (from, to) = (slice.start_s, slice.start_s + length_s);
        !faults.iter().any(|fault| fault.start_s < to && fault.end_s > from)
    };
    let is_before = |slice: &&SliceSummary| {
        slice.start_s + length_s <= window.start_s && slice.start_s >= window.start_s - BEFORE_S
    };
    let before: Vec<SliceSummary> =
        slices.iter().filter(is_before).filter(is_quiet).copied().collect();
    let mut recovery = Recovery {
        fault: window.fault,
        members: window.members.clone(),
        start_s: window.start_s,
        before_per_second: None,
        before_p99_us: None,
        back_after_s: None,
        disturbed_s: None,
    };
    if before.len() < BEFORE_SLICES_MIN {
        return recovery;
    }
    let per_second = middle(before.iter().map(|slice| slice.per_second), f64::total_cmp);
    let p99_us = middle(before.iter().map(|slice| slice.p99_us), Ord::cmp);
    (recovery.before_per_second, recovery.before_p99_us) = (Some(per_second), Some(p99_us));
    let p99_us_max = approximate(p99_us) * P99_TIMES + P99_MORE_US;
    let is_well = |slice: &SliceSummary| {
        slice.per_second >= per_second * THROUGHPUT_SHARE && approximate(slice.p99_us) <= p99_us_max
    };
    let is_after = |slice: &&SliceSummary| {
        slice.start_s + length_s > window.start_s && slice.start_s < until_s
    };
    let after: Vec<(f64, bool)> =
        slices.iter().filter(is_after).map(|slice| (slice.start_s, is_well(slice))).collect();
    let unwell = after.iter().filter(|(_, is_well)| !is_well).count();
    recovery.disturbed_s =
        Some(approximate(u64::try_from(unwell).expect("usize fits u64")) * length_s);
    recovery.back_after_s = back_after(&after, window.start_s);
    recovery
}

/// From the beginning of the fault to the first of two slices in succession that are well; if it
/// was not felt, no time.
fn back_after(after: &[(f64, bool)], start_s: f64) -> Option<f64> {
    let felt = after.iter().take(FELT_WITHIN).position(|(_, is_well)| !is_well);
    let Some(hurt) = felt else { return Some(0.0) };
    let mut pairs = after[hurt..].windows(2);
    let back = pairs.find(|pair| pair.iter().all(|(_, is_well)| *is_well))?;
    Some((back[0].0 - start_s).max(0.0))
}

/// The median; of two, the lower.
fn middle<T>(
    values: impl Iterator<Item = T>,
    order: impl FnMut(&T, &T) -> std::cmp::Ordering,
) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_by(order);
    let middle = (values.len() - 1) / 2;
    values.swap_remove(middle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Counts, Quantiles};

    const US: u64 = 1000;

    /// A load that begins at 1 s, with a slice for each of these paces and percentiles.
    fn load(slices: &[(f64, u64)]) -> Summary {
        let quantiles = Quantiles { p50: 0, p90: 0, p99: 0, p999: 0, max: 0 };
        let slices: Vec<SliceSummary> = (2_u32..)
            .zip(slices)
            .map(|(place, &(per_second, p99_us))| SliceSummary {
                start_s: f64::from(place) * SLICE.as_secs_f64(),
                per_second,
                errors: 0,
                p50_us: 0,
                p99_us,
            })
            .collect();
        let count = u32::try_from(slices.len()).unwrap();
        Summary {
            counts: Counts { ok: 1, fail: 0, unknown: 0 },
            effort: None,
            elapsed_s: f64::from(count) * SLICE.as_secs_f64(),
            per_second: 0.0,
            response_us: quantiles,
            service_us: quantiles,
            kinds: std::collections::BTreeMap::new(),
            slices,
        }
    }

    fn window(start_s: f64, end_s: f64) -> Window {
        let (fault, target, members) = ("kill", "leader", vec![1]);
        Window { fault, target, members, start_s, end_s, error: None }
    }

    const WELL: (f64, u64) = (500.0, 10 * US);

    fn back(slices: &[(f64, u64)], faults: &[Window]) -> Vec<(Option<f64>, Option<f64>)> {
        let recoveries = recoveries(&load(slices), 1.0, faults);
        recoveries.iter().map(|r| (r.back_after_s, r.disturbed_s)).collect()
    }

    #[test]
    fn service_is_back_with_two_good_slices() {
        let stalled = (0.0, 0);
        let slow = (500.0, 900 * US);
        let slices = [WELL, WELL, WELL, WELL, stalled, stalled, WELL, slow, WELL, WELL, WELL];
        // The fault begins at 3.1 s, in the fifth slice, and lasts for longer than it is felt.
        assert_eq!(back(&slices, &[window(3.1, 5.0)]), [(Some(5.0 - 3.1), Some(1.5))]);
    }

    #[test]
    fn what_is_not_felt_takes_no_time_and_what_does_not_end_has_none() {
        let stalled = (100.0, 5 * US);
        let window = [window(3.0, 4.0)];
        assert_eq!(back(&[WELL; 8], &window), [(Some(0.0), Some(0.0))]);
        let slices = [WELL, WELL, WELL, WELL, stalled, stalled, WELL];
        assert_eq!(back(&slices, &window), [(None, Some(1.0))]);
    }

    #[test]
    fn what_comes_long_after_a_fault_is_not_its_doing() {
        let mut slices = vec![WELL; 12];
        slices[9] = (0.0, 0);
        assert_eq!(back(&slices, &[window(3.0, 3.1)]), [(Some(0.0), Some(0.5))]);
    }

    #[test]
    fn without_a_before_nothing_is_said() {
        assert_eq!(back(&[WELL; 8], &[window(1.5, 2.0)]), [(None, None)]);
    }

    /// What a fault did to service is no measure for the next one.
    #[test]
    fn what_came_under_a_fault_is_no_before() {
        let slow = (500.0, 900 * US);
        let mut slices = vec![WELL; 16];
        slices[2..9].fill(slow);
        slices[10..12].fill(slow);
        let faults = [window(2.0, 5.4), window(6.0, 6.1)];
        assert_eq!(back(&slices, &faults)[1], (Some(1.0), Some(1.0)));
    }

    /// A second fault ends what is said of the first, and the first is no before of the second.
    #[test]
    fn faults_are_told_apart() {
        let stalled = (0.0, 0);
        let mut slices = vec![WELL; 24];
        slices[6] = stalled;
        slices[16] = stalled;
        slices[17] = stalled;
        let mut failed = window(5.0, 5.1);
        failed.error = Some("nobody leads".to_owned());
        let faults = [window(4.0, 4.5), failed, window(9.0, 9.4)];
        let found = back(&slices, &faults);
        assert_eq!(found, [(Some(0.5), Some(0.5)), (Some(1.0), Some(1.0))]);
    }
}
