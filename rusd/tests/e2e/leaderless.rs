//! What a member says while there is no leader, and when there is another one.
//!
//! With `RUSD_E2E_BINARY` set, three members of that program are asked, such as etcd.

use std::time::Duration;

use nix::sys::signal::Signal;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::watch_client::WatchClient;
use rusd_proto::etcdserverpb::watch_request::RequestUnion;
use rusd_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
    StatusRequest, StatusResponse, WatchCreateRequest, WatchRequest,
};
use rusd_proto::v3electionpb::LeaderRequest;
use rusd_proto::v3electionpb::election_client::ElectionClient;
use rusd_proto::v3lockpb::LockRequest;
use rusd_proto::v3lockpb::lock_client::LockClient;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::process::{Member, put, start_three};

type Refusal = (Code, String);

fn row<T>(answer: Result<T, Status>) -> Result<(), Refusal> {
    answer.map(|_| ()).map_err(|status| (status.code(), status.message().to_owned()))
}

fn refused(code: Code, text: &str) -> Result<(), Refusal> {
    Err((code, text.to_owned()))
}

fn no_leader() -> Result<(), Refusal> {
    refused(Code::Unavailable, "etcdserver: no leader")
}

fn requiring_leader<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    request
}

async fn status(channel: &Channel) -> StatusResponse {
    MaintenanceClient::new(channel.clone()).status(StatusRequest {}).await.unwrap().into_inner()
}

/// Sends one message and waits for the end of what comes back.
async fn end_of<T>(mut responses: Streaming<T>) -> Result<(), Refusal> {
    loop {
        match responses.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(status) => return row::<()>(Err(status)),
        }
    }
}

fn watch_of_a() -> impl tokio_stream::Stream<Item = WatchRequest> {
    let create = WatchCreateRequest { key: "a".into(), ..WatchCreateRequest::default() };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    tokio_stream::once(request).chain(tokio_stream::pending())
}

async fn renew(channel: Channel) -> Result<(), Refusal> {
    let requests = tokio_stream::once(LeaseKeepAliveRequest { id: 7 });
    let mut leases = LeaseClient::new(channel);
    match leases.lease_keep_alive(requests).await {
        Ok(renewals) => row(renewals.into_inner().message().await),
        refused => row(refused),
    }
}

/// Everything that needs a leader, asked at once of a member that knows none.
async fn leaderless_answers(channel: Channel) {
    let kv = || KvClient::new(channel.clone());
    let leases = || LeaseClient::new(channel.clone());
    let lock = LockRequest { name: "n".into(), lease: 7 };
    let leader = LeaderRequest { name: "n".into() };
    let ttl = LeaseTimeToLiveRequest { id: 7, keys: false };
    let of_a = RangeRequest { key: "a".into(), ..RangeRequest::default() };
    let at_once = RangeRequest { serializable: true, ..of_a.clone() };
    let put = PutRequest { key: "a".into(), ..PutRequest::default() };
    let (mut put_kv, mut range_kv, mut now_kv) = (kv(), kv(), kv());
    let (mut grants, mut times) = (leases(), leases());
    let mut locks = LockClient::new(channel.clone());
    let mut elections = ElectionClient::new(channel.clone());
    let answers = tokio::join!(
        put_kv.put(put),
        range_kv.range(of_a),
        now_kv.range(at_once),
        grants.lease_grant(LeaseGrantRequest { ttl: 10, id: 8 }),
        renew(channel.clone()),
        times.lease_time_to_live(ttl),
        locks.lock(lock),
        elections.leader(leader),
    );
    let never = || refused(Code::DeadlineExceeded, "context deadline exceeded");
    let late = "etcdserver: request timed out";
    assert_eq!(row(answers.0), never(), "put");
    assert_eq!(row(answers.1), refused(Code::Unavailable, late), "range");
    assert_eq!(row(answers.2), Ok(()), "serializable range");
    assert_eq!(row(answers.3), never(), "grant");
    assert_eq!(answers.4, no_leader(), "keep-alive");
    assert_eq!(row(answers.5), no_leader(), "time to live");
    assert_eq!(row(answers.6), never(), "lock");
    assert_eq!(row(answers.7), refused(Code::Unknown, late), "leader of an election");
}

