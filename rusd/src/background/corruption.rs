//! Looks whether the members have the same history, and raises the `CORRUPT` alarm if not.
//!
//! As in etcd: before a member that has data starts, over time, and after compactions, at which
//! every member takes the hash of what it finds. The leader asks; the others answer. A cluster in
//! which this alarm is raised writes nothing any more.

use std::sync::Arc;

use rusd_proto::etcdserverpb::alarm_request::AlarmAction;
use rusd_proto::etcdserverpb::{AlarmRequest, AlarmType, InternalRaftRequest};
use rusd_state::HashKv;
use tokio_util::sync::CancellationToken;

use crate::config::CheckTimes;
use crate::consensus::peer_hash::PeerHashes;
use crate::consensus::progress::Progress;
use crate::consensus::proposer::Proposer;
use crate::consensus::read_barrier::{ReadBarrier, ReadBarrierError};
use crate::hasher::{HashError, Hasher};

mod judge;

use judge::Found;

/// Why a member may not start.
#[derive(Debug, thiserror::Error)]
pub enum CorruptAtStart {
    /// Its history is another one than that of a peer.
    #[error("{0:x} found data inconsistency with peers")]
    Inconsistent(u64),
    /// Its history cannot be read.
    #[error("{member_id:x} failed to fetch hash ({source})")]
    NoHash {
        /// The member.
        member_id: u64,
        /// Why not.
        source: HashError,
    },
}

/// Compares what this member has before it starts with what its peers have. Peers that do not
/// answer, or are elsewhere, tell nothing.
pub async fn check_at_start(hasher: &Hasher, peers: &PeerHashes) -> Result<(), CorruptAtStart> {
    let member_id = peers.member_id;
    tracing::info!("starting initial corruption check");
    let hashed = hasher.hash_kv(0).await;
    let own = hashed.map_err(|source| CorruptAtStart::NoHash { member_id, source })?;
    let hashes = peers.up_to(own.revision).await;
    for peer in judge::differ_at_start(&own, &hashes) {
        let (revision, hash) = (own.revision, own.hash);
        let (peer, theirs) = (format!("{:x}", peer.member_id), &peer.answer);
        tracing::warn!(
            revision,
            hash,
            peer,
            ?theirs,
            "found different hash values from remote peer"
        );
    }
    if judge::differ_at_start(&own, &hashes).next().is_some() {
        return Err(CorruptAtStart::Inconsistent(member_id));
    }
    tracing::info!("initial corruption checking passed; no corruption");
    Ok(())
}

/// Why it could not be looked.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Barrier(#[from] ReadBarrierError),
}

/// Looks while this member leads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CorruptionChecks {
    /// Hashes of this member.
    pub hasher: Hasher,
    /// Hashes of the others.
    pub peers: PeerHashes,
    /// Who leads.
    pub progress: Arc<Progress>,
    /// Passes when this member leads and has applied what was committed.
    pub read_barrier: ReadBarrier,
    /// Takes the alarms.
    pub proposer: Proposer,
}

impl CorruptionChecks {
    /// Looks as often as asked, until `stop`.
    pub async fn run(self, times: CheckTimes, stop: CancellationToken) {
        let newest = async {
            let Some(interval) = times.newest else { return };
            loop {
                tokio::time::sleep(interval).await;
                if self.progress.is_leader()
                    && let Err(error) = self.check_newest().await
                {
                    tracing::warn!(%error, "failed to check hash KV");
                }
            }
        };
        let compactions = async {
            let Some(interval) = times.compactions else { return };
            let mut last_checked = 0;
            loop {
                tokio::time::sleep(interval).await;
                if self.progress.is_leader() {
                    self.check_compactions(&mut last_checked).await;
                }
            }
        };
        let both = async { tokio::join!(newest, compactions) };
        stop.run_until_cancelled(Box::pin(both)).await;
    }

    async fn check_newest(&self) -> Result<(), CheckError> {
        let before = self.hasher.hash_kv(0).await?;
        let peers = self.peers.up_to(before.revision).await;
        self.read_barrier.wait().await?;
        let after = self.hasher.hash_kv(0).await?;
        let found = judge::of_newest(self.peers.member_id, &before, &after, &peers);
        if let Some((member_id, why)) = found {
            tracing::error!(member = format!("{member_id:x}"), why, "found a corrupt member");
            self.raise(member_id).await;
        }
        Ok(())
    }

    /// From the newest compaction back, until one is known to be the same on all members.
    async fn check_compactions(&self, last_checked: &mut i64) {
        let hashes = self.hasher.of_compactions();
        let unchecked = hashes.iter().take_while(|own| own.revision > *last_checked);
        for own in unchecked.copied().collect::<Vec<HashKv>>() {
            let peers = self.peers.up_to(own.revision).await;
            match judge::of_compaction(self.peers.member_id, &own, &peers) {
                Found::Unknown => {}
                Found::Same => {
                    *last_checked = own.revision;
                    return;
                }
                Found::Corrupt(members) => {
                    let ids: Vec<String> = members.iter().map(|id| format!("{id:x}")).collect();
                    let (revision, hash) = (own.revision, own.hash);
                    tracing::error!(revision, hash, ?ids, "detected compaction hash mismatch");
                    for member_id in members {
                        self.raise(member_id).await;
                    }
                    return;
                }
            }
        }
    }

    /// Raises the alarm of a member, or with 0 of nobody in particular.
    async fn raise(&self, member_id: u64) {
        let (action, alarm) = (AlarmAction::Activate.into(), AlarmType::Corrupt.into());
        let alarm = Some(AlarmRequest { action, member_id, alarm });
        let request = InternalRaftRequest { alarm, ..InternalRaftRequest::default() };
        if let Err(error) = self.proposer.propose(request).await {
            // The next look raises it again.
            tracing::warn!(%error, "the alarm could not be raised");
        }
    }
}
