//! What a member has on disk: the log and the engine in one locked data directory.
//!
//! ```text
//! <data-dir>/rusd.lock
//! <data-dir>/member/wal/*.wal      the log, in etcd's format
//! <data-dir>/member/engine/        the engine's generations, and which one counts
//! ```
//!
//! Opening refuses, with everything on disk left as it was, a directory that is in use, that
//! belongs to another member or cluster, or whose log is corrupt or does not reach the engine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusd_raft::log::{DataDirLock, LogStore, Wal, WalOptions};
use rusd_raft::{BootstrapMember, Index, Metadata};
use rusd_state::storage::{
    Backend, EngineKind, Generations, HistoryOptions, SledBackend, SledOptions, StorageError,
};
use rusd_state::{Options, StateMachine};

use crate::config::ClusterState;
use crate::consensus::membership::InitialCluster;

/// Which engine keeps the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendKind {
    /// sled, in the data directory.
    Sled,
    /// Memory only, for tests: what the log does not hold is lost with the process.
    Memory,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made.
    #[error("cannot create data directory {}: {source}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The log is gone, but not what was made of it.
    #[error(
        "data directory {} has an engine but no log: it was damaged, and starting it as a new \
         member could lose acknowledged writes",
        .0.display()
    )]
    EngineWithoutLog(PathBuf),
    /// Joining a running cluster needs membership changes.
    #[error(
        "data directory {} is empty, and joining a running cluster \
         (--initial-cluster-state existing) is not supported yet",
        .0.display()
    )]
    JoinUnsupported(PathBuf),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] rusd_raft::Fatal),
    /// The engine cannot be used.
    #[error(transparent)]
    Engine(#[from] StorageError),
    /// The state cannot be loaded.
    #[error(transparent)]
    State(#[from] rusd_state::Fatal),
}

/// How to open a member's storage.
#[derive(Debug)]
pub struct StorageOptions {
    /// `--data-dir`.
    pub data_dir: PathBuf,
    /// `--backend`.
    pub backend: BackendKind,
    /// `--initial-cluster-state`.
    pub cluster_state: ClusterState,
    /// Settings of the state machine.
    pub state: Options,
}

/// A member's open storage.
#[derive(Debug)]
pub struct Storage {
    /// Keeps other processes out.
    pub lock: DataDirLock,
    /// The log.
    pub wal: Wal,
    /// The state as the engine had it.
    pub state: StateMachine,
    /// That engine, and where others may be made.
    pub generations: Arc<Generations>,
}

/// Where the log lies.
pub fn wal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("member").join("wal")
}

/// Where the engine's files lie.
pub fn engine_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("member").join("engine")
}

impl Storage {
    /// Opens what is there, or makes the storage of a new member of `cluster`.
    pub fn open(
        options: StorageOptions,
        cluster: &InitialCluster,
        metadata: Metadata,
    ) -> Result<Self, OpenError> {
        let data_dir = &options.data_dir;
        if !Wal::exists(&wal_dir(data_dir)) {
            if engine_dir(data_dir).exists() {
                return Err(OpenError::EngineWithoutLog(data_dir.clone()));
            }
            if options.cluster_state == ClusterState::Existing {
                return Err(OpenError::JoinUnsupported(data_dir.clone()));
            }
        }
        let create = |source| OpenError::Create { path: data_dir.clone(), source };
        fs::create_dir_all(data_dir.join("member")).map_err(create)?;
        let lock = DataDirLock::acquire(data_dir)?;
        let wal = open_wal(&wal_dir(data_dir), cluster, metadata)?;
        let kind = match options.backend {
            BackendKind::Sled => EngineKind::Sled(SledOptions::default()),
            BackendKind::Memory => EngineKind::Memory,
        };
        let is_log_whole = wal.first_index() == Index(1);
        let generations = Generations::open(&engine_dir(data_dir), kind, is_log_whole)?;
        let backend = generations.current();
        let state = StateMachine::open(backend, HistoryOptions::default(), options.state)?;
        Ok(Storage { lock, wal, state, generations: Arc::new(generations) })
    }
}

fn open_wal(
    dir: &Path,
    cluster: &InitialCluster,
    metadata: Metadata,
) -> Result<Wal, rusd_raft::Fatal> {
    if Wal::exists(dir) {
        return Wal::open(dir, metadata, WalOptions::default());
    }
    let members: Vec<_> = cluster
        .contexts()
        .into_iter()
        .map(|(id, context)| BootstrapMember { id, context })
        .collect();
    Wal::create_bootstrapped(dir, metadata, WalOptions::default(), &members)
}

/// Opens the engine of a member that is not running; `None` if it has none.
pub(crate) fn open_engine_of(data_dir: &Path) -> Result<Option<Arc<dyn Backend>>, StorageError> {
    let Some(folder) = Generations::current_in(&engine_dir(data_dir))? else { return Ok(None) };
    Ok(Some(Arc::new(SledBackend::open(&folder, SledOptions::default())?)))
}
