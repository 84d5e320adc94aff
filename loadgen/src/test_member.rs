//! For tests: a member that refuses every put but the first few, and all else.

use std::sync::atomic::{AtomicUsize, Ordering};

use rusd_proto::etcdserverpb as pb;
use rusd_proto::etcdserverpb::kv_server::{Kv, KvServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request as Asked, Response as Answer, Status};

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

/// Serves a member that takes so many puts, and says where.
pub(crate) async fn serve(takes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let member = KvServer::new(Member { takes: AtomicUsize::new(takes) });
    let server = tonic::transport::Server::builder().add_service(member);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address.to_string()
}
