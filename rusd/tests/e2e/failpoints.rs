//! A member that ends, or whose disk fails, at any place where something is written: it stops with
//! a reason, and has everything that was acknowledged when it is started again.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, PutRequest, RangeRequest, SnapshotRequest,
};
use tonic::transport::Channel;

use crate::process::{Member, free_port, put};

/// Status line and body of an answer of gofail's protocol.
fn ask(address: &str, method: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} /{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn with_failpoints() -> (Member, String) {
    let address = format!("127.0.0.1:{}", free_port());
    (Member::start_with_env(&[("GOFAIL_HTTP", &address)]), address)
}

fn set(address: &str, name: &str, terms: &str) {
    assert_eq!(ask(address, "PUT", name, terms).0, "HTTP/1.1 204 No Content", "{name}");
}

/// Puts, compacts and defragments until the member is gone; how many puts were acknowledged.
async fn work_until_gone(mut kv: KvClient<Channel>, channel: Channel) -> usize {
    let mut acknowledged = 0;
    loop {
        let key = format!("k{acknowledged:05}").into();
        let request = PutRequest { key, value: vec![b'x'; 100].into(), ..PutRequest::default() };
        let Ok(answer) = kv.put(request).await else { return acknowledged };
        acknowledged += 1;
        if acknowledged % 100 == 0 {
            let revision = answer.into_inner().header.unwrap().revision;
            let request = CompactionRequest { revision, physical: true };
            let compacted = kv.compact(request).await;
            let mut maintenance = MaintenanceClient::new(channel.clone());
            let defragmented = maintenance.defragment(DefragmentRequest {}).await;
            if compacted.is_err() || defragmented.is_err() {
                return acknowledged;
            }
        }
    }
}

async fn count(member: &Member) -> usize {
    let range = RangeRequest {
        key: "k".into(),
        range_end: "l".into(),
        count_only: true,
        ..RangeRequest::default()
    };
    let found = member.kv().await.range(range).await.unwrap().into_inner();
    usize::try_from(found.count).unwrap()
}

async fn ends_and_has_lost_nothing(name: &str, terms: &str, code: i32) {
    let (mut member, address) = with_failpoints();
    let channel = member.channel().await;
    put(&mut member.kv().await, "a", "1").await;
    set(&address, name, terms);
    let acknowledged = work_until_gone(member.kv().await, channel).await;
    assert_eq!(member.ended().code(), Some(code), "{name}");
    member.kill_and_restart();
    // What was not acknowledged may be there too.
    let found = count(&member).await;
    assert!(found == acknowledged || found == acknowledged + 1, "{name}: {acknowledged} {found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_nothing_wherever_it_comes() {
    for name in [
        "raftBeforeSave",
        "raftAfterSave",
        "raftBeforeAdvance",
        "walBeforeSync",
        "walAfterSync",
        "beforeApplyOneEntryNormal",
        "beforeCommit",
        "afterCommit",
        "compactBeforeCommitScheduledCompact",
        "compactAfterCommitScheduledCompact",
        "compactBeforeCommitBatch",
        "compactAfterCommitBatch",
        "compactBeforeSetFinishedCompact",
        "compactAfterSetFinishedCompact",
        "defragBeforeCopy",
        "defragBeforeRename",
    ] {
        ends_and_has_lost_nothing(name, "panic", 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_stops_the_member() {
    for (name, terms) in [
        ("walWriteError", "return(\"ENOSPC\")"),
        ("walWriteError", "1*off->return(\"EIO\")"),
        ("walSyncError", "return(\"EIO\")"),
        ("engineCommitError", "return(\"no space left on device\")"),
        ("compactBeforeCommitBatch", "return(\"EIO\")"),
        ("pointerStep", "2*off->return(\"EIO\")"),
    ] {
        ends_and_has_lost_nothing(name, terms, 1).await;
    }
}

/// The member is asked for a copy of its engine, and for its state as a file.
async fn asked(channel: Channel) -> Result<(), tonic::Status> {
    let mut maintenance = MaintenanceClient::new(channel);
    maintenance.defragment(DefragmentRequest {}).await?;
    let mut pieces = maintenance.snapshot(SnapshotRequest {}).await?.into_inner();
    while pieces.message().await?.is_some() {}
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_was_promised_is_refused_and_done_later() {
    let (member, address) = with_failpoints();
    let channel = member.channel().await;
    put(&mut member.kv().await, "a", "1").await;
    for name in ["defragOpenFileError", "defragdbFail", "defragBeforeRename", "exportFile"] {
        set(&address, name, "return(\"ENOSPC\")");
        let refused = asked(channel.clone()).await.unwrap_err();
        assert!(refused.message().contains("No space left on device"), "{name}: {refused}");
        assert_eq!(ask(&address, "DELETE", name, "").0, "HTTP/1.1 204 No Content");
        asked(channel.clone()).await.unwrap();
        put(&mut member.kv().await, "a", name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_listed_counted_and_let_go() {
    let (member, address) = with_failpoints();
    let mut kv = member.kv().await;
    let (_, list) = ask(&address, "GET", "", "");
    let names: Vec<&str> = list.lines().filter_map(|line| line.split('=').next()).collect();
    let mut expected = rusd_failpoint::NAMES.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected);
    set(&address, "beforeApplyOneEntryNormal", "2*sleep(1)");
    for _ in 0..3 {
        put(&mut kv, "a", "1").await;
    }
    let counted = ask(&address, "GET", "beforeApplyOneEntryNormal/count", "");
    assert_eq!(counted, ("HTTP/1.1 200 OK".to_owned(), "2".to_owned()));
    let gone = ask(&address, "DELETE", "beforeApplyOneEntryNormal", "").0;
    assert_eq!(gone, "HTTP/1.1 204 No Content");
    put(&mut kv, "a", "1").await;
}
