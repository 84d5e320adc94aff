//! Reads of a range at one revision.
//!
//! A [`Scan`] walks the index in steps of at most [`KEYS_VISITED_MAX`] keys, so that the lock can
//! be let go in between; what it picks stands for the revision it was made for, whatever is written
//! meanwhile. Values that are not in memory are read from history at the end, without the lock.
//! The caller keeps that revision pinned from the first step to the last read.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use rusd_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use rusd_proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use rusd_proto::mvccpb::KeyValue;

use super::index_key::IndexKey;
use super::key_index::{At, KeyEntry};
use super::key_range::KeyRange;
use super::revision::Revision;
use super::store::Store;
use crate::planted::{Bug, is_planted};
use crate::storage::History;
use crate::storage::StorageError;
use crate::storage::Tree;

/// Keys visited under one read lock.
pub(crate) const KEYS_VISITED_MAX: usize = 512;

/// Where a read finds the index and the history.
pub(crate) trait Source {
    /// Looks at the index; takes the lock if it is not held.
    fn with_store<R>(&self, look: impl FnOnce(&Store) -> R) -> R;
    /// Where values stand that are not in memory.
    fn history(&self) -> &History;
}

/// What a scan shall bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Whole key-values.
    All,
    /// Key-values, but the value itself does not matter.
    Metadata,
    /// Only how many.
    Count,
}

/// A walk over a range at one revision.
#[derive(Debug)]
pub(crate) struct Scan<'r> {
    range: KeyRange<'r>,
    main: i64,
    want: Want,
    /// Stop picking after this many.
    picked_max: usize,
    /// Go on counting when nothing more is picked.
    counts_all: bool,
    after: Option<IndexKey>,
    picked: Vec<Picked>,
    count: usize,
    in_history: usize,
}

#[derive(Debug)]
enum Picked {
    Here(Arc<KeyValue>),
    InHistory(Revision, IndexKey),
}

/// What a scan brought.
#[derive(Debug)]
pub(crate) struct Found {
    /// In key order.
    pub(crate) kvs: Vec<Arc<KeyValue>>,
    /// All keys of the range, whatever was asked for.
    pub(crate) count: usize,
}

impl<'r> Scan<'r> {
    /// A scan that has not begun.
    pub(crate) fn new(range: KeyRange<'r>, main: i64, want: Want) -> Self {
        Scan {
            range,
            main,
            want,
            picked_max: usize::MAX,
            counts_all: true,
            after: None,
            picked: Vec::new(),
            count: 0,
            in_history: 0,
        }
    }

    /// The scan that a range request asks for.
    pub(crate) fn of_request(request: &'r RangeRequest, main: i64) -> Self {
        let range = KeyRange::new(&request.key, &request.range_end);
        let want = match request {
            RangeRequest { count_only: true, .. } => Want::Count,
            request if is_keys_fast(request) => Want::Metadata,
            _ => Want::All,
        };
        let mut scan = Scan::new(range, main, want);
        if let Ok(limit @ 1..) = usize::try_from(request.limit)
            && is_key_ordered(request)
            && !has_filters(request)
        {
            scan.picked_max = limit.saturating_add(1);
        }
        scan
    }

    /// Stops where the limit is reached; the count is then of the keys so far.
    pub(crate) fn without_total(mut self) -> Self {
        self.counts_all = self.want == Want::Count;
        self
    }

    /// Visits some more keys. True when the range is exhausted, or enough was seen.
    pub(crate) fn step(&mut self, store: &Store) -> bool {
        if let KeyRange::One(key) = self.range {
            if let Some(entry) = store.entry(key) {
                self.visit(key, entry);
            }
            return true;
        }
        let range = self.range;
        let after = self.after.take();
        let mut visited = 0;
        for (key, entry) in store.entries(&range, after.as_ref().map(IndexKey::as_slice)) {
            self.visit(key.as_slice(), entry);
            if !self.counts_all && self.picked.len() >= self.picked_max {
                return true;
            }
            visited += 1;
            if visited == KEYS_VISITED_MAX {
                self.after = Some(key.clone());
                return false;
            }
        }
        true
    }

    /// Some of what was picked must be read from history.
    pub(crate) fn needs_history(&self) -> bool {
        self.in_history > 0
    }

    /// Keys seen so far.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Walks to the end and reads what is not in memory.
    pub(crate) fn run(mut self, source: &impl Source) -> Result<Found, StorageError> {
        while !source.with_store(|store| self.step(store)) {}
        self.finish(source.history())
    }

    /// Reads what is not in memory.
    pub(crate) fn finish(self, history: &History) -> Result<Found, StorageError> {
        let count = self.count;
        let kvs = self.picked.into_iter().map(|picked| match picked {
            Picked::Here(kv) => Ok(kv),
            Picked::InHistory(revision, key) => stored(history, revision, key.as_slice()),
        });
        Ok(Found { kvs: kvs.collect::<Result<_, _>>()?, count })
    }

