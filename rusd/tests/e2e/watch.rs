//! Watches, as a client sees them.

use rusd_proto::etcdserverpb::watch_create_request::FilterType;
use rusd_proto::etcdserverpb::watch_request::RequestUnion;
use rusd_proto::etcdserverpb::{
    CompactionRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchResponse,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::process::{Member, delete, put};

/// Both ends of a watch stream. etcd opens its end only with its first response.
struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    opening: Option<JoinHandle<Streaming<WatchResponse>>>,
    responses: Option<Streaming<WatchResponse>>,
}

impl Stream {
    async fn open(member: &Member) -> Stream {
        let (requests, requests_out) = mpsc::channel(16);
        let mut client = member.watch().await;
        let opening = tokio::spawn(async move {
            client.watch(ReceiverStream::new(requests_out)).await.unwrap().into_inner()
        });
        Stream { requests, opening: Some(opening), responses: None }
    }

    async fn send(&self, request: RequestUnion) {
        self.requests.send(WatchRequest { request_union: Some(request) }).await.unwrap();
    }

    async fn next(&mut self) -> WatchResponse {
        if let Some(opening) = self.opening.take() {
            self.responses = Some(opening.await.unwrap());
        }
        let responses = self.responses.as_mut().expect("it was opened");
        responses.message().await.unwrap().expect("the stream goes on")
    }

    async fn create(&mut self, request: WatchCreateRequest) -> WatchResponse {
        self.send(RequestUnion::CreateRequest(request)).await;
        let response = self.next().await;
        assert!(response.created);
        response
    }

    async fn ask_for_progress(&self) {
        self.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    }

    /// The events of the next `count` events, as text.
    async fn events(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        while events.len() < count {
            let response = self.next().await;
            assert!(!response.events.is_empty(), "{response:?}");
            for event in response.events {
                let kind = event.r#type().as_str_name();
                let kv = event.kv.unwrap();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let prev = event.prev_kv.map(|prev| text(&prev.value)).unwrap_or_default();
                let (key, value) = (text(&kv.key), text(&kv.value));
                events.push(format!("{kind} {key}={value} @{} was {prev}", kv.mod_revision));
            }
        }
        events
    }
}

fn of(key: &str, range_end: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
        ..WatchCreateRequest::default()
    }
}

#[tokio::test]
async fn ids_are_chosen_by_the_stream_or_by_the_client() {
    let member = Member::start(&[]);
    let mut stream = Stream::open(&member).await;
    let mut ids = Vec::new();
    for watch_id in [0, 0, 1, 3, 0, 0, 3] {
        let response = stream.create(WatchCreateRequest { watch_id, ..of("a", "") }).await;
        assert_eq!(response.canceled, response.watch_id == -1);
        ids.push((response.watch_id, response.cancel_reason));
    }
    let duplicate = "mvcc: duplicate watch ID provided on the WatchStream";
    let expected = [(0, ""), (1, ""), (-1, duplicate), (3, ""), (2, ""), (4, ""), (-1, duplicate)];
    assert_eq!(ids, expected.map(|(id, reason)| (id, reason.to_owned())));

    stream.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 99 })).await;
    stream.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 3 })).await;
    let response = stream.next().await;
    assert_eq!((response.watch_id, response.canceled, response.created), (3, true, false));
    let again = stream.create(WatchCreateRequest { watch_id: 3, ..of("a", "") }).await;
    assert_eq!((again.watch_id, again.canceled), (3, false));
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused_with_etcds_reasons() {
    let member = Member::start(&[]);
    let mut stream = Stream::open(&member).await;
    let empty = stream.create(of("b", "a")).await;
    assert_eq!((empty.watch_id, empty.canceled), (-1, true));
    assert_eq!(empty.cancel_reason, "mvcc: watcher range is empty");
    let negative = stream.create(WatchCreateRequest { start_revision: -1, ..of("a", "") }).await;
    assert_eq!((negative.watch_id, negative.canceled), (-1, true));
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(negative.cancel_reason, compacted);
}

#[tokio::test]
async fn the_past_comes_first_and_then_the_present() {
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    let first = put(&mut kv, "p/a", "1").await;
    put(&mut kv, "q", "-").await;
    put(&mut kv, "p/a", "2").await;
    let mut stream = Stream::open(&member).await;
    let all = WatchCreateRequest { start_revision: first, prev_kv: true, ..of("p/", "p0") };
    assert_eq!(stream.create(all).await.header.unwrap().revision, first + 2);
    put(&mut kv, "p/b", "3").await;
    delete(&mut kv, "p/a").await;
    let expected = [
        format!("PUT p/a=1 @{first} was "),
        format!("PUT p/a=2 @{} was 1", first + 2),
        format!("PUT p/b=3 @{} was ", first + 3),
        format!("DELETE p/a= @{} was 2", first + 4),
    ];
    assert_eq!(stream.events(4).await, expected);
}

