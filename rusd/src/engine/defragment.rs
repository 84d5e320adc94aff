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
    /// Size of the files after the last one, also of an earlier life; 0 before the first.
    bytes_after_last: u64,
    /// Smaller files are left alone unless somebody asks.
    unasked_bytes_min: u64,
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
            meter,
            requests: requests_out,
            under_way: None,
            bytes_after_last: generations.bytes_when_made(),
            generations,
            unasked_bytes_min: UNASKED_BYTES_MIN,
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
        bytes >= self.unasked_bytes_min && in_use < bytes / 2 && bytes / 2 >= self.bytes_after_last
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
            Err(error) => self.end(under_way, Some(error))?,
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
                self.end(under_way, None)?;
            }
            DefragmentProgress::Failed(error) => self.end(under_way, Some(error))?,
            DefragmentProgress::Idle => unreachable!("one is under way"),
        }
        Ok(false)
    }

    /// Removes what is not current any more, unless it is read, and tells everyone who waits.
    fn end(
        &mut self,
        under_way: UnderWay,
        error: Option<StorageError>,
    ) -> Result<(), StorageError> {
        let UnderWay { target, waiting, since, bytes_before } = under_way;
        self.bytes_after_last = self.meter.bytes();
        let outcome = match error {
            None => {
                let (bytes, took) = (self.bytes_after_last, since.elapsed());
                tracing::info!(bytes_before, bytes, ?took, "defragmented");
                Ok(())
            }
            Some(error) => {
                let error = self.generations.located(error);
                tracing::warn!(%error, "the engine could not be defragmented");
                Err(DefragmentError::Failed(error.to_string()))
            }
        };
        // Given up: it is not the current one.
        if let Some(target) = target {
            self.generations.retire(target);
        }
        let swept = self.generations.sweep();
        for reply in waiting {
            // Who does not wait any more need not know.
            reply.send(outcome.clone()).ok();
        }
        swept
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rusd_proto::mvccpb::KeyValue;
    use rusd_state::storage::change::{Changes, HistoryEntry, MetaChange};
    use rusd_state::storage::{CompactProgress, EngineKind, HistoryOptions, SledOptions};
    use rusd_state::{EntryKind, Revision};
    use tempfile::TempDir;

    use super::*;

    const VALUE_BYTES: usize = 100_000;

    struct World {
        folder: TempDir,
        history: Arc<History>,
        meter: Arc<EngineMeter>,
        defragmentation: Defragmentation,
        defragmenter: Defragmenter,
        revision: i64,
    }

    impl World {
        fn new() -> World {
            let folder = tempfile::tempdir().unwrap();
            let kind = EngineKind::Sled(SledOptions::default());
            let generations = Arc::new(Generations::open(folder.path(), kind, true).unwrap());
            let (history, _) =
                History::open(generations.current(), HistoryOptions::default()).unwrap();
            let meter = Arc::new(EngineMeter::new(Arc::clone(&history)).unwrap());
            let (mut defragmentation, defragmenter) =
                Defragmentation::new(Arc::clone(&history), generations, Arc::clone(&meter));
            defragmentation.unasked_bytes_min = 0;
            World { folder, history, meter, defragmentation, defragmenter, revision: 1 }
        }

        /// Writes one key so many times, and then removes all but the last `kept` of its revisions.
        fn write(&mut self, times: i64, kept: i64) {
            for _ in 0..times {
                self.revision += 1;
                let revision = Revision::first_of(self.revision);
                let value = vec![7; VALUE_BYTES].into();
                let kv = KeyValue { key: "key".into(), value, ..KeyValue::default() };
                let entry = HistoryEntry { revision, kind: EntryKind::Put, kv: Arc::new(kv) };
                self.append(Changes { history: vec![entry], ..Changes::default() });
            }
            let compact = self.revision - kept;
            self.append(Changes {
                meta: vec![MetaChange::CompactRevision(compact)],
                ..Changes::default()
            });
            let keep = |revision: &Revision, _: &[u8]| revision.main >= compact;
            let step = || self.history.compact_step(compact, &keep, usize::MAX).unwrap();
            while matches!(step(), CompactProgress::Busy { .. }) {}
            self.history.flush().unwrap();
            self.meter.measure_disk().unwrap();
        }

        fn append(&self, changes: Changes) {
            let index = self.history.appended().applied_index + 1;
            self.history.append(Changes { index, term: 1, ..changes });
            self.history.flush().unwrap();
        }

        fn turn_until_idle(&mut self) {
            self.defragmentation.turn().unwrap();
            while self.defragmentation.under_way.is_some() {
                self.defragmentation.turn().unwrap();
            }
            self.defragmentation.generations.sweep().unwrap();
        }

        fn generations(&self) -> Vec<String> {
            let names = fs::read_dir(self.folder.path()).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name != "CURRENT").collect()
        }
    }

    #[test]
    fn waste_is_given_back_unasked_but_not_over_and_over() {
        let mut world = World::new();
        world.write(200, 10);
        assert!(world.meter.bytes_in_use() < world.meter.bytes() / 2);
        let before = world.meter.bytes();
        world.turn_until_idle();
        assert_eq!(world.generations(), ["2"]);
        let after = world.meter.bytes();
        assert!(after < before / 2, "{before} {after}");
        world.write(5, 1);
        assert!(world.meter.bytes_in_use() < world.meter.bytes() / 2);
        world.turn_until_idle();
        assert_eq!(world.generations(), ["2"], "it has not grown much since");
        world.write(100, 1);
        world.turn_until_idle();
        assert_eq!(world.generations(), ["3"]);
    }

    #[tokio::test]
    async fn a_copy_that_cannot_be_written_changes_nothing() {
        let mut world = World::new();
        world.write(10, 1);
        fs::write(world.folder.path().join("2"), b"in the way").unwrap();
        let asked = world.defragmenter.clone();
        let asked = tokio::spawn(async move { asked.defragment().await });
        while world.defragmentation.requests.is_empty() {
            tokio::task::yield_now().await;
        }
        world.turn_until_idle();
        let refused = asked.await.unwrap().unwrap_err();
        assert!(matches!(refused, DefragmentError::Failed(_)), "{refused}");
        world.write(10, 1);
        let asked = world.defragmenter.clone();
        let asked = tokio::spawn(async move { asked.defragment().await });
        while world.defragmentation.requests.is_empty() {
            tokio::task::yield_now().await;
        }
        world.turn_until_idle();
        asked.await.unwrap().unwrap();
        let found = world.history.get(Revision::first_of(world.revision), b"key").unwrap();
        assert_eq!(found.unwrap().kv.value.len(), VALUE_BYTES);
    }
}
