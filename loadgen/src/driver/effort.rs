//! What the generator itself cost a load: how late it was of its own doing, and how busy.
//!
//! An operation is late of the generator's own doing if a client was free when it was due. If none
//! was, the cluster is slow, and the lateness belongs to its response time.

use std::time::Duration;

use hdrhistogram::Histogram;
use nix::time::{ClockId, clock_gettime};
use schemars::JsonSchema;
use serde::Serialize;

use crate::stats::{Quantiles, approximate};

/// Longest lateness told apart, in microseconds.
const LAG_US_MAX: u64 = 60_000_000;
/// A thread that is busier than this cannot keep a timetable, nor ask as fast as it was answered.
const BUSY_MAX: f64 = 0.9;
/// Lateness below this does not count, in microseconds: no other timer is better.
const LAG_US_MIN: u64 = 1000;

/// What one thread cost.
#[derive(Debug)]
pub struct Effort {
    lag: Histogram<u64>,
    /// Operations that started late because all clients were busy.
    late: u64,
    /// Operations that were never sent for the same reason.
    dropped: u64,
    /// Operations that were due and that no client came to start.
    pub(super) not_started: u64,
    cpu_before: Duration,
    cpu: Duration,
}

/// What the generator cost a load.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EffortSummary {
    /// Threads that offered the load.
    pub threads: usize,
    /// CPU time of all of them, in seconds.
    pub cpu_s: f64,
    /// The busiest one's share of a core, from 0 to 1.
    pub busiest: f64,
    /// How late operations started of our own doing, in microseconds; in an open loop.
    pub lag_us: Quantiles,
    /// Operations that started late because all clients were busy.
    pub late: u64,
    /// Operations that were due while all clients were busy, and never sent.
    pub dropped: u64,
    /// Operations that were due and that no client came to start.
    pub not_started: u64,
    /// Why what was measured is not the cluster's doing, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<String>,
}

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

impl Effort {
    /// Begins to count for the thread that calls.
    pub(super) fn start() -> Effort {
        let lag = Histogram::new_with_bounds(1, LAG_US_MAX, 2).expect("the bounds are valid");
        let (late, dropped, not_started, cpu) = (0, 0, 0, Duration::ZERO);
        Effort { lag, late, dropped, not_started, cpu_before: thread_cpu(), cpu }
    }

    /// An operation started late, of the generator's own doing.
    pub(super) fn lagged(&mut self, by_ns: u64) {
        self.lag.saturating_record(by_ns / 1000);
    }

    /// An operation started late because all clients were busy.
    pub(super) fn came_late(&mut self) {
        self.late += 1;
    }

    /// An operation was not sent because all clients were busy.
    pub(super) fn dropped(&mut self) {
        self.dropped += 1;
    }

    /// The load has ended.
    pub(super) fn stop(&mut self) {
        self.cpu = thread_cpu().saturating_sub(self.cpu_before);
    }

    /// What all threads cost together in a load of `elapsed`, whose median response time is known.
    pub fn summary(threads: &[Effort], elapsed: Duration, response_p50_us: u64) -> EffortSummary {
        let mut whole = Effort::start();
        let elapsed_s = elapsed.as_secs_f64().max(1e-9);
        let mut busiest: f64 = 0.0;
        for thread in threads {
            whole.lag.add(&thread.lag).expect("equal bounds");
            whole.late += thread.late;
            whole.dropped += thread.dropped;
            whole.not_started += thread.not_started;
            whole.cpu += thread.cpu;
            busiest = busiest.max(thread.cpu.as_secs_f64() / elapsed_s);
        }
        let lag_us = Quantiles::of(&whole.lag);
        EffortSummary {
            threads: threads.len(),
            cpu_s: whole.cpu.as_secs_f64(),
            busiest,
            lag_us,
            late: whole.late,
            dropped: whole.dropped,
            not_started: whole.not_started,
            bottleneck: bottleneck(busiest, lag_us, response_p50_us),
        }
    }
}

/// Whether the generator measured itself, in words.
fn bottleneck(busiest: f64, lag_us: Quantiles, response_p50_us: u64) -> Option<String> {
    if busiest > BUSY_MAX {
        return Some(format!(
            "a thread of the generator was busy for {:.0} % of the time: it cannot ask faster; give \
             it more threads",
            busiest * 100.0
        ));
    }
    (lag_us.p50 > LAG_US_MIN.max(response_p50_us / 2)).then(|| {
        format!(
            "half of the operations started {:.1} ms or more after they were due although a client \
             was free, and half of them took {:.1} ms or less: the machine is too busy",
            approximate(lag_us.p50) / 1000.0,
            approximate(response_p50_us) / 1000.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(p50: u64) -> Quantiles {
        Quantiles { p50, p90: p50, p99: p50, p999: p50, max: p50 }
    }

    #[test]
    fn a_generator_that_measures_itself_says_so() {
        for (busiest, lag_p50_us, response_p50_us, is_bottleneck) in [
            (0.5, 60, 300, false),
            (0.95, 60, 300, true),
            // Late, and nothing to what the cluster takes.
            (0.5, 3000, 90_000, false),
            (0.5, 3000, 3500, true),
            // No timer is better.
            (0.5, 900, 900, false),
        ] {
            let found = bottleneck(busiest, lag(lag_p50_us), response_p50_us);
            assert_eq!(found.is_some(), is_bottleneck, "{busiest} {lag_p50_us} {found:?}");
        }
    }

    #[test]
    fn threads_add_up() {
        let mut threads = [Effort::start(), Effort::start()];
        threads[0].lagged(5_000_000);
        threads[0].came_late();
        threads[1].dropped();
        threads[1].not_started = 3;
        threads[1].cpu = Duration::from_millis(300);
        let summary = Effort::summary(&threads, Duration::from_secs(1), 100);
        assert_eq!((summary.late, summary.dropped, summary.not_started), (1, 1, 3));
        assert!((summary.busiest - 0.3).abs() < 1e-9);
        assert!(summary.lag_us.max >= 4900, "{:?}", summary.lag_us);
    }
}
