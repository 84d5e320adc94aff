//! What goes through the log: reads do not, and writes not faster than they can be applied.

use rusd_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::{
    Compare, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, StatusRequest, StatusResponse,
    TxnRequest, request_op,
};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::process::{Member, put};

async fn status(channel: &Channel) -> StatusResponse {
    let mut maintenance = MaintenanceClient::new(channel.clone());
    maintenance.status(StatusRequest {}).await.unwrap().into_inner()
}

fn op(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn range() -> RequestOp {
    op(request_op::Request::RequestRange(RangeRequest {
        key: "a".into(),
        ..RangeRequest::default()
    }))
}

fn put_a() -> RequestOp {
    op(request_op::Request::RequestPut(PutRequest { key: "a".into(), ..PutRequest::default() }))
}

/// Reads if `a` has this version, else this.
fn if_version(version: i64, otherwise: RequestOp) -> TxnRequest {
    let mut compare = Compare { key: "a".into(), ..Compare::default() };
    compare.set_result(CompareResult::Equal);
    compare.set_target(CompareTarget::Version);
    compare.target_union = Some(TargetUnion::Version(version));
    TxnRequest { compare: vec![compare], success: vec![range()], failure: vec![otherwise] }
}

/// More than a member writes for itself meanwhile.
const TXNS: u64 = 100;

#[tokio::test]
async fn transactions_that_only_read_are_not_logged() {
    let member = Member::start(&[]);
    let (channel, mut kv) = (member.channel().await, member.kv().await);
    put(&mut kv, "a", "1").await;
    let revision = status(&channel).await.header.unwrap().revision;
    let nested = op(request_op::Request::RequestTxn(if_version(2, range())));
    for (what, txn, is_logged) in [
        ("reads in one branch", if_version(1, range()), false),
        ("and in the other", if_version(2, range()), false),
        // As in etcd: what could have written, and what is nested.
        ("reads, and could have written", if_version(1, put_a()), true),
        ("reads, nested", if_version(2, nested), true),
    ] {
        let before = status(&channel).await.raft_index;
        for _ in 0..TXNS {
            kv.txn(txn.clone()).await.unwrap();
        }
        let after = status(&channel).await;
        assert_eq!(after.raft_index - before >= TXNS, is_logged, "{what}: {before} {after:?}");
        assert_eq!(after.header.unwrap().revision, revision, "{what}");
    }
}

/// How far a member commits ahead of what it has applied, as etcd.
const APPLY_LAG_MAX: u64 = 5000;
/// Puts at a time.
const PUTS: u64 = 500;

/// A slow disk or a large transaction would do the same; here the thread that applies is stopped
/// from outside.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_applies_too_slowly_refuses_writes_until_it_has_caught_up() {
    if std::env::var("RUSD_E2E_ENDPOINT").is_ok() {
        return;
    }
    // So long an election timeout makes requests wait for long.
    let flags = ["--heartbeat-interval", "1000", "--election-timeout", "40000"];
    let member = Member::start(&flags);
    let (channel, mut kv) = (member.channel().await, member.kv().await);
    put(&mut kv, "a", "1").await;
    let start = status(&channel).await.raft_applied_index;
    let applier = member.freeze("applier");
    let mut waiting = JoinSet::new();
    let mut put_in_background = |count| {
        for _ in 0..count {
            let mut kv = kv.clone();
            waiting.spawn(async move { put(&mut kv, "a", "2").await });
        }
    };
    // The last one that is taken is the one that brings it too far ahead.
    for part in 1..=APPLY_LAG_MAX / PUTS {
        put_in_background(PUTS);
        while status(&channel).await.raft_index < start + part * PUTS {}
    }
    put_in_background(1);
    while status(&channel).await.raft_index <= start + APPLY_LAG_MAX {}
    let refused = (Code::Unknown, "etcdserver: too many requests".to_owned());
    let row = |status: Status| (status.code(), status.message().to_owned());
    let request = PutRequest { key: "b".into(), ..PutRequest::default() };
    assert_eq!(kv.put(request.clone()).await.map_err(row).unwrap_err(), refused);
    let grant = LeaseGrantRequest { ttl: 10, id: 7 };
    let granted = LeaseClient::new(channel.clone()).lease_grant(grant).await;
    assert_eq!(granted.map_err(row).unwrap_err(), refused);
    drop(applier);
    // Whatever was taken is done.
    let revisions = waiting.join_all().await;
    assert_eq!(u64::try_from(revisions.len()).unwrap(), APPLY_LAG_MAX + 1);
    kv.put(request).await.unwrap();
}
