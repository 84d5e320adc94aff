//! The history against a naive model that keeps everything, with crashes at any point.
//!
//! The model is a map of all entries ever appended, and a list of where the log stood after each.
//! A crash keeps a prefix of what was not synced; the recovered applied index says which prefix of
//! the model must be there, and it may not be shorter than what was reported durable.

#![expect(clippy::unwrap_used, reason = "a test fails where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use rusd_proto::leasepb::Lease;
use rusd_proto::mvccpb::KeyValue;
use rusd_state::mvcc::revision::Revision;
use rusd_state::storage::change::{Changes, EntryKind, HistoryEntry, LeaseChange, MetaChange};
use rusd_state::storage::{
    Backend, Batch, CompactProgress, DefragmentProgress, EngineKind, Export, FjallOptions,
    FoldProgress, History, HistoryOptions, Import, MemoryBackend, Recovered, Replayed, SledOptions,
    StartFrom, StorageError, Tree, Visit, verify,
};
use tempfile::TempDir;

/// What a case does.
#[derive(Debug, Clone)]
enum Step {
    /// One applied entry: keys that are put (with a value's length) or deleted.
    Write(Vec<(u8, Option<u16>)>),
    /// One applied entry that changes no key.
    Grant(u8),
    Revoke(u8),
    /// One applied entry that compacts, at so many percent between the old point and now.
    Compact(u8),
    Flush,
    Fold(u8),
    RemoveBlocks(u8),
    /// The engine fails after so many writes of the verbs that follow; then the machine stops, and
    /// keeps so many percent of what was not synced.
    CrashAfter(u8, u8),
    Crash(u8),
    /// Copies so many bytes more into a fresh engine, which fails after so many writes, or never.
    Defragment(u16, Option<u8>),
    /// Begins an export, or takes its next chunk of so many bytes.
    Export(u16),
    Read(u8, u8, u16),
    Verify,
}

fn step() -> impl Strategy<Value = Step> {
    let change = (0..12_u8, proptest::option::weighted(0.7, 0..400_u16));
    prop_oneof![
        20 => vec(change, 1..5).prop_map(Step::Write),
        1 => (0..4_u8).prop_map(Step::Grant),
        1 => (0..4_u8).prop_map(Step::Revoke),
        3 => (0..=100_u8).prop_map(Step::Compact),
        6 => Just(Step::Flush),
        6 => (1..20_u8).prop_map(Step::Fold),
        6 => (1..10_u8).prop_map(Step::RemoveBlocks),
        2 => (0..8_u8, 0..=100_u8).prop_map(|(writes, kept)| Step::CrashAfter(writes, kept)),
        1 => (0..=100_u8).prop_map(Step::Crash),
        6 => (1..2000_u16, proptest::option::weighted(0.2, 0..10_u8))
            .prop_map(|(bytes, writes)| Step::Defragment(bytes, writes)),
        5 => (1..2000_u16).prop_map(Step::Export),
        4 => (0..=100_u8, 0..=100_u8, 0..3000_u16).prop_map(|(a, b, max)| Step::Read(a, b, max)),
        2 => Just(Step::Verify),
    ]
}

/// An engine that fails once a given number of writes were made.
#[derive(Debug)]
struct Faulty {
    inner: MemoryBackend,
    writes_left: AtomicUsize,
}

const NEVER: usize = usize::MAX;

impl Faulty {
    fn over(inner: MemoryBackend) -> Arc<Faulty> {
        Faulty::after(inner, NEVER)
    }

    fn after(inner: MemoryBackend, writes_left: usize) -> Arc<Faulty> {
        Arc::new(Faulty { inner, writes_left: AtomicUsize::new(writes_left) })
    }

