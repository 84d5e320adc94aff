//! The way in: from a file, from records, or from a collected history to a report.

pub(crate) mod calls;
pub(crate) mod transactions;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use crate::finals;
use crate::findings::Findings;
use crate::formats::native::Records;
use crate::formats::{FormatError, LeftOut, compressed, robustness};
use crate::history::History;
use crate::history::error::{InputError, Position};
use crate::history::record::{NemesisPhase, Record};
use crate::linear::brief::Briefs;
use crate::linear::diagnose::diagnose;
use crate::linear::oracle;
use crate::linear::revision::{self, Replayed};
use crate::verdict::{Counts, Engine, Report, Timing};
use crate::watch;

/// How to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Which engine decides on linearizability.
    pub engine: Engine,
    /// Steps that the search over unpinned gaps may take before it gives up with `Unknown`.
    pub search_steps_max: u64,
    /// Violations listed for each rule; the rest are counted.
    pub violations_per_rule_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { engine: Engine::Auto, search_steps_max: 20_000_000, violations_per_rule_max: 5 }
    }
}

/// A history that was judged, and what was found out about it.
#[derive(Debug)]
pub struct Checked {
    /// What was judged.
    pub history: History,
    /// The answer.
    pub report: Report,
    /// What happened at each revision; `None` if the revisions cannot be replayed.
    pub(crate) replayed: Option<Replayed>,
}

impl Checked {
    /// Judges a history.
    pub fn new(history: History, options: &Options) -> Checked {
        let (report, replayed) = judge(&history, options);
        Checked { history, report, replayed }
    }

    /// Reads and judges a history file, which may be compressed with zstd; `progress` is told the
    /// bytes read, now and then, as they are once decompressed.
    pub fn file(
        path: &Path,
        options: &Options,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Checked, InputError> {
        let file = File::open(path)
            .map_err(|source| InputError::Open { path: path.display().to_string(), source })?;
        let position = Position::line(1);
        let input =
            compressed::plain(file).map_err(|source| InputError::Read { position, source })?;
        Checked::input(input, options, progress)
    }

    /// Reads and judges a history; `progress` is told the bytes read, now and then.
    pub fn input(
        input: impl Read,
        options: &Options,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Checked, InputError> {
        Checked::timed(options, || History::read(input, progress))
    }

    /// Reads and judges the report folder of etcd's robustness tests; what it could not tell is given
    /// with the answer.
    pub fn report_folder(
        folder: &Path,
        options: &Options,
    ) -> Result<(Checked, LeftOut), FormatError> {
        let mut reader = robustness::Reader::open(folder)?;
        let checked = Checked::timed(options, || {
            let mut error = None;
            let records = std::iter::from_fn(|| match reader.next_record() {
                Ok(next) => next.map(|(_, record)| record),
                Err(found) => {
                    error = Some(found);
                    None
                }
            });
            let history = History::collect(records);
            match error {
                Some(error) => Err(error),
                None => history.map_err(FormatError::from),
            }
        })?;
        Ok((checked, reader.left_out()))
    }

    fn timed<E>(
        options: &Options,
        read: impl FnOnce() -> Result<History, E>,
    ) -> Result<Checked, E> {
        let start = Instant::now();
        let history = read()?;
        let parse_seconds = start.elapsed().as_secs_f64();
        let mut checked = Checked::new(history, options);
        checked.report.timing.parse_seconds = parse_seconds;
        Ok(checked)
    }
}

/// Reads and judges a history file.
pub fn check_file(path: impl AsRef<Path>, options: &Options) -> Result<Report, InputError> {
    Checked::file(path.as_ref(), options, &mut |_| {}).map(|checked| checked.report)
}

/// Judges records in memory, the header first.
pub fn check_records(
    records: impl IntoIterator<Item = Record>,
    options: &Options,
) -> Result<Report, InputError> {
    let history = History::collect(records)?;
    Ok(check(&history, options))
}

/// Judges a history.
pub fn check(history: &History, options: &Options) -> Report {
    judge(history, options).0
}

fn judge(history: &History, options: &Options) -> (Report, Option<Replayed>) {
    let start = Instant::now();
    let mut findings = Findings::new(options.violations_per_rule_max);
    let briefs = Briefs::of(history);
    let mut counts = count(&briefs);
    let (survey, replayed) = match options.engine {
        Engine::Auto | Engine::Revision => {
            revision::check(&briefs, options, &mut counts, &mut findings)
        }
        Engine::Stateright => {
            oracle::check(history, options.search_steps_max, &mut findings);
            // Watches need to know what happened, which stateright does not tell.
            let mut of_revisions = findings.empty();
            let (survey, replayed) =
                revision::check(&briefs, options, &mut counts, &mut of_revisions);
            (survey, replayed.filter(|_| !of_revisions.any()))
        }
    };
    counts.add(&survey.counts);
    counts.changes = replayed.as_ref().map_or(0, |replayed| wide(replayed.count()));
    watch::check(&briefs, &survey, replayed.as_ref(), &mut findings);
    counts.hashes_compared = finals::members::check(&briefs, &survey, &mut findings);
    finals::late::check(&briefs, &survey, &mut findings);
    diagnose(history, &mut findings);
    finals::agreement::check(history, &mut findings);
    let report = Report {
        verdict: findings.verdict(),
        engine: match options.engine {
            Engine::Auto => Engine::Revision,
            chosen => chosen,
        },
        workload: history.header.workload.clone(),
        system: history.header.system.clone(),
        seed: history.header.seed,
        counts,
        timing: Timing { parse_seconds: 0.0, check_seconds: start.elapsed().as_secs_f64() },
    };
    (report, replayed)
}

/// What was counted but for the watches.
fn count(briefs: &Briefs<'_>) -> Counts {
    let mut counts = briefs.counts.clone();
    let nemeses = &briefs.history.nemeses;
    let begun = |phase| phase == NemesisPhase::Start;
    counts.faults = wide(nemeses.iter().filter(|line| begun(line.nemesis.phase)).count());
    counts.finals = wide(briefs.history.finals.len());
    counts
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).expect("usize fits u64")
}
