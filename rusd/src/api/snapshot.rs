//! `Snapshot`: the member's state as a file that etcd's tools read, in pieces.
//!
//! As in etcd, a piece has 32 KiB and says how much of the file is left, and the last one is the
//! SHA-256 of all before it. Unlike etcd's, the file is made while it is sent.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rusd_proto::etcdserverpb::SnapshotResponse;
use rusd_state::etcd::EtcdRows;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::kv::run_blocking;
use super::status;
use crate::member::Member;
use crate::snapshot::{Measured, SaveError};
use crate::version;

/// Bytes of a piece.
const PIECE_BYTES: usize = 32 * 1024;
/// Pieces that wait for the client. Full: nothing more is read until it takes one.
const PIECES_QUEUED_MAX: usize = 4;

/// The pieces as they become ready.
pub(super) type Pieces = ReceiverStream<Result<SnapshotResponse, Status>>;

/// Starts to send everything that was applied before this call. Waits for its turn.
pub(super) async fn start(member: &Member, turns: &Arc<Semaphore>) -> Result<Pieces, Status> {
    let turn = Arc::clone(turns).acquire_owned().await.expect("never closed");
    let rows = rows(member).await?;
    let (pieces, pieces_out) = mpsc::channel(PIECES_QUEUED_MAX);
    tokio::task::spawn_blocking(move || send(rows, &pieces, turn));
    Ok(ReceiverStream::new(pieces_out))
}

async fn rows(member: &Member) -> Result<EtcdRows, Status> {
    let single = Arc::new(Semaphore::new(1));
    loop {
        member.engine.flush().await;
        let view = member.view.clone();
        let taking =
            run_blocking(member, &single, move || EtcdRows::of(&view, version::STORAGE_VERSION));
        match taking.await? {
            Ok(Some(rows)) => return Ok(rows),
            // A compaction came in between; it is durable after the next flush.
            Ok(None) => {}
            Err(error) => return Err(status::internal(&error.to_string())),
        }
    }
}

fn send(
    rows: EtcdRows,
    pieces: &mpsc::Sender<Result<SnapshotResponse, Status>>,
    turn: OwnedSemaphorePermit,
) {
    let revision = rows.revision();
    let sent = Measured::of(rows).and_then(|measured| {
        let bytes = measured.file_bytes();
        tracing::info!(revision, bytes, "sending database snapshot to client");
        let (left, hash) = (bytes, Sha256::new());
        let mut out = PieceWriter { pieces, left, hash, piece: BytesMut::new() };
        measured.write(&mut out)?;
        out.end()?;
        Ok(())
    });
    match sent {
        Ok(()) => tracing::info!(revision, "successfully sent database snapshot to client"),
        // The client is gone.
        Err(SaveError::Out(_)) => {}
        Err(SaveError::Storage(error)) => {
            tracing::error!(%error, "the state cannot be read for a snapshot");
            pieces.blocking_send(Err(status::internal(&error.to_string()))).ok();
        }
    }
    drop(turn);
}

/// Cuts a file into pieces.
struct PieceWriter<'a> {
    pieces: &'a mpsc::Sender<Result<SnapshotResponse, Status>>,
    /// Bytes of the file that were not sent yet.
    left: u64,
    hash: Sha256,
    piece: BytesMut,
}

impl PieceWriter<'_> {
    fn send(&mut self, blob: Bytes) -> io::Result<()> {
        let version = version::STORAGE_VERSION.to_owned();
        let piece = SnapshotResponse { header: None, remaining_bytes: self.left, blob, version };
        let sent = self.pieces.blocking_send(Ok(piece));
        sent.map_err(|_gone| io::ErrorKind::BrokenPipe.into())
    }

    fn send_piece(&mut self, bytes: usize) -> io::Result<()> {
        let blob = self.piece.split_to(bytes).freeze();
        self.hash.update(&blob);
        self.left -= u64::try_from(bytes).expect("a piece is small");
        self.send(blob)
    }

    /// After the last byte of the file.
    fn end(mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.send_piece(self.piece.len())?;
        }
        assert_eq!(self.left, 0, "the file is as long as it was measured");
        let hash = self.hash.clone().finalize();
        self.send(Bytes::copy_from_slice(&hash))
    }
}

impl Write for PieceWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        while self.piece.len() >= PIECE_BYTES {
            self.send_piece(PIECE_BYTES)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
