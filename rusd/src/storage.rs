//! What a member has on disk: the log and the engine in one locked data directory.
//!
//! ```text
//! <data-dir>/rusd.lock
//! <data-dir>/member/wal/*.wal      the log, in etcd's format
//! <data-dir>/member/engine/        the engine's generations, and which one counts
//! <data-dir>/member/snap/          empty: where etcd's tools look for snapshots
//! ```
//!
//! Opening refuses, with everything on disk left as it was, a directory that is in use, that
//! belongs to another member or cluster, or whose log is corrupt or does not reach the engine.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use rusd_proto::raftpb::EntryType;
use rusd_raft::log::{DataDirLock, LogStore, Wal, WalOptions};
use rusd_raft::{BootstrapMember, Entry, HardState, Index, Metadata, Term};
use rusd_state::storage::{
    Backend, EngineKind, FjallOptions, Generations, HistoryOptions, Shelf, SledOptions,
    StorageError, incoming,
};
use rusd_state::{Options, StateMachine};

use crate::consensus::membership::InitialCluster;

/// Bytes of log entries held at once.
const ENTRIES_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long, and how often, an engine's lock is waited for.
const LOCK_RETRY: Duration = Duration::from_millis(20);
const LOCK_ATTEMPTS: usize = 100;

/// Which engine keeps the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendKind {
    /// sled, in the data directory.
    Sled,
    /// fjall, in the data directory.
    Fjall,
    /// Memory only, for tests: what the log does not hold is lost with the process.
    Memory,
}

