//! Clients of a member that refuses every put but the first few.

use std::sync::atomic::{AtomicUsize, Ordering};

use rusd_proto::etcdserverpb as pb;
use rusd_proto::etcdserverpb::kv_server::{Kv, KvServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request as Asked, Response as Answer, Status};

use super::*;
use crate::generator::Seen;
use crate::keys::KeySpace;
use crate::workload::{Pacing, Workload};

/// Puts that are still taken.
struct Member {
    takes: AtomicUsize,
}

#[tonic::async_trait]
impl Kv for Member {
    type RangeStreamStream = ReceiverStream<Result<pb::RangeStreamResponse, Status>>;

    async fn range(&self, _: Asked<pb::RangeRequest>) -> Result<Answer<pb::RangeResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn range_stream(
        &self,
        _: Asked<pb::RangeRequest>,
    ) -> Result<Answer<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn put(&self, _: Asked<pb::PutRequest>) -> Result<Answer<pb::PutResponse>, Status> {
        let one_less = |left: usize| left.checked_sub(1);
        match self.takes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => {
                let header = Some(pb::ResponseHeader { revision: 2, ..Default::default() });
                Ok(Answer::new(pb::PutResponse { header, ..Default::default() }))
            }
            Err(_) => Err(Status::unknown("etcdserver: too many requests")),
        }
    }

    async fn delete_range(
        &self,
        _: Asked<pb::DeleteRangeRequest>,
    ) -> Result<Answer<pb::DeleteRangeResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn txn(&self, _: Asked<pb::TxnRequest>) -> Result<Answer<pb::TxnResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn compact(
        &self,
        _: Asked<pb::CompactionRequest>,
    ) -> Result<Answer<pb::CompactionResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

async fn worker(takes: usize) -> Worker {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let member = KvServer::new(Member { takes: AtomicUsize::new(takes) });
    let server = tonic::transport::Server::builder().add_service(member);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let text = "duration = \"1s\"\nclients = 1\nkeys = { count = 9 }\nmix = { put = 1 }\n";
    let workload = Workload::parse("test.toml", text).unwrap();
    let seen = Arc::new(Seen::new(KeySpace::new(&workload.keys), 1, 7));
    let shared = Shared {
        clock: Clock::start(),
        recorder: Recorder::off(),
        stats: Stats::default(),
        pacer: Pacer::new(&Pacing::default(), 0),
        request_timeout: Duration::from_secs(5),
        stop: CancellationToken::new(),
    };
    Worker {
        index: 0,
        generator: Generator::new(&workload, 1, 0, seen),
        link: Arc::new(Link::new(crate::cluster::roster::fixed(&[address.to_string()]), 0)),
        shared: Arc::new(shared),
    }
}

/// A store that refuses for good, for want of space or because values are too large for it, was
/// asked for ever.
#[tokio::test]
async fn a_store_that_cannot_be_filled_is_given_up() {
    let mut worker = worker(4).await;
    assert_eq!(worker.preload(0..4, Duration::ZERO).await, Ok(()));
    let given_up = worker.preload(4..9, Duration::ZERO).await;
    let last = "Unknown: etcdserver: too many requests".to_owned();
    assert_eq!(given_up, Err(PreloadError { index: 4, last }));
}