    fn write(&self) -> Result<(), StorageError> {
        match self.writes_left.load(Ordering::Relaxed) {
            NEVER => Ok(()),
            0 => Err(StorageError::Engine("the planned failure".into())),
            left => {
                self.writes_left.store(left - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

impl Backend for Faulty {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.inner.get(tree, key)
    }
    fn at_or_before(&self, tree: Tree, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StorageError> {
        self.inner.at_or_before(tree, key)
    }
    fn scan(&self, tree: Tree, from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        self.inner.scan(tree, from, visit)
    }
    fn commit(&self, batch: &Batch) -> Result<(), StorageError> {
        self.write()?;
        self.inner.commit(batch)
    }
    fn put_row(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<Option<usize>, StorageError> {
        self.write()?;
        self.inner.put_row(tree, key, value)
    }
    fn remove_row(&self, tree: Tree, key: &[u8]) -> Result<Option<usize>, StorageError> {
        self.write()?;
        self.inner.remove_row(tree, key)
    }
    fn clear(&self, tree: Tree) -> Result<(), StorageError> {
        self.write()?;
        self.inner.clear(tree)
    }
    fn sync(&self) -> Result<(), StorageError> {
        self.write()?;
        self.inner.sync()
    }
    fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.inner.size_on_disk()
    }
}

#[derive(Debug)]
enum Engine {
    Memory(Arc<Faulty>),
    Disk(EngineKind, Arc<dyn Backend>, TempDir),
}

impl Engine {
    fn on_disk(kind: EngineKind) -> Engine {
        let folder = tempfile::tempdir().unwrap();
        Engine::Disk(kind, kind.open(folder.path()).unwrap(), folder)
    }

    /// An empty one of the same kind, which fails after so many writes if it can.
    fn fresh(&self, writes: Option<u8>) -> Engine {
        match self {
            Engine::Memory(_) => {
                let writes = writes.map_or(NEVER, usize::from);
                Engine::Memory(Faulty::after(MemoryBackend::crashable(), writes))
            }
            Engine::Disk(kind, ..) => Engine::on_disk(*kind),
        }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        match self {
            Engine::Memory(faulty) => faulty.clone(),
            Engine::Disk(_, backend, _) => backend.clone(),
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Everything that was ever appended, and where the log stood.
#[derive(Debug, Clone, Default)]
struct Model {
    entries: BTreeMap<Revision, HistoryEntry>,
    /// Revision, compact revision and leases after each entry of the log, from index 0.
    after: Vec<(i64, i64, BTreeSet<i64>)>,
}

type Visible = BTreeMap<Bytes, Vec<(Revision, EntryKind)>>;

impl Model {
    fn fresh() -> Model {
        Model { entries: BTreeMap::new(), after: vec![(1, 0, BTreeSet::new())] }
    }

    fn applied(&self) -> u64 {
        u64::try_from(self.after.len() - 1).unwrap()
    }

    fn revision(&self) -> i64 {
        self.after.last().unwrap().0
    }

    fn compact(&self) -> i64 {
        self.after.last().unwrap().1
    }

    fn cut_to(&mut self, applied: u64) {
        self.after.truncate(usize::try_from(applied).unwrap() + 1);
        let revision = self.revision();
        self.entries.retain(|at, _| at.main <= revision);
    }

    fn latest(&self, key: &[u8]) -> Option<&HistoryEntry> {
        self.entries.values().rev().find(|entry| entry.kv.key == key)
    }

    /// Whether a read at or above the compact revision can see an entry.
    fn is_visible(&self, revision: Revision, key: &[u8]) -> bool {
        let compact = self.compact();
        if revision.main >= compact {
            return true;
        }
        let end = Revision::first_of(compact + 1);
        let mut later = self.entries.range(..end).rev().filter(|(_, entry)| entry.kv.key == key);
        later.next().is_some_and(|(at, entry)| *at == revision && entry.kind == EntryKind::Put)
    }

    /// All that is visible, by key. (A delete at the compact revision itself counts.)
    fn visible(&self) -> Visible {
        let mut visible = Visible::new();
        for (revision, entry) in &self.entries {
            if self.is_visible(*revision, &entry.kv.key) {
                visible.entry(entry.kv.key.clone()).or_default().push((*revision, entry.kind));
            }
        }
        visible
    }
}

struct World {
    engine: Engine,
    /// What the engine is being copied into.
    target: Option<Engine>,
    export: Option<(Export, Vec<Bytes>)>,
    history: Option<Arc<History>>,
    model: Model,
    reported: u64,
    kept: u8,
}

fn options() -> HistoryOptions {
    HistoryOptions {
        block_bytes: 600,
        batch_bytes_max: 900,
        applied_lag_entries_max: 3,
        fold_bytes_max: 2000,
        rebuild_images: false,
        start_from: StartFrom::Images,
    }
}

impl World {
    fn open(engine: Engine) -> World {
        let (history, _) = History::open(engine.backend(), options()).unwrap();
        let (model, history) = (Model::fresh(), Some(history));
        World { engine, target: None, export: None, history, model, reported: 0, kept: 0 }
    }

    fn history(&self) -> &History {
        self.history.as_ref().unwrap()
    }

    fn run(&mut self, step: &Step) {
        let outcome = match step {
            Step::Write(changes) => {
                self.write(changes);
                Ok(())
            }
            Step::Grant(id) => {
                self.lease(*id, true);
                Ok(())
            }
            Step::Revoke(id) => {
                self.lease(*id, false);
                Ok(())
            }
            Step::Compact(percent) => {
                self.compact(*percent);
                Ok(())
            }
            Step::Flush => self.flush(),
            Step::Fold(keys) => self.history().fold_step(usize::from(*keys)).map(|_| ()),
            Step::RemoveBlocks(blocks) => self.remove_blocks(usize::from(*blocks)),
            Step::CrashAfter(writes, kept) => {
                self.kept = *kept;
                if let Engine::Memory(faulty) = &self.engine {
                    faulty.writes_left.store(usize::from(*writes), Ordering::Relaxed);
                }
                Ok(())
            }
            Step::Crash(kept) => {
                self.crash(*kept);
                Ok(())
            }
            Step::Export(bytes) => self.export(usize::from(*bytes)),
            Step::Defragment(bytes, writes) => self.defragment(usize::from(*bytes), *writes),
            Step::Read(from, to, max) => {
                self.read(*from, *to, usize::from(*max));
                Ok(())
            }
            Step::Verify => {
                self.verify();
                Ok(())
            }
        };
        if let Err(error) = outcome {
            assert!(error.to_string().contains("planned"), "{error}");
            self.crash(self.kept);
        }
    }

    fn append(&mut self, changes: Changes, state: (i64, i64, BTreeSet<i64>)) {
        self.model.after.push(state);
        for entry in &changes.history {
            self.model.entries.insert(entry.revision, entry.clone());
        }
        self.history().append(changes);
    }

    fn changes(&self) -> Changes {
        Changes { index: self.model.applied() + 1, term: 1, ..Changes::default() }
    }

    fn write(&mut self, wanted: &[(u8, Option<u16>)]) {
        let (mut history, mut seen) = (Vec::new(), BTreeSet::new());
        let main = self.model.revision() + 1;
        for (key, value_len) in wanted.iter().filter(|(key, _)| seen.insert(*key)) {
            let key = Bytes::from(format!("key {key}"));
            let latest = self.model.latest(&key).filter(|latest| latest.kind == EntryKind::Put);
            let sub = i64::try_from(history.len()).unwrap();
            let revision = Revision { main, sub };
            let (kind, kv) = match (value_len, latest) {
                (None, None) => continue,
                (None, Some(_)) => {
                    (EntryKind::Delete, KeyValue { key, mod_revision: main, ..KeyValue::default() })
                }
                (Some(len), latest) => {
                    let value =
                        Bytes::from(vec![u8::try_from(main % 251).unwrap(); usize::from(*len)]);
                    let create_revision = latest.map_or(main, |latest| latest.kv.create_revision);
                    let version = latest.map_or(1, |latest| latest.kv.version + 1);
                    let kv = KeyValue {
                        key,
                        value,
                        create_revision,
                        version,
                        mod_revision: main,
                        lease: 0,
                    };
                    (EntryKind::Put, kv)
                }
            };
            history.push(HistoryEntry { revision, kind, kv: Arc::new(kv) });
        }
        let (revision, compact, leases) = self.model.after.last().unwrap().clone();
        let revision = if history.is_empty() { revision } else { main };
        self.append(Changes { history, ..self.changes() }, (revision, compact, leases));
    }

    fn lease(&mut self, id: u8, is_grant: bool) {
        let (revision, compact, mut leases) = self.model.after.last().unwrap().clone();
        let id = i64::from(id);
        let change = if is_grant {
            leases.insert(id);
            LeaseChange::Put(Lease { id, ttl: 5, remaining_ttl: 0 })
        } else {
            leases.remove(&id);
            LeaseChange::Delete(id)
        };
        let changes = Changes { leases: vec![change], ..self.changes() };
        self.append(changes, (revision, compact, leases));
    }

    fn compact(&mut self, percent: u8) {
        let (revision, compact, leases) = self.model.after.last().unwrap().clone();
        let target = compact + (revision - compact) * i64::from(percent) / 100;
        let change = MetaChange::CompactRevision(target);
        let changes = Changes { meta: vec![change], ..self.changes() };
        self.append(changes, (revision, target.max(compact), leases));
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        let flushed = self.history().flush()?;
        assert!(flushed.durable.applied_index >= self.reported);
        assert!(flushed.durable.applied_index + 3 > self.model.applied());
        self.reported = flushed.durable.applied_index;
        Ok(())
    }

    fn remove_blocks(&mut self, blocks: usize) -> Result<(), StorageError> {
        let model = &self.model;
        let keep = |revision: &Revision, key: &[u8]| model.is_visible(*revision, key);
        let compact = model.compact();
        let progress = self.history().compact_step(compact, &keep, blocks)?;
        if compact > 0 && (self.target.is_some() || self.export.is_some()) {
            assert!(matches!(progress, CompactProgress::Idle | CompactProgress::Pinned));
        } else if compact > 0 && self.history().durable().compact_revision < compact {
            assert!(matches!(progress, CompactProgress::FlushFirst), "{progress:?}");
        }
        Ok(())
    }

    fn defragment(&mut self, bytes: usize, writes: Option<u8>) -> Result<(), StorageError> {
        if self.target.is_none() {
            let target = self.engine.fresh(writes);
            self.history().begin_defragment(target.backend())?;
            self.target = Some(target);
        }
        let mut is_switched = false;
        let progress = self.history().defragment_step(bytes, || {
            is_switched = true;
            Ok(())
        })?;
        assert_eq!(matches!(progress, DefragmentProgress::Done), is_switched);
        match progress {
            DefragmentProgress::Done => {
                self.engine = self.target.take().unwrap();
                if let Engine::Memory(faulty) = &self.engine {
                    assert_eq!(faulty.inner.unsynced(), 0, "a copy takes over when it is durable");
                    faulty.writes_left.store(NEVER, Ordering::Relaxed);
                }
                self.verify();
            }
            DefragmentProgress::Failed(error) => {
                assert!(error.to_string().contains("planned"), "{error}");
                self.target = None;
            }
            DefragmentProgress::Busy => {}
            DefragmentProgress::Idle => panic!("one was begun"),
        }
        Ok(())
    }

    fn export(&mut self, bytes: usize) -> Result<(), StorageError> {
        let Some((export, chunks)) = &mut self.export else {
            self.export = Some((self.history().export()?, Vec::new()));
            return Ok(());
        };
        if let Some(chunk) = export.next_chunk(bytes)? {
            chunks.push(chunk);
            return Ok(());
        }
        let (export, chunks) = self.export.take().unwrap();
        let position = export.position();
        if position.applied_index > 0 {
            self.import(position.applied_index, &chunks);
        }
        Ok(())
    }

    /// What comes out at the other end is the model as it was, and a chunk that is missing is missed.
    fn import(&self, applied_index: u64, chunks: &[Bytes]) {
        let into = |chunks: &[Bytes]| {
            let engine = Engine::Memory(Faulty::over(MemoryBackend::crashable()));
            let mut import = Import::into(engine.backend());
            let added = chunks.iter().try_for_each(|chunk| import.add(chunk.clone()));
            added.and_then(|()| import.finish()).map(|_| engine)
        };
        let engine = into(chunks).unwrap();
        let mut model = self.model.clone();
        model.cut_to(applied_index);
        let mut there = World::open(engine);
        there.model = model;
        there.reported = applied_index;
        there.crash(0);
        there.finish();
        let missing = usize::try_from(applied_index).unwrap() % chunks.len();
        let mut less = chunks.to_vec();
        less.remove(missing);
        into(&less).unwrap_err();
    }

    fn crash(&mut self, kept_percent: u8) {
        self.history = None;
        self.target = None;
        self.export = None;
        match &mut self.engine {
            Engine::Memory(faulty) => {
                let kept = faulty.inner.unsynced() * usize::from(kept_percent) / 100;
                *faulty = Faulty::over(faulty.inner.after_crash(kept));
            }
            Engine::Disk(kind, backend, folder) => {
                // As after a kill: what the process had handed to the system, and no more.
                let copy = tempfile::tempdir().unwrap();
                copy_folder(folder.path(), copy.path());
                *backend = kind.open(copy.path()).unwrap();
                *folder = copy;
            }
        }
        self.verify();
        let (history, recovered) = History::open(self.engine.backend(), options()).unwrap();
        assert!(recovered.applied_index >= self.reported, "what was reported durable is there");
        self.model.cut_to(recovered.applied_index);
        self.check_recovered(&recovered);
        for start_from in [StartFrom::History, StartFrom::Shorter] {
            let options = HistoryOptions { start_from, ..options() };
            let (_, recovered) = History::open(self.engine.backend(), options).unwrap();
            self.check_recovered(&recovered);
        }
        self.reported = recovered.applied_index;
        self.history = Some(history);
        self.read_all();
    }

    fn check_recovered(&self, recovered: &Recovered) {
        let (revision, compact, leases) = self.model.after.last().unwrap();
        let found: BTreeSet<i64> = recovered.leases.iter().map(|lease| lease.id).collect();
        assert_eq!((recovered.revision, recovered.compact_revision), (*revision, *compact));
        assert_eq!(&found, leases);
        assert_eq!(self.replayed(recovered), self.model.visible());
    }

    /// What an index in memory holds after a start.
    fn replayed(&self, recovered: &Recovered) -> Visible {
        let mut index = Visible::new();
        let mut is_history = false;
        let mut visit = |replayed| match replayed {
            Replayed::Key(key) => {
                assert!(!is_history, "keys come first");
                let last = key.revisions.last().unwrap().0;
                if let Some(kv) = key.latest {
                    assert_eq!(self.model.entries[&last].kv, kv);
                }
                assert!(index.insert(key.key, key.revisions).is_none(), "each key once");
            }
            Replayed::Entry(entry) => {
                is_history = true;
                assert_eq!(Some(&entry), self.model.entries.get(&entry.revision));
                let revisions = index.entry(entry.kv.key.clone()).or_default();
                assert!(revisions.last().is_none_or(|last| last.0 < entry.revision));
                revisions.push((entry.revision, entry.kind));
            }
        };
        recovered.replay(&mut visit).unwrap();
        for revisions in index.values_mut() {
            compact_naively(revisions, self.model.compact());
        }
        index.retain(|_, revisions| !revisions.is_empty());
        index
    }

    fn read(&self, from: u8, to: u8, max_bytes: usize) {
        let at = |percent: u8| {
            let (low, high) = (self.model.compact(), self.model.revision());
            low + (high - low) * i64::from(percent) / 100
        };
        let (from, to) = (at(from.min(to)), at(from.max(to)));
        let scan = self.history().scan(from, to, max_bytes).unwrap();
        let range = Revision::first_of(from)..Revision::first_of(scan.next_main);
        let expected: Vec<HistoryEntry> =
            self.model.entries.range(range).map(|row| row.1.clone()).collect();
        assert_eq!(scan.entries, expected);
        assert!(scan.next_main > from || from > to, "a scan goes on");
        assert!(scan.next_main <= to + 1);
        let bytes = |entry: &HistoryEntry| entry.kv.key.len() + entry.kv.value.len();
        let last = scan.entries.last().map_or(0, |last| last.revision.main);
        let before_last = scan.entries.iter().filter(|entry| entry.revision.main < last);
        assert!(before_last.map(bytes).sum::<usize>() < max_bytes.max(1));
    }

    fn read_all(&self) {
        self.read(0, 100, usize::MAX);
        for (revision, entry) in &self.model.entries {
            if self.model.is_visible(*revision, &entry.kv.key) {
                let found = self.history().get(*revision, &entry.kv.key).unwrap();
                assert_eq!(found.as_ref(), Some(entry));
            }
        }
        let beyond = Revision::first_of(self.model.revision() + 1);
        assert_eq!(self.history().get(beyond, b"any").unwrap(), None);
    }

    fn verify(&self) {
        let report = verify(&self.engine.backend()).unwrap();
        assert!(report.is_sound(), "{report:#?}");
    }

    fn finish(&mut self) {
        self.read_all();
        self.run(&Step::Flush);
        self.export = None;
        while self.target.is_some() {
            self.run(&Step::Defragment(1000, None));
        }
        self.run(&Step::Crash(0));
        // Whatever was left behind, it can be brought to an end, and nothing changes by it.
        while self.history().fold_step(3).unwrap() != FoldProgress::Idle {}
        let model = self.model.clone();
        let keep = |revision: &Revision, key: &[u8]| model.is_visible(*revision, key);
        loop {
            match self.history().compact_step(model.compact(), &keep, 2).unwrap() {
                CompactProgress::Idle => break,
                CompactProgress::Busy { .. } | CompactProgress::Finished { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        self.read_all();
        self.run(&Step::Crash(100));
        // The images can be made anew from history alone.
        self.history = None;
        let options = HistoryOptions { rebuild_images: true, ..options() };
        let (history, recovered) = History::open(self.engine.backend(), options).unwrap();
        self.history = Some(history);
        self.check_recovered(&recovered);
        drop(recovered);
        while self.history().fold_step(100).unwrap() != FoldProgress::Idle {}
        self.run(&Step::Crash(100));
    }
}

fn compact_naively(revisions: &mut Vec<(Revision, EntryKind)>, compact: i64) {
    let newest = revisions.iter().rev().find(|(revision, _)| revision.main <= compact).copied();
    revisions.retain(|(revision, kind)| {
        revision.main >= compact
            || (newest.is_some_and(|newest| newest.0 == *revision) && *kind == EntryKind::Put)
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_history_is_the_model(steps in vec(step(), 1..120)) {
        let engine = Engine::Memory(Faulty::over(MemoryBackend::crashable()));
        let mut world = World::open(engine);
        for step in &steps {
            world.run(step);
        }
        world.finish();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sled_history_is_the_model(steps in vec(step(), 1..100)) {
        run_on_disk(EngineKind::Sled(SledOptions::default()), &steps);
    }

}

proptest! {
    // An open of fjall takes many syncs.
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fjall_history_is_the_model(steps in vec(step(), 1..100)) {
        run_on_disk(EngineKind::Fjall(FjallOptions::default()), &steps);
    }
}

fn run_on_disk(kind: EngineKind, steps: &[Step]) {
    let mut world = World::open(Engine::on_disk(kind));
    for step in steps {
        world.run(step);
    }
    world.finish();
}
