//! What the state machine keeps and refuses beside keys: members, the conf state, the cluster's
//! version, and entries that do not fit.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use prost::Message;
use rusd_proto::etcdserverpb as pb;
use rusd_proto::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest};
use rusd_proto::raftpb::{ConfChange, ConfChangeType, ConfState, Entry, EntryType};
use rusd_state::storage::{Backend, FoldProgress, HistoryOptions, MemoryBackend};
use rusd_state::{
    ApplyError, Fatal, LeaseEffect, Options, Progress, Response, Revision, StateMachine,
};

fn open(backend: &Arc<MemoryBackend>) -> StateMachine {
    let backend: Arc<dyn Backend> = Arc::<MemoryBackend>::clone(backend);
    StateMachine::open(backend, HistoryOptions::default(), Options::default()).unwrap()
}

fn normal(index: u64, request: &pb::InternalRaftRequest) -> Entry {
    let data = Some(request.encode_to_vec().into());
    Entry { term: Some(3), index: Some(index), r#type: None, data }
}

fn conf_change(index: u64, kind: ConfChangeType, id: u64, json: &str) -> Entry {
    let change = ConfChange {
        r#type: Some(kind.into()),
        node_id: Some(id),
        context: Some(json.to_owned().into()),
        id: Some(77),
    };
    Entry {
        term: Some(3),
        index: Some(index),
        r#type: Some(EntryType::EntryConfChange.into()),
        data: Some(change.encode_to_vec().into()),
    }
}

fn put(key: &str) -> pb::InternalRaftRequest {
    let put = pb::PutRequest { key: key.to_owned().into(), ..pb::PutRequest::default() };
    pb::InternalRaftRequest { put: Some(put), ..pb::InternalRaftRequest::default() }
}

fn compaction(revision: i64) -> pb::InternalRaftRequest {
    let compaction = Some(pb::CompactionRequest { revision, physical: false });
    pb::InternalRaftRequest { compaction, ..pb::InternalRaftRequest::default() }
}

/// Applies what must be done, into a block of its own.
fn apply(machine: &mut StateMachine, request: &pb::InternalRaftRequest) {
    let (index, _) = machine.applied();
    let applied = machine.apply(&normal(index + 1, request)).unwrap();
    assert!(applied.outcome.is_ok(), "{:?}", applied.outcome);
    machine.history().flush().unwrap();
}

fn grant(id: i64) -> pb::InternalRaftRequest {
    let lease_grant = Some(pb::LeaseGrantRequest { id, ttl: 60 });
    pb::InternalRaftRequest { id: 5, lease_grant, ..pb::InternalRaftRequest::default() }
}

#[test]
fn members_and_versions_survive_a_restart() {
    let backend = Arc::new(MemoryBackend::default());
    let mut machine = open(&backend);
    let conf_state = ConfState { voters: vec![1], ..ConfState::default() };
    machine.set_conf_state(conf_state.clone());
    let add = r#"{"id":1,"peerURLs":["http://a:2380"],"name":"a"}"#;
    let add = conf_change(1, ConfChangeType::ConfChangeAddNode, 1, add);
    let applied = machine.apply(&add).unwrap();
    assert_eq!(applied.request_id, 77);
    assert!(matches!(applied.outcome, Ok(Response::Members(members)) if members.len() == 1));
    let attributes = Attributes { name: "b".into(), client_urls: vec!["http://a:2379".into()] };
    let set = ClusterMemberAttrSetRequest { member_id: 1, member_attributes: Some(attributes) };
    let version = ClusterVersionSetRequest { ver: "3.6.0".into() };
    let set = pb::InternalRaftRequest { cluster_member_attr_set: Some(set), ..Default::default() };
    let version =
        pb::InternalRaftRequest { cluster_version_set: Some(version), ..Default::default() };
    machine.apply(&normal(2, &set)).unwrap();
    machine.apply(&normal(3, &version)).unwrap();
    machine.history().flush().unwrap();
    let members = machine.view().members();
    let machine = open(&backend);
    assert_eq!(machine.applied(), (3, 3));
    assert_eq!(machine.conf_state(), conf_state);
    assert_eq!(machine.view().members(), members);
    assert_eq!(members[0].name, "b");
    assert_eq!(machine.view().cluster_version(), "3.6.0");
}

#[test]
fn a_removed_member_stays_removed() {
    let backend = Arc::new(MemoryBackend::default());
    let mut machine = open(&backend);
    for (id, context) in [(1, r#"{"peerURLs":["a"]}"#), (2, r#"{"peerURLs":["b"]}"#)] {
        let add = conf_change(id, ConfChangeType::ConfChangeAddNode, id, context);
        machine.apply(&add).unwrap();
    }
    machine.history().flush().unwrap();
    let mut machine = open(&backend);
    let remove = |index| conf_change(index, ConfChangeType::ConfChangeRemoveNode, 1, "");
    let removed = machine.apply(&remove(3)).unwrap().outcome;
    let left = machine.view().members();
    assert_eq!(left.iter().map(|member| member.id).collect::<Vec<_>>(), [2]);
    assert_eq!(removed, Ok(Response::Members(left.clone())));
    assert_eq!(machine.apply(&remove(4)).unwrap().outcome, Err(ApplyError::MemberRemoved));
    machine.history().flush().unwrap();
    assert_eq!(open(&backend).view().members(), left);
}

#[test]
fn entries_come_in_order_and_whole() {
    let mut machine = open(&Arc::new(MemoryBackend::default()));
    machine.apply(&normal(1, &put("a"))).unwrap();
    let gap = machine.apply(&normal(3, &put("a"))).unwrap_err();
    assert!(matches!(gap, Fatal::Gap { applied: 1, got: 3 }), "{gap}");
    let again = machine.apply(&normal(1, &put("a"))).unwrap_err();
    assert!(matches!(again, Fatal::Gap { applied: 1, got: 1 }), "{again}");
    let mut torn = normal(2, &put("a"));
    torn.data = torn.data.map(|data| data.slice(..data.len() - 1));
    let torn = machine.apply(&torn).unwrap_err();
    assert!(matches!(torn, Fatal::MalformedEntry { index: 2, .. }), "{torn}");
    let bad = conf_change(2, ConfChangeType::ConfChangeAddNode, 1, "{");
    let bad = machine.apply(&bad).unwrap_err();
    assert!(matches!(bad, Fatal::MalformedMember { index: 2, .. }), "{bad}");
}

#[test]
fn what_is_not_built_is_refused_and_counts_as_applied() {
    let mut machine = open(&Arc::new(MemoryBackend::default()));
    let enable = pb::InternalRaftRequest {
        auth_enable: Some(pb::AuthEnableRequest {}),
        ..pb::InternalRaftRequest::default()
    };
    let applied = machine.apply(&normal(1, &enable)).unwrap();
    assert_eq!(applied.outcome, Err(ApplyError::Unimplemented));
    let empty = Entry { term: Some(3), index: Some(2), ..Entry::default() };
    assert_eq!(machine.apply(&empty).unwrap().outcome, Ok(Response::None));
    assert_eq!((machine.view().applied_index(), machine.view().revision()), (2, 1));
}

#[test]
fn a_batch_tells_of_each_entry_after_all_are_readable() {
    let mut machine = open(&Arc::new(MemoryBackend::default()));
    let view = machine.view();
    let revoke = pb::InternalRaftRequest {
        lease_revoke: Some(pb::LeaseRevokeRequest { id: 9 }),
        ..pb::InternalRaftRequest::default()
    };
    let entries =
        [normal(1, &put("a")), normal(2, &grant(9)), normal(3, &revoke), normal(4, &put("b"))];
    let mut seen = Vec::new();
    let each = &mut |applied: rusd_state::Applied| {
        assert_eq!((view.applied_index(), view.revision()), (4, 3));
        seen.push((applied.index, applied.events.revision, applied.lease));
    };
    machine.apply_batch(&entries, each).unwrap();
    let granted = LeaseEffect::Granted { id: 9, ttl: 60 };
    let revoked = LeaseEffect::Revoked { id: 9 };
    let expected = [(1, 2, None), (2, 2, Some(granted)), (3, 2, Some(revoked)), (4, 3, None)];
    assert_eq!(seen, expected);
}

/// A checkpoint is stored, one of a lease that is gone is passed over, and a lease that is loaded
/// has at least the time that leases are granted now.
#[test]
fn checkpoints_of_leases_are_kept() {
    let backend = Arc::new(MemoryBackend::default());
    let mut machine = open(&backend);
    machine.apply(&normal(1, &grant(9))).unwrap();
    let noted = |id, remaining_ttl| pb::LeaseCheckpoint { id, remaining_ttl };
    let checkpoints = vec![noted(8, 10), noted(9, 20)];
    let checkpoint = pb::InternalRaftRequest {
        lease_checkpoint: Some(pb::LeaseCheckpointRequest { checkpoints }),
        ..pb::InternalRaftRequest::default()
    };
    let applied = machine.apply(&normal(2, &checkpoint)).unwrap();
    assert!(applied.outcome.is_ok());
    assert_eq!(applied.lease, Some(LeaseEffect::Checkpointed(vec![(9, 20)])));
    machine.history().flush().unwrap();
    let options = Options { lease_ttl_seconds_min: 100, ..Options::default() };
    let machine = StateMachine::open(backend, HistoryOptions::default(), options).unwrap();
    let lease = machine.view().lease(9).unwrap();
    assert_eq!((lease.ttl, lease.remaining_ttl), (100, 20));
    assert!(machine.view().lease(8).is_none());
}

#[test]
fn the_hint_for_reads_of_the_engine_follows_memory() {
    let backend = Arc::new(MemoryBackend::default());
    let options = Options { resident_bytes_max: 200, ..Options::default() };
    let mut machine = StateMachine::open(backend, HistoryOptions::default(), options).unwrap();
    machine.apply(&normal(1, &put("a"))).unwrap();
    let get = |key: &str| pb::RangeRequest { key: key.to_owned().into(), ..Default::default() };
    let view = machine.view();
    assert!(!view.would_touch_engine(&get("a")));
    machine.apply(&normal(2, &put("b"))).unwrap();
    let evicted = ["a", "b"].map(|key| view.would_touch_engine(&get(key)));
    assert_eq!(evicted.iter().filter(|evicted| **evicted).count(), 1);
    assert!(!view.would_touch_engine(&get("absent")));
    assert!(view.would_touch_engine(&pb::RangeRequest { revision: 2, ..get("b") }));
    assert!(view.would_touch_engine(&pb::RangeRequest { range_end: "z".into(), ..get("a") }));
}

/// The planted bug does what it is for: each change of the transaction is there, but under two
/// revisions, and a read at the first sees half of it.
#[cfg(feature = "planted-bugs")]
#[test]
fn the_planted_bug_splits_a_transaction() {
    use pb::request_op::Request;
    use rusd_state::options::PlantedBugs;

    let planted = PlantedBugs { split_txn: true };
    let options = Options { planted, ..Options::default() };
    let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    let mut machine =
        StateMachine::open(Arc::clone(&backend), HistoryOptions::default(), options).unwrap();
    let op = |key: &str| {
        let put = put(key).put.unwrap();
        pb::RequestOp { request: Some(Request::RequestPut(put)) }
    };
    let txn = pb::TxnRequest { success: ["a", "b", "c"].map(op).into(), ..Default::default() };
    let txn = pb::InternalRaftRequest { txn: Some(txn), ..Default::default() };
    let applied = machine.apply(&normal(1, &txn)).unwrap();
    let revisions: Vec<i64> = applied.events.list.iter().map(|e| e.kv.mod_revision).collect();
    assert_eq!(revisions, [2, 3, 3]);
    let all =
        pb::RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..Default::default() };
    let half = pb::RangeRequest { revision: 2, ..all.clone() };
    machine.history().flush().unwrap();
    let machine =
        StateMachine::open(backend, HistoryOptions::default(), Options::default()).unwrap();
    assert_eq!(machine.view().range(&half).unwrap().count, 1);
    assert_eq!(machine.view().range(&all).unwrap().count, 3);
}

/// Where compactions come faster than history is walked through, what is dead goes all the same.
#[test]
fn compactions_that_follow_fast_remove_history_too() {
    let backend = Arc::new(MemoryBackend::default());
    let mut machine = open(&backend);
    let mut compactor = machine.compactor();
    // These stay.
    for number in 0..100 {
        apply(&mut machine, &put(&format!("k{number}")));
    }
    for _ in 0..100 {
        apply(&mut machine, &put("a"));
    }
    for revision in 150..200 {
        apply(&mut machine, &compaction(revision));
        // Fewer than there are below.
        for _ in 0..6 {
            compactor.step(4).unwrap();
        }
    }
    let is_there = |main| machine.history().get(Revision::first_of(main), b"a").unwrap().is_some();
    assert!((102..150).all(|main| !is_there(main)), "what was dead at the first compaction");
    assert!(is_there(200), "what is not");
}

/// Where compactions come faster than their hashes are taken, what is dead goes all the same.
#[test]
fn compactions_that_follow_faster_than_hashes_remove_history_too() {
    let backend = Arc::new(MemoryBackend::default());
    let mut machine = open(&backend);
    let mut compactor = machine.compactor();
    // A hash reads a mebibyte in a step: of these it takes four.
    let long = |key: &str| {
        let (key, value) = (key.to_owned().into(), vec![b'v'; 1 << 20].into());
        let put = Some(pb::PutRequest { key, value, ..pb::PutRequest::default() });
        pb::InternalRaftRequest { put, ..pb::InternalRaftRequest::default() }
    };
    for key in ["k1", "k2", "k3", "a", "a"] {
        apply(&mut machine, &long(key));
    }
    let is_there = |machine: &StateMachine| {
        machine.history().get(Revision::first_of(5), b"a").unwrap().is_some()
    };
    assert!(is_there(&machine));
    let mut rounds = 0;
    for revision in 6..50 {
        apply(&mut machine, &put("b"));
        apply(&mut machine, &compaction(revision));
        for _ in 0..3 {
            compactor.step(100).unwrap();
        }
        rounds += 1;
        if !is_there(&machine) {
            break;
        }
    }
    assert!(rounds < 20, "nothing is removed");
    compactor.step(100).unwrap();
    assert!(compactor.gone() >= 6, "and whoever waits for it is told, though more is to come");
}

/// Where compactions come faster than the index is walked through, what is dead goes all the same.
#[test]
fn compactions_that_follow_faster_than_walks_over_the_index_remove_history_too() {
    let backend = Arc::new(MemoryBackend::default());
    let mut machine = open(&backend);
    let mut compactor = machine.compactor();
    for _ in 0..2 {
        apply(&mut machine, &put("a"));
    }
    // A walk lets go of 512 keys in a step: of these it takes four.
    for number in 0..2000 {
        apply(&mut machine, &put(&format!("k{number}")));
    }
    let is_there = |machine: &StateMachine| {
        machine.history().get(Revision::first_of(2), b"a").unwrap().is_some()
    };
    // More than the hashes that are kept for.
    for revision in 1000..1020 {
        apply(&mut machine, &compaction(revision));
    }
    assert!(is_there(&machine));
    let mut rounds = 0;
    while is_there(&machine) {
        apply(&mut machine, &compaction(1020 + rounds));
        for _ in 0..3 {
            compactor.step(100).unwrap();
        }
        rounds += 1;
        assert!(rounds < 100, "nothing is removed");
    }
}

/// What was compacted last is not what is removed next: an export holds up all removals.
#[test]
fn an_export_outlives_compactions_whichever_is_carried_out() {
    let backend = Arc::new(MemoryBackend::default());
    let mut machine = open(&backend);
    let mut compactor = machine.compactor();
    for _ in 0..10 {
        apply(&mut machine, &put("a"));
    }
    for revision in [5, 8] {
        apply(&mut machine, &compaction(revision));
    }
    let history = machine.history();
    while history.fold_step(100).unwrap() != FoldProgress::Idle {}
    let kept = || {
        let is_there = |main: &i64| history.get(Revision::first_of(*main), b"a").unwrap().is_some();
        (2..=11).filter(is_there).count()
    };
    let export = history.export().unwrap();
    for _ in 0..50 {
        compactor.step(100).unwrap();
    }
    assert_eq!(kept(), 10, "under the export's eyes");
    drop(export);
    for _ in 0..50 {
        compactor.step(100).unwrap();
    }
    assert_eq!(kept(), 4, "what is not dead");
}

/// A reader that has pinned a revision reads it whole, however long it takes: neither the index nor
/// the history lets go of what it needs, until the pin is gone.
#[test]
fn a_pinned_revision_outlives_a_compaction() {
    let backend = Arc::new(MemoryBackend::default());
    let mut machine = open(&backend);
    for index in 1..=10 {
        machine.apply(&normal(index, &put("a"))).unwrap();
    }
    let history = machine.history();
    history.flush().unwrap();
    let read_at = |revision| {
        let key = "a".to_owned().into();
        let request = pb::RangeRequest { key, revision, ..pb::RangeRequest::default() };
        machine.view().range(&request)
    };
    let mut compactor = machine.compactor();
    let pin = history.pin(5);
    let compaction = Some(pb::CompactionRequest { revision: 10, physical: true });
    let compact = pb::InternalRaftRequest { compaction, ..pb::InternalRaftRequest::default() };
    assert_eq!(read_at(5).unwrap().kvs[0].version, 4);
    machine.apply(&normal(11, &compact)).unwrap();
    history.flush().unwrap();
    let mut steps = 0;
    while compactor.step(100).unwrap() == Progress::More {
        steps += 1;
        assert!(steps < 100, "the compaction does not come to rest");
    }
    let pinned = Revision::first_of(5);
    assert!(
        history.get(pinned, b"a").unwrap().is_some(),
        "the history let go of a pinned revision"
    );
    drop(pin);
    while compactor.step(100).unwrap() != Progress::Done {
        steps += 1;
        assert!(steps < 200, "the compaction does not end");
        history.flush().unwrap();
        history.fold_step(100).unwrap();
    }
    assert!(history.get(pinned, b"a").unwrap().is_none(), "nothing was compacted");
}
