//! A state goes out as the rows of etcd's buckets, and comes in again as the same state.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "script/operations.rs"]
#[expect(dead_code, reason = "what was recorded of etcd is for another test")]
mod operations;
#[path = "script/request.rs"]
mod request;

use std::sync::Arc;

use bytes::Bytes;
use operations::{Operation, Operations};
use prost::Message as _;
use request::request_of;
use rusd_proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, InternalRaftRequest, PutRequest,
    RangeRequest, RequestOp, TxnRequest, request_op::Request,
};
use rusd_proto::raftpb::{ConfChange, ConfChangeType, ConfState, Entry, EntryType};
use rusd_state::etcd::{EtcdBucket, EtcdRows, Founding, FromEtcd, FromEtcdError};
use rusd_state::members::MemberContext;
use rusd_state::storage::{HistoryOptions, MemoryBackend, StorageError, verify};
use rusd_state::{Compactor, HashKv, Options, Progress, StateMachine};

type Row = (EtcdBucket, Vec<u8>, Vec<u8>);

struct Machine {
    state: StateMachine,
    compactor: Compactor,
}

impl Machine {
    fn over(backend: MemoryBackend) -> Self {
        Machine::open(Arc::new(backend))
    }

    fn open(backend: Arc<MemoryBackend>) -> Self {
        // Small blocks, so that many are of both sides of a compaction.
        let options = HistoryOptions { block_bytes: 500, ..HistoryOptions::default() };
        let state = StateMachine::open(backend, options, Options::default()).unwrap();
        let compactor = state.compactor();
        Machine { state, compactor }
    }

    fn new() -> Self {
        Machine::over(MemoryBackend::default())
    }

