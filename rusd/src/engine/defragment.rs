//! Defragmentation: when the engine is copied into a fresh generation, and who waits for that.
//!
//! Whoever asks gets one that begins after he asked, as in etcd, where they queue up; those who wait
//! for the next one share it. One that nobody asked for comes when more than half of the engine's
//! files is waste and they are twice as large as after the last one.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusd_state::storage::{DefragmentProgress, Generation, Generations, History, StorageError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{EngineMeter, FLUSH_INTERVAL};

/// Requests for a defragmentation that wait for the running one to end. Full: refused.
const REQUESTS_QUEUED_MAX: usize = 1024;
/// Bytes copied in one step: a few milliseconds.
const STEP_BYTES: usize = 256 * 1024;
/// How long a turn copies if somebody waits for it: as long as a flush may wait.
const AWAITED_TURN: Duration = FLUSH_INTERVAL;
/// How long a turn copies if nobody does.
const UNASKED_TURN: Duration = Duration::from_millis(20);
/// Smaller files are not worth it unless somebody asks.
const UNASKED_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// Why there was no defragmentation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DefragmentError {
    /// Too many wait for one already.
    #[error("too many requests")]
    TooManyRequests,
    /// The member stops.
    #[error("the member stops")]
    Stopped,
    /// The copy could not be written. The member goes on as before.
    #[error("{0}")]
    Failed(String),
}

type Reply = oneshot::Sender<Result<(), DefragmentError>>;

/// Asks the engine thread for a defragmentation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Defragmenter {
    requests: Sender<Reply>,
}

impl Defragmenter {
    /// Returns when the engine was defragmented after this call.
    pub async fn defragment(&self) -> Result<(), DefragmentError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(reply).map_err(|error| match error {
            TrySendError::Full(_) => DefragmentError::TooManyRequests,
            TrySendError::Disconnected(_) => DefragmentError::Stopped,
        })?;
        answer.await.unwrap_or(Err(DefragmentError::Stopped))
    }
}

/// The engine thread's side.
#[derive(Debug)]
pub(super) struct Defragmentation {
    history: Arc<History>,
    generations: Arc<Generations>,
    meter: Arc<EngineMeter>,
    requests: Receiver<Reply>,
    under_way: Option<UnderWay>,
    /// Size of the files after the last one; 0 before the first.
    bytes_after_last: u64,
}

#[derive(Debug)]
struct UnderWay {
    target: Option<Generation>,
    /// Who waits for it.
    waiting: Vec<Reply>,
    since: Instant,
    bytes_before: u64,
}

impl Defragmentation {
    pub(super) fn new(
        history: Arc<History>,
        generations: Arc<Generations>,
        meter: Arc<EngineMeter>,
    ) -> (Defragmentation, Defragmenter) {
        let (requests, requests_out) = bounded(REQUESTS_QUEUED_MAX);
        let defragmentation = Defragmentation {
            history,
            generations,
            meter,
            requests: requests_out,
            under_way: None,
            bytes_after_last: 0,
        };
        (defragmentation, Defragmenter { requests })
    }

    /// Begins one if there is a reason to, or goes on with it. True if there is more to do and
    /// somebody waits for it.
    pub(super) fn turn(&mut self) -> Result<bool, StorageError> {
        if self.under_way.is_none() {
            self.generations.sweep()?;
            let waiting: Vec<Reply> = self.requests.try_iter().collect();
            if waiting.is_empty() && !self.is_due() {
                return Ok(false);
            }
            self.begin(waiting)?;
        }
        let Some(under_way) = &self.under_way else { return Ok(false) };
        let is_awaited = !under_way.waiting.is_empty();
        let (since, turn) = (Instant::now(), if is_awaited { AWAITED_TURN } else { UNASKED_TURN });
        while self.step()? {
            if since.elapsed() >= turn {
                return Ok(is_awaited);
            }
        }
        Ok(false)
    }

    /// Whether there is a reason to begin one unasked.
    fn is_due(&self) -> bool {
        let (bytes, in_use) = (self.meter.bytes(), self.meter.bytes_in_use());
        bytes >= UNASKED_BYTES_MIN && in_use < bytes / 2 && bytes / 2 >= self.bytes_after_last
    }

    fn begin(&mut self, waiting: Vec<Reply>) -> Result<(), StorageError> {
        let (since, bytes_before) = (Instant::now(), self.meter.bytes());
        let mut under_way = UnderWay { target: None, waiting, since, bytes_before };
        match self.generations.begin() {
            Ok(target) => {
                tracing::info!(bytes = bytes_before, "defragmenting");
                self.history.begin_defragment(Arc::clone(target.backend()))?;
                under_way.target = Some(target);
                self.under_way = Some(under_way);
            }
            Err(error) => self.end(under_way, Some(error)),
        }
        Ok(())
    }

    /// True if there is more to do.
    fn step(&mut self) -> Result<bool, StorageError> {
        let Some(mut under_way) = self.under_way.take() else { return Ok(false) };
        let target = &mut under_way.target;
        let switch = || {
            let target = target.take().expect("it is switched to once");
            self.generations.switch_to(target)
        };
        match self.history.defragment_step(STEP_BYTES, switch)? {
            DefragmentProgress::Busy => {
                self.under_way = Some(under_way);
                return Ok(true);
            }
            DefragmentProgress::Done => {
                self.meter.measure_disk()?;
                self.end(under_way, None);
            }
            DefragmentProgress::Failed(error) => self.end(under_way, Some(error)),
            DefragmentProgress::Idle => unreachable!("one is under way"),
        }
        Ok(false)
    }

    /// Tells everyone who waits.
    fn end(&mut self, under_way: UnderWay, error: Option<StorageError>) {
        let UnderWay { target, waiting, since, bytes_before } = under_way;
        self.bytes_after_last = self.meter.bytes();
        let outcome = match error {
            None => {
                let (bytes, took) = (self.bytes_after_last, since.elapsed());
                tracing::info!(bytes_before, bytes, ?took, "defragmented");
                Ok(())
            }
            Some(error) => {
                tracing::warn!(%error, "the engine could not be defragmented");
                Err(DefragmentError::Failed(error.to_string()))
            }
        };
        // Given up: it is not the current one.
        if let Some(target) = target {
            self.generations.retire(target);
        }
        for reply in waiting {
            // Who does not wait any more need not know.
            reply.send(outcome.clone()).ok();
        }
    }
}
