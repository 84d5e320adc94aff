//! When the next operation is due.
//!
//! One [`Pacer`] serves all clients. In an open loop each call takes the next place on a fixed
//! timetable: when all clients are busy, places fall into the past and the operations that take
//! them are late, and their lateness is part of their response time.

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
    fn rounding_does_not_add_up() {
        let pacer = Pacer::new(&pacing(PacingMode::Constant, Some(3)), 0);
        let last = (0..=3_000_000).map(|_| pacer.due_ns(0)).last();
        assert_eq!(last, Some(1_000_000 * NANOS_PER_SECOND));
    }
}
