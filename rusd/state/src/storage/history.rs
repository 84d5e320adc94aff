//! The history of the store: every revision of every key, readable from the moment it is applied.
//!
//! Shared between the applier (`append`), readers (`get`, `scan`, `pin`) and one flusher thread
//! (`flush`, `fold_step`, `compact_step`); it has no thread and no clock of its own. The flusher's
//! three verbs exclude each other.
//!
//! Order that callers keep: a compact revision is appended *before* the index in memory drops what
//! it made unreachable, so that nothing is removed from disk for a compaction that a crash could
//! undo.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::mvcc::revision::Revision;
use crate::storage::blocks::{self, ReadBlock};
use crate::storage::change::{Changes, HistoryEntry};
use crate::storage::compaction::{CompactProgress, Compaction};
use crate::storage::defragment::{CopyError, DefragmentProgress, Defragmentation};
use crate::storage::error::StorageError;
use crate::storage::export::Export;
use crate::storage::fold::{Fold, FoldProgress};
use crate::storage::keycode;
use crate::storage::pins::{Pin, Pins};
use crate::storage::recovery::{self, Recovered};
use crate::storage::schema::Tree;
use crate::storage::sequence::Sequence;
use crate::storage::tally::{Kept, Tally};
use crate::storage::write_behind::Buffers;
use crate::storage::{BATCH_BYTES_MAX, Backend};

pub use crate::storage::write_behind::Position as Durable;

/// Sizes and intervals of a [`History`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Size at which a block of history is closed.
    pub block_bytes: usize,
    /// Size at which changes that wait for the engine become a batch of their own.
    pub batch_bytes_max: usize,
    /// How far the applied index may move without any other change before a flush writes it.
    pub applied_lag_entries_max: u64,
    /// History that one pass of the fold takes into memory.
    pub fold_bytes_max: usize,
    /// Forget the images and make them anew.
    pub rebuild_images: bool,
    /// What a start reads keys from.
    pub start_from: StartFrom,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        HistoryOptions {
            block_bytes: 16 << 10,
            batch_bytes_max: BATCH_BYTES_MAX,
            applied_lag_entries_max: 1000,
            fold_bytes_max: 64 << 20,
            rebuild_images: false,
            start_from: StartFrom::Shorter,
        }
    }
}

/// What a start reads keys from. Both ways lead to the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// The images, then the history after them; unless the whole history is short.
    Shorter,
    /// The images, then the history after them.
    Images,
    /// The whole history. The images are left alone.
    History,
}

/// All revisions of all keys, over an engine.
#[derive(Debug)]
pub struct History {
    backend: RwLock<Arc<dyn Backend>>,
    options: HistoryOptions,
    buffers: RwLock<Buffers>,
    pending_bytes: AtomicUsize,
    bytes_in_use: AtomicI64,
    durable: Mutex<Durable>,
    background: Mutex<Background>,
    pins: Arc<Pins>,
}

/// What only the flusher thread touches.
#[derive(Debug)]
struct Background {
    fold: Fold,
    compaction: Compaction,
    /// What the engine's history holds.
    history: Tally,
    defragmentation: Option<Defragmentation>,
}

impl Background {
    fn bytes_in_use(&self) -> i64 {
        self.history.bytes + self.fold.image_bytes()
    }
}

/// What a flush did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// What is durable now.
    pub durable: Durable,
    /// Bytes given to the engine; 0 if there was nothing worth a sync.
    pub bytes: usize,
}

/// Part of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// Whole main revisions, ascending.
    pub entries: Vec<HistoryEntry>,
    /// Where to go on; past the end of what was asked for when the scan is complete.
    pub next_main: i64,
}

impl History {
    /// Opens the history that is in `backend`, empty if there is none, and tells what the rest of
    /// the state machine needs to start from.
    pub fn open(
        backend: Arc<dyn Backend>,
        options: HistoryOptions,
    ) -> Result<(Arc<History>, Recovered), StorageError> {
        let recovered = recovery::open(&backend, options)?;
        let durable = recovered.position();
        let fold = Fold::at(recovered.fold_revision, recovered.images, options.fold_bytes_max);
        let compaction = Compaction::after(recovered.compacted_revision);
        let history = recovered.history;
        let background = Background { fold, compaction, history, defragmentation: None };
        let history = History {
            backend: RwLock::new(backend),
            options,
            buffers: RwLock::new(Buffers::at(durable, options.batch_bytes_max)),
            pending_bytes: AtomicUsize::new(0),
            bytes_in_use: AtomicI64::new(background.bytes_in_use()),
            durable: Mutex::new(durable),
            background: Mutex::new(background),
            pins: Arc::default(),
        };
        Ok((Arc::new(history), recovered))
    }

