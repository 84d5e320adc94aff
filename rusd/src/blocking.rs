//! Where work is done that may block, and how much of it at a time.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// Where work is done that may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockingWork {
    /// On threads of its own.
    OnThreads,
    /// In place: in a simulation there is one thread, and nothing blocks.
    InPlace,
}

impl BlockingWork {
    /// Does it when it is its turn. Fails if it panics.
    pub async fn run<T: Send + 'static>(
        self,
        turns: &Arc<Semaphore>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let turn = Arc::clone(turns).acquire_owned().await.expect("never closed");
        if self == BlockingWork::InPlace {
            return Ok(work());
        }
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        working.await
    }
}
