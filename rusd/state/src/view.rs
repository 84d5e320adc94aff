//! Reads, from any thread, while the applier writes.
//!
//! The lock is held for at most 512 keys at a time. A longer read lets go in between and stays
//! consistent because it reads at one revision, which it has pinned: neither the index nor the
//! history drops anything that a read at a pinned revision needs.

use std::sync::Arc;

use rusd_proto::etcdserverpb::{AlarmMember, RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use rusd_proto::mvccpb::KeyValue;

use crate::error::ReadError;
use crate::event::{EntryKind, Event, Events, Prev};
use crate::hash::{HashKv, HashScan, HashSpan};
use crate::lease::grant::LeaseInfo;
use crate::members::{Member, Members};
use crate::mvcc::key_index::At;
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::read::{self, KEYS_VISITED_MAX, Scan, Source, Want};
use crate::mvcc::store::{Store, readable};
use crate::shared::Shared;
use crate::storage::StorageError;
use crate::storage::change::HistoryEntry;
use crate::storage::{History, Pin};
use crate::txn::{self, Window};

/// The applied state, for reading.
#[derive(Debug, Clone)]
pub struct View {
    shared: Arc<Shared>,
}

/// Events of the past.
#[derive(Debug, Clone, PartialEq)]
pub struct EventScan {
    /// Whole revisions in ascending order.
    pub revisions: Vec<Events>,
    /// The first revision that was not looked at; at the end, the store's revision and one.
    pub next_revision: i64,
}

impl View {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        View { shared }
    }

    /// What it looks at.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Main revision of the last applied write; 1 before the first.
    pub fn revision(&self) -> i64 {
        self.shared.revision()
    }

    /// Oldest readable revision; -1 if nothing was ever compacted.
    pub fn compact_revision(&self) -> i64 {
        self.shared.compact()
    }

    /// Index of the last applied entry.
    pub fn applied_index(&self) -> u64 {
        self.shared.applied()
    }

    /// The answer to a range request, if it takes one short look at what is in memory; else `None`,
    /// and [`range`](Self::range) is for a thread that may block.
    pub fn range_in_memory(
        &self,
        request: &RangeRequest,
    ) -> Result<Option<RangeResponse>, ReadError> {
        let state = self.shared.read();
        let current = state.store.current();
        let main = state.store.resolve(request.revision)?;
        let mut scan = Scan::of_request(request, main);
        if !scan.step(&state.store) || scan.needs_history() {
            return Ok(None);
        }
        drop(state);
        let found = scan.finish(self.shared.history())?;
        Ok(Some(read::response(request, current, found)))
    }

    /// Answers a range request, with all its options. A revision of 0 or less is the newest.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
        self.range_by(request, |scan| scan)
    }

    /// The same, but counts no further than it has to read.
    pub fn range_piece(&self, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
        self.range_by(request, Scan::without_total)
    }

    fn range_by<'r>(
        &self,
        request: &'r RangeRequest,
        adjust: fn(Scan<'r>) -> Scan<'r>,
    ) -> Result<RangeResponse, ReadError> {
        let state = self.shared.read();
        let current = state.store.current();
        let main = state.store.resolve(request.revision)?;
        let mut scan = adjust(Scan::of_request(request, main));
        let is_complete = scan.step(&state.store);
        if is_complete && !scan.needs_history() {
            drop(state);
            let found = scan.finish(self.shared.history())?;
            return Ok(read::response(request, current, found));
        }
        let pinned = self.pinned(main);
        drop(state);
        let found = if is_complete { scan.finish(pinned.history()) } else { scan.run(&pinned) }?;
        Ok(read::response(request, current, found))
    }

    /// Answers a transaction that only reads, at one revision.
    pub fn txn_read_only(&self, request: &TxnRequest) -> Result<TxnResponse, ReadError> {
        assert!(txn::is_read_only(request), "a transaction that writes goes through the log");
        let state = self.shared.read();
        let window = Window { current: state.store.current(), compact: state.store.compact() };
        // Its ranges may name any readable revision.
        let pinned = self.pinned(window.compact);
        drop(state);
        txn::execute_read_only(&pinned, request, window)
    }

    /// The answer may need the engine: serve it where blocking is allowed. A hint: what is not
    /// evicted now may be in a moment.
    pub fn would_touch_engine(&self, request: &RangeRequest) -> bool {
        if request.count_only {
            return false;
        }
        let state = self.shared.read();
        if request.revision > 0 && request.revision < state.store.current() {
            return true;
        }
        match KeyRange::new(&request.key, &request.range_end) {
            KeyRange::One(key) => state
                .store
                .entry(key)
                .is_some_and(|entry| entry.resident().is_none() && !entry.newest().is_tombstone()),
            _ => state.store.has_evicted(),
        }
    }

    /// What happened from a revision on, for a watch that catches up: whole revisions, at least
    /// one if there is one, and then up to about `bytes_max` of keys and values. Without
    /// `with_prev` every event's previous value is [`Prev::Absent`].
    pub fn events(
        &self,
        from_main: i64,
        bytes_max: usize,
        with_prev: bool,
    ) -> Result<EventScan, ReadError> {
        let state = self.shared.read();
        let (current, compact) = (state.store.current(), state.store.compact());
        if from_main < compact {
            return Err(ReadError::Compacted { compact });
        }
        if from_main > current {
            return Ok(EventScan { revisions: Vec::new(), next_revision: from_main });
        }
        // The value before the first revision is read too.
        let pinned = self.pinned(compact.max(from_main - 1));
        drop(state);
        let scan = pinned.history().scan(from_main, current, bytes_max)?;
        let prevs =
            if with_prev { self.prevs_of(&pinned, &scan.entries, compact)? } else { Vec::new() };
        let mut prevs = prevs.into_iter();
        let mut revisions: Vec<Events> = Vec::new();
        for revision in scan.entries.chunk_by(|a, b| a.revision.main == b.revision.main) {
            let main = revision[0].revision.main;
            let list = revision.iter().enumerate().filter_map(|(position, entry)| {
                let prev = prevs.next().unwrap_or(Prev::Absent);
                let is_left = main > compact || !is_overwritten(entry, &revision[position + 1..]);
                is_left.then(|| Event { kind: entry.kind, kv: Arc::clone(&entry.kv), prev })
            });
            revisions.push(Events { revision: main, list: list.collect() });
        }
        Ok(EventScan { revisions, next_revision: scan.next_main })
    }

    /// The key-value before an event. `None` if there was none, or if it was compacted meanwhile.
    pub fn previous(&self, event: &Event) -> Result<Option<Arc<KeyValue>>, ReadError> {
        match &event.prev {
            Prev::Absent => Ok(None),
            Prev::Known(kv) => Ok(Some(Arc::clone(kv))),
            Prev::Stored(revision) => {
                let entry = self.shared.history().get(*revision, &event.kv.key)?;
                Ok(entry.map(|entry| entry.kv))
            }
        }
    }

    /// A lease with its keys.
    pub fn lease(&self, id: i64) -> Option<LeaseInfo> {
        self.shared.read().lessor.lease(id)
    }

    /// Ids of all leases in ascending order.
    pub fn leases(&self) -> Vec<i64> {
        self.shared.read().lessor.ids()
    }

    /// All leases without their keys, for who keeps the time.
    pub fn lease_times(&self) -> Vec<LeaseInfo> {
        self.shared.read().lessor.times().collect()
    }

    /// All members in ascending order of id.
    pub fn members(&self) -> Vec<Member> {
        self.shared.read().members.list()
    }

    /// All members, with the ids of those that were removed.
    pub fn membership(&self) -> Members {
        self.shared.read().members.clone()
    }

    /// All raised alarms, by kind and member.
    pub fn alarms(&self) -> Vec<AlarmMember> {
        self.shared.read().alarms.list(None)
    }

    /// Version of the cluster, empty until it is decided.
    pub fn cluster_version(&self) -> String {
        self.shared.read().cluster_version.clone()
    }

    /// Keys in the index, deleted but not yet compacted ones included.
    pub fn keys_indexed(&self) -> usize {
        self.shared.read().store.len()
    }

    /// The hash of everything up to a revision; 0 is the newest. Of a revision that was compacted to
    /// it is the hash that the compaction took.
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, ReadError> {
        let state = self.shared.read();
        let (current, compact) = (state.store.current(), state.store.compact());
        if let Some((span, hash)) = state.compaction_hashes.find(revision) {
            return Ok(HashKv::of(span, hash, current));
        }
        let main = if revision < 0 { revision } else { readable(revision, current, compact)? };
        let pinned = self.pinned(main.min(compact));
        drop(state);
        // etcd leaves nothing out if no key lives at the revision.
        let newest_at = if is_anything_alive(&pinned, main) { main } else { compact };
        let span = HashSpan { to: main, compact, newest_at };
        let hash = HashScan::new(span).run(&self.shared)?;
        Ok(HashKv::of(span, hash, current))
    }

    /// The hashes that the last compactions took, the newest first.
    pub fn compaction_hashes(&self) -> Vec<HashKv> {
        let state = self.shared.read();
        let current = state.store.current();
        let hashes = state.compaction_hashes.taken();
        hashes.map(|(span, hash)| HashKv::of(span, hash, current)).collect()
    }

    /// A hash of everything that is replicated, and the revision it is of. It means nothing to
    /// etcd's, whose hash is of its own file.
    pub fn hash(&self) -> Result<(u32, i64), ReadError> {
        let state = self.shared.read();
        let (current, compact) = (state.store.current(), state.store.compact());
        let mut crc = state.hash_without_keys();
        let pinned = self.pinned(compact);
        drop(state);
        let span = HashSpan { to: current, compact, newest_at: current };
        let keys = HashScan::new(span).run(&self.shared)?;
        drop(pinned);
        crc = crc32c::crc32c_append(crc, &keys.to_be_bytes());
        Ok((crc, current))
    }

    /// The values before some changes, in their order. One that was compacted is absent.
    fn prevs_of(
        &self,
        pinned: &Pinned<'_>,
        entries: &[HistoryEntry],
        compact: i64,
    ) -> Result<Vec<Prev>, StorageError> {
        let mut found: Vec<At> = Vec::with_capacity(entries.len());
        for entries in entries.chunks(KEYS_VISITED_MAX) {
            let state = self.shared.read();
            found.extend(entries.iter().map(|HistoryEntry { revision, kind, kv }| {
                // Deleted and put again within one revision, a key has none, as in etcd.
                let is_new = *kind == EntryKind::Put && kv.create_revision == kv.mod_revision;
                if is_new || revision.main - 1 < compact {
                    return At::Absent;
                }
                let entry = state.store.entry(&kv.key);
                entry.map_or(At::Absent, |entry| entry.at(revision.main - 1))
            }));
        }
        let prevs = found.iter().zip(entries).map(|(at, entry)| match at {
            At::Past(revision) => {
                let kv = read::stored(pinned.history(), *revision, &entry.kv.key)?;
                Ok(Prev::Known(kv))
            }
            // The change itself is newer, so the newest cannot lie before it.
            At::Absent | At::Newest => Ok(Prev::Absent),
        });
        prevs.collect()
    }

    fn pinned(&self, main: i64) -> Pinned<'_> {
        Pinned { shared: &self.shared, _pin: self.shared.history().pin(main) }
    }
}

/// A later change of the same revision is of the same key. Of the revision that was compacted to,
/// such a change is gone in etcd.
fn is_overwritten(entry: &HistoryEntry, later: &[HistoryEntry]) -> bool {
    later.iter().any(|other| other.kv.key == entry.kv.key)
}

fn is_anything_alive(source: &impl Source, main: i64) -> bool {
    let mut scan = Scan::new(KeyRange::From(b""), main, Want::Count);
    while !source.with_store(|store| scan.step(store)) && scan.count() == 0 {}
    scan.count() > 0
}

/// A revision that stays readable, with the lock taken per look.
struct Pinned<'a> {
    shared: &'a Shared,
    _pin: Pin,
}

impl Source for Pinned<'_> {
    fn with_store<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        look(&self.shared.read().store)
    }

    fn history(&self) -> &History {
        self.shared.history()
    }
}
