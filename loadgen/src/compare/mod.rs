//! Two systems on one workload: run in turns, compared number by number.
//!
//! Each round is `A B B A`, each run with members that start anew on empty folders, so that whatever
//! drifts does so for both. A run that fails ends the comparison: there is nothing to compare it
//! with. See [`statistics`] for how sure a difference is.

mod numbers;
pub mod page;
pub mod side;
pub mod statistics;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::metric::{Metric, RatioLimit};
use crate::report::{Outcome, RunReport};
use crate::runner::{self, RunError, Settings};
use numbers::{Pairs, asked, is_nothing, pairs, worth_it};
use statistics::{PAIRS_MIN, Ratio, level_of_each, median};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The first, which the other is compared with.
    A,
    /// The second.
    B,
}

/// The order of the runs of one round.
pub const ROUND: [Which; 4] = [Which::A, Which::B, Which::B, Which::A];

/// What to compare.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The first system, as it was written, and how it is run.
    pub a: (String, Settings),
    /// The second.
    pub b: (String, Settings),
    /// How often all four runs are done.
    pub rounds: u32,
    /// How sure all intervals together are to be: 0.95.
    pub confidence: f64,
    /// The least difference that matters: 0.02 is two percent.
    pub margin: f64,
    /// Ratios that are too much.
    pub limits: Vec<RatioLimit>,
    /// What is compared; if nothing is named, whatever is worth it. The fewer, the narrower are the
    /// intervals.
    pub metrics: Vec<Metric>,
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A run could not begin.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A run failed, or did not keep its promises.
    #[error("run {run} of {which:?} does not count: {headline}\nsee {folder}")]
    DoesNotCount {
        /// Which run, from 1.
        run: usize,
        /// Of which system.
        which: Which,
        /// What it came to.
        headline: String,
        /// Where to look.
        folder: PathBuf,
        /// The same for programs.
        outcome: Outcome,
    },
    /// The user had enough.
    #[error("interrupted after {runs} runs; nothing is said from so few")]
    Interrupted {
        /// Runs that were done.
        runs: usize,
    },
    /// A file could not be written.
    #[error("{path}: {source}")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "A comparison by loadgen")]
pub struct Comparison {
    /// Version of this format.
    pub version: u32,
    /// Name of the workload.
    pub workload: String,
    /// The first system, as it was written.
    pub a: String,
    /// What it said that it is.
    pub a_system: String,
    /// The second system.
    pub b: String,
    /// What it said that it is.
    pub b_system: String,
    /// When it began, in UTC.
    pub started: String,
    /// Commit of the repository, if there is one.
    pub commit: Option<String>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Pairs of runs.
    pub pairs: usize,
    /// How sure all intervals together are.
    pub confidence: f64,
    /// The least difference that matters.
    pub margin: f64,
    /// What was compared.
    pub metrics: Vec<Compared>,
    /// What was measured of one system, or in some runs, only.
    pub not_compared: Vec<String>,
    /// Ratios that were too much, or were not.
    pub limits: Vec<LimitChecked>,
}

/// A number of both systems.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Compared {
    /// Its name.
    pub metric: String,
    /// What every run of the first system measured, in order of time.
    pub a: Vec<f64>,
    /// What every run of the second system measured; the n-th is the n-th of `a`'s pair.
    pub b: Vec<f64>,
    /// The median of both, for people.
    pub in_words: (String, String),
    /// How many times as much there is of it in the second system.
    pub ratio: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Whether they differ: surely, and by more than the margin.
    pub differs: bool,
    /// Whether the second system is the worse one, if they differ.
    pub is_worse: bool,
}

/// A limit, and whether it was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LimitChecked {
    /// The limit, as it was written.
    pub limit: String,
    /// Whether the second system keeps it.
    pub holds: bool,
    /// Why.
    pub reason: String,
}

impl Comparison {
    /// Whether a limit was not kept.
    pub fn is_regression(&self) -> bool {
        self.limits.iter().any(|checked| !checked.holds)
    }

    /// The comparison in one line.
    pub fn headline(&self) -> String {
        if let Some(missed) = self.limits.iter().find(|checked| !checked.holds) {
            return format!("REGRESSION: {}: {}", missed.limit, missed.reason);
        }
        let differ = self.metrics.iter().filter(|compared| compared.differs).count();
        let all = self.metrics.len();
        match differ {
            0 => format!("NO DIFFERENCE in {all} numbers"),
            _ => format!("{differ} of {all} numbers differ"),
        }
    }
}

/// Runs both systems in turns, in folders below `folder`, and compares them. `tell` hears of each
/// run before it begins.
pub async fn compare(
    plan: &Plan,
    folder: &Path,
    interrupt: CancellationToken,
    mut tell: impl FnMut(&str),
) -> Result<Comparison, CompareError> {
    let rounds = usize::try_from(plan.rounds).expect("u32 fits usize");
    let mut runs: Vec<(Which, RunReport)> = Vec::new();
    for (place, which) in ROUND.into_iter().cycle().take(ROUND.len() * rounds).enumerate() {
        let (name, settings) = if which == Which::A { &plan.a } else { &plan.b };
        tell(&format!("run {} of {}: {which:?}, {name}", place + 1, ROUND.len() * rounds));
        let mut settings = settings.clone();
        settings.results = folder.join("runs");
        // Both runs of a pair do the same work; each pair does another.
        let pair = u64::try_from(place / 2).expect("usize fits u64");
        settings.seed = settings.seed.wrapping_add(pair);
        let (report, at) = runner::run(settings, interrupt.clone()).await?;
        if report.interrupted {
            return Err(CompareError::Interrupted { runs: place });
        }
        match report.outcome() {
            Outcome::Ok => runs.push((which, report)),
            outcome => {
                return Err(CompareError::DoesNotCount {
                    run: place + 1,
                    which,
                    headline: report.headline(),
                    folder: at,
                    outcome,
                });
            }
        }
    }
    Ok(compared(plan, &runs))
}

