//! Rotten bytes are found before they are used, and the finding says where they are.

#![expect(clippy::unwrap_used, reason = "a test fails where it fails")]

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use rusd_proto::leasepb::Lease;
use rusd_proto::mvccpb::KeyValue;
use rusd_state::mvcc::revision::Revision;
use rusd_state::storage::change::{Changes, EntryKind, HistoryEntry, LeaseChange};
use rusd_state::storage::{
    Backend, FoldProgress, History, HistoryOptions, MemoryBackend, Replayed, StartFrom,
    StorageError, Tree, verify,
};

const LAST: i64 = 40;

/// A store of some blocks, folded up to revision 30, with one lease.
fn store() -> Arc<MemoryBackend> {
    let backend = Arc::new(MemoryBackend::new());
    let options = HistoryOptions { block_bytes: 150, ..HistoryOptions::default() };
    let (history, _) = History::open(backend.clone(), options).unwrap();
    for main in 2..=LAST {
        let kv = KeyValue {
            key: Bytes::from(format!("key {main}")),
            value: Bytes::from_static(b"value"),
            create_revision: main,
            mod_revision: main,
            version: 1,
            lease: 7,
        };
        let revision = Revision::first_of(main);
        let entry = HistoryEntry { revision, kind: EntryKind::Put, kv: Arc::new(kv) };
        let lease = LeaseChange::Put(Lease { id: 7, ttl: 60, remaining_ttl: 0 });
        let leases = if main == 2 { vec![lease] } else { Vec::new() };
        let index = u64::try_from(main).unwrap();
        let changes = Changes { index, term: 1, history: vec![entry], leases, meta: Vec::new() };
        history.append(changes);
        if main % 10 == 0 {
            history.flush().unwrap();
        }
        if main == 30 {
            while history.fold_step(100).unwrap() != FoldProgress::Idle {}
        }
    }
    backend
}

fn keys(backend: &MemoryBackend, tree: Tree) -> Vec<(Vec<u8>, usize)> {
    let mut keys = Vec::new();
    let mut visit = |key: &[u8], value: Bytes| {
        keys.push((key.to_vec(), value.len() * 8));
        Ok(std::ops::ControlFlow::Continue(()))
    };
    backend.scan(tree, &[], &mut visit).unwrap();
    keys
}

/// Everything a start and a full read look at.
fn read_all(backend: &Arc<MemoryBackend>) -> Result<(), StorageError> {
    let options = HistoryOptions { start_from: StartFrom::Images, ..HistoryOptions::default() };
    let (history, recovered) = History::open(backend.clone(), options)?;
    recovered.replay(&mut |_| {})?;
    history.scan(0, LAST, usize::MAX)?;
    for main in 2..=LAST {
        let key = format!("key {main}");
        history.get(Revision::first_of(main), key.as_bytes())?;
    }
    Ok(())
}

#[test]
fn a_sound_store_is_found_sound() {
    let backend = store();
    read_all(&backend).unwrap();
    let backend: Arc<dyn Backend> = backend;
    let report = verify(&backend).unwrap();
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!((report.revision, report.fold_revision, report.entries), (LAST, 30, 39));
    assert_eq!(
        (report.live_keys, report.index_rows, report.kv_rows, report.leases),
        (39, 29, 29, 1)
    );
    assert!(report.blocks > 5);
}

#[test]
fn every_flipped_bit_is_found_by_readers_and_by_verify() {
    for tree in [Tree::KvRev, Tree::Kv, Tree::Index, Tree::Meta, Tree::Lease] {
        let backend = store();
        let keys = keys(&backend, tree);
        assert!(!keys.is_empty(), "{tree} holds something");
        for (key, bits) in keys {
            for bit in (0..bits).step_by(5) {
                assert!(backend.flip_bit(tree, &key, bit));
                let error = read_all(&backend).unwrap_err();
                let StorageError::Corrupt { tree: found, .. } = &error else { panic!("{error}") };
                assert_eq!(*found, tree, "{error}");
                let dynamic: Arc<dyn Backend> = backend.clone();
                let is_sound = verify(&dynamic).is_ok_and(|report| report.is_sound());
                assert!(!is_sound, "verify sees bit {bit} of {tree} {key:?}");
                backend.flip_bit(tree, &key, bit);
            }
        }
        read_all(&backend).unwrap();
    }
}

#[test]
fn the_finding_names_the_revision_and_the_reason() {
    let backend = store();
    let (key, _) = keys(&backend, Tree::KvRev).swap_remove(0);
    backend.flip_bit(Tree::KvRev, &key, 100);
    let error = read_all(&backend).unwrap_err().to_string();
    assert!(error.starts_with("tree kv_rev, key revision 2: the checksum is "), "{error}");
}

