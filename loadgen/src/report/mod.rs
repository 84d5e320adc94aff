//! What a run was, and what came of it: one value, several renderings.
//!
//! The run's folder is written anew after every phase, so that what was learned before a failure
//! is kept. Renderings are pure functions of [`RunReport`].

pub mod hlog;
pub mod html;
pub mod junit;
pub mod live;
pub mod markdown;
pub mod members;
pub mod recovery;
pub mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusd_checker::{Report as Judgement, Verdict};
use schemars::JsonSchema;
use serde::Serialize;

use crate::metric::{Checked, Condition};
use crate::nemesis::Window;
use crate::stats::{CurvePoint, Summary};
use crate::workload::Overrides;
use members::MemberUse;
use recovery::Recovery;

/// Version of `run.json`. It rises when a field goes, or means something else.
pub const VERSION: u32 = 1;
/// Name of the log of latencies in a run's folder.
pub const LATENCY_LOG: &str = "latency.hlog";
/// Name of the workload's text in a run's folder.
pub const WORKLOAD: &str = "workload.toml";
/// Name of the copy of the workload's trace in a run's folder, if it has one.
pub const TRACE: &str = "trace.txt";

/// What a run was, and what came of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunReport {
    /// Version of this format.
    pub version: u32,
    /// Name of the workload.
    pub workload: String,
    /// What was under test: "etcd 3.7.3".
    pub system: String,
    /// Commit of the repository, if there is one.
    pub commit: Option<String>,
    /// Seed of every random choice.
    pub seed: u64,
    /// When it began, in UTC.
    pub started: String,
    /// How far it came.
    pub phase: Phase,
    /// Client addresses of the members.
    pub endpoints: Vec<String>,
    /// Whether the members were there before the run.
    pub attached: bool,
    /// The workload as it ran, without overrides from the command line.
    pub config: serde_json::Value,
    /// The command line, whose flags override the workload.
    pub command: Vec<String>,
    /// What overrode the workload.
    pub overrides: Overrides,
    /// How long loading the store took, in seconds.
    pub preload_s: Option<f64>,
    /// When load began, in seconds of the run's clock.
    pub load_start_s: f64,
    /// What was measured.
    pub load: Option<Summary>,
    /// Percentile curves of response and service time, by kind of operation, and of `all`.
    pub curves: BTreeMap<String, Vec<CurvePoint>>,
    /// CPU seconds that the members used during the load and the settling after it.
    pub members_cpu_s: Option<f64>,
    /// What each member used meanwhile.
    pub members: Vec<MemberUse>,
    /// What was broken.
    pub faults: Vec<Window>,
    /// How service took each fault that was done.
    pub recoveries: Vec<Recovery>,
    /// Conditions on what was measured, and whether they were kept.
    pub slo: Vec<Checked>,
    /// Watches of the run.
    pub watches: Watched,
    /// Lines of the history after its header.
    pub history_lines: Option<u64>,
    /// What went wrong with the run itself.
    pub incidents: Vec<String>,
    /// Whether the run was cut short by the user.
    pub interrupted: bool,
    /// The violation at which the load was ended, of a run that was to end so.
    pub stopped_by: Option<String>,
    /// What the checker said; `None` if the run was not recorded, or did not come that far.
    #[schemars(schema_with = "schema::judgement")]
    pub judgement: Option<Judgement>,
    /// Whether a history is written.
    pub recorded: bool,
}

/// A run as `run.json` holds it: with what it came to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "A run of loadgen")]
pub struct Written<'a> {
    /// What the run came to, which is also how loadgen exits: `ok` 0, `violation` 1, `unknown` 3,
    /// `failed` 4, `slo_missed` 5.
    pub outcome: Outcome,
    /// The same in one line, for people.
    pub headline: String,
    /// All that is known.
    #[serde(flatten)]
    pub report: &'a RunReport,
}

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Members are starting.
    Starting,
    /// The store is being filled.
    Preloading,
    /// Load is offered.
    Loading,
    /// Faults are healed, the members' states are read, watches come to their end.
    Settling,
    /// The history is being checked.
    Judging,
    /// All is done.
    Done,
}

/// Watches of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Watched {
    /// How many there were on those that are members at the end.
    pub count: usize,
    /// How many there were on others.
    pub gone: usize,
    /// How many came up to the final revision.
    pub complete: usize,
    /// The highest revision that a member's final state showed.
    pub final_revision: i64,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The promises were kept, or nobody was to judge and the run went well.
    Ok,
    /// A promise was broken.
    Violation,
    /// The checker could not decide.
    Unknown,
    /// The run itself failed.
    Failed,
    /// A condition on what was measured was not kept.
    SloMissed,
}

impl Outcome {
    /// Exit code: 0, 1, 3, 4, 5. (2 is bad input, of which no run comes; 6 is a regression, which
    /// takes two systems.)
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Ok => 0,
            Outcome::Violation => 1,
            Outcome::Unknown => 3,
            Outcome::Failed => 4,
            Outcome::SloMissed => 5,
        }
    }
}

