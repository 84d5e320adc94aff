//! What a server shows of its state: what must survive a way from one to another.

use std::fmt;

use anyhow::{Context, Result, ensure};
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::{
    HashKvRequest, LeaseLeasesRequest, LeaseTimeToLiveRequest, RangeRequest, RangeResponse,
};
use rusd_proto::mvccpb::KeyValue;
use tonic::transport::{Channel, Endpoint};

/// Revisions whose hash is compared.
const HASHES: i64 = 8;

/// See above.
#[derive(Debug, PartialEq)]
pub(super) struct Picture {
    revision: i64,
    compact_revision: i64,
    /// Of each revision that was looked at.
    hashes: Vec<(i64, u32)>,
    keys: Vec<KeyValue>,
    /// A revision of the past, with all keys as they were.
    past: (i64, Vec<KeyValue>),
    leases: Vec<Lease>,
}

#[derive(Debug, PartialEq)]
struct Lease {
    id: i64,
    granted_ttl: i64,
    keys: Vec<bytes::Bytes>,
}

impl Picture {
    /// Of a server at a revision, or now.
    ///
    /// Leases are always those of now.
    pub(super) async fn of(url: &str, revision: Option<i64>) -> Result<Picture> {
        let channel = channel(url).await?;
        let mut maintenance = MaintenanceClient::new(channel.clone());
        let mut kv = KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        let revision = match revision {
            Some(revision) => revision,
            None => all(&mut kv, 0).await?.header.context("no header")?.revision,
        };
        let hash_kv = HashKvRequest { revision };
        let compact_revision = maintenance.hash_kv(hash_kv).await?.into_inner().compact_revision;
        let oldest = compact_revision.max(1);
        let mut hashes = Vec::new();
        for step in 0..HASHES {
            // Of the compact revision itself a server that was not restarted has another hash.
            let at = revision - (revision - oldest) * step / HASHES;
            if at > oldest || step == 0 {
                let hash = maintenance.hash_kv(HashKvRequest { revision: at }).await?;
                hashes.push((at, hash.into_inner().hash));
            }
        }
        let middle = i64::midpoint(oldest, revision);
        let middle = if middle > oldest { middle } else { revision };
        Ok(Picture {
            revision,
            compact_revision,
            hashes,
            keys: all(&mut kv, revision).await?.kvs,
            past: (middle, all(&mut kv, middle).await?.kvs),
            leases: leases(LeaseClient::new(channel)).await?,
        })
    }

    /// All of it is the same.
    pub(super) fn compare(&self, other: &Picture) -> Result<()> {
        let summary = format!("{self} against {other}");
        ensure!(self.revision == other.revision, "the revision differs: {summary}");
        ensure!(self.compact_revision == other.compact_revision, "compaction differs: {summary}");
        ensure!(self.keys == other.keys, "the keys differ: {summary}");
        ensure!(self.past == other.past, "the past differs: {summary}");
        ensure!(self.leases == other.leases, "the leases differ: {summary}");
        ensure!(self.hashes == other.hashes, "{:?} against {:?}", self.hashes, other.hashes);
        Ok(())
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = self.hashes.first().map_or(0, |(_, hash)| *hash);
        write!(
            f,
            "revision {}, compacted {}, hash {hash}, {} hashes, {} keys, {} leases",
            self.revision,
            self.compact_revision,
            self.hashes.len(),
            self.keys.len(),
            self.leases.len()
        )
    }
}

/// The newest revision of a server.
pub(super) async fn revision(url: &str) -> Result<i64> {
    let mut kv = KvClient::new(channel(url).await?);
    let request = RangeRequest { key: vec![0].into(), ..RangeRequest::default() };
    let header = kv.range(request).await?.into_inner().header;
    Ok(header.context("no header")?.revision)
}

async fn channel(url: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(url.to_owned())?.connect().await?)
}

async fn all(kv: &mut KvClient<Channel>, revision: i64) -> Result<RangeResponse> {
    let everything = || vec![0].into();
    let request = RangeRequest {
        key: everything(),
        range_end: everything(),
        revision,
        ..RangeRequest::default()
    };
    Ok(kv.range(request).await?.into_inner())
}

async fn leases(mut client: LeaseClient<Channel>) -> Result<Vec<Lease>> {
    let found = client.lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    let mut ids: Vec<i64> = found.iter().map(|lease| lease.id).collect();
    ids.sort_unstable();
    let mut leases = Vec::new();
    for id in ids {
        let asked = client.lease_time_to_live(LeaseTimeToLiveRequest { id, keys: true }).await?;
        let told = asked.into_inner();
        let mut keys = told.keys;
        keys.sort();
        leases.push(Lease { id, granted_ttl: told.granted_ttl, keys });
    }
    Ok(leases)
}
