//! Watches of a member that knows one thing: its revision is 5.

use std::fs::File;
use std::io::BufReader;

use rusd_checker::history::jsonl::Reader;
use rusd_checker::history::record::{FORMAT_VERSION, Header};
use rusd_proto::etcdserverpb::watch_request::RequestUnion;
use rusd_proto::etcdserverpb::watch_server::{Watch, WatchServer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::*;

struct Member;

#[tonic::async_trait]
impl Watch for Member {
    type WatchStream = ReceiverStream<Result<pb::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (answers, answered) = mpsc::channel(8);
        tokio::spawn(async move {
            let mut asked = request.into_inner();
            while let Some(Ok(asked)) = asked.next().await {
                let created = matches!(asked.request_union, Some(RequestUnion::CreateRequest(_)));
                let header = Some(pb::ResponseHeader { revision: 5, ..Default::default() });
                let answer = pb::WatchResponse { header, created, ..Default::default() };
                drop(answers.send(Ok(answer)).await);
            }
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }
}

async fn member() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(WatchServer::new(Member));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address.to_string()
}

/// The last record of a watch that came up to revision 5 and then was closed.
async fn closed_with(final_revision: Option<i64>) -> WatchBody {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let header = Header {
        version: FORMAT_VERSION,
        workload: String::new(),
        seed: 1,
        system: String::new(),
        first_revision: 1,
        initial: Vec::new(),
    };
    let (recorder, writing) = Recorder::start(&path, &header).unwrap();
    let (phase, receiver) = watch::channel(Phase::Draining);
    let shared = Shared {
        roster: crate::cluster::roster::fixed(&[member().await]),
        clock: Clock::start(),
        recorder,
        next_watch: Arc::default(),
        phase: receiver,
    };
    let request = WatchRequest {
        key: "a".into(),
        range_end: "".into(),
        start_revision: 2,
        prev_kv: false,
        no_put: false,
        no_delete: false,
        resumes: None,
    };
    let told = WatchTold::InFull;
    let plan = Plan { member: 0, request, events_per_second_max: None, told };
    let mut watcher = start(shared, plan).expect("the member is there");
    watcher.reached.wait_for(|reached| *reached == 5).await.unwrap();
    phase.send_replace(Phase::Closed { final_revision });
    watcher.task.await.unwrap();
    writing.finish().unwrap();

    let mut records = Reader::new(BufReader::new(File::open(path).unwrap()));
    let mut last = None;
    while let Some((_, record)) = records.next_record().unwrap() {
        if let Record::Watch(response) = record {
            last = Some(response.body);
        }
    }
    last.expect("the watch was recorded")
}

/// A watch that was closed while it still had to come up to the final revision claimed, by how it
/// was closed, that nothing more had happened: a broken promise that nobody had broken.
#[tokio::test]
async fn only_a_watch_that_has_everything_says_that_the_client_closed_it() {
    for (final_revision, expected) in
        [(Some(4), true), (Some(5), true), (Some(6), false), (None, false)]
    {
        let body = closed_with(final_revision).await;
        assert_eq!(body, WatchBody::Closed { by_client: expected }, "{final_revision:?}");
    }
}
