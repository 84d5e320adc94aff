//! Which lane a process is drawn in.
//!
//! A process whose operation has no known outcome is not used again: its client goes on as another one.
//! So a run has more processes than clients, and processes that follow each other share a lane.

use std::collections::BTreeSet;

/// What of a process matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) process: u64,
    /// Its first call.
    pub(super) first: u64,
    /// When it had ended: its last return, or its last call if that has none.
    pub(super) last: u64,
    /// Its last operation is of unknown outcome.
    pub(super) crashed: bool,
}

/// With more lanes than these, processes also follow those that have ended for good.
const LANES_MAX: usize = 100;

/// Gives each process a lane, from 0 on, in the order of their first processes. The processes come in
/// the order of their first calls.
///
/// A process takes the lane of the one that crashed first, since whoever has waited longest gives up
/// next. If there are too many, also that of one that has ended.
pub(super) fn assign(processes: &[Span]) -> Vec<usize> {
    let lanes = assign_with(processes, false);
    let few = lanes.iter().all(|lane| *lane < LANES_MAX);
    if few { lanes } else { assign_with(processes, true) }
}

fn assign_with(processes: &[Span], reuses_ended: bool) -> Vec<usize> {
    let (mut crashed, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let mut count = 0;
    let mut assign = |process: &Span| {
        let free = |lanes: &mut BTreeSet<(u64, usize)>| {
            let (last, lane) = *lanes.first()?;
            // What is drawn before is to be seen.
            (last < process.first).then(|| {
                lanes.remove(&(last, lane));
                lane
            })
        };
        let lane = free(&mut crashed).or_else(|| free(&mut ended)).unwrap_or_else(|| {
            count += 1;
            count - 1
        });
        if process.crashed {
            crashed.insert((process.last, lane));
        } else if reuses_ended {
            ended.insert((process.last, lane));
        }
        lane
    };
    let lanes: Vec<usize> = processes.iter().map(&mut assign).collect();
    // By number, and not by who happened to call first.
    let mut first: Vec<Option<u64>> = vec![None; count];
    for (process, lane) in processes.iter().zip(&lanes) {
        first[*lane].get_or_insert(process.process);
    }
    let mut by_number: Vec<usize> = (0..count).collect();
    by_number.sort_by_key(|lane| first[*lane]);
    let mut places = vec![0; count];
    for (place, lane) in by_number.into_iter().enumerate() {
        places[lane] = place;
    }
    lanes.into_iter().map(|lane| places[lane]).collect()
}

/// What a lane of processes is called: at length, and in short.
pub(super) fn names(processes: &[u64]) -> (String, String) {
    const NAMED: usize = 4;
    let listed: Vec<String> = processes.iter().take(NAMED).map(u64::to_string).collect();
    let more = processes.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let plural = if processes.len() == 1 { "" } else { "es" };
    let first = processes.first().map_or(String::new(), |first| format!("p{first}"));
    (format!("process{plural} {}{more}", listed.join(", ")), first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(first: u64, last: u64, crashed: bool) -> Span {
        Span { process: first, first, last, crashed }
    }

    #[test]
    fn who_comes_after_a_crash_takes_its_lane() {
        let processes = [
            process(0, 50, true),
            process(1, 90, false),
            process(2, 40, true),
            // Both have crashed: the one that called first gives up first.
            process(60, 95, false),
            process(61, 62, false),
            // Nobody has crashed who has no successor, but one has ended.
            process(70, 80, false),
            process(71, 80, false),
        ];
        assert_eq!(assign(&processes), [0, 1, 2, 2, 0, 3, 4]);
        assert_eq!(assign_with(&processes, true), [0, 1, 2, 2, 0, 0, 3]);
        let swapped = [Span { process: 9, ..processes[0] }, processes[1]];
        assert_eq!(assign(&swapped), [1, 0], "by number");
        let many: Vec<Span> = (0..300).map(|n| process(10 * n, 10 * n + 5, false)).collect();
        assert_eq!(assign(&many).into_iter().max(), Some(0), "one lane for all of them");
    }

    #[test]
    fn names_are_cut_short() {
        assert_eq!(names(&[3]), ("process 3".to_owned(), "p3".to_owned()));
        let (long, short) = names(&[3, 67, 131, 195, 259, 323]);
        assert_eq!(long, "processes 3, 67, 131, 195 and 2 more");
        assert_eq!(short, "p3");
    }
}
