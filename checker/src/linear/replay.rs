//! Walks the revisions: writes as their operations say, gaps as they can have been, and compares
//! every answer with the keys at its revision.
//!
//! Where a gap can have been more than one thing, the walk takes the first that the matching
//! admits and remembers the others; a disagreement later on leads back to the latest such place.
//! Without such a place a disagreement is a violation, and the walk goes on to find more.
//!
//! Invariant: `log` holds the changes of ranks 1 ..= `done`, and `keys` is their sum.

use super::answer;
use super::checks::{Checks, Look, each_look};
use super::gaps::{Effect, Makers, Matching, leases_needed};
use super::pins::{Pin, Pins};
use super::timeline::{Rank, Timeline};
use crate::findings::{Broken, Findings};
use crate::history::OperationLine;
use crate::history::record::{Outcome, Request};
use crate::model::keyspace::{Change, Keyspace, Stored};
use crate::render;
use crate::verdict::Rule;

/// A disagreement.
#[derive(Debug, Clone)]
pub(crate) struct Disagreement {
    rank: Rank,
    pub(crate) rule: Rule,
    pub(crate) broken: Broken,
}

/// How a walk ended.
#[derive(Debug)]
pub(crate) enum Walked {
    /// At the end of the revisions: what fills the gaps explains every answer, or else violations
    /// were noted on the way.
    Through,
    /// No way of filling the gaps explains every answer. This one came furthest.
    Nowhere(Disagreement),
    /// The search became too long.
    TooLong,
}

/// A place to go back to.
#[derive(Debug)]
struct Choice {
    rank: Rank,
    effects: Vec<Effect>,
    next: usize,
}

/// Violations after which the walk ends: the keys have little to do with the store's any more.
const NOTED_MAX: usize = 200;

/// The walk.
pub(crate) struct Replay<'h, 'a> {
    timeline: &'a Timeline<'h>,
    pins: &'a Pins,
    makers: &'a Makers<'h, 'a>,
    keys: Keyspace,
    /// Changes of all ranks, one after the other; `ends[k]` is where rank k's end.
    changes: Vec<Change>,
    ends: Vec<usize>,
    checks: Checks,
    choices: Vec<Choice>,
    matching: Matching,
    /// The first rank at which the walk had a choice.
    first_choice: Option<Rank>,
    deepest: Option<Disagreement>,
    /// The rule of the first violation on the way.
    first_noted: Option<Rule>,
    noted: usize,
    steps: u64,
    steps_max: u64,
}

impl<'h, 'a> Replay<'h, 'a> {
    pub(crate) fn new(
        timeline: &'a Timeline<'h>,
        pins: &'a Pins,
        makers: &'a Makers<'h, 'a>,
        checks: Checks,
        steps_max: u64,
    ) -> Replay<'h, 'a> {
        Replay {
            timeline,
            pins,
            makers,
            keys: Keyspace::with(&timeline.history.header.initial),
            changes: Vec::with_capacity(timeline.top),
            ends: vec![0],
            checks,
            choices: Vec::new(),
            matching: Matching::default(),
            first_choice: None,
            deepest: None,
            first_noted: None,
            noted: 0,
            steps: 0,
            steps_max,
        }
    }

    /// Walks to the end, or to where nothing leads on.
    pub(crate) fn walk(&mut self, findings: &mut Findings) -> Walked {
        if self.done() == 0
            && self.choices.is_empty()
            && let Err(disagreement) = self.check(0)
        {
            self.note(disagreement, findings);
        }
        while self.done() + 1 < self.timeline.cut && self.noted < NOTED_MAX {
            if self.first_choice.is_some() {
                self.steps += 1;
                if self.steps > self.steps_max {
                    return Walked::TooLong;
                }
            }
            let rank = self.done() + 1;
            let Err(disagreement) = self.step(rank) else { continue };
            if self.choices.is_empty() {
                self.note(disagreement, findings);
                continue;
            }
            if self.first_noted.is_some() {
                // Invalid anyway; what follows might be the fault of the choice.
                self.back_to(self.choices[0].rank - 1);
                return Walked::Through;
            }
            self.remember(disagreement);
            if !self.go_back() {
                let deepest = self.deepest.take().expect("just remembered");
                return Walked::Nowhere(deepest);
            }
        }
        Walked::Through
    }

    /// Takes the way back from an end that something else refused; `false` if there is none.
    pub(crate) fn reject(&mut self) -> bool {
        self.go_back()
    }

