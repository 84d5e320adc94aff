//! The timetable of a run's faults: a pure function of the workload and the seed.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::clock::nanos;
use crate::workload::{CutMode, Fault, FaultKind, Target, Workload};

/// Random stream of the timetable; clients use streams from 0 on.
const SCHEDULE_STREAM: u64 = u64::MAX;
/// Random stream of the choice of members.
pub(super) const TARGET_STREAM: u64 = u64::MAX - 1;

/// A fault on the timetable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// When it begins, after the start of the load.
    pub start_ns: u64,
    /// When it ends.
    pub end_ns: u64,
    /// What is done.
    pub kind: FaultKind,
    /// To whom.
    pub target: Target,
    /// How a partition cuts.
    pub mode: CutMode,
    /// Whether a kill also takes from the log what was not synced.
    pub lose_unsynced: bool,
}

/// The timetable, in order of time. A fault that would outlast the load ends with it.
pub fn timetable(workload: &Workload, seed: u64) -> Vec<Planned> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(SCHEDULE_STREAM);
    let duration_ns = nanos(workload.duration);
    let mut planned = Vec::new();
    for fault in &workload.faults {
        for start_ns in starts(fault, duration_ns) {
            let start_ns = moved(start_ns, nanos(fault.jitter), &mut random);
            if start_ns < duration_ns {
                let end_ns = (start_ns + nanos(*fault.lasts.get_ref())).min(duration_ns);
                planned.push(plan(fault, start_ns, end_ns));
            }
        }
    }
    planned.sort_by_key(|planned| planned.start_ns);
    planned
}

fn plan(fault: &Fault, start_ns: u64, end_ns: u64) -> Planned {
    Planned {
        start_ns,
        end_ns,
        kind: *fault.kind.get_ref(),
        target: *fault.target.get_ref(),
        mode: super::cut_mode(fault.mode.as_ref().map(|mode| *mode.get_ref())),
        lose_unsynced: fault.lose_unsynced.as_ref().is_some_and(|lose| *lose.get_ref()),
    }
}

fn starts(fault: &Fault, duration_ns: u64) -> Vec<u64> {
    if let Some(at) = &fault.at {
        return vec![nanos(*at.get_ref())];
    }
    let every = fault.every.as_ref().map_or(duration_ns, |every| nanos(*every.get_ref()));
    let mut starts = Vec::new();
    let mut start = every;
    while start < duration_ns {
        starts.push(start);
        start += every;
    }
    starts
}

/// Moves a time by up to `jitter_ns`, either way.
fn moved(time_ns: u64, jitter_ns: u64, random: &mut impl Rng) -> u64 {
    let offset = random.random_range(0..=2 * jitter_ns);
    (time_ns + offset).saturating_sub(jitter_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn workload(faults: &str) -> Workload {
        let text = format!(
            "duration = \"30s\"\nclients = 1\nkeys = {{ count = 1 }}\nmix = {{ put = 1 }}\n\
             cluster = {{ members = 3 }}\n{faults}"
        );
        Workload::parse("test.toml", &text).unwrap()
    }

    fn times(planned: &[Planned]) -> Vec<(u64, u64)> {
        planned.iter().map(|p| (p.start_ns / S, p.end_ns / S)).collect()
    }

    #[test]
    fn once_and_again_and_again() {
        let workload = workload(
            "[[faults]]\nkind = \"kill\"\ntarget = \"leader\"\nevery = \"8s\"\nfor = \"7s\"\n\
             [[faults]]\nkind = \"pause\"\ntarget = \"any\"\nat = \"5s\"\nfor = \"1s\"\n",
        );
        let planned = timetable(&workload, 1);
        assert_eq!(times(&planned), [(5, 6), (8, 15), (16, 23), (24, 30)]);
    }

    #[test]
    fn jitter_moves_each_start_and_the_seed_decides() {
        let workload = workload(
            "[[faults]]\nkind = \"kill\"\ntarget = \"leader\"\nevery = \"10s\"\njitter = \"2s\"\n\
             for = \"1s\"\n",
        );
        let planned = timetable(&workload, 1);
        assert_eq!(planned, timetable(&workload, 1));
        assert_ne!(planned, timetable(&workload, 2));
        for (planned, middle) in planned.iter().zip([10 * S, 20 * S]) {
            assert!(planned.start_ns.abs_diff(middle) <= 2 * S);
        }
    }
}
