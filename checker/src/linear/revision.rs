//! The revision-guided check, from a history to findings and the replayed changes.

use super::assign;
use super::floating::{self, Floats, Placed};
use super::gaps::Makers;
use super::leases::Leases;
use super::pins::{Pins, Watches};
use super::replay::{Replay, Walked};
use super::timeline::{Rank, Timeline};
use crate::check::Options;
use crate::findings::Findings;
use crate::history::History;
use crate::model::keyspace::Change;
use crate::verdict::Counts;

/// What happened at each revision, as far as the history tells.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// Revision of rank 0.
    pub(crate) first: i64,
    /// Up to here what happened is certain.
    pub(crate) certain: i64,
    /// Up to here something is known to have happened.
    pub(crate) done: i64,
    changes: Vec<Change>,
    ends: Vec<usize>,
}

impl Replayed {
    /// How many changes were made.
    pub(crate) fn count(&self) -> usize {
        self.changes.len()
    }

    /// The changes made at a revision above the first, ascending by operation.
    pub(crate) fn at(&self, revision: i64) -> &[Change] {
        let place = |revision: i64| usize::try_from(revision.saturating_sub(self.first)).ok();
        let Some(rank) = place(revision).filter(|rank| (1..self.ends.len()).contains(rank)) else {
            return &[];
        };
        &self.changes[self.ends[rank - 1]..self.ends[rank]]
    }
}

/// Operations from which on a second thread pays.
const LARGE: usize = 20_000;

/// Checks a history; `None` if its revisions are beyond replaying.
pub(crate) fn check(
    history: &History,
    watches: &Watches<'_>,
    options: &Options,
    counts: &mut Counts,
    findings: &mut Findings,
) -> Option<Replayed> {
    let timeline = Timeline::new(history, findings)?;
    let leases = Leases::collect(history);
    let float = |mut own: Findings| {
        let floats = Floats::collect(&timeline);
        if timeline.cut > timeline.top {
            floating::check_relaxed(&timeline, &leases, &floats, &mut own);
        }
        (floats, own)
    };
    let pin = || Pins::collect(&timeline, watches);
    let own = findings.empty();
    let (pins, (floats, relaxed)) = if history.operations.len() < LARGE {
        (pin(), float(own))
    } else {
        std::thread::scope(|scope| {
            let floating = scope.spawn(move || float(own));
            (pin(), floating.join().expect("checking does not panic"))
        })
    };
    findings.merge(relaxed);
    count(&timeline, &pins, counts);
    let makers = Makers::collect(&timeline, &leases);
    let mut replay = Replay::new(&timeline, &pins, &makers, options.search_steps_max, findings);
    let mut certain = usize::MAX;
    let mut steps = options.search_steps_max;
    loop {
        match replay.walk(findings) {
            Walked::Through if findings.any() => break,
            Walked::Through => {
                match assign::place_floating(
                    &timeline, &leases, &makers, &floats, &replay, &mut steps,
                ) {
                    Placed::Yes => break,
                    Placed::TooLong => {
                        findings.undecided(
                            "the search for an order of leases and refusals grew too long",
                        );
                        break;
                    }
                    Placed::No { left, .. } => {
                        if !replay.reject() {
                            floating::note(&timeline, &left, findings);
                            break;
                        }
                    }
                }
            }
            Walked::Nowhere(disagreement) => {
                certain = replay.done();
                findings.add(disagreement.rule, || disagreement.broken);
                break;
            }
            Walked::TooLong => {
                findings.undecided(format!(
                    "{} revisions have no known writer, and no way of filling them was found within \
                     {} steps",
                    counts.gaps, options.search_steps_max
                ));
                break;
            }
        }
    }
    let certain = certain.min(replay.certain()).min(timeline.cut - 1);
    Some(replay.finish(certain))
}

fn count(timeline: &Timeline<'_>, pins: &Pins, counts: &mut Counts) {
    counts.revisions = (timeline.first, timeline.revision(timeline.top));
    for rank in timeline.gaps() {
        counts.gaps += 1;
        if pins.is_pinned(rank) {
            counts.gaps_pinned += 1;
        } else {
            counts.gaps_unpinned += 1;
        }
    }
}

impl Replay<'_, '_> {
    fn finish(self, certain: Rank) -> Replayed {
        let timeline = self.timeline();
        let first = timeline.first;
        let certain = timeline.revision(certain);
        let done = timeline.revision(self.done());
        let (changes, ends) = self.into_log();
        Replayed { first, certain, done, changes, ends }
    }
}
