//! What has no revision of its own: refusals, keep-alives, leases that come and go without
//! touching a key, compactions, reads of the past.
//!
//! Turned into items for the `solver`. Twice: *relaxed*, where everything that depends on how the
//! gaps are filled is optional, so that a contradiction is one whatever fills them; and *strict*,
//! at the end of a walk, with the gaps as they were filled.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::checks::each_past_read;
use super::gaps::Maker;
use super::leases::Leases;
use super::parts::{parts, solve_part};
use super::replay::Replay;
use super::runs::{absences, tail};
use super::solver::{Act, Item, Need, Solved, Spot, solve};
use super::timeline::{Place, Rank, Timeline, may_be_stale};
use crate::findings::{Broken, Findings};
use crate::history::record::{Outcome, Put, Range, Request, ResponseBody, Txn, TxnOp, TxnResponse};
use crate::model::execute::branch;
use crate::model::refusal::Refusal;
use crate::model::validate::validate;
use crate::render;
use crate::verdict::Rule;

/// Items that are ordered together, leases and compactions and all.
const TOGETHER_MAX: usize = 96;

/// How the gaps were filled.
pub(crate) struct Filled<'a, 'h, 'r> {
    pub(crate) replay: &'a Replay<'h, 'r>,
    /// The maker of each gap.
    pub(crate) made: Vec<(Rank, Maker)>,
    /// Where leases that ever had keys have none.
    pub(crate) without_keys: HashMap<i64, Vec<(Spot, Spot)>>,
}

/// The operations that float, or decide where others may.
#[derive(Debug)]
pub(crate) struct Floats {
    all: Vec<usize>,
    by_lease: BTreeMap<i64, Vec<usize>>,
}

impl Floats {
    /// Picks them out of a history.
    pub(crate) fn collect(timeline: &Timeline<'_>) -> Floats {
        let mut floats = Floats { all: Vec::new(), by_lease: BTreeMap::new() };
        for (index, line) in timeline.briefs.special() {
            let operation = &line.operation;
            let leases = leases_named(&operation.request);
            let refused = matches!(operation.outcome, Outcome::Fail(_));
            if refused || !leases.is_empty() || asks_for_revision(&operation.request) {
                floats.all.push(index);
            }
            for lease in leases {
                floats.by_lease.entry(lease).or_default().push(index);
            }
        }
        floats
    }

    /// Whether nothing is about a lease.
    pub(crate) fn have_no_leases(&self) -> bool {
        self.by_lease.is_empty()
    }

    fn about(&self, leases: &BTreeSet<i64>) -> BTreeSet<usize> {
        leases.iter().filter_map(|lease| self.by_lease.get(lease)).flatten().copied().collect()
    }

    /// Adds every lease that an operation names together with one of `leases`.
    pub(crate) fn close(&self, timeline: &Timeline<'_>, leases: &mut BTreeSet<i64>) {
        let mut open: Vec<i64> = leases.iter().copied().collect();
        while let Some(lease) = open.pop() {
            for index in self.by_lease.get(&lease).into_iter().flatten() {
                for other in leases_named(&timeline.operation(*index).operation.request) {
                    if leases.insert(other) {
                        open.push(other);
                    }
                }
            }
        }
    }
}

fn asks_for_revision(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.revision > 0,
        Request::Txn(txn) => {
            let mut asks = false;
            each_range(txn, &mut |range| asks |= range.revision > 0);
            asks
        }
        Request::Compact(_) => true,
        _ => false,
    }
}

fn leases_named(request: &Request) -> Vec<i64> {
    let mut leases = Vec::new();
    match request {
        Request::Put(put) => leases.push(put.lease),
        Request::Txn(txn) => super::pins::each_put(txn, &mut |put| leases.push(put.lease)),
        Request::LeaseGrant(grant) => leases.push(grant.id),
        Request::LeaseRevoke(lease) | Request::LeaseKeepAlive(lease) => leases.push(lease.id),
        Request::Range(_) | Request::DeleteRange(_) | Request::Compact(_) => {}
    }
    leases.retain(|lease| *lease != 0);
    leases
}

