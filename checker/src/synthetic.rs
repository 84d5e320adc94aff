//! Histories made up from the model: valid by construction, for measuring and for testing.
//!
//! Clients, leases and watches of a simulated cluster act on one [`EtcdStore`] in simulated time.
//! An operation is called, takes effect, and returns; or its client gives up, and it takes effect
//! late or never. Nothing of the real world is used: a seed gives the same history everywhere.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::history::record::{
    Compact, Compare, CompareResult, CompareTarget, DeleteRange, Event, EventKind, FORMAT_VERSION,
    Failure, FinalState, Header, KeyValue, LeaseGrant, LeaseId, Operation, Outcome, Put, Range,
    Record, Request, Response, ResponseBody, Txn, TxnOp, WatchBody, WatchRequest, WatchResponse,
};
use crate::history::text::Text;
use crate::model::etcd_store::EtcdStore;

const NS_PER_SECOND: u64 = 1_000_000_000;
/// From the end of the load to the final states: enough for every lease to run out.
const QUIET_NS: u64 = 100 * NS_PER_SECOND;
/// Members of the simulated cluster: each has a watch.
const MEMBERS: u64 = 3;
/// Calls whose effects a power cut takes back.
const LOST_CALLS: u64 = 40;
/// Records that come at a time, about.
const RECORDS_AT_A_TIME: usize = 4096;
/// Revisions that the simulated store remembers: nothing reads further back.
const REMEMBERED: i64 = 20_000;
/// Of more keys, reading all would take all the time.
const OPEN_RANGE_KEYS_MAX: u64 = 100;

/// What a made-up run is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Clients that work at once.
    pub clients: u64,
    /// Keys there are.
    pub keys: u64,
    /// No value is written twice.
    pub unique_values: bool,
    /// Operations in a thousand whose outcome stays unknown.
    pub unknown_per_mille: u64,
    /// How often each kind of operation is called.
    pub mix: Mix,
    /// One watch on all keys for each of three members, and their final states.
    pub observed: bool,
    /// Seconds that a lease lives.
    pub lease_ttl: i64,
    /// Longest time from call to effect, and from effect to return.
    pub step_ns_max: u64,
    /// A promise that the simulated store breaks.
    pub bug: Option<Bug>,
}

/// A promise that a simulated store breaks now and then, for testing the checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A linearizable range is answered from an earlier revision.
    StaleRead,
    /// Once, half way through, the store goes back to an earlier state, as after a power cut.
    LostWrites,
    /// An event does not reach one of the watches.
    DroppedEvent,
    /// The first put of a transaction takes effect at a revision of its own.
    SplitTxn,
    /// Leases run out after half of their time.
    EarlyExpiry,
    /// Leases do not run out.
    NoExpiry,
}

/// Weights of kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is a kind of request, named as the request is")]
pub struct Mix {
    pub put: u64,
    pub range: u64,
    pub range_past: u64,
    pub range_serializable: u64,
    pub delete: u64,
    pub txn: u64,
    pub lease_grant: u64,
    pub lease_put: u64,
    pub lease_revoke: u64,
    pub lease_keep_alive: u64,
    pub compact: u64,
}

/// How often a kind of request is made, and how.
type Kind = (u64, fn(&mut Run) -> Request);

impl Shape {
    /// A large run: many clients, some of their operations unknown, all of it watched.
    pub fn large() -> Shape {
        Shape {
            clients: 64,
            keys: 10_000,
            unique_values: true,
            unknown_per_mille: 2,
            mix: Mix {
                put: 40,
                range: 30,
                range_past: 4,
                range_serializable: 4,
                delete: 5,
                txn: 10,
                lease_grant: 1,
                lease_put: 4,
                lease_revoke: 1,
                lease_keep_alive: 1,
                compact: 0,
            },
            observed: true,
            lease_ttl: 5,
            step_ns_max: 2_000_000,
            bug: None,
        }
    }

