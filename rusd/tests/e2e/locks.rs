//! Locks and elections, as clients see them.

use std::time::Duration;

use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use rusd_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, RangeRequest,
};
use rusd_proto::v3electionpb::election_client::ElectionClient;
use rusd_proto::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest,
};
use rusd_proto::v3lockpb::lock_client::LockClient;
use rusd_proto::v3lockpb::{LockRequest, UnlockRequest};
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::process::{Member, delete, put};

/// A client of everything that the tests need.
#[derive(Clone)]
struct Client {
    channel: Channel,
}

type Refusal = (Code, String);

fn row(status: Status) -> Refusal {
    (status.code(), status.message().to_owned())
}

fn unknown<T>(text: &str) -> Result<T, Refusal> {
    Err((Code::Unknown, text.to_owned()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Client {
    async fn of(member: &Member) -> Client {
        Client { channel: member.channel().await }
    }

    async fn grant(&self, id: i64, ttl: i64) {
        let mut leases = LeaseClient::new(self.channel.clone());
        leases.lease_grant(LeaseGrantRequest { ttl, id }).await.unwrap();
    }

    async fn revoke(&self, id: i64) {
        let mut leases = LeaseClient::new(self.channel.clone());
        leases.lease_revoke(LeaseRevokeRequest { id }).await.unwrap();
    }

    async fn put(&self, key: &str, value: &str) -> i64 {
        put(&mut self.kv(), key, value).await
    }

    fn kv(&self) -> rusd_proto::etcdserverpb::kv_client::KvClient<Channel> {
        rusd_proto::etcdserverpb::kv_client::KvClient::new(self.channel.clone())
    }

    /// The keys with a prefix, and the leases they have.
    async fn keys(&self, prefix: &str) -> Vec<(String, i64)> {
        let range_end = format!("{prefix}\u{7f}").into();
        let request =
            RangeRequest { key: prefix.to_owned().into(), range_end, ..RangeRequest::default() };
        let found = self.kv().range(request).await.unwrap().into_inner();
        found.kvs.iter().map(|kv| (text(&kv.key), kv.lease)).collect()
    }

    /// Waits until there are exactly these keys with a prefix.
    async fn until_keys(&self, prefix: &str, expected: &[&str]) {
        let mut found = Vec::new();
        let looking = async {
            while !found
                .iter()
                .map(|(key, _): &(String, i64)| key.as_str())
                .eq(expected.iter().copied())
            {
                found = self.keys(prefix).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), looking).await;
        assert!(in_time.is_ok(), "{found:?} and not {expected:?}");
    }

    /// Locks, and returns the key and the revision.
    async fn lock(&self, name: &str, lease: i64) -> Result<(String, i64), Refusal> {
        let request = LockRequest { name: name.to_owned().into(), lease };
        let locked = LockClient::new(self.channel.clone()).lock(request).await.map_err(row)?;
        let locked = locked.into_inner();
        Ok((text(&locked.key), locked.header.unwrap().revision))
    }

    /// Begins to lock, and returns when the key of the one who waits is there.
    async fn wait_in_line(
        &self,
        name: &str,
        lease: i64,
        line: &[&str],
    ) -> JoinHandle<Result<(String, i64), Refusal>> {
        let (client, own) = (self.clone(), name.to_owned());
        let waiting = tokio::spawn(async move { client.lock(&own, lease).await });
        self.until_keys(&format!("{name}/"), line).await;
        waiting
    }

    async fn unlock(&self, key: &str) -> Result<i64, Refusal> {
        let request = UnlockRequest { key: key.to_owned().into() };
        let unlocked = LockClient::new(self.channel.clone()).unlock(request).await.map_err(row)?;
        Ok(unlocked.into_inner().header.unwrap().revision)
    }

    fn elections(&self) -> ElectionClient<Channel> {
        ElectionClient::new(self.channel.clone())
    }

    /// Campaigns, and returns the header's revision and the leader's key.
    async fn campaign(
        &self,
        name: &str,
        lease: i64,
        value: &str,
    ) -> Result<(i64, LeaderKey), Refusal> {
        let (name, value) = (name.to_owned().into(), value.to_owned().into());
        let request = CampaignRequest { name, lease, value };
        let won = self.elections().campaign(request).await.map_err(row)?.into_inner();
        Ok((won.header.unwrap().revision, won.leader.unwrap()))
    }

    async fn proclaim(&self, leader: Option<LeaderKey>, value: &str) -> Result<i64, Refusal> {
        let request = ProclaimRequest { leader, value: value.to_owned().into() };
        let done = self.elections().proclaim(request).await.map_err(row)?;
        Ok(done.into_inner().header.unwrap().revision)
    }

    async fn resign(&self, leader: Option<LeaderKey>) -> Result<i64, Refusal> {
        let done = self.elections().resign(ResignRequest { leader }).await.map_err(row)?;
        Ok(done.into_inner().header.unwrap().revision)
    }

    /// The leader's value and key, and the header's revision.
    async fn leader(&self, name: &str) -> Result<(String, String, i64), Refusal> {
        let request = LeaderRequest { name: name.to_owned().into() };
        self.elections().leader(request).await.map(|found| told(found.into_inner())).map_err(row)
    }
}

fn told(response: LeaderResponse) -> (String, String, i64) {
    let kv = response.kv.unwrap();
    (text(&kv.value), text(&kv.key), response.header.unwrap().revision)
}

#[tokio::test]
async fn a_lock_is_had_by_one_after_the_other() {
    let member = Member::start(&[]);
    let client = Client::of(&member).await;
    for id in [10, 11, 12] {
        client.grant(id, 60).await;
    }
    assert_eq!(client.lock("n", 10).await, Ok(("n/a".to_owned(), 2)));
    assert_eq!(client.lock("n", 10).await, Ok(("n/a".to_owned(), 2)), "again");
    assert_eq!(client.put("other", "1").await, 3);
    let second = client.wait_in_line("n", 12, &["n/a", "n/c"]).await;
    let third = client.wait_in_line("n", 11, &["n/a", "n/b", "n/c"]).await;
    assert_eq!(client.unlock("n/a").await, Ok(6));
    assert_eq!(second.await.unwrap(), Ok(("n/c".to_owned(), 6)));
    client.revoke(12).await;
    assert_eq!(third.await.unwrap(), Ok(("n/b".to_owned(), 7)));
    assert_eq!(client.unlock("n/none").await, Ok(7), "what is not locked");
    assert_eq!(client.keys("n/").await, [("n/b".to_owned(), 11)]);
}

#[tokio::test]
async fn a_lock_ends_with_its_lease() {
    let member = Member::start(&[]);
    let client = Client::of(&member).await;
    client.grant(10, 2).await;
    client.grant(11, 60).await;
    client.lock("n", 10).await.unwrap();
    assert_eq!(client.lock("n", 11).await, Ok(("n/b".to_owned(), 4)));
}

#[tokio::test]
async fn a_lock_without_a_lease_gets_one() {
    let member = Member::start(&[]);
    let client = Client::of(&member).await;
    let (key, _) = client.lock("n", 0).await.unwrap();
    let (_, lease) = client.keys("n/").await.remove(0);
    assert_eq!(key, format!("n/{lease:x}"));
    let request = LeaseTimeToLiveRequest { id: lease, keys: true };
    let mut leases = LeaseClient::new(client.channel.clone());
    let found = leases.lease_time_to_live(request).await.unwrap().into_inner();
    assert_eq!((found.granted_ttl, found.keys), (60, vec![key.into()]));
}

#[tokio::test]
async fn locks_are_refused_in_etcds_words() {
    let member = Member::start(&[]);
    let client = Client::of(&member).await;
    assert_eq!(client.lock("n", 99).await, unknown("etcdserver: requested lease not found"));
    assert_eq!(client.unlock("").await, unknown("etcdserver: key is not provided"));
    let long = "x".repeat(1_600_000);
    client.grant(-10, 60).await;
    assert_eq!(client.lock(&long, -10).await, unknown("etcdserver: request is too large"));
    assert_eq!(client.lock("", -10).await, Ok(("/-a".to_owned(), 2)));
}

#[tokio::test]
async fn who_waits_for_a_lock_may_go() {
    let member = Member::start(&[]);
    let client = Client::of(&member).await;
    for id in [10, 11, 12] {
        client.grant(id, 60).await;
    }
    client.lock("n", 10).await.unwrap();
    let gone = client.wait_in_line("n", 11, &["n/a", "n/b"]).await;
    gone.abort();
    client.until_keys("n/", &["n/a"]).await;
    // Its lease is gone while it waits: it is told when it would be its turn.
    let expired = client.wait_in_line("n", 12, &["n/a", "n/c"]).await;
    client.revoke(12).await;
    client.unlock("n/a").await.unwrap();
    assert_eq!(expired.await.unwrap(), unknown("mutex: session is expired"));
}

#[tokio::test]
async fn an_election_is_won_in_the_order_of_the_campaigns() {
    let member = Member::start(&[]);
    let client = Client::of(&member).await;
    for id in [10, 11] {
        client.grant(id, 60).await;
    }
    let (revision, leader) = client.campaign("e", 10, "v1").await.unwrap();
    let expected = LeaderKey { name: "e".into(), key: "e/a".into(), rev: 2, lease: 10 };
    assert_eq!((revision, &leader), (2, &expected));
    assert_eq!(client.campaign("e", 10, "v2").await, Ok((2, expected.clone())));
    assert_eq!(client.campaign("e", 10, "v2").await, Ok((3, expected.clone())), "nothing new");
    assert_eq!(client.leader("e").await, Ok(("v2".to_owned(), "e/a".to_owned(), 3)));
    let next = tokio::spawn({
        let client = client.clone();
        async move { client.campaign("e", 11, "w").await }
    });
    client.until_keys("e/", &["e/a", "e/b"]).await;
    assert_eq!(client.proclaim(Some(leader.clone()), "v3").await, Ok(5));
    assert_eq!(client.resign(Some(leader.clone())).await, Ok(6));
    let (revision, won) = next.await.unwrap().unwrap();
    assert_eq!((revision, &won.key[..], won.rev), (4, &b"e/b"[..], 4));
    assert_eq!(client.resign(Some(leader)).await, Ok(6), "who leads no more");
    let gone = tokio::spawn({
        let client = client.clone();
        async move { client.campaign("e", 10, "x").await }
    });
    client.until_keys("e/", &["e/a", "e/b"]).await;
    gone.abort();
    client.until_keys("e/", &["e/b"]).await;
}

#[tokio::test]
async fn elections_are_refused_in_etcds_words() {
    let member = Member::start(&[]);
    let client = Client::of(&member).await;
    client.grant(10, 60).await;
    let no_lease = unknown("etcdserver: requested lease not found");
    assert_eq!(client.campaign("e", 99, "v").await, no_lease);
    assert_eq!(client.leader("e").await, unknown("election: no leader"));
    let missing = || unknown("\"leader\" field must be provided");
    assert_eq!(client.proclaim(None, "v").await, missing());
    assert_eq!(client.resign(None).await, missing());
    let empty = || LeaderKey { lease: 10, ..LeaderKey::default() };
    let no_key = || unknown("etcdserver: key is not provided");
    assert_eq!(client.proclaim(Some(empty()), "v").await, no_key());
    assert_eq!(client.resign(Some(empty())).await, no_key());
    let (_, leader) = client.campaign("e", 10, "v").await.unwrap();
    let other = LeaderKey { rev: leader.rev + 1, ..leader.clone() };
    assert_eq!(client.proclaim(Some(other), "v").await, unknown("election: not leader"));
    let other = LeaderKey { lease: 99, ..leader };
    let no_lease = unknown("etcdserver: requested lease not found");
    assert_eq!(client.proclaim(Some(other), "v").await, no_lease);
}

#[tokio::test]
async fn whoever_observes_sees_every_leader() {
    let member = Member::start(&[]);
    let client = Client::of(&member).await;
    client.grant(10, 60).await;
    client.grant(11, 60).await;
    let request = LeaderRequest { name: "e".into() };
    let mut watching = client.clone().elections();
    // etcd opens its end only with its first response.
    let observing = tokio::spawn(async move {
        let mut leaders = watching.observe(request).await.unwrap().into_inner();
        let first = leaders.message().await.unwrap().unwrap();
        (leaders, told(first))
    });
    let (first, leader) = client.campaign("e", 10, "v1").await.unwrap();
    let (mut leaders, told_first) = observing.await.unwrap();
    assert_eq!(told_first, ("v1".to_owned(), "e/a".to_owned(), first));
    let proclaimed = client.proclaim(Some(leader), "v2").await.unwrap();
    let mut next = async || told(leaders.message().await.unwrap().unwrap());
    assert_eq!(next().await, ("v2".to_owned(), "e/a".to_owned(), proclaimed));
    client.revoke(10).await;
    let (second, _) = client.campaign("e", 11, "w").await.unwrap();
    assert_eq!(next().await, ("w".to_owned(), "e/b".to_owned(), second));
    // What is not written by an election counts all the same.
    delete(&mut client.kv(), "e/b").await;
    let third = client.put("e/by-hand", "x").await;
    assert_eq!(next().await, ("x".to_owned(), "e/by-hand".to_owned(), third));
}
