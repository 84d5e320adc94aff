//! Answers that say what the keys were at some revision, sorted by that revision.
//!
//! An answer is compared where it looks: a read of the past at the revision it asks for, anything
//! else that wrote nothing at the revision it came with. Answers to writes are compared by the
//! replay itself.

use super::timeline::{Place, Rank, Timeline};
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
    Final,
}

/// Answers by the rank at which they are compared.
pub(crate) struct Checks<'h> {
    /// Where each rank's answers begin.
    starts: Vec<u32>,
    checks: Vec<(u32, Check<'h>)>,
}

impl<'h> Checks<'h> {
    /// Places of the answers that lie at `rank`.
    pub(crate) fn at(&self, rank: Rank) -> std::ops::Range<usize> {
        let place = |rank: Rank| usize::try_from(self.starts[rank]).expect("u32 fits usize");
        place(rank)..place(rank + 1)
    }

    /// The answer at a place, and the index of its operation or final state.
    pub(crate) fn get(&self, place: usize) -> (usize, Check<'h>) {
        let (index, check) = self.checks[place];
        (usize::try_from(index).expect("u32 fits usize"), check)
    }

    /// Sorts all answers of a history; notes those that cannot be right anywhere.
    pub(crate) fn collect(timeline: &Timeline<'h>, findings: &mut Findings) -> Checks<'h> {
        let mut all: Vec<(Rank, u32, Check<'h>)> = Vec::new();
        for (index, line) in timeline.history.operations.iter().enumerate() {
            let narrow = u32::try_from(index).expect("under 4 billion operations");
            each_look(&line.operation, timeline.places[index], &mut |look| match look {
                Look::At(revision, check) => {
                    if let Some(rank) = timeline.rank(revision) {
                        all.push((rank, narrow, check));
                    }
                }
                Look::Future(got) => findings.add(Rule::ContentResponse, || got.broken(line)),
            });
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
