//! The members under test: started by us, or found at their addresses.
//!
//! ```text
//!   clients ------------------------------> client listener of m0
//!   m1, m2 --> peer proxy of m0 (ours) ---> peer listener of m0
//! ```
//!
//! A started member advertises the address of its peer proxy, so that all traffic between members
//! passes through us and can be cut. Clients reach members directly.
//!
//! Invariant: a member that we started never outlives us.

mod ports;
pub mod process;
pub mod readiness;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::nemesis::proxy::{PeerNet, Proxy};
use crate::workload::{ClusterSpec, System};
use process::Process;

/// Why a cluster could not be started or handled.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no such executable.
    #[error("no executable of {system} at {path}; {advice}")]
    NoBinary {
        /// Name of the system.
        system: &'static str,
        /// Where we looked.
        path: PathBuf,
        /// How to get one.
        advice: &'static str,
    },
    /// A member ended by itself.
    #[error("member m{member} ended by itself ({status})\nthe last lines of {log}:\n{tail}")]
    Ended {
        /// Index of the member.
        member: u32,
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        tail: String,
    },
    /// A member did not become ready.
    #[error("member m{member} at {endpoint} did not become ready within {waited:?}: {last}")]
    NotReady {
        /// Index of the member.
        member: u32,
        /// Its client address.
        endpoint: String,
        /// How long we waited.
        waited: Duration,
        /// What the last attempt said.
        last: String,
    },
    /// A member did not become the leader when the leader was told to hand over to it.
    #[error("member m{member} was not made the leader: {reason}")]
    NotMoved {
        /// Index of the member.
        member: u32,
        /// What was said.
        reason: String,
    },
    /// A cut between members was not whole.
    #[error(transparent)]
    Leak(#[from] crate::nemesis::proxy::Leak),
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What we tried.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> ClusterError {
    let what = what.into();
    move |source| ClusterError::Io { what, source }
}

/// The members under test.
#[derive(Debug)]
pub struct Cluster {
    endpoints: Arc<[String]>,
    members: Vec<Member>,
    net: PeerNet,
    /// Kept for their tasks, which end with them.
    _proxies: Vec<Proxy>,
}

/// A member that we started.
#[derive(Debug)]
struct Member {
    program: PathBuf,
    args: Vec<String>,
    data: PathBuf,
    log: PathBuf,
    running: Mutex<Option<Process>>,
}

impl Member {
    fn ended(&self, member: u32, status: ExitStatus) -> ClusterError {
        let (log, tail) = (self.log.clone(), process::tail(&self.log));
        ClusterError::Ended { member, status: status.to_string(), log, tail }
    }
}

impl Cluster {
    /// A cluster that is already there.
    pub fn attach(endpoints: &[String]) -> Cluster {
        let net = PeerNet::new(0);
        Cluster { endpoints: endpoints.into(), members: Vec::new(), net, _proxies: Vec::new() }
    }

    /// Starts the members of a fresh cluster, with data and logs under `folder`. They are not
    /// ready yet.
    pub async fn start(spec: &ClusterSpec, folder: &Path) -> Result<Cluster, ClusterError> {
        let program = executable(spec)?;
        let count = usize::try_from(*spec.members.get_ref()).expect("members are few");
        let ports = ports::free(2 * count).map_err(io_error("no free ports"))?;
        let net = PeerNet::new(count);
        let mut proxies = Vec::new();
        for member in 0..count {
            let target = ports[2 * member + 1];
            let proxy = Proxy::start(&net, member, target).await;
            proxies.push(proxy.map_err(io_error("cannot listen on the loopback"))?);
        }
        let initial: Vec<String> = proxies
            .iter()
            .enumerate()
            .map(|(member, proxy)| format!("m{member}=http://127.0.0.1:{}", proxy.port()))
            .collect();
        let mut members = Vec::new();
        for (member, proxy) in proxies.iter().enumerate() {
            let data = folder.join("data").join(format!("m{member}"));
            let addresses = Addresses {
                client: ports[2 * member],
                peer: ports[2 * member + 1],
                advertised_peer: proxy.port(),
                initial: &initial,
                token: proxies[0].port(),
            };
            let args = arguments(spec, member, &data, &addresses);
            let log = folder.join("logs").join(format!("m{member}.log"));
            let program = program.clone();
            members.push(Member { program, args, data, log, running: Mutex::new(None) });
        }
        let endpoints = (0..count).map(|member| format!("http://127.0.0.1:{}", ports[2 * member]));
        let cluster = Cluster { endpoints: endpoints.collect(), members, net, _proxies: proxies };
        for name in ["data", "logs"] {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).map_err(io_error(format!("{}", path.display())))?;
        }
        for member in 0..cluster.count() {
            cluster.launch(member)?;
        }
        Ok(cluster)
    }

    /// Client addresses of the members.
    pub fn endpoints(&self) -> Arc<[String]> {
        Arc::clone(&self.endpoints)
    }

    /// How many members there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.endpoints.len()).expect("members are few")
    }

    /// The links between members.
    pub fn net(&self) -> &PeerNet {
        &self.net
    }

    /// Data directory of a member that we started.
    pub fn data(&self, member: u32) -> &Path {
        &self.member(member).data
    }

    /// Starts a member's process, first or again.
    pub fn launch(&self, index: u32) -> Result<(), ClusterError> {
        let member = self.member(index);
        let log = File::options().create(true).append(true).open(&member.log);
        let log = log.map_err(io_error(format!("{}", member.log.display())))?;
        let mut command = Command::new(&member.program);
        command.args(&member.args);
        let started = process::spawn(command, log);
        let started = started.map_err(io_error(format!("cannot start m{index}")))?;
        self.net.set_pid(usize::try_from(index).expect("few members"), Some(started.pid()));
        *member.running.lock().expect("no holder panics") = Some(started);
        Ok(())
    }

    /// Ends a member's process at once, and waits until it is gone. It is gone too when the error
    /// says that it had ended by itself before.
    pub async fn kill(&self, index: u32) -> Result<(), ClusterError> {
        let member = self.member(index);
        let taken = member.running.lock().expect("no holder panics").take();
        self.net.set_pid(usize::try_from(index).expect("few members"), None);
        let Some(process) = taken else { return Ok(()) };
        let killed = process.kill().await.map_err(io_error(format!("cannot kill m{index}")));
        killed?.map_or(Ok(()), |before| Err(member.ended(index, before)))
    }

    /// Stops a member's process from running, or lets it run again. A process that has ended by
    /// itself is an error.
    pub fn signal(&self, index: u32, signal: Signal) -> Result<(), ClusterError> {
        let member = self.member(index);
        let running = member.running.lock().expect("no holder panics");
        let Some(process) = running.as_ref() else { return Ok(()) };
        process.signal(signal).map_err(io_error(format!("cannot signal m{index}")))?;
        process.exit_status().map_or(Ok(()), |status| Err(member.ended(index, status)))
    }

    /// Members that we started and that ended without our doing.
    pub fn ended_by_themselves(&self) -> Vec<ClusterError> {
        let mut ended = Vec::new();
        for (index, member) in (0..).zip(&self.members) {
            let running = member.running.lock().expect("no holder panics");
            if let Some(status) = running.as_ref().and_then(Process::exit_status) {
                ended.push(member.ended(index, status));
            }
        }
        ended
    }

    /// The executable of the members that we started.
    pub fn program(&self) -> Option<&Path> {
        self.members.first().map(|member| member.program.as_path())
    }

    /// CPU seconds that the running members have used since their start; `None` where the system
    /// does not tell.
    pub fn cpu_seconds(&self) -> Option<f64> {
        if self.members.is_empty() {
            return None;
        }
        let used = self.members.iter().map(|member| {
            let running = member.running.lock().expect("no holder panics");
            running.as_ref().map_or(Some(0.0), Process::cpu_seconds)
        });
        used.sum()
    }

    /// Ends every member that we started.
    pub async fn stop(&self) {
        for index in 0..u32::try_from(self.members.len()).expect("members are few") {
            // A member that cannot be killed is gone already; whoever wants to know who ended by
            // itself has asked before.
            drop(self.kill(index).await);
        }
    }

    fn member(&self, index: u32) -> &Member {
        &self.members[usize::try_from(index).expect("members are few")]
    }
}

