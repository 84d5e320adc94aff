//! The highest rate at which a workload keeps its service levels.
//!
//! Every probe is a run of its own: fresh members on empty folders (unless they were there before),
//! an open loop at a constant rate, another seed. A run in which the generator was the bottleneck,
//! or that failed, does not count. See [`bracket`] for where to look.

pub mod bracket;

use std::fmt::Write;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::metric::{Checked, Condition};
use crate::report::markdown::{cell, fitting};
use crate::report::{Outcome, RunReport};
use crate::runner::{self, RunError, Settings};
use bracket::{Answer, Bounds, Bracket, End, Found, Step};

/// What to search, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How a probe is run, but for its rate and its seed.
    pub settings: Settings,
    /// What has to hold.
    pub slo: Vec<Condition>,
    /// Where to look.
    pub bounds: Bounds,
}

/// What came of a search.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "A search by loadgen")]
pub struct Searched {
    /// Version of this format.
    pub version: u32,
    /// Name of the workload.
    pub workload: String,
    /// What was under test.
    pub system: String,
    /// What had to hold.
    pub slo: Vec<String>,
    /// When it began, in UTC.
    pub started: String,
    /// Seed of the first probe.
    pub seed: u64,
    /// What was found.
    pub found: Found,
    /// Every probe, in order of time.
    pub probes: Vec<Probe>,
}

/// One run of a search.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Probe {
    /// Operations per second that were offered.
    pub rate: u32,
    /// Operations per second that were answered.
    pub answered: Option<f64>,
    /// What came of it.
    pub answer: Answer,
    /// What was measured of each condition.
    pub conditions: Vec<Checked>,
    /// Why it does not count, if it does not.
    pub reason: Option<String>,
    /// Its folder.
    pub folder: String,
}

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// A run could not begin.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A history broke a promise, which outweighs how fast it was made.
    #[error("the probe at {rate}/s: {headline}\nsee {folder}")]
    Violation {
        /// The rate.
        rate: u32,
        /// What it came to.
        headline: String,
        /// Where to look.
        folder: String,
    },
    /// The user had enough.
    #[error("interrupted")]
    Interrupted,
}

/// Searches, with the probes' folders below `folder`. `tell` hears of each probe.
pub async fn search(
    plan: &Plan,
    folder: &Path,
    interrupt: CancellationToken,
    mut tell: impl FnMut(&str),
) -> Result<Searched, SearchError> {
    let mut bracket = Bracket::new(plan.bounds);
    let mut probes = Vec::new();
    let (mut system, mut started) = (String::new(), String::new());
    loop {
        let rate = match bracket.step() {
            Step::Probe(rate) => rate,
            Step::Done(found) => {
                return Ok(Searched {
                    version: 1,
                    workload: plan.settings.workload.name.clone(),
                    system,
                    slo: plan.slo.iter().map(|condition| condition.text.clone()).collect(),
                    started,
                    seed: plan.settings.seed,
                    found,
                    probes,
                });
            }
        };
        let settings = at_rate(plan, rate, probes.len(), folder);
        let (report, at) = runner::run(settings, interrupt.clone()).await?;
        let at = at.display().to_string();
        if report.interrupted {
            return Err(SearchError::Interrupted);
        }
        if report.outcome() == Outcome::Violation {
            return Err(SearchError::Violation { rate, headline: report.headline(), folder: at });
        }
        let probe = judge(rate, &report, at);
        tell(&probe.in_words());
        bracket.answer(rate, probe.answer);
        probes.push(probe);
        system.clone_from(&report.system);
        if started.is_empty() {
            started.clone_from(&report.started);
        }
    }
}

/// How the probe with this place is run.
fn at_rate(plan: &Plan, rate: u32, place: usize, folder: &Path) -> Settings {
    let mut settings = plan.settings.clone();
    settings.overrides.rate = Some(rate);
    settings.overrides.set_rate(&mut settings.workload);
    settings.slo.clone_from(&plan.slo);
    settings.results = folder.join("runs");
    settings.seed = settings.seed.wrapping_add(u64::try_from(place).expect("usize fits u64"));
    settings
}

/// What a run says of its rate.
fn judge(rate: u32, report: &RunReport, folder: String) -> Probe {
    let (answer, reason) = match report.outcome() {
        Outcome::Ok => (Answer::Held, None),
        Outcome::SloMissed => (Answer::Missed, None),
        Outcome::Failed | Outcome::Unknown | Outcome::Violation => {
            (Answer::DoesNotCount, Some(report.headline()))
        }
    };
    let answered = report.load.as_ref().map(|load| load.per_second);
    Probe { rate, answered, answer, conditions: report.slo.clone(), reason, folder }
}

impl Probe {
    /// The probe in one line.
    pub fn in_words(&self) -> String {
        let what = match self.answer {
            Answer::Held => "held",
            Answer::Missed => "missed",
            Answer::DoesNotCount => "does not count",
        };
        let conditions =
            self.conditions.iter().map(|c| format!("{} was {}", c.condition, c.in_words));
        let mut told = conditions.collect::<Vec<_>>().join(", ");
        if let Some(reason) = &self.reason {
            told.clone_from(reason);
        }
        format!("{}/s {what}: {told}", self.rate)
    }
}

