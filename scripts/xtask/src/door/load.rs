//! Random operations: puts of all sizes, with and without leases, deletes of keys and ranges,
//! transactions, leases that come and go, compactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use rand::{Rng, RngCore as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use rusd_proto::etcdserverpb::request_op::Request;
use rusd_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
    RequestOp, ResponseHeader, TxnRequest,
};
use tonic::transport::{Channel, Endpoint};

const KEYS: u32 = 400;
/// Keys of one transaction: all different, as etcd demands.
const TXN_KEYS: u32 = 6;
/// No lease runs out while it is looked at.
const TTL_SECONDS_MIN: i64 = 10_000;

/// A stream of operations, the same for the same seed.
pub(super) struct Load {
    rng: ChaCha8Rng,
    leases: Vec<i64>,
    revision: i64,
    compacted: i64,
}

struct Clients {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
}

impl Load {
    pub(super) fn new(seed: u64) -> Load {
        Load { rng: ChaCha8Rng::seed_from_u64(seed), leases: Vec::new(), revision: 1, compacted: 0 }
    }

    /// Does so many operations, one after the other.
    pub(super) async fn run(&mut self, url: &str, operations: u64) -> Result<u64> {
        let channel = Endpoint::from_shared(url.to_owned())?.connect().await?;
        let mut clients =
            Clients { kv: KvClient::new(channel.clone()), lease: LeaseClient::new(channel) };
        for number in 0..operations {
            let step = self.step(&mut clients).await;
            step.with_context(|| format!("operation {number}"))?;
        }
        Ok(operations)
    }

    async fn step(&mut self, clients: &mut Clients) -> Result<()> {
        let header = match self.rng.random_range(0..1000) {
            0..600 => {
                let put = self.put();
                clients.kv.put(put).await?.into_inner().header
            }
            600..750 => {
                let delete = self.delete();
                clients.kv.delete_range(delete).await?.into_inner().header
            }
            750..900 => {
                let txn = self.txn();
                clients.kv.txn(txn).await?.into_inner().header
            }
            900..970 => {
                let ttl = self.rng.random_range(TTL_SECONDS_MIN..2 * TTL_SECONDS_MIN);
                let id = i64::from(self.rng.random_range(1..u32::MAX));
                let granted = clients.lease.lease_grant(LeaseGrantRequest { ttl, id }).await?;
                self.leases.push(id);
                granted.into_inner().header
            }
            970..990 if !self.leases.is_empty() => {
                let id = self.leases.swap_remove(self.rng.random_range(0..self.leases.len()));
                clients.lease.lease_revoke(LeaseRevokeRequest { id }).await?.into_inner().header
            }
            _ if self.revision > self.compacted + 1 => {
                let revision = self.rng.random_range(self.compacted + 1..=self.revision);
                self.compacted = revision;
                let request = CompactionRequest { revision, physical: self.rng.random() };
                clients.kv.compact(request).await?.into_inner().header
            }
            _ => None,
        };
        self.note(header);
        Ok(())
    }

    fn note(&mut self, header: Option<ResponseHeader>) {
        let revision = header.map_or(0, |header| header.revision);
        self.revision = self.revision.max(revision);
    }

    fn key(&mut self) -> Vec<u8> {
        key(self.rng.random_range(0..KEYS))
    }

    fn put(&mut self) -> PutRequest {
        let key = self.key().into();
        self.put_of(key)
    }

    /// Mostly small; some of several pages.
    fn put_of(&mut self, key: bytes::Bytes) -> PutRequest {
        let length = match self.rng.random_range(0..100) {
            0 => self.rng.random_range(4000..40_000),
            1..5 => 0,
            _ => self.rng.random_range(1..300),
        };
        let mut value = vec![0; length];
        self.rng.fill_bytes(&mut value);
        let lease = match self.leases.len() {
            0 => 0,
            count if self.rng.random_ratio(1, 4) => self.leases[self.rng.random_range(0..count)],
            _ => 0,
        };
        PutRequest { key, value: value.into(), lease, ..Default::default() }
    }

    /// Of one key, or of ten neighbours.
    fn delete(&mut self) -> DeleteRangeRequest {
        let first = self.rng.random_range(0..KEYS);
        let range_end =
            if self.rng.random_ratio(1, 8) { key(first + 10).into() } else { bytes::Bytes::new() };
        DeleteRangeRequest { key: key(first).into(), range_end, ..Default::default() }
    }

    fn txn(&mut self) -> TxnRequest {
        let first = self.rng.random_range(0..KEYS);
        let mut success = Vec::new();
        for number in first..first + self.rng.random_range(1..=TXN_KEYS) {
            let key = bytes::Bytes::from(key(number));
            let request = if self.rng.random_ratio(1, 3) {
                Request::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() })
            } else {
                Request::RequestPut(self.put_of(key))
            };
            success.push(RequestOp { request: Some(request) });
        }
        TxnRequest { success, ..Default::default() }
    }
}

/// Writes keys of its own, until it is told to stop; how many times it did.
pub(super) async fn write_beside(url: String, stop: Arc<AtomicBool>) -> Result<u64> {
    let mut kv = KvClient::new(Endpoint::from_shared(url)?.connect().await?);
    let mut written = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let key = format!("beside/{}", written % 100).into();
        let value = written.to_string().into();
        kv.put(PutRequest { key, value, ..Default::default() }).await?;
        written += 1;
    }
    Ok(written)
}

fn key(number: u32) -> Vec<u8> {
    format!("key/{number:04}").into_bytes()
}
