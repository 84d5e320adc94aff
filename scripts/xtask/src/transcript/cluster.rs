//! The servers that a script runs against: those of the start, and those that join them later.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::script::Script;
use crate::server::{Addresses, Options, Server, System};

/// With several members the first one leads at the start: it campaigns long before the others.
const HEARTBEAT_MS: &str = "100";
const ELECTION_MS: [&str; 2] = ["1000", "5000"];

/// Where a script runs, on either system.
pub(super) struct Site<'a> {
    /// Of all members, joiners too.
    pub(super) addresses: &'a [Addresses],
    /// A folder of them.
    pub(super) certificates: &'a Path,
}

/// A fresh cluster of a system.
pub(super) struct Cluster<'a> {
    script: &'a Script,
    system: System,
    binary: &'a Path,
    site: &'a Site<'a>,
    data: &'a Path,
    /// In the order of `site.addresses`; joiners that have not started yet are missing.
    servers: Vec<Server>,
}

impl<'a> Cluster<'a> {
    /// Starts the members of the start and waits until they serve. Their data is in folders of `data`.
    pub(super) fn start(
        script: &'a Script,
        system: System,
        binary: &'a Path,
        site: &'a Site<'a>,
        data: &'a Path,
    ) -> Result<Self> {
        let mut cluster = Self { script, system, binary, site, data, servers: Vec::new() };
        for position in 0..script.members {
            let options = cluster.options(position, script.members)?;
            cluster.servers.push(Server::spawn(&options)?);
        }
        for member in &mut cluster.servers {
            member.wait_until_ready()?;
        }
        Ok(cluster)
    }

    /// Starts the next joiner and waits until it serves, so it has what the others have.
    pub(super) fn join(&mut self) -> Result<()> {
        let position = self.servers.len();
        if position == self.site.addresses.len() {
            bail!("all members run: `! joiners COUNT` says how many join");
        }
        let options =
            self.options(position, position + 1)?.flag("--initial-cluster-state", "existing");
        let mut joiner = Server::spawn(&options)?;
        joiner.wait_until_ready()?;
        self.servers.push(joiner);
        Ok(())
    }

    /// Of one of `members`.
    fn options(&self, position: usize, members: usize) -> Result<Options> {
        let addresses = &self.site.addresses[..members];
        let mut options = Options::new(self.system, self.binary)?
            .member_of(addresses, position)
            .https(self.script.is_https)
            .data_dir(&self.data_dir(position));
        if self.site.addresses.len() > 1 {
            options = options
                .flag("--heartbeat-interval", HEARTBEAT_MS)
                .flag("--election-timeout", ELECTION_MS[position.min(1)]);
            if self.system == System::Etcd {
                // It shortens the first wait of a member that has seen the others.
                options = options.flag("--initial-election-tick-advance", "false");
            }
        }
        let flags = self.script.flags.iter();
        Ok(flags
            .fold(options, |options, (name, value)| options.flag(name, &self.site.put_into(value))))
    }

    /// Those of the start, to which commands go.
    pub(super) fn members(&self) -> &[Server] {
        &self.servers[..self.script.members]
    }

    /// What a script says of where things are, filled in.
    pub(super) fn put_into(&self, text: &str) -> String {
        self.site.put_into(text)
    }

    /// Stops all, and says where their data is. The first one, which leads, stops last: there is
    /// nobody then whom it could hand over to, which would be in the logs.
    pub(super) fn stop(mut self) -> Result<Vec<PathBuf>> {
        let servers = std::mem::take(&mut self.servers);
        let folders = (0..servers.len()).map(|position| self.data_dir(position)).collect();
        for server in servers.into_iter().rev() {
            server.stop().context("stopping the cluster")?;
        }
        Ok(folders)
    }

    fn data_dir(&self, position: usize) -> PathBuf {
        self.data.join(format!("m{}", position + 1))
    }
}

impl Site<'_> {
    fn put_into(&self, text: &str) -> String {
        let text = text.replace("{certificates}", &self.certificates.display().to_string());
        self.addresses.iter().enumerate().fold(text, |text, (position, addresses)| {
            let name = format!("m{}", position + 1);
            text.replace(&format!("{{{name}.address}}"), &addresses.client_address())
                .replace(&format!("{{{name}.peer}}"), &addresses.peer_url())
        })
    }
}
