//! What each client asks next.
//!
//! One [`Generator`] per client, with random choices of its own, so that a client's requests are a
//! function of the seed and of the answers it saw. What clients learn from answers (how far the
//! store's revisions have come, when a key was last written) they share through [`Seen`].
//!
//! Invariant: no value is written twice, and no lease is granted twice.

mod kind;
mod seen;

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

use crate::workload::Workload;
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
    value_bytes: usize,
    lease_ttl_s: i64,
    leases_max: usize,
    leases: VecDeque<i64>,
    compaction_keep: i64,
    /// Second half of a read-modify-write.
    follow_up: Option<Request>,
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
            value_bytes: *workload.values.size.get_ref(),
            lease_ttl_s: i64::try_from(workload.leases.ttl.as_secs()).unwrap_or(i64::MAX).max(1),
            leases_max: usize::try_from(workload.leases.per_client).expect("u32 fits usize").max(1),
            leases: VecDeque::new(),
            compaction_keep: i64::from(workload.compaction.keep),
            follow_up: None,
        }
    }

    /// The process that asks next.
    pub fn process(&self) -> u64 {
        self.process
    }

    /// The next request.
    pub fn next_request(&mut self) -> (OpKind, Request) {
        if let Some(request) = self.follow_up.take() {
            return (OpKind::TxnReadModifyWrite, request);
        }
        let point = self.rng.random_range(0..self.weight_sum);
        let at = self.kinds.partition_point(|&(_, reached)| reached <= point);
        let kind = self.kinds[at].0;
        self.request(kind)
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
            OpKind::Compact => {
                let revision = (self.seen.latest_revision() - self.compaction_keep).max(1);
                Request::Compact(Compact { revision })
            }
            OpKind::LeaseGrant
            | OpKind::PutLease
            | OpKind::LeaseKeepAlive
            | OpKind::LeaseRevoke => return self.lease_request(kind),
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
            (OpKind::LeaseKeepAlive, Some(id)) => (kind, Request::LeaseKeepAlive(LeaseId { id })),
            (OpKind::LeaseRevoke, Some(id)) => (kind, Request::LeaseRevoke(LeaseId { id })),
            _ => {
                let grant = LeaseGrant { id: self.seen.fresh_lease(), ttl: self.lease_ttl_s };
                (OpKind::LeaseGrant, Request::LeaseGrant(grant))
            }
        }
    }

    fn any_key(&mut self) -> Text {
        let index = self.seen.keys().sample(&mut self.rng);
        self.seen.keys().key(index)
    }

    fn put_any(&mut self) -> Put {
        let key = self.any_key();
        let prev_kv = self.rng.random_bool(0.1);
        Put { prev_kv, ..self.put(key) }
    }

    fn put(&mut self, key: Text) -> Put {
        Put { key, value: self.fresh_value(), ..Put::default() }
    }

    fn fresh_value(&mut self) -> Text {
        self.written += 1;
        Text::from(&unique_value(self.process, self.written, self.value_bytes))
    }

    fn get(&mut self) -> Range {
        Range { key: self.any_key(), ..Range::default() }
    }

    fn neighbours(&mut self) -> Range {
        let keys = self.seen.keys();
        let first = keys.sample(&mut self.rng);
        let width = self.rng.random_range(2..=RANGE_KEYS_MAX);
        let (key, range_end) = (keys.key(first), keys.key(first + width));
        let keys_only = self.rng.random_bool(0.05);
        let count_only = !keys_only && self.rng.random_bool(0.05);
        Range { key, range_end, keys_only, count_only, ..Range::default() }
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
        let index = self.seen.keys().sample(&mut self.rng);
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

    /// Several distinct keys written at once, and read back in between.
    fn multi(&mut self) -> Txn {
        let count = self.rng.random_range(2..=TXN_KEYS_MAX).min(self.seen.keys().count());
        let mut indexes: Vec<usize> = Vec::new();
        while indexes.len() < count {
            let index = self.seen.keys().sample(&mut self.rng);
            // A very skewed space may not give distinct keys by sampling alone.
            let index = (0..self.seen.keys().count())
                .map(|step| (index + step) % self.seen.keys().count())
                .find(|index| !indexes.contains(index))
                .expect("fewer were chosen than there are");
            indexes.push(index);
        }
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

    fn learn(&mut self, kind: OpKind, request: &Request, response: &Response) {
        self.seen.came_to(response.revision);
        match (request, &response.body) {
            (Request::Put(put), _) => self.seen.saw_write(&put.key, response.revision),
            (Request::Range(_), ResponseBody::Range(answer)) => {
                answer.kvs.iter().for_each(|kv| self.seen.saw(kv));
                if let (OpKind::TxnReadModifyWrite, Request::Range(read)) = (kind, request) {
                    let found = answer.kvs.first().map_or(0, |kv| kv.mod_revision);
                    self.follow_up = Some(Request::Txn(self.modify(read.key.clone(), found)));
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

/// A value that no other process and no other number gives, `bytes` long or as long as it must be.
fn unique_value(process: u64, number: u64, bytes: usize) -> String {
    const FILLER: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
    let mut value = format!("p{process}.{number}");
    if value.len() < bytes {
        value.push('.');
    }
    let missing = bytes.saturating_sub(value.len());
    value.extend(FILLER.chars().cycle().take(missing));
    value
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rusd_checker::history::record::{Failure, KeyValue, RangeResponse};

    use super::*;
    use crate::keys::KeySpace;

    const TEXT: &str = r#"
        duration = "1s"
        clients = 2
        keys = { count = 20, distribution = "zipf" }
        values = { size = "40B" }
        [mix]
        put = 5
        txn_cas = 2
        txn_multi = 2
        txn_read_modify_write = 2
        lease_grant = 1
        put_lease = 1
        lease_revoke = 1
    "#;

    fn generators() -> Vec<Generator> {
        let workload = Workload::parse("test.toml", TEXT).unwrap();
        let seen = Arc::new(Seen::new(KeySpace::new(&workload.keys), 1, 7));
        (0..2).map(|client| Generator::new(&workload, 42, client, Arc::clone(&seen))).collect()
    }

    fn values(request: &Request) -> Vec<String> {
        let of_ops = |ops: &[TxnOp]| -> Vec<String> {
            let puts = ops.iter().filter_map(|op| match op {
                TxnOp::Put(put) => Some(put.value.to_string()),
                _ => None,
            });
            puts.collect()
        };
        match request {
            Request::Put(put) => vec![put.value.to_string()],
            Request::Txn(txn) => [of_ops(&txn.success), of_ops(&txn.failure)].concat(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn no_value_is_written_twice_even_after_unknown_outcomes() {
        let mut generators = generators();
        let mut seen = BTreeSet::new();
        let mut leases = BTreeSet::new();
        for round in 0..2000 {
            let generator = &mut generators[round % 2];
            let (kind, request) = generator.next_request();
            for value in values(&request) {
                assert!(value.len() >= 40, "{value}");
                assert!(seen.insert(value.clone()), "{value} was written before");
            }
            if let Request::LeaseGrant(grant) = &request {
                assert!(leases.insert(grant.id));
            }
            let lost = Outcome::Unknown(Failure { code: String::new(), message: String::new() });
            if round % 7 == 0 {
                generator.observe(kind, &request, &lost);
            }
        }
        assert!(seen.len() > 1000 && !leases.is_empty());
    }

    #[test]
    fn the_seed_decides() {
        let first: Vec<_> = {
            let mut generators = generators();
            (0..50).map(|i| generators[i % 2].next_request().1).collect()
        };
        let mut again = generators();
        for (i, request) in first.into_iter().enumerate() {
            assert_eq!(again[i % 2].next_request().1, request);
        }
    }

    #[test]
    fn an_unknown_outcome_retires_the_process() {
        let mut generator = generators().remove(0);
        let before = generator.process();
        let (kind, request) = generator.next_request();
        let failure = Failure { code: "Unavailable".to_owned(), message: String::new() };
        generator.observe(kind, &request, &Outcome::Fail(failure.clone()));
        assert_eq!(generator.process(), before);
        generator.observe(kind, &request, &Outcome::Unknown(failure));
        assert_ne!(generator.process(), before);
    }

    #[test]
    fn read_modify_write_compares_with_what_was_read() {
        let mut generator = generators().remove(0);
        let read = Request::Range(generator.get());
        let Request::Range(Range { key, .. }) = &read else { unreachable!() };
        let kv = KeyValue { key: key.clone(), mod_revision: 17, ..KeyValue::default() };
        let body = ResponseBody::Range(RangeResponse { kvs: vec![kv], count: 1, more: false });
        let answer = Outcome::Ok(Response { revision: 20, body });
        generator.observe(OpKind::TxnReadModifyWrite, &read, &answer);
        let (kind, Request::Txn(txn)) = generator.next_request() else { panic!("not a txn") };
        assert_eq!(kind, OpKind::TxnReadModifyWrite);
        assert_eq!(txn.compare[0].target, CompareTarget::Mod(17));
    }
}
