//! Keeping what is compared from taking each other's time.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::report;

/// Keeps this thread on one core, and the threads that it starts from now on.
pub(crate) fn keep_thread_on(core: usize) {
    let mut set = CpuSet::new();
    let pinned = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    if let Err(error) = pinned {
        report::progress(&format!("the client is not kept on core {core}: {error}"));
    }
}
