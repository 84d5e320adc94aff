//! Walks the revisions: writes as their operations say, gaps as they can have been, and compares
//! every answer with the keys at its revision.
//!
//! Where a gap can have been more than one thing, the walk takes the first that the matching
//! admits and remembers the others; a disagreement later on leads back to the latest such place.
//! Without such a place a disagreement is a violation, and the walk goes on to find more.
//!
//! Invariant: `log` holds the changes of ranks 1 ..= `done`, and `keys` is their sum.

use super::gaps::{Effect, Makers, Matching, leases_needed};
use super::pins::{Pin, Pins};
use super::timeline::{Place, Rank, Timeline};
use crate::findings::{Broken, Findings};
use crate::history::record::{
    DeleteRange, DeleteRangeResponse, Outcome, Range, RangeResponse, Request, ResponseBody, Txn,
    TxnOp, TxnOpResponse, TxnResponse,
};
use crate::model::execute::{self, Path, Surroundings};
use crate::model::keyspace::{Change, Keyspace, Span, Stored};
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

/// An answer to compare with the keys at one rank.
#[derive(Debug, Clone, Copy)]
enum Check<'h> {
    Range(&'h Range, &'h RangeResponse),
    Txn(&'h Txn, &'h TxnResponse),
    NothingDeleted(&'h DeleteRange, &'h DeleteRangeResponse),
    Revoked(i64),
    Final,
}

/// A place to go back to.
#[derive(Debug)]
struct Choice {
    rank: Rank,
    effects: Vec<Effect>,
    next: usize,
}

/// The walk.
pub(crate) struct Replay<'h, 'a> {
    timeline: &'a Timeline<'h>,
    pins: &'a Pins,
    makers: &'a Makers<'h, 'a>,
    keys: Keyspace,
    /// Changes of all ranks, one after the other; `ends[k]` is where rank k's end.
    changes: Vec<Change>,
    ends: Vec<usize>,
    checks: Checks<'h>,
    choices: Vec<Choice>,
    matching: Matching,
    /// The first rank at which the walk had a choice.
    first_choice: Option<Rank>,
    deepest: Option<Disagreement>,
    /// Violations noted so far.
    noted: usize,
    steps: u64,
    steps_max: u64,
}