#[tokio::test]
async fn filters_keep_events_away() {
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    let mut stream = Stream::open(&member).await;
    let no_delete = vec![FilterType::Nodelete.into()];
    stream.create(WatchCreateRequest { filters: no_delete, ..of("a", "") }).await;
    let no_put = vec![FilterType::Noput.into()];
    stream.create(WatchCreateRequest { filters: no_put, ..of("b", "") }).await;
    let first = put(&mut kv, "a", "1").await;
    delete(&mut kv, "a").await;
    put(&mut kv, "b", "2").await;
    delete(&mut kv, "b").await;
    put(&mut kv, "a", "3").await;
    // Sorted: there is no order between watchers.
    let mut events = stream.events(3).await;
    events.sort();
    let expected = [
        format!("DELETE b= @{} was ", first + 3),
        format!("PUT a=1 @{first} was "),
        format!("PUT a=3 @{} was ", first + 4),
    ];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn progress_is_told_after_the_events_that_it_promises() {
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    let mut stream = Stream::open(&member).await;
    stream.create(of("a", "")).await;
    stream.create(of("b", "")).await;
    let revision = put(&mut kv, "a", "1").await;
    put(&mut kv, "other", "1").await;
    stream.ask_for_progress().await;
    assert_eq!(stream.events(1).await, [format!("PUT a=1 @{revision} was ")]);
    let progress = stream.next().await;
    assert_eq!((progress.watch_id, progress.events.len()), (-1, 0));
    let promised = progress.header.unwrap().revision;
    assert!(promised == revision || promised == revision + 1, "{promised}");
}

#[tokio::test]
async fn a_quiet_watcher_is_notified_of_progress() {
    let member = Member::start(&["--watch-progress-notify-interval", "100ms"]);
    let mut stream = Stream::open(&member).await;
    stream.create(of("quiet", "")).await;
    let asked = WatchCreateRequest { progress_notify: true, ..of("quiet", "") };
    let created = stream.create(asked).await;
    let notified = stream.next().await;
    assert_eq!((notified.watch_id, notified.events.len()), (created.watch_id, 0));
    assert_eq!(notified.header.unwrap().revision, created.header.unwrap().revision);
}

#[tokio::test]
async fn what_was_compacted_cannot_be_watched() {
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    let first = put(&mut kv, "a", "1").await;
    put(&mut kv, "a", "2").await;
    let last = put(&mut kv, "a", "3").await;
    let request = CompactionRequest { revision: last, ..CompactionRequest::default() };
    kv.compact(request).await.unwrap();
    let mut stream = Stream::open(&member).await;
    let created = stream.create(WatchCreateRequest { start_revision: first, ..of("a", "") }).await;
    assert!(!created.canceled, "it was not looked yet");
    let response = stream.next().await;
    assert_eq!((response.watch_id, response.canceled), (created.watch_id, true));
    assert_eq!((response.compact_revision, response.header.unwrap().revision), (last, 0));
    stream.create(WatchCreateRequest { start_revision: last, ..of("a", "") }).await;
    assert_eq!(stream.events(1).await, [format!("PUT a=3 @{last} was ")]);
}

/// etcd keeps such a watcher until its client cancels it, and promises nothing meanwhile.
#[tokio::test]
async fn a_watcher_that_a_compaction_cut_off_keeps_its_id() {
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    put(&mut kv, "a", "1").await;
    put(&mut kv, "a", "2").await;
    let last = put(&mut kv, "a", "3").await;
    kv.compact(CompactionRequest { revision: last, ..CompactionRequest::default() }).await.unwrap();
    let mut stream = Stream::open(&member).await;
    let create = WatchCreateRequest { watch_id: 7, start_revision: 2, ..of("a", "") };
    stream.create(create.clone()).await;
    assert_eq!(stream.next().await.compact_revision, last);
    let again = stream.create(create).await;
    assert_eq!((again.watch_id, again.canceled), (-1, true));
    stream.ask_for_progress().await;
    stream.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 7 })).await;
    let cancelled = stream.next().await;
    assert_eq!((cancelled.watch_id, cancelled.canceled), (7, true));
    stream.create(of("a", "")).await;
    stream.ask_for_progress().await;
    assert_eq!(stream.next().await.watch_id, -1);
}

/// A client that keeps up gets each revision by itself, with its own header.
#[tokio::test]
async fn revisions_come_one_by_one() {
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    let mut stream = Stream::open(&member).await;
    stream.create(of("a", "")).await;
    let mut revisions = Vec::new();
    for _ in 0..10 {
        revisions.push(put(&mut kv, "a", "1").await);
    }
    for revision in revisions {
        let response = stream.next().await;
        assert_eq!(response.header.unwrap().revision, revision);
        assert_eq!(response.events.len(), 1);
    }
}

#[tokio::test]
async fn a_watcher_that_does_not_read_loses_nothing() {
    const PUTS: i64 = 2000;
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    let mut stream = Stream::open(&member).await;
    stream.create(of("a", "")).await;
    let first = put(&mut kv, "a", "").await;
    // More than the connection's buffers and the watcher's channel hold.
    let mut puts = tokio::task::JoinSet::new();
    for _ in 1..PUTS {
        let mut kv = kv.clone();
        puts.spawn(async move { put(&mut kv, "a", &"x".repeat(2000)).await });
    }
    puts.join_all().await;
    let mut revision = first;
    while revision < first + PUTS {
        for event in stream.next().await.events {
            assert_eq!(event.kv.unwrap().mod_revision, revision);
            revision += 1;
        }
    }
}
