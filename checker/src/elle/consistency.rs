//! From anomalies to models and back: what a model forbids, and what anomalies rule out.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::anomaly::{Anomaly, UnknownName};
pub(crate) use super::models::Model;
use super::models::{ROWS, Row};

/// What anomalies rule out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boundary {
    /// The weakest models that do not hold: none of them implies another.
    pub not: Vec<Model>,
    /// The models that do not hold either, since they imply one of those.
    pub also_not: Vec<Model>,
}

/// What rules out these models: what they forbid, and what implies anything of that.
pub fn forbidden(models: &[Model]) -> BTreeSet<Anomaly> {
    let implied: BTreeSet<Model> = models.iter().flat_map(|model| model.implications()).collect();
    let forbidden: Vec<Anomaly> =
        implied.iter().flat_map(|model| model.row().forbids.iter().copied()).collect();
    implying(&forbidden)
}

/// Every anomaly that is one of these or implies one.
pub fn implying(anomalies: &[Anomaly]) -> BTreeSet<Anomaly> {
    let implies = |anomaly: &Anomaly| {
        let implications = anomaly.implications();
        anomalies.iter().any(|wanted| implications.contains(wanted))
    };
    Anomaly::all().into_iter().filter(implies).collect()
}

/// The models that do not hold if these anomalies are there.
pub fn ruled_out(anomalies: &[Anomaly]) -> BTreeSet<Model> {
    let present: BTreeSet<Anomaly> =
        anomalies.iter().flat_map(|anomaly| anomaly.implications()).collect();
    let is_broken = |model: &Model| model.row().forbids.iter().any(|one| present.contains(one));
    let holds_not = |row: &&Row| row.model.implications().iter().any(is_broken);
    ROWS.iter().filter(holds_not).map(|row| row.model).collect()
}

/// The same, parted into the weakest models and the rest, each in the order of names.
pub fn boundary(anomalies: &[Anomaly]) -> Boundary {
    let ruled_out = ruled_out(anomalies);
    let is_weakest = |model: &Model| {
        let mut weaker = model.implications();
        weaker.remove(model);
        weaker.is_disjoint(&ruled_out)
    };
    let (mut not, mut also_not): (Vec<Model>, Vec<Model>) =
        ruled_out.iter().copied().partition(is_weakest);
    not.sort_by_key(|model| model.name());
    also_not.sort_by_key(|model| model.name());
    Boundary { not, also_not }
}

impl Model {
    /// The name that answers use: "strong-serializable".
    pub fn name(self) -> &'static str {
        self.row().names[0]
    }

    /// What holds whenever it does, itself included.
    fn implications(self) -> BTreeSet<Model> {
        let mut known = BTreeSet::from([self]);
        let mut work = vec![self];
        while let Some(model) = work.pop() {
            work.extend(model.row().implies.iter().filter(|implied| known.insert(**implied)));
        }
        known
    }

    fn row(self) -> &'static Row {
        ROWS.iter().find(|row| row.model == self).expect("every model has a row")
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Model {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Model, UnknownName> {
        let found = ROWS.iter().find(|row| row.names.contains(&name));
        let unknown = || UnknownName(name.to_owned(), "a consistency model");
        found.map(|row| row.model).ok_or_else(unknown)
    }
}

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anomalies(names: &str) -> Vec<Anomaly> {
        names.split_whitespace().map(|name| name.parse().expect("an anomaly")).collect()
    }

    fn not(names: &str) -> String {
        let names = boundary(&anomalies(names)).not.into_iter().map(Model::name);
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rows_stand_in_the_order_of_models_and_names_are_distinct() {
        assert!(ROWS.iter().is_sorted_by_key(|row| row.model));
        let names: Vec<&str> = ROWS.iter().flat_map(|row| row.names.iter().copied()).collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len());
        for name in names {
            let model: Model = name.parse().expect("a name");
            assert!(model.row().names.contains(&name));
        }
        assert_eq!("strict-serializable".parse(), Ok(Model::StrongSerializable));
        assert!("stricct".parse::<Model>().is_err());
    }

    /// The answers that Elle gives.
    #[test]
    fn the_weakest_models_that_do_not_hold() {
        for (found, weakest) in [
            ("", ""),
            ("G0", "read-uncommitted"),
            ("duplicate-elements", "read-uncommitted"),
            ("cyclic-versions", "read-uncommitted"),
            ("G1a", "read-committed"),
            ("G1b", "read-committed"),
            ("G1c", "read-committed"),
            ("dirty-update", "read-committed"),
            ("incompatible-order", "read-committed"),
            ("future-read", "read-committed"),
            ("internal", "read-atomic"),
            ("internal G2", "read-atomic"),
            ("G-single", "consistent-view"),
            ("G-single-item", "consistent-view repeatable-read"),
            ("G-nonadjacent-item", "repeatable-read snapshot-isolation"),
            ("G2-item", "repeatable-read"),
            ("G2", "serializable"),
            ("lost-update", "cursor-stability update-atomic"),
            ("lost-update G2-item", "cursor-stability update-atomic"),
            ("G0-process", "strong-session-read-uncommitted"),
            ("G1c-process", "strong-session-read-committed"),
            ("G-single-item-process", "strong-session-snapshot-isolation"),
            ("G2-item-process", "strong-session-serializable"),
            ("G0-realtime", "strong-read-uncommitted"),
            ("G1c-realtime", "strong-read-committed"),
            ("G-single-item-realtime", "strong-snapshot-isolation"),
            ("G2-item-realtime", "strong-serializable"),
            ("empty-transaction-graph", ""),
        ] {
            assert_eq!(not(found), weakest, "{found}");
        }
    }

    #[test]
    fn stronger_models_do_not_hold_either() {
        let also_not = boundary(&anomalies("G-single")).also_not;
        let names: Vec<&str> = also_not.into_iter().map(Model::name).collect();
        assert_eq!(
            names,
            [
                "forward-consistent-view",
                "serializable",
                "snapshot-isolation",
                "strong-serializable",
                "strong-session-serializable",
                "strong-session-snapshot-isolation",
                "strong-snapshot-isolation",
                "update-serializable",
            ]
        );
        let realtime = boundary(&anomalies("G-single-realtime")).also_not;
        assert_eq!(realtime, [Model::StrongSerializable]);
    }

    #[test]
    fn what_read_committed_forbids() {
        let mut names: Vec<String> =
            forbidden(&[Model::ReadCommitted]).iter().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "G0",
                "G1",
                "G1a",
                "G1b",
                "G1c",
                "cyclic-versions",
                "dirty-update",
                "duplicate-elements",
                "future-read",
                "garbage-read",
                "incompatible-order",
            ]
        );
    }

    #[test]
    fn orders_beside_dependencies_matter_to_strong_models_only() {
        let realtime: Anomaly = "G-single-item-realtime".parse().expect("a name");
        let process: Anomaly = "G-single-item-process".parse().expect("a name");
        let of = |model| forbidden(&[model]);
        assert!(!of(Model::Serializable).contains(&process));
        assert!(of(Model::StrongSessionSnapshotIsolation).contains(&process));
        assert!(!of(Model::StrongSessionSerializable).contains(&realtime));
        assert!(of(Model::StrongSerializable).contains(&realtime));
    }
}
