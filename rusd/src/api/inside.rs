//! The member as a client of itself: what the lock and election services are built over.
//!
//! Requests take the way of a client's requests, without the network: the same checks, the same
//! answers. Only an error loses its code on the way, as it does in etcd, whose services use its own
//! client library.

use std::sync::Arc;

use bytes::Bytes;
use rusd_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use rusd_proto::etcdserverpb::kv_server::Kv as _;
use rusd_proto::etcdserverpb::lease_server::Lease as _;
use rusd_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use rusd_proto::etcdserverpb::request_op::Request as Op;
use rusd_proto::etcdserverpb::response_op::Response as OpResponse;
use rusd_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, PutRequest, RangeRequest,
    RangeResponse, RequestOp, ResponseHeader, TxnRequest, TxnResponse,
};
use rusd_proto::mvccpb::KeyValue;
use rusd_state::event::EntryKind;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::follow::Follower;
use super::kv::KvService;
use super::lease::LeaseService;
use super::metadata;
use super::status::{self, Rejection};
use crate::member::Member;
use crate::watch::hub::Interest;
use crate::watch::range_index::RangeEnd;

/// Time to live of a lease that a session makes for itself, in seconds.
const SESSION_TTL_SECONDS: i64 = 60;

/// What a member can ask of itself. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Inside {
    pub(super) kv: Arc<KvService>,
    pub(super) lease: Arc<LeaseService>,
    pub(super) member: Member,
}

/// The keys of one lock or election: `name/lease`, where the lease is in hexadecimal. The oldest
/// key holds the lock, or leads.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    prefix: Bytes,
}

impl Queue {
    /// The queue of this name.
    pub(super) fn new(name: &[u8]) -> Queue {
        Queue { prefix: [name, b"/"].concat().into() }
    }

    /// The key of a lease in the queue.
    pub(super) fn key(&self, lease: i64) -> Bytes {
        let sign = if lease < 0 { "-" } else { "" };
        let number = format!("{sign}{:x}", lease.unsigned_abs());
        [&self.prefix[..], number.as_bytes()].concat().into()
    }

    /// Every key of the queue.
    pub(super) fn interest(&self) -> Interest {
        Interest::Range(self.prefix.clone(), RangeEnd::Before(self.end()))
    }

    /// A request for the oldest key.
    pub(super) fn oldest(&self) -> RangeRequest {
        RangeRequest { sort_order: SortOrder::Ascend.into(), ..self.one_by_age() }
    }

    /// A request for the youngest key that is not younger than the revision `created_max`.
    fn youngest(&self, created_max: i64) -> RangeRequest {
        RangeRequest {
            sort_order: SortOrder::Descend.into(),
            max_create_revision: created_max,
            ..self.one_by_age()
        }
    }

    fn one_by_age(&self) -> RangeRequest {
        RangeRequest {
            key: self.prefix.clone(),
            range_end: self.end(),
            sort_target: SortTarget::Create.into(),
            limit: 1,
            ..RangeRequest::default()
        }
    }

    fn end(&self) -> Bytes {
        let mut end = self.prefix.to_vec();
        *end.last_mut().expect("a prefix ends with a slash") += 1;
        end.into()
    }
}

impl Inside {
    /// The lease of a session: the one given, or a new one.
    pub(super) async fn session(&self, lease: i64) -> Result<i64, Status> {
        if lease != 0 {
            return Ok(lease);
        }
        let request = Request::new(LeaseGrantRequest { ttl: SESSION_TTL_SECONDS, id: 0 });
        let granted = self.lease.lease_grant(request).await.map_err(status::without_code)?;
        Ok(granted.into_inner().id)
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        let response = self.kv.txn(Request::new(request)).await.map_err(status::without_code)?;
        Ok(response.into_inner())
    }

    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        let response = self.kv.range(Request::new(request)).await.map_err(status::without_code)?;
        Ok(response.into_inner())
    }

    pub(super) async fn delete(&self, key: Bytes) -> Result<DeleteRangeResponse, Status> {
        let request = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
        let deleted = self.kv.delete_range(Request::new(request)).await;
        Ok(deleted.map_err(status::without_code)?.into_inner())
    }

    /// Waits until every key of the queue that was created before a revision is gone, or until the
    /// one who waits is.
    pub(super) async fn wait_for_turn(
        &self,
        queue: &Queue,
        created: i64,
        gone: &CancellationToken,
    ) -> Result<(), Status> {
        let waiting = self.wait_for_older(queue, created - 1);
        let waited = gone.run_until_cancelled(waiting).await;
        waited.unwrap_or_else(|| Err(Rejection::Stopped.into()))
    }

    /// Takes a key out of its queue for one who waits no more.
    pub(super) async fn leave(&self, leaving: TxnRequest) {
        if let Err(error) = self.txn(leaving).await {
            tracing::warn!(%error, "the key of one who waited no more stays until its lease ends");
        }
    }

    /// Waits for the youngest of the older keys, and then again, so that few wake up when one goes.
    async fn wait_for_older(&self, queue: &Queue, created_max: i64) -> Result<(), Status> {
        loop {
            let response = self.range(queue.youngest(created_max)).await?;
            let Some(youngest) = response.kvs.into_iter().next() else { return Ok(()) };
            let after = revision(response.header) + 1;
            let mut follower = Follower::new(&self.member, Interest::Key(youngest.key), after);
            let mut is_gone = false;
            while !is_gone {
                let happened = follower.next().await.map_err(status::without_code)?;
                is_gone = happened.events.iter().any(|event| event.kind == EntryKind::Delete);
            }
        }
    }
}

