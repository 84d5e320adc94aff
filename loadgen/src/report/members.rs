//! What every member used while load was offered.

use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::usage::Usage;
use crate::stats::approximate;

/// Looks that are nearer to each other say nothing of the CPUs that were kept busy.
const LOOK_MIN_S: f64 = 0.25;

/// What a member used from the beginning of the load until it had settled.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct MemberUse {
    /// Index of the member.
    pub member: u32,
    /// Its client address.
    pub endpoint: String,
    /// How often its process was started anew. What a process used in its last moments, after it was
    /// last looked at, is not counted.
    pub restarts: u32,
    /// CPU time, in seconds.
    pub cpu_s: Option<f64>,
    /// CPU time for each operation that the cluster answered, in microseconds.
    pub cpu_us_per_operation: Option<f64>,
    /// The most memory that it was seen to hold, in bytes.
    pub rss_bytes_max: Option<u64>,
    /// Memory that it held at the end, in bytes.
    pub rss_bytes_end: Option<u64>,
    /// Bytes written to storage.
    pub written_bytes: Option<u64>,
    /// Bytes written to storage for each operation that the cluster answered.
    pub written_bytes_per_operation: Option<f64>,
    /// Syncs of its log.
    pub syncs: Option<u64>,
    /// Syncs of its log for each operation that the cluster answered.
    pub syncs_per_operation: Option<f64>,
    /// CPU and memory as time went on.
    pub samples: Vec<UsePoint>,
}

/// What a member used at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct UsePoint {
    /// When, in seconds of the run's clock.
    pub at_s: f64,
    /// CPUs that it kept busy since the last look.
    pub cpus: Option<f64>,
    /// Memory, in bytes.
    pub rss_bytes: Option<u64>,
}

/// Adds up what a member used, over the processes that it was.
#[derive(Debug)]
pub struct Meter {
    used: MemberUse,
    last: Usage,
    last_s: f64,
    /// A process was gone before its syncs were counted.
    has_lost_syncs: bool,
}

impl Meter {
    /// Of a member whose use is counted from here on.
    pub fn new(member: u32, endpoint: String, at_s: f64, first: Usage) -> Meter {
        let used = MemberUse {
            member,
            endpoint,
            restarts: 0,
            cpu_s: first.cpu_s.map(|_| 0.0),
            cpu_us_per_operation: None,
            rss_bytes_max: first.rss_bytes,
            rss_bytes_end: first.rss_bytes,
            written_bytes: first.written_bytes.map(|_| 0),
            written_bytes_per_operation: None,
            syncs: first.syncs.map(|_| 0),
            syncs_per_operation: None,
            samples: Vec::new(),
        };
        Meter { used, last: first, last_s: at_s, has_lost_syncs: false }
    }

    /// The last look, for a view of what goes on.
    pub fn latest(&self) -> Option<&UsePoint> {
        self.used.samples.last()
    }

    /// Index of the member.
    pub fn member(&self) -> u32 {
        self.used.member
    }

    /// Takes a look. One at a member that is down changes nothing; the next process counts from its
    /// start.
    pub fn look(&mut self, at_s: f64, now: Usage) {
        if now == Usage::default() {
            return;
        }
        let is_same = now.pid == self.last.pid;
        if !is_same {
            self.used.restarts += 1;
            self.has_lost_syncs = true;
        }
        let since = |last: Option<f64>| if is_same { last } else { Some(0.0) };
        let cpu_s = now.cpu_s.zip(since(self.last.cpu_s)).map(|(now, last)| (now - last).max(0.0));
        if let Some(more) = cpu_s {
            self.used.cpu_s = Some(self.used.cpu_s.unwrap_or(0.0) + more);
        }
        let since = |last: Option<u64>| if is_same { last } else { Some(0) };
        add(&mut self.used.written_bytes, now.written_bytes, since(self.last.written_bytes));
        if now.syncs.is_some() {
            add(&mut self.used.syncs, now.syncs, since(self.last.syncs));
        }
        self.used.rss_bytes_max = self.used.rss_bytes_max.max(now.rss_bytes);
        self.used.rss_bytes_end = now.rss_bytes.or(self.used.rss_bytes_end);
        let elapsed_s = at_s - self.last_s;
        // The system counts in hundredths of a second, so a short look says nothing.
        let cpus = cpu_s.filter(|_| is_same && elapsed_s >= LOOK_MIN_S);
        let cpus = cpus.map(|cpu_s| cpu_s / elapsed_s);
        self.used.samples.push(UsePoint { at_s, cpus, rss_bytes: now.rss_bytes });
        // Metrics are not asked for each time.
        let syncs = now.syncs.or(self.last.syncs.filter(|_| is_same));
        (self.last, self.last_s) = (Usage { syncs, ..now }, at_s);
    }