    /// The last rank whose changes are certain.
    pub(crate) fn certain(&self) -> Rank {
        match self.choices.first() {
            Some(choice) => self.done().min(choice.rank - 1),
            None => self.done(),
        }
    }

    /// The last rank walked.
    pub(crate) fn done(&self) -> Rank {
        self.ends.len() - 1
    }

    /// What happened at a rank.
    pub(crate) fn changes(&self, rank: Rank) -> &[Change] {
        &self.changes[self.ends[rank - 1]..self.ends[rank]]
    }

    /// Who made the gaps.
    pub(crate) fn matching(&self) -> &Matching {
        &self.matching
    }

    pub(crate) fn timeline(&self) -> &'a Timeline<'h> {
        self.timeline
    }

    /// Everything that happened, and where each rank's changes end.
    pub(crate) fn into_log(self) -> (Vec<Change>, Vec<usize>) {
        (self.changes, self.ends)
    }

    /// Leases that the maker of a gap needed to exist.
    pub(crate) fn leases_needed(&self, request: &Request, rank: Rank) -> Vec<i64> {
        leases_needed(request, self.changes(rank))
    }

    /// Notes a violation. What comes after the first may be its consequence, so it is noted only if
    /// it will not be blamed before it.
    fn note(&mut self, disagreement: Disagreement, findings: &mut Findings) {
        let first = *self.first_noted.get_or_insert(disagreement.rule);
        self.noted += 1;
        if disagreement.rule < first {
            return;
        }
        findings.add(disagreement.rule, || disagreement.broken);
    }

    fn remember(&mut self, disagreement: Disagreement) {
        if self.deepest.as_ref().is_none_or(|deepest| deepest.rank < disagreement.rank) {
            self.deepest = Some(disagreement);
        }
    }

    /// Does rank `rank`, whatever comes of it: afterwards `done` is `rank`.
    fn step(&mut self, rank: Rank) -> Result<(), Disagreement> {
        let mut changes = std::mem::take(&mut self.changes);
        let written = match self.timeline.writer(rank) {
            Some(index) => self.write(rank, index, &mut changes),
            None => self.fill(rank, &mut changes),
        };
        self.changes = changes;
        self.ends.push(self.changes.len());
        written?;
        self.check(rank)
    }

    /// Does the write of an operation with a known outcome, and compares its answer.
    fn write(
        &mut self,
        rank: Rank,
        index: usize,
        changes: &mut Vec<Change>,
    ) -> Result<(), Disagreement> {
        let line = self.timeline.operation(index);
        let revision = self.timeline.revision(rank);
        let Outcome::Ok(response) = &line.operation.outcome else {
            unreachable!("a writer has an answer")
        };
        let request = &line.operation.request;
        answer::write(&mut self.keys, request, &response.body, revision, changes)
            .map_err(|wrong| Disagreement { rank, rule: wrong.rule, broken: wrong.broken(line) })
    }

    /// Fills a gap with the first thing that can have happened and that someone is left to do.
    fn fill(&mut self, rank: Rank, changes: &mut Vec<Change>) -> Result<(), Disagreement> {
        let effects = self.makers.effects(rank, &mut self.keys, self.pins);
        let ambiguous = effects.len() > 1;
        let mut choice = Choice { rank, effects, next: 0 };
        let Some(effect) = choice.take(&mut self.matching) else {
            let disagreement = self.unexplained(rank);
            self.fill_as_pinned(rank, changes);
            return Err(disagreement);
        };
        self.keys.redo(&effect);
        changes.extend(effect);
        if ambiguous {
            self.first_choice.get_or_insert(rank);
            if choice.next < choice.effects.len() {
                self.choices.push(choice);
            }
        }
        Ok(())
    }

    /// Goes on from an unexplained gap with what is known of it.
    fn fill_as_pinned(&mut self, rank: Rank, changes: &mut Vec<Change>) {
        for (key, pin) in &self.pins.of(rank).keys {
            let before = self.keys.get(key).cloned();
            let after = match pin {
                Pin::Deleted => None,
                Pin::Written(kv) | Pin::WrittenSomehow(kv) => Some(Stored::from(kv)),
            };
            let change = Change { key: key.clone(), before, after };
            self.keys.redo(std::slice::from_ref(&change));
            changes.push(change);
        }
    }

