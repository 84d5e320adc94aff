//! Snapshots on their way from one member to another: streams that deliver in order or break.
//!
//! A stream breaks when a link is cut or a member ends. Whoever sends notices it within its
//! keep-alive. Whoever takes may not: nothing is sent that could fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use rusd::consensus::inbox::{Inbox, PeerInput};
use rusd::consensus::log_keeper::SnapshotUnderWay;
use rusd::consensus::peer_handler::PeerHandler;
use rusd::consensus::snapshot_io::{SnapshotChunks, SnapshotSource};
use rusd_proto::rusdpeerpb::SnapshotChunk;
use rusd_raft::SnapshotOrder;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::disk::Loss;
use crate::network::SnapshotPart;

/// Longest time until a sender notices that its stream is broken.
const NOTICED_MS_MAX: u64 = 2000;
/// Until the driver hears of a snapshot that was not taken, as a server has it.
const RETRY_MS: u64 = 1000;
/// Chunks that wait to be taken. Never full: each is taken at once.
const CHUNKS_QUEUED_MAX: usize = 4096;

/// How snapshots are sent.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Bytes of a chunk, about.
    pub chunk_bytes: usize,
    /// Longest time between two chunks, in milliseconds.
    pub chunk_ms_max: u64,
}

/// A part of a stream, for a member.
#[derive(Debug)]
pub struct Sent {
    /// Raft id of the member.
    pub to: u64,
    /// Number of the stream.
    pub stream: u64,
    /// What.
    pub part: SnapshotPart,
}

/// What one life of a member sends and takes.
#[derive(Debug)]
pub struct Snapshots {
    source: SnapshotSource,
    inbox: Inbox,
    sendings: BTreeMap<u64, Sending>,
    takings: BTreeMap<u64, Taking>,
    taken: Arc<Mutex<Vec<(u64, bool)>>>,
}

#[derive(Debug)]
struct Sending {
    order: SnapshotOrder,
    chunks: Option<SnapshotChunks>,
    next_ms: u64,
    /// When it is noticed that the stream is broken.
    broken_ms: Option<u64>,
    /// When the driver is told what became of it.
    outcome: Option<(u64, bool)>,
    _under_way: SnapshotUnderWay,
}

#[derive(Debug)]
struct Taking {
    from: u64,
    chunks: mpsc::Sender<Result<SnapshotChunk, Status>>,
}

impl Snapshots {
    /// None yet.
    pub fn new(source: SnapshotSource, inbox: Inbox) -> Snapshots {
        Snapshots {
            source,
            inbox,
            sendings: BTreeMap::new(),
            takings: BTreeMap::new(),
            taken: Arc::default(),
        }
    }

    /// Nothing is to be done here.
    pub fn is_idle(&self) -> bool {
        self.sendings.is_empty() && self.takings.is_empty()
    }

    /// Begins to send one, as a stream of this number.
    pub fn send(&mut self, order: SnapshotOrder, stream: u64, now_ms: u64, pace: Pace) {
        let under_way = self.source.under_way.begin();
        let chunks = self.source.chunks(order, pace.chunk_bytes).ok();
        let outcome = chunks.is_none().then_some((now_ms + RETRY_MS, false));
        let sending = Sending {
            order,
            chunks,
            next_ms: now_ms,
            broken_ms: None,
            outcome,
            _under_way: under_way,
        };
        self.sendings.insert(stream, sending);
    }

    /// Goes on with all; `is_whole` tells whether the way to a member is.
    pub fn step(
        &mut self,
        now_ms: u64,
        pace: Pace,
        rng: &mut impl Rng,
        is_whole: &dyn Fn(u64) -> bool,
    ) -> Vec<Sent> {
        let mut sent = Vec::new();
        for (stream, sending) in &mut self.sendings {
            if sending.broken_ms.is_none() && !is_whole(sending.order.to) {
                sending.broken_ms = Some(now_ms + rng.random_range(0..=NOTICED_MS_MAX));
            }
            sending.step(now_ms, *stream, pace, rng, &mut sent);
        }
        for (stream, is_installed) in self.taken.lock().drain(..) {
            if let Some(taking) = self.takings.remove(&stream) {
                let part = SnapshotPart::Taken(is_installed);
                sent.push(Sent { to: taking.from, stream, part });
            }
        }
        let inbox = &self.inbox;
        self.sendings.retain(|_, sending| {
            let Some((at_ms, is_installed)) = sending.outcome else { return true };
            let told = PeerInput::SnapshotSent { peer: sending.order.to, is_installed };
            at_ms > now_ms || inbox.message(told).is_err()
        });
        sent
    }

