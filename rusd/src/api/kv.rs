//! The KV service.

use std::sync::Arc;

use rusd_proto::etcdserverpb::kv_server::Kv;
use rusd_proto::etcdserverpb::request_op::Request as Op;
use rusd_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse,
    InternalRaftRequest, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp,
    TxnRequest, TxnResponse,
};
use rusd_state::apply::Response as Applied;
use rusd_state::error::ReadError;
use rusd_state::quota;
use rusd_state::txn::is_read_only;
use rusd_state::view::View;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::status::{self, Rejection};
use super::{header, range_stream, validate};
use crate::member::Member;

/// Reads that may block, at one time; more wait.
const BLOCKING_READS_MAX: usize = 16;
/// Serves KV.
#[derive(Debug)]
pub(super) struct KvService {
    member: Member,
    blocking_reads: Arc<Semaphore>,
}

impl KvService {
    pub(super) fn new(member: Member) -> Self {
        KvService { member, blocking_reads: Arc::new(Semaphore::new(BLOCKING_READS_MAX)) }
    }

    async fn propose(&self, request: InternalRaftRequest) -> Result<Applied, Status> {
        propose(&self.member, request).await
    }

    /// A short look at memory is answered here and now; the rest may block, and goes elsewhere.
    async fn range_now_or_blocking(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        let view = &self.member.view;
        if let Some(response) = view.range_in_memory(&request).map_err(status::of_read)? {
            return Ok(response);
        }
        self.blocking(move |view| view.range(&request)).await
    }

    async fn txn_read_only(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        if self.is_short_in_memory(&request) {
            return self.member.view.txn_read_only(&request).map_err(status::of_read);
        }
        self.blocking(move |view| view.txn_read_only(&request)).await
    }

    /// A hint: what is in memory now may be evicted in a moment.
    fn is_short_in_memory(&self, request: &TxnRequest) -> bool {
        let in_memory = |range: &RangeRequest| {
            range.range_end.is_empty() && !self.member.view.would_touch_engine(range)
        };
        let compared = request.compare.iter().map(|compare| RangeRequest {
            key: compare.key.clone(),
            range_end: compare.range_end.clone(),
            ..RangeRequest::default()
        });
        ranges_of(request).all(in_memory) && compared.into_iter().all(|range| in_memory(&range))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Status> {
        let view = self.member.view.clone();
        run_blocking(&self.member, &self.blocking_reads, move || read(&view))
            .await?
            .map_err(status::of_read)
    }
}

/// Proposes, and turns all that can go wrong into a status.
pub(super) async fn propose(
    member: &Member,
    request: InternalRaftRequest,
) -> Result<Applied, Status> {
    if member.progress.is_learner() {
        return Err(Rejection::NotSupportedForLearner.into());
    }
    let outcome = member.proposer.propose(request).await.map_err(status::of)?;
    outcome.map_err(status::of)
}

/// Refuses what takes more space than there is, and raises the alarm then. etcd does this before
/// it looks whether the request is a good one.
pub(super) async fn check_space(member: &Member, cost: usize) -> Result<(), Status> {
    if cost == 0 || member.quota.has_room_for(cost) {
        return Ok(());
    }
    if let Err(error) = member.space_alarm.raise().await {
        tracing::warn!(%error, "the space alarm could not be raised");
    }
    Err(Rejection::NoSpace.into())
}

/// Waits until a read is linearizable.
pub(super) async fn wait_for_barrier(member: &Member) -> Result<(), Status> {
    if member.progress.is_learner() {
        return Err(Rejection::NotSupportedForLearner.into());
    }
    member.read_barrier.wait().await.map_err(status::of)
}

/// Runs what may block where it may, when it is its turn.
pub(super) async fn run_blocking<T: Send + 'static>(
    member: &Member,
    turns: &Arc<Semaphore>,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let running = member.blocking_work.run(turns, run);
    running.await.map_err(|error| status::internal(&error.to_string()))
}

fn ranges_of(request: &TxnRequest) -> impl Iterator<Item = &RangeRequest> {
    let ops = request.success.iter().chain(&request.failure);
    ops.filter_map(|RequestOp { request }| match request {
        Some(Op::RequestRange(range)) => Some(range),
        _ => None,
    })
}

/// The state machine answers each kind of request with its kind of response.
macro_rules! response {
    ($applied:expr, $kind:ident) => {
        match $applied {
            Applied::$kind(response) => response,
            other => return Err(unexpected(&other)),
        }
    };
}
pub(super) use response;

pub(super) fn unexpected(response: &Applied) -> Status {
    status::internal(&format!("the request was answered with {response:?}"))
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let request = request.into_inner();
        if !request.serializable && self.member.progress.is_learner() {
            return Err(Rejection::NotSupportedForLearner.into());
        }
        validate::range(&request)?;
        if !request.serializable {
            wait_for_barrier(&self.member).await?;
        }
        let mut response = self.range_now_or_blocking(request).await?;
        header::fill(&self.member, &mut response.header);
        Ok(Response::new(response))
    }

    type RangeStreamStream = range_stream::Pieces;

    async fn range_stream(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let request = request.into_inner();
        range_stream::check(&request)?;
        if !request.serializable {
            wait_for_barrier(&self.member).await?;
        }
        let (member, turns) = (self.member.clone(), Arc::clone(&self.blocking_reads));
        Ok(Response::new(range_stream::start(member, turns, request)))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let request = request.into_inner();
        check_space(&self.member, quota::cost_of_put(&request)).await?;
        validate::put(&request)?;
        let request = InternalRaftRequest { put: Some(request), ..InternalRaftRequest::default() };
        let mut response = response!(self.propose(request).await?, Put);
        header::fill(&self.member, &mut response.header);
        Ok(Response::new(response))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let request = request.into_inner();
        validate::delete_range(&request)?;
        let request =
            InternalRaftRequest { delete_range: Some(request), ..InternalRaftRequest::default() };
        let mut response = response!(self.propose(request).await?, DeleteRange);
        header::fill(&self.member, &mut response.header);
        Ok(Response::new(response))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let request = request.into_inner();
        check_space(&self.member, quota::cost_of_txn(&request)).await?;
        validate::txn(&request, self.member.limits.txn_ops_max)?;
        let mut response = if is_read_only(&request) {
            // etcd waits unless every range is serializable.
            if ranges_of(&request).any(|range| !range.serializable) {
                wait_for_barrier(&self.member).await?;
            }
            self.txn_read_only(request).await?
        } else {
            let request =
                InternalRaftRequest { txn: Some(request), ..InternalRaftRequest::default() };
            response!(self.propose(request).await?, Txn)
        };
        header::fill(&self.member, &mut response.header);
        Ok(Response::new(response))
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let request = request.into_inner();
        let awaited = request.physical.then(|| self.member.engine.await_compaction());
        let request =
            InternalRaftRequest { compaction: Some(request), ..InternalRaftRequest::default() };
        let compacted = self.propose(request).await;
        if let Some(awaited) = awaited {
            // As in etcd, who asks for what was compacted before waits for it too.
            awaited.to(self.member.view.compact_revision()).await;
        }
        let mut response = response!(compacted?, Compact);
        header::fill(&self.member, &mut response.header);
        Ok(Response::new(response))
    }
}
