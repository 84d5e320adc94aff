//! What has no revision of its own: refusals, keep-alives, leases that come and go without
//! touching a key, compactions, reads of the past.
//!
//! Turned into items for the `solver`. Twice: *relaxed*, where everything that depends on how the
//! gaps are filled is optional, so that a contradiction is one whatever fills them; and *strict*,
//! at the end of a walk, with the gaps as they were filled.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::gaps::Maker;
use super::leases::Leases;
use super::replay::{Replay, each_past_read};
use super::solver::{Act, ITEMS_MAX, Item, Need, Solved, Spot, solve};
use super::timeline::{Place, Rank, Timeline, may_be_stale};
use crate::findings::{Broken, Findings};
use crate::history::record::{Outcome, Put, Range, Request, ResponseBody, Txn, TxnOp, TxnResponse};
use crate::history::text::Text;
use crate::model::execute::branch;
use crate::model::keyspace::Stored;
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
}

/// Notes what contradicts itself whatever fills the gaps.
pub(crate) fn check_relaxed(timeline: &Timeline<'_>, leases: &Leases, findings: &mut Findings) {
    let items = Builder::new(timeline, leases, None, Some(findings)).build();
    // Together: with gaps open, only a part of the constraints is here; parts are enough.
    for part in parts(items) {
        let mut steps = RELAXED_STEPS_MAX;
        if let Solved::No(left) = solve_part(part, timeline, leases, &mut steps) {
            note(timeline, &left, findings);
        }
    }
}

/// Whether what floats has an order, given how the gaps were filled.
pub(crate) fn check_strict(
    timeline: &Timeline<'_>,
    leases: &Leases,
    filled: &Filled<'_, '_, '_>,
    steps: &mut u64,
) -> Solved {
    let items = Builder::new(timeline, leases, Some(filled), None).build();
    if items.len() <= TOGETHER_MAX {
        return solve(&items, &existing(leases), steps);
    }
    let mut too_long = false;
    for part in parts(items) {
        match solve_part(part, timeline, leases, steps) {
            Solved::Yes => {}
            Solved::No(left) => return Solved::No(left),
            Solved::TooLong => too_long = true,
        }
    }
    if too_long { Solved::TooLong } else { Solved::Yes }
}

/// Steps for one part of the relaxed items: those that take longer are left to the strict check.
const RELAXED_STEPS_MAX: u64 = 100_000;

