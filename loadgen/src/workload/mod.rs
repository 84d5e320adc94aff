//! The workload file: what to run, against what, for how long, and what to break meanwhile.
//!
//! [`Workload::parse`] reads the text, [`Workload::validate`] says whether it can be run. Both
//! report file, line and column, and suggest the word that was probably meant. Overrides from the
//! command line are applied in between, so that what is validated is what runs.

mod error;
mod fault;
mod keys;
mod mix;
mod overrides;
mod pacing;
mod phases;
mod units;
mod validate;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

pub use error::WorkloadError;
pub(crate) use error::nearest;
pub use fault::{
    CutMode, Direction, DiskPlace, Fault, FaultKind, How, Links, Pick, Role, Shape, Target, Then,
    When,
};
pub use keys::{Distribution, KeyShape, Keys, Sizes, Values};
pub use mix::{Compaction, Leases, Lists, Mix};
pub use overrides::Overrides;
pub use pacing::{Overflow, Pacing, PacingMode};
pub use phases::{Phases, WarmUp};
pub use units::{parse_duration, parse_size};
pub use validate::Origin;

/// A workload, as its file declares it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Name of the folder in `results/`; the file's stem if absent.
    #[serde(default)]
    pub name: String,
    /// How long load is offered.
    #[serde(deserialize_with = "units::spanned_duration")]
    pub duration: Spanned<Duration>,
    /// Logical clients: operations in flight at most.
    pub clients: Spanned<u32>,
    /// Connections the clients share; one per client if absent.
    #[serde(default)]
    pub connections: Option<Spanned<u32>>,
    /// A client gives up after this long; what it asked may still be applied.
    #[serde(default = "default_request_timeout", deserialize_with = "units::spanned_duration")]
    pub request_timeout: Spanned<Duration>,
    /// Seed of every random choice; drawn and printed if absent.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Write the history and judge it.
    #[serde(default = "default_true")]
    pub record: bool,
    /// Put every key once before the load begins.
    #[serde(default)]
    pub preload: bool,
    /// What is not measured before and after the load.
    #[serde(default)]
    pub phases: Phases,
    /// Threads that offer the load; each has its own connections and clients.
    #[serde(default = "default_threads")]
    pub threads: Spanned<u32>,
    /// Wait this long after the load before the members' CPU time is read.
    #[serde(default, deserialize_with = "units::duration")]
    pub settle: Duration,
    /// What to start.
    #[serde(default)]
    pub cluster: ClusterSpec,
    /// When operations start.
    #[serde(default)]
    pub pacing: Pacing,
    /// The keys.
    pub keys: Keys,
    /// The values.
    #[serde(default)]
    pub values: Values,
    /// Weights of the kinds of operations.
    pub mix: Spanned<Mix>,
    /// How leases are used.
    #[serde(default)]
    pub leases: Leases,
    /// How lists grow.
    #[serde(default)]
    pub lists: Lists,
    /// How history is dropped.
    #[serde(default)]
    pub compaction: Compaction,
    /// Watches beside the all-keys watch that a recording run keeps on every member.
    #[serde(default)]
    pub watches: Vec<Watches>,
    /// What to break.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// What to break, one of several at a time.
    #[serde(default)]
    pub picks: Vec<Pick>,
}

/// What to start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Which server.
    pub system: System,
    /// How many members.
    pub members: Spanned<u32>,
    /// The server's executable, if not where it is built.
    pub binary: Option<PathBuf>,
    /// Passed as `--heartbeat-interval`, in milliseconds.
    #[serde(deserialize_with = "units::optional_duration")]
    pub heartbeat_interval: Option<Duration>,
    /// Passed as `--election-timeout`, in milliseconds.
    #[serde(deserialize_with = "units::optional_duration")]
    pub election_timeout: Option<Duration>,
    /// Further flags, passed as they are.
    pub args: Vec<String>,
    /// Each member has a disk of its own of this size, in memory, which can be full.
    #[serde(deserialize_with = "units::optional_spanned_size")]
    pub disk: Option<Spanned<usize>>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        ClusterSpec {
            system: System::Rusd,
            members: Spanned::new(0..0, 1),
            binary: None,
            heartbeat_interval: None,
            election_timeout: None,
            args: Vec::new(),
            disk: None,
        }
    }
}

