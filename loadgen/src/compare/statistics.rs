//! How far two systems differ, and how sure that is.
//!
//! Runs come in pairs, one of each system, close in time, so that what the machine does meanwhile is
//! done to both. Of each pair the logarithm of the ratio is taken; the estimate is the mean of these,
//! which is the geometric mean of the ratios. Its confidence interval is a studentized bootstrap
//! (Efron and Tibshirani, *An Introduction to the Bootstrap*, section 12.5): with as few pairs as
//! anybody waits for, a plain percentile bootstrap is too sure of itself.
//!
//! Many numbers are compared at once. Each interval is at such a level (Bonferroni's) that all of
//! them hold together with the confidence that was asked for.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::stats::approximate;

/// Resamples: the tails of a comparison of twenty numbers still hold some tens of them.
const RESAMPLES: usize = 20_000;
/// With fewer pairs a resample is likely to be one pair only, and says nothing of the spread.
pub const PAIRS_MIN: usize = 4;

/// How much more there is of something in the second system than in the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Best estimate.
    pub estimate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Ratio {
    /// Of what is alike without doubt.
    pub const SAME: Ratio = Ratio { estimate: 1.0, low: 1.0, high: 1.0 };

    /// Whether the interval excludes that they are alike, and the estimate is at least `margin` from
    /// it (0.02: two percent). What differs surely but by next to nothing does not matter.
    pub fn differs(&self, margin: f64) -> bool {
        let is_sure = self.low > 1.0 || self.high < 1.0;
        is_sure && self.estimate.ln().abs() >= (1.0 + margin).ln()
    }
}

/// The level of each of `count` intervals that are to hold together with `confidence`.
pub fn level_of_each(confidence: f64, count: usize) -> f64 {
    let count = approximate(u64::try_from(count.max(1)).expect("usize fits u64"));
    1.0 - (1.0 - confidence) / count
}

/// Compares pairs of positive numbers, `(first, second)`.
///
/// # Panics
/// With fewer than [`PAIRS_MIN`] pairs, or numbers that are not positive.
pub fn ratio(pairs: &[(f64, f64)], level: f64, seed: u64) -> Ratio {
    assert!(pairs.len() >= PAIRS_MIN, "nothing is said from a single run, or a few");
    assert!(pairs.iter().all(|(a, b)| *a > 0.0 && *b > 0.0), "there is no ratio to nothing");
    let logs: Vec<f64> = pairs.iter().map(|(first, second)| (second / first).ln()).collect();
    let (mean, error) = mean_and_error(&logs);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut statistics = Vec::with_capacity(RESAMPLES);
    let mut sample = vec![0.0; logs.len()];
    for _ in 0..RESAMPLES {
        for value in &mut sample {
            *value = logs[random.random_range(0..logs.len())];
        }
        let (resampled, spread) = mean_and_error(&sample);
        if spread > 1e-12 {
            statistics.push((resampled - mean) / spread);
        }
    }
    statistics.sort_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    let low = mean - quantile(&statistics, 1.0 - tail) * error;
    let high = mean - quantile(&statistics, tail) * error;
    Ratio { estimate: mean.exp(), low: low.exp(), high: high.exp() }
}

/// Mean and its standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let count = approximate(u64::try_from(values.len()).expect("usize fits u64"));
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

/// A quantile of sorted values; 0 of none, which is the spread of what does not vary.
fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let last = approximate(u64::try_from(sorted.len()).expect("usize fits u64")) - 1.0;
    let place = format!("{:.0}", (quantile * last).clamp(0.0, last.max(0.0)));
    let place: usize = place.parse().expect("it is a whole number");
    sorted.get(place).copied().unwrap_or(0.0)
}

/// The median; the mean of the middle two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (_, _) if sorted.is_empty() => 0.0,
        (middle, 1) => sorted[middle],
        (middle, _) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, Normal, StudentT};

    use super::*;

    /// Pairs whose second number is `times` the first, with a spread of 3 % each time.
    fn pairs(count: usize, times: f64, random: &mut ChaCha8Rng, is_wild: bool) -> Vec<(f64, f64)> {
        let normal = Normal::new(0.0, 0.03).unwrap();
        let wild = StudentT::new(3.0).unwrap();
        (0..count)
            .map(|_| {
                let noise: f64 =
                    if is_wild { 0.015 * wild.sample(random) } else { normal.sample(random) };
                (1000.0, 1000.0 * times * noise.exp())
            })
            .collect()
    }

    /// How many of `tries` comparisons of `metrics` numbers over 10 pairs report a difference.
    fn found(tries: u32, metrics: usize, times: f64, is_wild: bool) -> usize {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let level = level_of_each(0.95, metrics);
        (0..tries)
            .filter(|_| {
                (0..metrics).any(|metric| {
                    // One number differs; the others are alike.
                    let times = if metric == 0 { times } else { 1.0 };
                    let pairs = pairs(10, times, &mut random, is_wild);
                    ratio(&pairs, level, 3).differs(0.02)
                })
            })
            .count()
    }

    /// Of a system compared with itself, 3 in 20 may be found to differ; here it is far fewer.
    #[test]
    fn a_system_does_not_differ_from_itself() {
        for is_wild in [false, true] {
            let found = found(60, 6, 1.0, is_wild);
            assert!(found <= 6, "{found} of 60 (wild: {is_wild})");
        }
    }

    /// A slowdown by a tenth is found 19 times in 20.
    #[test]
    fn a_tenth_is_found() {
        for is_wild in [false, true] {
            let found = found(60, 6, 1.1, is_wild);
            assert!(found >= 57, "{found} of 60 (wild: {is_wild})");
        }
    }

    #[test]
    fn an_interval_is_around_its_estimate_and_says_how_sure() {
        let steady: Vec<(f64, f64)> = vec![(10.0, 15.0); 6];
        let sure = ratio(&steady, 0.95, 1);
        assert!((sure.low - 1.5).abs() < 1e-9 && (sure.high - 1.5).abs() < 1e-9, "{sure:?}");
        let loose: Vec<(f64, f64)> =
            [0.5, 2.0, 1.0, 4.0, 0.25, 1.0].iter().map(|b| (1.0, *b)).collect();
        let unsure = ratio(&loose, 0.95, 1);
        assert!((unsure.estimate - 1.0).abs() < 1e-9, "{unsure:?}");
        assert!(unsure.low < 0.5 && unsure.high > 2.0 && !unsure.differs(0.0), "{unsure:?}");
        assert_eq!(ratio(&loose, 0.95, 1), unsure, "a seed is a result");
    }

    #[test]
    fn what_differs_by_next_to_nothing_does_not_differ() {
        let tiny = Ratio { estimate: 1.004, low: 1.003, high: 1.005 };
        assert!(!tiny.differs(0.02) && tiny.differs(0.001));
        let less = Ratio { estimate: 0.9, low: 0.88, high: 0.92 };
        assert!(less.differs(0.02));
    }

    #[test]
    fn medians() {
        for (values, expected) in [(&[3.0, 1.0, 2.0][..], 2.0), (&[4.0, 1.0], 2.5), (&[], 0.0)] {
            assert!((median(values) - expected).abs() < 1e-9, "{values:?}");
        }
    }

    #[test]
    #[should_panic(expected = "single run")]
    fn a_single_run_says_nothing() {
        ratio(&[(1.0, 2.0)], 0.95, 1);
    }
}
