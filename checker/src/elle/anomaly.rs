//! What can be wrong with a history, under the names that Elle gives it, and what follows from what.
//!
//! The names and implications are those of Elle's `consistency-model` namespace, which cites Adya,
//! Liskov and O'Neil ("Generalized Isolation Level Definitions", 2000) for most of them. Left out: what
//! needs predicates, and Elle's `*-cycle-exists`, which stand for cycles that it could not find.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Something wrong with a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// A list holds an element twice.
    DuplicateElements,
    /// The versions of a register have no order.
    CyclicVersions,
    /// A transaction disagrees with what it read or wrote before.
    Internal,
    /// Aborted read: what was read was written by a transaction that aborted.
    G1a,
    /// Intermediate read: what was read was not the last that its transaction wrote.
    G1b,
    /// What a transaction that aborted wrote is in a list below what one that committed wrote.
    DirtyUpdate,
    /// Two reads of a list, neither of which is the beginning of the other.
    IncompatibleOrder,
    /// A transaction read what it was yet to write.
    FutureRead,
    /// Two transactions read one version of a key and both wrote a new one.
    LostUpdate,
    /// A list holds an element that nobody appended. Elle has no name for it in its code (its paper
    /// calls it so) and ends with an error.
    GarbageRead,
    /// A cycle of dependencies.
    Cycle(CycleKind, Scope),
    /// A class of cycles: never found as such, but asked for, and implied.
    Class(CycleClass, Scope),
    /// No transaction depends on any other: nothing was checked.
    EmptyTransactionGraph,
    /// One element was appended twice to a key, so that reads do not tell whose it is.
    DuplicateAppends,
    /// One value was written twice to a register, so that reads do not tell whose it is.
    DuplicateWrites,
}

/// Cycles, from worst to mildest, by the dependencies they are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CycleKind {
    /// Write cycle: writes over writes only.
    G0,
    /// Circular information flow: at least one read of a write.
    G1c,
    /// Exactly one anti-dependency.
    GSingleItem,
    /// Anti-dependencies, but never two in a row.
    GNonadjacentItem,
    /// Anti-dependencies, two of them in a row.
    G2Item,
}

/// Classes of cycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CycleClass {
    /// G1a, G1b or G1c.
    G1,
    /// As the item variant, over predicates too.
    GSingle,
    /// As the item variant, over predicates too.
    GNonadjacent,
    /// Any cycle with anti-dependencies.
    G2,
}

/// Which orders beside dependencies a cycle takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// None.
    Data,
    /// That of a process.
    Process,
    /// That of real time.
    Realtime,
}

impl CycleKind {
    /// All of them, the worst first.
    pub const ALL: [CycleKind; 5] = [
        CycleKind::G0,
        CycleKind::G1c,
        CycleKind::GSingleItem,
        CycleKind::GNonadjacentItem,
        CycleKind::G2Item,
    ];

    fn name(self) -> &'static str {
        match self {
            CycleKind::G0 => "G0",
            CycleKind::G1c => "G1c",
            CycleKind::GSingleItem => "G-single-item",
            CycleKind::GNonadjacentItem => "G-nonadjacent-item",
            CycleKind::G2Item => "G2-item",
        }
    }
}

impl CycleClass {
    const ALL: [CycleClass; 4] =
        [CycleClass::G1, CycleClass::GSingle, CycleClass::GNonadjacent, CycleClass::G2];

    fn name(self) -> &'static str {
        match self {
            CycleClass::G1 => "G1",
            CycleClass::GSingle => "G-single",
            CycleClass::GNonadjacent => "G-nonadjacent",
            CycleClass::G2 => "G2",
        }
    }
}

impl Scope {
    const ALL: [Scope; 3] = [Scope::Data, Scope::Process, Scope::Realtime];

    fn suffix(self) -> &'static str {
        match self {
            Scope::Data => "",
            Scope::Process => "-process",
            Scope::Realtime => "-realtime",
        }
    }

    /// The next wider one: processes do one thing at a time, so their order is one in real time.
    fn wider(self) -> Option<Scope> {
        match self {
            Scope::Data => Some(Scope::Process),
            Scope::Process => Some(Scope::Realtime),
            Scope::Realtime => None,
        }
    }
}

impl Anomaly {
    /// Every anomaly.
    pub fn all() -> Vec<Anomaly> {
        let mut all = vec![
            Anomaly::DuplicateElements,
            Anomaly::CyclicVersions,
            Anomaly::Internal,
            Anomaly::G1a,
            Anomaly::G1b,
            Anomaly::DirtyUpdate,
            Anomaly::IncompatibleOrder,
            Anomaly::FutureRead,
            Anomaly::LostUpdate,
            Anomaly::GarbageRead,
            Anomaly::EmptyTransactionGraph,
            Anomaly::DuplicateAppends,
            Anomaly::DuplicateWrites,
        ];
        for scope in Scope::ALL {
            all.extend(CycleKind::ALL.map(|kind| Anomaly::Cycle(kind, scope)));
            all.extend(CycleClass::ALL.map(|class| Anomaly::Class(class, scope)));
        }
        all
    }

    /// Whether it says that the check is worth nothing, rather than that the store is wrong.
    pub fn leaves_unknown(self) -> bool {
        matches!(
            self,
            Anomaly::EmptyTransactionGraph | Anomaly::DuplicateAppends | Anomaly::DuplicateWrites
        )
    }

