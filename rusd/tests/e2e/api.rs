//! What is refused, and how the member ends.

use rusd_proto::etcdserverpb::auth_client::AuthClient;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::request_op::Request;
use rusd_proto::etcdserverpb::watch_client::WatchClient;
use rusd_proto::etcdserverpb::watch_request::RequestUnion;
use rusd_proto::etcdserverpb::{
    AuthStatusRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
    WatchRequest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::process::{Member, put};

fn row(status: Status) -> (Code, String) {
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn requests_that_are_too_large_are_refused() {
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    let mut put = async |length| {
        let value = vec![0; length].into();
        let request = PutRequest { key: "a".into(), value, ..PutRequest::default() };
        kv.put(request).await.map_err(row).map(|_| ())
    };
    assert_eq!(put(1_500_000).await, Ok(()));
    let too_large = "etcdserver: request is too large".to_owned();
    assert_eq!(put(1_600_000).await, Err((Code::InvalidArgument, too_large)));
    let text = "grpc: received message larger than max (3000008 vs. 2097152)".to_owned();
    assert_eq!(put(3_000_000).await, Err((Code::ResourceExhausted, text)));
    assert_eq!(put(1).await, Ok(()), "the connection goes on");
}

#[tokio::test]
async fn a_transaction_has_at_most_128_operations() {
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    let mut txn = async |count: usize| {
        let op = |number: usize| {
            let key = number.to_string().into();
            let put = PutRequest { key, ..PutRequest::default() };
            RequestOp { request: Some(Request::RequestPut(put)) }
        };
        let success = (0..count).map(op).collect();
        let request = TxnRequest { success, ..TxnRequest::default() };
        kv.txn(request).await.map_err(row).map(|response| response.into_inner().responses.len())
    };
    assert_eq!(txn(128).await, Ok(128));
    let too_many = "etcdserver: too many operations in txn request".to_owned();
    assert_eq!(txn(129).await, Err((Code::InvalidArgument, too_many)));
}

#[tokio::test]
async fn reads_of_revisions_that_are_not_there_are_refused() {
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    let revision = put(&mut kv, "a", "1").await;
    let mut get = async |request| {
        let request = RangeRequest { key: "a".into(), ..request };
        kv.range(request).await.map_err(row).map(|response| response.into_inner().count)
    };
    assert_eq!(get(RangeRequest { revision, ..RangeRequest::default() }).await, Ok(1));
    let future = RangeRequest { revision: revision + 1, ..RangeRequest::default() };
    let text = "etcdserver: mvcc: required revision is a future revision".to_owned();
    assert_eq!(get(future).await, Err((Code::OutOfRange, text)));
    let unsorted = RangeRequest { sort_order: 9, ..RangeRequest::default() };
    let text = "etcdserver: invalid sort option".to_owned();
    assert_eq!(get(unsorted).await, Err((Code::InvalidArgument, text)));
}

#[tokio::test]
async fn a_service_that_is_not_built_says_so() {
    let member = Member::start(&[]);
    let mut auth = AuthClient::new(member.channel().await);
    let refused = auth.auth_status(AuthStatusRequest {}).await;
    if std::env::var("RUSD_E2E_ENDPOINT").is_err() {
        assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    }
}

#[tokio::test]
async fn sigterm_ends_the_member_with_its_streams() {
    let mut member = Member::start(&[]);
    let mut kv = member.kv().await;
    put(&mut kv, "a", "1").await;
    let create = WatchCreateRequest { key: "a".into(), ..WatchCreateRequest::default() };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = tokio_stream::StreamExt::chain(
        tokio_stream::once(request),
        tokio_stream::pending::<WatchRequest>(),
    );
    let mut responses = member.watch().await.watch(requests).await.unwrap().into_inner();
    assert!(responses.message().await.unwrap().unwrap().created);
    let Some(status) = tokio::task::spawn_blocking(move || member.terminate()).await.unwrap()
    else {
        return;
    };
    assert!(status.success(), "{status}");
    let ended = responses.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    let request = RangeRequest { key: "a".into(), ..RangeRequest::default() };
    assert_eq!(kv.range(request).await.unwrap_err().code(), Code::Unavailable);
}

/// A line that could not be logged once took the signal's handler with it, and the member served on.
/// And a client that does not answer was once waited for without end: this test's own connection
/// is one, for nothing runs it while the test waits.
#[tokio::test]
async fn sigterm_ends_a_member_that_nobody_hears_or_answers() {
    let mut member = Member::start_unheard();
    let mut kv = member.kv().await;
    put(&mut kv, "a", "1").await;
    if let Some(status) = member.terminate() {
        assert!(status.success(), "{status}");
    }
}

#[tokio::test]
async fn a_connection_has_only_so_many_requests_open() {
    let member = Member::start(&["--max-concurrent-streams=1"]);
    let channel = member.channel().await;
    let mut kv = KvClient::new(channel.clone());
    let create = WatchCreateRequest { key: "a".into(), ..WatchCreateRequest::default() };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let (requests, requests_out) = mpsc::channel(1);
    requests.send(request).await.unwrap();
    let requests_out = ReceiverStream::new(requests_out);
    let mut watch = WatchClient::new(channel).watch(requests_out).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().created);
    let mut putting = std::pin::pin!(put(&mut kv, "a", "1"));
    let limit = std::time::Duration::from_millis(300);
    tokio::time::timeout(limit, &mut putting).await.expect_err("the watch takes the only place");
    drop((requests, watch));
    putting.await;
}

#[tokio::test]
async fn a_client_whose_version_is_no_text_is_refused() {
    let member = Member::start(&[]);
    let mut request = tonic::Request::new(RangeRequest { key: "a".into(), ..Default::default() });
    let version = MetadataValue::try_from(&b"3.7\xff"[..]).unwrap();
    request.metadata_mut().insert("client-api-version", version);
    let text = "etcdserver: invalid client api version".to_owned();
    let answer = member.kv().await.range(request).await;
    assert_eq!(answer.map_err(row).unwrap_err(), (Code::InvalidArgument, text));
}
