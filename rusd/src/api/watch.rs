//! The Watch service: one task per stream steps the stream's [`WatchSet`] and does its waiting.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use rusd_proto::etcdserverpb::watch_create_request::FilterType;
use rusd_proto::etcdserverpb::watch_request::RequestUnion;
use rusd_proto::etcdserverpb::watch_server::Watch;
use rusd_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use rusd_proto::mvccpb::Event as ProtoEvent;
use rusd_proto::mvccpb::event::EventType;
use rusd_state::error::ReadError;
use rusd_state::event::{EntryKind, Event, Prev};
use rusd_state::view::EventScan;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::header;
use super::kv::run_blocking;
use super::status::{self, Rejection, WATCH_ID_DUPLICATE, WATCH_RANGE_EMPTY};
use crate::member::Member;
use crate::plant::Plant;
use crate::watch::hub::Interest;
use crate::watch::progress::Promises;
use crate::watch::range_index::RangeEnd;
use crate::watch::sync::{Creation, Output, ScanRequest, WatchSet};
use crate::watch::watcher::Options;

/// Responses waiting for a client. Full: the stream's task waits, its watchers' channels fill, and
/// the hub goes on without them.
const RESPONSES_QUEUED_MAX: usize = 16;
/// Keys and values that one scan of the history reads, about, and so what one response carries of
/// it. etcd reads all there is; many clients take no message of more than 4 MiB.
const SCAN_BYTES: usize = 2 * 1024 * 1024;
/// A promise that could not be made yet is tried again after this: the hub is about to get there.
const PROGRESS_RETRY: Duration = Duration::from_millis(1);
/// No watcher: what an answer about none, or about all of them, says.
const NO_WATCH_ID: i64 = -1;

/// Serves Watch.
#[derive(Debug)]
pub(super) struct WatchService {
    member: Member,
    message_bytes_max: usize,
    progress_notify_interval: Duration,
    stop: CancellationToken,
}

impl WatchService {
    pub(super) fn new(
        member: Member,
        message_bytes_max: usize,
        progress_notify_interval: Duration,
        stop: CancellationToken,
    ) -> Self {
        WatchService { member, message_bytes_max, progress_notify_interval, stop }
    }

    /// Progress ticks, shifted at random so that streams do not all tick at once.
    fn ticker(&self) -> Interval {
        let jitter = self.progress_notify_interval.mul_f64(0.1 * rand::random::<f64>());
        let period = self.progress_notify_interval + jitter;
        let mut ticker = tokio::time::interval_at(Instant::now() + period, period);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticker
    }
}

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (responses, responses_out) = mpsc::channel(RESPONSES_QUEUED_MAX);
        let stream = Stream {
            set: WatchSet::new(Arc::clone(&self.member.hub.core)),
            promises: Promises::default(),
            fragmenting: Vec::new(),
            member: self.member.clone(),
            message_bytes_max: self.message_bytes_max,
            responses: responses.clone(),
        };
        let (ticker, stop) = (self.ticker(), self.stop.clone());
        let unwinding = Unwinding(responses.clone());
        tokio::spawn(async move {
            let _unwinding = unwinding;
            let running = stream.run(request.into_inner(), ticker);
            match stop.run_until_cancelled(running).await {
                Some(Ok(()) | Err(Ended::ClientGone)) => {}
                Some(Err(Ended::With(status))) => drop(responses.try_send(Err(status))),
                None => drop(responses.try_send(Err(Rejection::Stopped.into()))),
            }
        });
        Ok(Response::new(ReceiverStream::new(responses_out)))
    }
}

/// Tells the client when its stream's task panics: the stream must not seem to end in peace.
struct Unwinding(mpsc::Sender<Result<WatchResponse, Status>>);

impl Drop for Unwinding {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Without room the client is slow, and sees the end a little later as a mere end.
            self.0.try_send(Err(status::internal("the watch stream failed"))).ok();
        }
    }
}

/// Why a stream ends.
enum Ended {
    /// Nobody reads any more.
    ClientGone,
    /// The client is told.
    With(Status),
}

/// What a scan of the history found, and the newest revision at the time.
type Scanned = (ScanRequest, Result<(EventScan, i64), ReadError>);

