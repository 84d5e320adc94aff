//! The Election service: the lease whose key is the oldest in the queue of a name leads.

use bytes::Bytes;
use rusd_proto::etcdserverpb::{ResponseHeader, TxnRequest};
use rusd_proto::mvccpb::KeyValue;
use rusd_proto::v3electionpb::election_server::Election;
use rusd_proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use rusd_state::event::EntryKind;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::follow::Follower;
use super::header;
use super::inside::{Inside, Queue, to_its_end};
use super::inside::{delete, first_read, is_created_at, one, put, range, revision};
use super::status::Rejection;
use crate::watch::hub::Interest;

/// Leaders waiting for one who observes. Full: the observer's task waits, and the hub goes on
/// without it.
const LEADERS_QUEUED_MAX: usize = 16;

/// Serves Election.
#[derive(Debug)]
pub(super) struct ElectionService {
    pub(super) inside: Inside,
    pub(super) stop: CancellationToken,
}

type Leaders = mpsc::Sender<Result<LeaderResponse, Status>>;

#[tonic::async_trait]
impl Election for ElectionService {
    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let inside = self.inside.clone();
        to_its_end(&self.stop, request, |request, gone| win(inside, request, gone)).await
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let ProclaimRequest { leader, value } = request.into_inner();
        let leader = leader.ok_or(Rejection::LeaderKeyMissing)?;
        let lease = self.inside.session(leader.lease).await?;
        let header = self.inside.proclaim(leader.key, leader.rev, value, lease).await?;
        Ok(Response::new(ProclaimResponse { header }))
    }

    async fn leader(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<LeaderResponse>, Status> {
        let queue = Queue::new(&request.into_inner().name);
        let found = self.inside.range(queue.oldest()).await?;
        let oldest = found.kvs.into_iter().next();
        let kv = Some(oldest.ok_or(Rejection::NobodyElected)?);
        Ok(Response::new(LeaderResponse { header: found.header, kv }))
    }

    type ObserveStream = ReceiverStream<Result<LeaderResponse, Status>>;

    async fn observe(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let queue = Queue::new(&request.into_inner().name);
        let (leaders, leaders_out) = mpsc::channel(LEADERS_QUEUED_MAX);
        let (inside, stop) = (self.inside.clone(), self.stop.clone());
        tokio::spawn(async move {
            let observing = async {
                tokio::select! {
                    biased;
                    ended = observe(&inside, &queue, &leaders) => ended,
                    () = leaders.closed() => Ok(()),
                }
            };
            match stop.run_until_cancelled(observing).await {
                // As etcd's, the stream then ends without saying why.
                Some(Ok(()) | Err(_)) => {}
                None => drop(leaders.try_send(Err(Rejection::Stopped.into()))),
            }
        });
        Ok(Response::new(ReceiverStream::new(leaders_out)))
    }

    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        let leader = request.into_inner().leader.ok_or(Rejection::LeaderKeyMissing)?;
        self.inside.session(leader.lease).await?;
        let resigned = self.inside.txn(resignation(leader.key, leader.rev)).await?;
        Ok(Response::new(ResignResponse { header: resigned.header }))
    }
}

async fn win(
    inside: Inside,
    request: CampaignRequest,
    gone: CancellationToken,
) -> Result<CampaignResponse, Status> {
    let CampaignRequest { name, lease, value } = request;
    let lease = inside.session(lease).await?;
    let queue = Queue::new(&name);
    let key = queue.key(lease);
    let entering = TxnRequest {
        compare: vec![is_created_at(key.clone(), 0)],
        success: vec![put(key.clone(), value.clone(), lease)],
        failure: vec![range(one(key.clone()))],
    };
    let entered = inside.txn(entering).await?;
    let header = entered.header;
    let mut created = revision(header);
    if let Some(own) = first_read(&entered, 0) {
        // A lease that campaigns or leads already keeps its place.
        created = own.create_revision;
        if own.value != value {
            inside.proclaim(key.clone(), created, value, lease).await?;
        }
    }
    let waited = inside.wait_for_turn(&queue, created, &gone).await;
    if gone.is_cancelled() {
        inside.leave(resignation(key.clone(), created)).await;
    }
    // Whoever still listens to what went wrong may campaign again, and finds its place kept.
    waited?;
    let leader = Some(LeaderKey { name, key, rev: created, lease });
    Ok(CampaignResponse { header, leader })
}

impl Inside {
    /// Gives the leader's key a new value.
    async fn proclaim(
        &self,
        key: Bytes,
        created: i64,
        value: Bytes,
        lease: i64,
    ) -> Result<Option<ResponseHeader>, Status> {
        let proclaimed = self
            .txn(TxnRequest {
                compare: vec![is_created_at(key.clone(), created)],
                success: vec![put(key, value, lease)],
                failure: Vec::new(),
            })
            .await?;
        if proclaimed.succeeded { Ok(proclaimed.header) } else { Err(Rejection::NotElected.into()) }
    }
}

/// A request to take a key out of its queue, if it is still the same.
fn resignation(key: Bytes, created: i64) -> TxnRequest {
    TxnRequest {
        compare: vec![is_created_at(key.clone(), created)],
        success: vec![delete(key)],
        failure: Vec::new(),
    }
}

/// Tells every leader, and what it proclaims, until something fails or nobody listens.
async fn observe(inside: &Inside, queue: &Queue, leaders: &Leaders) -> Result<(), Status> {
    loop {
        let (header, kv) = current_leader(inside, queue).await?;
        let (key, after) = (kv.key.clone(), revision(Some(header)) + 1);
        if leaders.send(Ok(LeaderResponse { header: Some(header), kv: Some(kv) })).await.is_err() {
            return Ok(());
        }
        let mut follower = Follower::new(&inside.member, Interest::Key(key), after);
        'led: loop {
            let happened = follower.next().await?;
            let header = Some(header::at(&inside.member, happened.revision));
            for event in happened.events {
                if event.kind == EntryKind::Delete {
                    break 'led;
                }
                let kv = Some((*event.kv).clone());
                if leaders.send(Ok(LeaderResponse { header, kv })).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// The leader there is, or the first one to come. The header's revision is one at which it leads.
async fn current_leader(
    inside: &Inside,
    queue: &Queue,
) -> Result<(ResponseHeader, KeyValue), Status> {
    let found = inside.range(queue.oldest()).await?;
    let header = found.header.expect("every answer has a header");
    if let Some(kv) = found.kvs.into_iter().next() {
        return Ok((header, kv));
    }
    let after = header.revision + 1;
    let mut follower = Follower::new(&inside.member, queue.interest(), after);
    loop {
        let happened = follower.next().await?;
        let mut events = happened.events.iter();
        if let Some(put) = events.find(|event| event.kind == EntryKind::Put) {
            let kv = (*put.kv).clone();
            return Ok((ResponseHeader { revision: kv.mod_revision, ..header }, kv));
        }
    }
}
