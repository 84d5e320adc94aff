//! The answer: whether a history is valid, what is wrong with it, and which models that rules out.
//!
//! Its fields and words are Elle's. What it tells by number, [`explain`](super::explain) puts in words.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use super::anomaly::Anomaly;
use super::consistency::{Boundary, Model, boundary};
use super::options::Options;
use super::transaction::{Element, Key, TransactionId};

/// The answer to a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Whether the history is what was asked for.
    #[serde(rename = "valid?")]
    pub valid: Validity,
    /// What is wrong, in the order of names: what was asked not to be there, and why nothing is known.
    pub anomaly_types: Vec<Anomaly>,
    /// The same, with cases, by name.
    pub anomalies: BTreeMap<String, Found>,
    /// The weakest models that do not hold. Empty if the history is valid.
    pub not: Vec<Model>,
    /// The stronger models, which do not hold either.
    pub also_not: Vec<Model>,
    /// Cycles that were neither found nor ruled out: only beside worse ones, or where the search was
    /// cut short.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undecided: Vec<Anomaly>,
}

/// Whether a history is what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Nothing was found that speaks against it.
    Valid,
    /// It is not.
    Invalid,
    /// Neither is known.
    Unknown,
}

impl Serialize for Validity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Validity::Valid => serializer.serialize_bool(true),
            Validity::Invalid => serializer.serialize_bool(false),
            Validity::Unknown => serializer.serialize_str("unknown"),
        }
    }
}

/// Cases of one anomaly.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Found {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub cases: Vec<Case>,
}

/// One case of an anomaly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Case {
    /// Transactions each of which must come before the next, and the last before the first.
    Cycle {
        /// Why, one after the other.
        steps: Vec<Step>,
        /// Whether no cycle of its kind in its component is shorter.
        shortest: bool,
    },
    /// A transaction disagrees with what it read or wrote before.
    Internal {
        /// The transaction.
        transaction: TransactionId,
        /// Which of its micro-operations disagrees, from 0.
        mop: usize,
        /// What it should have read.
        expected: Vec<Element>,
        /// Something unknown may be before that.
        prefix_unknown: bool,
    },
    /// A transaction read what it was yet to write.
    FutureRead {
        /// The transaction.
        transaction: TransactionId,
        /// The key.
        key: Key,
        /// What it read and then wrote.
        element: Element,
    },
    /// A transaction read what another should not have let it see.
    Read {
        /// Who read it.
        reader: TransactionId,
        /// Who wrote it; nobody, if it is garbage.
        writer: Option<TransactionId>,
        /// The key.
        key: Key,
        /// What was read.
        element: Element,
    },
    /// What aborted is in a list below what committed.
    DirtyUpdate {
        /// The key.
        key: Key,
        /// Who aborted.
        aborted: TransactionId,
        /// Who committed.
        committed: TransactionId,
        /// From the element of the one to that of the other.
        elements: Vec<Element>,
    },
    /// An element is twice in a list.
    DuplicateElements {
        /// Who read the list.
        reader: TransactionId,
        /// The key.
        key: Key,
        /// The element.
        element: Element,
    },
    /// Two lists, neither of which is the beginning of the other.
    IncompatibleOrder {
        /// The key.
        key: Key,
        /// Who read them.
        readers: [TransactionId; 2],
        /// What they read.
        lists: [Vec<Element>; 2],
    },
    /// All read one version, and wrote a new one.
    LostUpdate {
        /// The key.
        key: Key,
        /// The version: of a register its value, of a list all of it.
        version: Vec<Element>,
        /// The transactions.
        transactions: Vec<TransactionId>,
    },
    /// Versions of a register that come before each other; `None` is the initial one.
    CyclicVersions {
        /// The key.
        key: Key,
        /// The versions.
        versions: Vec<Option<Element>>,
        /// Where their order is from.
        sources: Vec<Source>,
    },
    /// One element was written by two.
    DuplicateWrites {
        /// The key.
        key: Key,
        /// The element.
        element: Element,
        /// Who wrote it.
        writers: [TransactionId; 2],
    },
    /// No transaction depends on any other.
    EmptyTransactionGraph,
}

/// Where the order of a register's versions is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Source {
    /// Nothing is before what was there at first.
    #[serde(rename = "initial-state")]
    InitialState,
    /// The store told the revision of each.
    #[serde(rename = "mod-revision")]
    ModRevision,
    /// Writes follow reads within a transaction.
    #[serde(rename = "wfr-keys")]
    WritesFollowReads,
    /// Each key is sequentially consistent.
    #[serde(rename = "sequential-keys")]
    SequentialKeys,
    /// Each key is linearizable.
    #[serde(rename = "linearizable-keys")]
    LinearizableKeys,
}

/// One step of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Who comes first.
    pub from: TransactionId,
    /// Who comes after it.
    pub to: TransactionId,
    /// Why.
    #[serde(flatten)]
    pub because: Dependency,
}

/// Why a transaction comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Dependency {
    /// The other wrote over what it wrote.
    Ww {
        /// The key.
        key: Key,
        /// What it wrote.
        value: Element,
        /// What the other wrote.
        #[serde(rename = "value'")]
        next: Element,
    },
    /// The other read what it wrote.
    Wr {
        /// The key.
        key: Key,
        /// What it wrote.
        value: Element,
    },
    /// The other wrote over what it read.
    Rw {
        /// The key.
        key: Key,
        /// What it read; nothing, if it was the initial state.
        value: Option<Element>,
        /// What the other wrote.
        #[serde(rename = "value'")]
        next: Element,
    },
    /// One process did both, one after the other.
    Process {
        /// The process.
        process: u64,
    },
    /// It had returned when the other was called.
    Realtime {
        /// Event of its return.
        returned: u64,
        /// Event of the other's call.
        invoked: u64,
    },
}