/// Reads the history where that may block.
pub(super) fn scan(
    member: &Member,
    request: ScanRequest,
) -> impl Future<Output = Result<Scanned, Status>> + Send + 'static {
    let member = member.clone();
    async move {
        let hub = member.hub.clone();
        let turns = Arc::clone(&hub.scans);
        let scanning = run_blocking(&member, &turns, move || {
            let scan = hub.view.events(request.from, SCAN_BYTES, request.with_prev)?;
            Ok((scan, hub.view.revision()))
        });
        Ok((request, scanning.await?))
    }
}

struct Stream {
    member: Member,
    set: WatchSet,
    promises: Promises,
    /// Watchers that take a large revision in pieces.
    fragmenting: Vec<i64>,
    message_bytes_max: usize,
    responses: mpsc::Sender<Result<WatchResponse, Status>>,
}

impl Stream {
    async fn run(
        mut self,
        mut requests: Streaming<WatchRequest>,
        mut ticker: Interval,
    ) -> Result<(), Ended> {
        let wake = self.set.wake();
        let mut scanning = None;
        let mut is_open = true;
        loop {
            let is_promise_due = self.hand_out().await?;
            if scanning.is_none()
                && let Some(request) = self.set.wanted_scan()
            {
                scanning = Some(Box::pin(scan(&self.member, request)));
            }
            let responses = self.responses.clone();
            // Every branch is cancel-safe: requests, ticks and notices wait, and a scan is kept.
            tokio::select! {
                biased;
                () = responses.closed() => return Err(Ended::ClientGone),
                request = requests.message(), if is_open => match request {
                    Ok(Some(WatchRequest { request_union: Some(request) })) => {
                        self.handle(request).await?;
                    }
                    // etcd overlooks a request that asks for nothing.
                    Ok(Some(WatchRequest { request_union: None })) => {}
                    // The client asks no more, but still listens.
                    Ok(None) => is_open = false,
                    Err(_broken) => return Err(Ended::ClientGone),
                },
                found = async { scanning.as_mut().expect("is some").await }, if scanning.is_some() => {
                    scanning = None;
                    self.feed(found.map_err(Ended::With)?).await?;
                }
                () = wake.notify.notified() => {}
                _ = ticker.tick() => self.promises.tick(),
                () = tokio::time::sleep(PROGRESS_RETRY), if is_promise_due => {}
                () = tokio::task::yield_now(), if self.set.has_more() => {}
            }
        }
    }

    /// Sends what the hub has delivered, and the promises that can be made after it. Tells whether
    /// there is a promise that can be made soon.
    async fn hand_out(&mut self) -> Result<bool, Ended> {
        let through = self.member.hub.core.dispatched();
        let limit = if self.promises.is_any() { through } else { i64::MAX };
        let mut outputs = Vec::new();
        self.set.collect(limit, &mut outputs);
        for output in outputs {
            let last = output.deliveries.last().expect("outputs are not empty");
            let revision = last.events.revision;
            self.send_events(&output, revision).await?;
        }
        if !self.promises.is_any() {
            return Ok(false);
        }
        for watch_id in self.promises.keep(&self.set, through) {
            let header = Some(header::at(&self.member, through));
            self.send(WatchResponse { header, watch_id, ..WatchResponse::default() }).await?;
        }
        Ok(self.promises.is_any())
    }

    async fn feed(&mut self, (request, found): Scanned) -> Result<(), Ended> {
        match found {
            Ok((scan, revision)) => {
                let mut outputs = Vec::new();
                self.set.feed(request, &scan, &mut outputs);
                for output in outputs {
                    self.send_events(&output, revision).await?;
                }
            }
            Err(ReadError::Compacted { compact }) => {
                for watch_id in self.set.compacted(compact) {
                    self.tell_compacted(watch_id, compact).await?;
                }
            }
            Err(error @ (ReadError::FutureRevision { .. } | ReadError::Storage(_))) => {
                tracing::error!(%error, "a watch could not read the history");
                return Err(Ended::With(status::of_read(error)));
            }
        }
        Ok(())
    }

