//! Answers that say what the keys were at some revision, sorted by that revision.
//!
//! An answer is compared where it looks: a read of the past at the revision it asks for, anything
//! else that wrote nothing at the revision it came with. Answers to writes are compared by the
//! replay itself.

use super::timeline::{Place, Rank, Tells, Timeline};
use crate::findings::{Broken, Findings};
use crate::history::OperationLine;
use crate::history::record::{
    DeleteRange, DeleteRangeResponse, Operation, Outcome, Range, RangeResponse, Request,
    ResponseBody, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use crate::history::text::Text;
use crate::model::execute;
use crate::model::keyspace::Stored;
use crate::render;
use crate::verdict::Rule;

/// An answer to compare with the keys at one rank.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Check<'h> {
    Range(&'h Range, &'h RangeResponse),
    Txn(&'h Txn, &'h TxnResponse),
    NothingDeleted(&'h DeleteRange, &'h DeleteRangeResponse),
    Revoked(i64),
}

/// Operations and final states by the ranks at which they looked at the keys.
#[derive(Debug)]
pub(crate) struct Checks {
    /// Where each rank's begin.
    starts: Vec<u32>,
    /// Indexes of operations; beyond the last of them those of final states.
    lookers: Vec<u32>,
}

impl Checks {
    /// The places of those that looked at `rank`.
    pub(crate) fn at(&self, rank: Rank) -> std::ops::Range<usize> {
        wide(self.starts[rank])..wide(self.starts[rank + 1])
    }

    /// Who is at a place: the index of an operation, or that of a final state and the number of
    /// operations.
    pub(crate) fn looker(&self, place: usize) -> usize {
        wide(self.lookers[place])
    }

    /// Sorts all looks of a history; notes those that cannot be right anywhere.
    pub(crate) fn collect(timeline: &Timeline<'_>, findings: &mut Findings) -> Checks {
        let briefs = timeline.briefs;
        let mut all: Vec<(u32, u32)> = Vec::with_capacity(briefs.list.len());
        for (index, brief) in briefs.list.iter().enumerate() {
            let place = timeline.place(index);
            match place {
                // Most looks: at the revision of the answer, once.
                Place::Slot(rank) if !brief.is_special && brief.tells == Tells::Look => {
                    all.push((narrow(rank), narrow(index)));
                }
                Place::Write(_) if !brief.is_special => {}
                _ => {
                    let line = timeline.operation(index);
                    each_look(&line.operation, place, &mut |look| match look {
                        Look::At(revision, _) => {
                            let Some(rank) = timeline.rank(revision) else { return };
                            let looks = (narrow(rank), narrow(index));
                            if all.last() != Some(&looks) {
                                all.push(looks);
                            }
                        }
                        Look::Future(got) => {
                            findings.add(Rule::ContentResponse, || got.broken(line));
                        }
                    });
                }
            }
        }
        for (index, line) in timeline.history.finals.iter().enumerate() {
            if let Some(rank) = timeline.rank(line.state.revision) {
                all.push((narrow(rank), narrow(briefs.list.len() + index)));
            }
        }
        Checks::by_rank(timeline.top, &all)
    }

    /// Counting sort: stable, and one pass.
    fn by_rank(top: Rank, all: &[(u32, u32)]) -> Checks {
        let mut starts = vec![0_u32; top + 3];
        // One further up than they are counted for: after the second pass they are where they belong.
        for (rank, _) in all {
            starts[wide(*rank) + 2] += 1;
        }
        for rank in 1..starts.len() {
            starts[rank] += starts[rank - 1];
        }
        let mut lookers = vec![0; all.len()];
        for (rank, looker) in all {
            let next = &mut starts[wide(*rank) + 1];
            lookers[wide(*next)] = *looker;
            *next += 1;
        }
        Checks { starts, lookers }
    }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).expect("under 4 billion operations and revisions")
}

fn wide(count: u32) -> usize {
    usize::try_from(count).expect("u32 fits usize")
}

/// Where an operation looked at the keys.
pub(crate) enum Look<'h> {
    /// At this revision.
    At(i64, Check<'h>),
    /// At one that was not there yet: there is no such answer.
    Future(Future),
}

/// What an answer of the future said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Future {
    compacts: bool,
    newest: i64,
}

impl Future {
    pub(crate) fn broken(self, line: &OperationLine) -> Broken {
        let answer = if self.compacts { "a compaction" } else { "an answer" };
        Broken {
            operations: vec![render::operation(line)],
            expected: "a refusal: the revision is in the future".into(),
            got: format!("{answer} at revision {}", self.newest),
        }
    }
}

/// Every look that an answered operation took at the keys, but for what its write tells.
pub(crate) fn each_look<'h>(
    operation: &'h Operation,
    place: Place,
    see: &mut impl FnMut(Look<'h>),
) {
    let Outcome::Ok(response) = &operation.outcome else { return };
    let mut read_past = |range: &'h Range, got: &'h RangeResponse, newest: i64| {
        see(if range.revision > newest {
            Look::Future(Future { compacts: false, newest })
        } else {
            Look::At(range.revision, Check::Range(range, got))
        });
    };
    match (&operation.request, &response.body) {
        (Request::Range(range), ResponseBody::Range(got)) if range.revision > 0 => {
            read_past(range, got, response.revision);
        }
        (Request::Txn(txn), ResponseBody::Txn(got)) => {
            let wrote = matches!(place, Place::Write(_));
            let newest = response.revision.saturating_sub(i64::from(wrote));
            each_past_read(txn, got, &mut |range, got| read_past(range, got, newest));
        }
        (Request::Compact(compact), _) if compact.revision > response.revision => {
            see(Look::Future(Future { compacts: true, newest: response.revision }));
        }
        _ => {}
    }
    if !matches!(place, Place::Slot(_) | Place::Revoke(_)) {
        return;
    }
    let check = match (&operation.request, &response.body) {
        (Request::Range(range), ResponseBody::Range(got)) if range.revision <= 0 => {
            Check::Range(range, got)
        }
        (Request::Txn(txn), ResponseBody::Txn(got)) => Check::Txn(txn, got),
        (Request::DeleteRange(delete), ResponseBody::DeleteRange(got)) => {
            Check::NothingDeleted(delete, got)
        }
        (Request::LeaseRevoke(lease), _) => Check::Revoked(lease.id),
        _ => return,
    };
    see(Look::At(response.revision, check));
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

/// Compares a range without building the answer.
pub(crate) fn range_matches<'k>(
    found: impl Iterator<Item = (&'k Text, &'k Stored)>,
    range: &Range,
    got: &RangeResponse,
) -> bool {
    let limit = usize::try_from(range.limit).ok().filter(|limit| *limit > 0);
    let mut count = 0_i64;
    let mut more = false;
    let mut kvs = got.kvs.iter();
    for (key, stored) in found {
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
                && execute::same_lease_of_key(stored.lease, kv.lease)
        } else {
            stored.is(kv)
        };
        if kv.key != *key || !same {
            return false;
        }
    }
    kvs.next().is_none() && count == got.count && more == got.more
}
