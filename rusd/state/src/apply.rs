//! The state machine: applies log entries, in order, without gaps.
//!
//! Owned by one thread, the applier. Everything that an entry changes goes, under one write lock,
//! into memory and into the history's buffer; readers see it when the lock is let go.
//!
//! Invariant: what is computed here depends on the entries alone. No clock, no thread, no random
//! number, and nothing of what happens to be in memory.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rusd_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, CompactionRequest, CompactionResponse, DeleteRangeResponse,
    LeaseCheckpoint, LeaseCheckpointRequest, LeaseCheckpointResponse, LeaseGrantRequest,
    LeaseGrantResponse, LeaseRevokeResponse, PutRequest, PutResponse, TxnRequest, TxnResponse,
};
use rusd_proto::raftpb::{ConfChange, ConfState, Entry, EntryType};

use crate::command::{Body, Command};
use crate::error::{ApplyError, Fatal, ReadError};
use crate::event::Events;
use crate::members::Member;
use crate::mvcc::compaction::Compactor;
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::read::header;
use crate::mvcc::write::{WriteTxn, Written};
use crate::options::Options;
#[cfg(feature = "planted-bugs")]
use crate::planted::{Bug, is_planted};
use crate::recovery;
use crate::shared::{Shared, State};
use crate::storage::Backend;
use crate::storage::StorageError;
use crate::storage::change::{Changes, LeaseChange, MetaChange};
use crate::storage::{History, HistoryOptions};
use crate::txn::{self, TxnError, Window};
use crate::view::View;

/// Entries applied under one write lock.
pub const ENTRIES_BATCHED_MAX: usize = 64;

/// The replicated state machine.
#[derive(Debug)]
pub struct StateMachine {
    shared: Arc<Shared>,
    options: Options,
    applied: Position,
    conf_state: ConfState,
    /// Set, but not yet handed to history.
    conf_state_unsaved: bool,
}

/// The last applied entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    index: u64,
    term: u64,
}

/// What an entry did.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Index of the entry.
    pub index: u64,
    /// Id that its proposer waits for; 0 if nobody does.
    pub request_id: u64,
    /// The answer, the same on every member.
    pub outcome: Result<Response, ApplyError>,
    /// What changed, for watchers.
    pub events: Events,
    /// What the keeper of the leases' time must know.
    pub lease: Option<LeaseEffect>,
}

/// The answer to a request. Headers carry the revision only.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// To a put.
    Put(PutResponse),
    /// To a delete of a range.
    DeleteRange(DeleteRangeResponse),
    /// To a transaction.
    Txn(TxnResponse),
    /// To a compaction.
    Compact(CompactionResponse),
    /// To a lease's grant.
    LeaseGrant(LeaseGrantResponse),
    /// To a lease's revoke.
    LeaseRevoke(LeaseRevokeResponse),
    /// To a checkpoint of leases.
    LeaseCheckpoint(LeaseCheckpointResponse),
    /// To a request about alarms.
    Alarm(AlarmResponse),
    /// To a membership change: the members after it.
    Members(Vec<Member>),
    /// Nothing to say.
    None,
}

/// A lease came or went, or its time was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseEffect {
    /// It lives from now on.
    Granted {
        /// Its id.
        id: i64,
        /// Its time to live in seconds.
        ttl: i64,
    },
    /// It is gone, with its keys.
    Revoked {
        /// Its id.
        id: i64,
    },
    /// How much time was left to some leases, as id and seconds; 0 is the whole time.
    Checkpointed(Vec<(i64, i64)>),
}

impl StateMachine {
    /// Loads what the engine holds. The next entry to apply is the one after [`Self::applied`].
    pub fn open(
        backend: Arc<dyn Backend>,
        history_options: HistoryOptions,
        options: Options,
    ) -> Result<StateMachine, Fatal> {
        let (history, recovered) = History::open(backend, history_options)?;
        let state = recovery::load(&history, &recovered, &options)?;
        Ok(StateMachine {
            shared: Arc::new(Shared::new(state, history, recovered.applied_index)),
            options,
            applied: Position { index: recovered.applied_index, term: recovered.term },
            conf_state: recovery::conf_state(&recovered)?,
            conf_state_unsaved: false,
        })
    }

    /// Index and term of the last applied entry.
    pub fn applied(&self) -> (u64, u64) {
        (self.applied.index, self.applied.term)
    }

