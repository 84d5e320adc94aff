//! An engine without a disk, for tests and simulation.
//!
//! It can lose what was not synced: each commit and each image write is one unit; a crash keeps a
//! prefix of the units since the last sync, as a log on disk would.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::storage::batch::Write;
use crate::storage::error::StorageError;
use crate::storage::schema::Tree;
use crate::storage::{Backend, Batch, Visit};

type Trees = [BTreeMap<Bytes, Bytes>; Tree::ALL.len()];

/// How many entries a scan copies under one hold of the lock.
const SCAN_CHUNK: usize = 256;

/// The memory engine.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    live: RwLock<Trees>,
    crash: Option<Mutex<CrashModel>>,
}

/// What a crash would leave.
#[derive(Debug, Default)]
struct CrashModel {
    synced: Trees,
    unsynced: Vec<Unit>,
    /// The writes of a commit survive each by itself, those of `meta` first: an engine that is no
    /// good.
    is_torn: bool,
}

/// Changes that survive a crash together.
#[derive(Debug, Clone)]
enum Unit {
    Writes(Vec<Write>),
    Clear(Tree),
}

impl MemoryBackend {
    /// An empty engine that forgets everything when it is dropped.
    pub fn new() -> Self {
        MemoryBackend::default()
    }

    /// An empty engine that knows what a crash would leave of it.
    pub fn crashable() -> Self {
        MemoryBackend { live: RwLock::default(), crash: Some(Mutex::default()) }
    }

    /// The same, of an engine whose commits a crash may tear.
    pub fn crashable_and_torn() -> Self {
        let model = CrashModel { is_torn: true, ..CrashModel::default() };
        MemoryBackend { live: RwLock::default(), crash: Some(Mutex::new(model)) }
    }

    /// How many units were written since the last sync.
    pub fn unsynced(&self) -> usize {
        self.crash.as_ref().map_or(0, |crash| crash.lock().unsynced.len())
    }

    /// What is found after a crash that kept the first `kept` of the units since the last sync.
    ///
    /// Panics unless the engine is [`MemoryBackend::crashable`].
    #[must_use]
    pub fn after_crash(&self, kept: usize) -> MemoryBackend {
        let crash = self.crash.as_ref().expect("the engine was made crashable");
        let crash = crash.lock();
        let mut trees = crash.synced.clone();
        crash.unsynced.iter().take(kept).for_each(|unit| unit.apply(&mut trees));
        let synced = trees.clone();
        let model = CrashModel { synced, unsynced: Vec::new(), is_torn: crash.is_torn };
        MemoryBackend { live: RwLock::new(trees), crash: Some(Mutex::new(model)) }
    }

    /// Flips one bit of a stored value, so that tests can show it is found out. Whether it is there.
    pub fn flip_bit(&self, tree: Tree, key: &[u8], bit: usize) -> bool {
        let mut live = self.live.write();
        let Some(value) = live[tree.position()].get_mut(key) else { return false };
        let mut bytes = value.to_vec();
        let Some(byte) = bytes.get_mut(bit / 8) else { return false };
        *byte ^= 1 << (bit % 8);
        *value = Bytes::from(bytes);
        true
    }

    fn write(&self, unit: Unit) {
        let mut live = self.live.write();
        unit.apply(&mut live);
        let Some(crash) = &self.crash else { return };
        let mut crash = crash.lock();
        match unit {
            Unit::Writes(mut writes) if crash.is_torn => {
                writes.sort_by_key(|write| write.tree != Tree::Meta);
                crash.unsynced.extend(writes.into_iter().map(|write| Unit::Writes(vec![write])));
            }
            unit => crash.unsynced.push(unit),
        }
    }
}

impl Unit {
    fn apply(&self, trees: &mut Trees) {
        match self {
            Unit::Clear(tree) => trees[tree.position()].clear(),
            Unit::Writes(writes) => writes.iter().for_each(|write| {
                let tree = &mut trees[write.tree.position()];
                match &write.value {
                    Some(value) => tree
                        .insert(Bytes::copy_from_slice(&write.key), Bytes::copy_from_slice(value)),
                    None => tree.remove(&write.key[..]),
                };
            }),
        }
    }
}