    fn unexplained(&mut self, rank: Rank) -> Disagreement {
        let revision = self.timeline.revision(rank);
        let known = self.pins.of(rank);
        let shown: Vec<String> = known
            .keys
            .iter()
            .map(|(key, pin)| match pin {
                Pin::Deleted => format!("delete {}", render::short(key)),
                Pin::Written(kv) | Pin::WrittenSomehow(kv) => {
                    format!("put {}", render::key_value(kv))
                }
            })
            .collect();
        let got = match (shown.is_empty(), known.complete) {
            (true, _) => format!("revision {revision} exists, and nothing tells what it holds"),
            (false, complete) => format!(
                "revision {revision} holds {}{}",
                render::list(&shown, Clone::clone),
                if complete { "" } else { " and maybe more" }
            ),
        };
        if let Some((lease, earliest)) = self.makers.early_expiries(rank, &mut self.keys, self.pins)
        {
            let upper = self.timeline.upper[rank];
            return Disagreement {
                rank,
                rule: Rule::LeaseEarlyExpiry,
                broken: Broken {
                    operations: self.timeline.lease_operations(lease),
                    expected: format!("lease {lease} lives until {}", render::seconds(earliest)),
                    got: format!("{got}, which was seen by {}", render::seconds(upper)),
                },
            };
        }
        let neighbours = [rank.checked_sub(1), Some(rank + 1)];
        let neighbours =
            neighbours.into_iter().flatten().filter(|rank| (1..=self.timeline.top).contains(rank));
        let operations = neighbours
            .filter_map(|rank| self.timeline.writer(rank))
            .map(|index| render::operation(self.timeline.operation(index)))
            .collect();
        let expected = "an operation of unknown outcome, or the end of a lease, that explains it";
        Disagreement {
            rank,
            rule: Rule::RevisionGap,
            broken: Broken { operations, expected: expected.into(), got },
        }
    }

    /// Compares all answers that lie at `rank`.
    fn check(&mut self, rank: Rank) -> Result<(), Disagreement> {
        let history = self.timeline.history;
        for place in self.checks.at(rank) {
            let looker = self.checks.looker(place);
            if let Some(line) = history.operations.get(looker) {
                self.compare(rank, looker, line)?;
                continue;
            }
            let line = &history.finals[looker - history.operations.len()];
            if let Some(broken) = answer::final_state(&self.keys, line) {
                return Err(Disagreement { rank, rule: Rule::FinalState, broken });
            }
        }
        Ok(())
    }

    /// Compares what an operation saw of the keys at `rank`.
    fn compare(
        &mut self,
        rank: Rank,
        index: usize,
        line: &OperationLine,
    ) -> Result<(), Disagreement> {
        let here = self.timeline.revision(rank);
        let mut wrong = None;
        each_look(&line.operation, self.timeline.place(index), &mut |look| {
            if let Look::At(revision, check) = look
                && revision == here
                && wrong.is_none()
            {
                wrong = answer::look(&mut self.keys, here, check).err();
            }
        });
        wrong.map_or(Ok(()), |wrong| {
            Err(Disagreement { rank, rule: wrong.rule, broken: wrong.broken(line) })
        })
    }

    /// Goes back to the latest choice that has something else to offer, and takes it.
    fn go_back(&mut self) -> bool {
        while let Some(mut choice) = self.choices.pop() {
            self.back_to(choice.rank - 1);
            while let Some(effect) = choice.take(&mut self.matching) {
                self.steps += 1;
                self.keys.redo(&effect);
                self.changes.extend(effect);
                self.ends.push(self.changes.len());
                match self.check(choice.rank) {
                    Ok(()) => {
                        if choice.next < choice.effects.len() {
                            self.choices.push(choice);
                        }
                        return true;
                    }
                    Err(disagreement) => self.remember(disagreement),
                }
                self.back_to(choice.rank - 1);
            }
        }
        false
    }

    /// Takes back everything after `rank`.
    fn back_to(&mut self, rank: Rank) {
        for undone in (rank + 1..=self.done()).rev() {
            let start = self.ends[undone - 1];
            self.keys.undo(&self.changes[start..]);
            self.changes.truncate(start);
            self.ends.truncate(undone);
            if self.timeline.is_gap(undone) {
                self.matching.remove(undone);
            }
        }
    }
}

impl Choice {
    /// The next thing that can have happened, if someone is left to do it.
    fn take(&mut self, matching: &mut Matching) -> Option<Vec<Change>> {
        while let Some(effect) = self.effects.get(self.next) {
            self.next += 1;
            if matching.add(self.rank, &effect.makers) {
                return Some(effect.changes.clone());
            }
        }
        None
    }
}
