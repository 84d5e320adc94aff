//! Sleeps until a time of the run's clock, to within the system's precision; and says how soon after a
//! tick the next one may come.
//!
//! The runtime's own timers are a millisecond coarse, as long as many answers take. This one is the
//! system's, and wakes about 60 us late.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::io::unix::AsyncFd;

use crate::clock::Clock;

/// Longer sleeps are cut; whoever sleeps looks at the time anyway.
const SLEEP_MAX: Duration = Duration::from_secs(1);

struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Least time from tick to tick, in nanoseconds. What is due in between is late by that much at most, and
/// goes out in one write: at high rates what costs most is to wake somebody, which a write does, and to
/// be woken.
const TICK_MIN_NS: u64 = 150_000;

/// When ticks may come.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    next_ns: u64,
}

impl Ticks {
    /// A tick has come; says when the next one may. They keep in step, though each is a little late, as
    /// long as they are not late by a whole tick. One that came early does not count.
    pub(super) fn come(&mut self, now_ns: u64) -> u64 {
        if now_ns >= self.next_ns {
            let in_step_ns = self.next_ns + TICK_MIN_NS;
            let is_late = in_step_ns <= now_ns;
            self.next_ns = if is_late { now_ns + TICK_MIN_NS } else { in_step_ns };
        }
        self.next_ns
    }
}

/// A timer of the system.
pub(super) struct Timer(AsyncFd<Descriptor>);

impl Timer {
    /// Must be made on a runtime.
    #[expect(
        deprecated,
        reason = "sound here: the descriptor is owned by what is registered, and \
                                   stays the same; what replaces it is unsafe to call"
    )]
    pub(super) fn new() -> io::Result<Timer> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Timer(AsyncFd::new(Descriptor(timer))?))
    }

    /// Sleeps until the clock reads `at_ns`, or about so: it may wake early.
    pub(super) async fn sleep_until(&self, clock: &Clock, at_ns: u64) {
        let left_ns = at_ns.saturating_sub(clock.now_ns());
        if left_ns == 0 {
            return tokio::task::yield_now().await;
        }
        let left = Duration::from_nanos(left_ns).min(SLEEP_MAX);
        let expiration = Expiration::OneShot(TimeSpec::from_duration(left));
        let set = self.0.get_ref().0.set(expiration, TimerSetTimeFlags::empty());
        set.expect("the expiration is a valid one");
        if let Ok(mut guard) = self.0.readable().await {
            guard.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_keep_in_step_though_they_are_late() {
        let mut ticks = Ticks::default();
        for (comes_us, next_us) in [
            (1000, 1150),
            (1160, 1300),
            // Somebody else woke the ticker.
            (1290, 1300),
            (1300, 1450),
            // Later than the one after it, which is not made up for.
            (1700, 1850),
            (9000, 9150),
        ] {
            assert_eq!(ticks.come(comes_us * 1000), next_us * 1000, "{comes_us}");
        }
    }
}
