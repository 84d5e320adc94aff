//! What the api layer may do with this member, and nothing more.

use std::sync::Arc;
use std::time::Duration;

use rusd_state::View;

use crate::background::leases::Leases;
use crate::background::space::SpaceAlarm;
use crate::blocking::BlockingWork;
use crate::consensus::peer_http::PeerAsker;
use crate::consensus::progress::Progress;
use crate::consensus::proposer::Proposer;
use crate::consensus::read_barrier::ReadBarrier;
use crate::consensus::reconfigure::Reconfigurer;
use crate::consensus::transfer::LeaderTransfer;
use crate::engine::{Defragmenter, EngineMeter};
use crate::hasher::Hasher;
use crate::quota::Quota;
use crate::watch::hub::Hub;

/// Who this member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Id of the cluster.
    pub cluster_id: u64,
    /// Id of this member.
    pub member_id: u64,
    /// Its `--name`.
    pub name: String,
}

/// Limits on requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `--max-request-bytes`.
    pub request_bytes_max: usize,
    /// `--max-txn-ops`.
    pub txn_ops_max: usize,
    /// How long a stream that requires a leader outlives its loss.
    pub leaderless_max: Duration,
    /// Longest wait for what the log decides.
    pub request_timeout: Duration,
}

/// This member, as the api layer sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Member {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Writes.
    pub proposer: Proposer,
    /// What linearizable reads wait for.
    pub read_barrier: ReadBarrier,
    /// Reads.
    pub view: View,
    /// Hashes of the history.
    pub hasher: Hasher,
    /// Watches.
    pub hub: Hub,
    /// Lease questions.
    pub leases: Leases,
    /// How far this member is.
    pub progress: Arc<Progress>,
    /// Where reads are done that may block.
    pub blocking_work: BlockingWork,
    /// Limits on requests.
    pub limits: Limits,
    /// What the engine does and takes.
    pub engine: Arc<EngineMeter>,
    /// Giving back what the engine does not need.
    pub defragmenter: Defragmenter,
    /// How much the engine may take.
    pub quota: Quota,
    /// What to do when that is too much.
    pub space_alarm: SpaceAlarm,
    /// Questions to peers.
    pub asker: PeerAsker,
    /// Changing who is a member.
    pub reconfigurer: Reconfigurer,
    /// Handing leadership to another member.
    pub leader_transfer: LeaderTransfer,
}