    /// What it comes to, for a cluster that answered so many operations.
    pub fn finish(self, answered: u64) -> MemberUse {
        let mut used = self.used;
        if self.has_lost_syncs {
            used.syncs = None;
        }
        let per_operation = |of: f64| (answered > 0).then(|| of / approximate(answered));
        used.cpu_us_per_operation = used.cpu_s.and_then(|cpu_s| per_operation(cpu_s * 1e6));
        used.written_bytes_per_operation =
            used.written_bytes.and_then(|bytes| per_operation(approximate(bytes)));
        used.syncs_per_operation = used.syncs.and_then(|syncs| per_operation(approximate(syncs)));
        used
    }
}

fn add(sum: &mut Option<u64>, now: Option<u64>, last: Option<u64>) {
    if let Some((now, last)) = now.zip(last) {
        *sum = Some(sum.unwrap_or(0) + now.saturating_sub(last));
    }
}

/// The sum of what all members tell; `None` if one does not.
pub fn of_all<T: std::iter::Sum>(
    members: &[MemberUse],
    what: impl Fn(&MemberUse) -> Option<T>,
) -> Option<T> {
    if members.is_empty() { None } else { members.iter().map(what).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(pid: u32, cpu_s: f64, written: u64, syncs: Option<u64>) -> Usage {
        Usage {
            pid: Some(pid),
            cpu_s: Some(cpu_s),
            rss_bytes: Some(written + 1),
            written_bytes: Some(written),
            syncs,
        }
    }

    fn meter(first: Usage) -> Meter {
        Meter::new(1, "http://127.0.0.1:1".to_owned(), 10.0, first)
    }

    #[test]
    fn use_counts_from_the_first_look_and_per_operation() {
        let mut meter = meter(usage(7, 3.0, 1000, Some(40)));
        meter.look(12.0, usage(7, 4.0, 1500, None));
        meter.look(14.0, usage(7, 6.0, 1800, Some(90)));
        let used = meter.finish(100);
        assert_eq!((used.cpu_s, used.written_bytes, used.syncs), (Some(3.0), Some(800), Some(50)));
        assert_eq!(used.cpu_us_per_operation, Some(30_000.0));
        assert_eq!(used.written_bytes_per_operation, Some(8.0));
        assert_eq!(used.syncs_per_operation, Some(0.5));
        assert_eq!(used.samples.iter().map(|s| s.cpus).collect::<Vec<_>>(), [Some(0.5), Some(1.0)]);
        assert_eq!((used.rss_bytes_max, used.restarts), (Some(1801), 0));
    }

    /// The counters of a process that was started anew begin at nothing.
    #[test]
    fn a_restart_adds_and_does_not_take_away() {
        let mut meter = meter(usage(7, 3.0, 1000, Some(40)));
        meter.look(11.0, usage(7, 4.0, 1500, None));
        meter.look(12.0, Usage::default());
        meter.look(13.0, usage(8, 0.5, 200, None));
        meter.look(14.0, usage(8, 0.75, 300, Some(3)));
        let used = meter.finish(10);
        assert_eq!((used.cpu_s, used.written_bytes), (Some(1.75), Some(800)));
        assert_eq!((used.restarts, used.syncs), (1, None), "some syncs were never counted");
        assert_eq!(used.samples.len(), 3);
    }

    #[test]
    fn what_nobody_tells_stays_unknown() {
        let mut meter = meter(Usage::default());
        meter.look(11.0, Usage::default());
        let used = meter.finish(10);
        assert_eq!((used.cpu_s, used.syncs, used.cpu_us_per_operation), (None, None, None));
        assert_eq!(of_all(std::slice::from_ref(&used), |member| member.cpu_s), None);
        assert_eq!(of_all(&[], |member| member.cpu_s), None);
        let known = MemberUse { cpu_s: Some(1.5), ..used.clone() };
        assert_eq!(of_all(&[known.clone(), known.clone()], |member| member.cpu_s), Some(3.0));
        assert_eq!(of_all(&[known, used], |member| member.cpu_s), None);
    }
}
