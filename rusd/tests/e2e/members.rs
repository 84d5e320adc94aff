//! Members come and go: one at a time, watched over by strict checks, and a member that was removed
//! learns it.
//!
//! With `RUSD_E2E_BINARY` set, members of that program are asked, such as etcd. etcd 3.7.3 passes most
//! runs, not all: a member that was removed while it was away ends now with 0, now with 1; and
//! `--force-new-cluster` after a kill may forget a write, since etcd buffers what it knows to be
//! committed.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rusd_proto::etcdserverpb::LeaseGrantRequest;
use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use tonic::Code;

use crate::process::http;
use crate::site::{Operator, Refusal, Site, not_found, not_ready, refused, row};

fn learner_cannot() -> Refusal {
    refused(Code::FailedPrecondition, "etcdserver: rpc not supported for learner")
}

/// What a learner serves, and what it refuses; there is one key.
async fn check_learner(learner: &mut Operator, url: &str) {
    assert_eq!(learner.put("b").await, Err(learner_cannot()));
    assert_eq!(learner.count(false).await, Err(learner_cannot()));
    assert_eq!(learner.count(true).await, Ok(1), "a learner serves serializable ranges");
    assert_eq!(learner.list(false).await, Err(learner_cannot()));
    assert!(learner.status().await.is_learner);
    let healthy = ("HTTP/1.1 200 OK".to_owned(), r#"{"health":"true","reason":""}"#.to_owned());
    assert_eq!(http(url, "/health", &[], "").await, healthy, "it can read what the leader has");
    let (status, checks) = http(url, "/readyz?verbose", &[], "").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(checks.contains("[+]linearizable_read ok"), "{checks}");
    assert!(checks.contains("[-]non_learner failed: not supported for learner"), "{checks}");
    let grant = LeaseGrantRequest { ttl: 10, id: 7 };
    let granted = LeaseClient::new(learner.channel.clone()).lease_grant(grant).await;
    assert_eq!(granted.map(|_| ()).map_err(row), Err(learner_cannot()));
}

/// A member alone, a second voter, then a learner that is promoted; then the second one is removed.
#[tokio::test]
async fn a_cluster_grows_and_shrinks_one_member_at_a_time() {
    let mut site = Site::new(3);
    site.start(0, &[0], &[]);
    let mut first = site.operator(0).await;
    first.put("a").await.unwrap();
    let alone = first.list(false).await.unwrap()[0].id;
    let too_few = refused(
        Code::Unknown,
        "etcdserver: re-configuration failed due to not enough started members",
    );
    assert_eq!(first.remove(alone).await, Err(too_few.clone()), "the last member");
    let taken = refused(Code::FailedPrecondition, "etcdserver: Peer URLs already exists");
    let peer = site.nodes[0].peer.clone();
    assert_eq!(first.add(&peer, false).await, Err(taken.clone()));
    let bad = refused(Code::InvalidArgument, "etcdserver: given member URLs are invalid");
    assert_eq!(first.add("127.0.0.1:1", false).await, Err(bad));
    assert_eq!(first.remove(99).await, Err(not_found()));
    assert_eq!(first.promote(99).await, Err(not_found()));
    assert_eq!(first.update(99, &["http://127.0.0.1:1"]).await, Err(not_found()));
    let no_learner =
        refused(Code::FailedPrecondition, "etcdserver: can only promote a learner member");
    assert_eq!(first.promote(alone).await, Err(no_learner.clone()));

    let peers = site.nodes.iter().map(|node| node.peer.clone()).collect::<Vec<_>>();
    let (second, members) = first.add(&peers[1], false).await.unwrap();
    assert_eq!((second.name.as_str(), members.len()), ("", 2));
    assert_eq!(first.add(&peers[2], false).await, Err(too_few), "the second has not started");
    site.start(1, &[0, 1], &["--initial-cluster-state=existing"]);
    assert_eq!(first.names().await, "m1 m2");
    let mut through_second = site.operator(1).await;
    assert_eq!(through_second.count(false).await, Ok(1), "the second has the first one's data");

    let learner = first.add_when_healthy(&peers[2], true).await;
    assert!(learner.is_learner);
    let many = refused(Code::FailedPrecondition, "etcdserver: too many learner members in cluster");
    assert_eq!(first.add("http://127.0.0.1:1", true).await, Err(many));
    assert_eq!(first.promote(learner.id).await, Err(not_ready()));
    assert_eq!(through_second.promote(learner.id).await, Err(not_ready()), "the leader is asked");
    site.start(2, &[0, 1, 2], &["--initial-cluster-state=existing"]);
    assert_eq!(first.names().await, "m1 m2 m3*");

    let mut third = site.operator(2).await;
    check_learner(&mut third, &site.nodes[2].client).await;

    assert_eq!(through_second.promote_when_ready(learner.id).await.len(), 3);
    assert_eq!(first.promote(learner.id).await, Err(no_learner));
    third.until_voter().await;
    third.put("b").await.unwrap();
    assert_eq!(third.count(false).await, Ok(2));
    assert_eq!(first.names().await, "m1 m2 m3");

    assert_eq!(first.update(learner.id, &[&peers[0]]).await, Err(taken));
    let localhost = peers[2].replace("127.0.0.1", "localhost");
    let updated = first.update(learner.id, &[&localhost]).await.unwrap();
    let urls = updated.into_iter().find(|member| member.id == learner.id).unwrap().peer_ur_ls;
    assert_eq!(urls, [localhost]);

    assert_eq!(first.remove_when_healthy(second.id).await.len(), 2);
    assert_eq!(site.exit_code(1), 0, "a removed member stops without complaint");
    assert_eq!(first.names().await, "m1 m3");
    assert_eq!(first.remove(second.id).await, Err(not_found()), "it is removed already");
    third.put("c").await.unwrap();
    let (code, log) = site.start_in_vain(1, &[0, 1], &[]);
    assert_eq!(code, 0);
    let removed = "the member has been permanently removed from the cluster";
    assert!(log.contains(removed), "what a removed member says: {log}");
}

/// A member that was down when it was removed is told so by the others.
#[tokio::test]
async fn a_member_that_was_away_learns_that_it_was_removed() {
    let mut site = Site::new(3);
    site.start_founders(&[0, 1, 2], &[]);
    let mut first = site.operator(0).await;
    let list = first.list(true).await.unwrap();
    let third = list.iter().find(|member| member.name == "m3").unwrap().id;
    site.kill(2);
    first.remove_when_healthy(third).await;
    let (code, log) = site.start_in_vain(2, &[0, 1, 2], &[]);
    assert_eq!(code, 0);
    assert!(log.contains("data-dir used by this member must be removed"), "{log}");
}

/// A member gets the whole state when the others' logs no longer have what it lacks: one that was
/// away, and one that is new. It has a log of its own from then on.
#[tokio::test]
async fn a_member_far_behind_gets_the_state() {
    let mut site = Site::new(4);
    let short_log = ["--snapshot-count=20", "--snapshot-catchup-entries=5"];
    site.start_founders(&[0, 1, 2], &short_log);
    let mut first = site.operator(0).await;
    site.kill(2);
    for number in 0..200 {
        first.put_in_time(&format!("k{number}")).await;
    }
    site.start(2, &[0, 1, 2], &short_log);
    site.operator(2).await.until_count(200).await;
    site.check_generation_at_least(2, 2);
    first.put_in_time("after").await;
    site.operator(2).await.until_count(201).await;
    site.kill(2);
    site.start(2, &[0, 1, 2], &short_log);
    site.operator(2).await.until_count(201).await;

    let peer = site.nodes[3].peer.clone();
    first.add_when_healthy(&peer, false).await;
    let joining = [&short_log[..], &["--initial-cluster-state=existing"]].concat();
    site.start(3, &[0, 1, 2, 3], &joining);
    let fourth = site.operator(3).await;
    fourth.until_count(201).await;
    assert_eq!(fourth.count(false).await, Ok(201));
    site.check_generation_at_least(3, 2);
    assert_eq!(first.names().await, "m1 m2 m3 m4");
    // It counts: with it, three of four are there.
    site.kill(1);
    first.put_in_time("last").await;
    site.operator(3).await.until_count(202).await;
}

/// The flags about the cluster count once, as in etcd: after that the log tells who a member is.
#[tokio::test]
async fn the_log_tells_who_a_member_is() {
    let mut site = Site::new(2);
    site.start(0, &[0], &[]);
    let mut member = site.operator(0).await;
    let before = member.list(true).await.unwrap();
    site.kill(0);
    site.start(0, &[0, 1], &["--initial-cluster-token=other"]);
    let mut member = site.operator(0).await;
    assert_eq!(member.list(true).await.unwrap(), before);
}

/// Who may not start, and who starts alone.
#[tokio::test]
async fn a_member_without_a_log_must_fit_in() {
    let mut site = Site::new(3);
    site.start_founders(&[0, 1, 2], &[]);
    let first = site.operator(0).await;
    first.put("a").await.unwrap();
    site.kill(2);
    std::fs::remove_dir_all(site.data_dir(2)).unwrap();
    let (code, log) = site.start_in_vain(2, &[0, 1, 2], &[]);
    assert_eq!(code, 1);
    assert!(log.contains("has already been bootstrapped"), "{log}");
    std::fs::remove_dir_all(site.data_dir(2)).ok();
    let (code, log) = site.start_in_vain(2, &[0, 2], &["--initial-cluster-state=existing"]);
    assert_eq!(code, 1);
    assert!(log.contains("member count is unequal"), "{log}");
    std::fs::remove_dir_all(site.data_dir(2)).ok();

    // Alone, the first one has no quorum, unless it is told that the others are gone for good.
    site.kill(1);
    site.kill(0);
    site.start(0, &[0, 1, 2], &["--force-new-cluster"]);
    let mut alone = site.operator(0).await;
    assert_eq!(alone.names().await, "m1");
    assert_eq!(alone.count(false).await, Ok(1));
    alone.put("b").await.unwrap();
    site.kill(0);
    site.start(0, &[0, 1, 2], &[]);
    let mut alone = site.operator(0).await;
    assert_eq!(alone.names().await, "m1");
    assert_eq!(alone.count(false).await, Ok(2));
}

/// With elections as slow as these, nobody else would lead so soon.
#[tokio::test]
async fn a_leader_that_stops_hands_over() {
    let mut site = Site::new(3);
    let slow = ["--heartbeat-interval=1000", "--election-timeout=20000"];
    site.start_founders(&[0, 1, 2], &slow);
    let status = site.operator(0).await.status().await;
    let mut leader = None;
    for at in 0..3 {
        let own = site.operator(at).await.status().await.header.unwrap().member_id;
        if own == status.leader {
            leader = Some(at);
        }
    }
    let leader = leader.unwrap();
    let other = (leader + 1) % 3;
    let survivor = site.operator(other).await;
    let since = Instant::now();
    site.signal(leader, Signal::SIGTERM);
    site.wait(leader);
    survivor.put("a").await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(15), "it took {:?}", since.elapsed());
}