    /// Voters and learners as of the applied index.
    pub fn conf_state(&self) -> ConfState {
        self.conf_state.clone()
    }

    /// Sets voters and learners. Call it before the membership change they come from is applied:
    /// they are saved together with the next entry.
    pub fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
        self.conf_state_unsaved = true;
    }

    /// A reader of the applied state.
    pub fn view(&self) -> View {
        View::new(Arc::clone(&self.shared))
    }

    /// What the flusher's thread works on.
    pub fn history(&self) -> Arc<History> {
        Arc::clone(self.shared.history())
    }

    /// What removes compacted revisions; for the flusher's thread. There must be one only.
    pub fn compactor(&self) -> Compactor {
        Compactor::new(Arc::clone(&self.shared), self.shared.compact())
    }

    /// Applies the next entry. `Err` means that this member must stop.
    pub fn apply(&mut self, entry: &Entry) -> Result<Applied, Fatal> {
        let mut result = None;
        self.apply_batch(std::slice::from_ref(entry), &mut |applied| result = Some(applied))?;
        Ok(result.expect("one entry gives one result"))
    }

    /// Applies entries under one write lock, at most [`ENTRIES_BATCHED_MAX`]; then, with the lock
    /// let go, gives each one's result in order.
    pub fn apply_batch(
        &mut self,
        entries: &[Entry],
        each: &mut dyn FnMut(Applied),
    ) -> Result<(), Fatal> {
        assert!(entries.len() <= ENTRIES_BATCHED_MAX, "the write lock is held for few entries");
        let decoded = entries.iter().map(Decoded::new).collect::<Result<Vec<_>, _>>()?;
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        let mut results = Vec::with_capacity(decoded.len());
        for entry in decoded {
            results.push(self.apply_decoded(&mut state, shared.history(), entry)?);
        }
        state.store.evict(KEYS_EVICTED_MAX);
        shared.publish(state, self.applied.index);
        results.into_iter().for_each(each);
        Ok(())
    }

    fn apply_decoded(
        &mut self,
        state: &mut State,
        history: &History,
        entry: Decoded,
    ) -> Result<Applied, Fatal> {
        let Decoded { index, term, payload } = entry;
        if index != self.applied.index + 1 {
            return Err(Fatal::Gap { applied: self.applied.index, got: index });
        }
        let mut run = Run {
            state,
            history,
            options: &self.options,
            changes: Changes { index, term, ..Changes::default() },
            events: Events::default(),
            lease: None,
        };
        let (request_id, outcome) = match payload {
            Payload::Command(command) => {
                rusd_failpoint::hit("beforeApplyOneEntryNormal");
                (command.request_id, run.command(command.body)?)
            }
            Payload::ConfChange(change) => {
                rusd_failpoint::hit("beforeApplyOneConfChange");
                (change.id(), run.conf_change(&change)?)
            }
            Payload::Unsupported => (0, Err(ApplyError::Unimplemented)),
        };
        let Run { mut changes, mut events, lease, .. } = run;
        events.revision = state.store.current();
        if std::mem::take(&mut self.conf_state_unsaved) {
            changes.meta.push(MetaChange::ConfState(self.conf_state.encode_to_vec().into()));
        }
        history.append(changes);
        self.applied = Position { index, term };
        Ok(Applied { index, request_id, outcome, events, lease })
    }
}

/// Name of the record that a store was compacted to revision 0. That drops nothing, but a second
/// such request is refused, on a member that was restarted in between as on any other.
pub(crate) const COMPACTED_TO_ZERO: &str = "compacted-to-zero";

/// Name of the record of the raised alarms.
pub(crate) const ALARMS: &str = "alarms";

/// Name of the record of the former members.
pub(crate) const MEMBERS_REMOVED: &str = "members-removed";

/// Keys that the eviction hand visits per batch.
const KEYS_EVICTED_MAX: usize = 4096;

/// An entry that was read, before the lock is taken.
struct Decoded {
    index: u64,
    term: u64,
    payload: Payload,
}

enum Payload {
    Command(Command),
    ConfChange(ConfChange),
    Unsupported,
}

impl Decoded {
    fn new(entry: &Entry) -> Result<Decoded, Fatal> {
        let index = entry.index();
        let malformed = |source| Fatal::MalformedEntry { index, source };
        let bytes = entry.data.clone().unwrap_or_default();
        let payload = match entry.r#type() {
            EntryType::EntryNormal => Payload::Command(Command::decode(bytes).map_err(malformed)?),
            EntryType::EntryConfChange => {
                Payload::ConfChange(ConfChange::decode(bytes).map_err(malformed)?)
            }
            EntryType::EntryConfChangeV2 => Payload::Unsupported,
        };
        Ok(Decoded { index, term: entry.term(), payload })
    }
}

