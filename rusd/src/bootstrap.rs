//! Who a member is when it starts: told by its log, by the cluster it founds, or by the one it joins.

use rusd_raft::Metadata;
use rusd_raft::log::Wal;
use rusd_state::members::Member;

use crate::config::{ClusterState, Config};
use crate::consensus::join::{self, JoinError};
use crate::consensus::membership::InitialCluster;
use crate::consensus::peer_http::PeerAsker;
use crate::storage::{Origin, wal_dir};

/// Why a member may not start.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The flags do not name this member.
    #[error("couldn't find local name {0:?} in the initial cluster configuration")]
    NoLocalName(String),
    /// The log does not tell whose it is.
    #[error(transparent)]
    Log(#[from] rusd_raft::Fatal),
    /// The other members say no.
    #[error(transparent)]
    Join(#[from] JoinError),
}

/// Who a member is, and whom it can talk to at first.
#[derive(Debug)]
pub struct Start {
    /// Its id and its cluster's.
    pub ids: Metadata,
    /// Where its log comes from.
    pub origin: Origin,
    /// Members that it knows of besides those in its log, by what the flags or they themselves say.
    pub peers: Vec<Member>,
}

impl Start {
    /// Finds out. A log that is there decides alone, as in etcd.
    pub async fn find(config: &Config, asker: &PeerAsker) -> Result<Self, BootstrapError> {
        let log = wal_dir(&config.data_dir);
        if Wal::exists(&log) {
            let ids = Wal::peek_metadata(&log)?;
            return Ok(Start { ids, origin: Origin::Log, peers: Vec::new() });
        }
        let urls = config.initial_cluster.iter().map(|(name, url)| (name.clone(), url.to_string()));
        let flags = InitialCluster::new(urls, &config.initial_cluster_token);
        let own = flags
            .id_of(&config.name)
            .ok_or_else(|| BootstrapError::NoLocalName(config.name.clone()))?;
        match config.initial_cluster_state {
            ClusterState::New => {
                join::check_not_started(asker, &flags, &config.name).await?;
                Ok(Start {
                    ids: Metadata { node_id: own, cluster_id: flags.cluster_id() },
                    peers: flags
                        .members()
                        .map(|(id, member)| Member {
                            id,
                            peer_ur_ls: member.peer_urls.clone(),
                            ..Member::default()
                        })
                        .collect(),
                    origin: Origin::Founding(flags),
                })
            }
            ClusterState::Existing => {
                let learners_max = config.membership.learners_max;
                let (own, existing) = join::join(asker, &flags, &config.name, learners_max).await?;
                Ok(Start {
                    ids: Metadata { node_id: own, cluster_id: existing.cluster_id },
                    origin: Origin::Joining,
                    peers: existing.members,
                })
            }
        }
    }
}