/// Runs a request that waits in a queue, to its end even if the client goes: then, or when the
/// client's time is over, or the member stops, its token is cancelled, and it leaves the queue.
pub(super) async fn to_its_end<Q, T, F>(
    stop: &CancellationToken,
    request: Request<Q>,
    run: impl FnOnce(Q, CancellationToken) -> F,
) -> Result<Response<T>, Status>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Status>> + Send + 'static,
{
    let limit = metadata::time_limit(request.metadata());
    let gone = stop.child_token();
    let running = tokio::spawn(run(request.into_inner(), gone.clone()));
    let _gone = gone.drop_guard();
    let ended = match limit {
        None => running.await,
        Some(limit) => match tokio::time::timeout(limit, running).await {
            Ok(ended) => ended,
            Err(_elapsed) => return Err(Rejection::DeadlineExceeded.into()),
        },
    };
    ended.map_err(|error| status::internal(&error.to_string()))?.map(Response::new)
}

/// The revision of an answer.
pub(super) fn revision(header: Option<ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

/// The comparison that a key was created at a revision; 0 if it does not exist.
pub(super) fn is_created_at(key: Bytes, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key,
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Compare::default()
    }
}

/// A put in a transaction.
pub(super) fn put(key: Bytes, value: Bytes, lease: i64) -> RequestOp {
    let put = PutRequest { key, value, lease, ..PutRequest::default() };
    RequestOp { request: Some(Op::RequestPut(put)) }
}

/// A read in a transaction.
pub(super) fn range(request: RangeRequest) -> RequestOp {
    RequestOp { request: Some(Op::RequestRange(request)) }
}

/// A delete in a transaction.
pub(super) fn delete(key: Bytes) -> RequestOp {
    let delete = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
    RequestOp { request: Some(Op::RequestDeleteRange(delete)) }
}

/// The first key-value that the operation at `position` of a transaction read.
pub(super) fn first_read(response: &TxnResponse, position: usize) -> Option<&KeyValue> {
    match response.responses.get(position)?.response.as_ref()? {
        OpResponse::ResponseRange(range) => range.kvs.first(),
        _ => None,
    }
}

/// The request for one key.
pub(super) fn one(key: Bytes) -> RangeRequest {
    RangeRequest { key, ..RangeRequest::default() }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn keys_end_in_the_lease() {
        let queue = Queue::new(b"n");
        assert_eq!(queue.key(0xabc), "n/abc");
        assert_eq!(queue.key(-10), "n/-a");
        assert_eq!(queue.key(i64::MIN), "n/-8000000000000000");
        assert_eq!(Queue::new(b"").end(), "0");
        assert_eq!(Queue::new(&[0xff]).end(), [0xff, b'0'][..]);
    }

    #[tokio::test]
    async fn one_whose_time_is_over_leaves_the_queue() {
        let (left, has_left) = oneshot::channel();
        let mut request = Request::new(());
        request.metadata_mut().insert("grpc-timeout", "1m".parse().unwrap());
        let stop = CancellationToken::new();
        let ended = to_its_end(&stop, request, |(), gone| async move {
            gone.cancelled().await;
            left.send(()).unwrap();
            Ok(())
        });
        assert_eq!(ended.await.unwrap_err().code(), tonic::Code::DeadlineExceeded);
        has_left.await.unwrap();
    }

    #[tokio::test]
    async fn one_who_is_dropped_leaves_the_queue() {
        let (left, has_left) = oneshot::channel();
        let stop = CancellationToken::new();
        let waiting = to_its_end(&stop, Request::new(()), |(), gone| async move {
            gone.cancelled().await;
            left.send(()).unwrap();
            Ok(())
        });
        let now = tokio::time::timeout(std::time::Duration::from_millis(1), waiting);
        assert!(now.await.is_err());
        has_left.await.unwrap();
    }
}