    /// A few thousand operations on some dozen keys, all of it watched.
    pub fn medium() -> Shape {
        Shape { clients: 8, keys: 40, unknown_per_mille: 10, ..Shape::large() }
    }

    /// A handful of operations on few keys, with nothing to tell what the unknown ones did.
    pub fn small() -> Shape {
        Shape {
            clients: 3,
            keys: 3,
            unique_values: false,
            unknown_per_mille: 200,
            mix: Mix {
                put: 6,
                range: 5,
                range_past: 2,
                range_serializable: 1,
                delete: 3,
                txn: 4,
                lease_grant: 2,
                lease_put: 3,
                lease_revoke: 2,
                lease_keep_alive: 1,
                compact: 1,
            },
            observed: false,
            lease_ttl: 1,
            step_ns_max: NS_PER_SECOND / 2,
            bug: None,
        }
    }
}

/// The `SplitMix64` sequence: small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// True `times` in a thousand.
    pub fn per_mille(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }
}

/// What happens at a moment. The order of variants breaks ties.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// The operation at this place in `pending` takes effect.
    Effect(usize),
    /// A client that gave up calls again.
    Call(usize),
    /// A lease may run out.
    Deadline(i64),
}

#[derive(Debug)]
struct Pending {
    client: usize,
    call_ns: u64,
    return_ns: u64,
    request: Request,
    /// The client has given up: nobody hears the answer.
    abandoned: bool,
}

#[derive(Debug, Clone)]
struct Client {
    process: u64,
    free_at: u64,
}

/// A simulated run.
#[derive(Debug)]
pub struct Run {
    seed: u64,
    shape: Shape,
    dice: Dice,
    store: EtcdStore,
    clients: Vec<Client>,
    next_process: u64,
    next_value: u64,
    next_lease: i64,
    /// Deadlines of leases that live.
    deadlines: BTreeMap<i64, u64>,
    moments: BinaryHeap<Reverse<(u64, Moment)>>,
    /// Calls that have not taken effect, by their number.
    pending: BTreeMap<usize, Pending>,
    has_begun: bool,
    has_ended: bool,
    records: Vec<Record>,
    /// The first watch that is open, and the first revision that it and its fellows are due.
    watches: (u64, i64),
    /// What the store goes back to.
    earlier: Option<EtcdStore>,
    called: u64,
    now: u64,
}

impl Run {
    /// A large run.
    pub fn new(seed: u64) -> Run {
        Run::shaped(seed, Shape::large())
    }

    /// A run of the given shape.
    pub fn shaped(seed: u64, shape: Shape) -> Run {
        let clients = (0..shape.clients).map(|process| Client { process, free_at: 0 }).collect();
        Run {
            seed,
            dice: Dice::new(seed),
            store: EtcdStore::new(),
            clients,
            next_process: shape.clients,
            next_value: 0,
            next_lease: 1,
            deadlines: BTreeMap::new(),
            moments: BinaryHeap::new(),
            pending: BTreeMap::new(),
            has_begun: false,
            has_ended: false,
            records: Vec::new(),
            watches: (0, 1),
            earlier: None,
            called: 0,
            now: 0,
            shape,
        }
    }

    /// The first line of its history.
    pub fn header(&self) -> Header {
        Header {
            version: FORMAT_VERSION,
            workload: "synthetic".into(),
            seed: self.seed,
            system: "model".into(),
            first_revision: 1,
            initial: Vec::new(),
        }
    }

    /// Runs that many operations. Everything but the header.
    pub fn records(&mut self, operations: u64) -> Vec<Record> {
        let mut all = Vec::new();
        while let Some(mut some) = self.next_records(operations) {
            all.append(&mut some);
        }
        all
    }