/// Compares runs in the order in which they were done.
pub fn compared(plan: &Plan, runs: &[(Which, RunReport)]) -> Comparison {
    let of = |which: Which| -> Vec<&RunReport> {
        runs.iter().filter(|(of, _)| *of == which).map(|(_, report)| report).collect()
    };
    // Of `A B B A`, the n-th run of each is a pair.
    let (a, b) = (of(Which::A), of(Which::B));
    let seed = plan.a.1.seed;
    let (mut not_compared, mut found) = (Vec::new(), Vec::new());
    let asked = asked(plan);
    for metric in worth_it(plan, &asked, &a, &b) {
        match pairs(metric, &a, &b) {
            Pairs::Whole(of_a, of_b) if asked.contains(&metric) || !is_nothing(&of_a, &of_b) => {
                found.push((metric, of_a, of_b));
            }
            Pairs::Whole(..) => {}
            Pairs::Absent if !asked.contains(&metric) => {}
            Pairs::Absent => not_compared.push((metric, "measured in no run".to_owned())),
            Pairs::Partial(reason) => not_compared.push((metric, reason)),
        }
    }
    let level = level_of_each(plan.confidence, found.len());
    let metrics: Vec<(Metric, Compared)> = found
        .into_iter()
        .map(|(metric, a, b)| (metric, one(metric, a, b, level, plan.margin, seed)))
        .collect();
    let limits = plan.limits.iter().map(|limit| check(limit, &metrics, &not_compared)).collect();
    let first = |reports: &[&RunReport]| {
        reports.first().map_or_else(String::new, |report| report.system.clone())
    };
    let head = a.first();
    Comparison {
        version: 1,
        workload: head.map_or_else(String::new, |report| report.workload.clone()),
        a: plan.a.0.clone(),
        a_system: first(&a),
        b: plan.b.0.clone(),
        b_system: first(&b),
        started: head.map_or_else(String::new, |report| report.started.clone()),
        commit: head.and_then(|report| report.commit.clone()),
        seed,
        pairs: a.len().min(b.len()),
        confidence: plan.confidence,
        margin: plan.margin,
        metrics: metrics.into_iter().map(|(_, compared)| compared).collect(),
        not_compared: not_compared.iter().map(|(of, reason)| format!("{of}: {reason}")).collect(),
        limits,
    }
}

fn one(metric: Metric, a: Vec<f64>, b: Vec<f64>, level: f64, margin: f64, seed: u64) -> Compared {
    let pairs: Vec<(f64, f64)> = a.iter().copied().zip(b.iter().copied()).collect();
    let ratio =
        if is_nothing(&a, &b) { Ratio::SAME } else { statistics::ratio(&pairs, level, seed) };
    let Ratio { estimate, low, high } = ratio;
    let differs = ratio.differs(margin);
    let is_worse = differs && (estimate < 1.0) == metric.quantity.more_is_better();
    Compared {
        metric: metric.to_string(),
        in_words: (metric.in_words(median(&a)), metric.in_words(median(&b))),
        a,
        b,
        ratio: estimate,
        low,
        high,
        differs,
        is_worse,
    }
}

/// A limit is broken by a difference that is sure and whose estimate is beyond it. One on a number
/// that could not be compared is broken too: it was written to be looked at.
fn check(
    limit: &RatioLimit,
    metrics: &[(Metric, Compared)],
    not_compared: &[(Metric, String)],
) -> LimitChecked {
    let text = limit.text.clone();
    let Some((_, compared)) = metrics.iter().find(|(metric, _)| *metric == limit.metric) else {
        let why = not_compared.iter().find(|(metric, _)| *metric == limit.metric);
        let (_, why) = why.expect("what a limit names is compared, or there is a reason");
        return LimitChecked { limit: text, holds: false, reason: why.clone() };
    };
    let is_beyond =
        if limit.is_above { compared.ratio > limit.limit } else { compared.ratio < limit.limit };
    let is_sure = compared.low > 1.0 || compared.high < 1.0;
    let (ratio, interval) = (page::times(compared.ratio), page::interval(compared));
    let reason = format!("ratio {ratio}, interval {interval}");
    let reason = match (is_beyond, is_sure) {
        (true, false) => format!("{reason}, which may be chance"),
        _ => reason,
    };
    LimitChecked { limit: text, holds: !(is_beyond && is_sure), reason }
}

/// Writes what came of a comparison into its folder.
pub fn save(comparison: &Comparison, folder: &Path) -> Result<(), CompareError> {
    let json = serde_json::to_string_pretty(comparison).expect("a comparison is plain data");
    for (name, text) in [
        ("compare.json", json + "\n"),
        ("summary.md", page::markdown(comparison)),
        ("report.html", page::html(comparison)),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|source| CompareError::Folder { path, source })?;
    }
    Ok(())
}

/// Rounds that are at least needed for an interval.
pub fn rounds_min() -> u32 {
    let pairs_of_a_round = ROUND.len() / 2;
    u32::try_from(PAIRS_MIN.div_ceil(pairs_of_a_round)).expect("it is small")
}

#[cfg(test)]
mod tests;
