//! Every operation in few bytes: what is asked of all of them again and again.
//!
//! Operations are large and lie far apart; passes over a million of them wait for memory most of the
//! time. So one pass, on all cores, notes of each when it was called, when it returned, and where its
//! answer says that it lies. Most operations are plain; those that leases, compactions, reads of the
//! past, refusals and unknown outcomes are about are listed, and passes that ask only for these go
//! through the list.

use super::pins::each_put;
use super::timeline::{Tells, may_be_stale};
use crate::history::record::{Operation, Outcome, Request, Txn, TxnOp, WatchRequest};
use crate::history::text::Text;
use crate::history::{History, OperationLine};
use crate::model::keyspace::Span;
use crate::threads;
use crate::verdict::Counts;

/// What one operation says of times and revisions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Brief {
    pub(crate) call_ns: u64,
    /// `u64::MAX` if it never did.
    pub(crate) return_ns: u64,
    /// Of its answer; `i64::MIN` if there is none.
    pub(crate) revision: i64,
    pub(crate) tells: Tells,
    /// It may have been answered from before its call.
    pub(crate) is_stale: bool,
    /// It is in the list of those that are not plain.
    pub(crate) is_special: bool,
}

impl Brief {
    fn of(operation: &Operation) -> Brief {
        let (revision, tells) = match &operation.outcome {
            Outcome::Ok(response) => (response.revision, Tells::of(&response.body)),
            Outcome::Fail(_) | Outcome::Unknown(_) => (i64::MIN, Tells::Nothing),
        };
        Brief {
            call_ns: operation.call_ns,
            return_ns: operation.return_ns.unwrap_or(u64::MAX),
            revision,
            tells,
            is_stale: may_be_stale(&operation.request),
            is_special: !is_plain(operation),
        }
    }
}

/// All operations of a history.
#[derive(Debug)]
pub(crate) struct Briefs<'h> {
    pub(crate) history: &'h History,
    pub(crate) list: Vec<Brief>,
    /// What was counted.
    pub(crate) counts: Counts,
    /// Operations that can have made a revision.
    pub(crate) makers: i64,
    /// Index of the first of those whose answers tell of the highest revision.
    pub(crate) highest: Option<usize>,
    special: Vec<u32>,
    touched: Option<Touched<'h>>,
    written: Written,
}

impl<'h> Briefs<'h> {
    /// Goes through all operations.
    pub(crate) fn of(history: &'h History) -> Briefs<'h> {
        let parts = threads::in_parts(history.operations.len(), |range| {
            let mut part = Part::default();
            part.list.reserve_exact(range.len());
            for (index, line) in range.clone().zip(&history.operations[range]) {
                part.take(index, &line.operation);
            }
            part
        });
        let mut all = Part::default();
        for kv in &history.header.initial {
            touch(&mut all.touched, &kv.key);
        }
        for part in parts {
            all.append(part);
        }
        let written = Written::of(history.header.first_revision, &all.list);
        Briefs {
            history,
            list: all.list,
            counts: all.counts,
            makers: all.makers,
            highest: all.highest.map(|(_, index)| index),
            special: all.special,
            touched: all.touched,
            written,
        }
    }

    /// The operations that are not plain, with their indexes, ascending.
    pub(crate) fn special(&self) -> impl Iterator<Item = (usize, &'h OperationLine)> {
        let operations = &self.history.operations;
        let wide = |index: &u32| usize::try_from(*index).expect("u32 fits usize");
        self.special.iter().map(wide).map(|index| (index, &operations[index]))
    }

    /// The highest revision that an answer tells of.
    pub(crate) fn newest(&self) -> i64 {
        let first = self.history.header.first_revision;
        self.highest.map_or(first, |index| self.list[index].revision.max(first))
    }

    /// Whether an answered operation says that it made a revision. Where this says no, it may be a yes.
    pub(crate) fn is_written(&self, revision: i64) -> bool {
        self.written.has(revision)
    }

    /// Whether a watch sees everything that can happen.
    pub(crate) fn are_all_seen_by(&self, request: &WatchRequest) -> bool {
        let Some((lowest, highest)) = self.touched else { return false };
        let span = Span::new(&request.key, &request.range_end);
        let filtered = request.no_put || request.no_delete;
        !filtered && span.contains(lowest) && span.contains(highest)
    }
}

/// The lowest and the highest key that can ever have existed.
type Touched<'h> = (&'h Text, &'h Text);

fn touch<'h>(touched: &mut Option<Touched<'h>>, key: &'h Text) {
    let (lowest, highest) = touched.get_or_insert((key, key));
    if key < *lowest {
        *lowest = key;
    } else if key > *highest {
        *highest = key;
    }
}