    /// The next records of a run of that many operations, some thousand at a time and in bounded
    /// memory; `None` after the last. `operations` must always be the same.
    pub fn next_records(&mut self, operations: u64) -> Option<Vec<Record>> {
        if !self.has_begun {
            self.has_begun = true;
            if self.shape.observed {
                self.record_watches(&WatchBody::Created(everything()));
            }
            for client in 0..self.clients.len() {
                self.call(client, operations);
            }
        }
        while self.records.len() < RECORDS_AT_A_TIME
            && let Some(Reverse((at, moment))) = self.moments.pop()
        {
            self.now = at;
            match moment {
                Moment::Effect(index) => self.take_effect(index, operations),
                Moment::Call(client) => self.call(client, operations),
                Moment::Deadline(lease) => self.run_out(lease),
            }
        }
        self.store.forget(self.store.revision() - REMEMBERED);
        if self.moments.is_empty() && !self.has_ended {
            self.has_ended = true;
            if self.shape.observed {
                self.observe_end();
            }
        }
        (!self.records.is_empty()).then(|| std::mem::take(&mut self.records))
    }

    fn call(&mut self, client: usize, operations: u64) {
        if self.called == operations {
            return;
        }
        self.called += 1;
        let call_ns = self.clients[client].free_at + self.dice.below(self.shape.step_ns_max);
        let request = self.request();
        let mut effect = call_ns + 1 + self.dice.below(self.shape.step_ns_max);
        let return_ns = effect + 1 + self.dice.below(self.shape.step_ns_max);
        let abandoned = self.dice.per_mille(self.shape.unknown_per_mille);
        if abandoned {
            effect += self.dice.below(4 * self.shape.step_ns_max);
        }
        let index = usize::try_from(self.called).expect("u64 fits usize");
        let pending = Pending { client, call_ns, return_ns, request, abandoned };
        self.moments.push(Reverse((effect, Moment::Effect(index))));
        if abandoned {
            self.give_up(&pending);
        }
        self.pending.insert(index, pending);
    }

    /// The client goes on under a new name, and the operation is on its own.
    fn give_up(&mut self, pending: &Pending) {
        let failure = Failure { code: "DeadlineExceeded".into(), message: String::new() };
        self.record(pending, None, Outcome::Unknown(failure));
        let client = &mut self.clients[pending.client];
        client.process = self.next_process;
        client.free_at = pending.return_ns;
        self.next_process += 1;
        self.moments.push(Reverse((pending.return_ns, Moment::Call(pending.client))));
    }

    fn take_effect(&mut self, index: usize, operations: u64) {
        let pending = self.pending.remove(&index).expect("takes effect once");
        if pending.abandoned && self.dice.per_mille(400) {
            return;
        }
        if self.shape.bug == Some(Bug::LostWrites) {
            self.lose_writes(operations);
        }
        let before = self.store.revision();
        let outcome = self.apply(&pending.request);
        if let (Request::LeaseGrant(grant), Outcome::Ok(_)) = (&pending.request, &outcome) {
            self.renew(grant.id);
        }
        if let (Request::LeaseRevoke(lease), Outcome::Ok(_)) = (&pending.request, &outcome) {
            self.deadlines.remove(&lease.id);
        }
        if let (Request::LeaseKeepAlive(lease), Outcome::Ok(_)) = (&pending.request, &outcome)
            && self.deadlines.contains_key(&lease.id)
        {
            self.renew(lease.id);
        }
        self.record_events(before);
        if !pending.abandoned {
            self.record(&pending, Some(pending.return_ns), outcome);
            self.clients[pending.client].free_at = pending.return_ns;
            self.call(pending.client, operations);
        }
    }

    fn apply(&mut self, request: &Request) -> Outcome {
        // A serializable range may be answered by a member that lags.
        if let Request::Range(range) = request
            && range.serializable
        {
            let lag = i64::try_from(self.dice.below(3)).expect("small");
            let revision = (self.store.revision() - lag).max(1);
            let then = Request::Range(Range { revision, ..range.clone() });
            return match self.store.apply(&then) {
                Outcome::Ok(Response { body, .. }) => Outcome::Ok(Response { revision, body }),
                // What that member still has, the model has compacted.
                _ => self.store.apply(request),
            };
        }
        match (self.shape.bug, request) {
            (Some(Bug::StaleRead), Request::Range(range)) if range.revision == 0 => {
                self.apply_stale(range)
            }
            (Some(Bug::SplitTxn), Request::Txn(txn)) => self.apply_split(txn),
            _ => self.store.apply(request),
        }
    }