impl Report {
    /// Whether this anomaly is among those reported.
    pub fn has(&self, anomaly: Anomaly) -> bool {
        self.anomaly_types.contains(&anomaly)
    }

    /// The cases of an anomaly that are listed.
    pub fn cases(&self, anomaly: Anomaly) -> &[Case] {
        self.anomalies.get(&anomaly.to_string()).map_or(&[], |found| &found.cases)
    }
}

/// What has been found so far.
#[derive(Debug)]
pub(crate) struct Findings {
    cases_max: usize,
    found: BTreeMap<Anomaly, Found>,
    undecided: BTreeSet<Anomaly>,
}

impl Findings {
    pub(crate) fn new(options: &Options) -> Findings {
        let cases_max = options.cases_max.max(1);
        Findings { cases_max, found: BTreeMap::new(), undecided: BTreeSet::new() }
    }

    /// Notes a case; only the first few are made and kept.
    pub(crate) fn add(&mut self, anomaly: Anomaly, case: impl FnOnce() -> Case) {
        let found = self.found.entry(anomaly).or_default();
        found.count += 1;
        if found.cases.len() < self.cases_max {
            found.cases.push(case());
        }
    }

    /// Notes that an anomaly could be neither found nor ruled out.
    pub(crate) fn leave_undecided(&mut self, anomaly: Anomaly) {
        self.undecided.insert(anomaly);
    }

    /// The answer to what was asked. As in Elle, anomalies that were not asked about are not told of,
    /// but count in what is ruled out once anything is told.
    pub(crate) fn report(self, options: &Options) -> Report {
        let forbidden = options.forbidden();
        let present: Vec<Anomaly> = self.found.keys().copied().collect();
        let is_bad = |anomaly: &Anomaly| forbidden.contains(anomaly);
        let is_told = |anomaly: &Anomaly| is_bad(anomaly) || anomaly.leaves_unknown();
        let mut anomaly_types: Vec<Anomaly> = present.iter().copied().filter(is_told).collect();
        anomaly_types.sort_by_key(ToString::to_string);
        let undecided: Vec<Anomaly> = self.undecided.into_iter().filter(is_bad).collect();
        let valid = if present.iter().any(is_bad) {
            Validity::Invalid
        } else if anomaly_types.is_empty() && undecided.is_empty() {
            Validity::Valid
        } else {
            Validity::Unknown
        };
        let Boundary { not, also_not } = match valid {
            Validity::Valid => Boundary::default(),
            Validity::Invalid | Validity::Unknown => boundary(&present),
        };
        let told = self.found.into_iter().filter(|(anomaly, _)| is_told(anomaly));
        let anomalies = told.map(|(anomaly, found)| (anomaly.to_string(), found)).collect();
        Report { valid, anomaly_types, anomalies, not, also_not, undecided }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(found: &[&str], options: &Options) -> Report {
        let mut findings = Findings::new(options);
        for name in found {
            findings.add(name.parse().expect("a name"), || Case::EmptyTransactionGraph);
        }
        findings.report(options)
    }

    #[test]
    fn what_was_not_asked_about_is_not_told_but_counts() {
        let options = Options::expecting(&[Model::ReadCommitted]);
        let valid = report(&["G2-item"], &options);
        assert_eq!((valid.valid, valid.anomaly_types.len()), (Validity::Valid, 0));
        assert!(valid.not.is_empty());
        let both = report(&["internal", "G2-item"], &Options::expecting(&[Model::RepeatableRead]));
        assert_eq!((both.valid, both.anomaly_types.len()), (Validity::Invalid, 1));
        assert_eq!(both.not, [Model::ReadAtomic, Model::RepeatableRead]);
        let unknown = report(&["internal", "empty-transaction-graph"], &options);
        assert_eq!(unknown.valid, Validity::Unknown);
        assert_eq!(unknown.not, [Model::ReadAtomic]);
    }

    #[test]
    fn undecided_matters_where_it_was_asked_about() {
        let mut findings = Findings::new(&Options::default());
        findings.leave_undecided("G-nonadjacent-item".parse().expect("a name"));
        let weak = Options::expecting(&[Model::ReadCommitted]);
        assert_eq!(findings.report(&weak).valid, Validity::Valid);
        let mut findings = Findings::new(&Options::default());
        findings.leave_undecided("G-nonadjacent-item".parse().expect("a name"));
        let report = findings.report(&Options::default());
        assert_eq!((report.valid, report.undecided.len()), (Validity::Unknown, 1));
    }

    #[test]
    fn cases_beyond_the_limit_are_counted() {
        let options = Options { cases_max: 2, ..Options::default() };
        let report = report(&["G1a", "G1a", "G1a"], &options);
        assert_eq!(report.cases(Anomaly::G1a).len(), 2);
        assert_eq!(report.anomalies["G1a"].count, 3);
    }

    #[test]
    fn as_json_it_has_the_names_of_elle() {
        let json = serde_json::to_value(report(&["G1a", "G0"], &Options::default()));
        let json = json.expect("a report is JSON");
        assert_eq!(json["valid?"], false);
        assert_eq!(json["anomaly-types"], serde_json::json!(["G0", "G1a"]));
        assert_eq!(json["not"], serde_json::json!(["read-uncommitted"]));
        assert_eq!(json["anomalies"]["G0"]["count"], 1);
        let step = Step {
            from: TransactionId(0),
            to: TransactionId(1),
            because: Dependency::Rw { key: Key(2), value: None, next: Element(3) },
        };
        assert_eq!(
            serde_json::to_value(step).expect("a step is JSON"),
            serde_json::json!({"from": 0, "to": 1, "type": "rw", "key": 2, "value": null, "value'": 3})
        );
    }
}
