//! Does the checker's model agree with a live server?
//!
//! Random operations go to the server one after the other, and to the model; the answers must be
//! equal, errors with their codes and texts included. The checker judges by its model, so the
//! model must be shown to be right by the server that defines the API.
//!
//! The requests are meaner than a workload's: empty keys, keys written twice in one transaction,
//! revisions that are compacted or not there yet, leases that do not exist. Times to live are long,
//! so that nothing expires: the model has no time.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusd_checker::history::record::{
    Compact, Compare, CompareResult, CompareTarget, DeleteRange, LeaseGrant, LeaseId, Outcome, Put,
    Range, Request, Txn, TxnOp,
};
use rusd_checker::history::text::Text;
use rusd_checker::model::etcd_store::EtcdStore;

use crate::client::etcd::Client;
use crate::client::failure;
use crate::cluster::{Cluster, ClusterError, readiness};
use crate::workload::ClusterSpec;

const KEYS: [&str; 7] = ["a", "a/1", "a/2", "b", "c", "d", "e\u{fe}"];
const ENDS: [&str; 6] = ["\0", "a/2", "a0", "b", "d", "zz"];
const VALUES: [&str; 4] = ["", "x", "y", "z"];
/// Leases that operations name; some of them never exist.
const LEASES: std::ops::RangeInclusive<i64> = 1..=6;
/// Long enough that no lease expires while we compare.
const TTL_S: i64 = 7200;
/// The first time to live that etcd refuses is the next one.
const TTL_MAX_S: i64 = 9_000_000_000;
const TXN_OPS_MAX: usize = 3;
const TXN_DEPTH_MAX: usize = 2;

/// The first answer that differed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// Which operation it was, from 1.
    pub operation: u64,
    /// What was asked.
    pub request: Request,
    /// What the model says.
    pub model: Outcome,
    /// What the server says.
    pub server: Outcome,
}

/// How the comparison went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Operations compared.
    pub operations: u64,
    /// Of these, how many both refused.
    pub refusals: u64,
    /// Where it ended early.
    pub disagreement: Option<Box<Disagreement>>,
}

/// Compares the model with a member that is started for it, with data and logs under `folder`.
pub async fn compare_started(
    spec: &ClusterSpec,
    folder: &std::path::Path,
    operations: u64,
    seed: u64,
) -> Result<Agreement, ClusterError> {
    let cluster = Cluster::start(spec, folder).await?;
    readiness::ready(&cluster, 0).await?;
    let endpoint = cluster.endpoint(0);
    let agreement = match Client::connect(&endpoint).await {
        Ok(client) => Ok(compare(&client, operations, seed).await),
        Err(error) => Err(ClusterError::NotReady {
            member: 0,
            endpoint,
            waited: std::time::Duration::ZERO,
            last: error.to_string(),
        }),
    };
    cluster.stop().await;
    agreement
}

/// Compares the model with the fresh server behind `client`.
pub async fn compare(client: &Client, operations: u64, seed: u64) -> Agreement {
    let mut random = Requests::new(seed);
    let mut model = EtcdStore::new();
    let mut agreement = Agreement::default();
    for operation in 1..=operations {
        let request = random.request(model.revision());
        let expected = model.apply(&request);
        let got = match client.execute(&request).await {
            Ok(response) => Outcome::Ok(response),
            Err(status) => failure::outcome(&request, &status),
        };
        if expected != got {
            let disagreement = Disagreement { operation, request, model: expected, server: got };
            agreement.disagreement = Some(Box::new(disagreement));
            break;
        }
        agreement.operations += 1;
        agreement.refusals += u64::from(matches!(got, Outcome::Fail(_)));
    }
    agreement
}

/// Random requests over few keys, values and leases, so that they meet.
struct Requests {
    random: ChaCha8Rng,
    /// The store's revision, around which historical ones are drawn.
    revision: i64,
    /// Whether puts may keep the current value or lease. Not in a transaction that deletes up to
    /// the end of all keys: etcd overlooks that the put's key is then gone, and ends itself.
    may_ignore: bool,
}

impl Requests {
    fn new(seed: u64) -> Requests {
        Requests { random: ChaCha8Rng::seed_from_u64(seed), revision: 1, may_ignore: true }
    }

    fn request(&mut self, revision: i64) -> Request {
        self.revision = revision;
        self.may_ignore = true;
        match self.random.random_range(0..1000) {
            0..300 => Request::Put(self.put()),
            300..500 => Request::Range(self.range()),
            500..600 => Request::DeleteRange(self.delete_range()),
            600..900 => {
                self.may_ignore = self.random.random_bool(0.5);
                Request::Txn(self.txn(0))
            }
            900..940 => {
                let ttl = if self.random.random_bool(0.05) { TTL_MAX_S + 1 } else { TTL_S };
                Request::LeaseGrant(LeaseGrant { id: self.lease(), ttl })
            }
            940..970 => Request::LeaseRevoke(LeaseId { id: self.lease() }),
            970..990 => Request::LeaseKeepAlive(LeaseId { id: self.lease() }),
            _ => Request::Compact(Compact { revision: self.past_revision() }),
        }
    }