    fn apply_stale(&mut self, range: &Range) -> Outcome {
        let lag = if self.dice.per_mille(20) { 40 } else { 0 };
        let revision = (self.store.revision() - lag).max(1);
        let then = Request::Range(Range { revision, ..range.clone() });
        match self.store.apply(&then) {
            Outcome::Ok(Response { body, .. }) => Outcome::Ok(Response { revision, body }),
            other => other,
        }
    }

    fn apply_split(&mut self, txn: &Txn) -> Outcome {
        let request = Request::Txn(txn.clone());
        let outcome = self.store.clone().apply(&request);
        let Outcome::Ok(Response { body: ResponseBody::Txn(answer), .. }) = &outcome else {
            return self.store.apply(&request);
        };
        let branch = if answer.succeeded { &txn.success } else { &txn.failure };
        let [TxnOp::Put(first), rest @ ..] = branch.as_slice() else {
            return self.store.apply(&request);
        };
        if !rest.iter().any(|op| matches!(op, TxnOp::Put(_))) || !self.dice.per_mille(100) {
            return self.store.apply(&request);
        }
        let before = self.store.revision();
        self.store.apply(&Request::Put(first.clone()));
        self.record_events(before);
        let rest = Txn { success: rest.to_vec(), ..Txn::default() };
        self.store.apply(&Request::Txn(rest));
        let body = ResponseBody::Txn(answer.clone());
        Outcome::Ok(Response { revision: self.store.revision(), body })
    }

    /// Half way through, the power fails. What was under way is lost, or happens later.
    fn lose_writes(&mut self, operations: u64) {
        if self.called < operations / 2 {
            if self.called + LOST_CALLS >= operations / 2 && self.earlier.is_none() {
                self.earlier = Some(self.store.clone());
            }
            return;
        }
        let Some(earlier) = self.earlier.take() else { return };
        let due = self.store.revision() + 1;
        self.store = earlier;
        if self.shape.observed {
            self.record_watches(&WatchBody::Closed { by_client: false });
            let first = self.watches.0;
            self.watches = (first + MEMBERS, due);
            for member in 0..MEMBERS {
                let request = WatchRequest {
                    start_revision: due,
                    resumes: Some(first + member),
                    ..everything()
                };
                self.record_watch(first + MEMBERS + member, WatchBody::Created(request));
            }
        }
    }

    fn renew(&mut self, lease: i64) {
        let second = match self.shape.bug {
            Some(Bug::EarlyExpiry) => NS_PER_SECOND / 2,
            _ => NS_PER_SECOND,
        };
        let ttl = u64::try_from(self.shape.lease_ttl).expect("positive") * second;
        let deadline = self.now + ttl;
        self.deadlines.insert(lease, deadline);
        let late = self.dice.below(self.shape.step_ns_max);
        self.moments.push(Reverse((deadline + late, Moment::Deadline(lease))));
    }

    fn run_out(&mut self, lease: i64) {
        if self.deadlines.get(&lease).is_none_or(|deadline| *deadline > self.now) {
            return;
        }
        if self.shape.bug == Some(Bug::NoExpiry) {
            return;
        }
        self.deadlines.remove(&lease);
        let before = self.store.revision();
        self.store.apply(&Request::LeaseRevoke(LeaseId { id: lease }));
        self.record_events(before);
    }

    fn record(&mut self, pending: &Pending, return_ns: Option<u64>, outcome: Outcome) {
        let process = self.clients[pending.client].process;
        let member = u32::try_from(pending.client % 3).expect("small");
        self.records.push(Record::Op(Operation {
            process,
            member,
            call_ns: pending.call_ns,
            return_ns,
            request: pending.request.clone(),
            outcome,
        }));
    }

