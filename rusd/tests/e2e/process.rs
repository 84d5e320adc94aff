//! Starts and stops a member.

use std::collections::hash_map::RandomState;
use std::fmt::Display;
use std::hash::BuildHasher as _;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::watch_client::WatchClient;
use rusd_proto::etcdserverpb::{DeleteRangeRequest, PutRequest};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Channel;

/// How long a member may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a cluster may take for what it does by itself, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Asks a member again and again, until what it does by itself is done.
pub(crate) struct Polling {
    since: Instant,
}

impl Polling {
    pub(crate) fn start() -> Polling {
        Polling { since: Instant::now() }
    }

    /// Before asking again; `what` is not so yet. There is no event to wait for over the API, and
    /// without a pause the asking would keep the member from its work. How long it is does not
    /// matter.
    pub(crate) async fn again(&self, what: impl Display) {
        assert!(self.since.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A single member; killed when dropped.
pub(crate) struct Member {
    pub(crate) endpoint: String,
    /// Where its peers reach it; nothing for a member that is not ours.
    pub(crate) peer: String,
    process: Option<(Child, TempDir)>,
    /// Other flags that a single member is started with again.
    flags: Vec<String>,
}

/// Ports to choose from: below those that the system takes for outgoing connections, one of which
/// could be taken while a member is not yet there, and below those of the project's tools.
const PORTS: Range<u16> = 8_000..14_000;

/// The next port to look at; begun where other processes seldom do.
static NEXT_PORT: LazyLock<AtomicU64> =
    LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(std::process::id()) >> 1));

/// A port that was free a moment ago, and that nobody else in this process is given.
pub(crate) fn free_port() -> u16 {
    std::iter::repeat_with(|| {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed) % u64::from(PORTS.end - PORTS.start);
        PORTS.start + u16::try_from(step).unwrap()
    })
    .take(PORTS.len())
    .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
    .expect("a port is free")
}

/// Which URLs are secured.
#[derive(Clone, Copy)]
pub(crate) enum Scheme {
    Http,
    /// Of clients.
    Https,
    /// Of peers.
    HttpsPeers,
}

impl Scheme {
    /// A URL for clients and one for peers.
    fn urls(self) -> [String; 2] {
        let schemes = match self {
            Scheme::Http => ["http", "http"],
            Scheme::Https => ["https", "http"],
            Scheme::HttpsPeers => ["http", "https"],
        };
        schemes.map(|scheme| format!("{scheme}://127.0.0.1:{}", free_port()))
    }
}

impl Member {
    /// Starts a member with the flags it needs and those given, and waits until it is ready.
    pub(crate) fn start(flags: &[&str]) -> Member {
        if let Ok(endpoint) = std::env::var("RUSD_E2E_ENDPOINT") {
            return Member { endpoint, process: None, peer: String::new(), flags: Vec::new() };
        }
        Member::start_at(env!("CARGO_BIN_EXE_rusd"), Scheme::Http, flags)
    }

    /// The same of `program`, with URLs of `scheme`.
    pub(crate) fn start_at(program: &str, scheme: Scheme, flags: &[&str]) -> Member {
        Member::start_command(Command::new(program), scheme, flags)
    }

    /// Starts a member with these variables.
    #[cfg(feature = "failpoints")]
    pub(crate) fn start_with_env(variables: &[(&str, &str)]) -> Member {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rusd"));
        command.envs(variables.iter().copied());
        Member::start_command(command, Scheme::Http, &[])
    }

    /// Waits for the end of a member of our own, which comes by itself.
    #[cfg(feature = "failpoints")]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let (child, _) = self.process.as_mut().expect("only a member of our own has a process");
        child.wait().unwrap()
    }

    fn start_command(command: Command, scheme: Scheme, flags: &[&str]) -> Member {
        let (member, mut log) = Member::spawn(command, scheme, flags);
        // What it logs later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        member
    }

    /// Starts a member whose log nobody reads once it is ready: each further line is a write error.
    pub(crate) fn start_unheard() -> Member {
        Member::spawn(Command::new(env!("CARGO_BIN_EXE_rusd")), Scheme::Http, &[]).0
    }

    /// Starts a member, waits until it is ready, and gives the rest of its log.
    fn spawn(command: Command, scheme: Scheme, flags: &[&str]) -> (Member, BufReader<ChildStderr>) {
        let dir = TempDir::new().unwrap();
        let [endpoint, peer] = scheme.urls();
        // Said aloud for etcd.
        let own = format!("default={peer}");
        let flags = [&["--initial-cluster", &own], flags].concat();
        let (child, log) = started(command, &dir, [&endpoint, &peer], &flags);
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        (Member { endpoint, peer, process: Some((child, dir)), flags }, log)
    }

    /// Kills a single member of our own, and starts it again over what it left behind.
    pub(crate) fn kill_and_restart(&mut self) {
        let (mut child, dir) = self.process.take().expect("only a member of our own is killed");
        child.kill().unwrap();
        child.wait().unwrap();
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let program = Command::new(env!("CARGO_BIN_EXE_rusd"));
        let (child, mut log) = started(program, &dir, [&self.endpoint, &self.peer], &flags);
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        self.process = Some((child, dir));
    }

    /// Where the member keeps its data. Panics for a member that is not ours.
    pub(crate) fn data_dir(&self) -> PathBuf {
        let (_, dir) = self.process.as_ref().expect("only a member of our own has data here");
        dir.path().join("data")
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.endpoint.clone()).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel().await)
    }

    pub(crate) async fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel().await)
    }

    /// Sends a signal to a member of our own.
    pub(crate) fn signal(&self, signal: Signal) {
        let (child, _) = self.process.as_ref().expect("only a member of our own has a process");
        kill(pid_of(child), signal).unwrap();
    }

    /// Stops one of the member's threads until what is returned is dropped.
    pub(crate) fn freeze(&self, thread: &str) -> Frozen {
        let (child, _) = self.process.as_ref().expect("only a member of our own has threads here");
        let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
        let is_meant = |task: &PathBuf| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == thread)
        };
        let task = tasks.map(|task| task.unwrap().path()).find(is_meant).expect("it has it");
        let id = task.file_name().unwrap().to_str().unwrap().parse().unwrap();
        Frozen::new(Pid::from_raw(id))
    }

    /// Asks the member to stop, and waits until it has. `None` if it is not ours to stop.
    pub(crate) fn terminate(&mut self) -> Option<ExitStatus> {
        let (child, _) = self.process.as_mut()?;
        let pid = pid_of(child);
        kill(pid, Signal::SIGTERM).unwrap();
        std::thread::scope(|scope| {
            let (ended, wait) = crossbeam_channel::bounded(1);
            scope.spawn(move || ended.send(child.wait().unwrap()));
            let status = wait.recv_timeout(STOP_TIMEOUT);
            if status.is_err() {
                kill(pid, Signal::SIGKILL).unwrap();
            }
            Some(status.expect("a member stops when it is asked to"))
        })
    }
}

