//! What members ask each other over plain HTTP, seldom and outside consensus: one request on a
//! connection of its own. Paths, headers and JSON are etcd's.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use rusd_state::members::{Member, MemberContext};
use tonic::body::Body;
use tonic::transport::Endpoint;
use tower::Service as _;

use crate::tls::Dialer;

/// Longest answer that is read.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The members, as JSON.
pub const MEMBERS: &str = "/members";
/// Before the id of a learner that shall vote.
pub const PROMOTE: &str = "/members/promote/";
/// The versions of the member and its cluster, as JSON.
pub const VERSION: &str = "/version";
/// Tells which cluster answers.
pub const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");

/// Members in etcd's JSON.
pub fn members_json(members: Vec<Member>) -> String {
    let contexts = members.into_iter().map(|member| MemberContext {
        id: member.id,
        peer_urls: member.peer_ur_ls,
        is_learner: member.is_learner,
        name: member.name,
        client_urls: member.client_ur_ls,
        is_promote: false,
    });
    let contexts: Vec<_> = contexts.collect();
    serde_json::to_string(&contexts).expect("strings and numbers are JSON") + "\n"
}

/// Reads what [`members_json`] wrote.
pub fn read_members(json: &[u8]) -> Result<Vec<Member>, serde_json::Error> {
    let contexts: Vec<MemberContext> = serde_json::from_slice(json)?;
    let members = contexts.into_iter().map(|context| Member {
        id: context.id,
        peer_ur_ls: context.peer_urls,
        is_learner: context.is_learner,
        name: context.name,
        client_ur_ls: context.client_urls,
    });
    Ok(members.collect())
}

/// A question without a body.
///
/// # Panics
/// If `path` is no path.
pub fn question(method: Method, path: &str) -> Request<Bytes> {
    let built = Request::builder().method(method).uri(path).body(Bytes::new());
    built.expect("paths are constants, with numbers")
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// There is no way to peers.
    #[error("no peer can be asked")]
    NoWay,
    /// Nobody listens there, or what came back is no HTTP.
    #[error(transparent)]
    Connection(#[from] tonic::transport::Error),
    /// The answer broke off or is too long.
    #[error("cannot read the answer: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came back in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Asks peers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerAsker {
    dialer: Option<Dialer>,
}

impl PeerAsker {
    /// Asks over these connections.
    pub fn new(dialer: Dialer) -> Self {
        PeerAsker { dialer: Some(dialer) }
    }

    /// Reaches nobody: where there is no network but the one for consensus.
    pub fn unconnected() -> Self {
        PeerAsker { dialer: None }
    }

    /// Sends a request to the member at `url` and reads the answer, all within `limit`.
    pub async fn ask(
        &self,
        url: &str,
        request: Request<Bytes>,
        limit: Duration,
    ) -> Result<Answer, HttpError> {
        let dialer = self.dialer.as_ref().ok_or(HttpError::NoWay)?;
        let asking = async {
            let mut channel = dialer.connect(&Endpoint::from_shared(url.to_owned())?).await?;
            let request = request.map(|body| Body::new(Full::new(body)));
            poll_fn(|context| channel.poll_ready(context)).await?;
            let (head, body) = channel.call(request).await?.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map_err(HttpError::Body)?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(limit, asking).await.map_err(|_elapsed| HttpError::Timeout(limit))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As etcd 3.7.3 lists a started member, and a learner that has not started.
    const LIST: &str = concat!(
        r#"[{"id":10221683743416816908,"peerURLs":["http://127.0.0.1:2380"],"name":"m1","#,
        r#""clientURLs":["http://127.0.0.1:2379"]},"#,
        r#"{"id":7,"peerURLs":["http://127.0.0.1:3380"],"isLearner":true}]"#,
        "\n"
    );

    #[test]
    fn members_are_listed_as_etcd_lists_them() {
        let members = read_members(LIST.as_bytes()).unwrap();
        assert_eq!(members[0].client_ur_ls, ["http://127.0.0.1:2379"]);
        assert!(members[1].is_learner);
        assert_eq!(members_json(members), LIST);
    }
}
