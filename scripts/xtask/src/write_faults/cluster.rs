//! Members with failpoints, of which one is made to fail.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail, ensure};
use tokio::runtime::Runtime;

use super::Plan;
use super::full_disk::SmallDisk;
use super::load::Write;
use crate::client::Client;
use crate::server::{Addresses, Options, Scratch, Server, System};

/// How long it may take to read everything: some hundred megabytes where values are long.
const READ_TIMEOUT: Duration = Duration::from_mins(2);

/// How long it may take until what is no longer needed is removed.
const REMOVED_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two looks.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// Who fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The member that leads.
    Leader,
    /// Another one.
    Follower,
}

impl Role {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Leader => "the leader",
            Role::Follower => "a follower",
        }
    }
}

/// What came of a case.
pub(super) struct Seen {
    /// Of the member.
    pub(super) end: String,
    /// Acknowledged, and there.
    pub(super) writes: usize,
}

/// A place, and what is to happen there, in gofail's words.
pub(super) type Terms<'a> = (&'a str, String);

/// The members.
pub(super) struct Cluster<'a> {
    plan: &'a Plan<'a>,
    folder: Scratch,
    addresses: Vec<Addresses>,
    gofail: Vec<String>,
    servers: Vec<Option<Server>>,
    /// Of the first member.
    disk: Option<&'a SmallDisk>,
}

impl<'a> Cluster<'a> {
    /// Starts so many members, the first of them on a disk of its own if one is given, and waits
    /// until they serve.
    pub(super) fn start(
        plan: &'a Plan<'a>,
        members: usize,
        disk: Option<&'a SmallDisk>,
    ) -> Result<Self> {
        // A pair of ports each; the failpoints take the first of theirs.
        let mut addresses = Addresses::several(2 * members)?;
        let gofail = addresses.split_off(members);
        let gofail = gofail.iter().map(Addresses::client_address).collect();
        let servers = (0..members).map(|_| None).collect();
        let folder = Scratch::new("write-faults")?;
        let mut cluster = Self { plan, folder, addresses, gofail, servers, disk };
        for position in 0..members {
            cluster.spawn(position, None)?;
        }
        cluster.ready()?;
        Ok(cluster)
    }

    /// Where clients connect to.
    pub(super) fn urls(&self) -> Vec<String> {
        self.addresses.iter().map(|it| format!("http://{}", it.client_address())).collect()
    }

    /// Starts a member, with something that is to happen to it from the start, and does not wait.
    pub(super) fn spawn(&mut self, position: usize, fault: Option<&Terms<'_>>) -> Result<()> {
        let mut options = Options::new(System::Rusd, self.plan.binary)?
            .member_of(&self.addresses, position)
            .data_dir(&self.data_dir(position))
            .variable("GOFAIL_HTTP", &self.gofail[position])
            .flag("--backend", self.plan.backend)
            .flag("--snapshot-count", "100")
            .flag("--snapshot-catchup-entries", "10")
            .flag("--max-wals", "1");
        if let Some((place, terms)) = fault {
            options = options.variable("GOFAIL_FAILPOINTS", &format!("{place}={terms}"));
        }
        if let Some(disk) = self.disk.filter(|_| position == 0) {
            options = options.through(disk.inside());
        }
        self.servers[position] = Some(Server::spawn(&options)?);
        Ok(())
    }

    /// Waits until every member serves.
    pub(super) fn ready(&mut self) -> Result<()> {
        self.servers.iter_mut().flatten().try_for_each(Server::wait_until_ready)
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self, position: usize) -> Result<()> {
        self.servers[position].take().context("it runs")?.kill()
    }

    /// A member of this role.
    pub(super) fn find(&self, role: Role) -> Result<usize> {
        let runtime = Runtime::new()?;
        for (position, url) in self.urls().iter().enumerate() {
            let leads =
                runtime.block_on(async { Client::new(url)?.leads().await.context("status") })?;
            if leads == (role == Role::Leader) {
                return Ok(position);
            }
        }
        bail!("there is no member of that role")
    }

    /// Sets what is to happen to a member that runs.
    pub(super) fn set(&self, position: usize, (place, terms): &Terms<'_>) -> Result<()> {
        let answer = self.ask(position, "PUT", place, terms)?;
        ensure!(answer.starts_with("HTTP/1.1 204"), "{place} cannot be set: {answer}");
        Ok(())
    }

    /// A place does nothing more.
    pub(super) fn let_go(&self, position: usize, place: &str) -> Result<()> {
        let answer = self.ask(position, "DELETE", place, "")?;
        ensure!(answer.starts_with("HTTP/1.1 204"), "{place} cannot be let go: {answer}");
        Ok(())
    }

