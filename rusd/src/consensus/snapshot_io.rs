//! Snapshots between members: the whole state, read from the engine of one and written into a fresh
//! generation of the other's, while both go on.
//!
//! ```text
//!  leader                                         member that is behind
//!  export of the engine --chunks, own stream-->   a generation of its engine, checked, synced, waiting
//!                                                 the driver: log restarted after it, synced
//!                                                 the member starts anew; the generation is accepted
//! ```
//!
//! A stream of its own, so that heartbeats and entries for others go on; its flow control paces the
//! reading. What was installed becomes visible by a start of the member, the same as after a crash:
//! a crash between any two of these steps leaves either the old state and log or the new ones.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusd_proto::raftpb::SnapshotMetadata;
use rusd_proto::rusdpeerpb::SnapshotChunk;
use rusd_raft::log::SnapshotMark;
use rusd_raft::{Index, SnapshotOrder, Term};
use rusd_state::storage::incoming::{self, Incoming, Installation};
use rusd_state::storage::{Export, Generations, History, ImportError, StorageError};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::inbox::{Inbox, PeerInput};
use super::log_keeper::SnapshotsUnderWay;
use super::progress::Progress;
use crate::blocking::BlockingWork;

/// Bytes of one chunk, about.
const CHUNK_BYTES: usize = 256 * 1024;
/// What is so many times longer goes in pieces: a message has a limit, what one request may delete has
/// none.
const PIECE_CHUNKS: usize = 4;
/// Chunks between the disk and the network. Full: the side that is faster waits.
const CHUNKS_QUEUED_MAX: usize = 4;

/// With how many bytes a second a snapshot is sent at most: both members have clients to serve
/// meanwhile, and a disk and a network to share with others. What `CockroachDB` uses for the same.
const BYTES_PER_SECOND: u32 = 32 << 20;

/// How long a member waits for the next chunk. The machine of the one that sends may be gone, which
/// nothing tells, and while one is awaited no other one is taken.
const CHUNK_WAIT_MAX: Duration = Duration::from_secs(10);

/// What a member sends its state from.
#[derive(Debug, Clone)]
pub struct SnapshotSource {
    /// The engine.
    pub history: Arc<History>,
    /// Counts what is on its way.
    pub under_way: SnapshotsUnderWay,
    /// The cluster.
    pub cluster_id: u64,
    /// Where chunks are read.
    pub blocking_work: BlockingWork,
}

impl SnapshotSource {
    /// Reads the state for a member, chunk by chunk, where that may block. An error ends the
    /// stream before its last chunk, so that nobody takes it for whole.
    pub(super) fn read(&self, order: SnapshotOrder) -> mpsc::Receiver<SnapshotChunk> {
        let (chunks, chunks_out) = mpsc::channel(CHUNKS_QUEUED_MAX);
        let source = self.clone();
        let reading = async move {
            if let Err(error) = source.send_all(order, &chunks).await {
                tracing::error!(%error, "the state cannot be read for a snapshot");
            }
        };
        match self.blocking_work {
            BlockingWork::OnThreads => {
                let runtime = Handle::current();
                tokio::task::spawn_blocking(move || runtime.block_on(reading));
            }
            BlockingWork::InPlace => drop(tokio::spawn(reading)),
        }
        chunks_out
    }

    async fn send_all(
        &self,
        order: SnapshotOrder,
        chunks: &mpsc::Sender<SnapshotChunk>,
    ) -> Result<(), StorageError> {
        let mut next_at = Instant::now();
        for chunk in self.chunks(order, CHUNK_BYTES)? {
            let chunk = chunk?;
            tokio::time::sleep_until(next_at).await;
            // What was late is not made up for: that would be a burst.
            next_at = next_at.max(Instant::now()) + time_for(chunk.data.len());
            if chunks.send(chunk).await.is_err() {
                // The stream broke; its end is told elsewhere.
                return Ok(());
            }
        }
        Ok(())
    }

    /// The state as it is now, in chunks of about so many bytes for a member that needs it.
    pub fn chunks(
        &self,
        order: SnapshotOrder,
        chunk_bytes: usize,
    ) -> Result<SnapshotChunks, StorageError> {
        let mut export = self.history.export()?;
        let metadata = Some(metadata(&export)?);
        let next = export.next_chunk(chunk_bytes)?;
        let cluster_id = self.cluster_id;
        Ok(SnapshotChunks { export, order, cluster_id, chunk_bytes, metadata, next, crc: 0 })
    }
}

/// The time that so many bytes get.
fn time_for(bytes: usize) -> Duration {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    Duration::from_secs(1) * bytes / BYTES_PER_SECOND
}

