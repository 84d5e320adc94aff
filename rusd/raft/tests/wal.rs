//! The log on disk: etcd's own files, whose log it is, cutting segments, and going on after a crash.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message as _;
use rusd_proto::etcdserverpb::InternalRaftRequest;
use rusd_proto::raftpb::EntryType;
use rusd_raft::log::{LogStore as _, ReadOnlyLog, SnapshotMark, Wal, WalOptions};
use rusd_raft::{
    BootstrapMember, ConfState, Entry, Fatal, HardState, Index, Metadata, Term, bootstrap,
};

const METADATA: Metadata = Metadata { node_id: 7, cluster_id: 9 };
const SMALL: WalOptions =
    WalOptions { segment_bytes: 8 * 1024, cache_bytes: 1024, segments_kept: 2 };

fn etcd_wal(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/etcd_wal").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn entry(index: u64, term: u64, data: &[u8]) -> Entry {
    Entry {
        index: Some(index),
        term: Some(term),
        r#type: Some(EntryType::EntryNormal.into()),
        data: Some(data.to_vec().into()),
    }
}

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

fn mark(index: u64, term: u64) -> SnapshotMark {
    let conf_state = ConfState { voters: vec![7], ..ConfState::default() };
    SnapshotMark { index: Index(index), term: Term(term), conf_state }
}

fn committed(term: u64, commit: u64) -> HardState {
    HardState { term, vote: 7, commit }
}

/// Segments go when nothing in them is needed, and the log begins after the mark when it is read
/// again: what was before has no other witness.
#[test]
fn a_log_that_was_cut_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("wal");
    let mut wal = Wal::create(&dir, METADATA, SMALL).unwrap();
    for index in 1..=100 {
        wal.append(&[entry(index, 2, &[7; 500])], Some(committed(2, index))).unwrap();
    }
    let before = names(&dir).len();
    wal.append_mark(&mark(80, 2)).unwrap();
    wal.sync().unwrap();
    wal.cut(Index(70)).unwrap();
    let after = names(&dir);
    assert!(after.len() < before && after.len() > 2, "from {before} to {after:?}");
    assert_eq!((wal.first_index(), wal.last_index()), (Index(71), Index(100)));
    assert_eq!((wal.term(Index(70)), wal.term(Index(69))), (Some(Term(2)), None));
    assert_eq!(wal.entries(Index(71), Index(101), u64::MAX).unwrap().len(), 30);
    wal.cut(Index(60)).unwrap();
    assert_eq!(wal.first_index(), Index(71), "what was forgotten stays so");
    drop(wal);
    let mut wal = Wal::open(&dir, METADATA, SMALL).unwrap();
    assert_eq!((wal.first_index(), wal.last_index()), (Index(81), Index(100)));
    wal.append(&[entry(101, 3, b"more")], Some(committed(3, 100))).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let log = ReadOnlyLog::open(&dir).unwrap();
    assert_eq!(log.entries(Index(81), Index(102), u64::MAX).unwrap().len(), 21);
}

/// A mark lags behind the log. One that is the first record of a segment is all that is left of what
/// was before, when that is removed for the sake of a later one.
#[test]
fn a_log_that_was_cut_may_begin_with_an_old_mark() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("wal");
    let options = WalOptions { segments_kept: 1, ..SMALL };
    let mut wal = Wal::create(&dir, METADATA, options).unwrap();
    let mut last = 0;
    let mut append = |wal: &mut Wal| {
        last += 1;
        wal.append(&[entry(last, 2, &[7; 500])], Some(committed(2, last))).unwrap();
        last
    };
    // The mark begins a segment at some of these lengths.
    let mut begun = 0;
    while begun < 3 {
        let last = append(&mut wal);
        let before = names(&dir);
        wal.append_mark(&mark(last.saturating_sub(5).max(1), 2)).unwrap();
        begun += usize::from(names(&dir) != before);
    }
    for _ in 0..10 {
        append(&mut wal);
    }
    let last = append(&mut wal);
    wal.append_mark(&mark(last - 5, 2)).unwrap();
    wal.sync().unwrap();
    wal.cut(Index(last - 6)).unwrap();
    let left = names(&dir);
    drop(wal);
    let wal = Wal::open(&dir, METADATA, options).unwrap();
    assert_eq!((wal.first_index(), wal.last_index()), (Index(last - 4), Index(last)), "{left:?}");
}