impl Backend for MemoryBackend {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.live.read()[tree.position()].get(key).cloned())
    }

    fn at_or_before(&self, tree: Tree, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StorageError> {
        let live = self.live.read();
        let range = (Bound::Unbounded, Bound::Included(key));
        let entry = live[tree.position()].range::<[u8], _>(range).next_back();
        Ok(entry.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn scan(&self, tree: Tree, from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let mut start = Bound::Included(Bytes::copy_from_slice(from));
        loop {
            let chunk: Vec<(Bytes, Bytes)> = self.live.read()[tree.position()]
                .range((start, Bound::Unbounded))
                .take(SCAN_CHUNK)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let Some((last, _)) = chunk.last() else { return Ok(()) };
            start = Bound::Excluded(last.clone());
            for (key, value) in chunk {
                if let ControlFlow::Break(()) = visit(&key, value)? {
                    return Ok(());
                }
            }
        }
    }

    fn commit(&self, batch: &Batch) -> Result<(), StorageError> {
        self.write(Unit::Writes(batch.writes.clone()));
        Ok(())
    }

    fn put_row(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<Option<usize>, StorageError> {
        let replaced = self.get(tree, key)?;
        let write = Write { tree, key: key.to_vec(), value: Some(value.to_vec()) };
        self.write(Unit::Writes(vec![write]));
        Ok(replaced.map(|value| value.len()))
    }

    fn remove_row(&self, tree: Tree, key: &[u8]) -> Result<Option<usize>, StorageError> {
        let removed = self.get(tree, key)?;
        self.write(Unit::Writes(vec![Write { tree, key: key.to_vec(), value: None }]));
        Ok(removed.map(|value| value.len()))
    }

    fn clear(&self, tree: Tree) -> Result<(), StorageError> {
        self.write(Unit::Clear(tree));
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        if let Some(crash) = &self.crash {
            let mut crash = crash.lock();
            let units = std::mem::take(&mut crash.unsynced);
            for unit in &units {
                unit.apply(&mut crash.synced);
            }
        }
        Ok(())
    }

    fn size_on_disk(&self) -> Result<u64, StorageError> {
        let live = self.live.read();
        let sizes = live.iter().flatten().map(|(key, value)| key.len() + value.len());
        Ok(u64::try_from(sizes.sum::<usize>()).expect("a size in memory fits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(tree: Tree, key: &[u8], value: &[u8]) -> Batch {
        let value = Some(value.to_vec());
        Batch { writes: vec![Write { tree, key: key.to_vec(), value }] }
    }

    #[test]
    fn a_crash_keeps_a_prefix_of_what_was_not_synced() {
        let backend = MemoryBackend::crashable();
        backend.commit(&one(Tree::Meta, b"a", b"1")).unwrap();
        backend.sync().unwrap();
        backend.commit(&one(Tree::Meta, b"a", b"2")).unwrap();
        backend.put_row(Tree::Kv, b"b", b"3").unwrap();
        backend.clear(Tree::Kv).unwrap();
        assert_eq!(backend.unsynced(), 3);
        let left = |kept| {
            let after = backend.after_crash(kept);
            let get = |tree, key| after.get(tree, key).unwrap().map(|value| value[0]);
            (get(Tree::Meta, b"a"), get(Tree::Kv, b"b"))
        };
        assert_eq!(left(0), (Some(b'1'), None));
        assert_eq!(left(1), (Some(b'2'), None));
        assert_eq!(left(2), (Some(b'2'), Some(b'3')));
        assert_eq!(left(3), (Some(b'2'), None));
    }

    #[test]
    fn a_scan_crosses_its_chunks() {
        let backend = MemoryBackend::new();
        for number in 0..1000_u16 {
            backend.put_row(Tree::Kv, &number.to_be_bytes(), b"").unwrap();
        }
        let mut seen = Vec::new();
        let mut visit = |key: &[u8], _| {
            seen.push(u16::from_be_bytes(key.try_into().unwrap()));
            Ok(if seen.len() == 700 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        backend.scan(Tree::Kv, &100_u16.to_be_bytes(), &mut visit).unwrap();
        assert_eq!(seen, (100..800).collect::<Vec<_>>());
    }
}