/// Notes operations that have no place in any order.
pub(crate) fn note(timeline: &Timeline<'_>, left: &[usize], findings: &mut Findings) {
    let rule = left.iter().map(|index| rule_of(timeline, *index)).min();
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

fn existing(leases: &Leases) -> Vec<i64> {
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
    /// Where leases that ever had keys have none.
    without_keys: HashMap<i64, Vec<(Spot, Spot)>>,
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
        let without_keys = filled.map(|filled| without_keys(filled.replay, timeline));
        Builder {
            timeline,
            leases,
            filled,
            findings,
            lower,
            made_by,
            without_keys: without_keys.unwrap_or_default(),
            groups: 0,
            items: Vec::new(),
        }
    }

    fn build(mut self) -> Vec<Item> {
        for index in 0..self.timeline.history.operations.len() {
            self.operation(index);
        }
        self.made();
        self.ends();
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
            (Request::LeaseRevoke(lease), _) => {
                // Where a gap was filled by this revoke, `made` places it.
                if !self.made_by.contains_key(&index) {
                    self.place(index, vec![], Act::End(lease.id));
                }
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
            (Request::Compact(compact), _) => {
                self.place(index, vec![], Act::Compact(compact.revision));
            }
            _ => {}
        }
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
            Refusal::Compacted => {
                // A read is compacted below the compact revision, a compaction also at it. The
                // future is checked first by a read, and last by a compaction.
                let least = if compact { revision } else { revision + 1 };
                let spots = match self.timeline.rank(revision) {
                    Some(rank) if !compact => (2 * rank, last),
                    None if !compact && revision > self.timeline.first => return,
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
                let first = self.timeline.rank(compact.revision);
                let first = if compact.revision <= self.timeline.first { Some(0) } else { first };
                if let Some(first) = first {
                    let spots = (2 * first, self.anywhere().1);
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
        if self.filled.is_none() {
            self.optional(operation, Act::End(lease), self.anywhere(), times);
            return;
        }
        // With keys attached it would have made a revision.
        let group = self.groups;
        let without_keys = self.without_keys.get(&lease).cloned();
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
        let spots = match self.timeline.places[index] {
            Place::Write(rank) => (2 * rank, 2 * rank),
            Place::Slot(rank) => (2 * rank + 1, 2 * rank + 1),
            // A gap may have been this revoke, or what came just before it.
            Place::Revoke(rank) if self.filled.is_none() && self.timeline.is_gap(rank) => {
                (2 * rank, 2 * rank + 1)
            }
            Place::Revoke(rank) => (2 * rank + 1, 2 * rank + 1),
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
        (0, 2 * self.timeline.top + 1)
    }
}

/// Maximal runs of spots in which something holds, built up change by change.
struct Runs {
    since: Option<Spot>,
    runs: Vec<(Spot, Spot)>,
}

impl Runs {
    fn new(holds_first: bool) -> Runs {
        Runs { since: holds_first.then_some(0), runs: Vec::new() }
    }

    /// From the revision of this rank on it holds, or no longer does.
    fn set(&mut self, rank: Rank, holds: bool) {
        match (self.since, holds) {
            (None, true) => self.since = Some(2 * rank + 1),
            (Some(first), false) => {
                // What holds only within one revision is no run.
                if first < 2 * rank {
                    self.runs.push((first, 2 * rank - 1));
                }
                self.since = None;
            }
            (Some(_), true) | (None, false) => {}
        }
    }

    fn finish(mut self, timeline: &Timeline<'_>) -> Vec<(Spot, Spot)> {
        if let Some(first) = self.since {
            self.runs.push((first, 2 * timeline.top + 1));
        }
        self.runs
    }
}

/// Where a key is absent.
fn absences(replay: &Replay<'_, '_>, timeline: &Timeline<'_>, key: &Text) -> Vec<(Spot, Spot)> {
    let mut runs = Runs::new(!timeline.history.header.initial.iter().any(|kv| kv.key == *key));
    for rank in 1..=replay.done() {
        for change in replay.changes(rank).iter().filter(|change| change.key == *key) {
            runs.set(rank, change.after.is_none());
        }
    }
    runs.finish(timeline)
}

/// Where each lease that ever has keys has none.
fn without_keys(
    replay: &Replay<'_, '_>,
    timeline: &Timeline<'_>,
) -> HashMap<i64, Vec<(Spot, Spot)>> {
    let mut attached: HashMap<i64, (i64, Runs)> = HashMap::new();
    for kv in timeline.history.header.initial.iter().filter(|kv| kv.lease != 0) {
        attached.entry(kv.lease).or_insert_with(|| (0, Runs::new(false))).0 += 1;
    }
    let lease_of = |stored: &Option<Stored>| stored.as_ref().map_or(0, |stored| stored.lease);
    for rank in 1..=replay.done() {
        for change in replay.changes(rank) {
            let (before, after) = (lease_of(&change.before), lease_of(&change.after));
            if before == after {
                continue;
            }
            for (lease, step) in [(before, -1), (after, 1)] {
                if lease != 0 {
                    let entry = attached.entry(lease).or_insert_with(|| (0, Runs::new(true)));
                    entry.0 += step;
                    entry.1.set(rank, entry.0 == 0);
                }
            }
        }
    }
    attached.into_iter().map(|(lease, (_, runs))| (lease, runs.finish(timeline))).collect()
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

fn each_range<'h>(txn: &'h Txn, see: &mut impl FnMut(&'h Range)) {
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Range(range) => see(range),
            TxnOp::Txn(txn) => each_range(txn, see),
            TxnOp::Put(_) | TxnOp::DeleteRange(_) => {}
        }
    }
}

/// Divides items into parts that share no lease; everything about compactions is one part.
fn parts(items: Vec<Item>) -> Vec<Vec<Item>> {
    const COMPACTIONS: i64 = 0;
    let mut parents: BTreeMap<i64, i64> = BTreeMap::new();
    let mut group_key: BTreeMap<usize, i64> = BTreeMap::new();
    let keys_of = |item: &Item| {
        let mut keys: Vec<i64> = item.leases().collect();
        if keys.is_empty()
            || item
                .needs
                .iter()
                .any(|need| matches!(need, Need::CompactAtMost(_) | Need::CompactAtLeast(_)))
        {
            keys.push(COMPACTIONS);
        }
        keys
    };
    for item in &items {
        let mut keys = keys_of(item);
        keys.extend(group_key.get(&item.group));
        let root = find(&mut parents, keys[0]);
        for key in &keys[1..] {
            let other = find(&mut parents, *key);
            parents.insert(other, root);
        }
        group_key.insert(item.group, keys[0]);
    }
    let mut parts: BTreeMap<i64, Vec<Item>> = BTreeMap::new();
    for item in items {
        let root = find(&mut parents, keys_of(&item)[0]);
        parts.entry(root).or_default().push(item);
    }
    parts.into_values().collect()
}

fn find(parents: &mut BTreeMap<i64, i64>, key: i64) -> i64 {
    let mut root = key;
    while let Some(parent) = parents.get(&root).copied().filter(|parent| *parent != root) {
        root = parent;
    }
    parents.insert(key, root);
    root
}

fn solve_part(
    part: Vec<Item>,
    timeline: &Timeline<'_>,
    leases: &Leases,
    steps: &mut u64,
) -> Solved {
    let existing = existing(leases);
    let part = reduce(part, &existing);
    if part.len() <= ITEMS_MAX {
        return solve(&part, &existing, steps);
    }
    pairwise(&part, timeline, &existing)
}

/// Of one lease that was granted at most once, drops observations that others imply: it exists
/// between any two places at which it exists.
fn reduce(part: Vec<Item>, existing: &[i64]) -> Vec<Item> {
    let grants = part.iter().filter(|item| matches!(item.act, Act::Grant(_))).count();
    let leases: BTreeSet<i64> = part.iter().flat_map(Item::leases).collect();
    if part.len() < REDUCE_MIN || leases.len() != 1 || grants + existing.len() > 1 {
        return part;
    }
    let exists = |item: &Item| {
        item.act == Act::Observe
            && item.mandatory
            && matches!(item.needs.as_slice(), [Need::Lease(_)])
    };
    let placed = |item: &Item| exists(item) && item.spots.0 == item.spots.1;
    let anytime = |item: &Item| exists(item) && !placed(item) && item.times.0 == 0;
    let first = part.iter().filter(|item| placed(item)).map(|item| item.spots.0).min();
    let last = part.iter().filter(|item| placed(item)).map(|item| item.spots.0).max();
    let soonest = part.iter().filter(|item| anytime(item)).map(|item| item.times.1).min();
    let (mut first, mut last, mut soonest) = (first, last, soonest);
    let mut keep = Vec::new();
    for item in part {
        let wanted = if placed(&item) {
            first.take_if(|first| *first == item.spots.0).is_some()
                || last.take_if(|last| *last == item.spots.0).is_some()
        } else if anytime(&item) {
            soonest.take_if(|soonest| *soonest == item.times.1).is_some()
        } else {
            true
        };
        if wanted {
            keep.push(item);
        }
    }
    keep
}

const REDUCE_MIN: usize = 8;

/// For parts too long to search: what can be told of items two by two. May miss contradictions.
fn pairwise(part: &[Item], timeline: &Timeline<'_>, existing: &[i64]) -> Solved {
    debug_assert!(timeline.top > 0, "a long part has revisions");
    let grants: Vec<&Item> = part.iter().filter(|item| matches!(item.act, Act::Grant(_))).collect();
    let ends: Vec<&Item> = part.iter().filter(|item| matches!(item.act, Act::End(_))).collect();
    let compacts: Vec<&Item> =
        part.iter().filter(|item| matches!(item.act, Act::Compact(_))).collect();
    let mut left = Vec::new();
    for item in part {
        let fits = item.has_place()
            && item.needs.iter().all(|need| match need {
                Need::Lease(lease) => {
                    existing.contains(lease)
                        || grants
                            .iter()
                            .any(|grant| grant.act == Act::Grant(*lease) && !item.precedes(grant))
                }
                Need::NoLease(lease) => {
                    let of = |act: Act| act == Act::Grant(*lease);
                    let never = !existing.contains(lease)
                        && grants
                            .iter()
                            .filter(|grant| of(grant.act) && grant.mandatory)
                            .all(|grant| !grant.precedes(item));
                    never
                        || ends.iter().any(|end| end.act == Act::End(*lease) && !item.precedes(end))
                }
                Need::CompactAtMost(revision) => !compacts.iter().any(|compact| {
                    matches!(compact.act, Act::Compact(to) if to > *revision)
                        && compact.mandatory
                        && compact.precedes(item)
                }),
                Need::CompactAtLeast(revision) => compacts.iter().any(|compact| {
                    matches!(compact.act, Act::Compact(to) if to >= *revision)
                        && !item.precedes(compact)
                }),
            });
        if !fits && item.mandatory {
            left.extend(item.operation);
        }
    }
    if left.is_empty() { Solved::Yes } else { Solved::No(left) }
}