/// The chunks of one snapshot.
#[derive(Debug)]
pub struct SnapshotChunks {
    export: Export,
    order: SnapshotOrder,
    cluster_id: u64,
    chunk_bytes: usize,
    /// For the first chunk.
    metadata: Option<SnapshotMetadata>,
    next: Option<Bytes>,
    crc: u32,
}

impl Iterator for SnapshotChunks {
    type Item = Result<SnapshotChunk, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.next.take()?;
        let data = rest.split_to(rest.len().min(self.chunk_bytes * PIECE_CHUNKS));
        if rest.is_empty() {
            match self.export.next_chunk(self.chunk_bytes) {
                Ok(next) => self.next = next,
                Err(error) => return Some(Err(error)),
            }
        } else {
            self.next = Some(rest);
        }
        self.crc = crc32c::crc32c_append(self.crc, &data);
        Some(Ok(SnapshotChunk {
            to: self.order.to,
            from: self.order.from,
            term: self.order.term.0,
            cluster_id: self.cluster_id,
            metadata: self.metadata.take(),
            data,
            crc: self.crc,
            last: self.next.is_none(),
        }))
    }
}

fn metadata(export: &Export) -> Result<SnapshotMetadata, StorageError> {
    let position = export.position();
    Ok(SnapshotMetadata {
        conf_state: Some(export.conf_state()?),
        index: Some(position.applied_index),
        term: Some(position.term),
    })
}

