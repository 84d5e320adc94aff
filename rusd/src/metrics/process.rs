//! What the process itself uses, under the names that Prometheus' client libraries give it, etcd's
//! among them.

use std::time::Duration;

use procfs::ProcResult;
use procfs::process::{LimitValue, Process};

/// What a process uses, as the system tells.
#[derive(Debug)]
pub(super) struct ProcessUse {
    /// CPU time so far, of the user and of the system.
    pub(super) cpu: Duration,
    pub(super) open_fds: usize,
    /// How many there may be; `None` if there is no limit.
    pub(super) max_fds: Option<u64>,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    /// When it started, since the epoch.
    pub(super) started: Duration,
}

impl ProcessUse {
    /// Looks at this process.
    pub(super) fn now() -> ProcResult<ProcessUse> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let max_fds = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most),
            LimitValue::Unlimited => None,
        };
        Ok(ProcessUse {
            cpu: ticks(stat.utime + stat.stime),
            open_fds: process.fd_count()?,
            max_fds,
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            started: Duration::from_secs(procfs::boot_time_secs()?) + ticks(stat.starttime),
        })
    }
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / procfs::ticks_per_second())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn this_process_is_what_it_says() {
        let files: Vec<_> =
            std::iter::repeat_with(|| std::fs::File::open("/proc/self/stat")).take(9).collect();
        let begun = ProcessUse::now().unwrap();
        assert!(begun.open_fds >= files.len() && begun.max_fds.is_none_or(|most| most > 9));
        assert!(begun.resident_bytes > 1 << 20 && begun.virtual_bytes > begun.resident_bytes);
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let age = since_epoch.saturating_sub(begun.started);
        assert!(age < Duration::from_hours(1), "{age:?}");
        let mut spent = 0_u64;
        let busy = loop {
            spent = std::hint::black_box(spent + 1);
            if spent.is_multiple_of(1 << 20) {
                let now = ProcessUse::now().unwrap();
                if now.cpu > begun.cpu {
                    break now;
                }
            }
        };
        assert_eq!(busy.started, begun.started);
    }
}