    fn key(&mut self) -> Text {
        if self.random.random_bool(0.01) {
            return Text::default();
        }
        Text::from(*KEYS.choose(&mut self.random).expect("not empty"))
    }

    fn range_end(&mut self) -> Text {
        if self.random.random_bool(0.5) {
            return Text::default();
        }
        Text::from(*ENDS.choose(&mut self.random).expect("not empty"))
    }

    fn value(&mut self) -> Text {
        Text::from(*VALUES.choose(&mut self.random).expect("not empty"))
    }

    fn lease(&mut self) -> i64 {
        self.random.random_range(LEASES)
    }

    /// Mostly a revision that can be read, sometimes one that cannot.
    fn past_revision(&mut self) -> i64 {
        (self.revision - self.random.random_range(-2..40)).max(1)
    }

    fn put(&mut self) -> Put {
        let ignore_value = self.may_ignore && self.random.random_bool(0.08);
        let ignore_lease = self.may_ignore && self.random.random_bool(0.08);
        let lease = if self.random.random_bool(0.25) { self.lease() } else { 0 };
        let mean = self.random.random_bool(0.05);
        Put {
            key: self.key(),
            value: if ignore_value && !mean { Text::default() } else { self.value() },
            lease: if ignore_lease && !mean { 0 } else { lease },
            prev_kv: self.random.random_bool(0.4),
            ignore_value,
            ignore_lease,
        }
    }

    fn range(&mut self) -> Range {
        let historical = self.random.random_bool(0.3);
        Range {
            key: self.key(),
            range_end: self.range_end(),
            revision: if historical { self.past_revision() } else { 0 },
            limit: if self.random.random_bool(0.3) { self.random.random_range(1..4) } else { 0 },
            serializable: self.random.random_bool(0.2),
            keys_only: self.random.random_bool(0.1),
            count_only: self.random.random_bool(0.1),
        }
    }

    fn delete_range(&mut self) -> DeleteRange {
        let prev_kv = self.random.random_bool(0.4);
        DeleteRange { key: self.key(), range_end: self.range_end(), prev_kv }
    }

    fn txn(&mut self, depth: usize) -> Txn {
        let compares = self.random.random_range(0..3);
        Txn {
            compare: (0..compares).map(|_| self.comparison()).collect(),
            success: self.ops(depth),
            failure: self.ops(depth),
        }
    }

    fn ops(&mut self, depth: usize) -> Vec<TxnOp> {
        let count = self.random.random_range(0..=TXN_OPS_MAX);
        (0..count).map(|_| self.op(depth)).collect()
    }

    fn op(&mut self, depth: usize) -> TxnOp {
        match self.random.random_range(0..10) {
            0..4 => TxnOp::Put(self.put()),
            4..7 => TxnOp::Range(self.range()),
            7 if depth < TXN_DEPTH_MAX => TxnOp::Txn(self.txn(depth + 1)),
            _ => {
                let mut delete = self.delete_range();
                if self.may_ignore && delete.range_end == Text::from("\0") {
                    delete.range_end = Text::default();
                }
                TxnOp::DeleteRange(delete)
            }
        }
    }

    fn comparison(&mut self) -> Compare {
        let results = [
            CompareResult::Equal,
            CompareResult::Greater,
            CompareResult::Less,
            CompareResult::NotEqual,
        ];
        let target = match self.random.random_range(0..5) {
            0 => CompareTarget::Version(self.random.random_range(0..4)),
            1 => CompareTarget::Create(self.compared_revision()),
            2 => CompareTarget::Mod(self.compared_revision()),
            3 => CompareTarget::Value(self.value()),
            _ => CompareTarget::Lease(self.random.random_range(0..=*LEASES.end())),
        };
        Compare {
            key: self.key(),
            range_end: if self.random.random_bool(0.3) {
                self.range_end()
            } else {
                Text::default()
            },
            result: *results.choose(&mut self.random).expect("not empty"),
            target,
        }
    }

    fn compared_revision(&mut self) -> i64 {
        if self.random.random_bool(0.3) { 0 } else { self.past_revision() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The comparison is worth something only if it visits what it claims to.
    #[test]
    fn requests_reach_every_kind_and_many_refusals() {
        let mut random = Requests::new(1);
        let mut model = EtcdStore::new();
        let mut refusals = std::collections::BTreeMap::new();
        let mut read = 0;
        for _ in 0..10_000 {
            let request = random.request(model.revision());
            match model.apply(&request) {
                Outcome::Ok(_) => read += 1,
                Outcome::Fail(failure) => *refusals.entry(failure.message).or_insert(0) += 1,
                Outcome::Unknown(_) => unreachable!("the model knows"),
            }
        }
        assert!(read > 5000, "{read}");
        assert!(refusals.len() >= 9, "{refusals:?}");
    }
}
