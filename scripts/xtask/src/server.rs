//! Server processes, of rusd or of etcd, as a verb needs them: fresh folder, free ports, ready.
//!
//! Both take the same flags, so nothing here differs by system but the name. A server that is
//! dropped is killed, and its own folder is removed. It ends with us however we end: see [`guard`].

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{guard, workspace};

/// How long a server may take until it serves.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a server may take to stop on SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Ports to choose from: below loadgen's, which begin at 20,000.
const FIRST_PORT: u16 = 14_000;
const PORTS: u16 = 6000;

/// Pause between two looks at something that another process does.
const POLL: Duration = Duration::from_millis(20);

/// Which implementation a server is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum System {
    /// Ours.
    Rusd,
    /// The one to compare with.
    Etcd,
}

impl System {
    /// Its name in tables and folders.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rusd => "rusd",
            Self::Etcd => "etcd",
        }
    }
}

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    client: SocketAddr,
    peer: SocketAddr,
}

impl Addresses {
    /// Two ports of loopback that nobody listens on now.
    pub(crate) fn free() -> Result<Self> {
        Ok(Self::several(1)?.remove(0))
    }

    /// The client address, without a scheme.
    pub(crate) fn client_address(&self) -> String {
        self.client.to_string()
    }

    /// Where other members reach it.
    pub(crate) fn peer_url(&self) -> String {
        format!("http://{}", self.peer)
    }

    /// The same for several members.
    pub(crate) fn several(members: usize) -> Result<Vec<Self>> {
        // All are held until all are known, so that they differ.
        let held: Vec<_> =
            (0..members).map(|_| Ok((listen()?, listen()?))).collect::<Result<_>>()?;
        held.iter()
            .map(|(client, peer)| {
                Ok(Self { client: client.local_addr()?, peer: peer.local_addr()? })
            })
            .collect()
    }
}

/// The last ports that servers of ours were given: one may be down for a while, and come back to its
/// own.
static GIVEN: Mutex<VecDeque<u16>> = Mutex::new(VecDeque::new());
const GIVEN_MAX: usize = 500;

/// Listens on a port below those that the system takes for outgoing connections: one of these
/// could be taken while a killed server is down. Where one looks first differs between calls.
fn listen() -> Result<TcpListener> {
    let start = RandomState::new().hash_one(std::process::id()) % u64::from(PORTS);
    let start = u16::try_from(start)?;
    let mut given = GIVEN.lock().expect("nothing panics with it");
    (0..PORTS)
        .map(|step| FIRST_PORT + (start + step) % PORTS)
        .filter(|port| !given.contains(port))
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok().map(|it| (port, it)))
        .map(|(port, listener)| {
            given.push_back(port);
            if given.len() > GIVEN_MAX {
                given.pop_front();
            }
            listener
        })
        .context("no free port on loopback")
}

/// How to start a server.
pub(crate) struct Options {
    system: System,
    binary: PathBuf,
    data_dir: Option<PathBuf>,
    /// Of the whole cluster.
    members: Vec<Addresses>,
    /// Which of them it is.
    position: usize,
    core: Option<usize>,
    through: Vec<OsString>,
    variables: Vec<(String, String)>,
    is_https: bool,
    flags: Vec<String>,
}

impl Options {
    /// A single member with etcd's defaults, on free ports.
    pub(crate) fn new(system: System, binary: &Path) -> Result<Self> {
        Ok(Self {
            system,
            binary: binary.to_path_buf(),
            data_dir: None,
            members: vec![Addresses::free()?],
            position: 0,
            core: None,
            through: Vec::new(),
            variables: Vec::new(),
            is_https: false,
            flags: Vec::new(),
        })
    }

    /// The same ports as another server, which has ended: ids are derived from them.
    pub(crate) fn addresses(mut self, addresses: Addresses) -> Self {
        self.members = vec![addresses];
        self
    }

    /// One of several members, by its position.
    pub(crate) fn member_of(mut self, members: &[Addresses], position: usize) -> Self {
        self.members = members.to_vec();
        self.position = position;
        self
    }

    /// A folder that outlives the server.
    pub(crate) fn data_dir(mut self, folder: &Path) -> Self {
        self.data_dir = Some(folder.to_path_buf());
        self
    }

    /// Clients come over secured links; the flags must say with which certificate.
    pub(crate) fn https(mut self, is_https: bool) -> Self {
        self.is_https = is_https;
        self
    }

    /// Keeps the server on one core.
    pub(crate) fn core(mut self, core: usize) -> Self {
        self.core = Some(core);
        self
    }

    /// The flags that its ids come from, for a restore that it is to be started on.
    pub(crate) fn founding_flags(&self) -> [String; 3] {
        let peer = self.members[self.position].peer_url();
        [
            format!("--name={}", member_name(self.position)),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", initial_cluster(&self.members)),
        ]
    }

    /// Starts it by a program that becomes it; its words come before those of the server.
    pub(crate) fn through(mut self, words: Vec<OsString>) -> Self {
        self.through = words;
        self
    }

    /// A variable of its environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A further flag.
    pub(crate) fn flag(mut self, name: &str, value: &str) -> Self {
        // As one word, which is the only way to give a switch of etcd's a value.
        self.flags.push(format!("{name}={value}"));
        self
    }
}

