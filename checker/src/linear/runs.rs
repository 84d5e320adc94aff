//! Where, among the revisions, something holds: a key is absent, a lease has no keys.

use std::collections::HashMap;

use super::replay::Replay;
use super::solver::Spot;
use super::timeline::{Rank, Timeline};
use crate::history::record::{Outcome, Request};
use crate::history::text::Text;
use crate::model::keyspace::Stored;

/// Where operations of unknown outcome may have written revisions that no answer tells of.
pub(crate) fn tail(timeline: &Timeline<'_>) -> Spot {
    2 * timeline.top + 2
}

/// Maximal runs of spots in which something holds, built up change by change.
struct Runs {
    since: Option<Spot>,
    runs: Vec<(Spot, Spot)>,
}

impl Runs {
    fn new(holds_first: bool) -> Runs {
        Runs { since: holds_first.then_some(0), runs: Vec::new() }
    }

    /// From the revision of this rank on it holds, or no longer does.
    fn set(&mut self, rank: Rank, holds: bool) {
        match (self.since, holds) {
            (None, true) => self.since = Some(2 * rank + 1),
            (Some(first), false) => {
                // What holds only within one revision is no run.
                if first < 2 * rank {
                    self.runs.push((first, 2 * rank - 1));
                }
                self.since = None;
            }
            (Some(_), true) | (None, false) => {}
        }
    }

    fn finish(mut self, timeline: &Timeline<'_>) -> Vec<(Spot, Spot)> {
        // What happens in the tail is not known, so there anything may hold.
        let tail = tail(timeline);
        self.runs.push((self.since.unwrap_or(tail), tail));
        self.runs
    }
}

/// Where a key is absent.
pub(crate) fn absences(
    replay: &Replay<'_, '_>,
    timeline: &Timeline<'_>,
    key: &Text,
) -> Vec<(Spot, Spot)> {
    let mut runs = Runs::new(!timeline.history.header.initial.iter().any(|kv| kv.key == *key));
    for rank in 1..=replay.done() {
        for change in replay.changes(rank).iter().filter(|change| change.key == *key) {
            runs.set(rank, change.after.is_none());
        }
    }
    let mut runs = runs.finish(timeline);
    if !may_write_later(timeline) {
        // Nobody is left to delete it after the last revision that is known.
        runs.retain(|spots| spots.0 != tail(timeline));
    }
    runs
}

/// Whether something may have written that no answer tells of.
fn may_write_later(timeline: &Timeline<'_>) -> bool {
    timeline.briefs.special().any(|(_, line)| {
        matches!(line.operation.outcome, Outcome::Unknown(_))
            || matches!(line.operation.request, Request::LeaseGrant(_))
    }) || timeline.history.header.initial.iter().any(|kv| kv.lease != 0)
}

/// Where each lease that ever has keys has none.
pub(crate) fn without_keys(
    replay: &Replay<'_, '_>,
    timeline: &Timeline<'_>,
) -> HashMap<i64, Vec<(Spot, Spot)>> {
    let mut attached: HashMap<i64, (i64, Runs)> = HashMap::new();
    for kv in timeline.history.header.initial.iter().filter(|kv| kv.lease != 0) {
        attached.entry(kv.lease).or_insert_with(|| (0, Runs::new(false))).0 += 1;
    }
    let lease_of = |stored: &Option<Stored>| stored.as_ref().map_or(0, |stored| stored.lease);
    for rank in 1..=replay.done() {
        for change in replay.changes(rank) {
            let (before, after) = (lease_of(&change.before), lease_of(&change.after));
            if before == after {
                continue;
            }
            for (lease, step) in [(before, -1), (after, 1)] {
                if lease != 0 {
                    let entry = attached.entry(lease).or_insert_with(|| (0, Runs::new(true)));
                    entry.0 += step;
                    entry.1.set(rank, entry.0 == 0);
                }
            }
        }
    }
    attached.into_iter().map(|(lease, (_, runs))| (lease, runs.finish(timeline))).collect()
}