impl Searched {
    /// What was found, in one line, with how sure it is.
    pub fn headline(&self) -> String {
        let Found { held, confirmed, missed, end } = self.found;
        match (end, held, missed) {
            (End::Found, Some(held), Some(missed)) => format!(
                "{held}/s holds ({confirmed} of {confirmed} runs), {missed}/s does not: the limit is \
                 between them"
            ),
            (End::HeldEverywhere, Some(held), _) => {
                format!("{held}/s holds ({confirmed} of {confirmed} runs), and no more was tried")
            }
            (End::NotMeasurable, Some(held), _) => format!(
                "{held}/s holds ({confirmed} of {confirmed} runs); higher rates could not be \
                 measured, so the limit is at or above that"
            ),
            (End::HeldNowhere, _, Some(missed)) => format!("not even {missed}/s holds"),
            _ => "no rate could be measured".to_owned(),
        }
    }

    /// Whether a rate was found that holds.
    pub fn is_answer(&self) -> bool {
        self.found.held.is_some()
    }

    /// Renders `summary.md`.
    pub fn markdown(&self) -> String {
        let mut page = String::new();
        self.write(&mut page).expect("writing into a string does not fail");
        fitting(page)
    }

    fn write(&self, page: &mut String) -> std::fmt::Result {
        writeln!(page, "# {}: {}\n", self.workload, self.headline())?;
        writeln!(page, "| | |\n|---|---|")?;
        writeln!(page, "| system | {} |", cell(&self.system))?;
        writeln!(page, "| has to hold | {} |", cell(&self.slo.join(", ")))?;
        writeln!(page, "| seed | {} |\n| started | {} |\n", self.seed, self.started)?;
        writeln!(page, "| offered | answered | | |\n|--:|--:|---|---|")?;
        for probe in &self.probes {
            let words = probe.in_words();
            let (_, words) = words.split_once(' ').unwrap_or(("", &words));
            let (what, told) = words.split_once(": ").unwrap_or((words, ""));
            let answered = probe.answered.map_or("-".to_owned(), |rate| format!("{rate:.0}/s"));
            writeln!(page, "| {}/s | {answered} | {what} | {} |", probe.rate, cell(told))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::parse_conditions;
    use crate::report::tests::measured;
    use crate::runner::tests::settings;

    fn probe(slo: &str, incidents: &[&str]) -> Probe {
        let mut report = measured();
        report.incidents = incidents.iter().map(|text| (*text).to_owned()).collect();
        report.check(&parse_conditions("--slo", slo).unwrap());
        judge(1000, &report, "a/b".to_owned())
    }

    #[test]
    fn every_probe_is_a_run_of_its_own_at_its_rate() {
        let bounds = Bounds { start: 9, lowest: 1, highest: 99, precision: 0.05, confirmations: 1 };
        let slo = parse_conditions("--slo", "get.p99<1ms").unwrap();
        let plan = Plan { settings: settings(), slo: slo.clone(), bounds };
        let [first, second] =
            [(70, 0), (35, 1)].map(|(rate, place)| at_rate(&plan, rate, place, Path::new("a")));
        assert_eq!((first.seed, second.seed), (plan.settings.seed, plan.settings.seed + 1));
        assert_eq!(*first.workload.pacing.rate.as_ref().unwrap().get_ref(), 70);
        assert_eq!(*second.workload.pacing.rate.as_ref().unwrap().get_ref(), 35);
        assert_eq!((second.overrides.rate, second.slo), (Some(35), slo));
        assert_eq!(second.results, Path::new("a/runs"));
    }

    #[test]
    fn a_run_that_failed_says_nothing_of_the_server() {
        assert_eq!(probe("get.p99<1ms", &[]).answer, Answer::Held);
        assert_eq!(probe("get.p99<1us", &[]).answer, Answer::Missed);
        let busy = probe("get.p99<1us", &["the generator was the bottleneck: 1 core"]);
        assert_eq!(busy.answer, Answer::DoesNotCount);
        assert_eq!(
            busy.in_words(),
            "1000/s does not count: RUN FAILED: the generator was the bottleneck: 1 core"
        );
    }

    #[test]
    fn a_search_says_how_sure_it_is() {
        let searched = |held, missed, end| Searched {
            version: 1,
            workload: "put-heavy".to_owned(),
            system: "etcd 3.7.3".to_owned(),
            slo: vec!["get.p99<1ms".to_owned()],
            started: "20260101T000000".to_owned(),
            seed: 7,
            found: Found { held, confirmed: 3, missed, end },
            probes: vec![probe("get.p99<1ms", &[]), probe("get.p99<1us", &[])],
        };
        let found = searched(Some(900), Some(940), End::Found);
        assert_eq!(
            found.headline(),
            "900/s holds (3 of 3 runs), 940/s does not: the limit is between them"
        );
        let page = found.markdown();
        assert!(page.contains("| 1000/s | 1000/s | held | get.p99<1ms was 5"), "{page}");
        assert!(page.contains("| 1000/s | 1000/s | missed | get.p99<1us was 5"), "{page}");
        let none = searched(None, Some(10), End::HeldNowhere);
        assert_eq!((none.headline(), none.is_answer()), ("not even 10/s holds".to_owned(), false));
        let busy = searched(Some(900), None, End::NotMeasurable);
        assert!(busy.headline().contains("higher rates could not be measured"));
    }
}
