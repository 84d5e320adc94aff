//! How long operations took, and how many there were, per kind and per slice of time.
//!
//! Response time counts from when an operation should have been sent (which [`pacing`] says),
//! service time from when it was. The difference is waiting that a closed-loop measurement hides.
//!
//! Invariant: workers write into a shard of their own, so measuring does not make them wait for
//! each other; a [`Summary`] is a pure function of the merged shards. What is held does not grow with
//! the operations, and hardly with the time that a run takes.
//!
//! [`pacing`]: crate::pacing

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::nanos;
use crate::driver::EffortSummary;
use crate::generator::OpKind;

mod distribution;
mod glance;
mod slices;

pub use distribution::{CurvePoint, Distributions};
pub use glance::{Glance, KindGlance};
use slices::{Slice, Slices};

/// Shards; more than workers that measure at the same instant on common machines.
const SHARDS: usize = 8;
/// Longest time told apart, in microseconds; longer ones count as this.
const LATENCY_US_MAX: u64 = 120_000_000;
/// Width of a slice of the time series.
pub(crate) const SLICE: Duration = Duration::from_millis(500);

/// The nearest float; exact below 2^53.
pub fn approximate(value: u64) -> f64 {
    let high = u32::try_from(value >> 32).expect("32 bits remain");
    let low = u32::try_from(value & u64::from(u32::MAX)).expect("32 bits remain");
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Answered.
    Ok,
    /// Provably not applied.
    Fail,
    /// Nobody knows.
    Unknown,
}

/// One operation, as it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// What it was.
    pub kind: OpKind,
    /// How it ended.
    pub ended: Ended,
    /// From when its response time counts.
    pub from_ns: u64,
    /// When it was sent.
    pub sent_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
}

/// What was measured so far.
#[derive(Debug)]
pub struct Stats {
    shards: Vec<Mutex<Shard>>,
    completed: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
    /// What is due from here on is measured, and what is due from there on is not any more.
    measured_from_ns: AtomicU64,
    measured_to_ns: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    kinds: Kinds,
    slices: Slices,
}

/// What is measured of each kind of operation.
#[derive(Debug, Default)]
struct Kinds(BTreeMap<OpKind, KindShard>);

#[derive(Debug)]
struct KindShard {
    response: Histogram<u64>,
    service: Histogram<u64>,
    fail: u64,
    unknown: u64,
}

impl Default for Stats {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Stats {
            shards,
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            measured_from_ns: AtomicU64::new(0),
            measured_to_ns: AtomicU64::new(u64::MAX),
        }
    }
}

/// Counts so far, for a progress line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Answered operations.
    pub ok: u64,
    /// Operations that provably changed nothing: refused by a member, or reads that were not
    /// answered.
    pub fail: u64,
    /// Operations of which nobody knows.
    pub unknown: u64,
}

impl Stats {
    /// Measures what is due in this span of the run's clock; the rest only shows over time. All is
    /// measured if nothing else is said.
    pub fn measure(&self, span_ns: std::ops::Range<u64>) {
        self.measured_from_ns.store(span_ns.start, Ordering::Relaxed);
        self.measured_to_ns.store(span_ns.end, Ordering::Relaxed);
    }

    /// Whether what is due then is measured.
    fn is_measured(&self, from_ns: u64) -> bool {
        from_ns >= self.measured_from_ns.load(Ordering::Relaxed)
            && from_ns < self.measured_to_ns.load(Ordering::Relaxed)
    }

