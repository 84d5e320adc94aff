//! Long reads while the applier writes and the flusher flushes, folds and compacts.
//!
//! Every transaction writes all keys with one value, and every revision but the newest few is
//! compacted at once. Whatever is read must be of one revision, whole.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use prost::Message;
use rusd_proto::etcdserverpb as pb;
use rusd_proto::etcdserverpb::request_op::Request;
use rusd_proto::raftpb::Entry;
use rusd_state::storage::{HistoryOptions, MemoryBackend};
use rusd_state::{Options, ReadError, StateMachine, View};

/// More than a read visits under one lock.
const KEYS: i64 = 1300;
const TRANSACTIONS: i64 = 120;

fn entry(index: u64, request: &pb::InternalRaftRequest) -> Entry {
    let data = Some(request.encode_to_vec().into());
    Entry { term: Some(1), index: Some(index), r#type: None, data }
}

fn write_all(value: i64) -> pb::InternalRaftRequest {
    let put = |key: i64| pb::PutRequest {
        key: format!("{key:05}").into(),
        value: value.to_string().into(),
        ..pb::PutRequest::default()
    };
    let success = (0..KEYS)
        .map(|key| pb::RequestOp { request: Some(Request::RequestPut(put(key))) })
        .collect();
    let txn = pb::TxnRequest { success, ..pb::TxnRequest::default() };
    pb::InternalRaftRequest { txn: Some(txn), ..pb::InternalRaftRequest::default() }
}

fn compact(revision: i64) -> pb::InternalRaftRequest {
    let compaction = pb::CompactionRequest { revision, physical: false };
    pb::InternalRaftRequest { compaction: Some(compaction), ..pb::InternalRaftRequest::default() }
}

fn everything(revision: i64) -> pb::RangeRequest {
    let all = || vec![0].into();
    pb::RangeRequest { key: all(), range_end: all(), revision, ..pb::RangeRequest::default() }
}

/// Reads some revision; true if it was readable.
fn read_whole(view: &View, revision: i64) -> bool {
    let response = match view.range(&everything(revision)) {
        Ok(response) => response,
        Err(ReadError::Compacted { .. }) => return false,
        Err(error) => panic!("{error}"),
    };
    if response.count == 0 {
        assert!(revision <= 1);
        return true;
    }
    assert_eq!(response.count, KEYS);
    let first = &response.kvs[0];
    assert!(revision == 0 || first.mod_revision == revision);
    for kv in &response.kvs {
        assert_eq!((kv.mod_revision, &kv.value), (first.mod_revision, &first.value));
    }
    true
}

/// Catches up a little from the compact revision on; true if that was readable.
fn watch_some(view: &View) -> bool {
    let from = view.compact_revision().max(2);
    let scan = match view.events(from, 1, true) {
        Ok(scan) => scan,
        Err(ReadError::Compacted { .. }) => return false,
        Err(error) => panic!("{error}"),
    };
    for events in &scan.revisions {
        assert_eq!(i64::try_from(events.list.len()).unwrap(), KEYS);
        for event in events.list.iter() {
            let prev = view.previous(event).unwrap();
            assert!(prev.is_none_or(|prev| prev.mod_revision == events.revision - 1));
        }
    }
    true
}

fn read_until(view: &View, is_over: &AtomicBool, read: impl Fn(&View) -> bool) -> usize {
    let mut readable = 0;
    while !is_over.load(Ordering::Relaxed) {
        readable += usize::from(read(view));
    }
    readable
}

#[test]
fn long_reads_are_of_one_revision() {
    let options = Options { resident_bytes_max: 100_000, ..Options::default() };
    let backend = Arc::new(MemoryBackend::default());
    let mut machine = StateMachine::open(backend, HistoryOptions::default(), options).unwrap();
    let view = machine.view();
    let is_over = &AtomicBool::new(false);
    let read = &AtomicUsize::new(0);
    let flusher_of = machine.history();
    let mut compactor = machine.compactor();
    thread::scope(|scope| {
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                flusher_of.flush().unwrap();
                flusher_of.fold_step(200).unwrap();
                compactor.step(4).unwrap();
            }
        });
        scope.spawn(|| {
            let reads = read_until(&view, is_over, |view| read_whole(view, 0));
            read.fetch_add(reads, Ordering::Relaxed);
        });
        scope.spawn(|| {
            let reads = read_until(&view, is_over, |view| {
                read_whole(view, (view.revision() - 1).max(1)) & watch_some(view)
            });
            read.fetch_add(reads, Ordering::Relaxed);
        });
        for value in 1..=TRANSACTIONS {
            let index = machine.applied().0 + 1;
            machine.apply(&entry(index, &write_all(value))).unwrap();
            let revision = machine.view().revision();
            if revision > 3 {
                machine.apply(&entry(index + 1, &compact(revision - 2))).unwrap();
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(read.load(Ordering::Relaxed) > 0, "something was read meanwhile");
    assert!(read_whole(&view, 0));
}