impl<'h, 'a> Replay<'h, 'a> {
    pub(crate) fn new(
        timeline: &'a Timeline<'h>,
        pins: &'a Pins,
        makers: &'a Makers<'h, 'a>,
        steps_max: u64,
        findings: &mut Findings,
    ) -> Replay<'h, 'a> {
        Replay {
            timeline,
            pins,
            makers,
            keys: Keyspace::with(&timeline.history.header.initial),
            changes: Vec::with_capacity(timeline.top),
            ends: vec![0],
            checks: Checks::collect(timeline, findings),
            choices: Vec::new(),
            matching: Matching::default(),
            first_choice: None,
            deepest: None,
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
        while self.done() + 1 < self.timeline.cut {
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
            if self.noted > 0 {
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

    /// Whether anything could have been otherwise.
    pub(crate) fn had_choice(&self) -> bool {
        self.first_choice.is_some()
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

    fn note(&mut self, disagreement: Disagreement, findings: &mut Findings) {
        self.noted += 1;
        findings.add(disagreement.rule, || disagreement.broken);
    }

    fn remember(&mut self, disagreement: Disagreement) {
        if self.deepest.as_ref().is_none_or(|deepest| deepest.rank < disagreement.rank) {
            self.deepest = Some(disagreement);
        }
    }

    /// Does rank `rank`, whatever comes of it: afterwards `done` is `rank`.
    fn step(&mut self, rank: Rank) -> Result<(), Disagreement> {
        let mut changes = Vec::new();
        let written = match self.timeline.writer(rank) {
            Some(index) => self.write(rank, index, &mut changes),
            None => self.fill(rank, &mut changes),
        };
        self.changes.append(&mut changes);
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
        let surroundings = Unchecked { current: revision - 1 };
        let wrong = |rule, expected: String| Disagreement {
            rank,
            rule,
            broken: Broken {
                operations: vec![render::operation(line)],
                expected,
                got: render::outcome(&line.operation.outcome),
            },
        };
        match (&line.operation.request, &response.body) {
            (Request::Put(put), ResponseBody::Put(got)) => {
                let refused = execute::check_put(&self.keys, &surroundings, put);
                let expected = execute::put(&mut self.keys, put, revision, changes);
                if let Err(refusal) = refused {
                    return Err(wrong(Rule::ContentResponse, refusal.failure().message));
                }
                if expected != *got {
                    let before = expected.prev_kv.as_ref().map_or("none".into(), render::key_value);
                    return Err(wrong(Rule::ContentResponse, format!("previous key: {before}")));
                }
            }
            (Request::DeleteRange(delete), ResponseBody::DeleteRange(got)) => {
                let expected = execute::delete_range(&mut self.keys, delete, changes);
                if expected != *got {
                    let text = format!(
                        "{} deleted, previous keys {}",
                        expected.deleted,
                        render::list(&expected.prev_kvs, render::key_value)
                    );
                    return Err(wrong(Rule::ContentResponse, text));
                }
            }
            (Request::Txn(txn), ResponseBody::Txn(got)) => {
                let path = Path::choose(&self.keys, txn);
                let claimed = Path::claimed(txn, got);
                let refused =
                    execute::check_txn(&self.keys, &surroundings, txn, &path, revision - 1);
                let expected =
                    execute::txn(&mut self.keys, &surroundings, txn, &claimed, revision, changes);
                if path != claimed {
                    let text =
                        format!("the {} branch", if path.succeeded { "then" } else { "else" });
                    return Err(wrong(Rule::TxnBranch, text));
                }
                if let Err(refusal) = refused {
                    return Err(wrong(Rule::ContentResponse, refusal.failure().message));
                }
                if !execute::same_txn(txn, &expected, got, &mut |_, _, _| true) {
                    return Err(wrong(Rule::ContentResponse, render::txn_response(&expected)));
                }
            }
            _ => unreachable!("only puts, deletes and transactions are placed as writes"),
        }
        Ok(())
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
        *changes = effect;
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
    fn check(&self, rank: Rank) -> Result<(), Disagreement> {
        for &(index, check) in self.checks.at(rank) {
            let index = usize::try_from(index).expect("u32 fits usize");
            self.compare(rank, index, check)?;
        }
        Ok(())
    }

    fn compare(&self, rank: Rank, index: usize, check: Check<'h>) -> Result<(), Disagreement> {
        let revision = self.timeline.revision(rank);
        let (rule, expected) = match check {
            Check::Range(range, got) => {
                if range_matches(&self.keys, range, got) {
                    return Ok(());
                }
                let expected = execute::range(&self.keys, range);
                (Rule::ContentResponse, render::range_response(&expected))
            }
            Check::Txn(txn, got) => {
                let path = Path::choose(&self.keys, txn);
                if path != Path::claimed(txn, got) {
                    let branch = if path.succeeded { "then" } else { "else" };
                    (Rule::TxnBranch, format!("the {branch} branch"))
                } else {
                    let surroundings = Unchecked { current: revision };
                    let mut keys = Scratch::new(&self.keys);
                    let expected = keys.txn(&surroundings, txn, &path, revision + 1);
                    if execute::same_txn(txn, &expected, got, &mut |_, _, _| true) {
                        return Ok(());
                    }
                    (Rule::ContentResponse, render::txn_response(&expected))
                }
            }
            Check::NothingDeleted(delete, got) => {
                let span = Span::new(&delete.key, &delete.range_end);
                let found = self.keys.span(span).count();
                if found == 0 && got.prev_kvs.is_empty() {
                    return Ok(());
                }
                (Rule::ContentResponse, format!("{found} deleted"))
            }
            Check::Revoked(lease) => {
                let Some(key) = self.keys.attached(lease).next() else { return Ok(()) };
                let text = format!("no key of lease {lease}; {} is left", render::short(key));
                (Rule::LeaseLifecycle, text)
            }
            Check::Final => return self.compare_final(rank, index),
        };
        let line = self.timeline.operation(index);
        let broken = Broken {
            operations: vec![render::operation(line)],
            expected: format!("at revision {revision}: {expected}"),
            got: render::outcome(&line.operation.outcome),
        };
        Err(Disagreement { rank, rule, broken })
    }

    fn compare_final(&self, rank: Rank, index: usize) -> Result<(), Disagreement> {
        let line = &self.timeline.history.finals[index];
        let kvs = &line.state.kvs;
        let same = self.keys.len() == kvs.len()
            && self.keys.iter().zip(kvs).all(|((key, stored), kv)| *key == kv.key && stored.is(kv));
        if same {
            return Ok(());
        }
        let expected = self.keys.iter().map(|(key, stored)| stored.key_value(key));
        let expected: Vec<_> = expected.filter(|kv| !kvs.contains(kv)).take(4).collect();
        let only = kvs.iter().filter(|kv| self.keys.get(&kv.key).is_none_or(|own| !own.is(kv)));
        let only: Vec<_> = only.take(4).cloned().collect();
        Err(Disagreement {
            rank,
            rule: Rule::FinalState,
            broken: Broken {
                operations: vec![render::final_state(line)],
                expected: format!(
                    "{} keys, among them {}",
                    self.keys.len(),
                    render::list(&expected, render::key_value)
                ),
                got: format!(
                    "{} keys, among them {}",
                    kvs.len(),
                    render::list(&only, render::key_value)
                ),
            },
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

/// Transactions that write nothing still run over the keys: on a copy of none of them.
struct Scratch<'k> {
    keys: &'k Keyspace,
}

impl<'k> Scratch<'k> {
    fn new(keys: &'k Keyspace) -> Scratch<'k> {
        Scratch { keys }
    }

    /// Answers a transaction as far as it reads; what it writes would be a disagreement, and is
    /// answered as such.
    fn txn(
        &mut self,
        surroundings: &Unchecked,
        txn: &Txn,
        path: &Path,
        revision: i64,
    ) -> TxnResponse {
        if only_reads(txn, path.succeeded) {
            let ops = execute::branch(txn, path.succeeded);
            let responses = ops.iter().filter_map(|op| match op {
                TxnOp::Range(range) if range.revision > 0 => Some(RangeResponse::default()),
                TxnOp::Range(range) => Some(execute::range(self.keys, range)),
                _ => None,
            });
            let responses = responses.map(TxnOpResponse::Range).collect();
            return TxnResponse { succeeded: path.succeeded, responses };
        }
        let mut keys = self.keys.clone();
        execute::txn(&mut keys, surroundings, txn, path, revision, &mut Vec::new())
    }
}

fn only_reads(txn: &Txn, succeeded: bool) -> bool {
    execute::branch(txn, succeeded).iter().all(|op| matches!(op, TxnOp::Range(_)))
}

/// Compares a range without building the answer.
fn range_matches(keys: &Keyspace, range: &Range, got: &RangeResponse) -> bool {
    let limit = usize::try_from(range.limit).ok().filter(|limit| *limit > 0);
    let mut count = 0_i64;
    let mut more = false;
    let mut kvs = got.kvs.iter();
    for (key, stored) in keys.span(Span::new(&range.key, &range.range_end)) {
        let beyond = limit.is_some_and(|limit| usize::try_from(count).is_ok_and(|n| n >= limit));
        count += 1;
        if range.count_only {
            continue;
        }
        if beyond {
            more = true;
            continue;
        }
        let Some(kv) = kvs.next() else { return false };
        let same = if range.keys_only {
            kv.value.is_empty()
                && stored.mod_revision == kv.mod_revision
                && stored.create_revision == kv.create_revision
                && stored.version == kv.version
        } else {
            stored.is(kv)
        };
        if kv.key != *key || !same {
            return false;
        }
    }
    kvs.next().is_none() && count == got.count && more == got.more
}

/// Leases and compactions float; they are not checked here.
struct Unchecked {
    current: i64,
}

impl Surroundings for Unchecked {
    fn lease_exists(&self, _lease: i64) -> bool {
        true
    }

    fn compact_revision(&self) -> i64 {
        -1
    }

    fn range_then(&self, range: &Range) -> RangeResponse {
        debug_assert!(range.revision > 0 || self.current > 0, "reads of the past have a revision");
        RangeResponse::default()
    }
}

/// Answers by the rank at which they are compared.
struct Checks<'h> {
    /// Where each rank's answers begin.
    starts: Vec<u32>,
    checks: Vec<(u32, Check<'h>)>,
}

impl<'h> Checks<'h> {
    fn at(&self, rank: Rank) -> &[(u32, Check<'h>)] {
        let place = |rank: Rank| usize::try_from(self.starts[rank]).expect("u32 fits usize");
        &self.checks[place(rank)..place(rank + 1)]
    }

    fn collect(timeline: &Timeline<'h>, findings: &mut Findings) -> Checks<'h> {
        let mut all: Vec<(Rank, u32, Check<'h>)> = Vec::new();
        for (index, line) in timeline.history.operations.iter().enumerate() {
            let Outcome::Ok(response) = &line.operation.outcome else { continue };
            let narrow = u32::try_from(index).expect("under 4 billion operations");
            let mut add = |rank, check| all.push((rank, narrow, check));
            let mut read_past = |range: &'h Range, got: &'h RangeResponse, newest: i64| {
                if range.revision > newest {
                    findings.add(Rule::ContentResponse, || Broken {
                        operations: vec![render::operation(line)],
                        expected: "a refusal: the revision is in the future".into(),
                        got: format!("an answer at revision {newest}"),
                    });
                } else if let Some(rank) = timeline.rank(range.revision) {
                    add(rank, Check::Range(range, got));
                }
            };
            match (&line.operation.request, &response.body) {
                (Request::Range(range), ResponseBody::Range(got)) if range.revision > 0 => {
                    read_past(range, got, response.revision);
                }
                (Request::Txn(txn), ResponseBody::Txn(got)) => {
                    let wrote = matches!(timeline.places[index], Place::Write(_));
                    let newest = response.revision - i64::from(wrote);
                    each_past_read(txn, got, &mut |range, got| read_past(range, got, newest));
                }
                _ => {}
            }
            let (Place::Slot(rank) | Place::Revoke(rank)) = timeline.places[index] else {
                continue;
            };
            match (&line.operation.request, &response.body) {
                (Request::Range(range), ResponseBody::Range(got)) if range.revision <= 0 => {
                    add(rank, Check::Range(range, got));
                }
                (Request::Txn(txn), ResponseBody::Txn(got)) => add(rank, Check::Txn(txn, got)),
                (Request::DeleteRange(delete), ResponseBody::DeleteRange(got)) => {
                    add(rank, Check::NothingDeleted(delete, got));
                }
                (Request::LeaseRevoke(lease), _) => add(rank, Check::Revoked(lease.id)),
                _ => {}
            }
        }
        for (index, line) in timeline.history.finals.iter().enumerate() {
            if let Some(rank) = timeline.rank(line.state.revision) {
                let narrow = u32::try_from(index).expect("few final states");
                all.push((rank, narrow, Check::Final));
            }
        }
        Checks::by_rank(timeline.top, &all)
    }

    /// Counting sort: stable, and one pass.
    fn by_rank(top: Rank, all: &[(Rank, u32, Check<'h>)]) -> Checks<'h> {
        let mut starts = vec![0_u32; top + 2];
        for (rank, _, _) in all {
            starts[rank + 1] += 1;
        }
        for rank in 0..=top {
            starts[rank + 1] += starts[rank];
        }
        let mut next = starts.clone();
        let mut checks = vec![(0, Check::Final); all.len()];
        for (rank, index, check) in all {
            let place = usize::try_from(next[*rank]).expect("u32 fits usize");
            checks[place] = (*index, *check);
            next[*rank] += 1;
        }
        Checks { starts, checks }
    }
}

/// Every read of the past that a transaction did, with its answer.
pub(crate) fn each_past_read<'h>(
    txn: &'h Txn,
    got: &'h TxnResponse,
    see: &mut impl FnMut(&'h Range, &'h RangeResponse),
) {
    let ops = execute::branch(txn, got.succeeded);
    for (op, got) in ops.iter().zip(&got.responses) {
        match (op, got) {
            (TxnOp::Range(range), TxnOpResponse::Range(got)) if range.revision > 0 => {
                see(range, got);
            }
            (TxnOp::Txn(txn), TxnOpResponse::Txn(got)) => each_past_read(txn, got, see),
            _ => {}
        }
    }
}
