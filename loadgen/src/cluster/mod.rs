//! The members under test: started by us, or found at their addresses.
//!
//! ```text
//!   clients [--> client proxy of m0 (ours)] --> client listener of m0
//!   m1, m2  ---> peer proxy of m0 (ours) -----> peer listener of m0
//! ```
//!
//! A started member advertises the address of its peer proxy, so that all traffic between members
//! passes through us and can be broken. Clients reach members directly, unless a fault breaks their
//! links; what we ask ourselves, to see who leads and who is ready, always goes directly.
//!
//! Invariant: a member that we started never outlives us.

pub mod disk;
pub mod failpoints;
mod flags;
pub mod membership;
mod ports;
pub mod process;
pub mod readiness;
pub mod roster;
pub mod usage;

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::watch;

use crate::nemesis::network::Network;
use crate::nemesis::network::proxy::{Proxy, Serves};
use crate::workload::{ClusterSpec, FaultKind, System, Workload};
use disk::SmallDisk;
use flags::{Addresses, InitialState};
use process::Process;
use roster::{Follow, Roster};

/// Longest wait for a member to end when it is asked to.
const STOP_MAX: Duration = Duration::from_secs(30);
/// Time between two looks at whether members are there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
    /// A member could not be added, promoted or removed.
    #[error("member m{member} was not {change} within {waited:.1?}: {last}")]
    NotChanged {
        /// Index of the member.
        member: u32,
        /// What it was to be.
        change: &'static str,
        /// How long we asked.
        waited: Duration,
        /// What the last attempt said.
        last: String,
    },
    /// A member that was to end goes on.
    #[error("member m{member} {why}, and has not ended within {waited:?}")]
    NotEnded {
        /// Index of the member.
        member: u32,
        /// Why it was to end.
        why: &'static str,
        /// How long we waited.
        waited: Duration,
    },
    /// Something was not done to a member, or not with the effect that it must have.
    #[error("m{member}: {reason}")]
    NotDone {
        /// Index of the member.
        member: u32,
        /// What came of it.
        reason: String,
    },
    /// A fault of links was not whole.
    #[error(transparent)]
    Leak(#[from] crate::nemesis::network::Leak),
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
    /// All that ever were, by index; those that we did not start are not among them.
    members: Mutex<Vec<Arc<Member>>>,
    roster: watch::Sender<Arc<Roster>>,
    network: Network,
    /// How members are started; `None` if the cluster was there before us.
    recipe: Option<Recipe>,
}

/// What faults need of members, beside a proxy before each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Clients' links pass through us too.
    pub client_links: bool,
    /// Places in the server's code can be named.
    pub failpoints: bool,
}

impl Needs {
    /// Of the faults of this workload.
    pub fn of(workload: &Workload) -> Needs {
        let breaks_clients = |fault: &crate::workload::Fault| fault.how().links.is_of(true);
        let kinds = || workload.every_fault().map(|fault| *fault.kind.get_ref());
        Needs {
            client_links: workload.every_fault().any(breaks_clients),
            failpoints: kinds().any(FaultKind::needs_failpoints),
        }
    }
}

/// How members are started.
#[derive(Debug)]
struct Recipe {
    spec: ClusterSpec,
    needs: Needs,
    program: PathBuf,
    /// Of the data and logs.
    folder: PathBuf,
    /// Differs between clusters that run side by side.
    token: u16,
}

/// A member that we started.
#[derive(Debug)]
struct Member {
    place: Place,
    args: Vec<String>,
    data: PathBuf,
    log: PathBuf,
    disk: Option<SmallDisk>,
    running: Mutex<Option<Process>>,
    /// It may end by itself: it is being removed, or its disk fails.
    may_end: AtomicBool,
}

/// Where a member listens, and where its peers find it.
#[derive(Debug)]
struct Place {
    client: u16,
    peer: u16,
    proxy: Proxy,
    client_proxy: Option<Proxy>,
    /// Where it listens for what is to happen at which place in its code.
    failpoints: Option<u16>,
}

