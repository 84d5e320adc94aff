//! Several registers, read and written together in one transaction. They do not fall into parts:
//! a transaction ties together what it touches.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use super::register::show;
use crate::search::Model;

/// Registers by name. One that is not in here holds nothing yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MultiRegister<K, V> {
    /// What they hold.
    pub values: BTreeMap<K, V>,
}

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access<K, V> {
    /// What does this register hold, the steps before this one done?
    Read(K),
    /// Hold this.
    Write(K, V),
}

impl<K, V> Default for MultiRegister<K, V> {
    fn default() -> MultiRegister<K, V> {
        MultiRegister { values: BTreeMap::new() }
    }
}

impl<K: Clone + Ord, V: Clone + PartialEq> SequentialSpec for MultiRegister<K, V> {
    /// The steps, in their order.
    type Op = Vec<Access<K, V>>;
    /// What each read found, in their order.
    type Ret = Vec<Option<V>>;

    fn invoke(&mut self, steps: &Self::Op) -> Self::Ret {
        let mut found = Vec::new();
        for step in steps {
            match step {
                Access::Read(register) => found.push(self.values.get(register).cloned()),
                Access::Write(register, value) => {
                    self.values.insert(register.clone(), value.clone());
                }
            }
        }
        found
    }
}

impl<K, V> Model for MultiRegister<K, V>
where
    K: Clone + Ord + Hash + Debug,
    V: Clone + PartialEq + Hash + Debug,
{
    type Key = ();

    fn partition(_: &Self::Op) {}

    fn is_read_only(steps: &Self::Op, _: Option<&Self::Ret>) -> bool {
        steps.iter().all(|step| matches!(step, Access::Read(_)))
    }

    fn describe(steps: &Self::Op, ret: Option<&Self::Ret>) -> String {
        let mut found = ret.into_iter().flatten();
        let step = |step: &Access<K, V>| match step {
            Access::Write(register, value) => format!("write {register:?} {value:?}"),
            Access::Read(register) => match found.next() {
                Some(value) => format!("read {register:?} -> {}", show(value.as_ref())),
                None => format!("read {register:?}"),
            },
        };
        steps.iter().map(step).collect::<Vec<_>>().join("; ")
    }

    fn describe_state(&self) -> String {
        format!("{:?}", self.values)
    }
}