fn three_members() -> [Member; 3] {
    let program = std::env::var("RUSD_E2E_BINARY");
    let program = program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_rusd").to_owned());
    start_three(&program, &["--heartbeat-interval", "30", "--election-timeout", "150"])
}

/// Asks again and again until a lease has a time to live that is wanted.
async fn until_ttl(channel: &Channel, wanted: impl Fn(i64) -> bool) {
    let mut last = None;
    let asking = async {
        while !last.is_some_and(&wanted) {
            let request = LeaseTimeToLiveRequest { id: 7, keys: false };
            let answer = LeaseClient::new(channel.clone()).lease_time_to_live(request).await;
            // Without a leader there is none.
            last = answer.ok().map(|answer| answer.into_inner().ttl);
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), asking).await;
    assert!(in_time.is_ok(), "the lease lived for {last:?} s");
}

#[tokio::test]
async fn a_new_leader_gives_leases_their_time_again() {
    let mut members: Vec<Member> = three_members().into();
    let mut leader = None;
    for number in 0..3 {
        let status = status(&members[number].channel().await).await;
        if status.header.unwrap().member_id == status.leader {
            leader = Some(members.remove(number));
            break;
        }
    }
    let leader = leader.expect("a member is ready when there is a leader");
    let channel = members[0].channel().await;
    let mut leases = LeaseClient::new(channel.clone());
    leases.lease_grant(LeaseGrantRequest { ttl: 6, id: 7 }).await.unwrap();
    until_ttl(&channel, |ttl| ttl <= 2).await;
    drop(leader);
    until_ttl(&channel, |ttl| ttl >= 4).await;
    until_ttl(&channel, |ttl| ttl == -1).await;
}

#[tokio::test]
async fn a_member_without_a_leader_says_so() {
    let [member, others @ ..] = three_members();
    let channel = member.channel().await;
    put(&mut KvClient::new(channel.clone()), "a", "1").await;
    let mut leases = LeaseClient::new(channel.clone());
    leases.lease_grant(LeaseGrantRequest { ttl: 600, id: 7 }).await.unwrap();
    let mut watch = WatchClient::new(channel.clone());
    let mut led = watch.watch(requiring_leader(watch_of_a())).await.unwrap().into_inner();
    assert!(led.message().await.unwrap().unwrap().created);
    let mut unled = watch.watch(watch_of_a()).await.unwrap().into_inner();
    assert!(unled.message().await.unwrap().unwrap().created);

    for other in &others {
        other.signal(Signal::SIGSTOP);
    }
    assert_eq!(end_of(led).await, no_leader());
    assert_eq!(status(&channel).await.leader, 0);
    let again = watch.watch(requiring_leader(watch_of_a())).await;
    assert_eq!(row(again), no_leader());
    let range = RangeRequest { key: "a".into(), serializable: true, ..RangeRequest::default() };
    let mut kv = KvClient::new(channel.clone());
    assert_eq!(row(kv.range(requiring_leader(range)).await), no_leader());
    leaderless_answers(channel.clone()).await;

    for other in &others {
        other.signal(Signal::SIGCONT);
    }
    // The leader that was stopped may be heard once more before it sees that it leads no longer: what
    // it is given then is lost, or is done and nobody is told.
    let revision = loop {
        let put = PutRequest { key: "a".into(), value: "2".into(), ..PutRequest::default() };
        match kv.put(put).await {
            Ok(response) => break response.into_inner().header.unwrap().revision,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
        }
    };
    let mut seen = 0;
    while seen < revision {
        seen = unled.message().await.unwrap().unwrap().header.unwrap().revision;
    }
    assert_eq!(seen, revision, "the other watch goes on");
}
