//! `rusd snapshot`: etcdutl's flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ClusterState, ConfigError, DEFAULT_PEER_URL, Url, advertised, initial_cluster};
use crate::consensus::membership::InitialCluster;
use crate::snapshot::{RestoreOptions, StatusFormat};
use crate::storage::BackendKind;

/// What to do with a snapshot.
#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// Tell what is in a snapshot: hash, revision, keys, size, version.
    Status {
        /// The snapshot.
        file: PathBuf,
        /// How it is told.
        #[arg(short = 'w', long, value_name = "FORMAT", default_value = "simple")]
        write_out: StatusFormat,
    },
    /// Make the data directory of a new cluster's member from a snapshot.
    Restore(RestoreFlags),
}

#[derive(Debug, Args)]
pub(super) struct RestoreFlags {
    /// The snapshot.
    file: PathBuf,
    /// Human-readable name of this member.
    #[arg(long, default_value = "default")]
    name: String,
    /// Directory to make [default: NAME.etcd].
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Directory of the log: the one in the data directory, where a member looks for it.
    #[arg(long)]
    wal_dir: Option<PathBuf>,
    /// All members, as NAME=URL,...
    #[arg(long, value_name = "MEMBERS", default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// Keeps clusters with the same members apart.
    #[arg(long, value_name = "TOKEN", default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Peer URLs that the other members use.
    #[arg(long, value_name = "URLS", default_value = DEFAULT_PEER_URL)]
    initial_advertise_peer_urls: String,
    /// Do not ask for the hash: for a file that was copied from a data directory.
    #[arg(long)]
    skip_hash_check: bool,
    /// By how much to raise the revision.
    #[arg(long, value_name = "N", default_value_t = 0)]
    bump_revision: u64,
    /// Mark everything as compacted up to the raised revision; required with --bump-revision.
    #[arg(long)]
    mark_compacted: bool,
    /// Engine that keeps the state.
    #[arg(long, default_value = "sled", value_name = "ENGINE")]
    backend: BackendKind,
}

impl TryFrom<RestoreFlags> for RestoreOptions {
    type Error = ConfigError;

    fn try_from(flags: RestoreFlags) -> Result<RestoreOptions, ConfigError> {
        if (flags.bump_revision > 0) != flags.mark_compacted {
            return Err(ConfigError::BumpWithoutMark);
        }
        let bump_revision = match flags.bump_revision {
            0 => None,
            bump => {
                Some(i64::try_from(bump).map_err(|_too_large| ConfigError::BumpTooLarge(bump))?)
            }
        };
        let own = advertised("--initial-advertise-peer-urls", &flags.initial_advertise_peer_urls)?;
        let text = Some(flags.initial_cluster.as_str());
        let cluster = initial_cluster(text, &flags.name, &own, ClusterState::New)?;
        let urls =
            cluster.iter().map(|(name, url): &(String, Url)| (name.clone(), url.to_string()));
        let cluster = InitialCluster::new(urls, &flags.initial_cluster_token);
        let data_dir = flags.data_dir.unwrap_or_else(|| format!("{}.etcd", flags.name).into());
        if let Some(elsewhere) = flags.wal_dir
            && elsewhere != crate::storage::wal_dir(&data_dir)
        {
            return Err(ConfigError::WalElsewhere(elsewhere));
        }
        if flags.backend == BackendKind::Memory {
            return Err(ConfigError::RestoreIntoMemory);
        }
        Ok(RestoreOptions {
            file: flags.file,
            name: flags.name,
            cluster,
            data_dir,
            is_hash_skipped: flags.skip_hash_check,
            bump_revision,
            backend: flags.backend,
        })
    }
}