impl RunReport {
    /// What the run came to. A broken promise outweighs a failed run.
    pub fn outcome(&self) -> Outcome {
        let verdict = self.judgement.as_ref().map(|judgement| &judgement.verdict);
        match verdict {
            Some(Verdict::Invalid { .. }) => Outcome::Violation,
            _ if !self.incidents.is_empty() => Outcome::Failed,
            Some(Verdict::Unknown { .. }) => Outcome::Unknown,
            None if self.recorded || self.phase != Phase::Done => Outcome::Failed,
            _ if self.slo.iter().any(|checked| !checked.holds) => Outcome::SloMissed,
            Some(Verdict::Valid) | None => Outcome::Ok,
        }
    }

    /// Notes that something went wrong with the run itself; once, however often it shows.
    pub fn incident(&mut self, text: String) {
        if !self.incidents.contains(&text) {
            self.incidents.push(text);
        }
    }

    /// Takes what was broken. A fault that was not done as planned went wrong with the run: what
    /// it was to show was not shown.
    pub fn set_faults(&mut self, faults: Vec<Window>) {
        self.faults = faults;
        for text in self.faults.iter().filter_map(Window::failure).collect::<Vec<_>>() {
            self.incident(text);
        }
    }

    /// Takes what was measured. A load of which nothing was answered shows nothing.
    pub fn set_load(&mut self, load: Summary) {
        if load.counts.ok == 0 {
            self.incident("no operation was answered, so nothing was shown".to_owned());
        }
        let bottleneck = load.effort.as_ref().and_then(|effort| effort.bottleneck.as_ref());
        if let Some(bottleneck) = bottleneck {
            self.incident(format!("the generator was the bottleneck: {bottleneck}"));
        }
        self.load = Some(load);
    }

    /// Says of each condition whether what was measured keeps it.
    pub fn check(&mut self, conditions: &[Condition]) {
        self.slo = conditions.iter().map(|condition| condition.check(self)).collect();
    }

    /// Takes how far the watches came; `behind` names the member of each that did not come up to
    /// the final revision. The checker cannot miss what it was never told, so that is an incident.
    pub fn set_watches(&mut self, count: usize, final_revision: i64, behind: &[u32]) {
        let (complete, gone) = (count - behind.len(), 0);
        self.watches = Watched { count, gone, complete, final_revision };
        if !behind.is_empty() {
            let members: Vec<String> = behind.iter().map(|member| format!("m{member}")).collect();
            self.incident(format!(
                "{} of {count} watches did not come up to the final revision {final_revision}: on {}",
                behind.len(),
                members.join(" ")
            ));
        }
    }

    /// The verdict in one line.
    pub fn headline(&self) -> String {
        match (self.outcome(), &self.judgement) {
            (Outcome::Ok, Some(_)) => {
                "VALID: linearizable, and every watch kept its promises".into()
            }
            (Outcome::Ok, None) => "DONE: not recorded, so not judged".into(),
            (Outcome::Violation, judgement) => {
                let rule = judgement.as_ref().and_then(|judgement| judgement.verdict.rule());
                format!("INVALID: broke {}", rule.map_or("a promise", |rule| rule.id()))
            }
            (Outcome::Unknown, judgement) => {
                let reason = match judgement.as_ref().map(|judgement| &judgement.verdict) {
                    Some(Verdict::Unknown { reason }) => reason.as_str(),
                    _ => "the checker could not decide",
                };
                format!("UNKNOWN: {reason}")
            }
            (Outcome::Failed, _) if self.incidents.is_empty() => {
                format!("UNFINISHED: the run is, or stopped, {:?}", self.phase).to_lowercase()
            }
            (Outcome::Failed, _) => format!("RUN FAILED: {}", first_line(&self.incidents[0])),
            (Outcome::SloMissed, _) => {
                let missed = self.slo.iter().filter(|checked| !checked.holds);
                let told = missed.map(|c| format!("{} (it was {})", c.condition, c.in_words));
                format!("SLO MISSED: {}", told.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// What `run.json` holds.
    pub fn written(&self) -> Written<'_> {
        Written { outcome: self.outcome(), headline: self.headline(), report: self }
    }

    /// Writes every rendering into the run's folder.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_string_pretty(&self.written()).map_err(io::Error::other)?;
        replace(folder, "run.json", &(json + "\n"))?;
        replace(folder, "summary.md", &markdown::render(self))?;
        replace(folder, "junit.xml", &junit::render(self).map_err(io::Error::other)?)?;
        replace(folder, "report.html", &html::render(self))
    }
}

pub(crate) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

/// Writes a file whole or not at all.
fn replace(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let new: PathBuf = folder.join(format!("{name}.new"));
    fs::write(&new, text)?;
    fs::rename(new, folder.join(name))
}

/// Microseconds for people.
pub(crate) fn milliseconds(us: u64) -> String {
    format!("{}.{:02}", us / 1000, us % 1000 / 10)
}

/// The columns of a latency table.
pub(crate) fn latency_cells(q: &crate::stats::Quantiles) -> [String; 5] {
    [q.p50, q.p90, q.p99, q.p999, q.max].map(milliseconds)
}

#[cfg(test)]
pub(crate) mod tests;
