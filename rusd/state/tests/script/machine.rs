//! Runs script steps on a state machine.

use std::sync::Arc;

use prost::Message;
use rusd_proto::etcdserverpb as pb;
use rusd_proto::mvccpb::{self, event::EventType};
use rusd_proto::raftpb::Entry;
use rusd_state::storage::{Backend, FoldProgress, HistoryOptions, MemoryBackend};
use rusd_state::{
    ApplyError, EntryKind, Event, Options, Prev, Progress, ReadError, Response, StateMachine, View,
};

use crate::script::{Step, print};

/// How the machine is troubled while a script runs; the answers must not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Not at all.
    None,
    /// No value stays in memory.
    Evict,
    /// After every step all is flushed, and the machine opened anew from history alone.
    Reopen,
    /// After every step all is flushed, folded and compacted, and the machine opened anew.
    FoldAndReopen,
}

/// A machine on an engine in memory.
pub(crate) struct Machine {
    backend: Arc<dyn Backend>,
    options: Options,
    state: StateMachine,
    trouble: Trouble,
}

impl Machine {
    /// An empty machine.
    pub(crate) fn new(trouble: Trouble) -> Self {
        let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
        let resident_bytes_max = if trouble == Trouble::Evict { 0 } else { 1 << 20 };
        let options = Options { resident_bytes_max, ..Options::default() };
        let state = open(&backend, &options);
        Machine { backend, options, state, trouble }
    }

    /// The view.
    pub(crate) fn view(&self) -> View {
        self.state.view()
    }

    /// Runs one step and tells what came of it.
    pub(crate) fn run(&mut self, step: &Step) -> Vec<String> {
        let lines = self.run_untroubled(step);
        if matches!(self.trouble, Trouble::Reopen | Trouble::FoldAndReopen) {
            self.reopen();
        }
        lines
    }

    fn reopen(&mut self) {
        let history = self.state.history();
        history.flush().unwrap();
        if self.trouble == Trouble::FoldAndReopen {
            while history.fold_step(10).unwrap() != FoldProgress::Idle {}
            let mut compactor = self.state.compactor();
            while compactor.step(10).unwrap() == Progress::More {}
        }
        let before = (self.state.applied(), self.state.view().revision());
        self.state = open(&self.backend, &self.options);
        let after = (self.state.applied(), self.state.view().revision());
        let is_lagging = after.0.0 < before.0.0;
        assert!(after.1 == before.1 && (after == before || is_lagging));
        // What moved nothing but the applied index need not be durable; raft gives it again.
        while self.state.applied().0 < before.0.0 {
            let index = self.state.applied().0 + 1;
            let entry = Entry { index: Some(index), term: Some(1), ..Entry::default() };
            self.state.apply(&entry).unwrap();
        }
    }

    fn run_untroubled(&mut self, step: &Step) -> Vec<String> {
        let request = pb::InternalRaftRequest::default();
        match step.clone() {
            Step::Put(put) => self.apply(pb::InternalRaftRequest { put: Some(put), ..request }),
            Step::DeleteRange(delete) => {
                self.apply(pb::InternalRaftRequest { delete_range: Some(delete), ..request })
            }
            Step::Txn(txn) if rusd_state::txn::is_read_only(&txn) => {
                match self.view().txn_read_only(&txn) {
                    Ok(response) => print::txn(&response),
                    Err(error) => read_error(&error),
                }
            }
            Step::Txn(txn) => self.apply(pb::InternalRaftRequest { txn: Some(txn), ..request }),
            Step::Compact(compact) => {
                self.apply(pb::InternalRaftRequest { compaction: Some(compact), ..request })
            }
            Step::Grant(grant) => {
                self.apply(pb::InternalRaftRequest { lease_grant: Some(grant), ..request })
            }
            Step::Revoke(revoke) => {
                self.apply(pb::InternalRaftRequest { lease_revoke: Some(revoke), ..request })
            }
            Step::Alarm(alarm) => {
                self.apply(pb::InternalRaftRequest { alarm: Some(alarm), ..request })
            }
            Step::Range(range) => match self.view().range(&range) {
                Ok(response) => print::range(&response),
                Err(error) => read_error(&error),
            },
            Step::Lease(id) => match self.view().lease(id) {
                Some(lease) => print::lease(id, lease.ttl, &lease.keys),
                None => vec!["error: lease not found".to_owned()],
            },
            Step::Leases => print::leases(&self.view().leases()),
            Step::Watch { range, from, prev } => self.watch(&range, from, prev),
            Step::Hash(revision) => match self.view().hash_kv(revision) {
                Ok(hash) => print::hash(hash.hash, hash.compact_revision, hash.revision),
                Err(error) => read_error(&error),
            },
        }
    }

