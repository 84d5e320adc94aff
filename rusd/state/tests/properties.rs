//! The state machine against a naive model: a map of all versions of all keys.
//!
//! Random commands go to both. After every one the answers must be equal, and in between the machine
//! is flushed, folded, compacted, opened anew, or held by a reader; after all that everything that
//! is readable must read as the model has it.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "script/model.rs"]
mod model;

use std::sync::Arc;

use model::{Hash, Model, Op};
use proptest::prelude::*;
use prost::Message;
use rusd_proto::etcdserverpb as pb;
use rusd_proto::etcdserverpb::request_op::Request;
use rusd_proto::raftpb::Entry;
use rusd_state::storage::{Backend, FoldProgress, HistoryOptions, MemoryBackend};
use rusd_state::{Compactor, Options, Progress, ReadError, Response, StateMachine};

/// What is done next.
#[derive(Debug, Clone)]
enum Action {
    Write(Vec<Op>),
    Grant(i64),
    Revoke(i64),
    Compact(u8),
    Flush,
    Fold,
    Clean,
    Reopen,
    ReadAll,
}

fn key() -> impl Strategy<Value = u8> {
    0_u8..8
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (key(), any::<u8>(), 0_i64..3).prop_map(|(key, value, lease)| Op::Put { key, value, lease }),
        2 => (key(), key()).prop_map(|(from, to)| Op::Delete { from, to }),
    ]
}

/// A transaction may not write a key twice, nor write and delete it: the server refuses that before
/// it proposes. Deletes may overlap.
fn distinct(ops: Vec<Op>) -> Vec<Op> {
    let mut kept: Vec<Op> = Vec::new();
    for op in ops {
        let collides = kept.iter().any(|other| match (*other, op) {
            (Op::Put { key: a, .. }, Op::Put { key: b, .. }) => a == b,
            (Op::Put { key, .. }, Op::Delete { from, to })
            | (Op::Delete { from, to }, Op::Put { key, .. }) => (from..to).contains(&key),
            (Op::Delete { .. }, Op::Delete { .. }) => false,
        });
        if !collides {
            kept.push(op);
        }
    }
    kept
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        20 => prop::collection::vec(op(), 1..4).prop_map(|ops| Action::Write(distinct(ops))),
        2 => (1_i64..3).prop_map(Action::Grant),
        1 => (1_i64..3).prop_map(Action::Revoke),
        2 => any::<u8>().prop_map(Action::Compact),
        3 => Just(Action::Flush),
        2 => Just(Action::Fold),
        3 => Just(Action::Clean),
        2 => Just(Action::Reopen),
        2 => Just(Action::ReadAll),
    ]
}

struct Machine {
    backend: Arc<dyn Backend>,
    state: StateMachine,
    compactor: Compactor,
    resident_bytes_max: usize,
}

impl Machine {
    fn new(resident_bytes_max: usize) -> Self {
        let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
        let state = open(&backend, resident_bytes_max);
        let compactor = state.compactor();
        Machine { backend, state, compactor, resident_bytes_max }
    }

    fn reopen(&mut self) {
        self.state.history().flush().unwrap();
        let (applied, term) = self.state.applied();
        self.state = open(&self.backend, self.resident_bytes_max);
        self.compactor = self.state.compactor();
        while self.state.applied().0 < applied {
            let index = self.state.applied().0 + 1;
            let entry = Entry { index: Some(index), term: Some(term), ..Entry::default() };
            self.state.apply(&entry).unwrap();
        }
    }

    fn apply(&mut self, request: &pb::InternalRaftRequest) -> rusd_state::Applied {
        let index = self.state.applied().0 + 1;
        let data = Some(request.encode_to_vec().into());
        let entry = Entry { term: Some(1), index: Some(index), r#type: None, data };
        self.state.apply(&entry).unwrap()
    }

    fn write(&mut self, ops: &[Op]) -> (i64, Vec<i64>) {
        let success = ops.iter().map(|op| pb::RequestOp { request: Some(request(op)) }).collect();
        let txn = pb::TxnRequest { success, ..pb::TxnRequest::default() };
        let request = pb::InternalRaftRequest { txn: Some(txn), ..Default::default() };
        let applied = self.apply(&request);
        let events = applied.events.list.len();
        let Ok(Response::Txn(response)) = applied.outcome else {
            assert_eq!(events, 0, "a refused transaction changes nothing");
            return (-1, Vec::new());
        };
        let deleted = response.responses.iter().filter_map(|op| match &op.response {
            Some(pb::response_op::Response::ResponseDeleteRange(delete)) => Some(delete.deleted),
            _ => None,
        });
        (response.header.unwrap().revision, deleted.collect())
    }
}

fn open(backend: &Arc<dyn Backend>, resident_bytes_max: usize) -> StateMachine {
    let history_options = HistoryOptions { block_bytes: 200, ..HistoryOptions::default() };
    let options = Options { resident_bytes_max, ..Options::default() };
    StateMachine::open(Arc::clone(backend), history_options, options).unwrap()
}

fn request(op: &Op) -> Request {
    match *op {
        Op::Put { key, value, lease } => Request::RequestPut(pb::PutRequest {
            key: vec![b'a' + key].into(),
            value: vec![value].into(),
            lease,
            ..Default::default()
        }),
        Op::Delete { from, to } => Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key: vec![b'a' + from].into(),
            range_end: vec![b'a' + to].into(),
            ..Default::default()
        }),
    }
}

