//! A store that keeps every version of every key in one map, and forgets nothing.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use rusd_proto::mvccpb::KeyValue;

/// A change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Put { key: u8, value: u8, lease: i64 },
    Delete { from: u8, to: u8 },
}

/// All versions of all keys.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) revision: i64,
    pub(crate) compact: i64,
    /// By main and sub revision: the key, and its key-value unless it was deleted.
    changes: BTreeMap<(i64, usize), (Vec<u8>, Option<KeyValue>)>,
    leases: BTreeSet<i64>,
    /// Compactions that were not carried out: each with the one before it.
    waiting: Vec<(i64, i64)>,
    /// What those that were carried out found.
    hashes: Vec<Hash>,
}

/// A hash: of everything up to a revision, after a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash {
    pub(crate) crc: u32,
    pub(crate) compact: i64,
    pub(crate) to: i64,
}

impl Default for Model {
    fn default() -> Self {
        let (changes, leases) = (BTreeMap::new(), BTreeSet::new());
        let (waiting, hashes) = (Vec::new(), Vec::new());
        Model { revision: 1, compact: -1, changes, leases, waiting, hashes }
    }
}

impl Model {
    /// All keys at a revision.
    pub(crate) fn at(&self, revision: i64) -> Vec<KeyValue> {
        let mut keys = BTreeMap::new();
        for (key, kv) in self.changes.range(..(revision + 1, 0)).map(|(_, change)| change) {
            keys.insert(key.clone(), kv.clone());
        }
        keys.into_values().flatten().collect()
    }

    /// All changes from a revision on, with what was before them.
    pub(crate) fn events(&self, from: i64) -> Vec<(KeyValue, Option<KeyValue>)> {
        let mut keys: BTreeMap<Vec<u8>, Option<KeyValue>> = BTreeMap::new();
        let mut events = Vec::new();
        for ((main, _), (key, kv)) in &self.changes {
            let prev = keys.insert(key.clone(), kv.clone()).flatten();
            if *main >= from {
                let tombstone =
                    KeyValue { key: key.clone().into(), mod_revision: *main, ..Default::default() };
                let prev = prev.filter(|_| *main > self.compact);
                events.push((kv.clone().unwrap_or(tombstone), prev));
            }
        }
        events
    }

    /// One transaction. Gives its revision and how many keys each delete found; `None` if a lease
    /// does not exist.
    pub(crate) fn write(&mut self, ops: &[Op]) -> Option<(i64, Vec<i64>)> {
        let is_known = |op: &Op| match op {
            Op::Put { lease, .. } => *lease == 0 || self.leases.contains(lease),
            Op::Delete { .. } => true,
        };
        if !ops.iter().all(is_known) {
            return None;
        }
        let main = self.revision + 1;
        let mut deleted = Vec::new();
        for op in ops {
            match *op {
                Op::Put { key, value, lease } => self.put(main, &[b'a' + key], &[value], lease),
                Op::Delete { from, to } => {
                    let range = vec![b'a' + from]..vec![b'a' + to];
                    let found: Vec<Vec<u8>> = self
                        .at(main)
                        .iter()
                        .map(|kv| kv.key.to_vec())
                        .filter(|key| range.contains(key))
                        .collect();
                    deleted.push(i64::try_from(found.len()).unwrap());
                    for key in found {
                        self.change(main, key, None);
                    }
                }
            }
        }
        if self.changes.contains_key(&(main, 0)) {
            self.revision = main;
        }
        Some((self.revision, deleted))
    }

    fn put(&mut self, main: i64, key: &[u8], value: &[u8], lease: i64) {
        let before = self.at(main).into_iter().find(|kv| kv.key == key);
        let kv = KeyValue {
            key: key.to_vec().into(),
            value: value.to_vec().into(),
            create_revision: before.as_ref().map_or(main, |kv| kv.create_revision),
            mod_revision: main,
            version: before.map_or(0, |kv| kv.version) + 1,
            lease,
        };
        self.change(main, key.to_vec(), Some(kv));
    }

