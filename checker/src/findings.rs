//! Collects violations while the rules run: all rules run, even when one has already failed.

use std::collections::BTreeMap;

use crate::verdict::{Named, Rule, Verdict, Violation};

/// What the rules have found so far.
#[derive(Debug)]
pub(crate) struct Findings {
    per_rule_max: usize,
    counts: BTreeMap<Rule, usize>,
    violations: Vec<Violation>,
    undecided: Vec<String>,
}

impl Findings {
    pub(crate) fn new(per_rule_max: usize) -> Findings {
        let per_rule_max = per_rule_max.max(1);
        Findings {
            per_rule_max,
            counts: BTreeMap::new(),
            violations: Vec::new(),
            undecided: Vec::new(),
        }
    }

    /// Notes a violation; only the first few of a rule are kept.
    pub(crate) fn add(&mut self, rule: Rule, make: impl FnOnce() -> Broken) {
        let count = self.counts.entry(rule).or_default();
        *count += 1;
        if *count <= self.per_rule_max {
            let Broken { operations, expected, got } = make();
            self.violations.push(Violation { rule, operations, expected, got });
        }
    }

    /// What was found first.
    pub(crate) fn into_first(self) -> Option<(Rule, Broken)> {
        let Violation { rule, operations, expected, got } = self.violations.into_iter().next()?;
        Some((rule, Broken { operations, expected, got }))
    }

    /// Findings of a part of the rules, to be merged later.
    pub(crate) fn empty(&self) -> Findings {
        Findings::new(self.per_rule_max)
    }

    /// Takes over what a part of the rules has found.
    pub(crate) fn merge(&mut self, other: &Findings) {
        for violation in &other.violations {
            let count = self.counts.get(&violation.rule).copied().unwrap_or(0);
            if count < self.per_rule_max {
                self.violations.push(violation.clone());
            }
            *self.counts.entry(violation.rule).or_default() += 1;
        }
        for (rule, count) in &other.counts {
            // Those that were kept are counted already.
            let more = count.saturating_sub(other.per_rule_max);
            *self.counts.entry(*rule).or_default() += more;
        }
        for reason in &other.undecided {
            if !self.undecided.contains(reason) {
                self.undecided.push(reason.clone());
            }
        }
    }

    /// Notes something that could not be decided.
    pub(crate) fn undecided(&mut self, reason: impl Into<String>) {
        self.undecided.push(reason.into());
    }

    /// Whether `rule` has broken.
    pub(crate) fn breaks(&self, rule: Rule) -> bool {
        self.counts.contains_key(&rule)
    }

    /// Whether anything has broken.
    pub(crate) fn any(&self) -> bool {
        !self.counts.is_empty()
    }

    /// Whether something could not be decided.
    pub(crate) fn is_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// One violation is proof, whatever else stayed undecided.
    pub(crate) fn verdict(mut self) -> Verdict {
        if !self.violations.is_empty() {
            let found: usize = self.counts.values().sum();
            let omitted = u64::try_from(found - self.violations.len()).expect("usize fits u64");
            self.violations.sort_by_key(|violation| violation.rule);
            return Verdict::Invalid { violations: self.violations, omitted };
        }
        if self.undecided.is_empty() {
            Verdict::Valid
        } else {
            Verdict::Unknown { reason: self.undecided.join("; ") }
        }
    }
}

/// How a rule broke.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) operations: Vec<Named>,
    pub(crate) expected: String,
    pub(crate) got: String,
}
