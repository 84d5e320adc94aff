//! A server that takes more CPU time than it needs, so that a comparison has a difference to find.

use std::hint;
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// One part in so many is taken on top.
const PART: u32 = 10;
/// How often what the others took is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Turns between two looks at the clock, some ten microseconds.
const TURNS: u32 = 1000;

/// Starts a thread that takes a tenth of the CPU time that all other threads take, until the end.
///
/// # Panics
/// If there can be no thread, or the system has no clocks of CPU time: a run meant to be slower must
/// not be as fast as others.
pub(super) fn start() {
    let burn = || loop {
        if used(ClockId::CLOCK_THREAD_CPUTIME_ID) * (PART + 1)
            < used(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        {
            (0..TURNS).for_each(|_| hint::spin_loop());
        } else {
            thread::sleep(LOOK);
        }
    };
    thread::Builder::new().name("slower".to_owned()).spawn(burn).expect("a thread starts");
}

fn used(clock: ClockId) -> Duration {
    Duration::from(clock_gettime(clock).expect("there are clocks of CPU time"))
}
