//! `RangeStream`: a range whose answer comes in pieces, so that neither side holds all of it.
//!
//! As in etcd, the first piece has ten key-values; the next has twice as many if the last was
//! small, half as many if it was large. All pieces are of one revision. Only the last one has the
//! header, whether there is more beyond the limit, and the count.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rusd_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use rusd_proto::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::kv::run_blocking;
use super::{header, status, validate};
use crate::member::Member;

/// Key-values of the first piece.
const FIRST_PIECE_KVS: i64 = 10;
/// Pieces that wait for the client. Full: nothing more is read until it takes one.
const PIECES_QUEUED_MAX: usize = 1;

/// The pieces as they become ready.
pub(super) type Pieces = ReceiverStream<Result<RangeStreamResponse, Status>>;

/// Refuses what a range refuses, and what would need all of the range at once.
pub(super) fn check(request: &RangeRequest) -> Result<(), Status> {
    validate::range(request)?;
    let is_in_key_order = request.sort_order() == SortOrder::None
        || (request.sort_target() == SortTarget::Key && request.sort_order() == SortOrder::Ascend);
    if !is_in_key_order {
        return Err(status::not_streamed("custom sort orders"));
    }
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if bounds != [0; 4] {
        return Err(status::not_streamed("revision filters"));
    }
    Ok(())
}

/// Starts to read; the request was checked, and its read barrier waited for.
pub(super) fn start(member: Member, turns: Arc<Semaphore>, request: RangeRequest) -> Pieces {
    let (pieces, pieces_out) = mpsc::channel(PIECES_QUEUED_MAX);
    // Ends with the client, whose going drops the receiver.
    tokio::spawn(async move {
        let reader = Reader { member, turns };
        if let Err(status) = reader.send_all(request, &pieces).await {
            // The client may be gone.
            drop(pieces.send(Err(status)).await);
        }
    });
    ReceiverStream::new(pieces_out)
}

struct Reader {
    member: Member,
    turns: Arc<Semaphore>,
}

type Sender = mpsc::Sender<Result<RangeStreamResponse, Status>>;

impl Reader {
    async fn send_all(&self, mut request: RangeRequest, pieces: &Sender) -> Result<(), Status> {
        if request.count_only {
            let mut answer = self.read(&request).await?;
            answer.more = false;
            header::fill(&self.member, &mut answer.header);
            send(pieces, answer).await;
            return Ok(());
        }
        let limit = if request.limit == 0 { i64::MAX } else { request.limit };
        request.limit = FIRST_PIECE_KVS.min(limit);
        let mut newest = None;
        let mut sent = 0;
        loop {
            let answer = self.read(&request).await?;
            let bytes = answer.encoded_len();
            let read_at = answer.header.as_ref().map_or(0, |header| header.revision);
            let newest = *newest.get_or_insert(read_at);
            if request.revision == 0 {
                request.revision = newest;
            }
            sent += i64::try_from(answer.kvs.len()).expect("keys fit in memory");
            let next_key = answer.kvs.last().filter(|_| answer.more).map(|kv| after(&kv.key));
            let kvs = answer.kvs;
            let Some(key) = next_key else {
                let header = Some(header::at(&self.member, newest));
                send(pieces, RangeResponse { header, kvs, more: false, count: sent }).await;
                return Ok(());
            };
            request.key = key;
            if sent == limit {
                let count = sent + self.count(&request).await?;
                let header = Some(header::at(&self.member, newest));
                send(pieces, RangeResponse { header, kvs, more: true, count }).await;
                return Ok(());
            }
            if !send(pieces, RangeResponse { kvs, ..RangeResponse::default() }).await {
                return Ok(());
            }
            let target = self.member.limits.request_bytes_max;
            request.limit = next_piece(request.limit, bytes, target).min(limit - sent);
        }
    }

    async fn count(&self, request: &RangeRequest) -> Result<i64, Status> {
        let request = RangeRequest {
            key: request.key.clone(),
            range_end: request.range_end.clone(),
            revision: request.revision,
            count_only: true,
            ..RangeRequest::default()
        };
        Ok(self.read(&request).await?.count)
    }

    async fn read(&self, request: &RangeRequest) -> Result<RangeResponse, Status> {
        let (view, request) = (self.member.view.clone(), request.clone());
        let reading = run_blocking(&self.member, &self.turns, move || view.range_piece(&request));
        reading.await?.map_err(status::of_read)
    }
}

/// Whether the client is still there.
async fn send(pieces: &Sender, piece: RangeResponse) -> bool {
    let piece = RangeStreamResponse { range_response: Some(piece) };
    pieces.send(Ok(piece)).await.is_ok()
}

/// The first key after `key`.
fn after(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

/// Key-values of the next piece: at least one, since a limit of 0 is none.
fn next_piece(kvs: i64, bytes: usize, target: usize) -> i64 {
    if bytes < target / 2 {
        kvs.saturating_mul(2)
    } else if bytes > target.saturating_mul(2) {
        (kvs / 2).max(1)
    } else {
        kvs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_while_small_and_shrink_when_large() {
        for (kvs, bytes, expected) in [
            (10, 499, 20),
            (10, 500, 10),
            (10, 2000, 10),
            (10, 2001, 5),
            (1, 2001, 1),
            (i64::MAX, 0, i64::MAX),
        ] {
            assert_eq!(next_piece(kvs, bytes, 1000), expected, "{kvs} of {bytes} bytes");
        }
    }
}