/// Notes what contradicts itself whatever fills the gaps.
pub(crate) fn check_relaxed(
    timeline: &Timeline<'_>,
    leases: &Leases,
    floats: &Floats,
    findings: &mut Findings,
) {
    let items = Builder::new(timeline, leases, None, Some(findings)).build(&floats.all);
    // Together: with gaps open, only a part of the constraints is here; parts are enough.
    let existing = existing(leases);
    for part in parts(items) {
        let mut steps = RELAXED_STEPS_MAX;
        if let Solved::No(left) = solve_part(part, &existing, &mut steps) {
            note(timeline, &left, findings);
        }
    }
}

/// Whether what floats has an order, given how the gaps were filled; of all that floats, or only of
/// what is about some leases.
pub(crate) fn check_strict(
    timeline: &Timeline<'_>,
    leases: &Leases,
    filled: &Filled<'_, '_, '_>,
    floats: &Floats,
    only: Option<&BTreeSet<i64>>,
    steps: &mut u64,
) -> Placed {
    let builder = Builder::new(timeline, leases, Some(filled), None);
    let items = match only {
        None => builder.build(&floats.all),
        Some(only) => builder.build_only(only, floats),
    };
    let existing = existing(leases);
    if items.len() <= TOGETHER_MAX && only.is_none() {
        return match solve(&items, &existing, steps) {
            Solved::Yes => Placed::Yes,
            Solved::No(left) => Placed::No { left, leases: None },
            Solved::TooLong => Placed::TooLong,
        };
    }
    let mut too_long = false;
    for part in parts(items) {
        let leases: BTreeSet<i64> = part.iter().flat_map(Item::leases).collect();
        match solve_part(part, &existing, steps) {
            Solved::Yes => {}
            Solved::No(left) => return Placed::No { left, leases: Some(leases) },
            Solved::TooLong => too_long = true,
        }
    }
    if too_long { Placed::TooLong } else { Placed::Yes }
}

/// Whether all that floats found a place.
#[derive(Debug, Clone)]
pub(crate) enum Placed {
    /// It did.
    Yes,
    /// These operations did not.
    No {
        /// Indexes of operations.
        left: Vec<usize>,
        /// The leases that they are about; `None` if it may be any.
        leases: Option<BTreeSet<i64>>,
    },
    /// The search became too long.
    TooLong,
}

/// Steps for one part of the relaxed items: those that take longer are left to the strict check.
const RELAXED_STEPS_MAX: u64 = 100_000;

/// Notes operations that have no place in any order.
pub(crate) fn note(timeline: &Timeline<'_>, left: &[usize], findings: &mut Findings) {
    // The others may only wait for the first.
    let rule = left.first().map(|index| rule_of(timeline, *index));
    findings.add(rule.unwrap_or(Rule::LeaseLifecycle), || Broken {
        operations: left.iter().take(NAMED_MAX).map(|index| timeline.named(*index)).collect(),
        expected: "an order in which leases and compactions allow each of these answers".into(),
        got: "answers that exclude each other".into(),
    });
}

const NAMED_MAX: usize = 4;

fn rule_of(timeline: &Timeline<'_>, index: usize) -> Rule {
    let operation = &timeline.operation(index).operation;
    match (&operation.request, &operation.outcome) {
        (_, Outcome::Fail(_)) => Rule::ContentRefusal,
        (Request::Range(_) | Request::Compact(_), _) => Rule::ContentCompacted,
        _ => Rule::LeaseLifecycle,
    }
}

fn existing(leases: &Leases) -> BTreeSet<i64> {
    leases.iter().filter(|(_, lease)| lease.is_foreign).map(|(id, _)| id).collect()
}

/// Makes the items.
struct Builder<'b, 'h, 'r> {
    timeline: &'b Timeline<'h>,
    leases: &'b Leases,
    filled: Option<&'b Filled<'b, 'h, 'r>>,
    findings: Option<&'b mut Findings>,
    /// By rank, as in the timeline, with the makers of gaps.
    lower: Vec<u64>,
    made_by: BTreeMap<usize, Rank>,
    groups: usize,
    items: Vec<Item>,
}