/// A thread of a member that stands still until this is dropped. Linux lets a parent do that to
/// one thread, as a debugger does.
pub(crate) struct Frozen {
    tracer: Option<(crossbeam_channel::Sender<()>, std::thread::JoinHandle<()>)>,
}

impl Frozen {
    fn new(thread: Pid) -> Frozen {
        let (thaw, thawed) = crossbeam_channel::bounded(0);
        let (frozen, is_frozen) = crossbeam_channel::bounded(1);
        // Only the thread that stopped it may let it go.
        let tracer = std::thread::spawn(move || {
            ptrace::seize(thread, ptrace::Options::empty()).unwrap();
            ptrace::interrupt(thread).unwrap();
            waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
            frozen.send(()).unwrap();
            // Nothing is sent: the other end is dropped.
            thawed.recv().ok();
            ptrace::detach(thread, None).unwrap();
        });
        is_frozen.recv().expect("the thread can be stopped");
        Frozen { tracer: Some((thaw, tracer)) }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some((thaw, tracer)) = self.tracer.take() {
            drop(thaw);
            // It says itself why it failed.
            drop(tracer.join());
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.process {
            // It may have ended before.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

/// Starts a member of `program` at these client and peer addresses, waits until it is ready, and
/// gives the rest of its log.
fn started(
    mut command: Command,
    dir: &TempDir,
    [endpoint, peer]: [&str; 2],
    flags: &[&str],
) -> (Child, BufReader<ChildStderr>) {
    let mut child = command
        .arg("--data-dir")
        .arg(dir.path().join("data"))
        .args(["--listen-client-urls", endpoint, "--advertise-client-urls", endpoint])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(flags)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    let mut line = 0;
    while !told[line..].contains("ready to serve client requests") {
        line = told.len();
        let read = log.read_line(&mut told).unwrap();
        assert_ne!(read, 0, "the member ended before it was ready:\n{told}");
    }
    (child, log)
}

/// Starts three members of `program` and waits until each is ready.
pub(crate) fn start_three(program: &str, flags: &[&str]) -> [Member; 3] {
    start_three_at(program, Scheme::Http, flags)
}

/// The same, with URLs of `scheme`.
pub(crate) fn start_three_at(program: &str, scheme: Scheme, flags: &[&str]) -> [Member; 3] {
    let addresses = [0, 1, 2].map(|number| (format!("m{number}"), scheme.urls()));
    let cluster = addresses.each_ref().map(|(name, [_, peer])| format!("{name}={peer}")).join(",");
    // A member is ready when it has a leader, so they are started together.
    std::thread::scope(|scope| {
        let starting = addresses.map(|(name, [endpoint, peer])| {
            let cluster = &cluster;
            scope.spawn(move || {
                let dir = TempDir::new().unwrap();
                let flags = [&["--name", &name, "--initial-cluster", cluster], flags].concat();
                let program = Command::new(program);
                let (child, mut log) = started(program, &dir, [&endpoint, &peer], &flags);
                std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
                Member { endpoint, peer, process: Some((child, dir)), flags: Vec::new() }
            })
        });
        starting.map(|starting| starting.join().unwrap())
    })
}

/// Status line and body of what a member answers to a plain HTTP `GET` with more headers and a body.
pub(crate) async fn http(url: &str, path: &str, headers: &[&str], body: &str) -> (String, String) {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = format!("Content-Length: {}", body.len());
    let host = format!("Host: {address}");
    let head = [&[&host, "Connection: close", &length[..]], headers].concat().join("\r\n");
    let request = format!("GET {path} HTTP/1.1\r\n{head}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// Puts a key and returns the revision.
pub(crate) async fn put(kv: &mut KvClient<Channel>, key: &str, value: &str) -> i64 {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    let response = kv.put(PutRequest { key, value, ..PutRequest::default() }).await.unwrap();
    response.into_inner().header.unwrap().revision
}

/// Deletes a key and returns the revision.
pub(crate) async fn delete(kv: &mut KvClient<Channel>, key: &str) -> i64 {
    let key = key.to_owned().into();
    let request = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
    kv.delete_range(request).await.unwrap().into_inner().header.unwrap().revision
}
