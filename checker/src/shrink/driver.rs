//! The steps of shrinking, one after the other, until none of them leaves anything out.

use std::collections::BTreeSet;

use crate::check::{Options, check};
use crate::findings::Findings;
use crate::history::History;
use crate::history::record::{
    KeyValue, Operation, Outcome, Put, Record, Request, ResponseBody, Txn, TxnOp, WatchBody,
};
use crate::history::text::Text;
use crate::linear::brief::Briefs;
use crate::linear::revision::{self, Replayed};
use crate::linear::timeline::writes;
use crate::model::keyspace::Keyspace;
use crate::verdict::{Counts, Report, Rule, Verdict};

use super::cut;
use super::reduce::reduce;
use super::rewrite::{Without, rewrite};

/// A short history that breaks the same rule.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The header first; no end.
    pub records: Vec<Record>,
    /// What the check says of it.
    pub report: Report,
    /// Histories that were tried.
    pub tried: u64,
}

/// Shortens an invalid history as long as the rule that is to blame stays the same. `Err` is the
/// report of a history that is not invalid. `progress` is told how many records are left.
pub fn shrink(
    history: &History,
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Shrunk, Box<Report>> {
    let report = check(history, options);
    let Some(rule) = report.verdict.rule() else { return Err(Box::new(report)) };
    let may_break = broken(&report.verdict);
    let records = records(history);
    let mut search =
        Search { options: *options, rule, may_break, report, records, tried: 0, progress };
    search.cut_above();
    search.cut_below();
    for _ in 0..ROUNDS_MAX {
        let before = search.records.len();
        search.leave_out_keys();
        search.leave_out_records();
        search.leave_out_writes();
        search.leave_out_initial();
        search.cut_below();
        if search.records.len() == before {
            break;
        }
    }
    let Search { records, report, tried, .. } = search;
    Ok(Shrunk { records, report, tried })
}

/// Each round leaves out something, so there are few.
const ROUNDS_MAX: usize = 20;

struct Search<'p> {
    options: Options,
    rule: Rule,
    /// Rules that were broken from the beginning, and may stay so.
    may_break: BTreeSet<Rule>,
    report: Report,
    records: Vec<Record>,
    tried: u64,
    progress: &'p mut dyn FnMut(usize),
}