#[test]
fn a_lost_block_a_lost_lease_and_a_stale_image_are_found() {
    for (tree, position, expected) in [
        (Tree::KvRev, 1, "expected operation 0 of revision"),
        (Tree::KvRev, usize::MAX, "history ends at"),
        (Tree::Lease, 0, "has it, but it is not there"),
        (Tree::Kv, 3, "is missing, which history has at revision"),
        (Tree::Index, 3, "is missing; history has it"),
    ] {
        let backend = store();
        let keys = keys(&backend, tree);
        let (key, _) = &keys[position.min(keys.len() - 1)];
        backend.remove_row(tree, key).unwrap();
        let dynamic: Arc<dyn Backend> = backend;
        let report = verify(&dynamic).unwrap();
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{findings:#?}");
    }
}

/// What a start reads of history has no gap: it once took an engine that had lost a block for whole,
/// and served what was left.
#[test]
fn a_start_refuses_history_with_a_gap() {
    // Of what is folded the images have what is needed.
    for (start_from, first_read) in [(StartFrom::History, 0), (StartFrom::Images, 31)] {
        let is_refused = |block: &[u8]| {
            let backend = store();
            backend.remove_row(Tree::KvRev, block).unwrap();
            let options = HistoryOptions { start_from, ..HistoryOptions::default() };
            let (_, recovered) = History::open(backend, options).unwrap();
            let refused = recovered.replay(&mut |_| {}).err().map(|error| error.to_string());
            let is_named = |text: &String| {
                text.starts_with("tree kv_rev, key revision ")
                    && (text.contains("expected operation 0 of") || text.contains("ends at"))
            };
            assert!(refused.iter().all(is_named), "{refused:?}");
            refused.is_some()
        };
        for (block, _) in keys(&store(), Tree::KvRev) {
            let main = i64::from_be_bytes(block[..].try_into().unwrap());
            assert_eq!(is_refused(&block), main >= first_read, "{start_from:?}, block {main}");
        }
    }
}

#[test]
fn an_image_that_is_lost_is_made_again() {
    for lost in [Tree::Index, Tree::Kv] {
        let backend = store();
        backend.clear(lost).unwrap();
        let dynamic: Arc<dyn Backend> = backend.clone();
        let report = verify(&dynamic).unwrap();
        assert!(report.is_sound() && report.fold_revision == 0);
        let options = HistoryOptions { start_from: StartFrom::Images, ..HistoryOptions::default() };
        let (history, recovered) = History::open(backend.clone(), options).unwrap();
        let mut entries = 0;
        recovered
            .replay(&mut |replayed| match replayed {
                Replayed::Entry(_) => entries += 1,
                Replayed::Key(key) => panic!("an image was trusted: {key:?}"),
            })
            .unwrap();
        assert_eq!(entries, LAST - 1);
        while history.fold_step(100).unwrap() != FoldProgress::Idle {}
        let report = verify(&dynamic).unwrap();
        assert!(report.is_sound(), "{report:#?}");
        assert_eq!((report.fold_revision, report.index_rows, report.kv_rows), (LAST, 39, 39));
    }
}

/// A start from the images does not read all of it; whoever reads the rest must not get less than there was.
#[test]
fn history_with_a_gap_is_refused_to_whoever_reads_it() {
    let whole = store();
    let mut keys = Vec::new();
    let mut note = |key: &[u8], _: Bytes| {
        keys.push(key.to_vec());
        Ok(ControlFlow::Continue(()))
    };
    whole.scan(Tree::KvRev, b"", &mut note).unwrap();
    assert!(keys.len() > 2);
    for (number, key) in keys.iter().enumerate() {
        let backend = store();
        let dynamic: Arc<dyn Backend> = backend.clone();
        let (history, _) = History::open(dynamic, HistoryOptions::default()).unwrap();
        let all = || history.scan(0, i64::MAX, usize::MAX);
        assert_eq!(all().unwrap().entries.last().unwrap().revision.main, LAST);
        backend.remove_row(Tree::KvRev, key).unwrap();
        let error = all().unwrap_err().to_string();
        let is_last = number + 1 == keys.len();
        let expected = if is_last { "history ends at " } else { "found operation 0, expected " };
        assert!(error.contains(expected), "{number}: {error}");
    }
}

#[test]
fn history_without_its_records_is_refused() {
    let backend = store();
    backend.clear(Tree::Meta).unwrap();
    let error = read_all(&backend).unwrap_err().to_string();
    assert_eq!(error, "tree meta, key \"format\": there is history, but no record of its layout");
}