    async fn handle(&mut self, request: RequestUnion) -> Result<(), Ended> {
        match request {
            RequestUnion::CreateRequest(request) => self.create(request).await,
            RequestUnion::CancelRequest(request) => {
                if !self.set.cancel(request.watch_id) {
                    return Ok(());
                }
                self.forget(request.watch_id);
                let response = WatchResponse {
                    header: Some(header::current(&self.member)),
                    watch_id: request.watch_id,
                    canceled: true,
                    ..WatchResponse::default()
                };
                self.send(response).await
            }
            RequestUnion::ProgressRequest(_) => {
                let revision = self.member.view.revision();
                if self.member.hub.plant == Some(Plant::ProgressAhead) {
                    let header = Some(header::at(&self.member, revision));
                    let watch_id = NO_WATCH_ID;
                    let promise = WatchResponse { header, watch_id, ..WatchResponse::default() };
                    return self.send(promise).await;
                }
                if self.set.may_promise(revision) {
                    self.promises.request(revision);
                }
                Ok(())
            }
        }
    }

    async fn create(&mut self, request: WatchCreateRequest) -> Result<(), Ended> {
        // Taken first: what is newer is an event, not the past.
        let revision = self.member.view.revision();
        let (is_fragmenting, is_notifying) = (request.fragment, request.progress_notify);
        let created = creation(request, revision)
            .and_then(|creation| self.set.create(creation).map_err(|_taken| WATCH_ID_DUPLICATE));
        let mut response = WatchResponse {
            header: Some(header::at(&self.member, revision)),
            created: true,
            ..WatchResponse::default()
        };
        match created {
            Ok(watch_id) => {
                response.watch_id = watch_id;
                if is_fragmenting {
                    self.fragmenting.push(watch_id);
                }
                if is_notifying {
                    self.promises.add(watch_id);
                }
            }
            Err(reason) => {
                response.watch_id = NO_WATCH_ID;
                response.canceled = true;
                reason.clone_into(&mut response.cancel_reason);
            }
        }
        self.send(response).await
    }

    async fn tell_compacted(&mut self, watch_id: i64, compact: i64) -> Result<(), Ended> {
        self.forget(watch_id);
        self.send(WatchResponse {
            // As in etcd, without a revision.
            header: Some(header::at(&self.member, 0)),
            watch_id,
            canceled: true,
            compact_revision: compact,
            ..WatchResponse::default()
        })
        .await
    }

    fn forget(&mut self, watch_id: i64) {
        self.promises.remove(watch_id);
        self.fragmenting.retain(|id| *id != watch_id);
    }

    async fn send_events(&mut self, output: &Output, revision: i64) -> Result<(), Ended> {
        let with_prev = output.options.with_prev;
        let response = WatchResponse {
            header: Some(header::at(&self.member, revision)),
            watch_id: output.watch_id,
            events: output.events().map(|event| encoded(event, with_prev)).collect(),
            ..WatchResponse::default()
        };
        self.promises.has_got_events(output.watch_id);
        if !self.fragmenting.contains(&output.watch_id) {
            return self.send(response).await;
        }
        for fragment in fragments(response, self.message_bytes_max) {
            self.send(fragment).await?;
        }
        Ok(())
    }

    async fn send(&mut self, response: WatchResponse) -> Result<(), Ended> {
        self.set.has_told(response.header.map_or(0, |header| header.revision));
        self.responses.send(Ok(response)).await.map_err(|_closed| Ended::ClientGone)
    }
}

/// What a client wants, or why it cannot have it.
fn creation(request: WatchCreateRequest, revision: i64) -> Result<Creation, &'static str> {
    if request.start_revision < 0 {
        return Err(Rejection::Compacted.text());
    }
    // The smallest key there is.
    let key = if request.key.is_empty() { Bytes::from_static(&[0]) } else { request.key.clone() };
    let interest = match &request.range_end[..] {
        [] => Interest::Key(key),
        [0] => Interest::Range(key, RangeEnd::Unbounded),
        end if end <= &key[..] => return Err(WATCH_RANGE_EMPTY),
        _ => Interest::Range(key, RangeEnd::Before(request.range_end.clone())),
    };
    let filters: Vec<FilterType> = request.filters().collect();
    let options = Options {
        no_put: filters.contains(&FilterType::Noput),
        no_delete: filters.contains(&FilterType::Nodelete),
        with_prev: request.prev_kv,
        start_asked: request.start_revision,
    };
    let start = if request.start_revision == 0 { revision + 1 } else { request.start_revision };
    Ok(Creation { watch_id: request.watch_id, interest, options, start, newest: revision })
}

