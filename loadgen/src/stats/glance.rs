//! What a glance at a run that goes on shows: counts and latencies by kind, and the pace of the last
//! second.

use std::time::Duration;

use super::{Counts, Quantiles, SLICE, Slice, Stats, approximate};
use crate::clock::nanos;

/// Slices that make up the last second.
const RECENT: u64 = 2;

/// Slices whose pace is shown.
const SHOWN: usize = 60;

/// A run at a glance.
#[derive(Debug, Clone)]
pub struct Glance {
    /// Measured operations so far, by how they ended.
    pub counts: Counts,
    /// Answered operations per second, over the last whole second of slices.
    pub per_second: f64,
    /// Operations that were not answered, in the same time.
    pub errors: u64,
    /// Response times in the same time, in microseconds.
    pub recent_us: Quantiles,
    /// Answered operations per second in each of the last slices.
    pub pace: Vec<f64>,
    /// Every kind so far.
    pub kinds: Vec<KindGlance>,
}

/// One kind of operation at a glance.
#[derive(Debug, Clone)]
pub struct KindGlance {
    /// Its name.
    pub kind: &'static str,
    /// Operations so far.
    pub counts: Counts,
    /// Response times so far, in microseconds.
    pub response_us: Quantiles,
}

impl Stats {
    /// What there is to see at `now_ns` of the run's clock.
    pub fn glance(&self, now_ns: u64) -> Glance {
        // The slice that goes on would seem slow.
        let end = usize::try_from(now_ns / nanos(SLICE)).expect("runs are short");
        let begin = end.saturating_sub(usize::try_from(RECENT).expect("it is small"));
        let mut recent = Slice::new();
        for index in begin..end {
            recent.add(&self.slice(index));
        }
        let shown = end.saturating_sub(SHOWN)..end.min(self.slices());
        let pace = shown.map(|index| self.answered(index));
        let pace = pace.map(|count| approximate(count) / SLICE.as_secs_f64()).collect();
        let span: Duration = SLICE * u32::try_from(RECENT).expect("it is small");
        let measured = self.kinds();
        let kinds = measured.0.iter().map(|(kind, shard)| {
            let summary = shard.summary();
            let (counts, response_us) = (summary.counts, summary.response_us);
            KindGlance { kind: kind.name(), counts, response_us }
        });
        Glance {
            counts: measured.counts(),
            per_second: approximate(recent.response.len()) / span.as_secs_f64(),
            errors: recent.errors,
            recent_us: Quantiles::of(&recent.response),
            pace,
            kinds: kinds.collect(),
        }
    }

    /// How many operations were answered in a slice of time.
    fn answered(&self, index: usize) -> u64 {
        let mut answered = 0;
        self.each_shard(|shard| answered += shard.slices.answered(index));
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::OpKind;
    use crate::stats::{Ended, Sample};

    #[test]
    fn a_glance_shows_the_last_whole_second() {
        let stats = Stats::default();
        let sample = |ended: Ended, at_ms: u64| {
            let ended_ns = at_ms * 1_000_000;
            let from_ns = ended_ns.saturating_sub(2_000_000);
            Sample { kind: OpKind::Get, ended, from_ns, sent_ns: from_ns, ended_ns }
        };
        for at_ms in [100, 200, 1100, 1600, 1700, 1900] {
            stats.record(0, sample(Ended::Ok, at_ms));
        }
        stats.record(1, sample(Ended::Fail, 1200));
        stats.record(1, sample(Ended::Ok, 2100));
        let glance = stats.glance(2_200_000_000);
        assert_eq!((glance.counts.ok, glance.counts.fail, glance.errors), (7, 1, 1));
        assert!((glance.per_second - 4.0).abs() < 1e-9, "{glance:?}");
        assert_eq!(
            glance.pace.iter().map(|pace| format!("{pace:.0}")).collect::<Vec<_>>(),
            ["4", "0", "2", "6"]
        );
        assert!(glance.recent_us.p50.abs_diff(2000) < 20, "{glance:?}");
        assert_eq!((glance.kinds[0].kind, glance.kinds[0].counts.ok), ("get", 7));
        assert!(Stats::default().glance(0).kinds.is_empty());
    }
}
