//! What can have happened at a gap, and which operation did it.
//!
//! A gap is made by an operation whose outcome is unknown, by a revoke whose answer names the
//! gap's revision, or by a lease that ran out. Each of them makes at most one revision, so gaps
//! and makers are matched; the matching is mended by augmenting paths as the replay goes on, and
//! taking a gap out of it again leaves a matching.

use std::collections::HashMap;

use super::leases::Leases;
use super::pins::{Known, Pin, Pins, each_put};
use super::timeline::{Place, Rank, Timeline};
use crate::hashing::Hashing;
use crate::history::record::{
    DeleteRange, Outcome, Put, Range, RangeResponse, Request, Txn, TxnOp,
};
use crate::history::text::Text;
use crate::model::execute::{self, Path, Surroundings};
use crate::model::keyspace::{Change, Keyspace, Span};

/// Who made a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Maker {
    /// The operation with this index.
    Operation(usize),
    /// The end of this lease, after its nth grant.
    Expiry(i64, usize),
}

/// One thing that can have happened at a gap, and all who can have done it.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub(crate) changes: Vec<Change>,
    pub(crate) makers: Vec<Maker>,
}

/// An operation that may have made a gap.
#[derive(Debug)]
struct Candidate {
    index: usize,
    call_ns: u64,
    /// A revoke that was answered made this rank or none.
    only: Option<Rank>,
}

/// All who can make gaps.
#[derive(Debug)]
pub(crate) struct Makers<'h, 'a> {
    timeline: &'a Timeline<'h>,
    leases: &'a Leases,
    candidates: Vec<Candidate>,
    /// Positions in `candidates` of those that put a key: a pinned put names its makers.
    by_put: HashMap<&'h Text, Vec<usize>, Hashing>,
}

impl<'h, 'a> Makers<'h, 'a> {
    /// Collects everyone.
    pub(crate) fn collect(timeline: &'a Timeline<'h>, leases: &'a Leases) -> Makers<'h, 'a> {
        let mut makers =
            Makers { timeline, leases, candidates: Vec::new(), by_put: HashMap::default() };
        for (index, line) in timeline.briefs.special() {
            let operation = &line.operation;
            let only = match (&operation.outcome, timeline.place(index)) {
                (Outcome::Unknown(_), _) => None,
                (Outcome::Ok(_), Place::Revoke(rank)) if timeline.is_gap(rank) => Some(rank),
                _ => continue,
            };
            let position = makers.candidates.len();
            match &operation.request {
                Request::Put(put) => makers.by_put.entry(&put.key).or_default().push(position),
                Request::Txn(txn) => each_put(txn, &mut |put| {
                    let positions = makers.by_put.entry(&put.key).or_default();
                    if positions.last() != Some(&position) {
                        positions.push(position);
                    }
                }),
                Request::DeleteRange(_) | Request::LeaseRevoke(_) => {}
                Request::Range(_)
                | Request::LeaseGrant(_)
                | Request::LeaseKeepAlive(_)
                | Request::Compact(_) => continue,
            }
            makers.candidates.push(Candidate { index, call_ns: operation.call_ns, only });
        }
        makers
    }

    /// Everything that can have happened at a gap, given the keys before it. Deterministic.
    pub(crate) fn effects(&self, rank: Rank, keys: &mut Keyspace, pins: &Pins) -> Vec<Effect> {
        let known = pins.of(rank);
        let mut effects = Effects::default();
        let put = known.keys.iter().find(|(_, pin)| !matches!(pin, Pin::Deleted));
        if let Some((key, _)) = put {
            for position in self.by_put.get(key).into_iter().flatten() {
                self.try_operation(&self.candidates[*position], rank, keys, known, &mut effects);
            }
        } else {
            for candidate in &self.candidates {
                self.try_operation(candidate, rank, keys, known, &mut effects);
            }
            self.try_expiries(rank, keys, known, &mut effects);
        }
        // Who ends a lease comes last: what is done later may need it.
        for effect in &mut effects.effects {
            effect.makers.sort_by_key(|maker| self.ends_lease(*maker));
        }
        effects.effects
    }

    /// The leases that a maker needs or ends.
    pub(crate) fn leases_of(&self, maker: Maker) -> Vec<i64> {
        match maker {
            Maker::Expiry(lease, _) => vec![lease],
            Maker::Operation(index) => {
                let mut leases = Vec::new();
                match &self.timeline.operation(index).operation.request {
                    Request::LeaseRevoke(lease) => leases.push(lease.id),
                    Request::Put(put) => leases.push(put.lease),
                    Request::Txn(txn) => each_put(txn, &mut |put| leases.push(put.lease)),
                    _ => {}
                }
                leases
            }
        }
    }