/// Every revision, readable or not, reads as the model has it; events and leases too.
fn compare(machine: &Machine, model: &Model) {
    let view = machine.state.view();
    assert_eq!(view.revision(), model.revision);
    for revision in 1..=model.revision {
        let request = pb::RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            revision,
            ..Default::default()
        };
        match view.range(&request) {
            Err(ReadError::Compacted { compact }) => {
                assert!(revision < model.compact && compact == model.compact);
            }
            Err(error) => panic!("{error}"),
            Ok(response) => {
                assert!(revision >= model.compact);
                assert_eq!(response.kvs, model.at(revision), "revision {revision}");
            }
        }
    }
    compare_events(machine, model);
    compare_hashes(machine, model);
    for id in 1..3 {
        let keys = view.lease(id).map(|lease| lease.keys);
        let keys = keys.map(|keys| keys.iter().map(|key| key.to_vec()).collect::<Vec<_>>());
        assert_eq!(keys, model.lease_keys(id), "lease {id}");
    }
}

fn compare_hashes(machine: &Machine, model: &Model) {
    let view = machine.state.view();
    for requested in -1..=model.revision + 1 {
        let expected = model.hash(requested);
        match view.hash_kv(requested) {
            Ok(found) => {
                let hash =
                    Hash { crc: found.hash, compact: found.compact_revision, to: found.revision };
                assert_eq!(Some(hash), expected, "revision {requested}");
                assert_eq!(found.current_revision, model.revision);
            }
            Err(error) => assert_eq!(expected, None, "revision {requested}: {error}"),
        }
    }
}

fn compare_events(machine: &Machine, model: &Model) {
    let view = machine.state.view();
    let from = model.compact.max(1);
    let mut next = from;
    let mut seen = Vec::new();
    while next <= model.revision {
        let scan = view.events(next, 10, true).unwrap();
        for events in &scan.revisions {
            for event in events.list.iter() {
                let prev = view.previous(event).unwrap().map(|kv| (*kv).clone());
                seen.push(((*event.kv).clone(), prev));
            }
        }
        next = scan.next_revision;
    }
    assert_eq!(seen, model.events(from));
}

fn run(actions: &[Action], resident_bytes_max: usize) {
    let mut machine = Machine::new(resident_bytes_max);
    let mut model = Model::default();
    for action in actions {
        match action {
            Action::Write(ops) => {
                let expected = model.write(ops);
                assert_eq!(machine.write(ops), expected.unwrap_or((-1, Vec::new())));
            }
            Action::Grant(id) => {
                let grant = pb::LeaseGrantRequest { id: *id, ttl: 100 };
                let request =
                    pb::InternalRaftRequest { lease_grant: Some(grant), ..Default::default() };
                assert_eq!(machine.apply(&request).outcome.is_ok(), model.grant(*id));
            }
            Action::Revoke(id) => {
                let revoke = pb::LeaseRevokeRequest { id: *id };
                let request =
                    pb::InternalRaftRequest { lease_revoke: Some(revoke), ..Default::default() };
                assert_eq!(machine.apply(&request).outcome.is_ok(), model.revoke(*id));
            }
            Action::Compact(part) => {
                let revision = model.revision * i64::from(*part) / 255;
                let compact = pb::CompactionRequest { revision, physical: false };
                let request =
                    pb::InternalRaftRequest { compaction: Some(compact), ..Default::default() };
                assert_eq!(machine.apply(&request).outcome.is_ok(), model.compact(revision));
            }
            Action::Flush => {
                machine.state.history().flush().unwrap();
            }
            Action::Fold => {
                while machine.state.history().fold_step(3).unwrap() != FoldProgress::Idle {}
            }
            Action::Clean => {
                while machine.compactor.step(2).unwrap() == Progress::More {}
                model.clean();
            }
            Action::Reopen => {
                machine.reopen();
                model.restart();
            }
            Action::ReadAll => compare(&machine, &model),
        }
    }
    compare(&machine, &model);
    machine.reopen();
    model.restart();
    compare(&machine, &model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_does_what_the_model_does(
        actions in prop::collection::vec(action(), 1..100),
        resident in prop_oneof![Just(0_usize), Just(400), Just(1 << 20)],
    ) {
        run(&actions, resident);
    }
}