/// No other snapshot is taken until this one is given back: the state that comes in would take the
/// place of the one that waits.
#[derive(Debug, Clone)]
pub struct SnapshotTurn(#[expect(dead_code, reason = "it is held")] Arc<OwnedSemaphorePermit>);

impl SnapshotTurn {
    /// Is never given back: this member takes no snapshot any more, before it starts again.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

/// A state that waits in a generation of its own.
#[derive(Debug)]
pub struct ReceivedSnapshot {
    /// Up to where it goes.
    pub mark: SnapshotMark,
    /// The term of the leader that sent it.
    pub term: Term,
    /// Told whether it is installed.
    pub reply: oneshot::Sender<bool>,
    /// So long it waits.
    pub turn: SnapshotTurn,
}

/// Takes the state of another member. One at a time.
#[derive(Debug)]
pub struct SnapshotSink {
    /// Where the state goes. None: this member cannot take any.
    pub generations: Option<Arc<Generations>>,
    /// What is newer here is not replaced.
    pub progress: Arc<Progress>,
    /// The way to the driver.
    pub inbox: Inbox,
    /// Held by the one that is being taken.
    pub turn: Arc<Semaphore>,
    /// Where chunks are written.
    pub blocking_work: BlockingWork,
}

impl SnapshotSink {
    /// Takes chunks until the last one, and has the state installed.
    pub(super) async fn take(
        &self,
        chunks: impl Stream<Item = Result<SnapshotChunk, Status>> + Send,
    ) -> Result<(), Status> {
        let Some(generations) = &self.generations else {
            return Err(Status::unimplemented("this member's engine takes no snapshots"));
        };
        let Ok(turn) = Arc::clone(&self.turn).try_acquire_owned() else {
            return Err(Status::resource_exhausted("another snapshot is being taken"));
        };
        let mut chunks = std::pin::pin!(chunks);
        let first = next_chunk(chunks.as_mut()).await?;
        let mark = mark(first.metadata.as_ref())?;
        if mark.index.0 <= self.progress.committed() {
            return Ok(());
        }
        let (index, from) = (mark.index.0, format!("{:x}", first.from));
        tracing::info!(index, from, "taking a snapshot");
        let term = Term(first.term);
        let generations = Arc::clone(generations);
        // What has begun goes on if nobody waits for it any more, and has its turn until it ends.
        let turn = SnapshotTurn(Arc::new(turn));
        let begin = move || Installation::begin(&generations);
        let mut installation = self.blocking(&turn, begin).await?;
        let mut chunk = first;
        let mut crc = 0;
        loop {
            crc = crc32c::crc32c_append(crc, &chunk.data);
            if crc != chunk.crc {
                return Err(Status::data_loss("a chunk of the snapshot is damaged"));
            }
            let SnapshotChunk { data, last, .. } = chunk;
            let adding = move || installation.add(data).map(|()| installation);
            installation = self.blocking(&turn, adding).await?;
            if last {
                break;
            }
            chunk = next_chunk(chunks.as_mut()).await?;
        }
        let incoming = self.blocking(&turn, move || installation.finish()).await?;
        if (incoming.applied_index, incoming.term) != (mark.index.0, mark.term.0) {
            self.forget(incoming, &turn).await?;
            return Err(Status::data_loss("the snapshot is not the one that was announced"));
        }
        self.offer(incoming, mark, term, &turn).await
    }

    /// Waits for what the driver makes of a state that is whole.
    async fn offer(
        &self,
        incoming: Incoming,
        mark: SnapshotMark,
        term: Term,
        turn: &SnapshotTurn,
    ) -> Result<(), Status> {
        let (reply, installed) = oneshot::channel();
        let received = ReceivedSnapshot { mark, term, reply, turn: turn.clone() };
        if let Err(refused) = self.inbox.message(PeerInput::Snapshot(received)) {
            self.forget(incoming, turn).await?;
            return Err(Status::unavailable(refused.to_string()));
        }
        // Without an answer it may be installed: the next start decides.
        let is_installed = installed.await;
        if !is_installed.map_err(|_stopped| Status::unavailable("the member is stopping"))? {
            // What is here already is as good.
            self.forget(incoming, turn).await?;
        }
        Ok(())
    }

    /// Does what may block.
    async fn blocking<T: Send + 'static, E: Into<ImportError> + Send + 'static>(
        &self,
        turn: &SnapshotTurn,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, Status> {
        let turn = turn.clone();
        let in_turn = move || {
            let done = work();
            drop(turn);
            done
        };
        // One at a time already: each is waited for, and there is one snapshot.
        let alone = Arc::new(Semaphore::new(1));
        let done = self.blocking_work.run(&alone, in_turn).await;
        let done = done.map_err(|error| Status::internal(error.to_string()))?;
        done.map_err(|error| {
            let error: ImportError = error.into();
            tracing::error!(%error, "a snapshot cannot be taken");
            Status::data_loss(error.to_string())
        })
    }

    async fn forget(&self, incoming: Incoming, turn: &SnapshotTurn) -> Result<(), Status> {
        let generations = self.generations.clone().expect("what came has its place among them");
        self.blocking(turn, move || incoming::forget(&generations, &incoming)).await
    }
}

async fn next_chunk(
    mut chunks: Pin<&mut (impl Stream<Item = Result<SnapshotChunk, Status>> + Send)>,
) -> Result<SnapshotChunk, Status> {
    let next = tokio::time::timeout(CHUNK_WAIT_MAX, chunks.next()).await;
    let next = next.map_err(|_elapsed| Status::deadline_exceeded("the snapshot does not go on"))?;
    next.ok_or_else(|| Status::data_loss("the snapshot breaks off"))?
}

fn mark(metadata: Option<&SnapshotMetadata>) -> Result<SnapshotMark, Status> {
    let metadata = metadata.ok_or_else(|| Status::invalid_argument("no metadata"))?;
    let (Some(index), Some(term)) = (metadata.index, metadata.term) else {
        return Err(Status::invalid_argument("metadata without index or term"));
    };
    let conf_state = metadata.conf_state.clone().unwrap_or_default();
    Ok(SnapshotMark { index: Index(index), term: Term(term), conf_state })
}

#[cfg(test)]
mod tests {
    use rusd_proto::mvccpb::KeyValue;
    use rusd_state::storage::change::{Changes, HistoryEntry};
    use rusd_state::storage::{EngineKind, HistoryOptions, SledOptions};
    use rusd_state::{EntryKind, Options, Revision, StateMachine};
    use tokio::time::timeout;
    use tokio_stream::iter;
    use tonic::Code;

    use super::*;
    use crate::consensus::inbox::inbox;

    fn first_chunk() -> SnapshotChunk {
        let metadata = SnapshotMetadata { index: Some(5), term: Some(1), ..Default::default() };
        SnapshotChunk { term: 1, metadata: Some(metadata), ..SnapshotChunk::default() }
    }

    fn generations(folder: &tempfile::TempDir, engine: EngineKind) -> Arc<Generations> {
        Arc::new(Generations::open(folder.path(), engine, true).unwrap())
    }

    fn sink(generations: Arc<Generations>, inbox: Inbox) -> SnapshotSink {
        SnapshotSink {
            generations: Some(generations),
            progress: Arc::new(Progress::new(1, 0)),
            inbox,
            turn: Arc::new(Semaphore::new(1)),
            blocking_work: BlockingWork::InPlace,
        }
    }

    /// The state after one entry, which put this value.
    fn source(generations: &Generations, value: Bytes) -> SnapshotSource {
        let options = Options::default();
        let state =
            StateMachine::open(generations.current(), HistoryOptions::default(), options).unwrap();
        let history = state.history();
        let kv = KeyValue { key: "key".into(), value, ..KeyValue::default() };
        let revision = Revision::first_of(2);
        let entry = HistoryEntry { revision, kind: EntryKind::Put, kv: Arc::new(kv) };
        history.append(Changes { index: 1, term: 1, history: vec![entry], ..Changes::default() });
        history.flush().unwrap();
        SnapshotSource {
            history,
            under_way: SnapshotsUnderWay::default(),
            cluster_id: 1,
            blocking_work: BlockingWork::InPlace,
        }
    }

    const ORDER: SnapshotOrder = SnapshotOrder { from: 1, to: 2, term: Term(1), index: Index(1) };

    /// The leader's connection breaks when all has come, and it tries again before the driver has
    /// looked at what waits: that must still be there when the log has been made to begin after it.
    #[tokio::test(start_paused = true)]
    async fn a_state_that_waits_is_not_replaced() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let there = generations(&folders[0], EngineKind::Memory);
        // One that leaves files.
        let here = generations(&folders[1], EngineKind::Sled(SledOptions::default()));
        let source = source(&there, "value".into());
        let chunks = || iter(source.chunks(ORDER, 100).unwrap().map(|chunk| Ok(chunk.unwrap())));
        let (inbox, driver) = inbox();
        let sink = sink(Arc::clone(&here), inbox);
        let received = || match driver.messages.try_recv() {
            Ok(PeerInput::Snapshot(received)) => Some(received),
            _ => None,
        };
        let waits = || folders[1].path().join("INCOMING").exists();

        // It waits for the driver's answer until nobody wants to know any more.
        let take = || timeout(Duration::from_secs(1), sink.take(chunks()));
        let broken = take().await;
        assert!(broken.is_err(), "{broken:?}");
        assert!(waits());
        let again = take().await.expect("it is refused at once").unwrap_err();
        assert_eq!(again.code(), Code::ResourceExhausted);
        assert!(waits());

        drop(received().expect("it was handed on"));
        assert!(take().await.is_err(), "the next one has its turn, and waits too");
        received().expect("it was handed on").turn.keep();
        let installed = take().await.expect("it is refused at once").unwrap_err();
        assert_eq!(installed.code(), Code::ResourceExhausted);
        assert!(waits());
    }

    /// The log came further while the state came in. The files of that stayed until the next start.
    #[tokio::test(start_paused = true)]
    async fn a_state_that_is_not_installed_leaves_nothing() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let there = generations(&folders[0], EngineKind::Memory);
        let here = generations(&folders[1], EngineKind::Sled(SledOptions::default()));
        let source = source(&there, "value".into());
        let chunks = iter(source.chunks(ORDER, 100).unwrap().map(|chunk| Ok(chunk.unwrap())));
        let (inbox, driver) = inbox();
        let sink = sink(here, inbox);
        let refuse = async {
            loop {
                match driver.messages.try_recv() {
                    Ok(PeerInput::Snapshot(received)) => break received.reply.send(false).unwrap(),
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        let (taken, ()) = tokio::join!(sink.take(chunks), refuse);
        taken.unwrap();
        let left = std::fs::read_dir(folders[1].path()).unwrap().count();
        assert_eq!(left, 2, "the current generation and its pointer");
    }

    /// A machine that loses its power while it sends says nothing more. The member that it sent to
    /// would wait for it, and refuse every other snapshot meanwhile.
    #[tokio::test(start_paused = true)]
    async fn a_sender_that_falls_silent_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(generations(&folder, EngineKind::Memory), inbox().0);
        let silent = || iter([Ok(first_chunk())]).chain(tokio_stream::pending());
        let (one, other) = tokio::join!(sink.take(silent()), sink.take(silent()));
        assert_eq!(one.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(other.unwrap_err().code(), Code::ResourceExhausted);
        let broken = sink.take(iter([Ok(first_chunk())])).await.unwrap_err();
        assert_eq!(broken.code(), Code::DataLoss, "it is taken up again");
    }

    #[test]
    fn a_long_row_goes_in_pieces() {
        const CHUNK_BYTES: usize = 100;
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [there, here] =
            folders.each_ref().map(|folder| generations(folder, EngineKind::Memory));
        let source = source(&there, "v".repeat(50 * CHUNK_BYTES).into());
        let mut installation = Installation::begin(&here).unwrap();
        let mut pieces = 0;
        for chunk in source.chunks(ORDER, CHUNK_BYTES).unwrap() {
            let chunk = chunk.unwrap();
            assert!(chunk.data.len() <= CHUNK_BYTES * PIECE_CHUNKS);
            pieces += 1;
            installation.add(chunk.data).unwrap();
        }
        assert!(pieces > 50 / PIECE_CHUNKS);
        assert_eq!(installation.finish().unwrap().applied_index, 1);
    }
}
