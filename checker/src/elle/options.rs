//! What to check for, and how hard to look.

use std::collections::BTreeSet;

use super::anomaly::{Anomaly, Scope};
use super::consistency::{self, Model};

/// What to check for, and how hard to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The models that are expected to hold.
    pub consistency_models: Vec<Model>,
    /// Anomalies that must not be there, beside what the models forbid.
    pub anomalies: Vec<Anomaly>,
    /// What is taken for granted of each key, to order the versions of registers. Lists tell their
    /// order by themselves.
    pub keys: KeyOrder,
    /// Cases listed of each anomaly; the rest are counted.
    pub cases_max: usize,
    /// Edges that may be looked at for each kind of cycle in each component, to show that no cycle is
    /// shorter. What is found is a cycle of its kind in any case.
    pub search_steps_max: u64,
}

/// What is taken for granted of each key: Elle's `:wfr-keys?`, `:sequential-keys?` and
/// `:linearizable-keys?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyOrder {
    /// What a transaction writes follows what it read.
    pub writes_follow_reads: bool,
    /// What a process sees follows what it saw before.
    pub sequential: bool,
    /// What is seen follows what had been seen before, by anybody.
    pub linearizable: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            consistency_models: vec![Model::StrongSerializable],
            anomalies: Vec::new(),
            keys: KeyOrder::default(),
            cases_max: 8,
            search_steps_max: 50_000_000,
        }
    }
}

impl Options {
    /// The default, but for other models.
    pub fn expecting(models: &[Model]) -> Options {
        Options { consistency_models: models.to_vec(), ..Options::default() }
    }

    /// Anomalies that make a history invalid.
    pub(crate) fn forbidden(&self) -> BTreeSet<Anomaly> {
        let mut forbidden = consistency::forbidden(&self.consistency_models);
        forbidden.extend(consistency::implying(&self.anomalies));
        forbidden
    }

    /// The order beside dependencies that cycles may take. As in Elle, that of processes is left out
    /// where real time counts, since it is part of it.
    pub(crate) fn order(&self) -> Option<Scope> {
        let forbidden = self.forbidden();
        let takes = |scope| {
            forbidden
                .iter()
                .any(|anomaly| matches!(anomaly, Anomaly::Cycle(_, own) if *own == scope))
        };
        [Scope::Realtime, Scope::Process].into_iter().find(|scope| takes(*scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_taken_if_asked_for() {
        let order = |model| Options::expecting(&[model]).order();
        assert_eq!(order(Model::StrongSerializable), Some(Scope::Realtime));
        assert_eq!(order(Model::StrongReadUncommitted), Some(Scope::Realtime));
        assert_eq!(order(Model::StrongSessionSerializable), Some(Scope::Process));
        assert_eq!(order(Model::Serializable), None);
        let asked = Options {
            anomalies: vec!["G0-process".parse().expect("a name")],
            ..Options::expecting(&[])
        };
        assert_eq!(asked.order(), Some(Scope::Process));
    }
}
