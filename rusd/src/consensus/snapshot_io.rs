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

use std::sync::Arc;

use bytes::Bytes;
use rusd_proto::raftpb::SnapshotMetadata;
use rusd_proto::rusdpeerpb::SnapshotChunk;
use rusd_raft::log::SnapshotMark;
use rusd_raft::{Index, SnapshotOrder, Term};
use rusd_state::storage::incoming::{Incoming, Installation};
use rusd_state::storage::{Export, Generations, History, ImportError, StorageError};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::inbox::{Inbox, PeerInput};
use super::log_keeper::SnapshotsUnderWay;
use super::progress::Progress;

/// Bytes of one chunk, about.
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks between the disk and the network. Full: the side that is faster waits.
const CHUNKS_QUEUED_MAX: usize = 4;

/// What a member sends its state from.
#[derive(Debug, Clone)]
pub struct SnapshotSource {
    /// The engine.
    pub history: Arc<History>,
    /// Counts what is on its way.
    pub under_way: SnapshotsUnderWay,
    /// The cluster.
    pub cluster_id: u64,
}

impl SnapshotSource {
    /// Reads the state for a member, chunk by chunk, on a thread of its own. An error ends the
    /// stream before its last chunk, so that nobody takes it for whole.
    pub(super) fn read(&self, order: SnapshotOrder) -> mpsc::Receiver<SnapshotChunk> {
        let (chunks, chunks_out) = mpsc::channel(CHUNKS_QUEUED_MAX);
        let (history, cluster_id) = (Arc::clone(&self.history), self.cluster_id);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = send_all(&history, order, cluster_id, &chunks) {
                tracing::error!(%error, "the state cannot be read for a snapshot");
            }
        });
        chunks_out
    }
}

fn send_all(
    history: &History,
    order: SnapshotOrder,
    cluster_id: u64,
    chunks: &mpsc::Sender<SnapshotChunk>,
) -> Result<(), StorageError> {
    let mut export = history.export()?;
    let metadata = metadata(&export)?;
    let mut crc = 0;
    let mut metadata = Some(metadata);
    let mut next = export.next_chunk(CHUNK_BYTES)?;
    while let Some(data) = next {
        next = export.next_chunk(CHUNK_BYTES)?;
        crc = crc32c::crc32c_append(crc, &data);
        let chunk = SnapshotChunk {
            to: order.to,
            from: order.from,
            term: order.term.0,
            cluster_id,
            metadata: metadata.take(),
            data,
            crc,
            last: next.is_none(),
        };
        if chunks.blocking_send(chunk).is_err() {
            // The stream broke; its end is told elsewhere.
            return Ok(());
        }
    }
    Ok(())
}

fn metadata(export: &Export) -> Result<SnapshotMetadata, StorageError> {
    let position = export.position();
    Ok(SnapshotMetadata {
        conf_state: Some(export.conf_state()?),
        index: Some(position.applied_index),
        term: Some(position.term),
    })
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
    pub turn: tokio::sync::Semaphore,
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
        let Ok(_turn) = self.turn.try_acquire() else {
            return Err(Status::resource_exhausted("another snapshot is being taken"));
        };
        let mut chunks = std::pin::pin!(chunks);
        let broken = || Status::data_loss("the snapshot breaks off");
        let first = chunks.next().await.ok_or_else(broken)??;
        let mark = mark(first.metadata.as_ref())?;
        if mark.index.0 <= self.progress.committed() {
            return Ok(());
        }
        let (index, from) = (mark.index.0, format!("{:x}", first.from));
        tracing::info!(index, from, "taking a snapshot");
        let term = Term(first.term);
        let (accepted, accepted_out) = mpsc::channel(CHUNKS_QUEUED_MAX);
        let generations = Arc::clone(generations);
        let importing = tokio::task::spawn_blocking(move || import(&generations, accepted_out));
        let mut chunk = first;
        let mut crc = 0;
        loop {
            crc = crc32c::crc32c_append(crc, &chunk.data);
            if crc != chunk.crc {
                return Err(Status::data_loss("a chunk of the snapshot is damaged"));
            }
            let taken = Taken { data: chunk.data, is_last: chunk.last };
            if accepted.send(taken).await.is_err() || chunk.last {
                // It is whole, or the importer has failed and says why.
                break;
            }
            chunk = chunks.next().await.ok_or_else(broken)??;
        }
        drop(accepted);
        let imported = importing.await.map_err(|error| Status::internal(error.to_string()))?;
        let incoming = imported.map_err(|error| Status::data_loss(error.to_string()))?;
        let incoming = incoming.ok_or_else(broken)?;
        if (incoming.applied_index, incoming.term) != (mark.index.0, mark.term.0) {
            return Err(Status::data_loss("the snapshot is not the one that was announced"));
        }
        self.install(mark, term).await
    }

    async fn install(&self, mark: SnapshotMark, term: Term) -> Result<(), Status> {
        let (reply, installed) = oneshot::channel();
        let received = ReceivedSnapshot { mark, term, reply };
        self.inbox
            .message(PeerInput::Snapshot(received))
            .map_err(|refused| Status::unavailable(refused.to_string()))?;
        match installed.await {
            // What is here already is as good.
            Ok(_) => Ok(()),
            Err(_stopped) => Err(Status::unavailable("the member is stopping")),
        }
    }
}

fn mark(metadata: Option<&SnapshotMetadata>) -> Result<SnapshotMark, Status> {
    let metadata = metadata.ok_or_else(|| Status::invalid_argument("no metadata"))?;
    let (Some(index), Some(term)) = (metadata.index, metadata.term) else {
        return Err(Status::invalid_argument("metadata without index or term"));
    };
    let conf_state = metadata.conf_state.clone().unwrap_or_default();
    Ok(SnapshotMark { index: Index(index), term: Term(term), conf_state })
}

/// A chunk on its way to the disk.
struct Taken {
    data: Bytes,
    is_last: bool,
}

/// Fills a generation and leaves it waiting. Without a last chunk the stream broke, and everything
/// is given up.
fn import(
    generations: &Arc<Generations>,
    mut chunks: mpsc::Receiver<Taken>,
) -> Result<Option<Incoming>, ImportError> {
    let mut installation = Installation::begin(generations)?;
    while let Some(Taken { data, is_last }) = chunks.blocking_recv() {
        installation.add(data)?;
        if is_last {
            return installation.finish().map(Some);
        }
    }
    Ok(None)
}
