//! The log as the `raft` crate wants to see it.
//!
//! The crate panics when storage fails under it. So a failed read answers "nothing there" and is
//! remembered; the node fails its turn before anything that followed from the answer leaves.

use std::cell::RefCell;

use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, Storage};
use rusd_proto::raftpb::ConfState;

use crate::conf_change;
use crate::convert;
use crate::error::Fatal;
use crate::log::{LogStore, SnapshotMark};
use crate::types::{HardState, Index};

/// A log, and what the crate asks for once at its start.
pub(crate) struct Store<L> {
    /// The log itself.
    pub(crate) log: L,
    /// Of the start only.
    hard_state: HardState,
    /// Of the start only.
    conf_state: eraftpb::ConfState,
    /// Up to where the state is kept elsewhere: what a member gets that needs more than the log has.
    pub(crate) mark: Option<SnapshotMark>,
    /// The crate panics on a failed read, so it is told "nothing there", and the turn fails.
    failure: RefCell<Option<Fatal>>,
}

impl<L: LogStore> Store<L> {
    /// A log whose node starts from `hard_state` and `conf_state`, and has the state at `mark`.
    pub(crate) fn new(
        log: L,
        hard_state: HardState,
        conf_state: &ConfState,
        mark: Option<SnapshotMark>,
    ) -> Self {
        let conf_state = conf_change::state_to_crate(conf_state);
        Self { log, hard_state, conf_state, mark, failure: RefCell::new(None) }
    }

    /// Fails if a read has failed since the last call.
    pub(crate) fn take_failure(&mut self) -> Result<(), Fatal> {
        self.failure.take().map_or(Ok(()), Err)
    }
}

impl<L: LogStore> Storage for Store<L> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let HardState { term, vote, commit } = self.hard_state;
        let hard_state = eraftpb::HardState { term, vote, commit, ..Default::default() };
        Ok(RaftState::new(hard_state, self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low < self.log.first_index().0 {
            return Err(raft::Error::Store(raft::StorageError::Compacted));
        }
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        match self.log.entries(Index(low), Index(high), bytes_max) {
            Ok(entries) => Ok(entries.iter().map(convert::entry_to_crate).collect()),
            Err(fatal) => {
                self.failure.borrow_mut().get_or_insert(fatal);
                Ok(Vec::new())
            }
        }
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if let Some(term) = self.log.term(Index(index)) {
            return Ok(term.0);
        }
        let error = if index < self.log.first_index().0 {
            raft::StorageError::Compacted
        } else {
            raft::StorageError::Unavailable
        };
        Err(raft::Error::Store(error))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.log.first_index().0)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.log.last_index().0)
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<eraftpb::Snapshot> {
        let unavailable = || raft::Error::Store(raft::StorageError::SnapshotTemporarilyUnavailable);
        let mark = self.mark.as_ref().filter(|mark| mark.index.0 > 0).ok_or_else(unavailable)?;
        let mut snapshot = eraftpb::Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = mark.index.0;
        metadata.term = mark.term.0;
        metadata.set_conf_state(conf_change::state_to_crate(&mark.conf_state));
        Ok(snapshot)
    }
}