    /// Takes what one applied log entry changed. Called for every entry, in log order.
    pub fn append(&self, changes: Changes) {
        let mut buffers = self.buffers.write();
        let bytes = buffers.push(changes);
        // Under the lock, so that a flush never takes off what was not counted yet.
        self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that wait for a flush.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// What stands in the engine for good. The log may be cut up to its applied index.
    pub fn durable(&self) -> Durable {
        *self.durable.lock()
    }

    /// Where the last appended change led.
    pub fn appended(&self) -> Durable {
        self.buffers.read().position()
    }

    /// Bytes that the engine's rows take, the small records left out. Its files are larger.
    pub fn bytes_in_use(&self) -> u64 {
        u64::try_from(self.bytes_in_use.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// The engine. It may be another one the next time. Of what was flushed it has all: who looks
    /// into the buffers and the engine looks into the buffers first.
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend.read())
    }

    /// The entry of one revision, which is one of `key`; `None` if there is none, or none any more.
    pub fn get(
        &self,
        revision: Revision,
        key: &[u8],
    ) -> Result<Option<HistoryEntry>, StorageError> {
        let buffered = self.buffers.read().entry(revision);
        let entry = match buffered {
            Some(entry) => Some(entry),
            None => match ReadBlock::find(&*self.backend(), revision.main)? {
                Some(block) => block.entry(revision)?.map(|raw| raw.to_history()).transpose()?,
                None => None,
            },
        };
        match entry {
            Some(entry) if entry.kv.key != key => {
                let reason = format!(
                    "operation {} changed \"{}\", not \"{}\"",
                    revision.sub,
                    entry.kv.key.escape_ascii(),
                    key.escape_ascii()
                );
                let key = keycode::main_key(revision.main);
                Err(StorageError::corrupt(Tree::KvRev, &key, reason))
            }
            entry => Ok(entry),
        }
    }

    /// Entries of the main revisions `from_main..=to_main`, as far as they are appended: whole
    /// revisions, at least one if there is one, and no more of them once `max_bytes` of keys and
    /// values are reached. An error if a revision is missing that is not compacted.
    pub fn scan(
        &self,
        from_main: i64,
        to_main: i64,
        max_bytes: usize,
    ) -> Result<Scan, StorageError> {
        let to = to_main.min(self.appended().revision);
        let mut collector = Collector::new(from_main.max(0), to, max_bytes);
        while !collector.is_done() {
            // What is buffered now may have gone to the engine when we come to it: look each time.
            if let Some(engine_to) = self.collect_buffered(&mut collector)? {
                self.collect_engine(&mut collector, engine_to)?;
            }
        }
        let scan = Scan { entries: collector.entries, next_main: collector.next };
        self.must_be_whole(from_main, to.min(scan.next_main - 1), &scan.entries)?;
        Ok(scan)
    }

    /// Entries of the main revisions `from..=to` are all that are not compacted.
    fn must_be_whole(
        &self,
        from: i64,
        to: i64,
        entries: &[HistoryEntry],
    ) -> Result<(), StorageError> {
        if from > to {
            return Ok(());
        }
        // As it is now: while they were read there may have been a compaction.
        let mut sequence = Sequence::of(Durable { revision: to, ..self.appended() }, from);
        entries.iter().try_for_each(|entry| sequence.take(entry.revision))?;
        sequence.end()
    }

    /// Takes what is buffered, if that comes next; otherwise says how far the engine has all.
    fn collect_buffered(&self, collector: &mut Collector) -> Result<Option<i64>, StorageError> {
        let buffers = self.buffers.read();
        match buffers.main_first() {
            None => Ok(Some(i64::MAX)),
            Some(first) if first > collector.next => Ok(Some(first - 1)),
            Some(_) => {
                let entries = buffers.entries_from(collector.next).cloned().map(Ok);
                if let ControlFlow::Continue(()) = collector.take(entries)? {
                    collector.finish(i64::MAX);
                }
                Ok(None)
            }
        }
    }

    fn collect_engine(&self, collector: &mut Collector, to: i64) -> Result<(), StorageError> {
        let (from, to) = (collector.next, to.min(collector.to));
        let mut visit = |key: &[u8], value| {
            let block = ReadBlock::open(key, &value)?;
            if block.main > to {
                return Ok(ControlFlow::Break(()));
            }
            let wanted = |entry: &Result<HistoryEntry, StorageError>| {
                entry.as_ref().map_or(true, |entry| (from..=to).contains(&entry.revision.main))
            };
            let entries = block.entries().map(|entry| entry?.to_history());
            collector.take(entries.filter(wanted))
        };
        blocks::scan_from(&*self.backend(), from, &mut visit)?;
        if !collector.is_full {
            collector.finish(to);
        }
        Ok(())
    }

    /// Writes everything that was appended to the engine and syncs it. Flusher thread only.
    ///
    /// After an error the member must stop: nothing was dropped, but nothing more becomes durable.
    pub fn flush(&self) -> Result<Flushed, StorageError> {
        let mut background = self.background.lock();
        let durable = self.durable();
        let flushing = {
            let mut buffers = self.buffers.write();
            let lag = buffers.position().applied_index - durable.applied_index;
            if buffers.is_empty() && lag < self.options.applied_lag_entries_max {
                return Ok(Flushed { durable, bytes: 0 });
            }
            buffers.begin_flush()
        };
        let backend = self.backend();
        let (mut history, mut bytes) = (background.history, 0);
        for buffer in &flushing {
            rusd_failpoint::hit("beforeCommit");
            rusd_failpoint::io("engineCommitError").map_err(StorageError::of_engine)?;
            let mut batch = buffer.pack(self.options.block_bytes);
            history += Tally { count: buffer.entries(), bytes: batch.put_bytes(Tree::KvRev) };
            history.put(Kept::History, &mut batch);
            backend.commit(&batch)?;
            bytes += batch.len_bytes();
        }
        backend.sync()?;
        rusd_failpoint::hit("afterCommit");
        background.history = history;
        self.note_size(&background);
        let durable = flushing.last().map_or(durable, |buffer| buffer.position);
        *self.durable.lock() = durable;
        self.buffers.write().end_flush(flushing.len());
        let dropped: usize = flushing.iter().map(|buffer| buffer.bytes).sum();
        self.pending_bytes.fetch_sub(dropped, Ordering::Relaxed);
        Ok(Flushed { durable, bytes })
    }

    /// Brings the images `kv` and `index` nearer to what is durable, touching about `keys_max` keys.
    /// Flusher thread only, when there is nothing better to do.
    pub fn fold_step(&self, keys_max: usize) -> Result<FoldProgress, StorageError> {
        let mut background = self.background.lock();
        if background.defragmentation.is_some() {
            return Ok(FoldProgress::Idle);
        }
        let progress = background.fold.step(&*self.backend(), self.durable(), keys_max)?;
        self.note_size(&background);
        Ok(progress)
    }

    /// The images are complete up to this revision; 0 if there are none.
    pub fn fold_revision(&self) -> i64 {
        self.background.lock().fold.revision()
    }

    /// Removes history that cannot be read any more, looking at no more than `blocks_max` blocks, nor at
    /// much more than what fits into a batch.
    /// The index in memory is compacted up to `upto`; `keep` says of an entry below that whether the
    /// index still has it. Flusher thread only, between flushes.
    pub fn compact_step(
        &self,
        upto: i64,
        keep: &dyn Fn(&Revision, &[u8]) -> bool,
        blocks_max: usize,
    ) -> Result<CompactProgress, StorageError> {
        let mut background = self.background.lock();
        let fold_revision = background.fold.revision();
        if !background.compaction.is_due(upto) {
            return Ok(CompactProgress::Idle);
        }
        if self.oldest_pin().is_some_and(|oldest| oldest < upto) {
            return Ok(CompactProgress::Pinned);
        }
        let is_durable = || {
            let compact_revision = self.durable().compact_revision;
            upto <= compact_revision && self.appended().compact_revision == compact_revision
        };
        if !is_durable() {
            return Ok(CompactProgress::FlushFirst);
        }
        let backend = self.backend();
        let compaction = &background.compaction;
        let chunk = compaction.plan(&*backend, upto, fold_revision, keep, blocks_max)?;
        // A newer compaction may have thinned the index out while we asked it; a crash could undo
        // that one, so nothing may go for its sake before it is durable.
        if !is_durable() {
            return Ok(CompactProgress::FlushFirst);
        }
        let (mut history, images) = (background.history, chunk.images);
        history += chunk.history;
        let progress = background.compaction.commit(&*backend, chunk, history)?;
        background.history = history;
        background.fold.images_changed(images);
        self.note_size(&background);
        Ok(progress)
    }

    /// The state as it is durable now; see [`Export`].
    pub fn export(&self) -> Result<Export, StorageError> {
        let _nothing_is_written = self.background.lock();
        Export::at(self.durable(), self.backend(), &self.pins)
    }

    /// Begins to copy the engine into `target`, which is empty. Flusher thread only.
    pub fn begin_defragment(&self, target: Arc<dyn Backend>) -> Result<(), StorageError> {
        let mut background = self.background.lock();
        assert!(background.defragmentation.is_none(), "one defragmentation at a time");
        let export = Export::at(self.durable(), self.backend(), &self.pins)?;
        background.defragmentation = Some(Defragmentation::new(target, export));
        Ok(())
    }

    /// Copies about `bytes_max` more. When the copy is whole and synced, `switch` makes it the one
    /// that the next start finds, and it takes the engine's place. `Err` means that this member must
    /// stop. Flusher thread only, between flushes.
    pub fn defragment_step(
        &self,
        bytes_max: usize,
        switch: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<DefragmentProgress, StorageError> {
        let mut background = self.background.lock();
        let Some(mut defragmentation) = background.defragmentation.take() else {
            return Ok(DefragmentProgress::Idle);
        };
        match defragmentation.step(&*self.backend(), self.durable(), bytes_max) {
            Ok(true) => {
                background.defragmentation = Some(defragmentation);
                Ok(DefragmentProgress::Busy)
            }
            Ok(false) => {
                switch()?;
                *self.backend.write() = defragmentation.into_target();
                Ok(DefragmentProgress::Done)
            }
            Err(CopyError::Source(error)) => Err(error),
            Err(CopyError::Target(error)) => Ok(DefragmentProgress::Failed(error)),
        }
    }

    fn note_size(&self, background: &Background) {
        self.bytes_in_use.store(background.bytes_in_use(), Ordering::Relaxed);
    }

    /// Holds everything that a read at `main` can see, until the pin is dropped. The caller has
    /// made sure that `main` is not below the compact revision.
    pub fn pin(&self, main: i64) -> Pin {
        self.pins.pin(main)
    }

    /// The lowest pinned main revision.
    pub fn oldest_pin(&self) -> Option<i64> {
        self.pins.oldest()
    }
}

/// Collects whole revisions up to a budget.
#[derive(Debug)]
struct Collector {
    entries: Vec<HistoryEntry>,
    next: i64,
    to: i64,
    bytes: usize,
    bytes_max: usize,
    is_full: bool,
}

impl Collector {
    fn new(from: i64, to: i64, bytes_max: usize) -> Self {
        Collector { entries: Vec::new(), next: from, to, bytes: 0, bytes_max, is_full: false }
    }

    fn is_done(&self) -> bool {
        self.is_full || self.next > self.to
    }

    /// Takes entries until the end or the budget is reached.
    fn take(
        &mut self,
        entries: impl Iterator<Item = Result<HistoryEntry, StorageError>>,
    ) -> Result<ControlFlow<()>, StorageError> {
        for entry in entries {
            let entry = entry?;
            let main = entry.revision.main;
            if main > self.to {
                self.finish(self.to);
                return Ok(ControlFlow::Break(()));
            }
            let is_new = self.entries.last().is_some_and(|last| last.revision.main != main);
            if is_new && self.bytes >= self.bytes_max {
                self.is_full = true;
                self.next = main;
                return Ok(ControlFlow::Break(()));
            }
            self.bytes += entry.kv.key.len() + entry.kv.value.len();
            self.entries.push(entry);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Everything up to `to` was seen.
    fn finish(&mut self, to: i64) {
        self.next = to.min(self.to).saturating_add(1);
    }
}
