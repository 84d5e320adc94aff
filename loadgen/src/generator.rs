//! What each client asks next.
//!
//! One [`Generator`] per client, with random choices of its own, so that a client's requests are a
//! function of the seed and of the answers it saw. What clients learn from answers (how far the
//! store's revisions have come, when a key was last written) they share through [`Seen`].
//!
//! Invariant: no value is written twice, and no lease is granted twice.

mod kind;
mod lists;
mod locks;
mod seen;
mod values;

use std::collections::VecDeque;
use std::sync::Arc;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusd_checker::history::record::{
    Compact, Compare, CompareResult, CompareTarget, DeleteRange, LeaseGrant, LeaseId, Outcome, Put,
    Range, Request, Response, ResponseBody, Txn, TxnOp, TxnOpResponse,
};
use rusd_checker::history::text::Text;

use crate::keys::{Chooser, Purpose};
use crate::workload::Workload;
use values::Lengths;

pub use kind::OpKind;
pub use seen::Seen;

/// Most neighbouring keys in a short range.
const RANGE_KEYS_MAX: usize = 10;
/// How far back a historical read goes, in revisions.
const HISTORY_DEPTH_MAX: i64 = 500;
/// Most keys of one transaction.
const TXN_KEYS_MAX: usize = 4;
/// Most values in one transaction: it may put every key in either branch.
pub const TXN_VALUES_MAX: usize = 2 * TXN_KEYS_MAX;

/// What is asked of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Something of the store.
    Store(Request),
    /// That it defragments its files.
    Defragment,
    /// Its snapshot.
    Snapshot,
}

/// What a client asks next.
#[derive(Debug)]
pub struct Generator {
    seen: Arc<Seen>,
    rng: ChaCha8Rng,
    /// Kinds with the sum of weights up to and with theirs.
    kinds: Vec<(OpKind, u32)>,
    weight_sum: u32,
    process: u64,
    written: u64,
    chooser: Chooser,
    value_bytes: Lengths,
    lease_ttl_s: i64,
    leases_max: usize,
    leases: VecDeque<i64>,
    compaction_keep: i64,
    lists: usize,
    list_elements_max: usize,
    /// The key by which this client leads, and when it was created.
    leads: Option<(Text, i64)>,
    /// Second half of what takes two operations.
    follow_up: Option<(OpKind, Request)>,
}