/// What a later leader replaced may reach back before the first segment that is left.
#[test]
fn a_log_that_was_cut_may_begin_with_entries_that_were_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("wal");
    let options = WalOptions { segments_kept: 1, ..SMALL };
    let mut wal = Wal::create(&dir, METADATA, options).unwrap();
    for index in 1..=20 {
        wal.append(&[entry(index, 2, &[7; 500])], Some(committed(2, 10))).unwrap();
    }
    assert!(names(&dir).len() > 1);
    for index in 12..=30 {
        wal.append(&[entry(index, 3, &[8; 200])], Some(committed(3, 11))).unwrap();
    }
    wal.append(&[], Some(committed(3, 30))).unwrap();
    wal.append_mark(&mark(30, 3)).unwrap();
    wal.sync().unwrap();
    wal.cut(Index(29)).unwrap();
    drop(wal);
    assert_eq!(names(&dir).len(), 1);
    let wal = Wal::open(&dir, METADATA, options).unwrap();
    assert_eq!((wal.first_index(), wal.last_index()), (Index(31), Index(30)));
}

/// A state that came from elsewhere ends what was there, whether the log was longer or shorter.
#[test]
fn a_log_restarts_after_a_state_from_elsewhere() {
    for (at, term) in [(50, 3), (5, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("wal");
        let mut wal = Wal::create(&dir, METADATA, SMALL).unwrap();
        for index in 1..=10 {
            wal.append(&[entry(index, 2, b"old")], Some(committed(2, 4))).unwrap();
        }
        wal.restart_after(&mark(at, term), HardState { term: 3, vote: 0, commit: at }).unwrap();
        wal.sync().unwrap();
        assert_eq!((wal.first_index(), wal.last_index()), (Index(at + 1), Index(at)));
        wal.append(&[entry(at + 1, 3, b"new")], Some(committed(3, at + 1))).unwrap();
        wal.sync().unwrap();
        drop(wal);
        let wal = Wal::open(&dir, METADATA, SMALL).unwrap();
        assert_eq!((wal.first_index(), wal.last_index()), (Index(at + 1), Index(at + 1)));
        assert_eq!(wal.term(Index(at)), Some(Term(3)));
        let entries = wal.entries(Index(at + 1), Index(at + 2), u64::MAX).unwrap();
        assert_eq!(entries[0].data(), b"new");
    }
}

/// Written by etcd 3.7.3 itself: five puts, a delete, a lease and a compaction.
#[test]
fn reads_the_log_of_an_etcd_server() {
    let log = ReadOnlyLog::open(&etcd_wal("server")).unwrap();
    assert_eq!((log.first_index(), log.last_index()), (Index(1), Index(12)));
    assert_eq!(log.hard_state(), HardState { term: 2, vote: log.metadata().node_id, commit: 12 });
    let entries = log.entries(Index(1), Index(13), u64::MAX).unwrap();
    assert_eq!(entries[0].r#type(), EntryType::EntryConfChange);
    let request = |at: usize| InternalRaftRequest::decode(entries[at].data()).unwrap();
    assert_eq!(request(4).put.unwrap().key, "k1");
    assert_eq!(request(9).delete_range.unwrap().key, "k3");
    assert_eq!(request(10).lease_grant.unwrap().ttl, 60);
    assert_eq!(request(11).compaction.unwrap().revision, 4);
}

/// Written by etcd's log package: three segments, two entries replaced by a later leader, a
/// snapshot record in between.
#[test]
fn goes_on_with_a_log_that_etcd_began() {
    let dir = tempfile::tempdir().unwrap();
    copy(&etcd_wal("segments"), dir.path());
    let mut wal = Wal::open(dir.path(), METADATA, SMALL).unwrap();
    assert_eq!((wal.first_index(), wal.last_index()), (Index(1), Index(40)));
    assert_eq!(wal.term(Index(27)), Some(Term(2)));
    assert_eq!(wal.term(Index(28)), Some(Term(3)));
    wal.append(&[entry(41, 3, b"more")], Some(HardState { term: 3, vote: 7, commit: 40 })).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let wal = Wal::open(dir.path(), METADATA, SMALL).unwrap();
    let entries = wal.entries(Index(1), Index(42), u64::MAX).unwrap();
    assert_eq!(entries.len(), 41);
    assert_eq!(entries[39].data().len(), 100 + 40 * 13);
    assert_eq!(entries[40].data(), b"more");
}

/// The first bytes of a new log are those that etcd writes for the same member.
#[test]
fn begins_as_etcd_begins() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("wal");
    drop(Wal::create(&dir, METADATA, WalOptions::default()).unwrap());
    let name = "0000000000000000-0000000000000000.wal";
    let (ours, etcds) = (fs::read(dir.join(name)).unwrap(), etcd_wal("segments").join(name));
    assert_eq!(ours.len(), 64_000_000);
    // CRC, metadata and the first snapshot marker: 16, 24 and 24 bytes.
    assert_eq!(ours[..64], fs::read(etcds).unwrap()[..64]);
    // Ours alone: a CRC record, which etcd passes over, says that all this is synced. It has the
    // CRC of the record before, and its own place.
    let crc = &ours[40 + 8 + 2..40 + 8 + 8];
    let length = [18, 0, 0, 0, 0, 0, 0, 0x86];
    let marker =
        [&length[..], &[0x08, 4], crc, &[0x1a, 8], &64_u64.to_le_bytes(), &[0; 6]].concat();
    assert_eq!(ours[64..96], marker);
    assert!(ours[96..].iter().all(|byte| *byte == 0));
}

#[test]
fn refuses_another_members_log_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    copy(&etcd_wal("segments"), dir.path());
    fs::write(dir.path().join("1.tmp"), b"left behind").unwrap();
    let before = names(dir.path());
    let other = Metadata { node_id: 7, cluster_id: 10 };
    let refused = Wal::open(dir.path(), other, SMALL).unwrap_err();
    assert!(matches!(refused, Fatal::ForeignLog { .. }));
    let said = refused.to_string();
    assert!(
        said.ends_with("belongs to member 7 of cluster 9, not to member 7 of cluster a"),
        "{said}"
    );
    assert_eq!(names(dir.path()), before);
}

