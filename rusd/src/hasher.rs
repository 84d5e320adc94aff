//! Hashes of this member's history, for whoever asks: clients, peers, and the checks for corruption.
//! Each reads all of it, so there is one at a time.

use std::sync::Arc;

use rusd_state::error::ReadError;
use rusd_state::{HashKv, View};
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::blocking::BlockingWork;

/// Hashes computed at one time.
const HASHES_MAX: usize = 1;

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The revision cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It came to an end before it was done.
    #[error("the hash was not computed: {0}")]
    Ended(#[from] JoinError),
}

/// Computes hashes. Cheap to clone; all clones take turns.
#[derive(Debug, Clone)]
pub struct Hasher {
    view: View,
    blocking_work: BlockingWork,
    turns: Arc<Semaphore>,
}

impl Hasher {
    /// Of this history.
    pub fn new(view: View, blocking_work: BlockingWork) -> Self {
        Hasher { view, blocking_work, turns: Arc::new(Semaphore::new(HASHES_MAX)) }
    }

    /// `HashKV` up to a revision; 0 is the newest.
    pub async fn hash_kv(&self, revision: i64) -> Result<HashKv, HashError> {
        let view = self.view.clone();
        Ok(self.blocking_work.run(&self.turns, move || view.hash_kv(revision)).await??)
    }

    /// A hash of everything that is replicated, and the revision it is of.
    pub async fn hash(&self) -> Result<(u32, i64), HashError> {
        let view = self.view.clone();
        Ok(self.blocking_work.run(&self.turns, move || view.hash()).await??)
    }

    /// The hashes that the last compactions took, the newest first.
    pub fn of_compactions(&self) -> Vec<HashKv> {
        self.view.compaction_hashes()
    }
}
