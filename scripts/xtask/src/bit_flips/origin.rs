//! Where the state of the member comes from whose bits are flipped.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::runtime::Runtime;

use crate::client::Client;
use crate::power_loss::recording::{Plan, load};
use crate::power_loss::writes::Writes;
use crate::server::{Addresses, Scratch, Server};
use crate::workspace;

/// Leases, each with a key. They do not run out meanwhile.
const LEASES: i64 = 20;
const LEASE_SECONDS: i64 = 1_000_000;
/// How long a file of its state may take.
const SAVE_TIMEOUT: Duration = Duration::from_mins(2);
/// What a member says that was sent a state.
const WAS_SENT: &str = "starting again from a snapshot";

/// Where a state comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The member's own log.
    Log,
    /// Another member, which sent all of it.
    Sent,
    /// A file that another member was asked for.
    Restored,
}

impl Origin {
    /// All of them.
    pub(super) const ALL: [Origin; 3] = [Origin::Log, Origin::Sent, Origin::Restored];

    /// For the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Origin::Log => "its own",
            Origin::Sent => "sent",
            Origin::Restored => "restored",
        }
    }

    /// Leaves the folder of a stopped member with such a state, which is alone in its cluster. What was
    /// written to it.
    pub(super) fn make(self, plan: &Plan<'_>, folder: &Path) -> Result<Writes> {
        match self {
            Origin::Log => {
                let server = Server::start(&plan.options(folder)?)?;
                let writes = fill(plan, &server)?;
                must_stop(server)?;
                Ok(writes)
            }
            Origin::Sent => send(plan, folder),
            Origin::Restored => restore(plan, folder),
        }
    }
}

/// Writes, and grants leases.
fn fill(plan: &Plan<'_>, server: &Server) -> Result<Writes> {
    Runtime::new()?.block_on(async {
        let writes = load(plan, &server.client_url()).await?;
        let mut client = Client::new(&server.client_url())?;
        for id in 1..=LEASES {
            client.grant(id, LEASE_SECONDS).await?;
            client.put_with_lease(format!("lease/{id}").into_bytes(), b"1".to_vec(), id).await?;
        }
        Ok(writes)
    })
}

/// Of three members the last one comes when the log of the others has lost its beginning.
fn send(plan: &Plan<'_>, folder: &Path) -> Result<Writes> {
    let addresses = Addresses::several(3)?;
    let others = Scratch::new("bit-flips-others")?;
    let options = |position: usize, data_dir: &Path| {
        Ok::<_, anyhow::Error>(plan.options(data_dir)?.member_of(&addresses, position))
    };
    let mut servers = Vec::new();
    for position in 0..2 {
        let data_dir = others.path().join(position.to_string());
        servers.push(Server::spawn(&options(position, &data_dir)?)?);
    }
    servers.iter_mut().try_for_each(Server::wait_until_ready)?;
    let writes = fill(plan, &servers[0])?;
    let last = Server::start(&options(2, folder)?)?;
    ensure!(last.has_said(WAS_SENT), "it was not sent a state\n{}", last.log_tail());
    must_stop(last)?;
    servers.into_iter().try_for_each(Server::kill)?;
    let alone = options(2, folder)?.flag("--force-new-cluster", "true");
    must_stop(Server::start(&alone)?)?;
    Ok(writes)
}

fn restore(plan: &Plan<'_>, folder: &Path) -> Result<Writes> {
    let other = Scratch::new("bit-flips-other")?;
    let server = Server::start(&plan.options(&other.path().join("data"))?)?;
    let writes = fill(plan, &server)?;
    let file = other.path().join("snapshot.db");
    let saved = Runtime::new()?.block_on(async {
        anyhow::Ok(Client::with_timeout(&server.client_url(), SAVE_TIMEOUT)?.snapshot().await?)
    })?;
    fs::write(&file, saved)?;
    server.kill()?;
    let options = plan.options(folder)?;
    let mut restoring = Command::new(plan.binary);
    restoring.args(["snapshot", "restore", "--backend", plan.backend]);
    restoring.arg(&file).arg("--data-dir").arg(folder);
    workspace::output(restoring.args(options.founding_flags())).context("it is not restored")?;
    must_stop(Server::start(&options)?)?;
    Ok(writes)
}

fn must_stop(server: Server) -> Result<()> {
    let status = server.stop()?;
    ensure!(status.success(), "SIGTERM ended it with {status}");
    Ok(())
}