    fn record_watch(&mut self, watch: u64, body: WatchBody) {
        self.records.push(Record::Watch(WatchResponse {
            watch,
            member: u32::try_from(watch % MEMBERS).expect("small"),
            arrived_ns: self.now,
            revision: self.store.revision(),
            body,
        }));
    }

    fn record_watches(&mut self, body: &WatchBody) {
        let first = self.watches.0;
        for watch in first..first + MEMBERS {
            self.record_watch(watch, body.clone());
        }
    }

    /// What all watches see of the write since `before`, if there was one.
    fn record_events(&mut self, before: i64) {
        let revision = self.store.revision();
        if revision == before || revision < self.watches.1 || !self.shape.observed {
            return;
        }
        let events: Vec<Event> = self
            .store
            .last_changes()
            .iter()
            .map(|change| Event {
                kind: if change.after.is_some() { EventKind::Put } else { EventKind::Delete },
                kv: match &change.after {
                    Some(after) => after.key_value(&change.key),
                    None => KeyValue {
                        key: change.key.clone(),
                        mod_revision: self.store.revision(),
                        ..KeyValue::default()
                    },
                },
                prev_kv: change.before.as_ref().map(|before| before.key_value(&change.key)),
            })
            .collect();
        let first = self.watches.0;
        for watch in first..first + MEMBERS {
            let mut events = events.clone();
            let drops = self.shape.bug == Some(Bug::DroppedEvent) && watch == first;
            if drops && self.dice.per_mille(5) {
                events.pop();
            }
            if !events.is_empty() {
                self.record_watch(watch, WatchBody::Events { events, fragment: false });
            }
        }
    }

    fn observe_end(&mut self) {
        let kvs: Vec<KeyValue> =
            self.store.keys().iter().map(|(key, stored)| stored.key_value(key)).collect();
        let end = self.clients.iter().map(|client| client.free_at).max().unwrap_or(0);
        self.now = self.now.max(end) + QUIET_NS;
        for member in 0..3 {
            self.records.push(Record::Final(FinalState {
                member,
                call_ns: self.now,
                return_ns: self.now + 1,
                revision: self.store.revision(),
                kvs: kvs.clone(),
                hash: Some(7),
            }));
        }
        self.now += 2;
        self.record_watches(&WatchBody::Closed { by_client: true });
    }

    fn request(&mut self) -> Request {
        let mix = self.shape.mix;
        let kinds: [Kind; 11] = [
            (mix.put, |run| Request::Put(run.put(0))),
            (mix.range, |run| Request::Range(run.range())),
            (mix.range_past, Run::range_past),
            (mix.range_serializable, |run| {
                Request::Range(Range { serializable: true, ..run.range() })
            }),
            (mix.delete, Run::delete),
            (mix.txn, Run::txn),
            (mix.lease_grant, Run::lease_grant),
            (mix.lease_put, Run::lease_put),
            (mix.lease_revoke, |run| Request::LeaseRevoke(run.lease())),
            (mix.lease_keep_alive, |run| Request::LeaseKeepAlive(run.lease())),
            (mix.compact, Run::compact),
        ];
        let sum = kinds.iter().map(|(weight, _)| weight).sum();
        let mut point = self.dice.below(sum);
        for (weight, make) in kinds {
            if point < weight {
                return make(self);
            }
            point -= weight;
        }
        unreachable!("the point is below the sum")
    }

    fn key(&mut self) -> Text {
        let key = self.dice.below(self.shape.keys);
        Text::from(&format!("k{key:05}"))
    }

    fn put(&mut self, lease: i64) -> Put {
        self.next_value += 1;
        let value = if self.shape.unique_values { self.next_value } else { self.dice.below(3) };
        let prev_kv = self.dice.per_mille(200);
        Put {
            key: self.key(),
            value: Text::from(&format!("v{value}")),
            lease,
            prev_kv,
            ..Put::default()
        }
    }