impl Search<'_> {
    /// Goes on with other records if they break the same rule.
    fn accept(&mut self, records: Vec<Record>) -> bool {
        let Some(report) = self.judge(&records) else { return false };
        self.may_break = broken(&report.verdict);
        self.report = report;
        self.records = records;
        (self.progress)(self.records.len());
        true
    }

    /// The report of records that break the same rule, and no other that was not broken before.
    fn judge(&mut self, records: &[Record]) -> Option<Report> {
        self.tried += 1;
        let history = History::collect(records.to_vec()).ok()?;
        let report = check(&history, &self.options);
        let same = report.verdict.rule() == Some(self.rule);
        (same && broken(&report.verdict).is_subset(&self.may_break)).then_some(report)
    }

    fn history(&self) -> History {
        History::collect(self.records.clone()).expect("it was judged")
    }

    /// What happened, as far as it can be told.
    fn replayed(&self) -> Option<Replayed> {
        let history = self.history();
        let briefs = Briefs::of(&history);
        let mut findings = Findings::new(1);
        let counts = &mut Counts::default();
        revision::check(&briefs, &self.options, counts, &mut findings).1
    }

    /// The lowest and the highest revision that the violation is about.
    fn named(&self) -> Option<(i64, i64)> {
        let violations = self.report.verdict.violations();
        let blamed = violations.iter().filter(|violation| violation.rule == self.rule);
        let lines: BTreeSet<u64> =
            blamed.take(1).flat_map(|own| &own.operations).map(|named| named.line).collect();
        let of_lines = lines.iter().filter_map(|line| {
            let place = usize::try_from(line.checked_sub(1)?).ok()?;
            revisions(self.records.get(place)?)
        });
        of_lines.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    }

    /// Leaves out what comes after the violation: as much as possible, then half as much, ...
    fn cut_above(&mut self) {
        let Some((_, highest)) = self.named() else { return };
        let newest = self.records.iter().filter_map(revisions).map(|own| own.1).max();
        let mut room = 0;
        while newest.is_some_and(|newest| highest + room < newest) {
            if self.accept(cut::above(&self.records, highest + room)) {
                return;
            }
            room = (2 * room).max(1);
        }
    }

    /// Begins the history shortly before the violation.
    fn cut_below(&mut self) {
        let (Some((lowest, _)), Some(replayed)) = (self.named(), self.replayed()) else { return };
        let Some(Record::Header(header)) = self.records.first() else { return };
        let (first, initial) = (header.first_revision, header.initial.clone());
        let lowest = lowest.min(replayed.done);
        let mut room = 0;
        while lowest - room > first {
            let revision = lowest - room;
            let initial = state(&initial, &replayed, revision);
            if self.accept(cut::below(&self.records, revision, initial)) {
                return;
            }
            room = (2 * room).max(1);
        }
    }

    fn leave_out_keys(&mut self) {
        let Some(replayed) = self.replayed() else { return };
        let all: Vec<Text> = keys(&self.records).into_iter().collect();
        let records = self.records.clone();
        let without = |kept: &[Text]| {
            let kept: BTreeSet<&Text> = kept.iter().collect();
            let keys = all.iter().filter(|key| !kept.contains(key)).cloned().collect();
            rewrite(&records, &replayed, &Without { keys, revisions: BTreeSet::new() })
        };
        reduce(all.clone(), &mut |kept| self.accept(without(kept)));
    }

    /// Leaves out what does not write, and writes that may never have happened; watches as a whole.
    fn leave_out_records(&mut self) {
        let records = self.records.clone();
        let mut parts: Vec<Vec<usize>> = Vec::new();
        let mut watches: Vec<u64> = Vec::new();
        for (place, record) in records.iter().enumerate() {
            match record {
                Record::Header(_) => {}
                Record::Watch(response) => {
                    match watches.iter().position(|watch| *watch == response.watch) {
                        Some(_) if splits(&response.body) => parts.push(vec![place]),
                        Some(own) => parts[own].push(place),
                        None => {
                            watches.push(response.watch);
                            parts.insert(watches.len() - 1, vec![place]);
                        }
                    }
                }
                Record::Op(operation) if is_write(operation) => {}
                _ => parts.push(vec![place]),
            }
        }
        let optional: BTreeSet<usize> = parts.iter().flatten().copied().collect();
        reduce(parts, &mut |kept: &[Vec<usize>]| {
            let kept: BTreeSet<usize> = kept.iter().flatten().copied().collect();
            let places = records.iter().enumerate();
            let left = places
                .filter(|(place, _)| !optional.contains(place) || kept.contains(place))
                .map(|(_, record)| record.clone());
            self.accept(without_lost_watches(left.collect()))
        });
    }

    fn leave_out_writes(&mut self) {
        let Some(replayed) = self.replayed() else { return };
        let records = self.records.clone();
        let all: Vec<i64> = (replayed.first + 1..=replayed.done).collect();
        reduce(all.clone(), &mut |kept: &[i64]| {
            let kept: BTreeSet<i64> = kept.iter().copied().collect();
            let revisions = all.iter().filter(|own| !kept.contains(own)).copied().collect();
            let without = Without { keys: BTreeSet::new(), revisions };
            self.accept(rewrite(&records, &replayed, &without))
        });
    }

    fn leave_out_initial(&mut self) {
        let records = self.records.clone();
        let Some(Record::Header(header)) = records.first() else { return };
        reduce(header.initial.clone(), &mut |kept: &[KeyValue]| {
            let mut fewer = records.clone();
            let mut header = header.clone();
            header.initial = kept.to_vec();
            fewer[0] = Record::Header(header);
            self.accept(fewer)
        });
    }
}

fn broken(verdict: &Verdict) -> BTreeSet<Rule> {
    verdict.violations().iter().map(|violation| violation.rule).collect()
}

/// The records of a history, in the order of their lines.
fn records(history: &History) -> Vec<Record> {
    let operations =
        history.operations.iter().map(|own| (own.line, Record::Op(own.operation.clone())));
    let watches = history.watches.iter().map(|own| (own.line, Record::Watch(own.response.clone())));
    let nemeses =
        history.nemeses.iter().map(|own| (own.line, Record::Nemesis(own.nemesis.clone())));
    let finals = history.finals.iter().map(|own| (own.line, Record::Final(own.state.clone())));
    let mut lines: Vec<(u64, Record)> =
        operations.chain(watches).chain(nemeses).chain(finals).collect();
    lines.sort_by_key(|(line, _)| *line);
    let header = Record::Header(history.header.clone());
    std::iter::once(header).chain(lines.into_iter().map(|(_, record)| record)).collect()
}

