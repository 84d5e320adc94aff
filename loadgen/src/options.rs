//! Options that several verbs share, and what they make of a workload.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusd_loadgen::clock;
use rusd_loadgen::metric::{Condition, parse_conditions};
use rusd_loadgen::nemesis::doctor;
use rusd_loadgen::report::live::Telling;
use rusd_loadgen::runner::{self, Settings};
use rusd_loadgen::workload::{Overrides, System, Workload, parse_duration};

/// What is said instead of the workload's file.
#[derive(clap::Args, Clone)]
pub(crate) struct Overriding {
    /// Which server to start, whatever the file says.
    #[arg(long, value_enum)]
    system: Option<System>,
    /// The server's executable.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// A further flag of the server; may be given several times: --flag=--snapshot-count=1000
    #[arg(long = "flag", value_name = "FLAG", allow_hyphen_values = true)]
    flags: Vec<String>,
    /// How many members, whatever the file says.
    #[arg(long, short = 'n')]
    members: Option<u32>,
    /// How long load is offered, whatever the file says: 30s, 2m.
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Operations per second, in an open loop, whatever the file says.
    #[arg(long)]
    rate: Option<u32>,
    /// All clients belong to the member with this index, instead of being spread.
    #[arg(long, value_name = "MEMBER")]
    pin: Option<u32>,
    /// Break nothing, whatever the file says.
    #[arg(long)]
    no_faults: bool,
    /// Measure only: write no history, and judge nothing.
    #[arg(long, conflicts_with = "record")]
    no_record: bool,
    /// Write a history and judge it, whatever the file says.
    #[arg(long)]
    record: bool,
}

/// What a verb leaves, and where.
#[derive(clap::Args)]
pub(crate) struct Leaving {
    /// Seed of every random choice; each further run of several has another one.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Folder of all results.
    #[arg(long, default_value = "results")]
    pub(crate) out: PathBuf,
    /// Print the result as JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How one run is done.
#[derive(clap::Args)]
pub(crate) struct Running {
    #[command(flatten)]
    pub(crate) overriding: Overriding,
    #[command(flatten)]
    pub(crate) leaving: Leaving,
    /// Client addresses of a cluster that is already there, instead of starting one. Clients are
    /// spread over them.
    #[arg(long, value_delimiter = ',')]
    pub(crate) endpoints: Option<Vec<String>>,
    /// What the run has to keep, else it exits with 5: put.p99<20ms,errors<0.1%
    #[arg(long, value_name = "CONDITIONS")]
    slo: Option<String>,
    /// Keep the members' data even if all went well.
    #[arg(long)]
    keep_data: bool,
    /// Judge the history while it is being written, and end the load at the first violation.
    #[arg(long, conflicts_with = "no_record")]
    stop_on_violation: bool,
}

impl From<Overriding> for Overrides {
    fn from(said: Overriding) -> Overrides {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Overrides {
            system: said.system,
            binary: said.binary,
            args: said.flags,
            members: said.members,
            duration_ms: said.duration.map(millis),
            rate: said.rate,
            pin: said.pin,
            no_faults: said.no_faults,
            record: (said.record || said.no_record).then_some(said.record),
            trace: None,
        }
    }
}

impl Running {
    /// A run of the workload with this text, which is told as it goes on.
    pub(crate) fn settings(
        self,
        file: &str,
        text: String,
        overrides: Overrides,
    ) -> Result<Settings, String> {
        let slo = self.slo.as_deref().map_or(Ok(Vec::new()), conditions)?;
        let settings = settings(file, text, overrides, self.endpoints, &self.leaving)?;
        if self.stop_on_violation && !settings.workload.record {
            return Err(format!(
                "{file}: --stop-on-violation needs a history, and this workload writes none: say \
                 --record too"
            ));
        }
        Ok(Settings {
            keep_data: self.keep_data,
            slo,
            telling: Telling::Live,
            stop_on_violation: self.stop_on_violation,
            ..settings
        })
    }
}

/// A run of the workload with this text, one of several, without conditions.
pub(crate) fn settings(
    file: &str,
    text: String,
    overrides: Overrides,
    endpoints: Option<Vec<String>>,
    leaving: &Leaving,
) -> Result<Settings, String> {
    let workload = workload(file, &text, &overrides, endpoints.as_deref())?;
    Ok(Settings {
        seed: leaving.seed.or(workload.seed).unwrap_or_else(runner::drawn_seed),
        workload,
        source: text,
        command: std::env::args().collect(),
        endpoints,
        is_system_named: overrides.system.is_some(),
        results: leaving.out.clone(),
        keep_data: false,
        overrides,
        slo: Vec::new(),
        telling: Telling::Quiet,
        stop_on_violation: false,
    })
}

/// The workload with the command line's overrides, validated as it will run, and with a server to
/// start. Optional faults that cannot be done to it are left out, and told.
fn workload(
    file: &str,
    text: &str,
    overrides: &Overrides,
    endpoints: Option<&[String]>,
) -> Result<Workload, String> {
    let mut workload =
        overrides.workload(file, text, endpoints).map_err(|error| error.to_string())?;
    if endpoints.is_none() {
        let program = rusd_loadgen::cluster::executable(&workload.cluster);
        let program = program.map_err(|error| error.to_string())?;
        let left_out = doctor::prepare(&mut workload, file, text, &program);
        for fault in left_out.map_err(|error| error.to_string())? {
            eprintln!("{fault}");
        }
    }
    Ok(workload)
}

/// Makes a folder for what a verb leaves of several runs.
pub(crate) fn new_folder(verb: &str, of: &Settings) -> Result<PathBuf, String> {
    let name = format!("{verb}-{}", clock::stamp(SystemTime::now()));
    let folder = of.results.join(&of.workload.name).join(name);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// The text of a workload's file.
pub(crate) fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// What `--slo` says.
pub(crate) fn conditions(text: &str) -> Result<Vec<Condition>, String> {
    parse_conditions("--slo", text).map_err(|error| error.to_string())
}
