//! From a request's path to its service.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HeaderValue};
use ::http::{Method, Request, Response};
use hyper::body::Incoming;
use rusd_proto::etcdserverpb::cluster_server::ClusterServer;
use rusd_proto::etcdserverpb::kv_server::KvServer;
use rusd_proto::etcdserverpb::lease_server::LeaseServer;
use rusd_proto::etcdserverpb::maintenance_server::MaintenanceServer;
use rusd_proto::etcdserverpb::watch_server::WatchServer;
use rusd_proto::v3electionpb::election_server::ElectionServer;
use rusd_proto::v3lockpb::lock_server::LockServer;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tower::Service as _;

use super::cluster::ClusterService;
use super::election::ElectionService;
use super::http::Plain;
use super::inside::Inside;
use super::kv::KvService;
use super::lease::LeaseService;
use super::lock::LockService;
use super::maintenance::MaintenanceService;
use super::metadata::{LedBody, Metadata};
use super::status::{self, Rejection};
use super::watch::WatchService;
use crate::member::Member;
use crate::metrics::Metrics;

/// What a message may be longer than a request, as in etcd.
const MESSAGE_OVERHEAD_BYTES: usize = 512 * 1024;
/// Time between progress notifications, as in etcd.
const PROGRESS_NOTIFY_INTERVAL: Duration = Duration::from_mins(10);
const KV_PREFIX: &str = "/etcdserverpb.KV/";
/// Clients may compress what they send; answers are not compressed.
const GZIP: CompressionEncoding = CompressionEncoding::Gzip;

/// The client API of a member.
#[derive(Debug, Clone)]
pub struct Api {
    member: Member,
    progress_notify_interval: Duration,
}

/// The client API of `member`.
pub fn routes(member: &Member) -> Api {
    Api { member: member.clone(), progress_notify_interval: PROGRESS_NOTIFY_INTERVAL }
}

impl Api {
    /// The same, with `--watch-progress-notify-interval`.
    #[must_use]
    pub fn with_progress_notify_interval(self, progress_notify_interval: Duration) -> Self {
        Api { progress_notify_interval, ..self }
    }

    /// The services for a caller in the same process, without what the network adds. Streams end
    /// when `stop` is cancelled.
    pub fn in_process(
        &self,
        metrics: &Arc<Metrics>,
        stop: &CancellationToken,
    ) -> tonic::service::Routes {
        let Routes { kv, others, .. } = self.routes(metrics, stop);
        others.add_service(kv)
    }

    /// Its routes. Streams end when `stop` is cancelled.
    pub fn routes(&self, metrics: &Arc<Metrics>, stop: &CancellationToken) -> Routes {
        let member = &self.member;
        let message_bytes_max = member.limits.request_bytes_max + MESSAGE_OVERHEAD_BYTES;
        let watch = WatchService::new(
            member.clone(),
            message_bytes_max,
            self.progress_notify_interval,
            stop.clone(),
        );
        let kv = Arc::new(KvService::new(member.clone()));
        let lease = Arc::new(LeaseService { member: member.clone(), stop: stop.clone() });
        let inside =
            Inside { kv: Arc::clone(&kv), lease: Arc::clone(&lease), member: member.clone() };
        let lock = LockService { inside: inside.clone(), stop: stop.clone() };
        let election = ElectionService { inside, stop: stop.clone() };
        let cluster = ClusterService { member: member.clone() };
        let maintenance = MaintenanceService::new(member.clone(), Arc::clone(metrics));
        // Starts as serving; the listener is open only while that is so.
        let (_reporter, health) = tonic_health::server::health_reporter();
        let others = tonic::service::Routes::new(health)
            .add_service(
                WatchServer::new(watch)
                    .accept_compressed(GZIP)
                    .max_decoding_message_size(message_bytes_max),
            )
            .add_service(
                LeaseServer::from_arc(lease)
                    .accept_compressed(GZIP)
                    .max_decoding_message_size(message_bytes_max),
            )
            .add_service(
                ClusterServer::new(cluster)
                    .accept_compressed(GZIP)
                    .max_decoding_message_size(message_bytes_max),
            )
            .add_service(
                MaintenanceServer::new(maintenance)
                    .accept_compressed(GZIP)
                    .max_decoding_message_size(message_bytes_max),
            )
            .add_service(
                LockServer::new(lock)
                    .accept_compressed(GZIP)
                    .max_decoding_message_size(message_bytes_max),
            )
            .add_service(
                ElectionServer::new(election)
                    .accept_compressed(GZIP)
                    .max_decoding_message_size(message_bytes_max),
            )
            .prepare();
        Routes {
            kv: KvServer::from_arc(kv)
                .accept_compressed(GZIP)
                .max_decoding_message_size(message_bytes_max),
            others,
            plain: Arc::new(Plain { member: member.clone(), metrics: Arc::clone(metrics) }),
        }
    }
}