    fn ends_lease(&self, maker: Maker) -> bool {
        match maker {
            Maker::Expiry(..) => true,
            Maker::Operation(index) => {
                let request = &self.timeline.operation(index).operation.request;
                matches!(request, Request::LeaseRevoke(_))
            }
        }
    }

    /// Leases whose end would explain the gap, if only they could have ended by then; with the
    /// time at which they could.
    pub(crate) fn early_expiries(
        &self,
        rank: Rank,
        keys: &mut Keyspace,
        pins: &Pins,
    ) -> Option<(i64, u64)> {
        let known = pins.of(rank);
        for (id, _) in self.leases.iter() {
            let Err(Some(earliest)) = self.leases.may_end(id, rank, self.timeline) else {
                continue;
            };
            let mut changes = Vec::new();
            keys.delete_attached(id, &mut changes);
            keys.undo(&changes);
            if !changes.is_empty() && known.complete && known.allows(&changes) {
                return Some((id, earliest));
            }
        }
        None
    }

    fn try_operation(
        &self,
        candidate: &Candidate,
        rank: Rank,
        keys: &mut Keyspace,
        known: &Known,
        effects: &mut Effects,
    ) {
        let in_time = candidate.call_ns <= self.timeline.upper[rank];
        if !in_time || candidate.only.is_some_and(|only| only != rank) {
            return;
        }
        let request = &self.timeline.operation(candidate.index).operation.request;
        if !may_touch(request, known, keys) {
            return;
        }
        let mut changes = Vec::new();
        run_unknown(request, self.timeline.revision(rank), keys, &mut changes);
        keys.undo(&changes);
        if !changes.is_empty() && known.allows(&changes) {
            effects.add(changes, Maker::Operation(candidate.index));
        }
    }

    fn try_expiries(&self, rank: Rank, keys: &mut Keyspace, known: &Known, effects: &mut Effects) {
        // A pinned deletion tells whose end it would be.
        if let Some((key, _)) = known.keys.first_key_value() {
            let lease = keys.get(key).map_or(0, |stored| stored.lease);
            self.try_expiry(lease, rank, keys, known, effects);
            return;
        }
        for (id, _) in self.leases.iter() {
            self.try_expiry(id, rank, keys, known, effects);
        }
    }

    fn try_expiry(
        &self,
        lease: i64,
        rank: Rank,
        keys: &mut Keyspace,
        known: &Known,
        effects: &mut Effects,
    ) {
        if lease == 0 || self.leases.may_end(lease, rank, self.timeline).is_err() {
            return;
        }
        let mut changes = Vec::new();
        keys.delete_attached(lease, &mut changes);
        keys.undo(&changes);
        if !changes.is_empty() && known.allows(&changes) {
            let grants = self.leases.get(lease).map_or(1, |lease| lease.grants().max(1));
            for nth in 0..grants {
                effects.add(changes.clone(), Maker::Expiry(lease, nth));
            }
        }
    }
}

/// Distinct effects, in the order in which they were found.
#[derive(Default)]
struct Effects {
    effects: Vec<Effect>,
}

impl Effects {
    fn add(&mut self, changes: Vec<Change>, maker: Maker) {
        match self.effects.iter_mut().find(|effect| effect.changes == changes) {
            Some(effect) => effect.makers.push(maker),
            None => self.effects.push(Effect { changes, makers: vec![maker] }),
        }
    }
}

/// A quick no: the request cannot touch a key that is known to have changed.
fn may_touch(request: &Request, known: &Known, keys: &Keyspace) -> bool {
    let Some((key, pin)) = known.keys.first_key_value() else { return true };
    match request {
        Request::Put(put) => {
            put.key == *key
                && match pin {
                    Pin::Deleted => false,
                    Pin::Written(kv) => put.ignore_value || put.value == kv.value,
                    Pin::WrittenSomehow(_) => true,
                }
        }
        Request::DeleteRange(delete) => {
            matches!(pin, Pin::Deleted) && Span::new(&delete.key, &delete.range_end).contains(key)
        }
        Request::LeaseRevoke(lease) => {
            matches!(pin, Pin::Deleted)
                && keys.get(key).is_some_and(|stored| stored.lease == lease.id)
        }
        Request::Txn(txn) => match pin {
            Pin::Deleted => may_delete(txn, key),
            Pin::Written(_) | Pin::WrittenSomehow(_) => true,
        },
        _ => true,
    }
}

fn may_delete(txn: &Txn, key: &Text) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::DeleteRange(delete) => Span::new(&delete.key, &delete.range_end).contains(key),
        TxnOp::Txn(txn) => may_delete(txn, key),
        TxnOp::Put(_) | TxnOp::Range(_) => false,
    })
}