    fn visit(&mut self, key: &[u8], entry: &KeyEntry) {
        let at = entry.at(self.main);
        if at == At::Absent {
            return;
        }
        self.count += 1;
        if self.want == Want::Count || self.picked.len() >= self.picked_max {
            return;
        }
        let picked = match (at, entry.resident()) {
            (At::Newest, Some(kv)) => {
                entry.touch();
                Picked::Here(Arc::clone(kv))
            }
            (At::Newest, None) if self.want == Want::Metadata => {
                Picked::Here(Arc::new(entry.metadata(key)))
            }
            (At::Newest, None) => Picked::InHistory(entry.newest().revision, key.into()),
            (At::Past(revision), _) => Picked::InHistory(revision, key.into()),
            (At::Absent, _) => unreachable!("handled above"),
        };
        self.in_history += usize::from(matches!(picked, Picked::InHistory(..)));
        self.picked.push(picked);
    }
}

/// Reads one key-value that the index says is there.
pub(crate) fn stored(
    history: &History,
    revision: Revision,
    key: &[u8],
) -> Result<Arc<KeyValue>, StorageError> {
    match history.get(revision, key)? {
        Some(entry) => Ok(entry.kv),
        None => Err(StorageError::Corrupt {
            tree: Tree::KvRev,
            key: format!("revision {}.{}", revision.main, revision.sub),
            reason: format!("the index has it for \"{}\"", key.escape_ascii()),
        }),
    }
}

/// The newest key-value of a key at `main`.
pub(crate) fn one(
    source: &impl Source,
    key: &[u8],
    main: i64,
) -> Result<Option<Arc<KeyValue>>, StorageError> {
    let found = Scan::new(KeyRange::One(key), main, Want::All).run(source)?;
    Ok(found.kvs.into_iter().next())
}

/// Filters, sorts and cuts what was found, as the request asks.
pub(crate) fn response(request: &RangeRequest, current: i64, mut found: Found) -> RangeResponse {
    retain_filtered(request, &mut found.kvs);
    sort(request, &mut found.kvs);
    let mut more = false;
    if let Ok(limit @ 1..) = usize::try_from(request.limit)
        && found.kvs.len() > limit
    {
        found.kvs.truncate(limit);
        more = true;
        if is_planted(Bug::CountUpToLimit) {
            found.count = limit;
        }
    }
    let keys_fast = is_keys_fast(request);
    let kvs = found.kvs.into_iter().map(|kv| KeyValue {
        key: kv.key.clone(),
        value: if request.keys_only { Bytes::new() } else { kv.value.clone() },
        // etcd 3.7 answers keys-only requests from its index, which knows no leases.
        lease: if keys_fast { 0 } else { kv.lease },
        ..*kv
    });
    RangeResponse {
        header: Some(header(current)),
        kvs: kvs.collect(),
        more,
        count: i64::try_from(found.count).expect("keys fit in memory"),
    }
}

/// A header with the revision only; who serves the request knows the rest.
pub(crate) fn header(revision: i64) -> ResponseHeader {
    ResponseHeader { revision, ..ResponseHeader::default() }
}

fn is_keys_fast(request: &RangeRequest) -> bool {
    request.keys_only && request.sort_target() != SortTarget::Value
}

fn is_key_ordered(request: &RangeRequest) -> bool {
    request.sort_order() == SortOrder::None
        || (request.sort_target() == SortTarget::Key && request.sort_order() == SortOrder::Ascend)
}

fn has_filters(request: &RangeRequest) -> bool {
    let RangeRequest { min_mod_revision, max_mod_revision, .. } = request;
    let RangeRequest { min_create_revision, max_create_revision, .. } = request;
    [min_mod_revision, max_mod_revision, min_create_revision, max_create_revision]
        .iter()
        .any(|bound| **bound != 0)
}

fn retain_filtered(request: &RangeRequest, kvs: &mut Vec<Arc<KeyValue>>) {
    if !has_filters(request) {
        return;
    }
    let is_within =
        |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    kvs.retain(|kv| {
        is_within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
            && is_within(
                kv.create_revision,
                request.min_create_revision,
                request.max_create_revision,
            )
    });
}

/// Equal elements keep their key order; etcd leaves them in no promised order.
fn sort(request: &RangeRequest, kvs: &mut [Arc<KeyValue>]) {
    let target = request.sort_target();
    let order = match request.sort_order() {
        SortOrder::None if target != SortTarget::Key => SortOrder::Ascend,
        order => order,
    };
    let compare = |a: &Arc<KeyValue>, b: &Arc<KeyValue>| -> Ordering {
        match target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        }
    };
    match order {
        SortOrder::None => {}
        SortOrder::Ascend if target == SortTarget::Key => {}
        SortOrder::Ascend => kvs.sort_by(compare),
        SortOrder::Descend => kvs.sort_by(|a, b| compare(b, a)),
    }
}
