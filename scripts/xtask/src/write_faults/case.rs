//! What happens at a place is made to happen, and what is left is looked at.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::runtime::Runtime;

use super::Plan;
use super::cluster::{Cluster, POLL, Seen};
use super::load::Load;
use super::places::{self, Fault, Moment, Right, What};
use crate::client::Client;

/// Acknowledged writes before, between and after what happens.
const WRITES: usize = 200;
/// So many that a member which missed them needs the state of another one.
const WRITES_MISSED: usize = 1000;
/// Values of this many bytes fill segments of the log, so that old ones are removed.
const LONG_VALUE_BYTES: usize = 200_000;
const VALUE_BYTES: usize = 100;
/// What is tried again is refused so often before it is let go.
const REFUSALS: usize = 3;
/// How long it may take to be refused so often.
const REFUSED_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a copy and a file may take.
const ASKED_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a member may take to come by a place.
const REACHED_TIMEOUT: Duration = Duration::from_mins(2);
/// The same where segments of its log are to be filled first.
const FILLED_TIMEOUT: Duration = Duration::from_mins(5);

/// One fault of one member.
pub(super) struct Case(pub(super) What);

/// Every case.
pub(super) fn all() -> Vec<Case> {
    places::all().into_iter().map(Case).collect()
}

/// Every place that the build has must have a case.
pub(super) fn must_have_all(plan: &Plan<'_>) -> Result<()> {
    let mut cluster = Cluster::start(plan, 1, None)?;
    let (mut wanted, here) = (cluster.places()?, places::names());
    cluster.kill(0)?;
    wanted.sort();
    ensure!(wanted == here, "the build has the places {wanted:?}, the cases are of {here:?}");
    Ok(())
}

impl Case {
    /// Lets it happen, and looks at what is left.
    pub(super) fn run(&self, plan: &Plan<'_>) -> Result<Seen> {
        let mut cluster = Cluster::start(plan, self.0.members, None)?;
        self.play(&mut cluster).map_err(|error| cluster.keep(error))
    }

    fn play(&self, cluster: &mut Cluster<'_>) -> Result<Seen> {
        let what = &self.0;
        let value_bytes = if what.is_long() { LONG_VALUE_BYTES } else { VALUE_BYTES };
        let changes_members = what.place == "beforeApplyOneConfChange";
        let load = Load::start(&cluster.urls(), value_bytes, changes_members)?;
        load.wait_for(WRITES)?;
        let victim = cluster.find(what.role)?;
        self.let_it_happen(cluster, victim, &load)?;
        let is_refused = what.fault != Fault::Crash && what.right == Right::Refuses;
        let end = if is_refused {
            self.must_refuse(cluster, victim)?;
            "refused it and went on".to_owned()
        } else {
            self.must_end(cluster, victim, &load)?;
            cluster.spawn(victim, None)?;
            format!("ended with code {}", what.fault.code())
        };
        cluster.ready()?;
        load.wait_for(WRITES).context("they do not go on with it")?;
        let writes = load.finish()?;
        cluster.must_hold(&writes)?;
        (0..what.members).try_for_each(|position| cluster.must_come_down_to(1, position))?;
        cluster.stop_and_verify()?;
        Ok(Seen { end, writes: writes.len() })
    }

    /// Sets what is to happen, and brings the member to the place.
    fn let_it_happen(&self, cluster: &mut Cluster<'_>, victim: usize, load: &Load) -> Result<()> {
        let fault = (self.0.place, self.0.terms());
        match self.0.moment {
            Moment::Serving | Moment::Filling | Moment::Copying | Moment::Saving => {
                cluster.set(victim, &fault)?;
            }
            Moment::Resting => {
                cluster.set(victim, &fault)?;
                load.pause(true);
            }
            Moment::Starting => {
                cluster.kill(victim)?;
                cluster.spawn(victim, Some(&fault))?;
            }
            Moment::Behind => {
                cluster.kill(victim)?;
                load.wait_for(WRITES_MISSED)?;
                cluster.spawn(victim, Some(&fault))?;
            }
            Moment::Sending => {
                let other = (victim + 1) % self.0.members;
                cluster.kill(other)?;
                load.wait_for(WRITES_MISSED)?;
                cluster.set(victim, &fault)?;
                cluster.spawn(other, None)?;
            }
        }
        if self.0.moment == Moment::Saving && self.0.fault == Fault::Crash {
            // It ends before it answers.
            self.ask(cluster, victim).ok();
        }
        Ok(())
    }

    fn must_end(&self, cluster: &mut Cluster<'_>, victim: usize, load: &Load) -> Result<()> {
        let What { fault, right, members, .. } = self.0;
        let patience = if self.0.is_long() { FILLED_TIMEOUT } else { REACHED_TIMEOUT };
        let ended = cluster.ended(victim, fault.code(), patience)?;
        load.pause(false);
        if let (Some(reason), Right::Ends(of)) = (fault.reason(), right) {
            let said = ended.has_said_at_once(&[reason, of]);
            ensure!(said, "it does not say why it ends, and on which file\n{}", ended.log_tail());
        }
        if members > 1 {
            load.wait_for(WRITES).context("the others do not go on")?;
        }
        Ok(())
    }

    /// Sees to it that the member refuses, says why, leaves nothing behind, and does it later.
    fn must_refuse(&self, cluster: &mut Cluster<'_>, victim: usize) -> Result<()> {
        let reason = self.0.fault.reason().context("a crash refuses nothing")?;
        if matches!(self.0.moment, Moment::Copying | Moment::Saving) {
            let refused = self.ask(cluster, victim).err().context("it is not refused")?;
            let refused = format!("{refused:#}");
            ensure!(refused.contains(reason), "it does not say why it refuses: {refused}");
            cluster.let_go(victim, self.0.place)?;
            return self.ask(cluster, victim).context("it is refused for ever");
        }
        let wanted = self.0.passed + REFUSALS;
        let deadline = Instant::now() + REFUSED_TIMEOUT;
        while cluster.count(victim, self.0.place)? < wanted {
            cluster.must_run(victim)?;
            ensure!(Instant::now() < deadline, "it is not refused");
            thread::sleep(POLL);
        }
        cluster.must_run(victim)?;
        ensure!(cluster.has_said(victim, reason), "it does not say why it refuses");
        // What waits cannot be removed either while its marker cannot.
        let most = if self.0.place == "pointerStep" { 2 } else { 1 };
        cluster.must_come_down_to(most, victim)?;
        cluster.let_go(victim, self.0.place)
    }

    /// Asks a member for what it is to refuse.
    fn ask(&self, cluster: &Cluster<'_>, member: usize) -> Result<()> {
        let url = &cluster.urls()[member];
        Runtime::new()?.block_on(async {
            let mut client = Client::with_timeout(url, ASKED_TIMEOUT)?;
            match self.0.moment {
                Moment::Copying => client.defragment().await?,
                Moment::Saving => {
                    let file = client.snapshot().await?;
                    ensure!(!file.is_empty(), "an empty file");
                }
                other => bail!("nobody asks for {other:?}"),
            }
            Ok(())
        })
    }
}
