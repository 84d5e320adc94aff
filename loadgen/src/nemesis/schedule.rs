//! The timetable of a run's faults: a pure function of the workload and the seed.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use toml::Spanned;

use crate::clock::nanos;
use crate::workload::{Fault, FaultKind, How, Pick, Target, When, Workload};

/// Random stream of the timetable; clients use streams from 0 on.
const SCHEDULE_STREAM: u64 = u64::MAX;
/// Random stream of the choice of members.
pub(super) const TARGET_STREAM: u64 = u64::MAX - 1;

/// A fault on the timetable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// From when its start counts.
    pub from: Moment,
    /// When it begins, after that.
    pub start_ns: u64,
    /// How long it lasts, from when it really began.
    pub lasts_ns: u64,
    /// What is done.
    pub kind: FaultKind,
    /// To whom.
    pub target: Target,
    /// How.
    pub how: How,
    /// What others call it by.
    pub name: Option<String>,
}

/// From when the start of a fault counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// The start of the load.
    Load,
    /// The first time that the fault of this name begins.
    During(String),
    /// The first time that the fault of this name has ended.
    After(String),
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
        let is_once = fault.every.is_none();
        for start_ns in starts(fault, duration_ns) {
            let start_ns = moved(start_ns, nanos(fault.jitter), &mut random);
            if is_once || fits(start_ns, nanos(fault.lasts()), duration_ns) {
                planned.push(plan(fault, start_ns));
            }
        }
    }
    for pick in &workload.picks {
        planned.extend(picked(pick, duration_ns, &mut random));
    }
    planned.sort_by_key(|planned| planned.start_ns);
    planned
}

fn plan(fault: &Fault, start_ns: u64) -> Planned {
    let from = match fault.when.as_ref().map(Spanned::get_ref) {
        Some(When::During(name)) => Moment::During(name.clone()),
        Some(When::After(name)) => Moment::After(name.clone()),
        Some(When::Load(_)) | None => Moment::Load,
    };
    Planned {
        from,
        start_ns,
        lasts_ns: nanos(fault.lasts()),
        kind: *fault.kind.get_ref(),
        target: *fault.target.get_ref(),
        how: fault.how(),
        name: fault.name.as_ref().map(|name| name.get_ref().clone()),
    }
}

/// One fault at a time. Each comes once before one comes twice: they are shuffled when none is left.
fn picked(pick: &Pick, duration_ns: u64, random: &mut impl Rng) -> Vec<Planned> {
    let mut left: Vec<&Fault> = Vec::new();
    let mut planned = Vec::new();
    for start_ns in repeated(nanos(*pick.every.get_ref()), duration_ns) {
        if left.is_empty() {
            left.extend(pick.from.get_ref());
            left.shuffle(random);
        }
        let Some(fault) = left.pop() else { break };
        let start_ns = moved(start_ns, nanos(pick.jitter), random);
        if fits(start_ns, nanos(fault.lasts()), duration_ns) {
            planned.push(plan(fault, start_ns));
        }
    }
    planned
}

/// Starts of a fault, each after the moment from which it counts.
fn starts(fault: &Fault, duration_ns: u64) -> Vec<u64> {
    if let Some(every) = &fault.every {
        return repeated(nanos(*every.get_ref()), duration_ns);
    }
    let share_ns = match fault.when.as_ref().map(Spanned::get_ref) {
        Some(When::Load(share)) => duration_ns / 100 * u64::from(*share),
        Some(When::During(_) | When::After(_)) | None => 0,
    };
    vec![share_ns + fault.at.as_ref().map_or(0, |at| nanos(*at.get_ref()))]
}

fn repeated(every_ns: u64, duration_ns: u64) -> Vec<u64> {
    let mut starts = Vec::new();
    let mut start_ns = every_ns;
    while start_ns < duration_ns {
        starts.push(start_ns);
        start_ns += every_ns;
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
        let planned = timetable(&workload, 1).remove(0);
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

    #[test]
    fn a_share_of_the_load_and_what_another_fault_does_are_times_too() {
        let workload = workload(
            "[[faults]]\nname = \"first\"\nkind = \"kill\"\ntarget = \"leader\"\nwhen = \"40%\"\n\
             at = \"1s\"\nfor = \"4s\"\n\
             [[faults]]\nkind = \"pause\"\ntarget = \"any\"\nwhen = \"after first\"\nat = \"2s\"\n\
             for = \"1s\"\n\
             [[faults]]\nkind = \"pause\"\ntarget = \"any\"\nwhen = \"during first\"\nfor = \"1s\"\n",
        );
        let mut planned = timetable(&workload, 1);
        planned.sort_by_key(|planned| planned.lasts_ns);
        let first = || "first".to_owned();
        let expected =
            [(Moment::During(first()), 0), (Moment::After(first()), 2), (Moment::Load, 13)];
        let mut found: Vec<(Moment, u64)> =
            planned.into_iter().map(|p| (p.from, p.start_ns / S)).collect();
        found.sort_by_key(|(_, start)| *start);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pick_does_each_once_before_one_twice() {
        let workload = workload(
            "[[picks]]\nevery = \"3s\"\n\
             [[picks.from]]\nkind = \"kill\"\ntarget = \"leader\"\nfor = \"1s\"\n\
             [[picks.from]]\nkind = \"pause\"\ntarget = \"any\"\nfor = \"1s\"\n\
             [[picks.from]]\nkind = \"partition\"\ntarget = \"any\"\nfor = \"1s\"\n",
        );
        let kinds = |seed| -> Vec<FaultKind> {
            timetable(&workload, seed).iter().map(|planned| planned.kind).collect()
        };
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let kinds = kinds(seed);
            assert_eq!(kinds.len(), 9);
            for round in kinds.chunks(3) {
                let mut round = round.to_vec();
                round.sort_unstable();
                assert_eq!(round, [FaultKind::Kill, FaultKind::Pause, FaultKind::Partition]);
            }
            orders.insert(kinds);
        }
        assert!(orders.len() > 10, "the seed decides: {}", orders.len());
    }
}