    fn apply(&mut self, request: InternalRaftRequest) {
        let index = self.state.applied().0 + 1;
        let data = Some(request.encode_to_vec().into());
        let entry = Entry { term: Some(1), index: Some(index), r#type: None, data };
        // What is refused changes nothing.
        drop(self.state.apply(&entry).unwrap().outcome);
    }

    fn play(&mut self, operation: Operation) {
        self.apply(request_of(operation));
    }

    fn compact(&mut self, revision: i64) {
        let compaction = Some(CompactionRequest { revision, physical: false });
        self.apply(InternalRaftRequest { compaction, ..InternalRaftRequest::default() });
    }

    /// Everything compacted is gone.
    fn clean(&mut self) {
        self.state.history().flush().unwrap();
        while self.compactor.step(100).unwrap() == Progress::More {}
    }

    fn try_rows(&self) -> Option<Vec<Row>> {
        let mut rows = EtcdRows::of(&self.state.view(), "3.7.0").unwrap()?;
        let mut all = Vec::new();
        for _ in 0..2 {
            all.clear();
            for bucket in EtcdBucket::ALL {
                rows.visit::<StorageError>(bucket, &mut |key, value| {
                    all.push((bucket, key.to_vec(), value.to_vec()));
                    Ok(())
                })
                .unwrap();
            }
        }
        assert!(all.is_sorted_by(|a, b| (a.0, &a.1) < (b.0, &b.1)), "rows ascend");
        Some(all)
    }

    fn rows(&self) -> Vec<Row> {
        self.state.history().flush().unwrap();
        self.try_rows().expect("everything is durable")
    }

    fn hash(&self, revision: i64) -> HashKv {
        self.state.view().hash_kv(revision).unwrap()
    }
}

/// The log of a cluster of one.
fn founding() -> Founding {
    let context = MemberContext {
        id: 7,
        name: "m1".to_owned(),
        peer_urls: vec!["http://127.0.0.1:2380".to_owned()],
        ..MemberContext::default()
    };
    let change = ConfChange {
        r#type: Some(ConfChangeType::ConfChangeAddNode.into()),
        node_id: Some(7),
        context: Some(context.to_json()),
        id: None,
    };
    let entry = Entry {
        term: Some(1),
        index: Some(1),
        r#type: Some(EntryType::EntryConfChange.into()),
        data: Some(change.encode_to_vec().into()),
    };
    let conf_state = ConfState { voters: vec![7], auto_leave: Some(false), ..ConfState::default() };
    Founding { entries: vec![entry], conf_state, bump_revision: None }
}

fn try_restored(rows: &[Row], founding: Founding) -> Result<Machine, FromEtcdError> {
    let backend = Arc::new(MemoryBackend::default());
    let mut incoming = FromEtcd::into(backend.clone());
    for (bucket, key, value) in rows {
        incoming.add(*bucket, key, Bytes::from(value.clone()))?;
    }
    let durable = incoming.finish(founding)?;
    let opened: Arc<dyn rusd_state::storage::Backend> = backend.clone();
    let report = verify(&opened).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let machine = Machine::open(backend);
    assert_eq!(machine.state.view().revision(), durable.revision);
    Ok(machine)
}

fn restored(rows: &[Row]) -> Machine {
    try_restored(rows, founding()).unwrap()
}

fn of_users(rows: Vec<Row>) -> Vec<Row> {
    let is_of_users = |row: &Row| {
        !matches!(row.0, EtcdBucket::Meta | EtcdBucket::Members | EtcdBucket::MembersRemoved)
    };
    rows.into_iter().filter(is_of_users).collect()
}

/// What was written is the same in both, as far as it can be read.
fn assert_same(machine: &Machine, other: &Machine) {
    let (view, other_view) = (machine.state.view(), other.state.view());
    assert_eq!(view.revision(), other_view.revision());
    assert_eq!(view.compact_revision(), other_view.compact_revision());
    let first = view.compact_revision().max(0) + 1;
    for revision in (first..=view.revision()).step_by(97).chain([view.revision()]) {
        // Of the compact revision, who compacted remembers the hash from before.
        if revision > view.compact_revision() {
            assert_eq!(machine.hash(revision), other.hash(revision), "revision {revision}");
        }
        let everything = || vec![0].into();
        let request = RangeRequest {
            key: everything(),
            range_end: everything(),
            revision,
            ..RangeRequest::default()
        };
        assert_eq!(view.range(&request).unwrap(), other_view.range(&request).unwrap());
    }
    let leases = |machine: &Machine| -> Vec<_> {
        let view = machine.state.view();
        view.leases().into_iter().map(|id| view.lease(id).unwrap()).collect()
    };
    assert_eq!(leases(machine), leases(other));
    assert_eq!(view.alarms(), other_view.alarms());
    assert_eq!(view.cluster_version(), other_view.cluster_version());
}

#[test]
fn what_goes_out_comes_in_as_the_same() {
    let mut machine = Machine::new();
    let alarm = Some(AlarmRequest { action: 1, member_id: 5, alarm: 2 });
    let mut operations = Operations::recorded();
    for number in 1..=3000 {
        machine.play(operations.next(machine.state.view().revision()));
        if number % 300 != 0 {
            continue;
        }
        let rows = machine.rows();
        machine.clean();
        assert_eq!(machine.rows(), rows, "what compaction drops was not among them");
        let mut other = restored(&rows);
        assert_same(&machine, &other);
        let members = other.state.view().members();
        assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [7]);
        assert_eq!((other.state.applied(), other.state.conf_state().voters), ((1, 1), vec![7]));
        assert_eq!(of_users(other.rows()), of_users(rows));
        // And it goes on.
        let put = Some(PutRequest { key: "k".into(), ..PutRequest::default() });
        other.apply(InternalRaftRequest { put, ..InternalRaftRequest::default() });
        assert_eq!(other.state.view().revision(), machine.state.view().revision() + 1);
    }
    machine.apply(InternalRaftRequest { alarm, ..InternalRaftRequest::default() });
    assert_same(&machine, &restored(&machine.rows()));
}

#[test]
fn a_compaction_that_is_not_durable_is_waited_for() {
    let mut machine = Machine::new();
    for _ in 0..9 {
        let put = Some(PutRequest { key: "k".into(), ..PutRequest::default() });
        machine.apply(InternalRaftRequest { put, ..InternalRaftRequest::default() });
    }
    machine.rows();
    machine.compact(5);
    assert_eq!(machine.try_rows(), None);
    machine.state.history().flush().unwrap();
    let keys = machine.try_rows().unwrap();
    assert_eq!(keys.iter().filter(|row| row.0 == EtcdBucket::Key).count(), 6);
}

fn keys(rows: &[Row]) -> Vec<String> {
    let keys = rows.iter().filter(|row| row.0 == EtcdBucket::Key);
    keys.map(|(_, key, _)| {
        let number = |at: usize| i64::from_be_bytes(key[at..at + 8].try_into().unwrap());
        let mark = if key.len() > 17 { "t" } else { "" };
        format!("{}.{}{mark}", number(0), number(9))
    })
    .collect()
}

