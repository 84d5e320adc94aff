//! All of etcd's key-value API as one sequential object: keys at every revision, leases,
//! compaction. The reference for stateright's tester and for comparing a live server's answers.
//!
//! Deterministic: the same requests give the same outcomes. Time is not here; an expiry is a
//! [`Request::LeaseRevoke`] that the server does by itself.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use stateright::semantics::SequentialSpec;

use super::execute::{self, Path, Surroundings};
use super::keyspace::{Change, Keyspace, Span, Stored};
use super::refusal::Refusal;
use super::validate::validate;
use crate::history::record::{
    Compact, Header, LeaseGrant, Outcome, Put, Range, RangeResponse, Request, Response,
    ResponseBody, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use crate::history::text::Text;

/// An etcd server without time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdStore {
    keys: Keyspace,
    past: Past,
    last: Vec<Change>,
}

/// Everything but the live keys.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Past {
    revision: i64,
    /// What was read below it is not known: 1 for a store that began fresh.
    known_from: i64,
    /// Below it nothing can be read; -1 before the first compaction.
    compact_revision: i64,
    /// Of each key, ascending by revision; `None` is a deletion.
    versions: BTreeMap<Text, Vec<(i64, Option<Stored>)>>,
    /// Leases that exist, with their time to live.
    leases: BTreeMap<i64, i64>,
}

impl Surroundings for Past {
    fn lease_exists(&self, lease: i64) -> bool {
        self.leases.contains_key(&lease)
    }

    fn compact_revision(&self) -> i64 {
        self.compact_revision
    }

    fn range_then(&self, range: &Range) -> RangeResponse {
        let Some(bounds) = Span::new(&range.key, &range.range_end).bounds() else {
            return RangeResponse::default();
        };
        let found = self.versions.range::<Text, _>(bounds).filter_map(|(key, versions)| {
            let newest = versions.iter().rev().find(|(revision, _)| *revision <= range.revision);
            newest.and_then(|(_, stored)| stored.as_ref()).map(|stored| stored.key_value(key))
        });
        execute::answer(range, found)
    }
}

/// Of what tells most states apart; equality looks at the rest.
impl Hash for EtcdStore {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.past.revision.hash(hasher);
        self.past.compact_revision.hash(hasher);
        self.past.leases.hash(hasher);
        self.last.hash(hasher);
    }
}

impl Default for EtcdStore {
    fn default() -> EtcdStore {
        EtcdStore::new()
    }
}

impl EtcdStore {
    /// A fresh store: revision 1, nothing in it.
    pub fn new() -> EtcdStore {
        EtcdStore {
            keys: Keyspace::default(),
            past: Past {
                revision: 1,
                known_from: 1,
                compact_revision: -1,
                versions: BTreeMap::new(),
                leases: BTreeMap::new(),
            },
            last: Vec::new(),
        }
    }

    /// The store that a history begins with.
    pub fn from_header(header: &Header) -> EtcdStore {
        let mut store = EtcdStore::new();
        store.keys = Keyspace::with(&header.initial);
        store.past.revision = header.first_revision;
        store.past.known_from = header.first_revision;
        for (key, stored) in store.keys.iter() {
            let version = (stored.mod_revision, Some(stored.clone()));
            store.past.versions.insert(key.clone(), vec![version]);
            if stored.lease != 0 {
                store.past.leases.insert(stored.lease, i64::MAX);
            }
        }
        store
    }

    /// The newest revision.
    pub fn revision(&self) -> i64 {
        self.past.revision
    }

    /// The live keys.
    pub fn keys(&self) -> &Keyspace {
        &self.keys
    }

    /// What the newest revision changed.
    pub fn last_changes(&self) -> &[Change] {
        &self.last
    }

    /// Nothing below this revision will be asked for: lets go of what only that would show.
    pub(crate) fn forget(&mut self, revision: i64) {
        self.past.versions.retain(|_, versions| {
            let newer = versions.partition_point(|(own, _)| *own <= revision);
            versions.drain(..newer.saturating_sub(1));
            !matches!(versions.as_slice(), [(own, None)] if *own <= revision)
        });
    }

    /// Does what `request` asks, and answers as etcd does.
    pub fn apply(&mut self, request: &Request) -> Outcome {
        let mut outcome = self.answer(request);
        if let Outcome::Ok(response) = &mut outcome {
            match (request, &mut response.body) {
                (Request::Range(range), ResponseBody::Range(got)) => leave_out_leases(range, got),
                (Request::Txn(txn), ResponseBody::Txn(got)) => leave_out_leases_in(txn, got),
                _ => {}
            }
        }
        outcome
    }

    /// As [`Self::apply`], with the leases of keys whose values nobody asked for.
    fn answer(&mut self, request: &Request) -> Outcome {
        match self.execute(request) {
            Ok(body) => Outcome::Ok(Response { revision: self.past.revision, body }),
            Err(refusal) => Outcome::Fail(refusal.failure()),
        }
    }

    fn execute(&mut self, request: &Request) -> Result<ResponseBody, Refusal> {
        validate(request)?;
        let mut changes = Vec::new();
        let next = self.past.revision.saturating_add(1);
        let body = match request {
            Request::Put(put) => self.put(put, next, &mut changes)?,
            Request::Range(range) => self.range(range)?,
            Request::DeleteRange(delete) => {
                let response = execute::delete_range(&mut self.keys, delete, &mut changes);
                ResponseBody::DeleteRange(response)
            }
            Request::Txn(txn) => self.txn(txn, next, &mut changes)?,
            Request::LeaseGrant(grant) => self.grant(*grant)?,
            Request::LeaseRevoke(lease) => {
                if self.past.leases.remove(&lease.id).is_none() {
                    return Err(Refusal::LeaseNotFound);
                }
                self.keys.delete_attached(lease.id, &mut changes);
                ResponseBody::LeaseRevoke
            }
            Request::LeaseKeepAlive(lease) => {
                let ttl = self.past.leases.get(&lease.id).copied().unwrap_or(0);
                ResponseBody::LeaseKeepAlive { ttl }
            }
            Request::Compact(compact) => self.compact(*compact)?,
        };
        self.record(changes, next);
        Ok(body)
    }

