//! `HashKV` after ten thousand operations is what etcd 3.7.3 answered after the same ones.
//!
//! `rusd/tests/e2e/hashes.rs` says how the record is made.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "script/operations.rs"]
mod operations;
#[path = "script/request.rs"]
mod request;

use std::sync::Arc;

use operations::{CHECKED_EVERY, Operation, Operations, RECORD, RECORDED, shown};
use prost::Message as _;
use request::request_of;
use rusd_proto::raftpb::Entry;
use rusd_state::storage::{HistoryOptions, MemoryBackend};
use rusd_state::{Compactor, Options, Progress, StateMachine};

struct Machine {
    state: StateMachine,
    compactor: Compactor,
}

impl Machine {
    fn new() -> Self {
        let backend = Arc::new(MemoryBackend::default());
        let options = HistoryOptions::default();
        let state = StateMachine::open(backend, options, Options::default()).unwrap();
        let compactor = state.compactor();
        Machine { state, compactor }
    }

    fn play(&mut self, operation: Operation) {
        let request = request_of(operation);
        let index = self.state.applied().0 + 1;
        let data = Some(request.encode_to_vec().into());
        let entry = Entry { term: Some(1), index: Some(index), r#type: None, data };
        // What is refused, etcd refuses too: the hashes will tell.
        drop(self.state.apply(&entry).unwrap().outcome);
        if request.compaction.is_some() {
            self.state.history().flush().unwrap();
            while self.compactor.step(100).unwrap() == Progress::More {}
        }
    }

    fn hash(&self, revision: i64) -> String {
        let found = self.state.view().hash_kv(revision).ok();
        shown(found.map(|found| (found.hash, found.compact_revision, found.revision)))
    }
}

#[test]
fn the_same_operations_give_etcds_hashes() {
    let mut machine = Machine::new();
    let mut operations = Operations::recorded();
    let mut record = RECORD.lines();
    for number in 1..=RECORDED {
        let revision = machine.state.view().revision();
        machine.play(operations.next(revision));
        if number % CHECKED_EVERY == 0 {
            let revision = machine.state.view().revision();
            let hashes = operations.checked(revision).map(|revision| machine.hash(revision));
            let line = format!("{number} {revision} {}", hashes.join(" "));
            assert_eq!(Some(&line[..]), record.next());
        }
    }
    assert_eq!(record.next(), None);
}
