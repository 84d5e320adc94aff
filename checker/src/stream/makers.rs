//! Revisions that no answered write has made, and who can have made them: operations of unknown
//! outcome.
//!
//! Such an operation can come late, as late as its client waits, so a revision that nobody explains
//! is a violation only at the end. Each operation can have made one revision: a matching, as in the
//! whole check. Where the window is gone in which an operation could have been tried, it stays open
//! whether it can have made the revision.
//!
//! A lease's end is not asked for here whether it could come: leases are left to the whole check.

use std::collections::{BTreeMap, HashMap};

use super::past::Past;
use super::spans;
use crate::history::OperationLine;
use crate::history::record::{Put, Request, Txn, TxnOp};
use crate::history::text::Text;
use crate::linear::gaps::{Maker, Matching, run_unknown};
use crate::linear::pins::each_put;
use crate::model::keyspace::{Change, Keyspace, Span};

/// An operation of unknown outcome.
#[derive(Debug)]
struct Unknown {
    call_ns: u64,
    request: Request,
}

/// A revision of which it is known what happened, and not who did it.
#[derive(Debug)]
struct Gap {
    changes: Vec<Change>,
    /// Made before this time; `None` while the revision is in the window.
    upper_ns: Option<u64>,
    /// Who can have done it.
    makers: Vec<usize>,
    /// Who may have been able to.
    perhaps: Vec<usize>,
}

/// Whether every revision has somebody who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Explained {
    Yes,
    /// Nobody can have made this one.
    No(i64),
    /// Not without what has left the window.
    Perhaps,
}

/// Operations of unknown outcome, and revisions that nobody has claimed.
#[derive(Debug, Default)]
pub(super) struct Makers {
    unknown: Vec<Unknown>,
    /// Those that put a key, by the key.
    by_put: HashMap<Text, Vec<usize>>,
    gaps: BTreeMap<i64, Gap>,
    /// More operations or revisions than are held were there.
    has_forgotten: bool,
}

impl Makers {
    /// Operations and revisions that are held.
    pub(super) fn held(&self) -> usize {
        self.unknown.len() + self.gaps.len()
    }

    /// Whether an operation that is held was called by then, or one may have been.
    pub(super) fn any_called_by(&self, time_ns: u64) -> bool {
        self.has_forgotten || self.unknown.iter().any(|own| own.call_ns <= time_ns)
    }

    /// What is known of a revision that is held: what changed.
    pub(super) fn changes(&self, revision: i64) -> Option<&[Change]> {
        self.gaps.get(&revision).map(|gap| gap.changes.as_slice())
    }

    /// An operation's outcome stays unknown. Asks it of the revisions that nobody has claimed.
    pub(super) fn add_operation(&mut self, line: OperationLine, past: &Past, held_max: usize) {
        let call_ns = line.operation.call_ns;
        let request = line.operation.request;
        if !may_write(&request) {
            return;
        }
        if self.unknown.len() >= held_max {
            self.has_forgotten = true;
            return;
        }
        let index = self.unknown.len();
        let mut put = |put: &Put| {
            let places = self.by_put.entry(put.key.clone()).or_default();
            if places.last() != Some(&index) {
                places.push(index);
            }
        };
        match &request {
            Request::Put(own) => put(own),
            Request::Txn(txn) => each_put(txn, &mut put),
            _ => {}
        }
        for (revision, gap) in &mut self.gaps {
            if !may_touch(&request, &gap.changes[0]) {
                continue;
            }
            if *revision <= past.base() || matches!(request, Request::LeaseRevoke(_)) {
                gap.perhaps.push(index);
                continue;
            }
            let mut keys = past.copy_at(spans::of(&request), revision - 1);
            if does(&request, *revision, &mut keys, &gap.changes) {
                gap.makers.push(index);
            }
        }
        self.unknown.push(Unknown { call_ns, request });
    }

