//! The beginning of a run: members that serve, an open history, watches from the first revision.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rusd_checker::history::record::{FORMAT_VERSION, Header};
use tokio::sync::watch;

use super::early::Early;
use super::{HISTORY, Run, RunError, Started, folder_error, refused};
use crate::client::etcd::Client;
use crate::cluster::{Cluster, ClusterError, Needs, failpoints, readiness};
use crate::recorder::Recorder;
use crate::watcher;
use crate::workload::System;

/// A number that differs between runs.
pub(super) fn distinct() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// Commit of the repository that we are in, if git is there to ask.
pub(super) fn commit() -> Option<String> {
    let answer = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?.trim().to_owned();
    (answer.status.success() && !text.is_empty()).then_some(text)
}

impl Run {
    pub(super) async fn cluster(&mut self) -> Result<Cluster, RunError> {
        let cluster = if let Some(endpoints) = &self.settings.endpoints {
            Cluster::attach(endpoints)
        } else {
            let spec = &self.settings.workload.cluster;
            let (count, system) = (self.settings.workload.members(), spec.system.name());
            self.live.step(&format!("starting {count} members of {system}"));
            let needs = Needs::of(&self.settings.workload);
            Cluster::start_for(spec, needs, &self.folder).await?
        };
        self.report.endpoints = cluster.endpoints();
        Ok(cluster)
    }

    pub(super) async fn start(&mut self, cluster: Arc<Cluster>) -> Result<Started, RunError> {
        let mut version = String::new();
        let roster = cluster.roster();
        for seat in roster.seats() {
            version = readiness::ready(&cluster, seat.member).await?.version;
        }
        if Needs::of(&self.settings.workload).failpoints && self.settings.endpoints.is_none() {
            for seat in roster.seats() {
                failpoints::places(&cluster, seat.member).await?;
            }
        }
        self.report.system = self.system(&cluster, &version);
        self.live.step(&format!(
            "{} serves at {}",
            self.report.system,
            cluster.endpoints().join(" ")
        ));
        let (first_revision, initial) = self.first_state(&cluster).await?;
        let (recorder, writing, early) = if self.report.recorded {
            let header = Header {
                version: FORMAT_VERSION,
                workload: self.report.workload.clone(),
                seed: self.report.seed,
                system: self.report.system.clone(),
                first_revision,
                initial,
            };
            let path = self.folder.join(HISTORY);
            let (recorder, writing) =
                Recorder::start(&path, &header).map_err(folder_error(&path))?;
            let early = self.settings.stop_on_violation;
            let early = early.then(|| Early::start(&path, self.violated.clone())).transpose();
            (recorder, Some(writing), early.map_err(folder_error(&path))?)
        } else {
            (Recorder::off(), None, None)
        };
        let (phase, receiver) = watch::channel(watcher::Phase::Running);
        let watching = watcher::Shared {
            roster: cluster.follow(),
            clock: self.clock,
            recorder: recorder.clone(),
            next_watch: Arc::new(AtomicU64::new(0)),
            phase: receiver,
        };
        let members = u32::try_from(roster.seats().len()).expect("members are few");
        let plans = self.watches(first_revision, members);
        let watches =
            plans.into_iter().filter_map(|plan| watcher::start(watching.clone(), plan)).collect();
        Ok(Started {
            cluster,
            recorder,
            writing,
            early,
            watching,
            watches,
            phase,
            first_revision,
            final_revision: None,
        })
    }

    /// Revision and content of the store before the run.
    async fn first_state(
        &self,
        cluster: &Cluster,
    ) -> Result<(i64, Vec<rusd_checker::history::record::KeyValue>), RunError> {
        let endpoint = &cluster.endpoints()[0];
        let client = Client::connect(endpoint).await.map_err(|error| ClusterError::NotReady {
            member: 0,
            endpoint: endpoint.clone(),
            waited: std::time::Duration::ZERO,
            last: error.to_string(),
        })?;
        readiness::whole_store(&client).await.map_err(refused("cannot read the store"))
    }

    /// What is under test, for people.
    fn system(&self, cluster: &Cluster, version: &str) -> String {
        if cluster.program().is_none() && !self.settings.is_system_named {
            return format!("a server of etcd's API {version}");
        }
        let system = self.settings.workload.cluster.system;
        let own = || {
            let output = Command::new(cluster.program()?).arg("--version").output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            let line = text.lines().find(|line| line.starts_with("rusd"))?;
            Some(line.replace("Version: ", ""))
        };
        match system {
            System::Rusd => own().unwrap_or_else(|| format!("rusd (as etcd {version})")),
            System::Etcd => format!("etcd {version}"),
        }
    }
}