/// Nothing but the keys: leases and compactions are placed later, with all that floats.
struct KeysOnly {
    current: i64,
}

impl Surroundings for KeysOnly {
    fn lease_exists(&self, _lease: i64) -> bool {
        true
    }

    fn compact_revision(&self) -> i64 {
        -1
    }

    fn range_then(&self, range: &Range) -> RangeResponse {
        debug_assert!(range.revision <= self.current, "checked before the transaction runs");
        RangeResponse::default()
    }
}

/// Does what an operation of unknown outcome would have done at `revision`, if it is not refused.
pub(crate) fn run_unknown(
    request: &Request,
    revision: i64,
    keys: &mut Keyspace,
    changes: &mut Vec<Change>,
) {
    let surroundings = KeysOnly { current: revision - 1 };
    match request {
        Request::Put(put) => {
            if execute::check_put(keys, &surroundings, put).is_ok() {
                changes.push(keys.put(put, revision));
            }
        }
        Request::DeleteRange(DeleteRange { key, range_end, .. }) => {
            keys.delete_span(Span::new(key, range_end), changes);
        }
        Request::Txn(txn) => {
            let path = Path::choose(keys, txn);
            let current = surroundings.current;
            if execute::check_txn(keys, &surroundings, txn, &path, current).is_ok() {
                execute::txn(keys, &surroundings, txn, &path, revision, changes);
            }
        }
        Request::LeaseRevoke(lease) => keys.delete_attached(lease.id, changes),
        Request::Range(_)
        | Request::LeaseGrant(_)
        | Request::LeaseKeepAlive(_)
        | Request::Compact(_) => {}
    }
}

/// The leases that a request attaches at these keys; what it needs to exist.
pub(crate) fn leases_needed(request: &Request, changes: &[Change]) -> Vec<i64> {
    let mut leases: Vec<i64> = Vec::new();
    let mut need = |put: &Put| {
        let attached = |change: &Change| {
            change.key == put.key
                && change.after.as_ref().is_some_and(|after| after.lease == put.lease)
        };
        if put.lease != 0 && changes.iter().any(attached) {
            leases.push(put.lease);
        }
    };
    match request {
        Request::Put(put) => need(put),
        Request::Txn(txn) => each_put(txn, &mut need),
        _ => {}
    }
    leases.sort_unstable();
    leases.dedup();
    leases
}

/// A matching of gaps to makers.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    by_maker: HashMap<Maker, Rank>,
    by_rank: HashMap<Rank, (Maker, Vec<Maker>)>,
}

impl Matching {
    /// Matches another gap to one of `makers`, moving others if need be.
    pub(crate) fn add(&mut self, rank: Rank, makers: &[Maker]) -> bool {
        if let Some(free) = makers.iter().find(|maker| !self.by_maker.contains_key(maker)) {
            self.by_maker.insert(*free, rank);
            self.by_rank.insert(rank, (*free, makers.to_vec()));
            return true;
        }
        let mut tried = Vec::new();
        let Some(maker) = self.augment(makers, &mut tried) else { return false };
        self.by_maker.insert(maker, rank);
        self.by_rank.insert(rank, (maker, makers.to_vec()));
        true
    }

    /// Takes a gap out.
    pub(crate) fn remove(&mut self, rank: Rank) {
        if let Some((maker, _)) = self.by_rank.remove(&rank) {
            self.by_maker.remove(&maker);
        }
    }

    /// Who made each gap, ascending, with all who could have.
    pub(crate) fn made(&self) -> Vec<(Rank, Maker, &[Maker])> {
        let mut made: Vec<_> = Vec::with_capacity(self.by_rank.len());
        #[expect(clippy::iter_over_hash_type, reason = "sorted below")]
        for (rank, (maker, makers)) in &self.by_rank {
            made.push((*rank, *maker, makers.as_slice()));
        }
        made.sort_unstable_by_key(|(rank, _, _)| *rank);
        made
    }

    /// Makes one of `makers` free by moving those who hold them.
    fn augment(&mut self, makers: &[Maker], tried: &mut Vec<Maker>) -> Option<Maker> {
        for maker in makers {
            if tried.contains(maker) {
                continue;
            }
            tried.push(*maker);
            let Some(holder) = self.by_maker.get(maker).copied() else { return Some(*maker) };
            let others = self.by_rank[&holder].1.clone();
            if let Some(other) = self.augment(&others, tried) {
                self.by_maker.insert(other, holder);
                self.by_maker.remove(maker);
                self.by_rank.insert(holder, (other, others));
                return Some(*maker);
            }
        }
        None
    }
}