/// Which server is started.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// The server of this repository.
    Rusd,
    /// The server it is compared with.
    Etcd,
}

impl System {
    /// Name of the system, and of its executable.
    pub fn name(self) -> &'static str {
        match self {
            System::Rusd => "rusd",
            System::Etcd => "etcd",
        }
    }
}

/// A group of like watches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watches {
    /// What the watched keys start with, the keys' own prefix included; all keys if empty.
    #[serde(default)]
    pub prefix: String,
    /// Instead of a prefix: each watch sees one of this many equal parts of the keys, in turn.
    #[serde(default)]
    pub slices: Option<Spanned<u32>>,
    /// How many watches, spread over the members.
    #[serde(default = "default_one")]
    pub count: u32,
    /// Some of them read slowly.
    #[serde(default)]
    pub slow: Option<Spanned<Slow>>,
    /// How the history tells their events.
    #[serde(default)]
    pub told: WatchTold,
    /// Events carry the key-value before.
    #[serde(default)]
    pub prev_kv: bool,
    /// Puts are left out.
    #[serde(default)]
    pub no_put: bool,
    /// Deletes are left out.
    #[serde(default)]
    pub no_delete: bool,
    /// Where they start.
    #[serde(default)]
    pub start: WatchStart,
}

/// Watches that read slowly while load is offered, so that the server must hold events back.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// One watch in this many is slow.
    pub one_in: u32,
    /// Events that a slow watch reads in a second, at most.
    pub events_per_second: u32,
}

/// How the history tells the events of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchTold {
    /// All that they say.
    #[default]
    InFull,
    /// Their revisions, and digests of the rest: a few bytes an event. For many watches.
    InShort,
}

/// Where a watch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchStart {
    /// With the first revision of the run.
    #[default]
    Beginning,
    /// With what comes after its creation.
    Now,
}

fn default_request_timeout() -> Spanned<Duration> {
    Spanned::new(0..0, Duration::from_secs(5))
}

fn default_threads() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

fn default_true() -> bool {
    true
}

fn default_one() -> u32 {
    1
}

impl Workload {
    /// Reads a workload from the text of the file `file`.
    pub fn parse(file: &str, text: &str) -> Result<Workload, WorkloadError> {
        let mut workload: Workload =
            toml::from_str(text).map_err(|error| WorkloadError::from_toml(file, text, &error))?;
        if workload.name.is_empty() {
            let stem = std::path::Path::new(file).file_stem().and_then(|stem| stem.to_str());
            stem.unwrap_or("workload").clone_into(&mut workload.name);
        }
        let folder = std::path::Path::new(file).parent().unwrap_or(std::path::Path::new(""));
        if let Some(trace) = &mut workload.pacing.file {
            *trace.get_mut() = folder.join(trace.get_ref());
        }
        Ok(workload)
    }

    /// Logical clients: operations in flight at most.
    pub fn clients_in_flight(&self) -> u32 {
        *self.pacing.max_in_flight.as_ref().unwrap_or(&self.clients).get_ref()
    }

    /// Every fault that may be done.
    pub fn every_fault(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter().chain(self.picks.iter().flat_map(|pick| pick.from.get_ref()))
    }

    /// Leaves out all faults.
    pub fn break_nothing(&mut self) {
        self.faults.clear();
        self.picks.clear();
    }

    /// Members that the cluster has when it is started by us.
    pub fn members(&self) -> u32 {
        *self.cluster.members.get_ref()
    }
}