    fn apply(&mut self, mut request: pb::InternalRaftRequest) -> Vec<String> {
        let index = self.state.applied().0 + 1;
        request.header = Some(pb::RequestHeader { id: index, ..pb::RequestHeader::default() });
        let entry = Entry {
            term: Some(1),
            index: Some(index),
            r#type: None,
            data: Some(request.encode_to_vec().into()),
        };
        let applied = self.state.apply(&entry).unwrap();
        assert_eq!((applied.index, applied.request_id), (index, index));
        let mut lines = match &applied.outcome {
            Ok(response) => answer(response),
            Err(error) => vec![format!("error: {}", apply_error(*error))],
        };
        let view = self.view();
        for event in applied.events.list.iter() {
            assert_eq!(event.kv.mod_revision, applied.events.revision);
            let printed = print::event(&wire_event(&view, event));
            lines.extend(printed.iter().map(|line| format!("  event{}", &line[1..])));
        }
        lines
    }

    fn watch(&self, range: &(String, String), from: i64, prev: bool) -> Vec<String> {
        let view = self.view();
        let mut lines = vec!["watch".to_owned()];
        let mut next = from;
        while next <= view.revision() {
            // A few bytes at a time, so that the seams are tried too.
            let scan = match view.events(next, 1, prev) {
                Ok(scan) => scan,
                Err(error) => return read_error(&error),
            };
            assert!(scan.next_revision > next, "a scan moves on");
            for event in scan.revisions.iter().flat_map(|events| events.list.iter()) {
                let key = String::from_utf8(event.kv.key.to_vec()).unwrap();
                let is_in = match range.1.as_str() {
                    "" => key == range.0,
                    "\0" => key >= range.0,
                    end => key >= range.0 && key.as_str() < end,
                };
                if is_in {
                    lines.extend(print::event(&wire_event(&view, event)));
                }
            }
            next = scan.next_revision;
        }
        lines
    }
}

fn open(backend: &Arc<dyn Backend>, options: &Options) -> StateMachine {
    let history_options = HistoryOptions { block_bytes: 256, ..HistoryOptions::default() };
    StateMachine::open(Arc::clone(backend), history_options, options.clone()).unwrap()
}

fn wire_event(view: &View, event: &Event) -> mvccpb::Event {
    assert!(event.prev != Prev::Absent || event.kind == EntryKind::Put || event.kv.version == 0);
    let prev = view.previous(event).unwrap();
    let kind = match event.kind {
        EntryKind::Put => EventType::Put,
        EntryKind::Delete => EventType::Delete,
    };
    mvccpb::Event {
        r#type: kind.into(),
        kv: Some((*event.kv).clone()),
        prev_kv: prev.map(|kv| (*kv).clone()),
    }
}

fn answer(response: &Response) -> Vec<String> {
    match response {
        Response::Put(response) => print::put(response),
        Response::DeleteRange(response) => print::delete_range(response),
        Response::Txn(response) => print::txn(response),
        Response::Compact(response) => print::plain("compact", response.header.as_ref()),
        Response::LeaseGrant(response) => print::grant(response),
        Response::LeaseRevoke(response) => print::plain("revoke", response.header.as_ref()),
        Response::Alarm(response) => print::alarms(response),
        other => vec![format!("{other:?}")],
    }
}

fn apply_error(error: ApplyError) -> String {
    error.to_string()
}

fn read_error(error: &ReadError) -> Vec<String> {
    let text = match error {
        ReadError::Compacted { .. } => ApplyError::Compacted.to_string(),
        ReadError::FutureRevision { .. } => ApplyError::FutureRevision.to_string(),
        ReadError::Storage(error) => panic!("{error}"),
    };
    vec![format!("error: {text}")]
}
