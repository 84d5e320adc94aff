//! CPU time of a server, and when it has done its work.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::server::{Server, System};

/// How long flushing or folding may take.
const DONE_TIMEOUT: Duration = Duration::from_mins(5);

/// Pause between two looks: short for the gauges, and long enough to see whether CPU is used.
const POLL: Duration = Duration::from_millis(25);
const IDLE_WINDOW: Duration = Duration::from_secs(1);

/// An idle server still ticks; more than this in a window is work.
const IDLE_SECONDS_MAX: f64 = 0.03;

/// CPU that rusd's engine thread spent folding.
const FOLD_SECONDS: &str = "rusd_engine_fold_seconds_total";

/// CPU used so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cpu {
    /// User and system time of all threads.
    pub(super) total_seconds: f64,
    /// What of it was spent folding; 0 for etcd.
    pub(super) fold_seconds: f64,
}

/// Reads both counters.
pub(super) fn read(server: &Server, system: System) -> Result<Cpu> {
    let fold_seconds = match system {
        System::Etcd => 0.0,
        System::Rusd => metric(server, FOLD_SECONDS)?,
    };
    Ok(Cpu { total_seconds: process_seconds(server.pid())?, fold_seconds })
}

/// Waits until everything written is in the engine and synced.
pub(super) fn wait_until_flushed(server: &Server, system: System) -> Result<()> {
    match system {
        // Its backend commits every 100 ms.
        System::Etcd => wait_until_idle(server),
        System::Rusd => wait_for(server, "flushed", || {
            let applied = metric(server, "etcd_server_proposals_applied_total")?;
            let durable = metric(server, "rusd_engine_durable_index")?;
            Ok(metric(server, "rusd_engine_pending_bytes")? == 0.0 && durable >= applied)
        }),
    }
}

/// Waits until rusd has folded everything; etcd has nothing of the kind.
pub(super) fn wait_until_folded(server: &Server, system: System) -> Result<()> {
    match system {
        System::Etcd => Ok(()),
        System::Rusd => wait_for(server, "folded", || {
            let revision = metric(server, "etcd_debugging_mvcc_current_revision")?;
            Ok(metric(server, "rusd_engine_fold_revision")? >= revision)
        }),
    }
}

fn wait_for(server: &Server, what: &str, is_done: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + DONE_TIMEOUT;
    while !is_done()? {
        if Instant::now() > deadline {
            bail!("not {what} after {} s\n{}", DONE_TIMEOUT.as_secs(), server.log_tail());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn wait_until_idle(server: &Server) -> Result<()> {
    let deadline = Instant::now() + DONE_TIMEOUT;
    let mut before = process_seconds(server.pid())?;
    while Instant::now() < deadline {
        thread::sleep(IDLE_WINDOW);
        let now = process_seconds(server.pid())?;
        if now - before <= IDLE_SECONDS_MAX {
            return Ok(());
        }
        before = now;
    }
    bail!("not idle after {} s", DONE_TIMEOUT.as_secs())
}

/// A metric without labels, from `/metrics` on the client port.
fn metric(server: &Server, name: &str) -> Result<f64> {
    let text = server.http_get("/metrics")?;
    let value = value(&text, name).with_context(|| format!("no metric {name}"))?;
    value.parse().with_context(|| format!("{name} is {value}"))
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::trim)
}

/// What a process has used, of all threads, dead ones included.
pub(crate) fn process_seconds(pid: u32) -> Result<f64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?));
    let used = clock.and_then(clock_gettime).context("the server is gone")?;
    Ok(Duration::from(used).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# TYPE rusd_revision gauge\nrusd_revision_old 1\nrusd_revision 42\n";
        assert_eq!(value(text, "rusd_revision"), Some("42"));
        assert_eq!(value(text, "rusd_rev"), None);
    }
}