    /// A revision was made by nobody who has said so yet; `keys` are those before it. Whether it is
    /// what the end of a lease does, of which nothing more is asked here.
    pub(super) fn add_gap(
        &mut self,
        revision: i64,
        changes: Vec<Change>,
        keys: &mut Keyspace,
        held_max: usize,
    ) -> bool {
        if ends_a_lease(&changes, keys) {
            return true;
        }
        if self.gaps.len() >= held_max {
            self.has_forgotten = true;
            self.gaps.pop_first();
        }
        let mut makers = Vec::new();
        let mut ask = |index: usize| {
            let request = &self.unknown[index].request;
            if may_touch(request, &changes[0]) && does(request, revision, keys, &changes) {
                makers.push(index);
            }
        };
        match changes.iter().find(|change| change.after.is_some()) {
            Some(put) => self.by_put.get(&put.key).into_iter().flatten().copied().for_each(ask),
            None => (0..self.unknown.len()).for_each(&mut ask),
        }
        self.gaps.insert(revision, Gap { changes, upper_ns: None, makers, perhaps: Vec::new() });
        false
    }

    /// Somebody says after all that he made a revision.
    pub(super) fn claim(&mut self, revision: i64) {
        self.gaps.remove(&revision);
    }

    /// A revision leaves the window.
    pub(super) fn leave(&mut self, revision: i64, upper_ns: impl FnOnce() -> u64) {
        if let Some(gap) = self.gaps.get_mut(&revision) {
            gap.upper_ns = Some(upper_ns());
        }
    }

    /// All revisions leave the window.
    pub(super) fn leave_all(&mut self, upper_ns: impl Fn(i64) -> u64) {
        for (revision, gap) in &mut self.gaps {
            gap.upper_ns.get_or_insert_with(|| upper_ns(*revision));
        }
    }

    /// At the end: whether everything can have been made by somebody.
    pub(super) fn explain(&self, upper_ns: impl Fn(i64) -> u64) -> Explained {
        let [mut certain, mut possible] = [Matching::default(), Matching::default()];
        let mut explained = Explained::Yes;
        for (place, (revision, gap)) in self.gaps.iter().enumerate() {
            let upper_ns = gap.upper_ns.unwrap_or_else(|| upper_ns(*revision));
            let in_time = |index: &&usize| self.unknown[**index].call_ns <= upper_ns;
            let mut makers: Vec<Maker> =
                gap.makers.iter().filter(in_time).map(|index| Maker::Operation(*index)).collect();
            if !certain.add(place, &makers) {
                explained = Explained::Perhaps;
            }
            makers.extend(gap.perhaps.iter().filter(in_time).map(|own| Maker::Operation(*own)));
            if !possible.add(place, &makers) && !self.has_forgotten {
                return Explained::No(*revision);
            }
        }
        explained
    }
}

/// Whether a request does exactly these changes.
fn does(request: &Request, revision: i64, keys: &mut Keyspace, changes: &[Change]) -> bool {
    let mut own = Vec::new();
    run_unknown(request, revision, keys, &mut own);
    keys.undo(&own);
    own == changes
}

/// Whether these changes are what the end of a lease does; `keys` are those before it.
fn ends_a_lease(changes: &[Change], keys: &Keyspace) -> bool {
    let lease = |change: &Change| change.before.as_ref().map_or(0, |before| before.lease);
    let first = lease(&changes[0]);
    first != 0
        && changes.iter().all(|change| change.after.is_none() && lease(change) == first)
        && keys.attached(first).count() == changes.len()
}

fn may_write(request: &Request) -> bool {
    match request {
        Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_) | Request::LeaseRevoke(_) => {
            true
        }
        Request::Range(_)
        | Request::LeaseGrant(_)
        | Request::LeaseKeepAlive(_)
        | Request::Compact(_) => false,
    }
}

/// A quick no: the request cannot have done this change.
fn may_touch(request: &Request, change: &Change) -> bool {
    match request {
        Request::Put(put) => {
            put.key == change.key
                && change
                    .after
                    .as_ref()
                    .is_some_and(|after| put.ignore_value || after.value == put.value)
        }
        Request::DeleteRange(delete) => {
            change.after.is_none()
                && Span::new(&delete.key, &delete.range_end).contains(&change.key)
        }
        Request::LeaseRevoke(lease) => {
            change.after.is_none()
                && change.before.as_ref().is_some_and(|before| before.lease == lease.id)
        }
        Request::Txn(txn) => txn_may_touch(txn, &change.key, change.after.is_none()),
        _ => false,
    }
}

fn txn_may_touch(txn: &Txn, key: &Text, deletes: bool) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::Put(put) => !deletes && put.key == *key,
        TxnOp::DeleteRange(delete) => {
            deletes && Span::new(&delete.key, &delete.range_end).contains(key)
        }
        TxnOp::Txn(txn) => txn_may_touch(txn, key, deletes),
        TxnOp::Range(_) => false,
    })
}
