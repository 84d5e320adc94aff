//! What the checker says of a mutant, beside somebody else who says whether it is valid.

use rusd_checker::history::History;
use rusd_checker::history::record::Record;
use rusd_checker::{Engine, Options, Report, Rule, Verdict, check};

use crate::damage::Mutant;
use crate::histories::{Base, Source};
use crate::kinds::{About, Kind};
use crate::views;

/// Steps after which stateright gives up on a small history.
const ORACLE_STEPS_MAX: u64 = 1_000_000;

/// A mutant, judged twice.
pub(crate) struct Judged {
    pub(crate) is_invalid: bool,
    pub(crate) report: Report,
}

impl Judged {
    /// The rule that was blamed before others.
    pub(crate) fn blamed(&self) -> Option<Rule> {
        self.report.verdict.rule()
    }

    /// What is wrong with the checker's answer, if anything.
    pub(crate) fn complaint(&self, kind: &Kind, source: Source) -> Option<String> {
        let due = kind.due(source);
        match (&self.report.verdict, self.is_invalid) {
            (Verdict::Valid, false) => None,
            (verdict @ Verdict::Invalid { .. }, true) => {
                let is_named = due.iter().any(|rule| verdict.breaks(*rule));
                let first = self.blamed().map_or("nothing", Rule::id);
                (!is_named)
                    .then(|| format!("is blamed on {first}; none of {} is named", named(&due)))
            }
            (Verdict::Valid, true) => Some("passes".into()),
            (Verdict::Invalid { .. }, false) => Some("is valid, and rejected".into()),
            (Verdict::Unknown { .. }, _) => Some("is undecided".into()),
        }
    }
}

fn named(rules: &[Rule]) -> String {
    rules.iter().map(|rule| rule.id()).collect::<Vec<_>>().join(", ")
}

impl Kind {
    /// The rules of which one must be named for this damage.
    fn due(&self, source: Source) -> Vec<Rule> {
        let more: &[Rule] = if source == Source::Small { self.named_unwatched } else { &[] };
        self.named.iter().chain(more).copied().collect()
    }

    /// Whether somebody can say what becomes of such a mutant of a history from there.
    pub(crate) fn concerns(&self, source: Source) -> bool {
        source != Source::Small || self.about == About::Operations
    }
}

/// Damages a history and judges it; `None` if nothing could be damaged, or if nobody else can say whether
/// it is valid.
pub(crate) fn judge(kind: &Kind, source: Source, base: &Base, seed: u64) -> Option<Judged> {
    let mut mutant = Mutant::new(&base.records, &base.truth, seed);
    (kind.damage)(&mut mutant)?;
    let records = mutant.records;
    let is_invalid = match (source, kind.about) {
        (Source::Small, _) => oracle(&records)?,
        (_, About::Watches) => !views::are_right(&records, &base.truth),
        (_, About::Operations | About::Members) => true,
    };
    Some(Judged { is_invalid, report: checked(&records, Engine::Auto) })
}

/// Whether stateright says that a history is invalid; `None` if it gives up.
fn oracle(records: &[Record]) -> Option<bool> {
    match checked(records, Engine::Stateright).verdict {
        Verdict::Valid => Some(false),
        Verdict::Invalid { .. } => Some(true),
        Verdict::Unknown { .. } => None,
    }
}

pub(crate) fn checked(records: &[Record], engine: Engine) -> Report {
    let history = History::collect(records.iter().cloned()).expect("still well-formed");
    let search_steps_max = match engine {
        Engine::Stateright => ORACLE_STEPS_MAX,
        Engine::Auto | Engine::Revision => Options::default().search_steps_max,
    };
    check(&history, &Options { engine, search_steps_max, ..Options::default() })
}
