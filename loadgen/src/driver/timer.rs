//! Sleeps until a time of the run's clock, to within the system's precision.
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