impl<'b, 'h, 'r> Builder<'b, 'h, 'r> {
    fn new(
        timeline: &'b Timeline<'h>,
        leases: &'b Leases,
        filled: Option<&'b Filled<'b, 'h, 'r>>,
        findings: Option<&'b mut Findings>,
    ) -> Builder<'b, 'h, 'r> {
        let mut lower = timeline.lower.clone();
        let mut made_by = BTreeMap::new();
        for (rank, maker) in filled.iter().flat_map(|filled| &filled.made) {
            let earliest = match *maker {
                Maker::Operation(index) => {
                    made_by.insert(index, *rank);
                    timeline.operation(index).operation.call_ns
                }
                Maker::Expiry(lease, _) => {
                    leases.get(lease).and_then(super::leases::Lease::earliest_end).unwrap_or(0)
                }
            };
            lower[*rank] = lower[*rank].max(earliest);
        }
        for rank in 1..lower.len() {
            lower[rank] = lower[rank].max(lower[rank - 1]);
        }
        Builder { timeline, leases, filled, findings, lower, made_by, groups: 0, items: Vec::new() }
    }

    fn build(mut self, operations: &[usize]) -> Vec<Item> {
        for index in operations {
            self.operation(*index);
        }
        self.made();
        self.ends();
        self.items
    }

    /// Only what is about these leases, which nothing ties to others.
    fn build_only(mut self, only: &BTreeSet<i64>, floats: &Floats) -> Vec<Item> {
        for index in floats.about(only) {
            self.operation(index);
        }
        self.made();
        self.ends();
        self.items.retain(|item| item.leases().any(|lease| only.contains(&lease)));
        self.items
    }

    fn operation(&mut self, index: usize) {
        let operation = &self.timeline.operation(index).operation;
        match &operation.outcome {
            Outcome::Ok(response) => self.answered(index, &operation.request, &response.body),
            Outcome::Fail(failure) => {
                if let Some(refusal) = Refusal::of(failure) {
                    self.refused(index, &operation.request, refusal);
                }
            }
            Outcome::Unknown(_) => self.unknown(index, &operation.request),
        }
    }

    fn answered(&mut self, index: usize, request: &'h Request, body: &'h ResponseBody) {
        match (request, body) {
            (Request::Put(put), _) if put.lease != 0 => {
                self.place(index, vec![Need::Lease(put.lease)], Act::Observe);
            }
            (Request::Range(range), _) if range.revision > 0 => {
                self.place(index, vec![Need::CompactAtMost(range.revision)], Act::Observe);
            }
            (Request::Txn(txn), ResponseBody::Txn(got)) => {
                let mut needs = Vec::new();
                each_put_done(txn, got, &mut |put| {
                    if put.lease != 0 {
                        needs.push(Need::Lease(put.lease));
                    }
                });
                each_past_read(txn, got, &mut |range, _| {
                    needs.push(Need::CompactAtMost(range.revision));
                });
                if !needs.is_empty() {
                    self.place(index, needs, Act::Observe);
                }
            }
            (Request::LeaseGrant(grant), _) => self.place(index, vec![], Act::Grant(grant.id)),
            // Where a gap was filled by this revoke, `made` places it.
            (Request::LeaseRevoke(lease), _) if !self.made_by.contains_key(&index) => {
                self.place(index, vec![], Act::End(lease.id));
            }
            (Request::LeaseKeepAlive(lease), ResponseBody::LeaseKeepAlive { ttl }) => {
                if *ttl > 0 {
                    // The leader answers from what it has applied, so the lease may have ended
                    // since; but it did exist before the answer.
                    let until = self.times(index).1;
                    self.float(index, vec![Need::Lease(lease.id)], self.anywhere(), (0, until));
                } else {
                    self.float_now(index, vec![Need::NoLease(lease.id)], self.anywhere());
                }
            }
            (Request::Compact(compact), _) => self.compacted(index, compact.revision),
            _ => {}
        }
    }

    /// An answered compaction. The revision in etcd's answer is the one that the member has come to
    /// when it answers: the compaction came at that revision or before it, at one at a time with
    /// other compactions in any order.
    fn compacted(&mut self, index: usize, to: i64) {
        let Place::Slot(answered) = self.timeline.place(index) else { return };
        let spots = (self.compacts_from(to).unwrap_or(0), 2 * answered + 1);
        self.push(Some(index), true, vec![], Act::Compact(to), spots, self.times(index));
    }

    /// The first spot at which a store can be compacted to this revision; `None` if it is never so
    /// far.
    fn compacts_from(&self, to: i64) -> Option<Spot> {
        if to <= self.timeline.first { Some(0) } else { Some(2 * self.timeline.rank(to)?) }
    }

    fn refused(&mut self, index: usize, request: &'h Request, refusal: Refusal) {
        if refusal.is_static() {
            // An open delete range confuses etcd's overlap check; only here does it matter.
            if validate(request) != Err(refusal) && refusal != Refusal::DuplicateKey {
                self.unfounded(index);
            }
            return;
        }
        let group = self.groups;
        let before = self.items.len();
        match request {
            Request::Put(put) => self.refused_put(index, put, refusal),
            Request::Range(range) => self.refused_revision(index, range.revision, refusal, false),
            Request::Compact(compact) => {
                self.refused_revision(index, compact.revision, refusal, true);
            }
            Request::Txn(txn) => self.refused_txn(index, txn, refusal),
            Request::LeaseGrant(grant) if refusal == Refusal::LeaseExists => {
                self.float_now(index, vec![Need::Lease(grant.id)], self.anywhere());
            }
            Request::LeaseRevoke(lease) | Request::LeaseKeepAlive(lease)
                if refusal == Refusal::LeaseNotFound =>
            {
                self.float_now(index, vec![Need::NoLease(lease.id)], self.anywhere());
            }
            Request::DeleteRange(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke(_)
            | Request::LeaseKeepAlive(_) => {}
        }
        if self.items.len() == before {
            self.unfounded(index);
            return;
        }
        // All ways to be refused are one group.
        for item in &mut self.items[before..] {
            item.group = group;
        }
    }

    fn refused_put(&mut self, index: usize, put: &'h Put, refusal: Refusal) {
        match refusal {
            Refusal::LeaseNotFound if put.lease != 0 => {
                self.float_now(index, vec![Need::NoLease(put.lease)], self.anywhere());
            }
            Refusal::KeyNotFound if put.ignore_value || put.ignore_lease => {
                let Some(filled) = self.filled else {
                    self.float_now(index, vec![], self.anywhere());
                    return;
                };
                let absent = absences(filled.replay, self.timeline, &put.key);
                for spots in absent {
                    self.float_now(index, vec![], spots);
                }
            }
            _ => {}
        }
    }

    /// A refusal because of a revision: compacted, or in the future.
    fn refused_revision(&mut self, index: usize, revision: i64, refusal: Refusal, compact: bool) {
        let (first, last) = self.anywhere();
        match refusal {
            // The newest revision is never compacted.
            Refusal::Compacted if revision <= 0 && !compact => {}
            Refusal::Compacted => {
                // A read is compacted below the compact revision, a compaction also at it. The
                // future is checked first by a read, and last by a compaction.
                let least = if compact { revision } else { revision.saturating_add(1) };
                let spots = match self.timeline.rank(revision) {
                    Some(rank) if !compact => (2 * rank, last),
                    None if !compact && revision > self.timeline.first => (last, last),
                    _ => (first, last),
                };
                self.float_now(index, vec![Need::CompactAtLeast(least)], spots);
            }
            Refusal::FutureRevision if revision > self.timeline.first => {
                let last = self.timeline.rank(revision).map_or(last, |rank| 2 * rank - 1);
                self.float_now(index, vec![], (first, last));
            }
            _ => {}
        }
    }

    fn refused_txn(&mut self, index: usize, txn: &'h Txn, refusal: Refusal) {
        match refusal {
            Refusal::LeaseNotFound => {
                let mut leases = BTreeSet::new();
                super::pins::each_put(txn, &mut |put| {
                    leases.insert(put.lease);
                });
                leases.remove(&0);
                for lease in leases {
                    self.float_now(index, vec![Need::NoLease(lease)], self.anywhere());
                }
            }
            Refusal::Compacted | Refusal::FutureRevision => {
                let mut revisions = BTreeSet::new();
                each_range(txn, &mut |range| {
                    revisions.insert(range.revision);
                });
                for revision in revisions.into_iter().filter(|revision| *revision > 0) {
                    self.refused_revision(index, revision, refusal, false);
                }
            }
            Refusal::KeyNotFound => self.float_now(index, vec![], self.anywhere()),
            _ => {}
        }
    }

    fn unknown(&mut self, index: usize, request: &'h Request) {
        if self.made_by.contains_key(&index) {
            return;
        }
        let times = self.times(index);
        match request {
            Request::LeaseGrant(grant) => {
                self.optional(Some(index), Act::Grant(grant.id), self.anywhere(), times);
            }
            Request::LeaseRevoke(lease) => self.optional_end(Some(index), lease.id, times),
            Request::Compact(compact) => {
                if let Some(first) = self.compacts_from(compact.revision) {
                    let spots = (first, self.anywhere().1);
                    self.optional(Some(index), Act::Compact(compact.revision), spots, times);
                }
            }
            _ => {}
        }
    }

    /// Operations and expiries that filled gaps.
    fn made(&mut self) {
        let Some(filled) = self.filled else { return };
        for (rank, maker) in &filled.made {
            let spots = (2 * rank, 2 * rank);
            match *maker {
                Maker::Operation(index) => {
                    let request = &self.timeline.operation(index).operation.request;
                    let times = self.times(index);
                    if let Request::LeaseRevoke(lease) = request {
                        self.push(Some(index), true, vec![], Act::End(lease.id), spots, times);
                        continue;
                    }
                    let needs = filled.replay.leases_needed(request, *rank);
                    if !needs.is_empty() {
                        let needs = needs.into_iter().map(Need::Lease).collect();
                        self.push(Some(index), true, needs, Act::Observe, spots, times);
                    }
                }
                Maker::Expiry(lease, _) => {
                    self.push(None, true, vec![], Act::End(lease), spots, (0, u64::MAX));
                }
            }
        }
    }

    /// Ends of leases that nobody asked for and that touched no key.
    fn ends(&mut self) {
        let mut expired: BTreeMap<i64, usize> = BTreeMap::new();
        for (_, maker) in self.filled.iter().flat_map(|filled| &filled.made) {
            if let Maker::Expiry(lease, _) = maker {
                *expired.entry(*lease).or_default() += 1;
            }
        }
        let leases: Vec<_> = self
            .leases
            .iter()
            .filter_map(|(id, lease)| Some((id, lease.earliest_end()?, lease.grants().max(1))))
            .collect();
        let asked = self.asked();
        for (id, earliest, grants) in leases {
            // An end that nothing observes changes nothing.
            if !asked.contains(&id) {
                continue;
            }
            let before = expired.get(&id).copied().unwrap_or(0);
            for _ in before..grants {
                self.optional_end(None, id, (earliest, u64::MAX));
            }
        }
    }

    /// Leases of which something says that they do not exist, or that are granted twice.
    fn asked(&self) -> BTreeSet<i64> {
        let mut asked = BTreeSet::new();
        let mut granted = BTreeSet::new();
        for item in &self.items {
            asked.extend(item.needs.iter().filter_map(|need| match need {
                Need::NoLease(lease) => Some(*lease),
                _ => None,
            }));
            if let Act::Grant(lease) = item.act
                && !granted.insert(lease)
            {
                asked.insert(lease);
            }
        }
        asked.extend(existing(self.leases));
        asked
    }

    fn optional_end(&mut self, operation: Option<usize>, lease: i64, times: (u64, u64)) {
        let Some(filled) = self.filled else {
            self.optional(operation, Act::End(lease), self.anywhere(), times);
            return;
        };
        // With keys attached it would have made a revision.
        let group = self.groups;
        let without_keys = filled.without_keys.get(&lease).cloned();
        let without_keys = without_keys.unwrap_or_else(|| vec![self.anywhere()]);
        for spots in without_keys {
            self.optional(operation, Act::End(lease), spots, times);
            let last = self.items.last_mut().expect("just pushed");
            last.group = group;
        }
        self.groups = self.groups.max(group + 1);
    }

    fn optional(
        &mut self,
        operation: Option<usize>,
        act: Act,
        spots: (Spot, Spot),
        times: (u64, u64),
    ) {
        self.push(operation, false, vec![], act, spots, times);
    }

    /// An answered operation, at its place.
    fn place(&mut self, index: usize, needs: Vec<Need>, act: Act) {
        let spots = match self.timeline.place(index) {
            Place::Write(rank) => (2 * rank, 2 * rank),
            // A gap may have been this revoke, or what came just before it.
            Place::Revoke(rank) if self.filled.is_none() && self.timeline.is_gap(rank) => {
                (2 * rank, 2 * rank + 1)
            }
            Place::Slot(rank) | Place::Revoke(rank) => (2 * rank + 1, 2 * rank + 1),
            Place::Floating => return,
        };
        let (call, returned) = self.times(index);
        let stale = may_be_stale(&self.timeline.operation(index).operation.request);
        let times = (if stale { 0 } else { call }, returned);
        self.push(Some(index), true, needs, act, spots, times);
    }

    fn float_now(&mut self, index: usize, needs: Vec<Need>, spots: (Spot, Spot)) {
        let (call, returned) = self.times(index);
        let stale = may_be_stale(&self.timeline.operation(index).operation.request);
        self.float(index, needs, spots, (if stale { 0 } else { call }, returned));
    }

    fn float(&mut self, index: usize, needs: Vec<Need>, spots: (Spot, Spot), times: (u64, u64)) {
        self.push(Some(index), true, needs, Act::Observe, spots, times);
    }

    fn push(
        &mut self,
        operation: Option<usize>,
        mandatory: bool,
        needs: Vec<Need>,
        act: Act,
        spots: (Spot, Spot),
        times: (u64, u64),
    ) {
        let unknowable = |lease: i64| {
            self.timeline.first > 1
                && self.leases.get(lease).is_none_or(|own| !own.is_foreign && own.grants() == 0)
        };
        let group = self.groups;
        self.groups += 1;
        let not_before = self.lower[spots.0 / 2];
        let not_after = self.timeline.upper[spots.1.div_ceil(2)];
        let times = (times.0.max(not_before), times.1.min(not_after));
        let mut item = Item { group, mandatory, operation, needs, act, spots, times };
        // A store that was not fresh may have been compacted up to what it began with.
        let before = if self.timeline.first > 1 { self.timeline.first } else { 0 };
        item.needs.retain(|need| !matches!(need, Need::CompactAtLeast(to) if *to <= before));
        if item.leases().any(unknowable) {
            // Of a store that was not fresh, leases without keys are not known.
            item.needs.retain(|need| match need {
                Need::Lease(lease) | Need::NoLease(lease) => !unknowable(*lease),
                Need::CompactAtMost(_) | Need::CompactAtLeast(_) => true,
            });
            if matches!(item.act, Act::Grant(lease) | Act::End(lease) if unknowable(lease)) {
                item.act = Act::Observe;
            }
        }
        self.items.push(item);
    }

    fn unfounded(&mut self, index: usize) {
        let timeline = self.timeline;
        if let Some(findings) = self.findings.as_deref_mut() {
            findings.add(Rule::ContentRefusal, || Broken {
                operations: vec![timeline.named(index)],
                expected: "no such refusal: nothing in the request gives a reason for it".into(),
                got: render::outcome(&timeline.operation(index).operation.outcome),
            });
        }
    }

    fn times(&self, index: usize) -> (u64, u64) {
        let operation = &self.timeline.operation(index).operation;
        (operation.call_ns, operation.return_ns.unwrap_or(u64::MAX))
    }

    fn anywhere(&self) -> (Spot, Spot) {
        (0, tail(self.timeline))
    }
}

fn each_put_done<'h>(txn: &'h Txn, got: &'h TxnResponse, see: &mut impl FnMut(&'h Put)) {
    use crate::history::record::TxnOpResponse;

    for (op, got) in branch(txn, got.succeeded).iter().zip(&got.responses) {
        match (op, got) {
            (TxnOp::Put(put), TxnOpResponse::Put(_)) => see(put),
            (TxnOp::Txn(txn), TxnOpResponse::Txn(got)) => each_put_done(txn, got, see),
            _ => {}
        }
    }
}

/// Every range of a transaction, whichever branch it is in.
pub(super) fn each_range<'h>(txn: &'h Txn, see: &mut impl FnMut(&'h Range)) {
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Range(range) => see(range),
            TxnOp::Txn(txn) => each_range(txn, see),
            TxnOp::Put(_) | TxnOp::DeleteRange(_) => {}
        }
    }
}