fn encoded(event: &Event, with_prev: bool) -> ProtoEvent {
    let kind = match event.kind {
        EntryKind::Put => EventType::Put,
        EntryKind::Delete => EventType::Delete,
    };
    let prev_kv = match &event.prev {
        Prev::Known(prev) if with_prev => Some((**prev).clone()),
        // A stored one sends the watcher to the history, so it does not come here.
        Prev::Known(_) | Prev::Absent | Prev::Stored(_) => None,
    };
    ProtoEvent { r#type: kind.into(), kv: Some((*event.kv).clone()), prev_kv }
}

/// Cuts a response so that no piece of more than one event is as long as `bytes_max`.
fn fragments(mut response: WatchResponse, bytes_max: usize) -> Vec<WatchResponse> {
    if response.encoded_len() < bytes_max || response.events.len() < 2 {
        return vec![response];
    }
    let events = std::mem::take(&mut response.events);
    let empty = WatchResponse { fragment: true, ..response };
    let mut fragments = Vec::new();
    let mut current = empty.clone();
    let mut bytes = empty.encoded_len();
    for event in events {
        let length = event.encoded_len();
        let with_frame = length + prost::length_delimiter_len(length) + 1;
        if !current.events.is_empty() && bytes + with_frame >= bytes_max {
            fragments.push(std::mem::replace(&mut current, empty.clone()));
            bytes = empty.encoded_len();
        }
        bytes += with_frame;
        current.events.push(event);
    }
    current.fragment = false;
    fragments.push(current);
    fragments
}

#[cfg(test)]
mod tests {
    use rusd_proto::mvccpb::KeyValue;

    use super::*;

    #[test]
    fn what_a_client_asks_for() {
        let of = |key: &str, end: &str, start_revision| WatchCreateRequest {
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
            start_revision,
            ..WatchCreateRequest::default()
        };
        let found = creation(of("a", "", 0), 7).unwrap();
        assert_eq!((found.interest, found.start), (Interest::Key("a".into()), 8));
        let found = creation(of("a", "b", 3), 7).unwrap();
        let range = Interest::Range("a".into(), RangeEnd::Before("b".into()));
        assert_eq!((found.interest, found.start), (range, 3));
        let found = creation(of("", "\0", 0), 7).unwrap();
        assert_eq!(found.interest, Interest::Range("\0".into(), RangeEnd::Unbounded));
        assert_eq!(creation(of("b", "b", 0), 7).unwrap_err(), WATCH_RANGE_EMPTY);
        assert_eq!(creation(of("b", "a", 0), 7).unwrap_err(), WATCH_RANGE_EMPTY);
        assert_eq!(creation(of("b", "", -1), 7).unwrap_err(), Rejection::Compacted.text());
        let filters = vec![FilterType::Noput.into()];
        let filtered = creation(WatchCreateRequest { filters, ..of("a", "", 0) }, 7).unwrap();
        assert!(filtered.options.no_put && !filtered.options.no_delete);
    }

    #[test]
    fn fragments_are_whole_events_in_order() {
        let event = |value: usize| {
            let kv = KeyValue { value: vec![0; value].into(), ..KeyValue::default() };
            ProtoEvent { kv: Some(kv), ..ProtoEvent::default() }
        };
        let sizes = [100, 100, 500, 10, 10];
        let events = Vec::from(sizes.map(event));
        let response = WatchResponse { watch_id: 3, events, ..WatchResponse::default() };
        assert_eq!(fragments(response.clone(), 10_000), vec![response.clone()]);
        let pieces = fragments(response.clone(), 250);
        let counts: Vec<(usize, bool)> =
            pieces.iter().map(|piece| (piece.events.len(), piece.fragment)).collect();
        assert_eq!(counts, [(2, true), (1, true), (2, false)]);
        assert!(pieces.iter().all(|piece| piece.watch_id == 3));
        assert!(pieces.iter().all(|piece| piece.events.len() == 1 || piece.encoded_len() < 250));
        let joined: Vec<ProtoEvent> = pieces.into_iter().flat_map(|piece| piece.events).collect();
        assert_eq!(joined, response.events);
    }
}