    /// Counts one operation of the thread with this index.
    pub fn record(&self, thread: usize, sample: Sample) {
        let counter = match sample.ended {
            Ended::Ok => &self.completed,
            Ended::Fail => &self.failed,
            Ended::Unknown => &self.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let shard = &self.shards[thread % SHARDS];
        shard.lock().expect("no holder panics").record(sample, self.is_measured(sample.from_ns));
    }

    /// Counts so far, of what is measured and of what is not.
    pub fn counts(&self) -> Counts {
        Counts {
            ok: self.completed.load(Ordering::Relaxed),
            fail: self.failed.load(Ordering::Relaxed),
            unknown: self.unknown.load(Ordering::Relaxed),
        }
    }

    /// Answered operations and their median response time in the slice before the last one, in
    /// microseconds: how it goes just now.
    pub fn lately(&self) -> (u64, u64) {
        let before_last = self.slices().checked_sub(2).map(|index| self.slice(index));
        before_last.map_or((0, 0), |s| (s.response.len(), s.response.value_at_quantile(0.5)))
    }

    /// All that was measured, for a load whose measured part took `elapsed`.
    pub fn summary(&self, elapsed: Duration) -> Summary {
        let slices = (0..self.slices()).map(|index| self.slice(index).summary(index));
        self.kinds().summary(elapsed, slices.collect())
    }

    /// What all threads measured, by kind.
    fn kinds(&self) -> Kinds {
        let mut kinds = Kinds::default();
        self.each_shard(|shard| kinds.add(&shard.kinds));
        kinds
    }

    /// How many slices of time there are.
    fn slices(&self) -> usize {
        let mut count = 0;
        self.each_shard(|shard| count = count.max(shard.slices.len()));
        count
    }

    /// A slice of time, of all threads.
    fn slice(&self, index: usize) -> Slice {
        let mut slice = Slice::new();
        self.each_shard(|shard| shard.slices.add_to(index, &mut slice));
        slice
    }

    fn each_shard(&self, mut see: impl FnMut(&Shard)) {
        for shard in &self.shards {
            see(&shard.lock().expect("no holder panics"));
        }
    }
}

impl Shard {
    fn record(&mut self, sample: Sample, is_measured: bool) {
        let response_us = sample.ended_ns.saturating_sub(sample.from_ns) / 1000;
        let service_us = sample.ended_ns.saturating_sub(sample.sent_ns) / 1000;
        let slice = usize::try_from(sample.ended_ns / nanos(SLICE)).expect("runs are short");
        self.slices.record(slice, (sample.ended == Ended::Ok).then_some(response_us));
        if !is_measured {
            return;
        }
        let kind = self.kinds.0.entry(sample.kind).or_insert_with(KindShard::new);
        match sample.ended {
            Ended::Ok => {
                kind.response.saturating_record(response_us);
                kind.service.saturating_record(service_us);
            }
            Ended::Fail => kind.fail += 1,
            Ended::Unknown => kind.unknown += 1,
        }
    }
}

impl Kinds {
    fn add(&mut self, other: &Kinds) {
        for (kind, theirs) in &other.0 {
            let ours = self.0.entry(*kind).or_insert_with(KindShard::new);
            ours.response.add(&theirs.response).expect("equal bounds");
            ours.service.add(&theirs.service).expect("equal bounds");
            ours.fail += theirs.fail;
            ours.unknown += theirs.unknown;
        }
    }

    /// What was measured, by how it ended.
    fn counts(&self) -> Counts {
        let mut counts = Counts { ok: 0, fail: 0, unknown: 0 };
        for shard in self.0.values() {
            counts.ok += shard.response.len();
            counts.fail += shard.fail;
            counts.unknown += shard.unknown;
        }
        counts
    }

    fn summary(&self, elapsed: Duration, slices: Vec<SliceSummary>) -> Summary {
        let mut response = histogram(3);
        let mut service = histogram(3);
        let mut kinds = BTreeMap::new();
        for (kind, shard) in &self.0 {
            response.add(&shard.response).expect("equal bounds");
            service.add(&shard.service).expect("equal bounds");
            kinds.insert(kind.name(), shard.summary());
        }
        let counts = self.counts();
        let per_second = approximate(counts.ok) / elapsed.as_secs_f64().max(1e-9);
        Summary {
            counts,
            effort: None,
            elapsed_s: elapsed.as_secs_f64(),
            per_second,
            response_us: Quantiles::of(&response),
            service_us: Quantiles::of(&service),
            kinds,
            slices,
        }
    }
}

impl KindShard {
    fn new() -> KindShard {
        KindShard { response: histogram(3), service: histogram(3), fail: 0, unknown: 0 }
    }

    fn summary(&self) -> KindSummary {
        KindSummary {
            counts: Counts { ok: self.response.len(), fail: self.fail, unknown: self.unknown },
            response_us: Quantiles::of(&self.response),
            service_us: Quantiles::of(&self.service),
        }
    }
}

/// A histogram of microseconds that grows to what it has to hold.
fn histogram(significant_digits: u8) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, significant_digits)
        .expect("the bounds are valid");
    histogram.auto(false);
    histogram
}

/// All that was measured in a run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Summary {
    /// Operations by how they ended.
    pub counts: Counts,
    /// What the generator itself cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<EffortSummary>,
    /// How long load was offered.
    pub elapsed_s: f64,
    /// Answered operations per second.
    pub per_second: f64,
    /// From when it should have been sent to answered, in microseconds.
    pub response_us: Quantiles,
    /// From sent to answered, in microseconds.
    pub service_us: Quantiles,
    /// The same for each kind of operation.
    pub kinds: BTreeMap<&'static str, KindSummary>,
    /// Over time.
    pub slices: Vec<SliceSummary>,
}

