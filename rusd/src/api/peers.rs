//! What a member answers its peers over plain HTTP, on the port of the peers' gRPC: who the members
//! are, which version this is, and whether a learner may vote. Paths and answers are etcd's.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::header::{ALLOW, CONTENT_TYPE};
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use rusd_state::members::Member as ClusterMember;
use rusd_state::{ApplyError, ReadError};
use tonic::body::Body;
use tower::Service;

use super::http::version_text;
use super::status::Rejection;
use crate::consensus::peer_hash::{
    COMPACTED, FUTURE_REVISION, HASH_KV, OTHER_CLUSTER, answer_json, read_question,
};
use crate::consensus::peer_http::{
    CLUSTER_ID, MEMBERS, PROMOTE, VERSION, members_json, question, read_members,
};
use crate::consensus::reconfigure::ReconfigureError;
use crate::hasher::HashError;
use crate::member::Member;

/// Longest question with a body that is read.
const QUESTION_BYTES_MAX: usize = 4096;

// etcd's words for why a learner was not promoted.
const NOT_FOUND: &str = "membership: ID not found";
const NOT_LEARNER: &str = "membership: can only promote a learner member";
const NOT_READY: &str =
    "etcdserver: can only promote a learner member which is in sync with leader";

/// Answers peers: plain HTTP here, the rest by `grpc`.
#[derive(Debug, Clone)]
pub struct PeerRoutes<S> {
    member: Member,
    grpc: S,
}

/// What a member answers its peers.
pub fn peer_routes<S>(member: &Member, grpc: S) -> PeerRoutes<S> {
    PeerRoutes { member: member.clone(), grpc }
}

type BoxFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Incoming>> for PeerRoutes<S>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.grpc.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> BoxFuture {
        let is_grpc = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if is_grpc {
            return Box::pin(self.grpc.call(request));
        }
        let member = self.member.clone();
        Box::pin(async move { Ok(plain(&member, request).await) })
    }
}

async fn plain(member: &Member, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let path = path.as_str();
    let (allowed, id) = match path {
        MEMBERS | VERSION | HASH_KV => (Method::GET, None),
        _ => match path.strip_prefix(PROMOTE) {
            Some(id) => (Method::POST, Some(id)),
            None => return text(StatusCode::NOT_FOUND, "404 page not found"),
        },
    };
    if request.method() != allowed {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        let allowed = HeaderValue::from_str(allowed.as_str()).expect("a method is ASCII");
        refused.headers_mut().insert(ALLOW, allowed);
        return refused;
    }
    if path == VERSION {
        return json(version_text(member));
    }
    let mut response = match id {
        Some(id) => promote(member, id).await,
        None if path == HASH_KV => hash_kv(member, request).await,
        None => json(members_json(member.view.members())),
    };
    let cluster = format!("{:x}", member.identity.cluster_id);
    let cluster = HeaderValue::from_str(&cluster).expect("digits are ASCII");
    response.headers_mut().insert(CLUSTER_ID, cluster);
    response
}

/// The hash of this member's history up to a revision.
async fn hash_kv(member: &Member, request: Request<Incoming>) -> Response<Body> {
    let own = format!("{:x}", member.identity.cluster_id);
    let theirs = request.headers().get(CLUSTER_ID);
    if theirs.is_some_and(|theirs| !theirs.is_empty() && theirs.as_bytes() != own.as_bytes()) {
        return text(StatusCode::PRECONDITION_FAILED, OTHER_CLUSTER);
    }
    let body = Limited::new(request.into_body(), QUESTION_BYTES_MAX).collect().await;
    let Ok(body) = body else {
        return text(StatusCode::BAD_REQUEST, "error reading body");
    };
    let Ok(revision) = read_question(&body.to_bytes()) else {
        return text(StatusCode::BAD_REQUEST, "error unmarshalling request");
    };
    match member.hasher.hash_kv(revision).await {
        Ok(found) => json(answer_json(found)),
        Err(error) => {
            tracing::warn!(revision, %error, "failed to get hashKV");
            let words = match &error {
                HashError::Read(ReadError::Compacted { .. }) => COMPACTED.to_owned(),
                HashError::Read(ReadError::FutureRevision { .. }) => FUTURE_REVISION.to_owned(),
                other => other.to_string(),
            };
            text(StatusCode::BAD_REQUEST, &words)
        }
    }
}

async fn promote(member: &Member, id: &str) -> Response<Body> {
    let Ok(number) = id.parse() else {
        return text(StatusCode::NOT_FOUND, &format!("member {id} not found in cluster"));
    };
    match member.reconfigurer.promote(number).await {
        Ok(members) => json(members_json(members)),
        Err(error) => {
            tracing::warn!(member = format!("{number:x}"), %error, "failed to promote a member");
            not_promoted(error)
        }
    }
}

fn not_promoted(error: ReconfigureError) -> Response<Body> {
    match error {
        ReconfigureError::Refused(ApplyError::MemberNotFound) => {
            text(StatusCode::NOT_FOUND, NOT_FOUND)
        }
        ReconfigureError::Refused(ApplyError::MemberNotLearner) => {
            text(StatusCode::PRECONDITION_FAILED, NOT_LEARNER)
        }
        ReconfigureError::LearnerNotReady => text(StatusCode::PRECONDITION_FAILED, NOT_READY),
        other => text(StatusCode::INTERNAL_SERVER_ERROR, &other.to_string()),
    }
}

fn json(content: String) -> Response<Body> {
    respond(StatusCode::OK, "application/json", content)
}

fn text(status: StatusCode, content: &str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", format!("{content}\n"))
}

fn respond(status: StatusCode, kind: &'static str, content: String) -> Response<Body> {
    let mut response = Response::new(Body::new(content));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Why a peer did not promote a member.
#[derive(Debug)]
pub(super) enum AskError {
    /// It decided against it.
    Refused(Rejection),
    /// It did not decide.
    Failed(String),
}

/// Asks the leader at `url` to promote a member. Gives the members after it.
pub(super) async fn ask_to_promote(
    member: &Member,
    url: &str,
    id: u64,
) -> Result<Vec<ClusterMember>, AskError> {
    let question = question(Method::POST, &format!("{PROMOTE}{id}"));
    let asking = member.asker.ask(url, question, member.limits.request_timeout);
    let answer = asking.await.map_err(|error| AskError::Failed(error.to_string()))?;
    let content = String::from_utf8_lossy(&answer.body);
    match answer.status {
        StatusCode::OK => {
            read_members(&answer.body).map_err(|error| AskError::Failed(error.to_string()))
        }
        StatusCode::PRECONDITION_FAILED if content.contains(NOT_READY) => {
            Err(AskError::Refused(Rejection::LearnerNotReady))
        }
        StatusCode::PRECONDITION_FAILED if content.contains(NOT_LEARNER) => {
            Err(AskError::Refused(Rejection::MemberNotLearner))
        }
        StatusCode::NOT_FOUND => Err(AskError::Refused(Rejection::MemberNotFound)),
        status => Err(AskError::Failed(format!("{status}: {content}"))),
    }
}
