//! The Lock service: the lease whose key is the oldest in the queue of a name holds the lock.

use bytes::Bytes;
use rusd_proto::etcdserverpb::TxnRequest;
use rusd_proto::v3lockpb::lock_server::Lock;
use rusd_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::inside::{Inside, Queue, to_its_end};
use super::inside::{delete, first_read, is_created_at, one, put, range, revision};
use super::status::Rejection;

/// Serves Lock.
#[derive(Debug)]
pub(super) struct LockService {
    pub(super) inside: Inside,
    pub(super) stop: CancellationToken,
}

#[tonic::async_trait]
impl Lock for LockService {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let inside = self.inside.clone();
        to_its_end(&self.stop, request, |request, gone| acquire(inside, request, gone)).await
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        let deleted = self.inside.delete(request.into_inner().key).await?;
        Ok(Response::new(UnlockResponse { header: deleted.header }))
    }
}

async fn acquire(
    inside: Inside,
    request: LockRequest,
    gone: CancellationToken,
) -> Result<LockResponse, Status> {
    let lease = inside.session(request.lease).await?;
    let queue = Queue::new(&request.name);
    let key = queue.key(lease);
    let entering = TxnRequest {
        compare: vec![is_created_at(key.clone(), 0)],
        success: vec![put(key.clone(), Bytes::new(), lease), range(queue.oldest())],
        // A lease that waits or holds already keeps its place.
        failure: vec![range(one(key.clone())), range(queue.oldest())],
    };
    let entered = inside.txn(entering).await?;
    let created = match first_read(&entered, 0) {
        Some(own) => own.create_revision,
        None => revision(entered.header),
    };
    if first_read(&entered, 1).is_none_or(|oldest| oldest.create_revision == created) {
        return Ok(LockResponse { header: entered.header, key });
    }
    let waiting = async {
        inside.wait_for_turn(&queue, created, &gone).await?;
        inside.range(one(key.clone())).await
    };
    match waiting.await {
        Ok(found) if found.kvs.is_empty() => Err(Rejection::LockSessionExpired.into()),
        Ok(found) => Ok(LockResponse { header: found.header, key }),
        Err(error) => {
            let success = vec![delete(key)];
            inside.leave(TxnRequest { success, ..TxnRequest::default() }).await;
            Err(error)
        }
    }
}
