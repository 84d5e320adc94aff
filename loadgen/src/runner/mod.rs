//! One run, from start to verdict.
//!
//! ```text
//!  start --> ready --> watches --> (preload) --> load + faults --> heal --> final states
//!        --> watches come up to the final revision --> close the history --> judge --> report
//! ```
//!
//! The report is saved after every phase. A phase that fails ends the run, but what was recorded
//! up to then is still judged: a broken promise matters more than a broken run.

mod early;
mod judge;
mod load;
mod metering;
mod progress;
mod settle;
mod start;
mod watches;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::cluster::{Cluster, ClusterError};
use crate::driver::PreloadError;
use crate::metric::Condition;
use crate::pacing::PacingError;
use crate::recorder::{Recorder, Writing};
use crate::report::live::{Live, Telling};
use crate::report::{self, Phase, RunReport, Watched};
use crate::watcher;
use crate::workload::{Overrides, Workload};
use early::Early;

/// Name of the history in a run's folder.
pub const HISTORY: &str = "history.jsonl";

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The workload, overrides applied and validated.
    pub workload: Workload,
    /// Text of its file.
    pub source: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// The command line, for the report.
    pub command: Vec<String>,
    /// Addresses of a cluster that is already there.
    pub endpoints: Option<Vec<String>>,
    /// Whether the workload's system is what is behind `endpoints`.
    pub is_system_named: bool,
    /// Folder of all results.
    pub results: PathBuf,
    /// Keep the members' data even if all went well.
    pub keep_data: bool,
    /// What made the workload differ from its file.
    pub overrides: Overrides,
    /// What the run has to keep beside its promises.
    pub slo: Vec<Condition>,
    /// How it is told while it goes on.
    pub telling: Telling,
    /// Judge the history while it is being written, and end the load at the first violation.
    pub stop_on_violation: bool,
}

