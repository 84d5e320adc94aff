//! When the next operation is due, and from when its response time counts.
//!
//! One [`Pacer`] serves all clients. In an open loop each call takes the next place on a fixed
//! timetable. Two cases, told apart by [`counts_from_ns`]:
//!
//! - All clients were busy, and the place has fallen into the past: the operation is late because
//!   the cluster is slow, so its response time counts from when it was *due*.
//! - The client was free before the operation was due and slept until then: response time counts
//!   from when it *woke*. Timers wake up to a millisecond late, which is our own doing, and as long
//!   as many answers take.
//!
//! Operations that were due and that nobody came to start have no response time at all; how many
//! [`Pacer::due_until`] lets one count, and a run says so beside its latencies.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::workload::{Pacing, PacingMode};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Hands out due times.
#[derive(Debug)]
pub struct Pacer {
    /// Operations per second; `None` is a closed loop.
    rate: Option<u64>,
    start_ns: u64,
    next: AtomicU64,
}

impl Pacer {
    /// A pacer whose first operation is due at `start_ns`.
    pub fn new(pacing: &Pacing, start_ns: u64) -> Pacer {
        let rate = match pacing.mode.get_ref() {
            PacingMode::Closed => None,
            PacingMode::Constant => {
                Some(u64::from(pacing.rate.as_ref().map_or(1, |rate| *rate.get_ref())))
            }
        };
        Pacer { rate, start_ns, next: AtomicU64::new(0) }
    }

    /// When the next operation is due. `now_ns` is when the client became free.
    pub fn due_ns(&self, now_ns: u64) -> u64 {
        let Some(rate) = self.rate else { return now_ns };
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        let (seconds, rest) = (place / rate, place % rate);
        self.start_ns + seconds * NANOS_PER_SECOND + rest * NANOS_PER_SECOND / rate
    }

    /// How many operations were due up to `end_ns`; `None` in a closed loop, where one is due only
    /// when somebody starts it.
    pub fn due_until(&self, end_ns: u64) -> Option<u64> {
        let elapsed_ns = u128::from(end_ns.checked_sub(self.start_ns)?);
        let places = elapsed_ns * u128::from(self.rate?) / u128::from(NANOS_PER_SECOND);
        u64::try_from(places + 1).ok()
    }
}

/// From when the response time of an operation counts that was due at `due_ns`, whose client was
/// free at `free_ns` and woke at `woke_ns`.
pub fn counts_from_ns(due_ns: u64, free_ns: u64, woke_ns: u64) -> u64 {
    if free_ns < due_ns { woke_ns } else { due_ns }
}

#[cfg(test)]
mod tests {
    use toml::Spanned;

    use super::*;

    fn pacing(mode: PacingMode, rate: Option<u32>) -> Pacing {
        Pacing { mode: Spanned::new(0..0, mode), rate: rate.map(|r| Spanned::new(0..0, r)) }
    }

    #[test]
    fn a_closed_loop_is_due_when_the_client_is_free() {
        let pacer = Pacer::new(&pacing(PacingMode::Closed, None), 5);
        assert_eq!([pacer.due_ns(7), pacer.due_ns(900)], [7, 900]);
    }

    #[test]
    fn a_constant_rate_keeps_its_timetable_however_late_the_clients_are() {
        let pacer = Pacer::new(&pacing(PacingMode::Constant, Some(4)), 1000);
        let dues: Vec<u64> = (0..6).map(|_| pacer.due_ns(99_000_000_000)).collect();
        let expected = [0, 250_000_000, 500_000_000, 750_000_000, 1_000_000_000, 1_250_000_000_u64];
        assert_eq!(dues, expected.map(|due| due + 1000));
    }

    #[test]
    fn a_late_operation_counts_from_when_it_was_due_and_a_punctual_one_from_when_its_client_woke() {
        for (due_ns, free_ns, woke_ns, expected) in
            [(100, 20, 101, 101), (100, 100, 100, 100), (100, 250, 251, 100)]
        {
            assert_eq!(counts_from_ns(due_ns, free_ns, woke_ns), expected);
        }
    }

    #[test]
    fn what_was_due_is_known_whether_or_not_anybody_started_it() {
        let pacer = Pacer::new(&pacing(PacingMode::Constant, Some(4)), 1000);
        for (end_ns, expected) in [
            (999, None),
            (1000, Some(1)),
            (250_000_999, Some(1)),
            (250_001_000, Some(2)),
            (30_000_001_000, Some(121)),
        ] {
            assert_eq!(pacer.due_until(end_ns), expected, "{end_ns}");
        }
        let closed = Pacer::new(&pacing(PacingMode::Closed, None), 0);
        assert_eq!(closed.due_until(5), None);
    }

    #[test]
    fn rounding_does_not_add_up() {
        let pacer = Pacer::new(&pacing(PacingMode::Constant, Some(3)), 0);
        let last = (0..=3_000_000).map(|_| pacer.due_ns(0)).last();
        assert_eq!(last, Some(1_000_000 * NANOS_PER_SECOND));
    }
}
