//! What a run says of a server that is right, wrong, silent or not there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rusd_proto::etcdserverpb as pb;
use rusd_proto::etcdserverpb::cluster_server::{Cluster, ClusterServer};
use rusd_proto::etcdserverpb::kv_server::{Kv, KvServer};
use rusd_proto::etcdserverpb::maintenance_server::{Maintenance, MaintenanceServer};
use tokio_stream::Empty;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::super::session::ANSWER_MAX;
use super::*;

/// A server that knows the answers to puts, of which every one raises the revision, and to
/// deletes, which find nothing.
#[derive(Clone)]
struct Stub {
    revision: Arc<AtomicI64>,
}

impl Stub {
    fn header(&self, rise: i64) -> pb::ResponseHeader {
        let revision = self.revision.fetch_add(rise, Ordering::Relaxed) + rise;
        pb::ResponseHeader { cluster_id: 1, member_id: 2, revision, raft_term: 3 }
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn unimplemented<T>() -> Answer<T> {
    Err(Status::unimplemented("not here"))
}

#[tonic::async_trait]
impl Kv for Stub {
    type RangeStreamStream = Empty<Result<pb::RangeStreamResponse, Status>>;

    async fn put(&self, _: Request<pb::PutRequest>) -> Answer<pb::PutResponse> {
        let header = Some(self.header(1));
        Ok(Response::new(pb::PutResponse { header, ..pb::PutResponse::default() }))
    }
    async fn delete_range(
        &self,
        _: Request<pb::DeleteRangeRequest>,
    ) -> Answer<pb::DeleteRangeResponse> {
        let header = Some(self.header(0));
        Ok(Response::new(pb::DeleteRangeResponse { header, ..pb::DeleteRangeResponse::default() }))
    }
    async fn range(&self, _: Request<pb::RangeRequest>) -> Answer<pb::RangeResponse> {
        std::future::pending().await
    }
    async fn range_stream(&self, _: Request<pb::RangeRequest>) -> Answer<Self::RangeStreamStream> {
        Ok(Response::new(tokio_stream::empty()))
    }
    async fn txn(&self, _: Request<pb::TxnRequest>) -> Answer<pb::TxnResponse> {
        unimplemented()
    }
    async fn compact(&self, _: Request<pb::CompactionRequest>) -> Answer<pb::CompactionResponse> {
        unimplemented()
    }
}

#[tonic::async_trait]
impl Cluster for Stub {
    async fn member_list(
        &self,
        _: Request<pb::MemberListRequest>,
    ) -> Answer<pb::MemberListResponse> {
        let own = pb::Member { id: 2, name: "stub".into(), ..pb::Member::default() };
        let (header, members) = (Some(self.header(0)), vec![own]);
        Ok(Response::new(pb::MemberListResponse { header, members }))
    }
    async fn member_add(&self, _: Request<pb::MemberAddRequest>) -> Answer<pb::MemberAddResponse> {
        unimplemented()
    }
    async fn member_remove(
        &self,
        _: Request<pb::MemberRemoveRequest>,
    ) -> Answer<pb::MemberRemoveResponse> {
        unimplemented()
    }
    async fn member_update(
        &self,
        _: Request<pb::MemberUpdateRequest>,
    ) -> Answer<pb::MemberUpdateResponse> {
        unimplemented()
    }
    async fn member_promote(
        &self,
        _: Request<pb::MemberPromoteRequest>,
    ) -> Answer<pb::MemberPromoteResponse> {
        unimplemented()
    }
}

#[tonic::async_trait]
impl Maintenance for Stub {
    type SnapshotStream = Empty<Result<pb::SnapshotResponse, Status>>;

    async fn status(&self, _: Request<pb::StatusRequest>) -> Answer<pb::StatusResponse> {
        let (header, version) = (Some(self.header(0)), "3.5.1".to_owned());
        Ok(Response::new(pb::StatusResponse { header, version, ..pb::StatusResponse::default() }))
    }
    async fn alarm(&self, _: Request<pb::AlarmRequest>) -> Answer<pb::AlarmResponse> {
        unimplemented()
    }
    async fn defragment(
        &self,
        _: Request<pb::DefragmentRequest>,
    ) -> Answer<pb::DefragmentResponse> {
        unimplemented()
    }
    async fn hash(&self, _: Request<pb::HashRequest>) -> Answer<pb::HashResponse> {
        unimplemented()
    }
    async fn hash_kv(&self, _: Request<pb::HashKvRequest>) -> Answer<pb::HashKvResponse> {
        unimplemented()
    }
    async fn snapshot(&self, _: Request<pb::SnapshotRequest>) -> Answer<Self::SnapshotStream> {
        unimplemented()
    }
    async fn move_leader(
        &self,
        _: Request<pb::MoveLeaderRequest>,
    ) -> Answer<pb::MoveLeaderResponse> {
        unimplemented()
    }
    async fn downgrade(&self, _: Request<pb::DowngradeRequest>) -> Answer<pb::DowngradeResponse> {
        unimplemented()
    }
}

/// A stub that has been used before.
async fn served() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stub = Stub { revision: Arc::new(AtomicI64::new(41)) };
    let server = tonic::transport::Server::builder()
        .add_service(KvServer::new(stub.clone()))
        .add_service(ClusterServer::new(stub.clone()))
        .add_service(MaintenanceServer::new(stub));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn source(text: &str) -> Source {
    let text = format!("# What holds.\n{text}");
    let script = Script::parse("area/name", &text).unwrap();
    Source { name: script.name.clone(), text, path: None, script }
}

fn plan(address: SocketAddr) -> Plan {
    let origin = |address: SocketAddr| Arc::new(Origin::Attached(vec![address.to_string()]));
    Plan {
        subject: origin(address),
        against: None,
        version: None,
        jobs: 1,
        record: false,
        patience: ANSWER_MAX,
    }
}

async fn outcomes(plan: Plan, scripts: &[&str]) -> Vec<Outcome> {
    let sources = scripts.iter().map(|text| source(text)).collect();
    let (_, ran) = run(plan, sources).await.unwrap();
    ran.into_iter().map(|ran| ran.outcome).collect()
}

#[tokio::test]
async fn every_answer_is_compared() {
    let right = "Put key: \"a\"\n  header { * revision: 2 }\n";
    let wrong = "Put key: \"a\"\n  header { * revision: 2 }\nPut key: \"b\"\n  \
                 header { * revision: 2 }\n";
    let got = outcomes(plan(served().await), &[right, wrong, "Put key: \"a\"\n", right]).await;
    assert_eq!(got[0], Outcome::Passed);
    let mismatch = Mismatch {
        line: 4,
        request: "Put key: \"b\"".to_owned(),
        expected: "header { * revision: 2 }".to_owned(),
        got: "header { * revision: 3 }".to_owned(),
    };
    assert_eq!(got[1], Outcome::Failed(mismatch));
    assert!(matches!(&got[2], Outcome::Failed(mismatch) if mismatch.expected.contains("recorded")));
    assert_eq!(got[3], Outcome::Passed, "a script after one that failed");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_mismatch() {
    let silent = "Range key: \"a\"\n  header { * revision: 1 }\n";
    let ended = "s = RangeStream key: \"a\"\ns <\n  (end)\n";
    let impatient = Plan { patience: Duration::from_millis(1), ..plan(served().await) };
    let got = outcomes(impatient, &[silent]).await;
    assert!(matches!(&got[0], Outcome::Failed(mismatch) if mismatch.got == "(nothing came)"));
    assert_eq!(outcomes(plan(served().await), &[ended]).await, [Outcome::Passed]);
}

#[tokio::test]
async fn what_is_not_run_has_a_reason() {
    let scripts = [
        "since 3.6\nPut\n  x\n",
        "fresh\nPut\n  x\n",
        "Put nonsense\n  x\n",
        "Put lease: $L\n  x\n",
    ];
    let got = outcomes(plan(served().await), &scripts).await;
    assert!(matches!(&got[0], Outcome::Skipped(reason) if reason.contains("since 3.6")));
    assert!(matches!(&got[1], Outcome::Skipped(reason) if reason.contains("server of its own")));
    assert!(matches!(got[2], Outcome::Broken(2, _)), "{:?}", got[2]);
    assert!(matches!(&got[3], Outcome::Broken(2, problem) if problem.contains("$L")));
}

#[tokio::test]
async fn a_live_server_takes_the_place_of_what_was_recorded() {
    let old = "Put key: \"a\"\n  what was recorded does not matter\n";
    let against = Some(plan(served().await).subject);
    let compared = Plan { against, ..plan(served().await) };
    assert_eq!(outcomes(compared, &[old]).await, [Outcome::Passed]);
    // One server against itself: its revision rises between the clean start and the put.
    let address = served().await;
    let against = Some(plan(address).subject);
    let with_itself = Plan { against, ..plan(address) };
    assert_eq!(outcomes(with_itself, &[old]).await, [Outcome::Passed]);
}

#[tokio::test]
async fn recording_writes_answers_and_nothing_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("name.txt");
    let mut source = source("Put key: \"a\"\n");
    source.path = Some(path.clone());
    let record = || async {
        Plan { record: true, version: Some(Version::recorded()), ..plan(served().await) }
    };
    let (_, ran) = run(record().await, vec![source.clone()]).await.unwrap();
    assert_eq!(ran[0].outcome, Outcome::Recorded { changed: true });
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "# What holds.\nPut key: \"a\"\n  header { * revision: 2 }\n");
    // An older server does not write into what the newest is held to.
    let older = Plan { version: Some("3.4".parse().unwrap()), ..record().await };
    let (_, ran) = run(older, vec![source]).await.unwrap();
    assert!(matches!(&ran[0].outcome, Outcome::Skipped(reason) if reason.contains("3.7.3")));
}

#[tokio::test]
async fn without_a_server_nothing_is_run() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(run(plan(address), vec![source("Put key: \"a\"\n")]).await.is_err());
}