    fn change(&mut self, main: i64, key: Vec<u8>, kv: Option<KeyValue>) {
        let sub = self.changes.range((main, 0)..(main + 1, 0)).count();
        self.changes.insert((main, sub), (key, kv));
    }

    pub(crate) fn grant(&mut self, id: i64) -> bool {
        self.leases.insert(id)
    }

    pub(crate) fn revoke(&mut self, id: i64) -> bool {
        if !self.leases.contains(&id) {
            return false;
        }
        let main = self.revision + 1;
        for key in self.lease_keys(id).unwrap_or_default() {
            self.change(main, key, None);
            self.revision = main;
        }
        self.leases.remove(&id)
    }

    pub(crate) fn lease_keys(&self, id: i64) -> Option<Vec<Vec<u8>>> {
        let all = self.at(self.revision);
        let keys = all.iter().filter(|kv| kv.lease == id).map(|kv| kv.key.to_vec());
        self.leases.contains(&id).then(|| keys.collect())
    }

    pub(crate) fn compact(&mut self, revision: i64) -> bool {
        let is_allowed = revision > self.compact && revision <= self.revision;
        if is_allowed {
            self.waiting.push((self.compact, revision));
            self.compact = revision;
        }
        is_allowed
    }
}

/// Hashes, as etcd takes them from what its backend holds.
impl Model {
    /// The compactions are carried out. etcd takes the hash of each on its way.
    pub(crate) fn clean(&mut self) {
        for (before, compact) in std::mem::take(&mut self.waiting) {
            let mut keep = self.newest_at(compact);
            keep.retain(|at| self.is_put(*at) || at.0 == compact);
            let crc = self.hash_keeping(compact, before, &keep);
            self.hashes.push(Hash { crc, compact: before, to: compact });
        }
        let kept_from = self.hashes.len().saturating_sub(10);
        self.hashes.drain(..kept_from);
    }

    /// A restart forgets what was found, and what was not carried out is no longer hashed.
    pub(crate) fn restart(&mut self) {
        self.waiting.clear();
        self.hashes.clear();
    }

    /// The answer to a request for the hash at a revision, if that can be read.
    pub(crate) fn hash(&self, requested: i64) -> Option<Hash> {
        if let Some(found) = self.hashes.iter().find(|found| found.to == requested) {
            return Some(*found);
        }
        let to = if requested == 0 { self.revision } else { requested };
        if to > self.revision || (requested >= 0 && to < self.compact) {
            return None;
        }
        let mut keep = self.newest_at(to);
        keep.retain(|at| self.is_put(*at));
        Some(Hash { crc: self.hash_keeping(to, self.compact, &keep), compact: self.compact, to })
    }

    /// The newest change of every key, up to a revision.
    fn newest_at(&self, revision: i64) -> BTreeSet<(i64, usize)> {
        let mut newest = BTreeMap::new();
        for (at, (key, _)) in self.changes.range(..=(revision, usize::MAX)) {
            newest.insert(key, *at);
        }
        newest.into_values().collect()
    }

    fn is_put(&self, at: (i64, usize)) -> bool {
        self.changes[&at].1.is_some()
    }

    fn hash_keeping(&self, to: i64, compact: i64, keep: &BTreeSet<(i64, usize)>) -> u32 {
        let left = self.newest_at(compact);
        let is_there = |at: (i64, usize)| at.0 > compact || (self.is_put(at) && left.contains(&at));
        let mut crc = crc32c::crc32c(b"key");
        for (at, (key, kv)) in self.changes.range(..=(to, usize::MAX)) {
            let is_kept = at.0 > compact || keep.is_empty() || keep.contains(at);
            if !is_there(*at) || !is_kept {
                continue;
            }
            let mut row = at.0.to_be_bytes().to_vec();
            row.push(b'_');
            row.extend_from_slice(&u64::try_from(at.1).unwrap().to_be_bytes());
            if kv.is_none() {
                row.push(b't');
            }
            let tombstone = KeyValue { key: key.clone().into(), ..KeyValue::default() };
            row.extend(kv.as_ref().unwrap_or(&tombstone).encode_to_vec());
            crc = crc32c::crc32c_append(crc, &row);
        }
        crc
    }
}
