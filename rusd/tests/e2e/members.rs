//! Members come and go: one at a time, watched over by strict checks, and a member that was removed
//! learns it.
//!
//! With `RUSD_E2E_BINARY` set, members of that program are asked, such as etcd. etcd 3.7.3 passes most
//! runs, not all: a member that was removed while it was away ends now with 0, now with 1; and
//! `--force-new-cluster` after a kill may forget a write, since etcd buffers what it knows to be
//! committed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusd_proto::etcdserverpb::cluster_client::ClusterClient;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::{
    LeaseGrantRequest, Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, MemberUpdateRequest, PutRequest, RangeRequest, StatusRequest,
    StatusResponse,
};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::process::{Polling, free_port};

type Refusal = (Code, String);

fn refused(code: Code, text: &str) -> Refusal {
    (code, text.to_owned())
}

fn row(status: Status) -> Refusal {
    (status.code(), status.message().to_owned())
}

fn not_found() -> Refusal {
    refused(Code::NotFound, "etcdserver: member not found")
}

fn not_ready() -> Refusal {
    refused(
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader",
    )
}

fn learner_cannot() -> Refusal {
    refused(Code::FailedPrecondition, "etcdserver: rpc not supported for learner")
}

/// Members that may or may not run; those that run are killed in the end.
struct Site {
    dir: TempDir,
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    client: String,
    peer: String,
    child: Option<Child>,
}

impl Site {
    /// Addresses for so many members.
    fn new(count: usize) -> Site {
        let url = || format!("http://127.0.0.1:{}", free_port());
        let nodes = (1..=count)
            .map(|number| Node {
                name: format!("m{number}"),
                client: url(),
                peer: url(),
                child: None,
            })
            .collect();
        Site { dir: TempDir::new().unwrap(), nodes }
    }

    fn data_dir(&self, at: usize) -> PathBuf {
        self.dir.path().join(&self.nodes[at].name)
    }

    /// A member of ours that got a state has it in a later generation of its engine.
    fn check_generation_at_least(&self, at: usize, least: u64) {
        let engine = self.data_dir(at).join("member").join("engine");
        if std::env::var_os("RUSD_E2E_BINARY").is_some() {
            return;
        }
        let names = std::fs::read_dir(engine).unwrap().map(|entry| entry.unwrap().file_name());
        let generations = names.filter_map(|name| name.to_str()?.parse::<u64>().ok());
        assert!(generations.max() >= Some(least), "no state was installed");
    }

    fn cluster_of(&self, members: &[usize]) -> String {
        let entry = |at: &usize| format!("{}={}", self.nodes[*at].name, self.nodes[*at].peer);
        members.iter().map(entry).collect::<Vec<_>>().join(",")
    }

