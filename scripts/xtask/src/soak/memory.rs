//! Memory as time goes on, and whether it is flat.
//!
//! What a process holds goes up and down, and one that was killed begins anew. So medians are compared:
//! of the last quarter of the time with the second one, since the first is for warming up.

use std::collections::BTreeMap;
use std::fs;

/// Memory that goes up by less than this part is flat,
const GROWTH_MAX: f64 = 0.1;
/// and so is what goes up by less than so many bytes: a process that holds little.
const GROWTH_BYTES_MAX: u64 = 8 << 20;
/// Fewer samples in a quarter tell nothing.
const SAMPLES_MIN: usize = 5;

/// What a process, or the one that took its place, held at some moments.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Seconds from the start, and bytes; in order of time.
    samples: Vec<(f64, u64)>,
}

/// Where memory went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trend {
    /// Median of the second quarter of the time, in bytes.
    pub(super) early: u64,
    /// Median of the last quarter.
    pub(super) late: u64,
}

impl Memory {
    pub(super) fn look(&mut self, at_s: f64, bytes: u64) {
        self.samples.push((at_s, bytes));
    }

    /// The most that it held.
    pub(super) fn most(&self) -> u64 {
        self.samples.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0)
    }

    /// Where it went in this time; `None` if there are too few samples.
    pub(super) fn trend(&self, end_s: f64) -> Option<Trend> {
        let quarter = end_s / 4.0;
        let early = self.median(quarter, 2.0 * quarter)?;
        let late = self.median(3.0 * quarter, end_s)?;
        Some(Trend { early, late })
    }

    /// Median of the samples from one moment to another.
    pub(super) fn median(&self, from_s: f64, to_s: f64) -> Option<u64> {
        let within = self.samples.iter().filter(|(at_s, _)| (from_s..=to_s).contains(at_s));
        let mut bytes: Vec<u64> = within.map(|(_, bytes)| *bytes).collect();
        bytes.sort_unstable();
        (bytes.len() >= SAMPLES_MIN).then(|| bytes[bytes.len() / 2])
    }
}

impl Trend {
    pub(super) fn is_flat(self) -> bool {
        let grown = self.late.saturating_sub(self.early);
        grown <= GROWTH_BYTES_MAX || float(self.late) <= float(self.early) * (1.0 + GROWTH_MAX)
    }
}

/// A count of bytes, for arithmetic: exact up to petabytes.
pub(super) fn float(bytes: u64) -> f64 {
    let high = u32::try_from(bytes >> 32).expect("the upper half of 64 bits");
    let low = u32::try_from(bytes & u64::from(u32::MAX)).expect("the lower half of 64 bits");
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

/// What a process holds now, as the system tells (`VmRSS`, in KiB); `None` once it is gone.
pub(super) fn held(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The members that a process has started, by their names, as they are now.
pub(super) fn members(of: u32) -> BTreeMap<String, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let members = pids.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        (parent(&stat)? == of).then_some(())?;
        Some((name(&fs::read(format!("/proc/{pid}/cmdline")).ok()?)?, pid))
    });
    members.collect()
}

/// The parent, from the text of `/proc/<pid>/stat`: the second field after the name in parentheses,
/// which may hold anything.
fn parent(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// What a member is called, from its words, each with a zero behind it.
fn name(words: &[u8]) -> Option<String> {
    let words = words.split(|byte| *byte == 0);
    let mut names = words.filter_map(|word| str::from_utf8(word).ok()?.strip_prefix("--name="));
    names.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn memory(bytes: impl Fn(u64) -> u64) -> Memory {
        let mut memory = Memory::default();
        for second in 0..=400_u32 {
            memory.look(f64::from(second), bytes(u64::from(second)));
        }
        memory
    }

    fn is_flat(bytes: impl Fn(u64) -> u64) -> bool {
        memory(bytes).trend(400.0).expect("enough samples").is_flat()
    }

    #[test]
    fn what_goes_up_and_down_or_warms_up_is_flat_and_a_leak_is_not() {
        assert!(is_flat(|_| 100 * MIB));
        assert!(is_flat(|second| (90 + second % 20) * MIB), "up and down");
        assert!(is_flat(|second| (20 + second.min(90)) * MIB), "it warms up");
        assert!(is_flat(|second| 100 * MIB - second * 1000), "down");
        assert!(!is_flat(|second| 100 * MIB + second * MIB / 5));
        assert!(!is_flat(|second| (50 + second % 20 + second / 5) * MIB), "a leak with a rhythm");
        assert!(is_flat(|second| MIB + second * MIB / 40), "5 MiB more of little");
    }

    #[test]
    fn medians_are_of_their_quarter() {
        let memory = memory(|second| second);
        assert_eq!(memory.trend(400.0), Some(Trend { early: 150, late: 350 }));
        assert_eq!(memory.most(), 400);
        assert_eq!(memory.trend(10.0), None, "too few");
        assert_eq!(Memory::default().trend(400.0), None);
    }

    #[test]
    fn members_are_known_by_their_words() {
        assert_eq!(parent("7 (a (b) c) S 42 7 7 0"), Some(42));
        assert_eq!(name(b"/bin/rusd\0--name=m3\0--data-dir=x\0"), Some("m3".to_owned()));
        assert_eq!(name(b"cat\0"), None);
    }

    #[test]
    fn we_hold_something_and_nobody_nothing() {
        assert!(held(std::process::id()).is_some_and(|bytes| bytes > 0));
        assert_eq!(held(u32::MAX), None);
    }
}
