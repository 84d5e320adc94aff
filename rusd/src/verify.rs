//! `rusd verify DATA-DIR`: is what a stopped member left behind whole, and does it fit together?
//!
//! Three independent readings of the same history must agree: the images (`kv` and `index`, made
//! fast for a start), a rebuild from `kv_rev` alone, and the log, whose entries after the engine's
//! applied index are applied on top of both. Every CRC of the log and of the blocks is checked.

use std::path::Path;
use std::sync::Arc;

use rusd_raft::Index;
use rusd_raft::log::{DataDirLock, ReadOnlyLog};
use rusd_state::apply::ENTRIES_BATCHED_MAX;
use rusd_state::storage::{Backend, HistoryOptions, StartFrom, verify as verify_engine};
use rusd_state::{Options, StateMachine};

use crate::storage::{OpenError, check_reach, engine_dir, open_engine_of, wal_dir};

/// Bytes of log entries held at once.
const ENTRIES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What was found to be whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Records in the log.
    pub log_records: u64,
    /// Last entry of the log.
    pub last_index: u64,
    /// Last entry that the engine holds.
    pub engine_applied: u64,
    /// Revision after all committed entries.
    pub revision: i64,
    /// etcd's `HashKV` at that revision.
    pub hash: u32,
}

/// What does not fit.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A part cannot be read.
    #[error(transparent)]
    Unreadable(#[from] OpenError),
    /// The state cannot be read at its own revision.
    #[error("cannot hash the state: {0}")]
    Read(#[from] rusd_state::ReadError),
    /// There is no engine.
    #[error("there is no engine in {}", .0.display())]
    NoEngine(std::path::PathBuf),
    /// The engine holds something that is wrong.
    #[error("{total} findings in the engine, the first: {first}")]
    Engine {
        /// How many.
        total: u64,
        /// The first one.
        #[source]
        first: rusd_state::storage::StorageError,
    },
    /// The log does not hold what the engine says is applied.
    #[error("the engine has applied up to {applied}, but the log holds {first} to {last}")]
    LogTooShort {
        /// What the engine holds.
        applied: u64,
        /// First entry of the log.
        first: u64,
        /// Last entry of the log.
        last: u64,
    },
    /// Images and history lead to different states.
    #[error(
        "the images give revision {images_revision} with hash {images_hash}, \
         the history gives {history_revision} with {history_hash}"
    )]
    ImagesDiffer {
        /// Revision that the images lead to.
        images_revision: i64,
        /// Hash that the images lead to.
        images_hash: u32,
        /// Revision that the history leads to.
        history_revision: i64,
        /// Hash that the history leads to.
        history_hash: u32,
    },
}

impl From<rusd_raft::Fatal> for VerifyError {
    fn from(error: rusd_raft::Fatal) -> Self {
        OpenError::from(error).into()
    }
}

impl From<rusd_state::storage::StorageError> for VerifyError {
    fn from(error: rusd_state::storage::StorageError) -> Self {
        OpenError::from(error).into()
    }
}

impl From<rusd_state::Fatal> for VerifyError {
    fn from(error: rusd_state::Fatal) -> Self {
        OpenError::from(error).into()
    }
}

/// Verifies the data directory of a member that is not running.
pub fn verify(data_dir: &Path) -> Result<Verified, VerifyError> {
    let _lock = DataDirLock::acquire(data_dir)?;
    let log = ReadOnlyLog::open(&wal_dir(data_dir))?;
    let Some(backend) = open_engine_of(data_dir)? else {
        return Err(VerifyError::NoEngine(engine_dir(data_dir)));
    };
    let report = verify_engine(&backend)?;
    if let Some(first) = report.findings.into_iter().next() {
        return Err(VerifyError::Engine { total: report.findings_total, first });
    }
    let images = replay(data_dir, &backend, &log, StartFrom::Images)?;
    let history = replay(data_dir, &backend, &log, StartFrom::History)?;
    if (images.revision, images.hash) != (history.revision, history.hash) {
        return Err(VerifyError::ImagesDiffer {
            images_revision: images.revision,
            images_hash: images.hash,
            history_revision: history.revision,
            history_hash: history.hash,
        });
    }
    Ok(images)
}

/// Loads the engine from its images or from its history, and applies the committed rest of the log.
fn replay(
    data_dir: &Path,
    backend: &Arc<dyn Backend>,
    log: &ReadOnlyLog,
    start_from: StartFrom,
) -> Result<Verified, VerifyError> {
    let options = HistoryOptions { start_from, ..HistoryOptions::default() };
    let mut state = StateMachine::open(Arc::clone(backend), options, Options::default())?;
    check_reach(data_dir, &**backend, log.first_index(), &state)?;
    let (applied, _) = state.applied();
    let (first, last) = (log.first_index().0, log.last_index().0);
    if applied > last {
        return Err(VerifyError::LogTooShort { applied, first, last });
    }
    let committed = log.hard_state().commit.max(applied);
    let mut next = applied + 1;
    while next <= committed {
        let entries = log.entries(Index(next), Index(committed + 1), ENTRIES_BYTES_MAX)?;
        for batch in entries.chunks(ENTRIES_BATCHED_MAX) {
            state.apply_batch(batch, &mut |_| {})?;
        }
        next = state.applied().0 + 1;
    }
    let view = state.view();
    let hash = view.hash_kv(0)?;
    Ok(Verified {
        log_records: log.records(),
        last_index: last,
        engine_applied: applied,
        revision: hash.current_revision,
        hash: hash.hash,
    })
}