#[test]
fn refuses_a_folder_without_a_log() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!Wal::exists(dir.path()) && !Wal::exists(&dir.path().join("wal")));
    let refused = Wal::open(dir.path(), METADATA, SMALL).unwrap_err();
    assert!(matches!(refused, Fatal::Unusable { .. }), "{refused}");
}

#[test]
fn creation_that_a_crash_cut_short_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let wal_dir = dir.path().join("wal");
    fs::create_dir(dir.path().join("wal.tmp")).unwrap();
    fs::write(dir.path().join("wal.tmp/0000000000000000-0000000000000000.wal"), b"half").unwrap();
    assert!(!Wal::exists(&wal_dir));
    drop(Wal::create(&wal_dir, METADATA, SMALL).unwrap());
    assert_eq!(names(dir.path()), ["wal"]);
}

/// The membership entries are there from the first moment that the log is.
#[test]
fn a_new_clusters_log_appears_with_its_members() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("wal");
    let member = |id: u64| BootstrapMember { id, context: format!("m{id}").into() };
    let members = [member(9), member(7), member(8)];
    let wal = Wal::create_bootstrapped(&dir, METADATA, SMALL, &members).unwrap();
    let (entries, hard_state) = bootstrap(&members);
    assert_eq!(wal.entries(Index(1), Index(4), u64::MAX).unwrap(), entries);
    assert_eq!(wal.hard_state(), hard_state);
    assert!(wal.synced().offset > 64);
}

/// A state that came from elsewhere is all there is of what was before.
#[test]
fn a_log_may_begin_after_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("wal");
    let state = committed(1, 3);
    drop(Wal::create_after(&dir, METADATA, SMALL, &mark(3, 1), state).unwrap());
    let mut wal = Wal::open(&dir, METADATA, SMALL).unwrap();
    assert_eq!((wal.first_index(), wal.last_index()), (Index(4), Index(3)));
    assert_eq!((wal.term(Index(3)), wal.hard_state()), (Some(Term(1)), state));
    wal.append(&[entry(4, 2, b"next")], None).unwrap();
    assert_eq!(wal.last_index(), Index(4));
}

/// A full segment is cut to its records; the next one takes what was prepared, or does without.
#[test]
fn full_segment_is_followed_by_the_prepared_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("wal");
    let mut wal = Wal::create(&dir, METADATA, SMALL).unwrap();
    wal.preparer().prepare().unwrap();
    for index in 1..=30 {
        wal.append(&[entry(index, 1, &[1; 1000])], Some(HardState { term: 1, vote: 7, commit: 0 }))
            .unwrap();
        wal.sync().unwrap();
    }
    assert_eq!(
        names(&dir),
        [
            "0000000000000000-0000000000000000.wal",
            "0000000000000001-0000000000000009.wal",
            "0000000000000002-0000000000000011.wal",
            "0000000000000003-0000000000000019.wal"
        ]
    );
    let synced = wal.synced();
    assert_eq!(synced.segment, dir.join("0000000000000003-0000000000000019.wal"));
    let content = fs::read(&synced.segment).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // A sync marker follows: the length of its frame says how long it is.
    let offset = usize::try_from(synced.offset).unwrap();
    let record = usize::from(content[offset]);
    assert!((offset..=offset + 8 + record.next_multiple_of(8)).contains(&end));
    assert_eq!(wal.entries(Index(1), Index(31), u64::MAX).unwrap().len(), 30);
}

