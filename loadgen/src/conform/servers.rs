//! Servers for scripts: one that is there already, or as many as are needed, started by us.
//!
//! All servers are started with the same heartbeat interval and election timeout, because the
//! shortest time to live of a lease follows from them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use toml::Spanned;

use super::script::Needs;
use super::subject::{Subject, Unreachable};
use crate::cluster::{Cluster, ClusterError, readiness};
use crate::workload::{ClusterSpec, System};

/// etcd's defaults.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// Where servers come from.
#[derive(Debug)]
pub enum Origin {
    /// One that is there. Running a script wipes it.
    Attached(Vec<String>),
    /// Started when needed, each in a folder of its own.
    Started {
        /// Which server.
        system: System,
        /// Its executable, if not where it is built.
        binary: Option<PathBuf>,
        /// Folder of the folders.
        folder: PathBuf,
        /// How many there were.
        count: AtomicU64,
    },
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// How to talk to it.
    pub subject: Subject,
    started: Option<(Cluster, PathBuf)>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ServerError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

impl Origin {
    /// Servers to be started.
    pub fn started(system: System, binary: Option<PathBuf>, folder: PathBuf) -> Origin {
        Origin::Started { system, binary, folder, count: AtomicU64::new(0) }
    }

    /// Whether a script can have a server of its own.
    pub fn can_start(&self) -> bool {
        matches!(self, Origin::Started { .. })
    }

    /// A server that has what is needed.
    pub async fn server(&self, needs: &Needs) -> Result<Server, ServerError> {
        let (system, binary, folder, count) = match self {
            Origin::Attached(endpoints) => {
                let subject = Subject::connect(endpoints).await?;
                return Ok(Server { subject, started: None });
            }
            Origin::Started { system, binary, folder, count } => (system, binary, folder, count),
        };
        let spec = ClusterSpec {
            system: *system,
            members: Spanned::new(0..0, needs.members.unwrap_or(1)),
            binary: binary.clone(),
            heartbeat_interval: Some(HEARTBEAT_INTERVAL),
            election_timeout: Some(ELECTION_TIMEOUT),
            args: needs.flags.clone(),
            ..ClusterSpec::default()
        };
        let folder = folder.join(count.fetch_add(1, Ordering::Relaxed).to_string());
        let cluster = Cluster::start(&spec, &folder).await?;
        let connected = async {
            for seat in cluster.roster().seats() {
                readiness::ready(&cluster, seat.member).await?;
            }
            Ok::<_, ServerError>(Subject::connect(&cluster.endpoints()).await?)
        };
        match connected.await {
            Ok(subject) => Ok(Server { subject, started: Some((cluster, folder)) }),
            Err(error) => {
                cluster.stop().await;
                Err(error)
            }
        }
    }
}

impl Server {
    /// Says so if it has ended by itself.
    pub fn ended(&self) -> Result<(), ClusterError> {
        let cluster = self.started.as_ref().map(|(cluster, _)| cluster);
        let mut ended = cluster.map(Cluster::ended_by_themselves).unwrap_or_default();
        ended.pop().map_or(Ok(()), Err)
    }

    /// Ends it, if we started it, and removes its data. Says so if it had ended by itself.
    pub async fn end(self) -> Result<(), ClusterError> {
        let Some((cluster, folder)) = self.started else { return Ok(()) };
        let ended = cluster.ended_by_themselves().into_iter().next();
        cluster.stop().await;
        // Left over at worst; it is in a folder for such things.
        drop(std::fs::remove_dir_all(&folder));
        ended.map_or(Ok(()), Err)
    }
}
