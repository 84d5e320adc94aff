//! The timetable of a run's faults: a pure function of the workload and the seed.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::clock::nanos;
use crate::workload::{CutMode, Fault, FaultKind, Role, Target, Workload};

/// Random stream of the timetable; clients use streams from 0 on.
const SCHEDULE_STREAM: u64 = u64::MAX;
/// Random stream of the choice of members.
pub(super) const TARGET_STREAM: u64 = u64::MAX - 1;

/// A fault on the timetable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// When it begins, after the start of the load.
    pub start_ns: u64,
    /// How long it lasts, from when it really began.
    pub lasts_ns: u64,
    /// What is done.
    pub kind: FaultKind,
    /// To whom.
    pub target: Target,
    /// What a member that is added is at first.
    pub role: Role,
    /// How a partition cuts.
    pub mode: CutMode,
    /// Whether a kill also takes from the log what was not synced.
    pub lose_unsynced: bool,
}

impl Planned {
    /// When the fault ends if it begins at `began_ns` and the load ends at `load_end_ns`: a fault
    /// that would outlast the load ends with it. `None`: less than half of it would be left.
    pub fn end_ns(&self, began_ns: u64, load_end_ns: u64) -> Option<u64> {
        fits(began_ns, self.lasts_ns, load_end_ns)
            .then(|| began_ns.saturating_add(self.lasts_ns).min(load_end_ns))
    }
}

/// Whether at least half of a fault comes before the end of the load.
fn fits(start_ns: u64, lasts_ns: u64, load_end_ns: u64) -> bool {
    start_ns.saturating_add(lasts_ns / 2) <= load_end_ns
}

/// The timetable, in order of time. A repetition that does not fit any more is left out; that the
/// first time of each fault fits was seen when the workload was validated.
pub fn timetable(workload: &Workload, seed: u64) -> Vec<Planned> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(SCHEDULE_STREAM);
    let duration_ns = nanos(*workload.duration.get_ref());
    let mut planned = Vec::new();
    for fault in &workload.faults {
        for start_ns in starts(fault, duration_ns) {
            let start_ns = moved(start_ns, nanos(fault.jitter), &mut random);
            let lasts_ns = nanos(fault.lasts());
            if fault.every.is_none() || fits(start_ns, lasts_ns, duration_ns) {
                planned.push(plan(fault, start_ns, lasts_ns));
            }
        }
    }
    planned.sort_by_key(|planned| planned.start_ns);
    planned
}

fn plan(fault: &Fault, start_ns: u64, lasts_ns: u64) -> Planned {
    Planned {
        start_ns,
        lasts_ns,
        kind: *fault.kind.get_ref(),
        target: *fault.target.get_ref(),
        role: fault.role.as_ref().map(|role| *role.get_ref()).unwrap_or_default(),
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
        planned.iter().map(|p| (p.start_ns / S, p.lasts_ns / S)).collect()
    }

    #[test]
    fn once_and_again_and_again() {
        let workload = workload(
            "[[faults]]\nkind = \"kill\"\ntarget = \"leader\"\nevery = \"8s\"\nfor = \"7s\"\n\
             [[faults]]\nkind = \"pause\"\ntarget = \"any\"\nat = \"5s\"\nfor = \"1s\"\n",
        );
        let planned = timetable(&workload, 1);
        assert_eq!(times(&planned), [(5, 1), (8, 7), (16, 7), (24, 7)]);
    }

    #[test]
    fn a_repetition_is_left_out_when_less_than_half_of_it_would_fit() {
        let workload = workload(
            "[[faults]]\nkind = \"kill\"\ntarget = \"leader\"\nevery = \"14s\"\nfor = \"5s\"\n",
        );
        assert_eq!(times(&timetable(&workload, 1)), [(14, 5)]);
    }

    /// A fault that had waited for a leader ended when the timetable said, perhaps at once.
    #[test]
    fn a_fault_lasts_as_long_as_planned_from_when_it_really_began() {
        let workload = workload(
            "[[faults]]\nkind = \"kill\"\ntarget = \"leader\"\nat = \"5s\"\nfor = \"4s\"\n",
        );
        let planned = timetable(&workload, 1)[0];
        for (began_s, end_s) in
            [(5, Some(9)), (9, Some(13)), (27, Some(30)), (28, Some(30)), (29, None), (31, None)]
        {
            let end_ns = planned.end_ns(began_s * S, 30 * S);
            assert_eq!(end_ns.map(|ns| ns / S), end_s, "{began_s}");
        }
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
