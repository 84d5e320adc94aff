//! A place for several members of one cluster, which come and go; and what an operator asks of them.
//!
//! With `RUSD_E2E_BINARY` set the members are of that program, such as etcd.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusd_proto::etcdserverpb::cluster_client::ClusterClient;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest, PutRequest, RangeRequest, StatusRequest, StatusResponse,
};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::process::{Polling, free_port};

pub(crate) type Refusal = (Code, String);

pub(crate) fn refused(code: Code, text: &str) -> Refusal {
    (code, text.to_owned())
}

pub(crate) fn row(status: Status) -> Refusal {
    (status.code(), status.message().to_owned())
}

pub(crate) fn not_found() -> Refusal {
    refused(Code::NotFound, "etcdserver: member not found")
}

pub(crate) fn not_ready() -> Refusal {
    refused(
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader",
    )
}

/// Members that may or may not run; those that run are killed in the end.
pub(crate) struct Site {
    dir: TempDir,
    pub(crate) nodes: Vec<Node>,
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) client: String,
    pub(crate) peer: String,
    child: Option<Child>,
}

impl Site {
    /// Addresses for so many members.
    pub(crate) fn new(count: usize) -> Site {
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

    pub(crate) fn data_dir(&self, at: usize) -> PathBuf {
        self.dir.path().join(&self.nodes[at].name)
    }

    /// A member of ours that got a state has it in a later generation of its engine.
    pub(crate) fn check_generation_at_least(&self, at: usize, least: u64) {
        let engine = self.data_dir(at).join("member").join("engine");
        if std::env::var_os("RUSD_E2E_BINARY").is_some() {
            return;
        }
        let names = std::fs::read_dir(engine).unwrap().map(|entry| entry.unwrap().file_name());
        let generations = names.filter_map(|name| name.to_str()?.parse::<u64>().ok());
        assert!(generations.max() >= Some(least), "no state was installed");
    }

    pub(crate) fn cluster_of(&self, members: &[usize]) -> String {
        let entry = |at: &usize| format!("{}={}", self.nodes[*at].name, self.nodes[*at].peer);
        members.iter().map(entry).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn spawn(
        &mut self,
        at: usize,
        members: &[usize],
        flags: &[&str],
    ) -> BufReader<ChildStderr> {
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

    /// Starts a member of this cluster and waits until it is ready. Gives what it said until then.
    pub(crate) fn start(&mut self, at: usize, members: &[usize], flags: &[&str]) -> String {
        let mut log = self.spawn(at, members, flags);
        let (mut line, mut said) = (String::new(), String::new());
        while !line.contains("ready to serve client requests") {
            line.clear();
            let length = log.read_line(&mut line).unwrap();
            said += &line;
            assert_ne!(length, 0, "it ended before it was ready; it said:\n{said}");
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        said
    }

    /// Starts founders together: none is ready alone.
    pub(crate) fn start_founders(&mut self, members: &[usize], flags: &[&str]) {
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
    pub(crate) fn start_in_vain(
        &mut self,
        at: usize,
        members: &[usize],
        flags: &[&str],
    ) -> (i32, String) {
        let mut log = self.spawn(at, members, flags);
        let mut text = String::new();
        while log.read_line(&mut text).unwrap() > 0 {
            assert!(!text.contains("ready to serve client requests"), "it serves\n{text}");
        }
        (self.exit_code(at), text)
    }

    /// Waits for the end of a member.
    pub(crate) fn exit_code(&mut self, at: usize) -> i32 {
        let mut child = self.nodes[at].child.take().unwrap();
        child.wait().unwrap().code().unwrap()
    }

    /// Waits for the end of a member that a signal ends: etcd says so in its exit status.
    pub(crate) fn wait(&mut self, at: usize) {
        self.nodes[at].child.take().unwrap().wait().unwrap();
    }

    pub(crate) fn signal(&self, at: usize, signal: Signal) {
        let child = self.nodes[at].child.as_ref().unwrap();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn kill(&mut self, at: usize) {
        let mut child = self.nodes[at].child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) async fn channel(&self, at: usize) -> Channel {
        let url = self.nodes[at].client.clone();
        Channel::from_shared(url).unwrap().connect().await.unwrap()
    }

    /// The id of a member, as another one knows it.
    pub(crate) async fn id_of(&self, at: usize) -> u64 {
        let members = self.operator(0).await.list(false).await.unwrap();
        members.iter().find(|member| member.name == self.nodes[at].name).unwrap().id
    }

    pub(crate) async fn operator(&self, at: usize) -> Operator {
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
pub(crate) struct Operator {
    pub(crate) channel: Channel,
    pub(crate) cluster: ClusterClient<Channel>,
}

impl Operator {
    pub(crate) async fn add(
        &mut self,
        url: &str,
        is_learner: bool,
    ) -> Result<(Member, Vec<Member>), Refusal> {
        let request = MemberAddRequest { peer_ur_ls: vec![url.to_owned()], is_learner };
        let response = self.cluster.member_add(request).await.map_err(row)?.into_inner();
        assert_eq!(response.header.unwrap().revision, 0, "membership has no revision");
        Ok((response.member.unwrap(), response.members))
    }

    /// Adds a member as soon as the cluster counts as healthy, which takes five seconds.
    pub(crate) async fn add_when_healthy(&mut self, url: &str, is_learner: bool) -> Member {
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
    pub(crate) async fn remove_when_healthy(&mut self, id: u64) -> Vec<Member> {
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

    pub(crate) async fn remove(&mut self, id: u64) -> Result<Vec<Member>, Refusal> {
        let removed = self.cluster.member_remove(MemberRemoveRequest { id }).await;
        Ok(removed.map_err(row)?.into_inner().members)
    }

    pub(crate) async fn promote(&mut self, id: u64) -> Result<Vec<Member>, Refusal> {
        let promoted = self.cluster.member_promote(MemberPromoteRequest { id }).await;
        Ok(promoted.map_err(row)?.into_inner().members)
    }

    /// Promotes a learner as soon as the leader knows that it has the log.
    pub(crate) async fn promote_when_ready(&mut self, id: u64) -> Vec<Member> {
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

    pub(crate) async fn update(&mut self, id: u64, urls: &[&str]) -> Result<Vec<Member>, Refusal> {
        let peer_ur_ls = urls.iter().map(|url| (*url).to_owned()).collect();
        let updated = self.cluster.member_update(MemberUpdateRequest { id, peer_ur_ls }).await;
        Ok(updated.map_err(row)?.into_inner().members)
    }

    pub(crate) async fn list(&mut self, linearizable: bool) -> Result<Vec<Member>, Refusal> {
        let listed = self.cluster.member_list(MemberListRequest { linearizable }).await;
        Ok(listed.map_err(row)?.into_inner().members)
    }

    /// Names in the order of the list; `?` for a member that has not started, `*` after a learner.
    pub(crate) async fn names(&mut self) -> String {
        let mut names: Vec<String> = Vec::new();
        for member in self.list(true).await.unwrap() {
            let name = if member.name.is_empty() { "?" } else { &member.name };
            names.push(format!("{name}{}", if member.is_learner { "*" } else { "" }));
        }
        names.sort();
        names.join(" ")
    }

    pub(crate) async fn put(&self, key: &str) -> Result<(), Refusal> {
        let request = PutRequest { key: key.to_owned().into(), ..PutRequest::default() };
        KvClient::new(self.channel.clone()).put(request).await.map(|_| ()).map_err(row)
    }

    /// Puts a key, as often as it takes: the leader may be a new one.
    pub(crate) async fn put_in_time(&self, key: &str) {
        let polling = Polling::start();
        while self.put(key).await.is_err() {
            polling.again(format_args!("{key} cannot be put")).await;
        }
    }

    /// Waits until this member has so many keys. It may start again meanwhile.
    pub(crate) async fn until_count(&self, wanted: i64) {
        let polling = Polling::start();
        loop {
            let found = self.count(true).await;
            if found == Ok(wanted) {
                return;
            }
            polling.again(format_args!("{found:?} keys instead of {wanted}")).await;
        }
    }

    pub(crate) async fn count(&self, serializable: bool) -> Result<i64, Refusal> {
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
    pub(crate) async fn until_voter(&self) {
        let polling = Polling::start();
        while self.status().await.is_learner {
            polling.again("it stays a learner").await;
        }
    }

    pub(crate) async fn status(&self) -> StatusResponse {
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        maintenance.status(StatusRequest {}).await.unwrap().into_inner()
    }
}

/// Waits a moment, if nothing but the cluster's health is missing.
pub(crate) async fn wait_for_health(refusal: &Refusal, polling: &Polling) {
    let unhealthy = refused(Code::Unavailable, "etcdserver: unhealthy cluster");
    assert_eq!(*refusal, unhealthy);
    polling.again("the cluster stays unhealthy").await;
}
