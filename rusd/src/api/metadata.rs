//! What a client says about its requests beside them, in the metadata.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;

use super::status::Rejection;

/// `true` here: the client prefers an error to the answer of a member that knows no leader.
const REQUIRES_LEADER: &str = "hasleader";
/// How long the client waits, as a number and a unit.
const TIME_LIMIT: &str = "grpc-timeout";
/// The version of the client.
const CLIENT_VERSION: &str = "client-api-version";

/// What this member heeds of a request's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The answer is not wanted, and a stream shall end, when there is no leader.
    pub(super) requires_leader: bool,
}

impl Metadata {
    /// Reads a request's headers.
    pub(super) fn of(headers: &HeaderMap) -> Result<Metadata, Rejection> {
        let version = headers.get(CLIENT_VERSION).map(HeaderValue::as_bytes);
        if version.is_some_and(|version| std::str::from_utf8(version).is_err()) {
            return Err(Rejection::InvalidClientVersion);
        }
        let requires_leader = headers.get(REQUIRES_LEADER).is_some_and(|value| value == "true");
        Ok(Metadata { requires_leader })
    }
}

/// How long the client waits for the answer, if it says so.
pub(super) fn time_limit(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get(TIME_LIMIT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u32 = number.parse().ok()?;
    let one = match unit {
        "H" => Duration::from_hours(1),
        "M" => Duration::from_mins(1),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    Some(one * number)
}

/// An answer that ends with an error when the leader is lost.
pub(super) struct LedBody {
    inner: Body,
    /// Over when the leader is lost; `None` once the client was told.
    leader: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl LedBody {
    pub(super) fn new(inner: Body, leader: impl Future<Output = ()> + Send + 'static) -> LedBody {
        LedBody { inner, leader: Some(Box::pin(leader)) }
    }
}

impl HttpBody for LedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(leader) = &mut self.leader else { return Poll::Ready(None) };
        let leader = leader.as_mut().poll(context);
        // What is there is handed out before the end, which there may be anyway.
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(leader);
        self.leader = None;
        // Dropped: whoever fed it notices.
        self.inner = Body::empty();
        let mut trailers = HeaderMap::new();
        let status = Status::from(Rejection::NoLeader);
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::{mpsc, oneshot};
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    fn headers(name: &'static str, value: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        headers
    }

    #[test]
    fn what_is_heeded() {
        let requires =
            |headers: HeaderMap| Metadata::of(&headers).map(|found| found.requires_leader);
        assert_eq!(requires(HeaderMap::new()), Ok(false));
        assert_eq!(requires(headers("hasleader", b"true")), Ok(true));
        assert_eq!(requires(headers("hasleader", b"false")), Ok(false));
        assert_eq!(requires(headers("client-api-version", b"3.7.3")), Ok(false));
        let bad = requires(headers("client-api-version", b"3.\xff"));
        assert_eq!(bad, Err(Rejection::InvalidClientVersion));
    }

    #[test]
    fn a_time_limit_has_a_unit() {
        for (text, expected) in [
            ("3H", Some(Duration::from_hours(3))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("250m", Some(Duration::from_millis(250))),
            ("5", None),
            ("S", None),
            ("", None),
            ("-1S", None),
        ] {
            let metadata = MetadataMap::from_headers(headers("grpc-timeout", text.as_bytes()));
            assert_eq!(time_limit(&metadata), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn a_stream_ends_when_the_leader_is_lost() {
        let (lose, lost) = oneshot::channel::<()>();
        let (feed, frames) = mpsc::channel::<Result<Frame<Bytes>, Status>>(4);
        let inner = Body::new(StreamBody::new(ReceiverStream::new(frames)));
        let mut body = LedBody::new(inner, async {
            lost.await.ok();
        });
        feed.send(Ok(Frame::data("event".into()))).await.unwrap();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "event");
        lose.send(()).unwrap();
        let last = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(last["grpc-status"], "14");
        assert_eq!(last["grpc-message"], "etcdserver:%20no%20leader");
        assert!(body.frame().await.is_none());
        assert!(feed.is_closed(), "nobody reads any more");
    }
}