/// The lowest and the highest revision that a record is about.
fn revisions(record: &Record) -> Option<(i64, i64)> {
    match record {
        Record::Op(operation) => {
            let revision = cut::answered(operation)?;
            let past = match &operation.request {
                Request::Range(range) if range.revision > 0 => range.revision,
                _ => revision,
            };
            Some((past.min(revision), past.max(revision)))
        }
        Record::Watch(response) => match &response.body {
            WatchBody::Events { events, .. } => {
                let of_events = || events.iter().map(|event| event.kv.mod_revision);
                Some((of_events().min()?, of_events().max()?.max(response.revision)))
            }
            WatchBody::Digests(short) => short.revisions(),
            WatchBody::Progress | WatchBody::Canceled { .. } => {
                Some((response.revision, response.revision))
            }
            WatchBody::Created(_) | WatchBody::Closed { .. } => None,
        },
        Record::Final(state) => Some((state.revision, state.revision)),
        Record::Header(_) | Record::Nemesis(_) | Record::End(_) => None,
    }
}

/// The keys at a revision.
fn state(initial: &[KeyValue], replayed: &Replayed, revision: i64) -> Vec<KeyValue> {
    let mut keys = Keyspace::with(initial);
    for revision in replayed.first + 1..=revision {
        keys.redo(replayed.at(revision));
    }
    keys.iter().map(|(key, stored)| stored.key_value(key)).collect()
}

/// Every key that something says was written, or was there.
fn keys(records: &[Record]) -> BTreeSet<Text> {
    let mut keys = BTreeSet::new();
    for record in records {
        match record {
            Record::Header(header) => keys.extend(header.initial.iter().map(|kv| kv.key.clone())),
            Record::Op(operation) => match &operation.request {
                Request::Put(put) => drop(keys.insert(put.key.clone())),
                Request::Range(range) => drop(keys.insert(range.key.clone())),
                Request::DeleteRange(delete) => drop(keys.insert(delete.key.clone())),
                Request::Txn(txn) => of_txn(txn, &mut keys),
                _ => {}
            },
            Record::Watch(response) => {
                if let WatchBody::Events { events, .. } = &response.body {
                    keys.extend(events.iter().map(|event| event.kv.key.clone()));
                }
            }
            Record::Final(state) => keys.extend(state.kvs.iter().map(|kv| kv.key.clone())),
            Record::Nemesis(_) | Record::End(_) => {}
        }
    }
    keys
}

fn of_txn(txn: &Txn, keys: &mut BTreeSet<Text>) {
    keys.extend(txn.compare.iter().map(|compare| compare.key.clone()));
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Put(Put { key, .. }) => drop(keys.insert(key.clone())),
            TxnOp::Range(range) => drop(keys.insert(range.key.clone())),
            TxnOp::DeleteRange(delete) => drop(keys.insert(delete.key.clone())),
            TxnOp::Txn(txn) => of_txn(txn, keys),
        }
    }
}

/// Whether a response of a watch can be left out by itself, as the watch would look without it.
fn splits(body: &WatchBody) -> bool {
    match body {
        WatchBody::Progress | WatchBody::Canceled { .. } | WatchBody::Closed { .. } => true,
        WatchBody::Created(_) | WatchBody::Events { .. } | WatchBody::Digests(_) => false,
    }
}

/// Whether an operation made a revision: leaving it out alone would leave the revision behind.
fn is_write(operation: &Operation) -> bool {
    match &operation.outcome {
        Outcome::Ok(response) => {
            !matches!(response.body, ResponseBody::LeaseRevoke) && writes(&response.body)
        }
        Outcome::Fail(_) | Outcome::Unknown(_) => false,
    }
}

/// Watches whose creation is left out are left out, and nothing resumes them.
fn without_lost_watches(mut records: Vec<Record>) -> Vec<Record> {
    let mut there = BTreeSet::new();
    for record in &mut records {
        let Record::Watch(response) = record else { continue };
        if let WatchBody::Created(request) = &mut response.body {
            request.resumes = request.resumes.filter(|id| there.contains(id));
            there.insert(response.watch);
        }
    }
    records
}