/// Why a run could not begin, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Something with the members.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The store could not be filled before the load.
    #[error(transparent)]
    Preload(#[from] PreloadError),
    /// The file of a trace was right when the workload was checked, and is not any more.
    #[error(transparent)]
    Trace(#[from] PacingError),
    /// The system gives us no threads.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// Something with the run's folder.
    #[error("{path}: {source}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A member refused something that a run needs.
    #[error("{what}: {status}")]
    Refused {
        /// What we asked.
        what: &'static str,
        /// What it said.
        status: Box<tonic::Status>,
    },
}

/// A seed for a run that names none.
pub fn drawn_seed() -> u64 {
    // Short enough to be typed.
    start::distinct() & 0xffff_ffff
}

/// A run as it goes on.
struct Run {
    settings: Settings,
    folder: PathBuf,
    clock: Clock,
    live: Live,
    report: RunReport,
    interrupt: CancellationToken,
    /// The history was seen to be invalid.
    violated: CancellationToken,
}

/// What is there once the members serve.
struct Started {
    cluster: Arc<Cluster>,
    recorder: Recorder,
    writing: Option<Writing>,
    early: Option<Early>,
    /// What further watches share with those that there are.
    watching: watcher::Shared,
    watches: Vec<watcher::Watcher>,
    phase: tokio::sync::watch::Sender<watcher::Phase>,
    first_revision: i64,
    /// The highest revision that a member's final state showed, once all were read.
    final_revision: Option<i64>,
}

/// Runs a workload. `interrupt` ends the load early. Returns the report and the run's folder; an
/// error means that there is no folder to find a report in.
pub async fn run(
    settings: Settings,
    interrupt: CancellationToken,
) -> Result<(RunReport, PathBuf), RunError> {
    let mut run = Run::new(settings, interrupt)?;
    run.save()?;
    if let Err(error) = run.go().await {
        run.report.incident(error.to_string());
    }
    let conditions = run.settings.slo.clone();
    run.report.check(&conditions);
    run.tidy_up();
    run.save()?;
    Ok((run.report, run.folder))
}

impl Run {
    fn new(settings: Settings, interrupt: CancellationToken) -> Result<Run, RunError> {
        let workload = &settings.workload;
        let started = clock::stamp(SystemTime::now());
        let name = format!("{started}-{:04x}", start::distinct() & 0xffff);
        let folder = settings.results.join(&workload.name).join(name);
        fs::create_dir_all(&folder).map_err(folder_error(&folder))?;
        // The members get absolute paths, whatever they make of their working directory.
        let folder = folder.canonicalize().map_err(folder_error(&folder))?;
        let config = toml::from_str::<toml::Value>(&settings.source)
            .ok()
            .and_then(|value| serde_json::to_value(value).ok());
        let path = folder.join(report::WORKLOAD);
        fs::write(&path, &settings.source).map_err(folder_error(&path))?;
        if let Some(trace) = &workload.pacing.file {
            let path = folder.join(report::TRACE);
            fs::copy(trace.get_ref(), &path).map_err(folder_error(&path))?;
        }
        let report = RunReport {
            version: report::VERSION,
            workload: workload.name.clone(),
            system: workload.cluster.system.name().to_owned(),
            commit: start::commit(),
            seed: settings.seed,
            started,
            phase: Phase::Starting,
            endpoints: settings.endpoints.clone().unwrap_or_default(),
            attached: settings.endpoints.is_some(),
            config: config.unwrap_or_default(),
            command: settings.command.clone(),
            overrides: settings.overrides.clone(),
            preload_s: None,
            load_start_s: 0.0,
            load: None,
            curves: BTreeMap::new(),
            members_cpu_s: None,
            members: Vec::new(),
            faults: Vec::new(),
            recoveries: Vec::new(),
            slo: Vec::new(),
            watches: Watched::default(),
            history_lines: None,
            incidents: Vec::new(),
            interrupted: false,
            stopped_by: None,
            judgement: None,
            recorded: workload.record,
        };
        let live = Live::new(settings.telling, &report, *workload.duration.get_ref());
        let violated = CancellationToken::new();
        Ok(Run { folder, clock: Clock::start(), live, report, interrupt, violated, settings })
    }

    async fn go(&mut self) -> Result<(), RunError> {
        let cluster = Arc::new(self.cluster().await?);
        let result = self.on(&cluster).await;
        for ended in cluster.ended_by_themselves() {
            self.report.incident(ended.to_string());
        }
        cluster.stop().await;
        result
    }

    /// Waits until the load is to end before its time.
    async fn cut_short(&self) {
        tokio::select! {
            () = self.interrupt.cancelled() => {}
            () = self.violated.cancelled() => {}
        }
    }

    /// Everything that needs the members.
    async fn on(&mut self, cluster: &Arc<Cluster>) -> Result<(), RunError> {
        let mut started = self.start(Arc::clone(cluster)).await?;
        let loaded = self.load(&mut started).await;
        let settled = match loaded {
            Ok(()) => self.settle(&mut started).await,
            Err(error) => Err(error),
        };
        let closed = self.close(started).await;
        if self.report.recorded {
            self.judge().await?;
        }
        settled.and(closed)?;
        self.phase(Phase::Done)
    }

    fn phase(&mut self, phase: Phase) -> Result<(), RunError> {
        self.report.phase = phase;
        self.save()
    }

    fn save(&self) -> Result<(), RunError> {
        self.report.save(&self.folder).map_err(folder_error(&self.folder))
    }

    /// Removes the members' data, unless somebody may want to look at it.
    fn tidy_up(&mut self) {
        let well = self.report.outcome() == crate::report::Outcome::Ok;
        let data = self.folder.join("data");
        if well
            && !self.settings.keep_data
            && data.exists()
            && let Err(error) = fs::remove_dir_all(&data)
        {
            self.report.incident(format!("{}: {error}", data.display()));
        }
    }
}

fn folder_error(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_owned();
    move |source| RunError::Folder { path, source }
}

fn refused(what: &'static str) -> impl FnOnce(tonic::Status) -> RunError {
    move |status| RunError::Refused { what, status: Box::new(status) }
}

#[cfg(test)]
pub(crate) mod tests;
