//! A register: it holds one value, or none yet.

use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use crate::search::{Model, Shape};

/// A register; none of its own is the initial value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Register<V> {
    /// What it holds.
    pub value: Option<V>,
}

/// What can be asked of a register.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisterOp<V> {
    /// What does it hold?
    Read,
    /// Hold this.
    Write(V),
}

/// What a register answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisterRet<V> {
    /// It holds this.
    Value(Option<V>),
    /// The write is done.
    Written,
}

impl<V> Register<V> {
    /// Holds `value` at the beginning.
    pub fn new(value: Option<V>) -> Register<V> {
        Register { value }
    }
}

impl<V> Default for Register<V> {
    fn default() -> Register<V> {
        Register::new(None)
    }
}

impl<V: Clone + PartialEq> SequentialSpec for Register<V> {
    type Op = RegisterOp<V>;
    type Ret = RegisterRet<V>;

    fn invoke(&mut self, op: &RegisterOp<V>) -> RegisterRet<V> {
        match op {
            RegisterOp::Read => RegisterRet::Value(self.value.clone()),
            RegisterOp::Write(value) => {
                self.value = Some(value.clone());
                RegisterRet::Written
            }
        }
    }
}

impl<V: Clone + PartialEq + Hash + Debug> Model for Register<V> {
    type Key = ();

    fn partition(_: &RegisterOp<V>) {}

    fn is_read_only(op: &RegisterOp<V>, _: Option<&RegisterRet<V>>) -> bool {
        matches!(op, RegisterOp::Read)
    }

    fn shape(&self, op: &RegisterOp<V>, ret: Option<&RegisterRet<V>>) -> Shape<Register<V>> {
        match (op, ret) {
            (RegisterOp::Write(value), None | Some(RegisterRet::Written)) => {
                Shape::writes(Register::new(Some(value.clone())))
            }
            (RegisterOp::Read, Some(RegisterRet::Value(value))) => {
                Shape::reads(Register::new(value.clone()))
            }
            (RegisterOp::Read | RegisterOp::Write(_), _) => {
                Shape::opaque(Self::is_read_only(op, ret))
            }
        }
    }

    fn describe(op: &RegisterOp<V>, ret: Option<&RegisterRet<V>>) -> String {
        match (op, ret) {
            (RegisterOp::Write(value), _) => format!("write {value:?}"),
            (RegisterOp::Read, Some(RegisterRet::Value(value))) => {
                format!("read -> {}", show(value.as_ref()))
            }
            (RegisterOp::Read, _) => "read".into(),
        }
    }

    fn describe_state(&self) -> String {
        show(self.value.as_ref())
    }
}

/// A value, for people.
pub(super) fn show<V: Debug>(value: Option<&V>) -> String {
    value.map_or("nil".into(), |value| format!("{value:?}"))
}
