//! When operations are due.
//!
//! In an open loop a [`Timetable`] says when, whether or not earlier operations have ended: an
//! operation that cannot start when it is due is late, and its response time counts from when it was
//! *due*. That keeps the waiting in the figures which a closed loop, where a client asks again when
//! it was answered, leaves out (coordinated omission).
//!
//! A timetable is a pure function of the pacing and the seed. Several threads share one: each takes
//! every n-th place of it (or, of random arrivals, every thread its share of the rate).

mod curve;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::clock::nanos;
use crate::stats::approximate;
use crate::workload::{Pacing, PacingMode};
pub use curve::Curve;
pub use trace::{TraceError, read as read_trace};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Which part of a timetable a thread keeps.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Its place among the threads.
    pub index: u64,
    /// How many there are.
    pub of: u64,
}

impl Share {
    /// All of it.
    pub const WHOLE: Share = Share { index: 0, of: 1 };
}

/// When the next operation is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// When a client is free.
    Free,
    /// At this time of the run's clock, in nanoseconds.
    At(u64),
    /// There is none any more.
    Never,
}

/// Times at which operations are due, in ascending order.
#[derive(Debug)]
pub struct Timetable {
    start_ns: u64,
    arrivals: Arrivals,
    next: Due,
}

#[derive(Debug)]
enum Arrivals {
    Closed,
    /// Operations per second; the next place, and the distance to the one after it.
    Constant {
        rate: u64,
        place: u64,
        step: u64,
    },
    Curve {
        curve: Curve,
        place: u64,
        step: u64,
        /// When the last one was due, in seconds since the start.
        last_s: f64,
    },
    /// Gaps are drawn; the mean gap, and the time so far, in seconds.
    Poisson {
        gap_s: f64,
        at_s: f64,
        rng: Box<ChaCha8Rng>,
    },
    /// So many at once every so often, between what is due at a constant rate.
    Burst {
        every_ns: u64,
        size: u64,
        place: u64,
        step: u64,
        base: Option<Box<Timetable>>,
    },
    Trace {
        times_ns: Arc<[u64]>,
        place: usize,
        step: usize,
    },
}

/// Why a timetable cannot be made.
pub type PacingError = TraceError;

/// Times of a trace, read once for all threads; none for other pacing.
pub fn times(pacing: &Pacing) -> Result<Arc<[u64]>, PacingError> {
    match (pacing.mode(), &pacing.file) {
        (PacingMode::Trace, Some(file)) => Ok(read_trace(file.get_ref())?.into()),
        _ => Ok(Arc::from([])),
    }
}

impl Timetable {
    /// A thread's share of a timetable that begins at `start_ns` and is meant for a load of
    /// `lasts`. The times are those of a trace, if it is one.
    pub fn new(
        pacing: &Pacing,
        times_ns: Arc<[u64]>,
        lasts: Duration,
        start_ns: u64,
        share: Share,
        seed: u64,
    ) -> Timetable {
        let rate = pacing.rate.as_ref().map_or(0, |rate| *rate.get_ref());
        let (place, step) = (share.index, share.of);
        let arrivals = match pacing.mode() {
            PacingMode::Closed => Arrivals::Closed,
            PacingMode::Constant => Arrivals::Constant { rate: u64::from(rate), place, step },
            PacingMode::Poisson => {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(u64::MAX - share.index);
                let gap_s = approximate(share.of) / f64::from(rate);
                Arrivals::Poisson { gap_s, at_s: 0.0, rng: Box::new(rng) }
            }
            PacingMode::Ramp | PacingMode::Step | PacingMode::Sine => {
                Arrivals::Curve { curve: Curve::new(pacing, lasts), place, step, last_s: 0.0 }
            }
            PacingMode::Burst => {
                let base = (rate > 0).then(|| {
                    let even = Arrivals::Constant { rate: u64::from(rate), place, step };
                    Box::new(Timetable::of(start_ns, even))
                });
                let every_ns = pacing.every.as_ref().map_or(0, |every| nanos(*every.get_ref()));
                let size = pacing.size.as_ref().map_or(0, |size| u64::from(*size.get_ref()));
                Arrivals::Burst { every_ns, size, place, step, base }
            }
            PacingMode::Trace => {
                let [place, step] =
                    [place, step].map(|number| usize::try_from(number).expect("threads are few"));
                Arrivals::Trace { times_ns, place, step }
            }
        };
        Timetable::of(start_ns, arrivals)
    }

    fn of(start_ns: u64, arrivals: Arrivals) -> Timetable {
        let mut timetable = Timetable { start_ns, arrivals, next: Due::Never };
        timetable.advance();
        timetable
    }

    /// When the next operation is due.
    pub fn next(&self) -> Due {
        self.next
    }

    /// Whether clients ask again when they were answered.
    pub fn is_closed(&self) -> bool {
        matches!(self.arrivals, Arrivals::Closed)
    }

    /// Goes on to the operation after the next one.
    pub fn advance(&mut self) {
        let start_ns = self.start_ns;
        let since_start = match &mut self.arrivals {
            Arrivals::Closed => {
                self.next = Due::Free;
                return;
            }
            Arrivals::Constant { rate, place, step } => {
                let (seconds, rest) = (*place / *rate, *place % *rate);
                *place += *step;
                Some(seconds * NANOS_PER_SECOND + rest * NANOS_PER_SECOND / *rate)
            }
            Arrivals::Curve { curve, place, step, last_s } => {
                let at_s = curve.time_of(approximate(*place), *last_s);
                *place += *step;
                *last_s = at_s.unwrap_or(*last_s);
                at_s.map(nanos_of)
            }
            Arrivals::Poisson { gap_s, at_s, rng } => {
                // In (0, 1], so that its logarithm is finite.
                let drawn: f64 = 1.0 - rng.random::<f64>();
                *at_s -= drawn.ln() * *gap_s;
                Some(nanos_of(*at_s))
            }
            Arrivals::Burst { every_ns, size, place, step, base } => {
                // The first burst comes after the first pause.
                let burst_ns = start_ns + (*place / *size + 1) * *every_ns;
                if let Some(base) = base
                    && let Due::At(even_ns) = base.next
                    && even_ns < burst_ns
                {
                    base.advance();
                    Some(even_ns - start_ns)
                } else {
                    *place += *step;
                    Some(burst_ns - start_ns)
                }
            }
            Arrivals::Trace { times_ns, place, step } => {
                let at_ns = times_ns.get(*place).copied();
                *place += *step;
                at_ns
            }
        };
        self.next = since_start.map_or(Due::Never, |since| Due::At(start_ns + since));
    }
}

fn nanos_of(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds).map_or(u64::MAX / 2, nanos)
}

#[cfg(test)]
mod tests;