/// One entry being applied.
struct Run<'a> {
    state: &'a mut State,
    history: &'a History,
    options: &'a Options,
    changes: Changes,
    events: Events,
    lease: Option<LeaseEffect>,
}

type Outcome = Result<Response, ApplyError>;

impl Run<'_> {
    fn command(&mut self, body: Body) -> Result<Outcome, Fatal> {
        if let Some(refusal) = self.state.alarms.refusal(&body) {
            return Ok(Err(refusal));
        }
        let outcome = match body {
            Body::Put(request) => self.put(&request),
            Body::DeleteRange(request) => {
                self.write(|write| Ok(Response::DeleteRange(txn::delete_in(write, &request)?)))
            }
            Body::Txn(request) => self.txn(&request),
            Body::Compaction(request) => Ok(self.compact(&request)),
            Body::LeaseGrant(request) => Ok(self.lease_grant(&request)),
            Body::LeaseRevoke(request) => self.lease_revoke(request.id),
            Body::LeaseCheckpoint(request) => Ok(Ok(self.lease_checkpoint(&request))),
            Body::Alarm(request) => Ok(Ok(self.alarm(&request))),
            Body::ClusterVersionSet(request) => {
                self.state.cluster_version.clone_from(&request.ver);
                self.changes.meta.push(MetaChange::ClusterVersion(request.ver));
                Ok(Ok(Response::None))
            }
            Body::ClusterMemberAttrSet(request) => {
                let attributes = request.member_attributes.unwrap_or_default();
                if self.state.members.set_attributes(request.member_id, &attributes) {
                    self.save_member(request.member_id);
                }
                Ok(Ok(Response::None))
            }
            Body::Empty => Ok(Ok(Response::None)),
            Body::Unimplemented(_) => Ok(Err(ApplyError::Unimplemented)),
        };
        Ok(outcome?)
    }

    /// Runs a write and takes over what it changed.
    fn write(
        &mut self,
        run: impl FnOnce(&mut WriteTxn<'_>) -> Result<Response, TxnError>,
    ) -> Result<Outcome, StorageError> {
        let State { store, lessor, .. } = &mut *self.state;
        let mut write = WriteTxn::new(store, lessor, self.history);
        let outcome = match run(&mut write) {
            Ok(response) => Ok(response),
            Err(TxnError::Rejected(error)) => Err(error),
            Err(TxnError::Storage(error)) => return Err(error),
        };
        let written = write.finish();
        assert!(outcome.is_ok() || written.changes.is_empty(), "a refused write changed something");
        self.take(written);
        Ok(outcome)
    }

    fn take(&mut self, written: Written) {
        #[cfg(feature = "planted-bugs")]
        if !written.split_off.is_empty() {
            let (index, term) = (self.changes.index, self.changes.term);
            let history = written.split_off;
            self.history.append(Changes { index, term, history, ..Changes::default() });
        }
        self.changes.history = written.changes;
        self.events = written.events;
    }

    fn put(&mut self, request: &PutRequest) -> Result<Outcome, StorageError> {
        self.write(|write| {
            txn::check_put(write, write.lessor(), request, write.current())?;
            Ok(Response::Put(txn::put_in(write, request)?))
        })
    }

    fn txn(&mut self, request: &TxnRequest) -> Result<Outcome, StorageError> {
        #[cfg(feature = "planted-bugs")]
        let split = self.options.planted.split_txn;
        self.write(|write| {
            let window = Window { current: write.current(), compact: write.store().compact() };
            let mut branches = Vec::new();
            txn::choose(write, request, window.current, &mut branches)?;
            let mut chosen = branches.iter().copied();
            txn::check(write, write.lessor(), request, window, &mut chosen)?;
            let mut chosen = branches.iter().copied();
            let mut response = txn::execute(write, request, &mut chosen, &mut |write| {
                #[cfg(feature = "planted-bugs")]
                if split {
                    write.split();
                }
                #[cfg(not(feature = "planted-bugs"))]
                let _: &mut WriteTxn<'_> = write;
            })?;
            response.header = Some(header(write.current()));
            Ok(Response::Txn(response))
        })
    }

    fn compact(&mut self, request: &CompactionRequest) -> Outcome {
        let store = &mut self.state.store;
        if request.revision <= store.compact() {
            return Err(ApplyError::Compacted);
        }
        if request.revision > store.current() {
            return Err(ApplyError::FutureRevision);
        }
        self.state.compaction_hashes.want(request.revision, store.compact());
        rusd_failpoint::hit("compactBeforeCommitScheduledCompact");
        store.set_compact(request.revision);
        self.changes.meta.push(MetaChange::CompactRevision(request.revision));
        if request.revision == 0 {
            let mark = Some(Bytes::new());
            self.changes.meta.push(MetaChange::Named(COMPACTED_TO_ZERO.to_owned(), mark));
        }
        rusd_failpoint::hit("compactAfterCommitScheduledCompact");
        Ok(Response::Compact(CompactionResponse { header: Some(header(store.current())) }))
    }

    fn lease_grant(&mut self, request: &LeaseGrantRequest) -> Outcome {
        let id = request.id;
        let ttl_min = self.options.lease_ttl_seconds_min;
        let lease = self.state.lessor.grant(id, request.ttl, ttl_min)?;
        let ttl = lease.ttl;
        self.changes.leases.push(LeaseChange::Put(lease.record(id)));
        self.lease = Some(LeaseEffect::Granted { id, ttl });
        let header = Some(header(self.state.store.current()));
        Ok(Response::LeaseGrant(LeaseGrantResponse { header, id, ttl, error: String::new() }))
    }

    fn lease_revoke(&mut self, id: i64) -> Result<Outcome, StorageError> {
        let keys = match self.state.lessor.keys(id) {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error)),
        };
        let outcome = self.write(|write| {
            for key in &keys {
                write.delete_range(&KeyRange::One(key.as_slice()));
            }
            #[cfg(feature = "planted-bugs")]
            if is_planted(Bug::PrevLostByLease) {
                write.forget_prevs();
            }
            let header = Some(header(write.current()));
            Ok(Response::LeaseRevoke(LeaseRevokeResponse { header }))
        })?;
        self.state.lessor.remove(id);
        self.changes.leases.push(LeaseChange::Delete(id));
        self.lease = Some(LeaseEffect::Revoked { id });
        Ok(outcome)
    }

    fn lease_checkpoint(&mut self, request: &LeaseCheckpointRequest) -> Response {
        let mut noted = Vec::new();
        for LeaseCheckpoint { id, remaining_ttl } in &request.checkpoints {
            // etcd passes over a lease that is gone.
            let Some(lease) = self.state.lessor.checkpoint(*id, *remaining_ttl) else { continue };
            self.changes.leases.push(LeaseChange::Put(lease.record(*id)));
            noted.push((*id, *remaining_ttl));
        }
        self.lease = Some(LeaseEffect::Checkpointed(noted));
        let header = Some(header(self.state.store.current()));
        Response::LeaseCheckpoint(LeaseCheckpointResponse { header })
    }

    fn alarm(&mut self, request: &AlarmRequest) -> Response {
        let (mut response, changed) = self.state.alarms.apply(request);
        if changed {
            let record = self.state.alarms.record();
            self.changes.meta.push(MetaChange::Named(ALARMS.to_owned(), record));
        }
        response.header = Some(header(self.state.store.current()));
        Response::Alarm(response)
    }

    fn conf_change(&mut self, change: &ConfChange) -> Result<Outcome, Fatal> {
        let outcome = self.state.members.change(change, self.changes.index)?;
        if let Ok(id) = outcome {
            self.save_member(id);
            if self.state.members.is_removed(id) {
                let record = Some(self.state.members.removed_record());
                self.changes.meta.push(MetaChange::Named(MEMBERS_REMOVED.to_owned(), record));
            }
        }
        Ok(outcome.map(|_| Response::Members(self.state.members.list())))
    }

    fn save_member(&mut self, id: u64) {
        let record: Option<Bytes> = self.state.members.record(id);
        self.changes.meta.push(MetaChange::Member(id, record));
    }
}

impl From<ReadError> for TxnError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted { .. } => TxnError::Rejected(ApplyError::Compacted),
            ReadError::FutureRevision { .. } => TxnError::Rejected(ApplyError::FutureRevision),
            ReadError::Storage(error) => TxnError::Storage(error),
        }
    }
}