/// A server that serves.
pub(crate) struct Server {
    child: Child,
    system: System,
    client: SocketAddr,
    is_https: bool,
    log: PathBuf,
    scratch: Option<Scratch>,
}

impl Server {
    /// Starts it and waits until it answers `/health`.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let mut server = Self::spawn(options)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(options: &Options) -> Result<Self> {
        let scratch = Scratch::new(options.system.name())?;
        let data_dir = options.data_dir.clone().unwrap_or_else(|| scratch.path().join("data"));
        let log = scratch.path().join("log");
        let mut command = command(options, &data_dir);
        let out = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {}", options.binary.display()))?;
        let client = options.members[options.position].client;
        let (system, is_https) = (options.system, options.is_https);
        Ok(Self { child, system, client, is_https, log, scratch: Some(scratch) })
    }

    /// Where clients connect to.
    pub(crate) fn client_url(&self) -> String {
        format!("{}://{}", scheme(self.is_https), self.client)
    }

    /// The client address without a scheme.
    pub(crate) fn client_address(&self) -> String {
        self.client.to_string()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Answer to `GET path` on the client port.
    pub(crate) fn http_get(&self, path: &str) -> Result<String> {
        http_get(self.client, path)
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and the exit status.
    pub(crate) fn stop(mut self) -> Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).context("a process id that is no pid_t")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        self.wait_until_ended(STOP_TIMEOUT).context("after SIGTERM")
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_until_ended(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} does not end\n{}", self.system.name(), self.log_tail());
            }
            thread::sleep(POLL);
        }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Whether its log has these words.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.log_text().contains(words)
    }

    /// Whether a line of its log has all of these.
    pub(crate) fn has_said_at_once(&self, words: &[&str]) -> bool {
        self.log_text().lines().any(|line| words.iter().all(|words| line.contains(words)))
    }

    /// What it has logged.
    fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Last lines of its log, for an error message.
    pub(crate) fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn is_ready(&self) -> bool {
        if self.is_https {
            // We do not speak TLS; it says so itself.
            return self.has_said("ready to serve client requests");
        }
        self.http_get("/health").is_ok_and(|body| body.contains("true"))
    }

    /// Waits until it answers `/health`.
    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}\n{}", self.system.name(), self.log_tail());
            }
            if self.is_ready() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} does not become ready\n{}", self.system.name(), self.log_tail());
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
        self.scratch.take();
    }
}

/// A folder under `target/scratch` that is removed when dropped.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A fresh, empty folder.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let parent = workspace::target().join("scratch");
        fs::create_dir_all(&parent)?;
        for number in 0_u32.. {
            let path = parent.join(format!("{name}-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).context("cannot make a scratch folder"),
            }
        }
        bail!("too many scratch folders in {}", parent.display())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps it, and adds to an error where: whoever reads that wants to look at it.
    pub(crate) fn keep(self, error: Error) -> Error {
        let name = self.path.file_name().unwrap_or_default().display();
        let folder_of = |number: u32| workspace::target().join(format!("{name}-failed-{number}"));
        // There may be others of that name.
        let kept = (0..u32::MAX).map(folder_of).find(|it| !it.exists()).expect("a free number");
        error.context(match fs::rename(&self.path, &kept) {
            Ok(()) => format!("kept in {}", kept.display()),
            Err(error) => format!("{} cannot be kept: {error}", self.path.display()),
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok();
    }
}

fn command(options: &Options, data_dir: &Path) -> Command {
    let pinned = options.core.filter(|_| workspace::is_installed("taskset"));
    let pinned = pinned.map(|core| ["taskset".into(), "-c".into(), core.to_string().into()]);
    let mut words = pinned.into_iter().flatten().chain(options.through.iter().cloned());
    let mut command = match words.next() {
        Some(first) => {
            let mut command = guard::command(Path::new(&first));
            command.args(words).arg(&options.binary);
            command
        }
        None => guard::command(&options.binary),
    };
    command.envs(options.variables.iter().map(|(name, value)| (name, value)));
    let own = options.members[options.position];
    let client = format!("{}://{}", scheme(options.is_https), own.client);
    let peer = own.peer_url();
    command
        .args(["--name", &member_name(options.position), "--data-dir"])
        .arg(data_dir)
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &initial_cluster(&options.members)])
        .args(&options.flags);
    command
}

fn member_name(position: usize) -> String {
    format!("m{}", position + 1)
}

fn initial_cluster(members: &[Addresses]) -> String {
    let member = |(position, member): (usize, &Addresses)| {
        format!("{}={}", member_name(position), member.peer_url())
    };
    members.iter().enumerate().map(member).collect::<Vec<_>>().join(",")
}

fn scheme(is_https: bool) -> &'static str {
    if is_https { "https" } else { "http" }
}

/// `GET path` by HTTP/1.0, whose answers are never in chunks; the body of a 200.
fn http_get(address: SocketAddr, path: &str) -> Result<String> {
    let timeout = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        bail!("GET {path} answers {status}");
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_are_free_differ_and_are_not_those_of_outgoing_connections() {
        let members = Addresses::several(50).unwrap();
        let addresses: BTreeSet<SocketAddr> =
            members.iter().flat_map(|member| [member.client, member.peer]).collect();
        assert_eq!(addresses.len(), 100);
        for address in addresses {
            assert!((FIRST_PORT..FIRST_PORT + PORTS).contains(&address.port()), "{address}");
        }
    }
}