impl Place {
    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.proxy.port())
    }

    /// Those that it wants back when it is started again.
    fn ports(&self) -> impl Iterator<Item = u16> {
        [self.client, self.peer].into_iter().chain(self.failpoints)
    }

    /// Where clients find it.
    fn endpoint(&self) -> String {
        let port = self.client_proxy.as_ref().map_or(self.client, Proxy::port);
        format!("http://127.0.0.1:{port}")
    }

    /// Where it listens to clients itself.
    fn direct(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }
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
        let roster = watch::Sender::new(Arc::new(Roster::of(endpoints)));
        Cluster { members: Mutex::default(), roster, network: Network::default(), recipe: None }
    }

    /// Starts the members of a fresh cluster, with data and logs under `folder`. They are not
    /// ready yet.
    pub async fn start(spec: &ClusterSpec, folder: &Path) -> Result<Cluster, ClusterError> {
        Cluster::start_for(spec, Needs::default(), folder).await
    }

    /// The same, for faults that need something of the members.
    pub async fn start_for(
        spec: &ClusterSpec,
        needs: Needs,
        folder: &Path,
    ) -> Result<Cluster, ClusterError> {
        let program = executable(spec)?;
        let count = *spec.members.get_ref();
        let network = Network::default();
        let places = places(&network, needs, 0..count, &[]).await?;
        for name in ["data", "logs"] {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).map_err(io_error(format!("{}", path.display())))?;
        }
        let token = places.first().map_or(0, |place| place.proxy.port());
        let (spec, folder) = (spec.clone(), folder.to_owned());
        let recipe = Recipe { spec, needs, program, folder, token };
        let urls: Vec<(u32, String)> = (0..).zip(places.iter().map(Place::peer_url)).collect();
        let endpoints: Vec<String> = places.iter().map(Place::endpoint).collect();
        let members = (0..).zip(places).map(|(member, place)| {
            recipe.member(member, place, &urls, InitialState::New).map(Arc::new)
        });
        let members = Mutex::new(members.collect::<Result<_, _>>()?);
        let roster = watch::Sender::new(Arc::new(Roster::of(&endpoints)));
        let cluster = Cluster { members, roster, network, recipe: Some(recipe) };
        for member in 0..count {
            cluster.launch(member)?;
        }
        Ok(cluster)
    }

    /// Makes a place for one more member: ports, flags, folders. It is not started.
    async fn prepare(&self) -> Result<u32, ClusterError> {
        let recipe = self.recipe.as_ref().expect("faults are for clusters that we started");
        let member = self.next();
        let taken: Vec<u16> = self.everyone().iter().flat_map(|m| m.place.ports()).collect();
        let mut places = places(&self.network, recipe.needs, member..member + 1, &taken).await?;
        let place = places.pop().expect("one was asked for");
        let roster = self.roster();
        let mut urls: Vec<(u32, String)> =
            roster.seats().iter().map(|seat| (seat.member, self.peer_url(seat.member))).collect();
        urls.push((member, place.peer_url()));
        let joining = recipe.member(member, place, &urls, InitialState::Existing)?;
        self.members.lock().expect("no holder panics").push(Arc::new(joining));
        Ok(member)
    }

    /// Who is a member now.
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.borrow())
    }

    /// The same, as it changes.
    pub fn follow(&self) -> Follow {
        self.roster.subscribe()
    }

    fn change_roster(&self, change: impl FnOnce(&mut Roster)) {
        self.roster.send_modify(|roster| change(Arc::make_mut(roster)));
    }

    /// Client addresses of those that are members now.
    pub fn endpoints(&self) -> Vec<String> {
        self.roster().seats().iter().map(|seat| seat.endpoint.clone()).collect()
    }

    /// Client address of a member.
    pub fn endpoint(&self, member: u32) -> String {
        let seat = self.roster().seat(member).map(|seat| seat.endpoint.clone());
        seat.unwrap_or_else(|| self.member(member).place.endpoint())
    }

    /// Where a member listens to clients itself, whatever is done to their links.
    pub fn direct(&self, member: u32) -> String {
        if self.recipe.is_some() {
            self.member(member).place.direct()
        } else {
            self.endpoint(member)
        }
    }

    /// The index that the next member will have.
    pub fn next(&self) -> u32 {
        u32::try_from(self.everyone().len()).expect("members are few")
    }

    /// Where a member's peers find it.
    fn peer_url(&self, member: u32) -> String {
        self.member(member).place.peer_url()
    }

    /// The loopback port at which a member's peers find it, which is ours.
    pub fn peer_port(&self, member: u32) -> u16 {
        self.member(member).place.proxy.port()
    }

    /// The links between members, and of clients with them.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Data directory of a member that we started, as we see it.
    pub fn data(&self, member: u32) -> PathBuf {
        let member = self.member(member);
        match &member.disk {
            Some(disk) => disk.folder(),
            None => member.data.clone(),
        }
    }

    /// The process that a member is, if it runs.
    pub fn pid(&self, member: u32) -> Option<u32> {
        let member = self.member(member);
        let running = member.running.lock().expect("no holder panics");
        running.as_ref().filter(|process| process.exit_status().is_none()).map(Process::pid)
    }

    /// How many bytes a member has said so far, on its standard output and error.
    pub fn said(&self, member: u32) -> u64 {
        std::fs::metadata(&self.member(member).log).map_or(0, |log| log.len())
    }

    /// What a member said after its first `from` bytes.
    pub fn said_since(&self, member: u32, from: u64) -> Result<String, ClusterError> {
        let log = &self.member(member).log;
        let said = std::fs::read(log).map_err(io_error(format!("{}", log.display())))?;
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(said.len());
        Ok(String::from_utf8_lossy(&said[from..]).into_owned())
    }

    /// Does something to the disk that is a member's own.
    pub fn disk(&self, member: u32) -> io::Result<SmallDiskOf> {
        let of = SmallDiskOf(self.member(member));
        if of.0.disk.is_none() {
            return Err(io::Error::other("it has no disk of its own"));
        }
        Ok(of)
    }

    /// The loopback port at which a member listens for failpoints, if it was told to.
    pub fn failpoint_port(&self, member: u32) -> Option<u16> {
        self.member(member).place.failpoints
    }

    /// Starts a member's process, first or again.
    pub fn launch(&self, index: u32) -> Result<(), ClusterError> {
        let program = &self.recipe.as_ref().expect("a member that we started").program;
        self.launch_from(program, index)
    }

    /// The same, from another executable.
    pub fn launch_from(&self, program: &Path, index: u32) -> Result<(), ClusterError> {
        let member = self.member(index);
        member.may_end.store(false, Ordering::Relaxed);
        let log = File::options().create(true).append(true).open(&member.log);
        let log = log.map_err(io_error(format!("{}", member.log.display())))?;
        let mut words = member.disk.as_ref().map(SmallDisk::enter).unwrap_or_default();
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(&member.args);
        if let Some(port) = member.place.failpoints {
            command.env(failpoints::VARIABLE, format!("127.0.0.1:{port}"));
        }
        let started = process::spawn(command, log);
        let started = started.map_err(io_error(format!("cannot start m{index}")))?;
        self.network.set_pid(index, Some(started.pid()));
        *member.running.lock().expect("no holder panics") = Some(started);
        Ok(())
    }

    /// Ends a member's process at once, and waits until it is gone. It is gone too when the error
    /// says that it had ended by itself before.
    pub async fn kill(&self, index: u32) -> Result<(), ClusterError> {
        let member = self.member(index);
        let Some(process) = self.take_process(index) else { return Ok(()) };
        let killed = process.kill().await.map_err(io_error(format!("cannot kill m{index}")));
        killed?.map_or(Ok(()), |before| Err(member.ended(index, before)))
    }

    /// Asks a member's process to end, and waits until it has. One that ended by itself before,
    /// or that goes on, is an error; the latter is killed.
    pub async fn stop_gracefully(&self, index: u32) -> Result<(), ClusterError> {
        let member = self.member(index);
        let Some(mut process) = self.take_process(index) else { return Ok(()) };
        if let Some(before) = process.exit_status() {
            return Err(member.ended(index, before));
        }
        process.signal(Signal::SIGTERM).map_err(io_error(format!("cannot signal m{index}")))?;
        if tokio::time::timeout(STOP_MAX, process.ended()).await.is_err() {
            let why = "was asked to stop";
            return Err(ClusterError::NotEnded { member: index, why, waited: STOP_MAX });
        }
        // etcd ends itself with the signal that it got.
        let is_well = |status: &ExitStatus| {
            status.success()
                || status.signal().is_some_and(|s| Signal::try_from(s) == Ok(Signal::SIGTERM))
        };
        let status = process.exit_status().filter(|status| !is_well(status));
        status.map_or(Ok(()), |status| Err(member.ended(index, status)))
    }

    /// From now on, until it is started again, it is no failure if the member ends.
    pub fn may_end(&self, index: u32) {
        self.member(index).may_end.store(true, Ordering::Relaxed);
    }

    /// From now on it is a failure again if the member ends.
    pub fn must_stay(&self, index: u32) {
        self.member(index).may_end.store(false, Ordering::Relaxed);
    }

    /// Whether the member's process is not there, or has ended.
    pub fn has_ended(&self, index: u32) -> bool {
        let member = self.member(index);
        let running = member.running.lock().expect("no holder panics");
        running.as_ref().is_none_or(|process| process.exit_status().is_some())
    }

    /// Waits until a member ends by itself, badly, as it must, and gives what it said since `from`,
    /// see [`Cluster::said`]. One that goes on is killed.
    pub async fn ends(
        &self,
        index: u32,
        why: &'static str,
        from: u64,
        waited: Duration,
    ) -> Result<String, ClusterError> {
        let Some(mut process) = self.take_process(index) else {
            let reason = format!("it {why}, and did not run");
            return Err(ClusterError::NotDone { member: index, reason });
        };
        if tokio::time::timeout(waited, process.ended()).await.is_err() {
            process.kill().await.map_err(io_error(format!("cannot kill m{index}")))?;
            return Err(ClusterError::NotEnded { member: index, why, waited });
        }
        match process.exit_status() {
            Some(status) if !status.success() => self.said_since(index, from),
            status => {
                let reason = format!("it {why}, and ended as if all were well: {status:?}");
                Err(ClusterError::NotDone { member: index, reason })
            }
        }
    }

    /// Waits until a removed member's process has ended, if it runs. One that goes on is killed.
    async fn leave(&self, index: u32, waited: Duration) -> Result<(), ClusterError> {
        let member = self.member(index);
        let Some(mut process) = self.take_process(index) else { return Ok(()) };
        if tokio::time::timeout(waited, process.ended()).await.is_err() {
            return Err(ClusterError::NotEnded { member: index, why: "was removed", waited });
        }
        let status = process.exit_status().filter(|status| !status.success());
        status.map_or(Ok(()), |status| Err(member.ended(index, status)))
    }

    fn take_process(&self, index: u32) -> Option<Process> {
        let taken = self.member(index).running.lock().expect("no holder panics").take();
        self.network.set_pid(index, None);
        taken
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
        for (index, member) in (0..).zip(self.everyone()) {
            if member.may_end.load(Ordering::Relaxed) {
                continue;
            }
            let running = member.running.lock().expect("no holder panics");
            if let Some(status) = running.as_ref().and_then(Process::exit_status) {
                ended.push(member.ended(index, status));
            }
        }
        ended
    }

    /// Waits until a member ends by itself.
    pub async fn first_to_end(&self) -> ClusterError {
        loop {
            if let Some(ended) = self.ended_by_themselves().into_iter().next() {
                return ended;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The executable of the members that we started.
    pub fn program(&self) -> Option<&Path> {
        self.recipe.as_ref().map(|recipe| recipe.program.as_path())
    }

    /// CPU seconds that the running members have used since their start; `None` where the system
    /// does not tell.
    pub fn cpu_seconds(&self) -> Option<f64> {
        self.recipe.as_ref()?;
        let used = self.everyone().into_iter().map(|member| {
            let running = member.running.lock().expect("no holder panics");
            running.as_ref().map_or(Some(0.0), Process::cpu_seconds)
        });
        used.sum()
    }

    /// Ends every member that we started.
    pub async fn stop(&self) {
        for index in 0..self.next() {
            // A member that cannot be killed is gone already; whoever wants to know who ended by
            // itself has asked before.
            drop(self.kill(index).await);
        }
    }

    fn everyone(&self) -> Vec<Arc<Member>> {
        self.members.lock().expect("no holder panics").clone()
    }

    fn member(&self, index: u32) -> Arc<Member> {
        let members = self.members.lock().expect("no holder panics");
        Arc::clone(&members[usize::try_from(index).expect("members are few")])
    }
}

impl Recipe {
    fn member(
        &self,
        member: u32,
        place: Place,
        urls: &[(u32, String)],
        state: InitialState,
    ) -> Result<Member, ClusterError> {
        let data = self.folder.join("data").join(format!("m{member}"));
        let log = self.folder.join("logs").join(format!("m{member}.log"));
        let addresses = Addresses {
            client: place.client,
            peer: place.peer,
            advertised_peer: place.proxy.port(),
            initial: urls,
            state,
            token: self.token,
        };
        let args = flags::of(&self.spec, member, &data, &addresses);
        let disk = self.spec.disk.as_ref().map(|bytes| {
            std::fs::create_dir_all(&data)?;
            SmallDisk::new(&data, *bytes.get_ref())
        });
        let disk = disk.transpose().map_err(io_error(format!("no disk for m{member}")))?;
        let (running, may_end) = (Mutex::default(), AtomicBool::default());
        Ok(Member { place, args, data, log, disk, running, may_end })
    }
}

/// The disk that is a member's own.
#[derive(Debug)]
pub struct SmallDiskOf(Arc<Member>);

impl std::ops::Deref for SmallDiskOf {
    type Target = SmallDisk;

    fn deref(&self) -> &SmallDisk {
        self.0.disk.as_ref().expect("it was looked for")
    }
}

/// Free ports and proxies for each of these members. The ports in `taken` belong to members that
/// may be down just now.
async fn places(
    network: &Network,
    needs: Needs,
    members: std::ops::Range<u32>,
    taken: &[u16],
) -> Result<Vec<Place>, ClusterError> {
    let ports = ports::free(3 * members.len(), taken).map_err(io_error("no free ports"))?;
    let mut places = Vec::new();
    for (member, ports) in members.zip(ports.chunks_exact(3)) {
        let (client, peer) = (ports[0], ports[1]);
        let listen = async |serves, port| {
            let proxy = Proxy::start(network, serves, member, port).await;
            proxy.map_err(io_error("cannot listen on the loopback"))
        };
        let proxy = listen(Serves::Peers, peer).await?;
        let client_proxy =
            if needs.client_links { Some(listen(Serves::Clients, client).await?) } else { None };
        let failpoints = needs.failpoints.then_some(ports[2]);
        places.push(Place { client, peer, proxy, client_proxy, failpoints });
    }
    Ok(places)
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
        for member in cluster.everyone() {
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