/// What a crash left after the last whole record is zeroed before anything is appended, so that no
/// later record is followed by the remains.
#[test]
fn remains_of_a_torn_write_are_zeroed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("wal");
    let mut wal = Wal::create(&dir, METADATA, SMALL).unwrap();
    wal.append(&[entry(1, 1, b"kept")], None).unwrap();
    wal.sync().unwrap();
    let synced = wal.synced();
    wal.append(&[entry(2, 1, &[9; 3000])], None).unwrap();
    drop(wal);
    let mut content = fs::read(&synced.segment).unwrap();
    content[2048..].fill(0);
    fs::write(&synced.segment, content).unwrap();

    assert!(ReadOnlyLog::open(&dir).unwrap().torn_bytes() > 1000);
    let wal = Wal::open(&dir, METADATA, SMALL).unwrap();
    assert_eq!(wal.last_index(), Index(1));
    let content = fs::read(&synced.segment).unwrap();
    let offset = usize::try_from(synced.offset).unwrap();
    // What follows is the marker that was written after the sync.
    assert!(content[offset + 32..].iter().all(|byte| *byte == 0));
    assert_eq!(content.len(), 8 * 1024);
}

/// A sector that is lost before a sync marker was lost after it was synced, and everything after it
/// may have been acknowledged: the log is refused.
#[test]
fn a_sector_lost_of_what_was_synced_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("wal");
    let mut wal = Wal::create(&dir, METADATA, SMALL).unwrap();
    for index in 1..=5 {
        wal.append(&[entry(index, 1, &[9; 600])], None).unwrap();
        wal.sync().unwrap();
    }
    let synced = wal.synced();
    drop(wal);
    let whole = fs::read(&synced.segment).unwrap();
    let sectors = usize::try_from(synced.offset).unwrap() / 512;
    for sector in 0..=sectors {
        let mut content = whole.clone();
        content[sector * 512..(sector + 1) * 512].fill(0);
        fs::write(&synced.segment, &content).unwrap();
        let opened = Wal::open(&dir, METADATA, SMALL);
        if sector < sectors {
            let refused = opened.unwrap_err();
            assert!(matches!(refused, Fatal::Corrupt { .. }), "sector {sector}: {refused}");
            assert_eq!(fs::read(&synced.segment).unwrap(), content, "sector {sector}");
        } else {
            // It has the last marker, too, so that it may never have been written.
            assert_eq!(opened.unwrap().last_index(), Index(4), "sector {sector}");
        }
    }
}

/// Entries can be lost without a wrong CRC, when a whole segment is missing.
#[test]
fn missing_segment_is_named() {
    for lost in ["0000000000000000-0000000000000000.wal", "0000000000000001-000000000000001b.wal"] {
        let dir = tempfile::tempdir().unwrap();
        copy(&etcd_wal("segments"), dir.path());
        fs::remove_file(dir.path().join(lost)).unwrap();
        let refused = Wal::open(dir.path(), METADATA, SMALL).unwrap_err();
        assert!(matches!(refused, Fatal::Unusable { .. }), "{refused}");
    }
}

/// The log must reach to what it says is committed: here the commit index is known, and the entry
/// that it names was in a segment that is gone.
#[test]
fn log_that_ends_before_its_commit_index_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("wal");
    let mut wal = Wal::create(&dir, METADATA, SMALL).unwrap();
    wal.append(&[entry(1, 1, b"a")], Some(HardState { term: 1, vote: 7, commit: 5 })).unwrap();
    drop(wal);
    let refused = Wal::open(&dir, METADATA, SMALL).unwrap_err();
    assert!(matches!(refused, Fatal::LogTooShort { last_index: 1, needed: 5 }), "{refused}");
}

/// What a benchmark divides by: one for each sync that there was something to do for.
#[test]
fn syncs_are_counted() {
    use std::sync::atomic::Ordering;

    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::create(&dir.path().join("wal"), METADATA, SMALL).unwrap();
    let syncs = wal.syncs();
    for index in 1..=3 {
        wal.append(&[entry(index, 2, b"a")], None).unwrap();
        wal.sync().unwrap();
    }
    wal.sync().unwrap();
    assert_eq!(syncs.load(Ordering::Relaxed), 3);
}