    /// What holds whenever it does, itself included.
    pub fn implications(self) -> BTreeSet<Anomaly> {
        let mut known = BTreeSet::from([self]);
        let mut work = vec![self];
        while let Some(anomaly) = work.pop() {
            work.extend(anomaly.implied().into_iter().filter(|implied| known.insert(*implied)));
        }
        known
    }

    /// What follows in one step.
    fn implied(self) -> Vec<Anomaly> {
        use Anomaly::{Class, Cycle};
        match self {
            Anomaly::IncompatibleOrder | Anomaly::DirtyUpdate | Anomaly::GarbageRead => {
                vec![Anomaly::G1a]
            }
            Anomaly::FutureRead => vec![Cycle(CycleKind::G1c, Scope::Data)],
            Anomaly::LostUpdate => vec![Cycle(CycleKind::G2Item, Scope::Data)],
            Anomaly::G1a | Anomaly::G1b => vec![Class(CycleClass::G1, Scope::Data)],
            Cycle(kind, scope) => {
                let mut implied = match kind {
                    CycleKind::G0 => vec![Cycle(CycleKind::G1c, scope)],
                    CycleKind::G1c => vec![Class(CycleClass::G1, scope)],
                    CycleKind::GSingleItem => vec![
                        Class(CycleClass::GSingle, scope),
                        Cycle(CycleKind::GNonadjacentItem, scope),
                    ],
                    CycleKind::GNonadjacentItem => vec![
                        Class(CycleClass::GNonadjacent, scope),
                        Cycle(CycleKind::G2Item, scope),
                    ],
                    CycleKind::G2Item => vec![Class(CycleClass::G2, scope)],
                };
                implied.extend(scope.wider().map(|wider| Cycle(kind, wider)));
                implied
            }
            Class(class, scope) => {
                let mut implied = match class {
                    CycleClass::G1 | CycleClass::G2 => Vec::new(),
                    CycleClass::GSingle => vec![Class(CycleClass::GNonadjacent, scope)],
                    CycleClass::GNonadjacent => vec![Class(CycleClass::G2, scope)],
                };
                implied.extend(scope.wider().map(|wider| Class(class, wider)));
                implied
            }
            Anomaly::DuplicateElements
            | Anomaly::CyclicVersions
            | Anomaly::Internal
            | Anomaly::EmptyTransactionGraph
            | Anomaly::DuplicateAppends
            | Anomaly::DuplicateWrites => Vec::new(),
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Anomaly::DuplicateElements => "duplicate-elements",
            Anomaly::CyclicVersions => "cyclic-versions",
            Anomaly::Internal => "internal",
            Anomaly::G1a => "G1a",
            Anomaly::G1b => "G1b",
            Anomaly::DirtyUpdate => "dirty-update",
            Anomaly::IncompatibleOrder => "incompatible-order",
            Anomaly::FutureRead => "future-read",
            Anomaly::LostUpdate => "lost-update",
            Anomaly::GarbageRead => "garbage-read",
            Anomaly::EmptyTransactionGraph => "empty-transaction-graph",
            Anomaly::DuplicateAppends => "duplicate-appends",
            Anomaly::DuplicateWrites => "duplicate-writes",
            Anomaly::Cycle(kind, scope) => return write!(f, "{}{}", kind.name(), scope.suffix()),
            Anomaly::Class(class, scope) => return write!(f, "{}{}", class.name(), scope.suffix()),
        })
    }
}

/// No anomaly or consistency model has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of {1}")]
pub struct UnknownName(pub(crate) String, pub(crate) &'static str);

impl FromStr for Anomaly {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Anomaly, UnknownName> {
        let found = Anomaly::all().into_iter().find(|anomaly| anomaly.to_string() == name);
        found.ok_or_else(|| UnknownName(name.to_owned(), "an anomaly"))
    }
}

impl Serialize for Anomaly {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn implications(name: &str) -> Vec<String> {
        let anomaly: Anomaly = name.parse().expect("a name");
        let mut names: Vec<String> =
            anomaly.implications().iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn names_are_distinct_and_lead_back() {
        let all = Anomaly::all();
        let names: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!((all.len(), names.len()), (40, 40));
        for anomaly in all {
            assert_eq!(anomaly.to_string().parse(), Ok(anomaly));
        }
        assert!("G3".parse::<Anomaly>().is_err());
    }

    #[test]
    fn a_write_cycle_is_circular_information_flow_in_every_scope() {
        assert_eq!(
            implications("G0"),
            [
                "G0",
                "G0-process",
                "G0-realtime",
                "G1",
                "G1-process",
                "G1-realtime",
                "G1c",
                "G1c-process",
                "G1c-realtime"
            ]
        );
    }

    #[test]
    fn one_anti_dependency_is_a_special_case_of_several() {
        assert_eq!(
            implications("G-single-item-realtime"),
            [
                "G-nonadjacent-item-realtime",
                "G-nonadjacent-realtime",
                "G-single-item-realtime",
                "G-single-realtime",
                "G2-item-realtime",
                "G2-realtime"
            ]
        );
    }

    #[test]
    fn what_is_no_cycle_implies_cycles_or_reads_of_aborts() {
        assert_eq!(
            implications("incompatible-order"),
            ["G1", "G1-process", "G1-realtime", "G1a", "incompatible-order"]
        );
        assert_eq!(implications("dirty-update")[3..], ["G1a", "dirty-update"]);
        assert!(implications("lost-update").contains(&"G2-item".to_owned()));
        assert!(implications("future-read").contains(&"G1c".to_owned()));
        assert_eq!(implications("internal"), ["internal"]);
    }
}