    fn spawn(&mut self, at: usize, members: &[usize], flags: &[&str]) -> BufReader<ChildStderr> {
        let program = std::env::var("RUSD_E2E_BINARY");
        let program = program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_rusd").to_owned());
        let (cluster, data_dir) = (self.cluster_of(members), self.data_dir(at));
        let node = &mut self.nodes[at];
        let mut child = Command::new(program)
            .args(["--name", &node.name, "--initial-cluster", &cluster, "--data-dir"])
            .arg(data_dir)
            .args(["--listen-client-urls", &node.client, "--advertise-client-urls", &node.client])
            .args(["--listen-peer-urls", &node.peer, "--initial-advertise-peer-urls", &node.peer])
            .args(["--heartbeat-interval=100", "--election-timeout=1000"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        node.child = Some(child);
        log
    }

    /// Starts a member of this cluster and waits until it is ready.
    fn start(&mut self, at: usize, members: &[usize], flags: &[&str]) {
        let mut log = self.spawn(at, members, flags);
        let (mut line, mut said) = (String::new(), String::new());
        while !line.contains("ready to serve client requests") {
            line.clear();
            let length = log.read_line(&mut line).unwrap();
            said += &line;
            assert_ne!(length, 0, "it ended before it was ready; it said:\n{said}");
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    }

    /// Starts founders together: none is ready alone.
    fn start_founders(&mut self, members: &[usize], flags: &[&str]) {
        let logs: Vec<_> = members.iter().map(|at| self.spawn(*at, members, flags)).collect();
        for mut log in logs {
            let mut line = String::new();
            while !line.contains("ready to serve client requests") {
                line.clear();
                assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended before it was ready");
            }
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        }
    }

    /// Starts a member that will end by itself. Gives its exit code and its log.
    fn start_in_vain(&mut self, at: usize, members: &[usize], flags: &[&str]) -> (i32, String) {
        let mut log = self.spawn(at, members, flags);
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        (self.exit_code(at), text)
    }

    /// Waits for the end of a member.
    fn exit_code(&mut self, at: usize) -> i32 {
        let mut child = self.nodes[at].child.take().unwrap();
        child.wait().unwrap().code().unwrap()
    }

    /// Waits for the end of a member that a signal ends: etcd says so in its exit status.
    fn wait(&mut self, at: usize) {
        self.nodes[at].child.take().unwrap().wait().unwrap();
    }

    fn signal(&self, at: usize, signal: Signal) {
        let child = self.nodes[at].child.as_ref().unwrap();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    }

    fn kill(&mut self, at: usize) {
        let mut child = self.nodes[at].child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    async fn channel(&self, at: usize) -> Channel {
        let url = self.nodes[at].client.clone();
        Channel::from_shared(url).unwrap().connect().await.unwrap()
    }

    async fn operator(&self, at: usize) -> Operator {
        let channel = self.channel(at).await;
        Operator { channel: channel.clone(), cluster: ClusterClient::new(channel) }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().filter_map(|node| node.child.as_mut()) {
            // It may have ended before.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A client of one member.
struct Operator {
    channel: Channel,
    cluster: ClusterClient<Channel>,
}

impl Operator {
    async fn add(&mut self, url: &str, is_learner: bool) -> Result<(Member, Vec<Member>), Refusal> {
        let request = MemberAddRequest { peer_ur_ls: vec![url.to_owned()], is_learner };
        let response = self.cluster.member_add(request).await.map_err(row)?.into_inner();
        assert_eq!(response.header.unwrap().revision, 0, "membership has no revision");
        Ok((response.member.unwrap(), response.members))
    }

    /// Adds a member as soon as the cluster counts as healthy, which takes five seconds.
    async fn add_when_healthy(&mut self, url: &str, is_learner: bool) -> Member {
        let polling = Polling::start();
        loop {
            match self.add(url, is_learner).await {
                Ok((member, _)) => return member,
                Err(refusal) => wait_for_health(&refusal, &polling).await,
            }
        }
    }

    /// Removes a member as soon as the cluster counts as healthy. A change that is sent to a leader
    /// that has died is lost, and nobody but the client counts the time.
    async fn remove_when_healthy(&mut self, id: u64) -> Vec<Member> {
        let polling = Polling::start();
        loop {
            match tokio::time::timeout(Duration::from_secs(5), self.remove(id)).await {
                Ok(Ok(members)) => return members,
                Ok(Err(refusal)) if refusal == not_found() => {
                    return self.list(true).await.unwrap();
                }
                Ok(Err(refusal)) => wait_for_health(&refusal, &polling).await,
                Err(_elapsed) => polling.again("no answer").await,
            }
        }
    }

    async fn remove(&mut self, id: u64) -> Result<Vec<Member>, Refusal> {
        let removed = self.cluster.member_remove(MemberRemoveRequest { id }).await;
        Ok(removed.map_err(row)?.into_inner().members)
    }

    async fn promote(&mut self, id: u64) -> Result<Vec<Member>, Refusal> {
        let promoted = self.cluster.member_promote(MemberPromoteRequest { id }).await;
        Ok(promoted.map_err(row)?.into_inner().members)
    }

    /// Promotes a learner as soon as the leader knows that it has the log.
    async fn promote_when_ready(&mut self, id: u64) -> Vec<Member> {
        let polling = Polling::start();
        loop {
            match self.promote(id).await {
                Ok(members) => return members,
                Err(refusal) => {
                    assert_eq!(refusal, not_ready());
                    polling.again("the learner does not get the log").await;
                }
            }
        }
    }

    async fn update(&mut self, id: u64, urls: &[&str]) -> Result<Vec<Member>, Refusal> {
        let peer_ur_ls = urls.iter().map(|url| (*url).to_owned()).collect();
        let updated = self.cluster.member_update(MemberUpdateRequest { id, peer_ur_ls }).await;
        Ok(updated.map_err(row)?.into_inner().members)
    }

    async fn list(&mut self, linearizable: bool) -> Result<Vec<Member>, Refusal> {
        let listed = self.cluster.member_list(MemberListRequest { linearizable }).await;
        Ok(listed.map_err(row)?.into_inner().members)
    }

    /// Names in the order of the list; `?` for a member that has not started, `*` after a learner.
    async fn names(&mut self) -> String {
        let mut names: Vec<String> = Vec::new();
        for member in self.list(true).await.unwrap() {
            let name = if member.name.is_empty() { "?" } else { &member.name };
            names.push(format!("{name}{}", if member.is_learner { "*" } else { "" }));
        }
        names.sort();
        names.join(" ")
    }

    async fn put(&self, key: &str) -> Result<(), Refusal> {
        let request = PutRequest { key: key.to_owned().into(), ..PutRequest::default() };
        KvClient::new(self.channel.clone()).put(request).await.map(|_| ()).map_err(row)
    }

    /// Puts a key, as often as it takes: the leader may be a new one.
    async fn put_in_time(&self, key: &str) {
        let polling = Polling::start();
        while self.put(key).await.is_err() {
            polling.again(format_args!("{key} cannot be put")).await;
        }
    }

    /// Waits until this member has so many keys. It may start again meanwhile.
    async fn until_count(&self, wanted: i64) {
        let polling = Polling::start();
        loop {
            let found = self.count(true).await;
            if found == Ok(wanted) {
                return;
            }
            polling.again(format_args!("{found:?} keys instead of {wanted}")).await;
        }
    }

    async fn count(&self, serializable: bool) -> Result<i64, Refusal> {
        let request = RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            serializable,
            ..RangeRequest::default()
        };
        let ranged = KvClient::new(self.channel.clone()).range(request).await;
        Ok(ranged.map_err(row)?.into_inner().count)
    }

    /// Waits until the member itself knows that it votes.
    async fn until_voter(&self) {
        let polling = Polling::start();
        while self.status().await.is_learner {
            polling.again("it stays a learner").await;
        }
    }

    async fn status(&self) -> StatusResponse {
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        maintenance.status(StatusRequest {}).await.unwrap().into_inner()
    }
}

/// Waits a moment, if nothing but the cluster's health is missing.
async fn wait_for_health(refusal: &Refusal, polling: &Polling) {
    let unhealthy = refused(Code::Unavailable, "etcdserver: unhealthy cluster");
    assert_eq!(*refusal, unhealthy);
    polling.again("the cluster stays unhealthy").await;
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
    assert_eq!(third.put("b").await, Err(learner_cannot()));
    assert_eq!(third.count(false).await, Err(learner_cannot()));
    assert_eq!(third.count(true).await, Ok(1), "a learner serves serializable ranges");
    assert_eq!(third.list(false).await, Err(learner_cannot()));
    assert!(third.status().await.is_learner);
    let grant = LeaseGrantRequest { ttl: 10, id: 7 };
    let granted = LeaseClient::new(third.channel.clone()).lease_grant(grant).await;
    assert_eq!(granted.map(|_| ()).map_err(row), Err(learner_cannot()));

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
