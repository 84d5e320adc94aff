//! How many mutants of a kind were made, were truly invalid, and were rejected, and by which rule.

use std::collections::BTreeMap;

use rusd_checker::{Rule, Verdict};

use crate::histories::Source;
use crate::judge::Judged;

/// Mutants of one kind and source.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) made: u64,
    pub(crate) invalid: u64,
    pub(crate) rejected: u64,
    blamed: BTreeMap<Rule, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, judged: &Judged) {
        self.made += 1;
        self.invalid += u64::from(judged.is_invalid);
        self.rejected += u64::from(matches!(judged.report.verdict, Verdict::Invalid { .. }));
        if let Some(rule) = judged.blamed() {
            *self.blamed.entry(rule).or_default() += 1;
        }
    }

    fn cells(&self, kind: &str, source: Source) -> [String; 6] {
        let number = |count: u64| count.to_string();
        let one = self.blamed.len() == 1;
        let blamed = self.blamed.iter().map(|(rule, count)| {
            if one { rule.id().to_owned() } else { format!("{} {count}", rule.id()) }
        });
        [
            kind.to_owned(),
            source.name().to_owned(),
            number(self.made),
            number(self.invalid),
            number(self.rejected),
            blamed.collect::<Vec<_>>().join(", "),
        ]
    }
}

/// A table of all of them, with the sums.
pub(crate) fn table(tallies: &[(&str, Source, Tally)]) -> Vec<String> {
    let heading = ["damage", "history", "made", "truly invalid", "rejected", "blamed"];
    let mut lines = vec![row(&heading), row(&["---", "---", "---:", "---:", "---:", "---"])];
    let mut sum = Tally::default();
    for (kind, source, tally) in tallies {
        sum.made += tally.made;
        sum.invalid += tally.invalid;
        sum.rejected += tally.rejected;
        let cells = tally.cells(kind, *source);
        lines.push(row(&cells.each_ref().map(String::as_str)));
    }
    lines.push(String::new());
    lines.push(format!(
        "{} mutants, {} truly invalid, {} rejected.",
        sum.made, sum.invalid, sum.rejected
    ));
    lines
}

fn row(cells: &[&str]) -> String {
    format!("| {} |", cells.join(" | "))
}
