//! Whole distributions of what was measured: for curves, and for logs that other tools read.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;

use super::slices::Packed;
use super::{SLICE, Stats, approximate, histogram};

/// Where a curve has its points; beyond the last one that has an operation of its own comes the
/// largest.
const QUANTILES: [f64; 19] = [
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9995,
    0.9999, 0.99995, 0.99999,
];

/// A point of a percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct CurvePoint {
    /// The share of the operations that took no longer.
    pub quantile: f64,
    /// Response time, in microseconds.
    pub response_us: u64,
    /// Service time, in microseconds.
    pub service_us: u64,
}

/// Histograms of microseconds of everything that was answered.
#[derive(Debug)]
pub struct Distributions {
    /// By kind of operation.
    pub kinds: Vec<KindDistribution>,
    slices: Vec<Packed>,
}

/// Histograms of one kind of operation, in microseconds.
#[derive(Debug)]
pub struct KindDistribution {
    /// Name of the kind.
    pub kind: &'static str,
    /// From when it should have been sent to answered.
    pub response: Histogram<u64>,
    /// From sent to answered.
    pub service: Histogram<u64>,
}

impl Stats {
    /// Histograms of everything so far.
    pub fn distributions(&self) -> Distributions {
        let kinds = self.kinds().0.into_iter().map(|(kind, shard)| KindDistribution {
            kind: kind.name(),
            response: shard.response,
            service: shard.service,
        });
        let slices = (0..self.slices()).map(|index| Packed::of(&self.slice(index)));
        Distributions { kinds: kinds.collect(), slices: slices.collect() }
    }
}

impl Distributions {
    /// Response times of all kinds, by slice of time. A slice begins where the last one ended, the
    /// first one with the run's clock.
    pub fn slices(&self) -> impl Iterator<Item = Histogram<u64>> {
        self.slices.iter().map(|slice| slice.unpacked().response)
    }

    /// When a slice begins, by the run's clock.
    pub fn slice_start(index: usize) -> Duration {
        SLICE.saturating_mul(u32::try_from(index).expect("runs are short"))
    }

    /// How long a slice is.
    pub fn slice_length() -> Duration {
        SLICE
    }

    /// The percentile curve of every kind that was answered, and of `all`.
    pub fn curves(&self) -> BTreeMap<String, Vec<CurvePoint>> {
        let (mut response, mut service) = (histogram(3), histogram(3));
        let mut curves = BTreeMap::new();
        for kind in self.kinds.iter().filter(|kind| !kind.response.is_empty()) {
            response.add(&kind.response).expect("equal bounds");
            service.add(&kind.service).expect("equal bounds");
            curves.insert(kind.kind.to_owned(), curve(&kind.response, &kind.service));
        }
        if !response.is_empty() {
            curves.insert("all".to_owned(), curve(&response, &service));
        }
        curves
    }
}

fn curve(response: &Histogram<u64>, service: &Histogram<u64>) -> Vec<CurvePoint> {
    let count = approximate(response.len());
    // A quantile that no operation lies beyond is the largest again.
    let has_some_beyond = |quantile: f64| (1.0 - quantile) * count >= 1.0;
    let quantiles = QUANTILES.into_iter().filter(|&quantile| has_some_beyond(quantile));
    let point = |quantile: f64| CurvePoint {
        quantile,
        response_us: response.value_at_quantile(quantile),
        service_us: service.value_at_quantile(quantile),
    };
    let last = CurvePoint { quantile: 1.0, response_us: response.max(), service_us: service.max() };
    quantiles.map(point).chain([last]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::OpKind;
    use crate::stats::{Ended, Sample};

    fn stats(count: u64) -> Stats {
        let stats = Stats::default();
        for place in 0..count {
            let from_ns = 1_000_000 * place;
            let sent_ns = from_ns + 1_000_000;
            let ended_ns = sent_ns + 1_000_000 + 1_000 * place;
            let sample = Sample { kind: OpKind::Put, ended: Ended::Ok, from_ns, sent_ns, ended_ns };
            stats.record(usize::try_from(place).unwrap(), sample);
        }
        stats
    }

    #[test]
    fn a_curve_rises_and_ends_with_the_largest() {
        let curves = stats(1000).distributions().curves();
        assert_eq!(curves.keys().collect::<Vec<_>>(), ["all", "put"]);
        let curve = &curves["put"];
        assert!(curve.windows(2).all(|pair| {
            pair[0].quantile < pair[1].quantile && pair[0].response_us <= pair[1].response_us
        }));
        assert!(curve.iter().all(|point| point.response_us > point.service_us));
        let last = curve.last().unwrap();
        assert!(last.response_us.abs_diff(2999) <= 3, "{last:?}");
        assert_eq!(curve[curve.len() - 2].quantile.to_string(), "0.999");
    }

    #[test]
    fn few_operations_have_few_points() {
        let curve = &stats(1).distributions().curves()["all"];
        assert_eq!(
            curve.iter().map(|point| point.quantile.to_string()).collect::<Vec<_>>(),
            ["0", "1"]
        );
        assert!(stats(0).distributions().curves().is_empty());
    }

    #[test]
    fn slices_hold_all_that_was_answered() {
        let distributions = stats(1200).distributions();
        let held: u64 = distributions.slices().map(|slice| slice.len()).sum();
        assert_eq!(held, 1200);
        assert_eq!(Distributions::slice_start(3), Duration::from_millis(1500));
    }
}
