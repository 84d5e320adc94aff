//! `rusd snapshot restore FILE`: a new cluster's member from a snapshot, as `etcdutl snapshot restore`
//! makes one.
//!
//! Every member of the new cluster is restored from the same file, each with its own name; they get
//! new ids from the flags, and none of the old members is among them.
//!
//! The log begins after the state: an engine that lost a part of it has nothing to make it again from,
//! and no member starts from it.
//!
//! The directory is built beside its place, synced, and renamed at the last: a stop at any point leaves
//! nothing, or something that is called `.restoring` and that no member starts from, or all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusd_bbolt::{Database, ReadError};
use rusd_raft::log::{SnapshotMark, Wal, WalOptions};
use rusd_raft::{BootstrapMember, ConfState, Index, Metadata, Term, bootstrap};
use rusd_state::etcd::{EtcdBucket, Founding, FromEtcd, FromEtcdError};
use rusd_state::storage::{Durable, Generations, StorageError};

use super::file::{self, FileError, HashCheck};
use crate::consensus::membership::InitialCluster;
use crate::storage::{BackendKind, engine_dir, wal_dir};

/// What is restored, and into what. The flags are etcdutl's.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreOptions {
    /// The snapshot.
    pub file: PathBuf,
    /// `--name`
    pub name: String,
    /// `--initial-cluster`. Invariant: has this member.
    pub cluster: InitialCluster,
    /// `--data-dir`
    pub data_dir: PathBuf,
    /// `--skip-hash-check`
    pub is_hash_skipped: bool,
    /// `--bump-revision`, with `--mark-compacted`.
    pub bump_revision: Option<i64>,
    /// `--backend`
    pub backend: BackendKind,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something in the way.
    #[error("data-dir {0:?} not empty or could not be read")]
    DataDirNotEmpty(PathBuf),
    /// The file is refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file's pages make no sense.
    #[error("the snapshot is damaged: {0}")]
    Pages(#[from] ReadError),
    /// The file's rows make no sense, or would be lost.
    #[error(transparent)]
    Rows(#[from] FromEtcdError),
    /// The engine cannot be made.
    #[error(transparent)]
    Engine(#[from] StorageError),
    /// The engine cannot hold the record that a raised revision leaves.
    #[error("a raised revision leaves an empty key, which {0} cannot hold; use --backend sled")]
    EmptyKey(&'static str),
    /// The log cannot be made.
    #[error(transparent)]
    Log(#[from] rusd_raft::Fatal),
    /// The directory cannot be made.
    #[error("cannot {what} {}: {source}", path.display())]
    Directory {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Makes the data directory of a new cluster's member. Tells how far its state is.
pub fn restore(options: &RestoreOptions) -> Result<Durable, RestoreError> {
    let data_dir = &options.data_dir;
    if data_dir.exists() && !is_empty(data_dir) {
        return Err(RestoreError::DataDirNotEmpty(data_dir.clone()));
    }
    let check = if options.is_hash_skipped { HashCheck::Skipped } else { HashCheck::Required };
    let database = file::open(&options.file, check)?;
    let building = Building::begin(data_dir)?;
    let durable = build(&building.path, &database, options)?;
    building.finish(data_dir)?;
    Ok(durable)
}

fn build(
    data_dir: &Path,
    database: &Database<fs::File>,
    options: &RestoreOptions,
) -> Result<Durable, RestoreError> {
    let members: Vec<BootstrapMember> = options
        .cluster
        .contexts()
        .into_iter()
        .map(|(id, context)| BootstrapMember { id, context })
        .collect();
    let snap = data_dir.join("member").join("snap");
    fs::create_dir_all(&snap).map_err(failed("create", &snap))?;
    let kind = options.backend.kind();
    let generations = Generations::open(&engine_dir(data_dir), kind, true)?;
    let mut rows = FromEtcd::into(generations.current());
    add_rows(database, &mut rows)?;
    let has_empty_key = options.bump_revision.is_some() || rows.has_empty_record();
    if has_empty_key && !kind.holds_empty_keys() {
        return Err(RestoreError::EmptyKey(kind.name()));
    }
    let (entries, hard_state) = bootstrap(&members);
    let voters = members.iter().map(|member| member.id).collect();
    let conf_state = ConfState { voters, auto_leave: Some(false), ..ConfState::default() };
    let mark = SnapshotMark {
        index: Index(hard_state.commit),
        term: Term(hard_state.term),
        conf_state: conf_state.clone(),
    };
    let bump_revision = options.bump_revision;
    let durable = rows.finish(Founding { entries, conf_state, bump_revision })?;
    drop(generations);
    let own = options.cluster.id_of(&options.name).expect("the cluster has this member");
    let metadata = Metadata { node_id: own, cluster_id: options.cluster.cluster_id() };
    let log = wal_dir(data_dir);
    Wal::create_after(&log, metadata, WalOptions::default(), &mark, hard_state)?;
    Ok(durable)
}

fn add_rows(database: &Database<fs::File>, rows: &mut FromEtcd) -> Result<(), RestoreError> {
    for bucket in database.buckets() {
        let bucket = bucket?;
        let unknown = || FromEtcdError::UnknownBucket(bucket.name().escape_ascii().to_string());
        let kind = EtcdBucket::named(bucket.name()).ok_or_else(unknown)?;
        for entry in bucket.entries() {
            let (key, value) = entry?;
            rows.add(kind, &key, value)?;
        }
    }
    Ok(())
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> RestoreError + use<'a> {
    move |source| RestoreError::Directory { what, path: path.to_path_buf(), source }
}

/// A directory in the making. Dropped, it goes.
#[derive(Debug)]
struct Building {
    path: PathBuf,
}

impl Building {
    /// Begins beside `place`. What an earlier restore left there goes.
    fn begin(place: &Path) -> Result<Building, RestoreError> {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(".restoring");
        let path = place.with_file_name(name);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
        }
        fs::create_dir_all(&path).map_err(failed("create", &path))?;
        Ok(Building { path })
    }

    /// Syncs it and puts it into its place, where there is nothing or an empty directory.
    fn finish(self, place: &Path) -> Result<(), RestoreError> {
        let sync = |folder: &Path| {
            fs::File::open(folder).and_then(|file| file.sync_all()).map_err(failed("sync", folder))
        };
        sync(&self.path.join("member"))?;
        sync(&self.path)?;
        fs::rename(&self.path, place).map_err(failed("rename to", place))?;
        let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync(parent.unwrap_or(Path::new(".")))
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        // After `finish` it is not there; before, what cannot be removed is named by the next try.
        fs::remove_dir_all(&self.path).ok();
    }
}