impl Generator {
    /// The generator of the client with index `client`.
    pub fn new(workload: &Workload, seed: u64, client: u64, seen: Arc<Seen>) -> Generator {
        let mut weight_sum = 0;
        let mut kinds = Vec::new();
        for (kind, weight) in workload.mix.get_ref().weights() {
            if weight > 0 {
                weight_sum += weight;
                kinds.push((kind, weight_sum));
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(client);
        Generator {
            process: seen.fresh_process(),
            seen,
            rng,
            kinds,
            weight_sum,
            written: 0,
            chooser: Chooser::new(client, u64::from(workload.clients_in_flight())),
            value_bytes: Lengths::new(&workload.values),
            lease_ttl_s: i64::try_from(workload.leases.ttl.as_secs()).unwrap_or(i64::MAX).max(1),
            leases_max: usize::try_from(workload.leases.per_client).expect("u32 fits usize").max(1),
            leases: VecDeque::new(),
            compaction_keep: i64::from(workload.compaction.keep),
            lists: usize::try_from(*workload.lists.count.get_ref()).expect("u32 fits usize"),
            list_elements_max: usize::try_from(*workload.lists.elements_max.get_ref())
                .expect("u32 fits usize"),
            leads: None,
            follow_up: None,
        }
    }

    /// The process that asks next.
    pub fn process(&self) -> u64 {
        self.process
    }

    /// The next request.
    pub fn next_ask(&mut self) -> (OpKind, Ask) {
        if let Some((kind, request)) = self.follow_up.take() {
            return (kind, Ask::Store(request));
        }
        let point = self.rng.random_range(0..self.weight_sum);
        let at = self.kinds.partition_point(|&(_, reached)| reached <= point);
        let kind = self.kinds[at].0;
        match kind {
            OpKind::Defragment => (kind, Ask::Defragment),
            OpKind::Snapshot => (kind, Ask::Snapshot),
            _ => {
                let (kind, request) = self.request(kind);
                (kind, Ask::Store(request))
            }
        }
    }

    /// A put of the key with this index, for loading a store.
    pub fn preload(&mut self, index: usize) -> (OpKind, Request) {
        let key = self.seen.keys().key(index);
        (OpKind::Put, Request::Put(self.put(key)))
    }

    /// Learns from what came back. An unknown outcome retires the process id.
    pub fn observe(&mut self, kind: OpKind, request: &Request, outcome: &Outcome) {
        match outcome {
            Outcome::Ok(response) => self.learn(kind, request, response),
            Outcome::Fail(_) => {
                if let Request::LeaseKeepAlive(lease) | Request::LeaseRevoke(lease) = request {
                    self.leases.retain(|id| *id != lease.id);
                }
            }
            Outcome::Unknown(_) => {
                self.process = self.seen.fresh_process();
                self.written = 0;
            }
        }
    }

    fn request(&mut self, kind: OpKind) -> (OpKind, Request) {
        let request = match kind {
            OpKind::Put => Request::Put(self.put_any()),
            OpKind::Get | OpKind::TxnReadModifyWrite => Request::Range(self.get()),
            OpKind::GetSerializable => Request::Range(Range { serializable: true, ..self.get() }),
            OpKind::Range => Request::Range(self.neighbours()),
            OpKind::RangeLimit => Request::Range(self.limited()),
            OpKind::RangePrefix => Request::Range(self.folder()),
            OpKind::RangeKeysOnly => Request::Range(Range { keys_only: true, ..self.folder() }),
            OpKind::RangeCount => Request::Range(Range { count_only: true, ..self.folder() }),
            OpKind::RangeHistorical => Request::Range(self.historical()),
            OpKind::Delete => Request::DeleteRange(DeleteRange {
                key: self.any_key(),
                prev_kv: self.rng.random_bool(0.2),
                ..DeleteRange::default()
            }),
            OpKind::DeleteRange => {
                let Range { key, range_end, .. } = self.neighbours();
                let prev_kv = self.rng.random_bool(0.5);
                Request::DeleteRange(DeleteRange { key, range_end, prev_kv })
            }
            OpKind::TxnCas => Request::Txn(self.compare_and_set()),
            OpKind::TxnMulti => Request::Txn(self.multi()),
            OpKind::TxnAppend => Request::Txn(self.read_lists()),
            OpKind::TxnWriteRead => Request::Txn(self.write_read()),
            OpKind::Compact => {
                let revision = (self.seen.latest_revision() - self.compaction_keep).max(1);
                Request::Compact(Compact { revision })
            }
            OpKind::LeaseGrant
            | OpKind::PutLease
            | OpKind::LeaseKeepAlive
            | OpKind::LeaseRevoke
            | OpKind::Lock
            | OpKind::Election => return self.lease_request(kind),
            OpKind::Defragment | OpKind::Snapshot => unreachable!("nothing of the store"),
        };
        (kind, request)
    }

    /// A client without a lease has to ask for one first, whatever it was to do with it.
    fn lease_request(&mut self, kind: OpKind) -> (OpKind, Request) {
        let lease = self.leases.make_contiguous().choose(&mut self.rng).copied();
        match (kind, lease) {
            (OpKind::PutLease, Some(lease)) => {
                (kind, Request::Put(Put { lease, ..self.put_any() }))
            }
            (OpKind::Lock, Some(lease)) => (kind, Request::Txn(self.lock(lease))),
            (OpKind::Election, Some(lease)) => (kind, Request::Txn(self.stand(lease))),
            (OpKind::LeaseKeepAlive, Some(id)) => (kind, Request::LeaseKeepAlive(LeaseId { id })),
            (OpKind::LeaseRevoke, Some(id)) => (kind, Request::LeaseRevoke(LeaseId { id })),
            _ => {
                let grant = LeaseGrant { id: self.seen.fresh_lease(), ttl: self.lease_ttl_s };
                (OpKind::LeaseGrant, Request::LeaseGrant(grant))
            }
        }
    }

    fn choose(&mut self, purpose: Purpose) -> usize {
        self.chooser.choose(self.seen.keys(), purpose, &mut self.rng)
    }

    fn any_key(&mut self) -> Text {
        let index = self.choose(Purpose::Other);
        self.seen.keys().key(index)
    }

    fn put_any(&mut self) -> Put {
        let index = self.choose(Purpose::Put);
        let key = self.seen.keys().key(index);
        let prev_kv = self.rng.random_bool(0.1);
        Put { prev_kv, ..self.put(key) }
    }

    fn put(&mut self, key: Text) -> Put {
        Put { key, value: self.fresh_value(), ..Put::default() }
    }

    fn fresh_value(&mut self) -> Text {
        self.written += 1;
        let bytes = self.value_bytes.draw(&mut self.rng);
        Text::from(&values::unique(self.process, self.written, bytes))
    }

    fn get(&mut self) -> Range {
        Range { key: self.any_key(), ..Range::default() }
    }

    fn neighbours(&mut self) -> Range {
        let first = self.choose(Purpose::Other);
        let keys = self.seen.keys();
        let width = self.rng.random_range(2..=RANGE_KEYS_MAX);
        let (key, range_end) = (keys.key(first), keys.key(first + width));
        let keys_only = self.rng.random_bool(0.05);
        let count_only = !keys_only && self.rng.random_bool(0.05);
        Range { key, range_end, keys_only, count_only, ..Range::default() }
    }

    fn folder(&mut self) -> Range {
        let index = self.choose(Purpose::Other);
        let (key, range_end) = self.seen.keys().folder(index);
        Range { key, range_end, ..Range::default() }
    }

    fn limited(&mut self) -> Range {
        let (key, range_end) = self.seen.keys().whole();
        let limit = self.rng.random_range(1..=20);
        let serializable = self.rng.random_bool(0.1);
        Range { key, range_end, limit, serializable, ..Range::default() }
    }

    fn historical(&mut self) -> Range {
        let back = self.rng.random_range(0..HISTORY_DEPTH_MAX);
        let revision = (self.seen.latest_revision() - back).max(1);
        let serializable = self.rng.random_bool(0.2);
        Range { revision, serializable, ..self.neighbours() }
    }

    /// Put if the key is as last seen; otherwise read it, and know better next time.
    fn compare_and_set(&mut self) -> Txn {
        let index = self.choose(Purpose::Other);
        let key = self.seen.keys().key(index);
        let seen = self.seen.revision_of(index);
        let target = match self.rng.random_range(0..10) {
            0 => CompareTarget::Create(0),
            1 => CompareTarget::Version(0),
            _ => CompareTarget::Mod(seen),
        };
        Txn {
            compare: vec![compare(key.clone(), CompareResult::Equal, target)],
            success: vec![TxnOp::Put(self.put(key.clone()))],
            failure: vec![TxnOp::Range(Range { key, ..Range::default() })],
        }
    }

    /// A few distinct keys.
    fn distinct(&mut self) -> Vec<usize> {
        let count = self.rng.random_range(2..=TXN_KEYS_MAX).min(self.seen.keys().count());
        let mut indexes: Vec<usize> = Vec::new();
        while indexes.len() < count {
            let index = self.choose(Purpose::Other);
            // A very skewed space may not give distinct keys by sampling alone.
            let index = (0..self.seen.keys().count())
                .map(|step| (index + step) % self.seen.keys().count())
                .find(|index| !indexes.contains(index))
                .expect("fewer were chosen than there are");
            indexes.push(index);
        }
        indexes
    }

    /// Several distinct keys written at once, and read back in between.
    fn multi(&mut self) -> Txn {
        let indexes = self.distinct();
        let compare_key = self.seen.keys().key(indexes[0]);
        let known = self.seen.revision_of(indexes[0]);
        let result = *[CompareResult::Less, CompareResult::Equal, CompareResult::Greater]
            .choose(&mut self.rng)
            .expect("not empty");
        let mut success = Vec::new();
        for &index in &indexes {
            let key = self.seen.keys().key(index);
            success.push(match self.rng.random_range(0..4) {
                0 => TxnOp::DeleteRange(DeleteRange { key, ..DeleteRange::default() }),
                1 => TxnOp::Range(Range { key, ..Range::default() }),
                _ => TxnOp::Put(self.put(key)),
            });
        }
        success.push(TxnOp::Range(self.neighbours()));
        let failure =
            indexes.iter().map(|&index| TxnOp::Put(self.put(self.seen.keys().key(index))));
        let failure = failure.collect();
        let compare = vec![compare(compare_key, result, CompareTarget::Mod(known))];
        Txn { compare, success, failure }
    }

    /// Some keys read and at least one written, whatever they are.
    fn write_read(&mut self) -> Txn {
        let indexes = self.distinct();
        let mut success = Vec::new();
        for (place, &index) in indexes.iter().enumerate() {
            let key = self.seen.keys().key(index);
            success.push(if place == 0 || self.rng.random_bool(0.5) {
                TxnOp::Put(self.put(key))
            } else {
                TxnOp::Range(Range { key, ..Range::default() })
            });
        }
        Txn { success, ..Txn::default() }
    }

    fn learn(&mut self, kind: OpKind, request: &Request, response: &Response) {
        self.seen.came_to(response.revision);
        match (request, &response.body) {
            (Request::Put(put), _) => self.seen.saw_write(&put.key, response.revision),
            (Request::Range(_), ResponseBody::Range(answer)) => {
                answer.kvs.iter().for_each(|kv| self.seen.saw(kv));
                if let (OpKind::TxnReadModifyWrite, Request::Range(read)) = (kind, request) {
                    let found = answer.kvs.first().map_or(0, |kv| kv.mod_revision);
                    let txn = self.modify(read.key.clone(), found);
                    self.follow_up = Some((kind, Request::Txn(txn)));
                }
            }
            (Request::Txn(txn), ResponseBody::Txn(answer)) => {
                let branch = if answer.succeeded { &txn.success } else { &txn.failure };
                for op in branch {
                    if let TxnOp::Put(put) = op {
                        self.seen.saw_write(&put.key, response.revision);
                    }
                }
                for answer in &answer.responses {
                    if let TxnOpResponse::Range(range) = answer {
                        range.kvs.iter().for_each(|kv| self.seen.saw(kv));
                    }
                }
                match kind {
                    OpKind::TxnAppend => self.append_to_read(txn, answer),
                    OpKind::Lock => self.locked(txn, answer.succeeded, response.revision),
                    OpKind::Election => self.stood(txn, answer.succeeded, response.revision),
                    _ => {}
                }
            }
            (Request::LeaseGrant(grant), _) => {
                self.leases.push_back(grant.id);
                if self.leases.len() > self.leases_max {
                    self.leases.pop_front();
                }
            }
            (Request::LeaseRevoke(lease), _) => self.leases.retain(|id| *id != lease.id),
            (Request::LeaseKeepAlive(lease), ResponseBody::LeaseKeepAlive { ttl }) if *ttl <= 0 => {
                self.leases.retain(|id| *id != lease.id);
            }
            _ => {}
        }
    }

    fn modify(&mut self, key: Text, found: i64) -> Txn {
        let unchanged = compare(key.clone(), CompareResult::Equal, CompareTarget::Mod(found));
        let success = vec![TxnOp::Put(self.put(key.clone()))];
        let failure = vec![TxnOp::Range(Range { key, ..Range::default() })];
        Txn { compare: vec![unchanged], success, failure }
    }
}

fn compare(key: Text, result: CompareResult, target: CompareTarget) -> Compare {
    Compare { key, range_end: Text::default(), result, target }
}

#[cfg(test)]
mod tests;