/// Answers requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Routes {
    kv: KvServer<KvService>,
    others: tonic::service::Routes,
    plain: Arc<Plain>,
}

impl hyper::service::Service<Request<Incoming>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        if request.method() != Method::POST || !is_grpc(&request) {
            let plain = Arc::clone(&self.plain);
            return Answer(Box::pin(async move { Ok(plain.answer(&request).await) }));
        }
        if self.plain.member.progress.is_learner() && !may_learner_serve(request.uri().path()) {
            let refused = refused_with(Rejection::NotSupportedForLearner);
            return Answer(Box::pin(std::future::ready(Ok(refused))));
        }
        Answer(match Metadata::of(request.headers()) {
            Ok(metadata) if metadata.requires_leader => self.call_led(request),
            Ok(_) => self.call_service(request),
            Err(refused) => Box::pin(std::future::ready(Ok(refused_with(refused)))),
        })
    }
}

impl Routes {
    fn call_service(&self, request: Request<Incoming>) -> BoxFuture {
        if is_of_kv(request.uri().path()) {
            return self.kv.clone().call(request);
        }
        let path = request.uri().path().to_owned();
        let answering = self.others.clone().call(request);
        Box::pin(async move {
            let answer = answering.await?;
            Ok(if is_unknown(&answer) { status::unknown_method(&path).into_http() } else { answer })
        })
    }

    /// The client wants an answer only while there is a leader.
    fn call_led(&self, request: Request<Incoming>) -> BoxFuture {
        let member = &self.plain.member;
        if member.progress.leader() == 0 {
            return Box::pin(std::future::ready(Ok(refused_with(Rejection::NoLeader))));
        }
        let answering = self.call_service(request);
        let (progress, leaderless_max) =
            (Arc::clone(&member.progress), member.limits.leaderless_max);
        Box::pin(async move {
            let answer = answering.await?;
            Ok(answer.map(|body| {
                Body::new(LedBody::new(body, async move {
                    progress.leaderless_for(leaderless_max).await;
                }))
            }))
        })
    }
}

/// What etcd's learners serve: of ranges only the serializable ones, which the service itself
/// tells apart.
fn may_learner_serve(path: &str) -> bool {
    matches!(
        path,
        "/etcdserverpb.KV/Range"
            | "/etcdserverpb.Maintenance/Status"
            | "/etcdserverpb.Maintenance/Snapshot"
    )
}

fn is_of_kv(path: &str) -> bool {
    let method = path.strip_prefix(KV_PREFIX);
    let methods = ["Range", "RangeStream", "Put", "DeleteRange", "Txn", "Compact"];
    method.is_some_and(|method| methods.contains(&method))
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|content_type| content_type.starts_with(b"application/grpc"))
}

/// The gRPC library's answer to what it has no method for.
fn is_unknown(answer: &Response<Body>) -> bool {
    let header = |name| answer.headers().get(name).map(HeaderValue::as_bytes);
    header("grpc-status") == Some(b"12") && header("grpc-message").is_none_or(<[u8]>::is_empty)
}

fn refused_with(rejection: Rejection) -> Response<Body> {
    Status::from(rejection).into_http()
}

type BoxFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The answer to a request.
pub struct Answer(BoxFuture);

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(self.0.as_mut().poll(context));
        Poll::Ready(answer.map(in_etcds_words))
    }
}

/// A message that is too long is refused by the gRPC library, which has words of its own for it.
fn in_etcds_words(response: Response<Body>) -> Response<Body> {
    let refused = response.extensions().get::<Status>().and_then(|status| {
        let text = status.message().strip_prefix("Error, decoded message length too large")?;
        let numbers = text.split(|c: char| !c.is_ascii_digit()).flat_map(str::parse);
        let numbers: Vec<usize> = numbers.collect();
        let [found, limit] = numbers[..] else { return None };
        Some(status::message_too_large(found, limit))
    });
    match refused {
        Some(status) => status.into_http(),
        None => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_too_long_message_is_refused_as_etcd_does() {
        let text =
            "Error, decoded message length too large: found 3000 bytes, the limit is: 2000 bytes";
        let response = in_etcds_words(Status::out_of_range(text).into_http());
        assert_eq!(response.headers()["grpc-status"], "8");
        let message = "grpc:%20received%20message%20larger%20than%20max%20(3000%20vs.%202000)";
        assert_eq!(response.headers()["grpc-message"], message);
        let other = in_etcds_words(Status::out_of_range("other").into_http());
        assert_eq!(other.headers()["grpc-status"], "11");
    }
}
