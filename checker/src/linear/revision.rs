//! The revision-guided check, from a history to findings and the replayed changes.

use super::assign;
use super::brief::Briefs;
use super::checks::Checks;
use super::floating::{self, Floats, Placed};
use super::gaps::Makers;
use super::leases::Leases;
use super::pins::Pins;
use super::replay::{Replay, Walked};
use super::timeline::{Rank, Timeline};
use crate::check::Options;
use crate::findings::Findings;
use crate::model::keyspace::Change;
use crate::threads;
use crate::verdict::Counts;
use crate::watch::survey::Survey;

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

    /// How many revisions above the first were replayed.
    pub(crate) fn revisions(&self) -> usize {
        self.ends.len() - 1
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

/// What is made of the operations before the replay, for it needs nothing of the watches but how far
/// they have come.
struct Prepared<'h> {
    timeline: Timeline<'h>,
    pins: Pins,
    checks: Checks,
}

/// Checks a history, and goes through its watches beside that; no replay if the revisions are beyond
/// it.
pub(crate) fn check<'h>(
    briefs: &'h Briefs<'h>,
    options: &Options,
    counts: &mut Counts,
    findings: &mut Findings,
) -> (Survey<'h>, Option<Replayed>) {
    let history = briefs.history;
    let is_large = history.operations.len().max(history.watches.len()) >= threads::LARGE;
    let finals = history.finals.iter().map(|line| line.state.revision);
    let answered = finals.fold(briefs.newest(), i64::max);
    let empty = findings.empty();
    let survey = || Survey::of(briefs, &empty);
    let (survey, prepared) =
        threads::both(is_large, survey, || Prepared::new(briefs, answered, &empty));
    let (prepared, own) = if survey.newest > answered {
        // Only watches tell of the last revisions.
        Prepared::new(briefs, survey.newest, &empty)
    } else {
        prepared
    };
    findings.merge(&own);
    let replayed = prepared.map(|mut prepared| {
        prepared.pins.see_watches(&prepared.timeline, &survey);
        prepared.replay(is_large, options, counts, findings)
    });
    (survey, replayed)
}

impl<'h> Prepared<'h> {
    fn new(
        briefs: &'h Briefs<'h>,
        last: i64,
        empty: &Findings,
    ) -> (Option<Prepared<'h>>, Findings) {
        let mut own = empty.empty();
        let prepared = Timeline::new(briefs, last, &mut own).map(|timeline| {
            let pins = Pins::of_answers(&timeline);
            let checks = Checks::collect(&timeline, &mut own);
            Prepared { timeline, pins, checks }
        });
        (prepared, own)
    }

    fn replay(
        self,
        is_large: bool,
        options: &Options,
        counts: &mut Counts,
        findings: &mut Findings,
    ) -> Replayed {
        let Prepared { timeline, pins, checks } = self;
        count(&timeline, &pins, counts);
        let special = timeline.briefs.special().map(|(_, line)| line);
        let leases = Leases::collect(timeline.history, special);
        let floats = Floats::collect(&timeline);
        let makers = Makers::collect(&timeline, &leases);
        let mut replay = Replay::new(&timeline, &pins, &makers, checks, options.search_steps_max);
        let (mut relaxed, mut own) = (findings.empty(), findings.empty());
        let float = || {
            if timeline.cut > timeline.top {
                floating::check_relaxed(&timeline, &leases, &floats, &mut relaxed);
            }
        };
        let ((), mut walked) = threads::both(is_large, float, || replay.walk(&mut own));
        findings.merge(&relaxed);
        findings.merge(&own);
        let mut certain = usize::MAX;
        let mut steps = options.search_steps_max;
        loop {
            match walked {
                Walked::Through if findings.any() => break,
                Walked::Through => {
                    let placed = assign::place_floating(
                        &timeline, &leases, &makers, &floats, &replay, &mut steps,
                    );
                    match placed {
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
                        "{} revisions have no known writer, and no way of filling them was found \
                         within {} steps",
                        counts.gaps, options.search_steps_max
                    ));
                    break;
                }
            }
            walked = replay.walk(findings);
        }
        let certain = certain.min(replay.certain()).min(timeline.cut - 1);
        replay.finish(certain)
    }
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