struct Addresses<'a> {
    client: u16,
    peer: u16,
    advertised_peer: u16,
    initial: &'a [String],
    token: u16,
}

/// The flags are etcd's; rusd has the same.
fn arguments(spec: &ClusterSpec, member: usize, data: &Path, at: &Addresses<'_>) -> Vec<String> {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let mut args = Vec::new();
    let mut flag = |name: &str, value: String| args.push(format!("--{name}={value}"));
    flag("name", format!("m{member}"));
    flag("data-dir", data.display().to_string());
    flag("listen-client-urls", url(at.client));
    flag("advertise-client-urls", url(at.client));
    flag("listen-peer-urls", url(at.peer));
    flag("initial-advertise-peer-urls", url(at.advertised_peer));
    flag("initial-cluster", at.initial.join(","));
    flag("initial-cluster-state", "new".to_owned());
    // Ports differ between clusters that run side by side.
    flag("initial-cluster-token", format!("loadgen-{}", at.token));
    for (name, interval) in [
        ("heartbeat-interval", spec.heartbeat_interval),
        ("election-timeout", spec.election_timeout),
    ] {
        if let Some(interval) = interval {
            flag(name, interval.as_millis().to_string());
        }
    }
    args.extend(spec.args.iter().cloned());
    args
}

/// The executable of the system: as told, or where this repository builds it.
pub fn executable(spec: &ClusterSpec) -> Result<PathBuf, ClusterError> {
    let ours = std::env::current_exe().map_err(io_error("cannot find our own executable"))?;
    let folder = ours.parent().unwrap_or(Path::new("."));
    let (path, advice) = match (&spec.binary, spec.system) {
        (Some(path), _) => (path.clone(), "correct --binary or `cluster.binary`"),
        (None, System::Rusd) => (folder.join("rusd"), "build it: cargo build --bin rusd"),
        (None, System::Etcd) => (
            folder.parent().unwrap_or(folder).join("peers").join("etcd"),
            "build it: cargo xtask peers",
        ),
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(ClusterError::NoBinary { system: spec.system.name(), path, advice })
}

#[cfg(test)]
pub(crate) mod tests {
    use toml::Spanned;

    use super::*;

    /// A cluster whose members are this script of `testdata/members`.
    pub(crate) async fn scripted(members: u32, script: &str, folder: &Path) -> Cluster {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/members");
        let spec = ClusterSpec {
            members: Spanned::new(0..0, members),
            binary: Some(scripts.join(script)),
            ..ClusterSpec::default()
        };
        Cluster::start(&spec, folder).await.unwrap()
    }

    async fn all_ended(cluster: &Cluster) {
        for member in &cluster.members {
            let exit = member.running.lock().unwrap().as_ref().map(Process::watch);
            exit.expect("it was started").wait_for(Option::is_some).await.unwrap();
        }
    }

    fn has_ended(result: Result<(), ClusterError>) -> bool {
        matches!(result, Err(ClusterError::Ended { tail, .. }) if tail == "no more\n")
    }

    /// A member that crashed and was then killed or paused as planned looked as if all were well.
    #[tokio::test]
    async fn a_fault_does_not_hide_that_a_member_had_ended_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = scripted(2, "ends.sh", folder.path()).await;
        all_ended(&cluster).await;
        assert_eq!(cluster.ended_by_themselves().len(), 2);
        assert!(has_ended(cluster.kill(0).await));
        assert!(has_ended(cluster.signal(1, Signal::SIGSTOP)));
        assert!(cluster.kill(0).await.is_ok(), "it is told once");
    }

    #[tokio::test]
    async fn a_member_that_runs_is_killed_and_paused_without_error() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = scripted(1, "stays.sh", folder.path()).await;
        cluster.signal(0, Signal::SIGSTOP).unwrap();
        cluster.signal(0, Signal::SIGCONT).unwrap();
        cluster.kill(0).await.unwrap();
        assert!(cluster.ended_by_themselves().is_empty());
    }
}