/// Some operations, one after the other.
#[derive(Debug, Default)]
struct Part<'h> {
    list: Vec<Brief>,
    counts: Counts,
    makers: i64,
    /// The highest revision of an answer, and the first operation that tells of it.
    highest: Option<(i64, usize)>,
    special: Vec<u32>,
    touched: Option<Touched<'h>>,
}

impl<'h> Part<'h> {
    fn take(&mut self, index: usize, operation: &'h Operation) {
        let brief = Brief::of(operation);
        self.counts.add_operation(operation);
        match &operation.request {
            Request::Put(put) => touch(&mut self.touched, &put.key),
            Request::Txn(txn) => each_put(txn, &mut |put| touch(&mut self.touched, &put.key)),
            _ => {}
        }
        if brief.is_special {
            self.special.push(u32::try_from(index).expect("under 4 billion operations"));
        }
        self.makers += i64::from(makes(operation, brief.tells));
        if matches!(operation.outcome, Outcome::Ok(_))
            && self.highest.is_none_or(|(revision, _)| brief.revision > revision)
        {
            self.highest = Some((brief.revision, index));
        }
        self.list.push(brief);
    }

    /// Takes over what follows.
    fn append(&mut self, mut other: Part<'h>) {
        if self.list.is_empty() {
            self.list = other.list;
        } else {
            self.list.append(&mut other.list);
        }
        self.counts.add(&other.counts);
        self.makers += other.makers;
        if let Some((revision, _)) = other.highest
            && self.highest.is_none_or(|(before, _)| revision > before)
        {
            self.highest = other.highest;
        }
        self.special.append(&mut other.special);
        for key in other.touched.into_iter().flat_map(|(lowest, highest)| [lowest, highest]) {
            touch(&mut self.touched, key);
        }
    }
}

/// Whether an operation can have made a revision.
fn makes(operation: &Operation, tells: Tells) -> bool {
    match (&operation.request, &operation.outcome) {
        (_, Outcome::Fail(_)) => false,
        // A grant may be followed by an expiry.
        (Request::LeaseGrant(_) | Request::LeaseRevoke(_), _) | (_, Outcome::Unknown(_)) => true,
        (_, Outcome::Ok(_)) => tells == Tells::Write,
    }
}

/// Whether an operation was answered and is about nothing but the keys as they are.
fn is_plain(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Ok(_))
        && match &operation.request {
            Request::Put(put) => put.lease == 0,
            Request::Range(range) => range.revision <= 0,
            Request::DeleteRange(_) => true,
            Request::Txn(txn) => is_plain_txn(txn),
            Request::LeaseGrant(_)
            | Request::LeaseRevoke(_)
            | Request::LeaseKeepAlive(_)
            | Request::Compact(_) => false,
        }
}

fn is_plain_txn(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match op {
        TxnOp::Put(put) => put.lease == 0,
        TxnOp::Range(range) => range.revision <= 0,
        TxnOp::DeleteRange(_) => true,
        TxnOp::Txn(txn) => is_plain_txn(txn),
    })
}

/// The revisions that answered operations say they made, as bits; only those that are near.
#[derive(Debug)]
struct Written {
    first: i64,
    words: Vec<u64>,
}

impl Written {
    fn of(first: i64, briefs: &[Brief]) -> Written {
        let mut written = Written { first, words: vec![0; briefs.len() / 64 + 1] };
        for brief in briefs.iter().filter(|brief| brief.tells == Tells::Write) {
            if let Some((word, bit)) = written.place(brief.revision)
                && let Some(word) = written.words.get_mut(word)
            {
                *word |= bit;
            }
        }
        written
    }

    fn has(&self, revision: i64) -> bool {
        self.place(revision)
            .and_then(|(word, bit)| Some(self.words.get(word)? & bit != 0))
            .unwrap_or(false)
    }

    fn place(&self, revision: i64) -> Option<(usize, u64)> {
        let rank = usize::try_from(revision.checked_sub(self.first)?).ok()?;
        Some((rank / 64, 1 << (rank % 64)))
    }
}