/// Deletes at the compact revision stay for the watches that begin there, as in etcd 3.6; a store of
/// which nothing is left keeps its revision.
#[test]
fn deletes_at_the_compact_revision_stay() {
    let put = |key: &str| PutRequest { key: key.to_owned().into(), ..PutRequest::default() };
    let delete =
        |key: &str| DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() };
    let mut machine = Machine::new();
    for key in ["a", "b", "c"] {
        machine.play(Operation::Put(put(key)));
    }
    machine.play(Operation::DeleteRange(delete("a")));
    let op = |request| RequestOp { request: Some(request) };
    let success = vec![
        op(Request::RequestDeleteRange(delete("b"))),
        op(Request::RequestDeleteRange(delete("c"))),
    ];
    machine.play(Operation::Txn(TxnRequest { success, ..TxnRequest::default() }));
    assert_eq!(keys(&machine.rows()), ["2.0", "3.0", "4.0", "5.0t", "6.0t", "6.1t"]);
    machine.compact(6);
    assert_eq!(keys(&machine.rows()), ["6.0t", "6.1t"]);
    machine.clean();
    let rows = machine.rows();
    assert_eq!(keys(&rows), ["6.0t", "6.1t"]);
    assert_same(&machine, &restored(&rows));
    let without: Vec<Row> = rows.into_iter().filter(|row| row.0 != EtcdBucket::Key).collect();
    assert_eq!(restored(&without).state.view().revision(), 6);
}

#[test]
fn a_raised_revision_is_compacted_up_to() {
    let mut machine = Machine::new();
    let put = PutRequest { key: "a".into(), ..PutRequest::default() };
    machine.play(Operation::Put(put.clone()));
    let rows = machine.rows();
    let raised = Founding { bump_revision: Some(100), ..founding() };
    let mut other = try_restored(&rows, raised).unwrap();
    let (view, hash) = (other.state.view(), other.hash(0));
    assert_eq!((view.revision(), view.compact_revision()), (102, 102));
    other.clean();
    assert_eq!(other.hash(0), hash);
    let rows = other.rows();
    assert_eq!(keys(&rows), ["2.0", "102.0"]);
    assert_same(&other, &restored(&rows));
    other.play(Operation::Put(put));
    assert_eq!(other.state.view().revision(), 103);
    assert_same(&other, &restored(&other.rows()));
    other.compact(103);
    other.clean();
    assert_eq!(keys(&other.rows()), ["102.0", "103.0"], "as etcd keeps it too");
}

#[test]
fn rows_that_make_no_sense_are_named() {
    let mut machine = Machine::new();
    let put = PutRequest { key: "a".into(), ..PutRequest::default() };
    machine.play(Operation::Put(put.clone()));
    machine.play(Operation::Put(put));
    let good = machine.rows();
    let refusal = |change: &dyn Fn(&mut Vec<Row>)| {
        let mut rows = good.clone();
        change(&mut rows);
        try_restored(&rows, founding()).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let key = |rows: &[Row]| rows.iter().position(|row| row.0 == EtcdBucket::Key).unwrap();
    assert_eq!(refusal(&|_| {}), "");
    let refusals = [
        refusal(&|rows| {
            let at = key(rows);
            rows[at].1[8] = b'-';
        }),
        refusal(&|rows| {
            let at = key(rows);
            rows.swap(at, at + 1);
        }),
        refusal(&|rows| {
            let at = key(rows);
            rows[at].1[7] = 1;
        }),
        refusal(&|rows| {
            let at = key(rows);
            rows[at].2.push(0xff);
        }),
        refusal(&|rows| rows.push((EtcdBucket::Lease, vec![1; 8], vec![]))),
        refusal(&|rows| rows.push((EtcdBucket::Alarm, vec![0xff], vec![]))),
        refusal(&|rows| rows.push((EtcdBucket::Meta, b"finishedCompactRev".to_vec(), vec![1]))),
        refusal(&|rows| rows.push((EtcdBucket::AuthUsers, b"root".to_vec(), vec![]))),
        refusal(&|rows| rows.push((EtcdBucket::Auth, b"authEnabled".to_vec(), vec![1]))),
        refusal(&|rows| rows.push((EtcdBucket::Cluster, b"clusterVersion".to_vec(), vec![0xff]))),
    ];
    for (refused, expected) in refusals.iter().zip([
        "not a revision",
        "it does not follow the revision before it",
        "holds version 1 of revision 2",
        "invalid varint",
        "holds lease 0",
        "invalid varint",
        "not a revision",
        "the snapshot has users, roles or authentication",
        "the snapshot has users, roles or authentication",
        "invalid utf-8",
    ]) {
        assert!(refused.contains(expected), "{refused:?} should tell {expected:?}");
    }
}