impl Summary {
    /// How many operations there were, for people.
    pub fn in_words(&self) -> String {
        let Counts { ok, fail, unknown } = self.counts;
        let effort = self.effort.as_ref();
        let count = |count: u64, what: &str| match count {
            0 => String::new(),
            count => format!(", {count} {what}"),
        };
        let not_started = count(effort.map_or(0, |e| e.not_started), "were due and never started");
        let dropped = count(effort.map_or(0, |e| e.dropped), "dropped");
        let late = count(effort.map_or(0, |e| e.late), "started late");
        format!(
            "{ok} operations answered in {:.1} s ({:.0}/s), {fail} failed, {unknown} of unknown \
             outcome{late}{dropped}{not_started}",
            self.elapsed_s, self.per_second
        )
    }
}

/// One kind of operation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KindSummary {
    /// Operations by how they ended.
    pub counts: Counts,
    /// From when it should have been sent to answered, in microseconds.
    pub response_us: Quantiles,
    /// From sent to answered, in microseconds.
    pub service_us: Quantiles,
}

/// Half a second of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct SliceSummary {
    /// When it begins, in seconds since the start of the run's clock.
    pub start_s: f64,
    /// Answered operations per second.
    pub per_second: f64,
    /// Operations that were not answered.
    pub errors: u64,
    /// Median response time.
    pub p50_us: u64,
    /// 99th percentile of the response time.
    pub p99_us: u64,
}

/// Where a distribution of latencies lies, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Quantiles {
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Largest.
    pub max: u64,
}

impl Quantiles {
    /// Of a histogram of microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Quantiles {
        Quantiles {
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

/// Seconds as a duration of this clock's slices; used to place fault windows.
pub fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn sample(ended: Ended, due_ms: u64, sent_ms: u64, ended_ms: u64) -> Sample {
        Sample {
            kind: OpKind::Put,
            ended,
            from_ns: due_ms * MS,
            sent_ns: sent_ms * MS,
            ended_ns: ended_ms * MS,
        }
    }

    #[test]
    fn waiting_counts_as_response_time_but_not_as_service_time() {
        let stats = Stats::default();
        for worker in 0..100 {
            stats.record(worker, sample(Ended::Ok, 0, 90, 100));
        }
        let summary = stats.summary(Duration::from_secs(2));
        let near = |value: u64, expected: u64| value.abs_diff(expected) <= expected / 500;
        assert!(near(summary.response_us.p50, 100_000), "{:?}", summary.response_us);
        assert!(near(summary.service_us.p50, 10_000), "{:?}", summary.service_us);
        assert!((summary.per_second - 50.0).abs() < 1e-9);
        assert_eq!(summary.kinds["put"].counts.ok, 100);
    }

    #[test]
    fn errors_are_counted_apart_and_have_no_latency() {
        let stats = Stats::default();
        stats.record(0, sample(Ended::Ok, 0, 0, 1));
        stats.record(1, sample(Ended::Fail, 0, 0, 700));
        stats.record(2, sample(Ended::Unknown, 0, 0, 5000));
        let summary = stats.summary(Duration::from_secs(1));
        assert_eq!(summary.counts, Counts { ok: 1, fail: 1, unknown: 1 });
        assert!(summary.response_us.max < 2000);
        let errors: Vec<u64> = summary.slices.iter().map(|slice| slice.errors).collect();
        assert_eq!(errors, [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn what_is_due_outside_of_the_measured_span_only_shows_over_time() {
        let stats = Stats::default();
        stats.measure(1000 * MS..2000 * MS);
        for due_ms in [999, 1000, 1999, 2000] {
            stats.record(0, sample(Ended::Ok, due_ms, due_ms, due_ms + 10));
        }
        let summary = stats.summary(Duration::from_secs(1));
        assert_eq!((summary.counts.ok, summary.kinds["put"].counts.ok), (2, 2));
        let over_time: f64 = summary.slices.iter().map(|slice| slice.per_second / 2.0).sum();
        assert!((over_time - 4.0).abs() < 1e-9);
        assert_eq!(stats.counts().ok, 4);
    }

    #[test]
    fn floats_are_near() {
        for value in [0_u64, 1, 1 << 33, (1 << 53) - 1] {
            assert_eq!(format!("{:.0}", approximate(value)), value.to_string());
        }
    }
}
