//! One connection to one member, speaking etcd's v3 API.

use std::time::Duration;

use rusd_checker::history::record::{Request, Response};
use rusd_proto::etcdserverpb as pb;
use rusd_proto::etcdserverpb::cluster_client::ClusterClient;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::watch_client::WatchClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Body as HttpBody, Bytes, StdError};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::{convert, tls};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Requests that a watch stream holds back; they are few, and a full queue delays the next one.
const WATCH_REQUESTS_QUEUED_MAX: usize = 8;

/// One connection to one member. Cheap to clone; clones share the connection. It is a channel of
/// the network, or whatever else takes a member's requests.
#[derive(Debug, Clone)]
pub struct Client<C = Channel> {
    channel: C,
}

/// An open watch stream: what we ask, and what comes back.
pub struct WatchStream {
    /// Further requests on the stream.
    pub requests: mpsc::Sender<pb::WatchRequest>,
    /// What the member sends.
    pub responses: Streaming<pb::WatchResponse>,
}

impl Client {
    /// Connects to `endpoint`: `http://host:port`, `https://host:port`, or `host:port`.
    pub async fn connect(endpoint: &str) -> Result<Client, tonic::transport::Error> {
        Client::connect_through(endpoint, None).await
    }

    /// The same, with a window of so many bytes if one is given: what was received and not yet
    /// read. A member holds back the rest.
    pub async fn connect_through(
        endpoint: &str,
        window_bytes: Option<u32>,
    ) -> Result<Client, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(tls::url(endpoint))?
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(window_bytes)
            .initial_connection_window_size(window_bytes);
        let channel = tls::connect(&endpoint.tcp_nodelay(true)).await?;
        Ok(Client { channel })
    }
}

impl<C> Client<C>
where
    C: GrpcService<Body> + Clone,
    C::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <C::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    /// A client of a member that this takes requests for.
    pub fn over(channel: C) -> Client<C> {
        Client { channel }
    }

    /// Sends one operation and waits for its answer.
    pub async fn execute(&self, request: &Request) -> Result<Response, Status> {
        match request {
            Request::Put(put) => {
                let answer = self.kv().put(convert::put(put)).await?.into_inner();
                convert::put_response(answer)
            }
            Request::Range(range) => {
                let answer = self.kv().range(convert::range(range)).await?.into_inner();
                convert::range_response(answer)
            }
            Request::DeleteRange(delete) => {
                let sent = convert::delete_range(delete);
                convert::delete_range_response(self.kv().delete_range(sent).await?.into_inner())
            }
            Request::Txn(txn) => {
                let answer = self.kv().txn(convert::txn(txn)).await?.into_inner();
                convert::txn_response(answer)
            }
            Request::Compact(compact) => {
                let sent = pb::CompactionRequest { revision: compact.revision, physical: false };
                convert::compact_response(self.kv().compact(sent).await?.into_inner())
            }
            Request::LeaseGrant(grant) => {
                let sent = pb::LeaseGrantRequest { ttl: grant.ttl, id: grant.id };
                convert::grant_response(self.lease().lease_grant(sent).await?.into_inner())
            }
            Request::LeaseRevoke(lease) => {
                let sent = pb::LeaseRevokeRequest { id: lease.id };
                convert::revoke_response(self.lease().lease_revoke(sent).await?.into_inner())
            }
            Request::LeaseKeepAlive(lease) => self.keep_alive(lease.id).await,
        }
    }

    async fn keep_alive(&self, id: i64) -> Result<Response, Status> {
        let requests = tokio_stream::once(pb::LeaseKeepAliveRequest { id });
        let mut answers = self.lease().lease_keep_alive(requests).await?.into_inner();
        let answer = answers.message().await?;
        convert::keep_alive_response(answer.ok_or_else(|| ended("keep-alive"))?)
    }

    /// What the member says of itself.
    pub async fn status(&self) -> Result<pb::StatusResponse, Status> {
        let answer = self.maintenance().status(pb::StatusRequest {}).await?;
        Ok(answer.into_inner())
    }

    /// Hash of the store at its newest revision, and which that was; `None` if the server does not
    /// have this call.
    pub async fn newest_hash(&self) -> Result<Option<(i64, u32)>, Status> {
        match self.maintenance().hash_kv(pb::HashKvRequest { revision: 0 }).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let revision = answer.header.map_or(0, |header| header.revision);
                Ok(Some((revision, answer.hash)))
            }
            Err(status) if status.code() == Code::Unimplemented => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Asks the member, which leads, to hand over to the one with this id.
    pub async fn move_leader(&self, target_id: u64) -> Result<(), Status> {
        self.maintenance().move_leader(pb::MoveLeaderRequest { target_id }).await.map(|_done| ())
    }

    /// Has the member rewrite its store without what was dropped.
    pub async fn defragment(&self) -> Result<(), Status> {
        self.maintenance().defragment(pb::DefragmentRequest {}).await.map(|_done| ())
    }

    /// Who the members are, by a linearizable read.
    pub async fn member_list(&self) -> Result<pb::MemberListResponse, Status> {
        let request = pb::MemberListRequest { linearizable: true };
        Ok(self.cluster().member_list(request).await?.into_inner())
    }

    /// Adds a member that peers will find at this URL.
    pub async fn member_add(&self, peer_url: &str, is_learner: bool) -> Result<(), Status> {
        let request = pb::MemberAddRequest { peer_ur_ls: vec![peer_url.to_owned()], is_learner };
        self.cluster().member_add(request).await.map(|_done| ())
    }

    /// Makes the learner with this id a voter.
    pub async fn member_promote(&self, id: u64) -> Result<(), Status> {
        self.cluster().member_promote(pb::MemberPromoteRequest { id }).await.map(|_done| ())
    }

    /// Removes the member with this id.
    pub async fn member_remove(&self, id: u64) -> Result<(), Status> {
        self.cluster().member_remove(pb::MemberRemoveRequest { id }).await.map(|_done| ())
    }

    /// Opens a stream and asks for one watch on it.
    pub async fn watch(&self, create: pb::WatchCreateRequest) -> Result<WatchStream, Status> {
        let (requests, queued) = mpsc::channel(WATCH_REQUESTS_QUEUED_MAX);
        requests
            .send(watch_request(pb::watch_request::RequestUnion::CreateRequest(create)))
            .await
            .expect("the receiver is in scope");
        let mut watch =
            WatchClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let responses = watch.watch(ReceiverStream::new(queued)).await?.into_inner();
        Ok(WatchStream { requests, responses })
    }

    fn kv(&self) -> KvClient<C> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    fn lease(&self) -> LeaseClient<C> {
        LeaseClient::new(self.channel.clone())
    }

    fn cluster(&self) -> ClusterClient<C> {
        ClusterClient::new(self.channel.clone())
    }

    fn maintenance(&self) -> MaintenanceClient<C> {
        MaintenanceClient::new(self.channel.clone())
    }
}

impl WatchStream {
    /// Asks how far the stream has come. Dropped when earlier requests still wait: the answer to
    /// those says the same.
    pub fn ask_progress(&self) {
        let request = pb::watch_request::RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
        // A full queue or a broken stream shows elsewhere.
        drop(self.requests.try_send(watch_request(request)));
    }
}

fn watch_request(union: pb::watch_request::RequestUnion) -> pb::WatchRequest {
    pb::WatchRequest { request_union: Some(union) }
}

fn ended(what: &str) -> Status {
    Status::unknown(format!("the {what} stream ended without an answer"))
}