    fn range(&mut self) -> Range {
        let key = self.key();
        if self.dice.per_mille(700) {
            return Range { key, ..Range::default() };
        }
        let limit = if self.dice.per_mille(300) { 2 } else { 0 };
        let keys_only = self.dice.per_mille(100);
        let range_end = self.end_after(&key);
        Range { key, range_end, limit, keys_only, ..Range::default() }
    }

    /// A few keys further on; of a small space, sometimes everything.
    fn end_after(&mut self, key: &Text) -> Text {
        if self.shape.keys <= OPEN_RANGE_KEYS_MAX && self.dice.per_mille(500) {
            return Text::from("\0");
        }
        let last = u8::try_from(self.dice.below(9)).expect("small");
        let (last_digit, stem) = key.as_bytes().split_last().expect("keys are not empty");
        let last_digit = (last_digit + last).min(b'9');
        Text::from(&[stem, &[last_digit, b'~']].concat())
    }

    fn range_past(&mut self) -> Request {
        let revision = self.store.revision();
        let back = i64::try_from(self.dice.below(4)).expect("small");
        Request::Range(Range { revision: (revision - back).max(1), ..self.range() })
    }

    fn delete(&mut self) -> Request {
        let key = self.key();
        let range_end =
            if self.dice.per_mille(300) { self.end_after(&key) } else { Text::default() };
        Request::DeleteRange(DeleteRange { key, range_end, prev_kv: self.dice.per_mille(300) })
    }

    fn txn(&mut self) -> Request {
        let key = self.key();
        let target = match self.dice.below(3) {
            0 => CompareTarget::Version(i64::try_from(self.dice.below(2)).expect("small")),
            1 => CompareTarget::Value(Text::from(&format!("v{}", self.dice.below(3)))),
            _ => CompareTarget::Mod(self.store.revision()),
        };
        let result = match self.dice.below(3) {
            0 => CompareResult::Equal,
            1 => CompareResult::NotEqual,
            _ => CompareResult::Less,
        };
        let compare = Compare { key: key.clone(), range_end: Text::default(), result, target };
        let mut success = vec![TxnOp::Put(self.put(0))];
        let other = self.put(0);
        if !matches!(&success[0], TxnOp::Put(put) if put.key == other.key) {
            success.push(TxnOp::Put(other));
        }
        success.push(TxnOp::Range(Range { key: key.clone(), ..Range::default() }));
        let failure = vec![match self.dice.below(3) {
            0 => TxnOp::Range(Range { key, ..Range::default() }),
            1 => TxnOp::DeleteRange(DeleteRange { key, ..DeleteRange::default() }),
            _ => TxnOp::Put(self.put(0)),
        }];
        Request::Txn(Txn { compare: vec![compare], success, failure })
    }

    fn lease_grant(&mut self) -> Request {
        let id = self.next_lease;
        self.next_lease += 1;
        Request::LeaseGrant(LeaseGrant { id, ttl: self.shape.lease_ttl })
    }

    /// One of the newest leases.
    fn lease(&mut self) -> LeaseId {
        let back = i64::try_from(self.dice.below(3)).expect("small");
        LeaseId { id: (self.next_lease - 1 - back).max(1) }
    }

    fn lease_put(&mut self) -> Request {
        let lease = self.lease().id;
        Request::Put(self.put(lease))
    }

    fn compact(&mut self) -> Request {
        let kept = if self.shape.keys <= OPEN_RANGE_KEYS_MAX { self.dice.below(3) } else { 1000 };
        let kept = i64::try_from(kept).expect("small");
        Request::Compact(Compact { revision: (self.store.revision() - kept).max(1) })
    }
}

fn everything() -> WatchRequest {
    WatchRequest {
        key: Text::from("\0"),
        range_end: Text::from("\0"),
        start_revision: 1,
        prev_kv: true,
        no_put: false,
        no_delete: false,
        resumes: None,
    }
}
