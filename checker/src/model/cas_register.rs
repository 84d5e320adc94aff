//! A register with compare-and-set, as Jepsen's and Knossos' tests have it.

use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use super::register::show;
use crate::search::{Model, Shape};

/// A register that can be set on condition. Jepsen's begins with nil, Knossos' with 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CasRegister<V> {
    /// What it holds.
    pub value: Option<V>,
}

/// What can be asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CasOp<V> {
    /// What does it hold?
    Read,
    /// Hold this.
    Write(V),
    /// Hold the second if it holds the first.
    Cas(V, V),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CasRet<V> {
    /// It holds this.
    Value(Option<V>),
    /// The write is done.
    Written,
    /// It held what was expected, and holds the other now.
    Swapped,
    /// It holds something else than what was expected. (A history that cannot tell this from a
    /// call that failed must leave the call out.)
    Differs,
}

impl<V> CasRegister<V> {
    /// Holds `value` at the beginning.
    pub fn new(value: Option<V>) -> CasRegister<V> {
        CasRegister { value }
    }
}

impl<V> Default for CasRegister<V> {
    fn default() -> CasRegister<V> {
        CasRegister::new(None)
    }
}

impl<V: Clone + PartialEq> SequentialSpec for CasRegister<V> {
    type Op = CasOp<V>;
    type Ret = CasRet<V>;

    fn invoke(&mut self, op: &CasOp<V>) -> CasRet<V> {
        match op {
            CasOp::Read => CasRet::Value(self.value.clone()),
            CasOp::Write(value) => {
                self.value = Some(value.clone());
                CasRet::Written
            }
            CasOp::Cas(from, to) if self.value.as_ref() == Some(from) => {
                self.value = Some(to.clone());
                CasRet::Swapped
            }
            CasOp::Cas(..) => CasRet::Differs,
        }
    }
}

impl<V: Clone + PartialEq + Hash + Debug> Model for CasRegister<V> {
    type Key = ();

    fn partition(_: &CasOp<V>) {}

    fn is_read_only(op: &CasOp<V>, ret: Option<&CasRet<V>>) -> bool {
        matches!((op, ret), (CasOp::Read, _) | (CasOp::Cas(..), Some(CasRet::Differs)))
    }

    fn shape(&self, op: &CasOp<V>, ret: Option<&CasRet<V>>) -> Shape<CasRegister<V>> {
        let holds = |value: &V| CasRegister::new(Some(value.clone()));
        match (op, ret) {
            (CasOp::Read, Some(CasRet::Value(value))) => {
                Shape::reads(CasRegister::new(value.clone()))
            }
            (CasOp::Write(value), None | Some(CasRet::Written)) => Shape::writes(holds(value)),
            (CasOp::Cas(from, to), None | Some(CasRet::Swapped)) => {
                Shape::turns(holds(from), holds(to))
            }
            (CasOp::Cas(from, _), Some(CasRet::Differs)) => Shape::refused_by(holds(from)),
            (CasOp::Read | CasOp::Write(_) | CasOp::Cas(..), _) => {
                Shape::opaque(Self::is_read_only(op, ret))
            }
        }
    }

    fn describe(op: &CasOp<V>, ret: Option<&CasRet<V>>) -> String {
        let asked = match op {
            CasOp::Read => "read".into(),
            CasOp::Write(value) => format!("write {value:?}"),
            CasOp::Cas(from, to) => format!("cas {from:?} to {to:?}"),
        };
        match ret {
            None | Some(CasRet::Written) => asked,
            Some(CasRet::Value(value)) => format!("{asked} -> {}", show(value.as_ref())),
            Some(CasRet::Swapped) => format!("{asked} -> swapped"),
            Some(CasRet::Differs) => format!("{asked} -> differs"),
        }
    }

    fn describe_state(&self) -> String {
        show(self.value.as_ref())
    }
}