    fn put(
        &mut self,
        put: &Put,
        next: i64,
        changes: &mut Vec<Change>,
    ) -> Result<ResponseBody, Refusal> {
        execute::check_put(&self.keys, &self.past, put)?;
        Ok(ResponseBody::Put(execute::put(&mut self.keys, put, next, changes)))
    }

    fn range(&self, range: &Range) -> Result<ResponseBody, Refusal> {
        execute::check_range(&self.past, range, self.past.revision)?;
        Ok(ResponseBody::Range(if range.revision > 0 {
            self.past.range_then(range)
        } else {
            execute::range(&self.keys, range)
        }))
    }

    fn txn(
        &mut self,
        txn: &Txn,
        next: i64,
        changes: &mut Vec<Change>,
    ) -> Result<ResponseBody, Refusal> {
        let path = Path::choose(&self.keys, txn);
        execute::check_txn(&self.keys, &self.past, txn, &path, self.past.revision)?;
        let response = execute::txn(&mut self.keys, &self.past, txn, &path, next, changes);
        Ok(ResponseBody::Txn(response))
    }

    fn grant(&mut self, grant: LeaseGrant) -> Result<ResponseBody, Refusal> {
        if grant.id == 0 {
            return Err(Refusal::LeaseNotFound);
        }
        if self.past.leases.contains_key(&grant.id) {
            return Err(Refusal::LeaseExists);
        }
        self.past.leases.insert(grant.id, grant.ttl);
        Ok(ResponseBody::LeaseGrant { ttl: grant.ttl })
    }

    fn compact(&mut self, compact: Compact) -> Result<ResponseBody, Refusal> {
        if compact.revision <= self.past.compact_revision {
            return Err(Refusal::Compacted);
        }
        if compact.revision > self.past.revision {
            return Err(Refusal::FutureRevision);
        }
        self.past.compact_revision = compact.revision;
        Ok(ResponseBody::Compact)
    }

    fn record(&mut self, changes: Vec<Change>, revision: i64) {
        if changes.is_empty() {
            return;
        }
        self.past.revision = revision;
        for Change { key, after, .. } in &changes {
            self.past.versions.entry(key.clone()).or_default().push((revision, after.clone()));
        }
        self.last = changes;
    }
}

impl SequentialSpec for EtcdStore {
    type Op = Request;
    type Ret = Outcome;

    fn invoke(&mut self, request: &Request) -> Outcome {
        self.apply(request)
    }

    fn is_valid_step(&mut self, request: &Request, outcome: &Outcome) -> bool {
        let expected = self.answer(request);
        is_same(request, &expected, outcome, self.past.known_from)
    }
}

/// etcd answers a range for keys only from its index, which knows no leases.
fn leave_out_leases(range: &Range, got: &mut RangeResponse) {
    if range.keys_only {
        got.kvs.iter_mut().for_each(|kv| kv.lease = 0);
    }
}

fn leave_out_leases_in(txn: &Txn, got: &mut TxnResponse) {
    for (op, got) in execute::branch(txn, got.succeeded).iter().zip(&mut got.responses) {
        match (op, got) {
            (TxnOp::Range(range), TxnOpResponse::Range(got)) => leave_out_leases(range, got),
            (TxnOp::Txn(txn), TxnOpResponse::Txn(got)) => leave_out_leases_in(txn, got),
            _ => {}
        }
    }
}

/// Whether a server that should answer `expected` may answer `got`. What it read below
/// `known_from` may be anything.
fn is_same(request: &Request, expected: &Outcome, got: &Outcome, known_from: i64) -> bool {
    let same_range = |range: &Range, a: &RangeResponse, b: &RangeResponse| {
        let unknown = range.revision > 0 && range.revision < known_from;
        unknown || execute::same_range(range, a, b)
    };
    match (expected, got) {
        (Outcome::Fail(expected), Outcome::Fail(got)) => expected.message == got.message,
        (Outcome::Ok(expected), Outcome::Ok(got)) => match (request, &expected.body, &got.body) {
            // A keep-alive is answered by the leader, under the asked member's revision.
            (
                _,
                ResponseBody::LeaseKeepAlive { ttl: expected },
                ResponseBody::LeaseKeepAlive { ttl: got },
            ) => (*expected > 0) == (*got > 0),
            // A compaction is answered when it is done; until then the store goes on.
            (_, ResponseBody::Compact, ResponseBody::Compact) => expected.revision <= got.revision,
            // A server may grant more than was asked for.
            (
                _,
                ResponseBody::LeaseGrant { ttl: asked },
                ResponseBody::LeaseGrant { ttl: granted },
            ) => expected.revision == got.revision && granted >= asked,
            (Request::Range(range), ResponseBody::Range(a), ResponseBody::Range(b)) => {
                expected.revision == got.revision && same_range(range, a, b)
            }
            (Request::Txn(txn), ResponseBody::Txn(a), ResponseBody::Txn(b)) => {
                expected.revision == got.revision
                    && execute::same_txn(txn, a, b, &mut |range, a, b| same_range(range, a, b))
            }
            (_, a, b) => expected.revision == got.revision && a == b,
        },
        _ => false,
    }
}

#[cfg(test)]
#[path = "etcd_store_tests.rs"]
mod tests;