impl BackendKind {
    /// The engine, with its default settings.
    pub(crate) fn kind(self) -> EngineKind {
        match self {
            BackendKind::Sled => EngineKind::Sled(SledOptions::default()),
            BackendKind::Fjall => EngineKind::Fjall(FjallOptions::default()),
            BackendKind::Memory => EngineKind::Memory,
        }
    }
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
    /// A member that was removed cannot make a cluster of its own.
    #[error("member {0:x} was removed from its cluster and cannot go on alone")]
    ForcedButRemoved(u64),
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
    /// `--force-new-cluster`.
    pub is_forced_new: bool,
    /// `--max-wals`.
    pub segments_kept: usize,
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

/// Where a member's log comes from.
#[derive(Debug)]
pub enum Origin {
    /// It is there.
    Log,
    /// The member founds this cluster, with others.
    Founding(InitialCluster),
    /// The member joins a cluster, which will send it everything.
    Joining,
}

impl Storage {
    /// Opens what is there, or makes the storage of a new member.
    pub fn open(
        options: StorageOptions,
        origin: &Origin,
        metadata: Metadata,
    ) -> Result<Self, OpenError> {
        let data_dir = &options.data_dir;
        if !matches!(origin, Origin::Log) && engine_dir(data_dir).exists() {
            return Err(OpenError::EngineWithoutLog(data_dir.clone()));
        }
        let create = |source| OpenError::Create { path: data_dir.clone(), source };
        // Where etcd's tools look for snapshots. There are none: the engine is the snapshot.
        make_folders(data_dir, Path::new("member/snap")).map_err(create)?;
        let lock = DataDirLock::acquire(data_dir)?;
        let mut wal = open_wal(&options, origin, metadata)?;
        let shelf = options.backend.kind().shelf(&engine_dir(data_dir))?;
        let generations = open_generations(&shelf, &wal)?;
        let backend = generations.current();
        let to_state = Arc::clone(&backend);
        let state = StateMachine::open(to_state, HistoryOptions::default(), options.state)?;
        check_reach(data_dir, &*backend, wal.first_index(), &state)?;
        if options.is_forced_new && matches!(origin, Origin::Log) {
            force_new_cluster(&mut wal, &state)?;
        }
        Ok(Storage { lock, wal, state, generations: Arc::new(generations) })
    }
}

/// The log has what the engine does not. If it has not, the engine has lost something: what it left out
/// when it was opened, if that is known.
pub(crate) fn check_reach(
    data_dir: &Path,
    backend: &dyn Backend,
    log_first: Index,
    state: &StateMachine,
) -> Result<(), StorageError> {
    let (applied, _) = state.applied();
    if log_first.0 <= applied + 1 {
        return Ok(());
    }
    let reason = format!("its state ends at entry {applied}, but the log begins at {log_first}");
    let path = engine_dir(data_dir);
    Err(backend.left_out().unwrap_or(StorageError::Damaged { path, reason }))
}

/// Makes a folder in the data directory, and the folders it is in. Their names survive a loss of
/// power, also if an earlier process made them and did not live to see to that.
fn make_folders(data_dir: &Path, within: &Path) -> io::Result<()> {
    let folder = data_dir.join(within);
    let is_new = |path: &&Path| !path.exists();
    let ancestors_made = data_dir.ancestors().skip(1).take_while(is_new).count();
    fs::create_dir_all(&folder)?;
    let holders = within.components().count() + 1 + ancestors_made;
    for holder in folder.ancestors().skip(1).take(holders) {
        let is_here = holder.as_os_str().is_empty();
        File::open(if is_here { Path::new(".") } else { holder })?.sync_all()?;
    }
    Ok(())
}

fn open_wal(
    options: &StorageOptions,
    origin: &Origin,
    metadata: Metadata,
) -> Result<Wal, rusd_raft::Fatal> {
    let dir = &wal_dir(&options.data_dir);
    let options = WalOptions { segments_kept: options.segments_kept, ..WalOptions::default() };
    match origin {
        Origin::Log => Wal::open(dir, metadata, options),
        Origin::Joining => Wal::create(dir, metadata, options),
        Origin::Founding(cluster) => {
            let members: Vec<_> = cluster
                .contexts()
                .into_iter()
                .map(|(id, context)| BootstrapMember { id, context })
                .collect();
            Wal::create_bootstrapped(dir, metadata, options, &members)
        }
    }
}

/// Opens the engine's generations as the log has it. A state that came from another member counts if
/// the log begins after it; otherwise the member ended before the log knew of it.
pub fn generations_for(
    log: &impl LogStore,
    shelf: &Arc<dyn Shelf>,
) -> Result<Generations, StorageError> {
    if let Some(waiting) = incoming::find(&**shelf)? {
        let base = Index(waiting.applied_index);
        if log.first_index() == base.next() && log.term(base) == Some(Term(waiting.term)) {
            tracing::info!(index = base.0, "the state that was received is the current one");
            rusd_failpoint::hit("applyBeforeOpenSnapshot");
            incoming::accept(&**shelf)?;
            rusd_failpoint::hit("applyAfterOpenSnapshot");
        } else {
            incoming::discard(&**shelf)?;
        }
    }
    Generations::open_on(Arc::clone(shelf), log.first_index() == Index(1))
}

/// Ends the log after what is committed with changes that leave this member alone.
fn force_new_cluster(wal: &mut Wal, state: &StateMachine) -> Result<(), OpenError> {
    let own = wal.metadata().node_id;
    let (applied, _) = state.applied();
    let before = wal.hard_state();
    let commit = before.commit.max(applied);
    let mut members = state.view().membership();
    let mut next = Index(applied + 1);
    while next.0 <= commit {
        let entries = wal.entries(next, Index(commit + 1), ENTRIES_BYTES_MAX)?;
        for entry in &entries {
            // What is refused here is refused when it is applied.
            members.change_by(entry)?.ok();
        }
        next = Index(next.0 + u64::try_from(entries.len()).expect("a length fits u64"));
    }
    if members.is_removed(own) {
        return Err(OpenError::ForcedButRemoved(own));
    }
    let changes = members.changes_to_alone(own);
    let entries: Vec<Entry> = (commit + 1..)
        .zip(&changes)
        .map(|(index, change)| Entry {
            term: Some(before.term),
            index: Some(index),
            r#type: Some(EntryType::EntryConfChange.into()),
            data: Some(change.encode_to_vec().into()),
        })
        .collect();
    let commit = entries.last().map_or(commit, Entry::index);
    tracing::info!(member = format!("{own:x}"), commit, "forcing restart member");
    wal.append(&entries, Some(HardState { commit, ..before }))?;
    wal.sync()?;
    Ok(())
}

/// An engine that this process has just let go of may give its lock back a little later. No other
/// process has it: the data directory is locked.
fn open_generations(shelf: &Arc<dyn Shelf>, wal: &Wal) -> Result<Generations, StorageError> {
    for _ in 0..LOCK_ATTEMPTS {
        match generations_for(wal, shelf) {
            Err(StorageError::Locked { .. }) => std::thread::sleep(LOCK_RETRY),
            opened => return opened,
        }
    }
    generations_for(wal, shelf)
}

/// Opens the engine of a member that is not running; `None` if it has none.
pub(crate) fn open_engine_of(data_dir: &Path) -> Result<Option<Arc<dyn Backend>>, StorageError> {
    Generations::open_current_of(&engine_dir(data_dir))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    /// What fjall's journal lost is a damage only if the log does not have it, and then that is said.
    #[test]
    fn what_an_engine_left_out_must_be_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let kind = BackendKind::Fjall.kind();
        drop(kind.open(folder.path()).unwrap());
        let journal = folder.path().join("0.jnl");
        let mut file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(b"not a batch").unwrap();
        let before = fs::read(&journal).unwrap();

        let backend = kind.open(folder.path()).unwrap();
        let to_state = Arc::clone(&backend);
        let state =
            StateMachine::open(to_state, HistoryOptions::default(), Options::default()).unwrap();
        let check = |first| check_reach(Path::new("data"), &*backend, Index(first), &state);
        check(1).unwrap();
        let error = check(2).unwrap_err().to_string();
        assert!(error.contains("0.jnl: damaged at byte 0: "), "{error}");
        drop((backend, state));
        assert_eq!(fs::read(&journal).unwrap(), before);
    }

    /// As a restored state, or one that another member sent, of which the engine has lost a part.
    #[test]
    fn an_engine_that_does_not_reach_the_log_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let backend = BackendKind::Sled.kind().open(folder.path()).unwrap();
        let to_state = Arc::clone(&backend);
        let state =
            StateMachine::open(to_state, HistoryOptions::default(), Options::default()).unwrap();
        let error = check_reach(Path::new("data"), &*backend, Index(4), &state).unwrap_err();
        let said = "data/member/engine: its state ends at entry 0, but the log begins at 4";
        assert_eq!(error.to_string(), said);
    }
}