    /// Takes a part that has arrived from a member.
    pub fn receive(
        &mut self,
        from: u64,
        stream: u64,
        part: SnapshotPart,
        now_ms: u64,
        (handler, stop): (&Arc<PeerHandler>, &CancellationToken),
    ) {
        match part {
            SnapshotPart::Chunk(chunk) => {
                if chunk.metadata.is_some() {
                    let taking = self.take(from, stream, handler, stop);
                    self.takings.insert(stream, taking);
                }
                if let Some(taking) = self.takings.get(&stream) {
                    // Whoever took them may have given up.
                    taking.chunks.try_send(Ok(*chunk)).ok();
                }
            }
            SnapshotPart::Taken(is_installed) => {
                if let Some(sending) = self.sendings.get_mut(&stream) {
                    sending.end(now_ms, is_installed);
                }
            }
            SnapshotPart::Broken => {
                self.takings.remove(&stream);
            }
        }
    }

    /// A member is gone; streams with it break. A process that ends closes them; of a machine without
    /// power only who sends notices.
    pub fn lost(&mut self, member: u64, loss: Loss, now_ms: u64, rng: &mut impl Rng) {
        for sending in self.sendings.values_mut().filter(|sending| sending.order.to == member) {
            let noticed_ms = now_ms + rng.random_range(0..=NOTICED_MS_MAX);
            sending.broken_ms.get_or_insert(noticed_ms);
        }
        if loss == Loss::OfProcess {
            self.takings.retain(|_, taking| taking.from != member);
        }
    }

    /// What is said of those that were taken when the last of them is installed.
    pub fn into_answers(self) -> Vec<Sent> {
        let answer = |(stream, Taking { from, .. })| Sent {
            to: from,
            stream,
            part: SnapshotPart::Taken(true),
        };
        self.takings.into_iter().map(answer).collect()
    }

    fn take(
        &self,
        from: u64,
        stream: u64,
        handler: &Arc<PeerHandler>,
        stop: &CancellationToken,
    ) -> Taking {
        let (chunks, chunks_out) = mpsc::channel(CHUNKS_QUEUED_MAX);
        let (handler, stop, taken) = (Arc::clone(handler), stop.clone(), Arc::clone(&self.taken));
        tokio::spawn(async move {
            let taking = handler.take_snapshot(ReceiverStream::new(chunks_out));
            if let Some(outcome) = stop.run_until_cancelled(taking).await {
                taken.lock().push((stream, outcome.is_ok()));
            }
        });
        Taking { from, chunks }
    }
}

impl Sending {
    fn step(
        &mut self,
        now_ms: u64,
        stream: u64,
        pace: Pace,
        rng: &mut impl Rng,
        sent: &mut Vec<Sent>,
    ) {
        if self.outcome.is_some() {
            return;
        }
        if self.broken_ms.is_some() {
            if self.broken_ms <= Some(now_ms) {
                self.end(now_ms, false);
                sent.push(Sent { to: self.order.to, stream, part: SnapshotPart::Broken });
            }
            return;
        }
        if self.next_ms > now_ms {
            return;
        }
        self.next_ms = now_ms + rng.random_range(0..=pace.chunk_ms_max);
        match self.chunks.as_mut().and_then(Iterator::next) {
            Some(Ok(chunk)) => {
                let part = SnapshotPart::Chunk(Box::new(chunk));
                sent.push(Sent { to: self.order.to, stream, part });
            }
            Some(Err(_)) => self.broken_ms = Some(now_ms),
            // All was sent; the answer is on its way.
            None => {}
        }
    }

    fn end(&mut self, now_ms: u64, is_installed: bool) {
        let at_ms = if is_installed { now_ms } else { now_ms + RETRY_MS };
        self.outcome.get_or_insert((at_ms, is_installed));
        self.chunks = None;
    }
}
