//! The sled engine. The only file that names sled.
//!
//! What is known of sled 0.34 and dealt with here:
//! - Its per-tree batches can be torn by a crash; its multi-tree transaction is not. So `commit` is
//!   always a transaction, and because that costs per entry, batches hold few, large entries.
//! - Its background flush is off: we say when.
//! - Its `flush` ends in `sync_file_range`, which syncs neither the file's length nor the disk's
//!   cache. `sync` does both after it. Nor does it sync its settings, without which nothing can be
//!   read: `open` does.
//! - A page larger than a quarter of a log segment becomes a file of its own, which it never syncs. If
//!   the log that names that file reaches the disk before it, and the power fails, the page is as it
//!   was before: a transaction is torn, in the middle. So no page may become that large: long values
//!   are cut in `pieces`.
//! - Each segment of its log begins with how far the log is on disk, so far as it knows: it does not wait
//!   for the disk's cache. If the power fails and that is not so, it does not open again, or gives a
//!   page as it was before. Within a transaction what it believes stays as it was at its begin. So every
//!   transaction that may end a segment begins and ends with all synced, and what is smaller is synced
//!   before it fills one ([`UNSYNCED_BYTES_MAX`]).
//! - Seven threads write its log, a segment at a time, and wait for a lock at the end of it. Who begins
//!   a segment holds that lock, and waits there for files that are being shortened; which those threads
//!   do too. With all of them waiting, nobody ever goes on (reproduced within seconds by delaying
//!   `sync_file_range` by some milliseconds while 40 MB are written and removed). So few segments are on
//!   their way between two syncs: the pieces of a very long value are written before what names them.
//! - It flushes when it is dropped, and may wait for ever then if an earlier write failed (seen with a
//!   full disk). So after a failure it is not dropped, and the member must stop: that ends its threads.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional};

use crate::planted::{Bug, is_planted};
use crate::storage::engine::unless_it_panics;
use crate::storage::error::StorageError;
use crate::storage::schema::Tree;
use crate::storage::{Backend, Batch, Visit};

mod pieces;

/// Bytes of a log segment. A page holds up to 16 entries, and some more until it is split, of which
/// none is longer than [`pieces::WHOLE_BYTES_MAX`] and its key.
const SEGMENT_BYTES: usize = 2 << 20;

/// What may be written or removed between two syncs, if it is not one transaction. The log gets about
/// three times as much (measured with values of 200 B to 200 kB), which is less than a segment.
const UNSYNCED_BYTES_MAX: usize = 512 << 10;

/// Pieces of a value that are written at once.
const PIECES_AT_ONCE_MAX: usize = UNSYNCED_BYTES_MAX / pieces::WHOLE_BYTES_MAX;

/// Of an entry, besides its value.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// The page cache unless the caller says otherwise. Reads of the hot path do not reach the engine,
/// so this is for catch-up and for values that memory has let go.
const CACHE_BYTES_DEFAULT: u64 = 64 << 20;

/// How to open a [`SledBackend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SledOptions {
    /// Bytes of sled's page cache.
    pub cache_bytes: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        SledOptions { cache_bytes: CACHE_BYTES_DEFAULT }
    }
}

/// The six trees in a sled database.
#[derive(Debug)]
pub struct SledBackend {
    /// Until it is dropped.
    engine: Option<Engine>,
    folder: PathBuf,
    file: File,
    has_failed: AtomicBool,
    /// Bytes written and removed since the last sync.
    unsynced_bytes: AtomicUsize,
    /// Held while pieces are written, shared while they are read.
    pieces_turn: RwLock<()>,
}

#[derive(Debug)]
struct Engine {
    trees: [sled::Tree; Tree::ALL.len()],
    /// What does not fit into the others.
    pieces: sled::Tree,
    database: sled::Db,
}