    /// How often a place did something, or was passed; never before the member listens.
    pub(super) fn count(&self, position: usize, place: &str) -> Result<usize> {
        let Ok(answer) = self.ask(position, "GET", &format!("{place}/count"), "") else {
            return Ok(0);
        };
        let (_, count) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        count.parse().with_context(|| answer.clone())
    }

    /// A member has not ended.
    pub(super) fn must_run(&mut self, position: usize) -> Result<()> {
        let server = self.servers[position].as_mut().context("it was started")?;
        ensure!(!server.has_ended()?, "it ends\n{}", server.log_tail());
        Ok(())
    }

    /// Whether a member's log has these words.
    pub(super) fn has_said(&self, position: usize, words: &str) -> bool {
        self.servers[position].as_ref().is_some_and(|server| server.has_said(words))
    }

    /// Waits until a member's engine has so many generations at most, of which one counts.
    pub(super) fn must_come_down_to(&self, most: usize, position: usize) -> Result<()> {
        let deadline = Instant::now() + REMOVED_TIMEOUT;
        loop {
            let numbers = self.generations(position)?;
            if numbers.len() <= most {
                return Ok(());
            }
            let member = position + 1;
            ensure!(Instant::now() < deadline, "generations {numbers:?} of m{member} are left");
            thread::sleep(POLL);
        }
    }

    /// The generations of a member's engine.
    fn generations(&self, position: usize) -> Result<Vec<u64>> {
        let folder = self.data_dir(position).join("member/engine");
        let mut numbers = Vec::new();
        for entry in fs::read_dir(folder)? {
            numbers.extend(entry?.file_name().to_str().and_then(|it| it.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    /// The places that a member has.
    pub(super) fn places(&self) -> Result<Vec<String>> {
        let answer = self.ask(0, "GET", "", "")?;
        let (_, list) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        Ok(list.lines().filter_map(|line| line.split('=').next()).map(str::to_owned).collect())
    }

    /// Asks by gofail's protocol; the whole answer.
    fn ask(&self, position: usize, method: &str, path: &str, body: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.gofail[position])?;
        let length = body.len();
        write!(stream, "{method} /{path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Waits until a member has ended, which must be with this code, and returns what is left of it.
    pub(super) fn ended(
        &mut self,
        position: usize,
        code: i32,
        patience: Duration,
    ) -> Result<Server> {
        let mut server = self.servers[position].take().context("it runs")?;
        let status = server.wait_until_ended(patience).context("the place is not reached")?;
        let is_right = status.code() == Some(code);
        ensure!(is_right, "it ends with {status}, not code {code}\n{}", server.log_tail());
        Ok(server)
    }

    /// Every acknowledged write is on every member, and their stores are equal.
    pub(super) fn must_hold(&self, writes: &[Write]) -> Result<()> {
        Runtime::new()?.block_on(async {
            let mut hashes = Vec::new();
            for url in self.urls() {
                let mut client = Client::with_timeout(&url, READ_TIMEOUT)?;
                let (revision, found) = client.all().await.context("cannot read everything")?;
                let found: BTreeMap<&[u8], (&[u8], i64)> = found
                    .iter()
                    .map(|kv| (&kv.key[..], (&kv.value[..], kv.mod_revision)))
                    .collect();
                for write in writes {
                    let seen = found.get(&write.key[..]);
                    let wanted = (&write.value[..], write.revision);
                    ensure!(
                        seen == Some(&wanted),
                        "LOST on {url}: {} of revision {}",
                        write.key.escape_ascii(),
                        write.revision
                    );
                }
                hashes.push((revision, client.hash_at(revision).await?));
            }
            ensure!(hashes.iter().all(|it| *it == hashes[0]), "the members differ: {hashes:?}");
            Ok(())
        })
    }

    /// Stops all, and lets each folder be verified.
    pub(super) fn stop_and_verify(&mut self) -> Result<()> {
        for server in self.servers.iter_mut().filter_map(Option::take) {
            let status = server.stop()?;
            ensure!(status.success(), "SIGTERM ends a member with {status}");
        }
        for position in 0..self.servers.len() {
            let mut words = match self.disk.filter(|_| position == 0) {
                Some(disk) => disk.inside(),
                None => Vec::new(),
            };
            words.extend([self.plan.binary.into(), "verify".into()]);
            words.push(self.data_dir(position).into());
            let output = Command::new(&words[0]).args(&words[1..]).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "rusd verify ends with {}: {said}", output.status);
        }
        Ok(())
    }

    /// Ends all, and keeps their folders for whoever wants to know why.
    pub(super) fn keep(mut self, error: Error) -> Error {
        self.servers.clear();
        self.folder.keep(error)
    }

    fn data_dir(&self, position: usize) -> PathBuf {
        match self.disk.filter(|_| position == 0) {
            Some(disk) => disk.folder().join("data"),
            None => self.folder.path().join(format!("m{}", position + 1)),
        }
    }
}
