//! A small client, mostly of the KV service, for the verbs that load a server themselves.
//!
//! It tells only whether an operation was acknowledged. Every error is returned as it is: the
//! caller must take the operation as unknown.

use std::collections::BTreeMap;
use std::time::Duration;

use rusd_proto::etcdserverpb::cluster_client::ClusterClient;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest,
    LeaseLeasesRequest, LeaseTimeToLiveRequest, Member, MemberAddRequest, MemberListRequest,
    MemberRemoveRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, SnapshotRequest,
    StatusRequest, TxnRequest, request_op::Request,
};
use rusd_proto::mvccpb::KeyValue;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// How long one operation may take.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// What a write does to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// Its new value; `None` deletes it.
    pub(crate) value: Option<Vec<u8>>,
}

/// A connection to one member.
#[derive(Clone)]
pub(crate) struct Client {
    kv: KvClient<Channel>,
    maintenance: MaintenanceClient<Channel>,
    lease: LeaseClient<Channel>,
    cluster: ClusterClient<Channel>,
}

impl Client {
    /// Connects at the first use.
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        Self::with_timeout(url, OPERATION_TIMEOUT)
    }

    /// The same, of which an operation may take longer.
    pub(crate) fn with_timeout(url: &str, timeout: Duration) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())?.timeout(timeout);
        let channel = endpoint.connect_lazy();
        let kv = KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        let maintenance = MaintenanceClient::new(channel.clone());
        let lease = LeaseClient::new(channel.clone());
        Ok(Self { kv, maintenance, lease, cluster: ClusterClient::new(channel) })
    }

    /// Writes one key; the revision it got.
    pub(crate) async fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<i64, Status> {
        revision(self.kv.put(put(key, value)).await?.into_inner().header)
    }

    /// Does all effects in one revision.
    pub(crate) async fn apply(&mut self, effects: Vec<Effect>) -> Result<i64, Status> {
        let operation = |effect: Effect| {
            let request = match effect.value {
                Some(value) => Request::RequestPut(put(effect.key, value)),
                None => Request::RequestDeleteRange(DeleteRangeRequest {
                    key: effect.key.into(),
                    ..Default::default()
                }),
            };
            RequestOp { request: Some(request) }
        };
        let success = effects.into_iter().map(operation).collect();
        let request = TxnRequest { success, ..Default::default() };
        revision(self.kv.txn(request).await?.into_inner().header)
    }

    /// The value of one key now, by a linearizable read.
    pub(crate) async fn get(&mut self, key: Vec<u8>) -> Result<Option<KeyValue>, Status> {
        self.get_at(key, 0).await
    }

    /// The value a key had at a revision.
    pub(crate) async fn get_at(
        &mut self,
        key: Vec<u8>,
        revision: i64,
    ) -> Result<Option<KeyValue>, Status> {
        let request = RangeRequest { key: key.into(), revision, ..Default::default() };
        Ok(self.kv.range(request).await?.into_inner().kvs.into_iter().next())
    }

    /// Every key, and the revision of the store.
    pub(crate) async fn all(&mut self) -> Result<(i64, Vec<KeyValue>), Status> {
        let everything = || vec![0_u8].into();
        let request =
            RangeRequest { key: everything(), range_end: everything(), ..Default::default() };
        let response = self.kv.range(request).await?.into_inner();
        Ok((revision(response.header)?, response.kvs))
    }

    /// Gives up what is older than a revision.
    pub(crate) async fn compact(&mut self, revision: i64) -> Result<(), Status> {
        self.kv.compact(CompactionRequest { revision, physical: false }).await?;
        Ok(())
    }

    /// etcd's hash of the store at a revision, 0 for the latest, and up to where it is compacted.
    pub(crate) async fn hash_at(&mut self, revision: i64) -> Result<(u32, i64), Status> {
        let answer = self.maintenance.hash_kv(HashKvRequest { revision }).await?.into_inner();
        Ok((answer.hash, answer.compact_revision))
    }

    /// Grants a lease.
    pub(crate) async fn grant(&mut self, id: i64, seconds: i64) -> Result<(), Status> {
        self.lease.lease_grant(LeaseGrantRequest { id, ttl: seconds }).await?;
        Ok(())
    }

    /// Writes one key that goes with a lease.
    pub(crate) async fn put_with_lease(
        &mut self,
        key: Vec<u8>,
        value: Vec<u8>,
        lease: i64,
    ) -> Result<(), Status> {
        self.kv.put(PutRequest { lease, ..put(key, value) }).await?;
        Ok(())
    }

    /// The keys of every lease, by its id.
    pub(crate) async fn leases(&mut self) -> Result<BTreeMap<i64, Vec<Vec<u8>>>, Status> {
        let all = self.lease.lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
        let mut leases = BTreeMap::new();
        for id in all.iter().map(|lease| lease.id) {
            let request = LeaseTimeToLiveRequest { id, keys: true };
            let keys = self.lease.lease_time_to_live(request).await?.into_inner().keys;
            leases.insert(id, keys.iter().map(|key| key.to_vec()).collect());
        }
        Ok(leases)
    }

    /// The members of the cluster.
    pub(crate) async fn members(&mut self) -> Result<Vec<Member>, Status> {
        let request = MemberListRequest { linearizable: true };
        Ok(self.cluster.member_list(request).await?.into_inner().members)
    }

    /// Adds a member that does not vote yet; its id.
    pub(crate) async fn add_learner(&mut self, peer_url: &str) -> Result<u64, Status> {
        let request = MemberAddRequest { peer_ur_ls: vec![peer_url.to_owned()], is_learner: true };
        let added = self.cluster.member_add(request).await?.into_inner().member;
        added.map(|member| member.id).ok_or_else(|| Status::internal("an answer without member"))
    }

    /// Removes a member.
    pub(crate) async fn remove_member(&mut self, id: u64) -> Result<(), Status> {
        self.cluster.member_remove(MemberRemoveRequest { id }).await?;
        Ok(())
    }

    /// Whether the member that is asked leads.
    pub(crate) async fn leads(&mut self) -> Result<bool, Status> {
        let status = self.maintenance.status(StatusRequest {}).await?.into_inner();
        Ok(status.header.is_some_and(|header| header.member_id == status.leader))
    }

    /// The last entry that the member which is asked has applied.
    pub(crate) async fn applied_index(&mut self) -> Result<u64, Status> {
        Ok(self.maintenance.status(StatusRequest {}).await?.into_inner().raft_applied_index)
    }

    /// Lets the member copy its engine.
    pub(crate) async fn defragment(&mut self) -> Result<(), Status> {
        self.maintenance.defragment(DefragmentRequest {}).await?;
        Ok(())
    }

    /// The member's state as a file.
    pub(crate) async fn snapshot(&mut self) -> Result<Vec<u8>, Status> {
        let mut pieces = self.maintenance.snapshot(SnapshotRequest {}).await?.into_inner();
        let mut file = Vec::new();
        while let Some(piece) = pieces.message().await? {
            file.extend_from_slice(&piece.blob);
        }
        Ok(file)
    }
}

fn put(key: Vec<u8>, value: Vec<u8>) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..Default::default() }
}

fn revision(header: Option<ResponseHeader>) -> Result<i64, Status> {
    header
        .map(|header| header.revision)
        .ok_or_else(|| Status::internal("a response without header"))
}