impl SledBackend {
    /// Opens or creates the database in `folder`. One process at a time: a second one gets
    /// [`StorageError::Locked`].
    pub fn open(folder: &Path, options: SledOptions) -> Result<SledBackend, StorageError> {
        let database = sled::Config::new()
            .path(folder)
            .cache_capacity(options.cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(None)
            .open()
            .map_err(|error| open_error(folder, error))?;
        let mut trees = Vec::with_capacity(Tree::ALL.len());
        for tree in Tree::ALL {
            trees.push(database.open_tree(tree.name()).map_err(engine)?);
        }
        let trees = trees.try_into().expect("one tree was opened for each");
        let pieces = database.open_tree(pieces::TREE).map_err(engine)?;
        let path = folder.join("db");
        let file = File::open(&path).map_err(|source| StorageError::Io { path, source })?;
        let folder = folder.to_path_buf();
        let engine = Some(Engine { trees, pieces, database });
        let backend = SledBackend {
            engine,
            folder,
            file,
            has_failed: AtomicBool::new(false),
            unsynced_bytes: AtomicUsize::new(0),
            pieces_turn: RwLock::new(()),
        };
        backend.sync()?;
        sync_file(&backend.folder.join("conf"))?;
        sync_file(&backend.folder)?;
        Ok(backend)
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("it is there until it is dropped")
    }

    fn tree(&self, tree: Tree) -> &sled::Tree {
        &self.engine().trees[tree.position()]
    }

    /// The value of which this stands under its key; `None` if it has gone meanwhile.
    fn whole(
        &self,
        tree: Tree,
        key: &[u8],
        first: sled::IVec,
    ) -> Result<Option<Bytes>, StorageError> {
        let corrupt = |reason: &str| StorageError::corrupt(tree, key, reason);
        let read = |first: &[u8]| {
            pieces::Head::read(first).ok_or_else(|| corrupt("its length is damaged"))
        };
        if read(&first)?.count == 0 {
            return Ok(Some(Bytes::from_owner(first).slice(pieces::HEAD_BYTES..)));
        }
        // It may have been replaced since; now nobody can.
        let _turn = self.pieces_turn.read();
        let Some(first) = self.tree(tree).get(key).map_err(engine)? else { return Ok(None) };
        let head = read(&first)?;
        let mut value = first[pieces::HEAD_BYTES..].to_vec();
        for number in 0..head.count {
            let piece = self.engine().pieces.get(pieces::key(tree, key, number)).map_err(engine)?;
            value.extend_from_slice(&piece.ok_or_else(|| corrupt("a piece of it is missing"))?);
        }
        if value.len() == head.bytes {
            Ok(Some(value.into()))
        } else {
            Err(corrupt("a piece of it is damaged"))
        }
    }

    /// What is under a key now: its head.
    fn head(&self, tree: Tree, key: &[u8]) -> Result<Option<pieces::Head>, StorageError> {
        let first = self.reading(|| self.tree(tree).get(key).map_err(engine))?;
        let damaged = || StorageError::corrupt(tree, key, "its length is damaged");
        first.map(|first| pieces::Head::read(&first).ok_or_else(damaged)).transpose()
    }

    /// Adds what is to be done so that a key has this value. Gives the head of the one before.
    fn replace(
        &self,
        batches: &mut Batches,
        tree: Tree,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Option<pieces::Head>, StorageError> {
        let before = self.head(tree, key)?;
        let (head, cut) = value.map(pieces::cut).unzip();
        let cut = cut.unwrap_or_default();
        let old = before.map_or(0, |head| head.count);
        if old == 0 && cut.len() > PIECES_AT_ONCE_MAX {
            self.write_ahead(tree, key, &cut)?;
        } else if old > 0 || !cut.is_empty() {
            let batch = batches.entry(None).or_default();
            (0..old).for_each(|number| batch.remove(pieces::key(tree, key, number)));
            for (number, piece) in (0..).zip(cut) {
                batch.insert(pieces::key(tree, key, number), piece);
            }
        }
        let batch = batches.entry(Some(tree)).or_default();
        match head {
            Some(first) => batch.insert(key, first),
            None => batch.remove(key),
        }
        Ok(before)
    }

    /// Writes the pieces of a value, a few at a time. Nobody sees them while the key says nothing of
    /// them; if it never will, since the power fails, whatever else comes there replaces them.
    fn write_ahead(&self, tree: Tree, key: &[u8], cut: &[&[u8]]) -> Result<(), StorageError> {
        let mut number = 0;
        for some in cut.chunks(PIECES_AT_ONCE_MAX) {
            let (mut batch, mut bytes) = (sled::Batch::default(), 0);
            for piece in some {
                batch.insert(pieces::key(tree, key, number), *piece);
                bytes += changed_bytes(key, Some(piece), None);
                number += 1;
            }
            self.make_room(bytes)?;
            self.engine().pieces.apply_batch(batch).map_err(|error| self.failed(error))?;
            self.changed(bytes)?;
        }
        Ok(())
    }

    fn transact(&self, batches: &Batches) -> Result<(), StorageError> {
        if batches.is_empty() {
            return Ok(());
        }
        let _turn = batches.contains_key(&None).then(|| self.pieces_turn.write());
        let tree = |tree: &Option<Tree>| tree.map_or(&self.engine().pieces, |tree| self.tree(tree));
        let trees: Vec<&sled::Tree> = batches.keys().map(tree).collect();
        let committed = trees[..].transaction(|views| {
            for (view, batch) in views.iter().zip(batches.values()) {
                view.apply_batch(batch)?;
            }
            Ok::<(), ConflictableTransactionError<()>>(())
        });
        committed.map_err(|error| match error {
            TransactionError::Storage(error) => self.failed(error),
            TransactionError::Abort(()) => unreachable!("the transaction never aborts itself"),
        })
    }

    fn set_row(
        &self,
        tree: Tree,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Option<usize>, StorageError> {
        let mut batches = Batches::new();
        let before = self.replace(&mut batches, tree, key, value)?;
        let bytes = changed_bytes(key, value, before);
        self.make_room(bytes)?;
        if batches.len() > 1 {
            self.transact(&batches)?;
        } else if let Some(batch) = batches.remove(&Some(tree)) {
            self.tree(tree).apply_batch(batch).map_err(|error| self.failed(error))?;
        }
        self.changed(bytes)?;
        Ok(before.map(|head| head.bytes))
    }

    /// So many bytes are about to be written or removed.
    fn make_room(&self, bytes: usize) -> Result<(), StorageError> {
        let unsynced = self.unsynced_bytes.load(Ordering::Relaxed);
        let is_full = unsynced > 0 && unsynced + bytes >= UNSYNCED_BYTES_MAX;
        if is_full { self.sync() } else { Ok(()) }
    }

    /// So many bytes were written or removed.
    fn changed(&self, bytes: usize) -> Result<(), StorageError> {
        let unsynced = self.unsynced_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unsynced >= UNSYNCED_BYTES_MAX { self.sync() } else { Ok(()) }
    }

    /// Reads. Where a page does not lead to the next one sled panics: that is an error that says where.
    fn reading<T>(
        &self,
        read: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        unless_it_panics(read).unwrap_or_else(|text| {
            // Nobody knows what it holds now.
            self.has_failed.store(true, Ordering::Relaxed);
            let (path, reason) =
                (self.folder.clone(), format!("sled gave up on reading it: {text}"));
            Err(StorageError::Damaged { path, reason })
        })
    }

    /// A write failed.
    fn failed(&self, error: sled::Error) -> StorageError {
        self.has_failed.store(true, Ordering::Relaxed);
        engine(error)
    }
}

/// What is to be done to each tree; none is the one of the pieces.
type Batches = BTreeMap<Option<Tree>, sled::Batch>;

/// Bytes of an entry that is written, and of the one before it.
fn changed_bytes(key: &[u8], value: Option<&[u8]>, before: Option<pieces::Head>) -> usize {
    let new = value.map_or(0, <[u8]>::len);
    let old = before.map_or(0, |head| head.bytes);
    key.len() + new + old + ENTRY_OVERHEAD_BYTES
}

fn engine(error: sled::Error) -> StorageError {
    StorageError::Engine(Box::new(error))
}

fn open_error(folder: &Path, error: sled::Error) -> StorageError {
    // sled has no error kind for a lock that is held.
    if error.to_string().contains("could not acquire lock") {
        return StorageError::Locked { path: folder.to_path_buf() };
    }
    match error {
        sled::Error::Io(source) => StorageError::Io { path: folder.to_path_buf(), source },
        other => engine(other),
    }
}

fn sync_file(path: &Path) -> Result<(), StorageError> {
    let sync = File::open(path).and_then(|file| file.sync_all());
    sync.map_err(|source| StorageError::Io { path: path.to_path_buf(), source })
}

impl Backend for SledBackend {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.reading(|| {
            let value = self.tree(tree).get(key).map_err(engine)?;
            value.map_or(Ok(None), |value| self.whole(tree, key, value))
        })
    }

    fn at_or_before(&self, tree: Tree, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, StorageError> {
        loop {
            let last = || self.tree(tree).range(..=key).next_back().transpose().map_err(engine);
            let Some((key, value)) = self.reading(last)? else { return Ok(None) };
            if let Some(value) = self.reading(|| self.whole(tree, &key, value))? {
                return Ok(Some((Bytes::from_owner(key), value)));
            }
        }
    }

    fn scan(&self, tree: Tree, from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let mut entries = self.tree(tree).range(from..);
        while let Some((key, value)) =
            self.reading(|| entries.next().transpose().map_err(engine))?
        {
            let Some(value) = self.reading(|| self.whole(tree, &key, value))? else { continue };
            if let ControlFlow::Break(()) = visit(&key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<(), StorageError> {
        let (mut batches, mut bytes) = (Batches::new(), 0);
        for write in &batch.writes {
            let (tree, key, value) = (write.tree, &write.key[..], write.value.as_deref());
            let before = self.replace(&mut batches, tree, key, value)?;
            bytes += changed_bytes(key, value, before);
        }
        self.make_room(bytes)?;
        self.transact(&batches)?;
        self.changed(bytes)
    }

    fn put_row(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<Option<usize>, StorageError> {
        self.set_row(tree, key, Some(value))
    }

    fn remove_row(&self, tree: Tree, key: &[u8]) -> Result<Option<usize>, StorageError> {
        self.set_row(tree, key, None)
    }

    fn clear(&self, tree: Tree) -> Result<(), StorageError> {
        let all = self.tree(tree).iter().map(|entry| (self.tree(tree), entry));
        let pieces = &self.engine().pieces;
        let cut = pieces.scan_prefix(pieces::prefix(tree)).map(|entry| (pieces, entry));
        for (tree, entry) in all.chain(cut) {
            let (key, value) = entry.map_err(engine)?;
            tree.remove(&key).map_err(|error| self.failed(error))?;
            self.changed(key.len() + value.len() + ENTRY_OVERHEAD_BYTES)?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.engine().database.flush().map_err(|error| self.failed(error))?;
        self.unsynced_bytes.store(0, Ordering::Relaxed);
        if is_planted(Bug::EngineNotSynced) {
            return Ok(());
        }
        let sync = self.file.sync_data();
        sync.map_err(|source| StorageError::Io { path: self.folder.join("db"), source })
    }

    fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.engine().database.size_on_disk().map_err(engine)
    }

    fn closes(&self) -> bool {
        !self.has_failed.load(Ordering::Relaxed)
    }
}

impl Drop for SledBackend {
    /// Returns when the folder can be opened again.
    fn drop(&mut self) {
        let engine = self.engine.take();
        if !self.closes() {
            std::mem::forget(engine);
            return;
        }
        drop(engine);
        // Its threads may hold its files for a moment more, and with them its lock.
        self.file.lock().ok();
    }
}

#[cfg(test)]
impl SledBackend {
    /// From now on as after a write that failed.
    pub(crate) fn fail(&self) {
        self.failed(sled::Error::ReportableBug("not a real one".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    type Verb<'a> = &'a dyn Fn() -> Result<(), StorageError>;

    /// Seen after one bit of its file was flipped, at a start, which did not say what was damaged.
    #[test]
    fn a_panic_of_sled_is_damage_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let backend = SledBackend::open(folder.path(), SledOptions::default()).unwrap();
        assert!(backend.closes());
        let error = backend.reading(|| -> Result<(), _> { panic!("cannot find pid {}", 7) });
        let (error, folder) = (error.unwrap_err().to_string(), folder.path().display());
        assert_eq!(error, format!("{folder}: sled gave up on reading it: cannot find pid 7"));
        assert!(!backend.closes(), "it is left alone");
    }

    #[test]
    fn it_is_synced_before_much_waits() {
        let folder = tempfile::tempdir().unwrap();
        let backend = SledBackend::open(folder.path(), SledOptions::default()).unwrap();
        let (value, none) = (vec![7; 300_000], Vec::new());
        let batch = |value: Option<&Vec<u8>>| {
            let mut batch = Batch::default();
            match value {
                Some(value) => batch.put_sealed(Tree::Lease, b"b", value.clone()),
                None => batch.remove(Tree::Lease, b"b"),
            }
            batch
        };
        let put = |value| backend.put_row(Tree::Kv, b"a", value).map(drop);
        // What happens, and how many bytes change.
        let verbs: [(Verb<'_>, usize); 9] = [
            (&|| put(&value), 300_000),
            (&|| put(&none), 300_000),
            (&|| put(&value), 300_000),
            (&|| put(&value), 600_000),
            (&|| backend.remove_row(Tree::Kv, b"a").map(drop), 300_000),
            (&|| backend.commit(&batch(Some(&value))), 300_000),
            (&|| backend.commit(&batch(Some(&value))), 600_000),
            (&|| backend.clear(Tree::Lease), 300_000),
            (&|| backend.commit(&batch(None)), 0),
        ];
        let unsynced = || backend.unsynced_bytes.load(Ordering::Relaxed);
        let mut syncs = 0;
        for _ in 0..10 {
            for (verb, bytes) in &verbs {
                let fits = unsynced() + bytes < UNSYNCED_BYTES_MAX;
                let mut expected = if fits { unsynced() + bytes } else { *bytes };
                verb().unwrap();
                if expected >= UNSYNCED_BYTES_MAX {
                    expected = 0;
                }
                syncs += usize::from(!fits);
                // Keys and overhead come on top.
                let all = expected..expected + 2_000;
                assert!(all.contains(&unsynced()), "{} not in {all:?}", unsynced());
            }
        }
        assert!(syncs > 10);
        put(&value).unwrap();
        backend.sync().unwrap();
        assert_eq!(unsynced(), 0);
    }

    #[test]
    fn pieces_that_are_written_ahead_are_nothing_before_their_head_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let backend = SledBackend::open(folder.path(), SledOptions::default()).unwrap();
        let seen = |backend: &SledBackend| {
            let mut rows = Vec::new();
            let visit = &mut |key: &[u8], value: Bytes| {
                rows.push((key.to_vec(), value));
                Ok(ControlFlow::Continue(()))
            };
            backend.scan(Tree::KvRev, &[], visit).unwrap();
            rows
        };
        let long = vec![7; 8 << 20];
        let (_, cut) = pieces::cut(&long);
        backend.write_ahead(Tree::KvRev, b"a", &cut[..100]).unwrap();
        assert_eq!(backend.get(Tree::KvRev, b"a").unwrap(), None);
        assert!(seen(&backend).is_empty());
        // The power fails here, and something else comes to the key.
        drop(backend);
        let backend = SledBackend::open(folder.path(), SledOptions::default()).unwrap();
        assert!(seen(&backend).is_empty());
        for value in [vec![1; 50_000], long, vec![2; 3 << 20]] {
            let mut batch = Batch::default();
            batch.put_sealed(Tree::KvRev, b"a", value.clone());
            backend.commit(&batch).unwrap();
            assert_eq!(seen(&backend), [(b"a".to_vec(), Bytes::from(value))]);
        }
        backend.clear(Tree::KvRev).unwrap();
        assert_eq!(backend.engine().pieces.len(), 0, "no piece is left behind");
    }

    #[test]
    fn nothing_becomes_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let backend = SledBackend::open(folder.path(), SledOptions::default()).unwrap();
        for number in 0..100_u8 {
            let mut batch = Batch::default();
            batch.put(Tree::KvRev, &[number], vec![number; 300_000]);
            batch.put(Tree::Meta, b"large", vec![number; 3 << 20]);
            backend.commit(&batch).unwrap();
            backend.put_row(Tree::Kv, &[number], &vec![number; 20_000]).unwrap();
            backend.put_row(Tree::Index, &[number], &vec![number; 500_000]).unwrap();
        }
        backend.sync().unwrap();
        assert_eq!(fs::read_dir(folder.path().join("blobs")).unwrap().count(), 0);
        assert_eq!(backend.put_row(Tree::Index, &[1], &[]).unwrap(), Some(500_000));
        assert_eq!(backend.remove_row(Tree::Kv, &[1]).unwrap(), Some(20_000));
        for tree in [Tree::KvRev, Tree::Meta, Tree::Kv, Tree::Index] {
            backend.clear(tree).unwrap();
        }
        assert_eq!(backend.engine().pieces.len(), 0, "no piece is left behind");
    }
}
