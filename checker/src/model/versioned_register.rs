//! A register whose value has a version: 0 before the first write, one more with every write.

use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use super::register::show;
use crate::search::{Effect, Guard, Model, Shape};

/// A register that counts its writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VersionedRegister<V> {
    /// Writes so far.
    pub version: u64,
    /// What it holds.
    pub value: Option<V>,
}

/// What can be asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionedOp<V> {
    /// What does it hold?
    Read,
    /// Hold this.
    Write(V),
    /// Hold the value if this is the version.
    WriteIf(u64, V),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionedRet<V> {
    /// It holds this, of this version.
    Value(u64, Option<V>),
    /// The write is done, and made this version.
    Written(u64),
    /// It has another version.
    Differs,
}

impl<V> Default for VersionedRegister<V> {
    fn default() -> VersionedRegister<V> {
        VersionedRegister { version: 0, value: None }
    }
}

impl<V: Clone + PartialEq> SequentialSpec for VersionedRegister<V> {
    type Op = VersionedOp<V>;
    type Ret = VersionedRet<V>;

    fn invoke(&mut self, op: &VersionedOp<V>) -> VersionedRet<V> {
        match op {
            VersionedOp::Read => VersionedRet::Value(self.version, self.value.clone()),
            VersionedOp::WriteIf(version, _) if *version != self.version => VersionedRet::Differs,
            VersionedOp::Write(value) | VersionedOp::WriteIf(_, value) => {
                self.version += 1;
                self.value = Some(value.clone());
                VersionedRet::Written(self.version)
            }
        }
    }
}

impl<V: Clone + PartialEq + Hash + Debug> Model for VersionedRegister<V> {
    type Key = ();

    fn partition(_: &VersionedOp<V>) {}

    fn is_read_only(op: &VersionedOp<V>, ret: Option<&VersionedRet<V>>) -> bool {
        matches!((op, ret), (VersionedOp::Read, _) | (_, Some(VersionedRet::Differs)))
    }

    /// A version does not tell the value, so a write does not require one state.
    fn shape(
        &self,
        op: &VersionedOp<V>,
        ret: Option<&VersionedRet<V>>,
    ) -> Shape<VersionedRegister<V>> {
        match (op, ret) {
            (VersionedOp::Read, Some(VersionedRet::Value(version, value))) => {
                Shape::reads(VersionedRegister { version: *version, value: value.clone() })
            }
            (
                VersionedOp::Write(value) | VersionedOp::WriteIf(_, value),
                Some(VersionedRet::Written(version)),
            ) => {
                let after = VersionedRegister { version: *version, value: Some(value.clone()) };
                Shape { guard: Guard::Opaque, effect: Effect::Always(after) }
            }
            _ => Shape::opaque(Self::is_read_only(op, ret)),
        }
    }

    fn describe(op: &VersionedOp<V>, ret: Option<&VersionedRet<V>>) -> String {
        let asked = match op {
            VersionedOp::Read => "read".into(),
            VersionedOp::Write(value) => format!("write {value:?}"),
            VersionedOp::WriteIf(version, value) => format!("write {value:?} if at {version}"),
        };
        match ret {
            None => asked,
            Some(VersionedRet::Value(version, value)) => {
                format!("{asked} -> {} at {version}", show(value.as_ref()))
            }
            Some(VersionedRet::Written(version)) => format!("{asked} -> at {version}"),
            Some(VersionedRet::Differs) => format!("{asked} -> differs"),
        }
    }

    fn describe_state(&self) -> String {
        format!("{} at {}", show(self.value.as_ref()), self.version)
    }
}
