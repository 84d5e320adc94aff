//! A set that only grows.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use crate::search::{Model, Shape};

/// What was added.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrowSet<V> {
    /// All of it.
    pub elements: BTreeSet<V>,
}

/// What can be asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetOp<V> {
    /// Hold this as well.
    Add(V),
    /// What does it hold?
    Read,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", bound(deserialize = "V: Ord + Deserialize<'de>"))]
pub enum SetRet<V> {
    /// It holds it.
    Added,
    /// It holds these.
    Elements(BTreeSet<V>),
}

impl<V> Default for GrowSet<V> {
    fn default() -> GrowSet<V> {
        GrowSet { elements: BTreeSet::new() }
    }
}

impl<V: Clone + Ord> SequentialSpec for GrowSet<V> {
    type Op = SetOp<V>;
    type Ret = SetRet<V>;

    fn invoke(&mut self, op: &SetOp<V>) -> SetRet<V> {
        match op {
            SetOp::Add(value) => {
                self.elements.insert(value.clone());
                SetRet::Added
            }
            SetOp::Read => SetRet::Elements(self.elements.clone()),
        }
    }

    fn is_valid_step(&mut self, op: &SetOp<V>, ret: &SetRet<V>) -> bool {
        match (op, ret) {
            (SetOp::Read, SetRet::Elements(elements)) => self.elements == *elements,
            _ => self.invoke(op) == *ret,
        }
    }
}

impl<V: Clone + Ord + Hash + Debug> Model for GrowSet<V> {
    type Key = ();

    fn partition(_: &SetOp<V>) {}

    fn is_read_only(op: &SetOp<V>, _: Option<&SetRet<V>>) -> bool {
        matches!(op, SetOp::Read)
    }

    fn shape(&self, op: &SetOp<V>, ret: Option<&SetRet<V>>) -> Shape<GrowSet<V>> {
        match (op, ret) {
            (SetOp::Read, Some(SetRet::Elements(elements))) => {
                Shape::reads(GrowSet { elements: elements.clone() })
            }
            _ => Shape::opaque(Self::is_read_only(op, ret)),
        }
    }

    fn may_grow_into(&self, later: &GrowSet<V>) -> bool {
        self.elements.is_subset(&later.elements)
    }

    fn describe(op: &SetOp<V>, ret: Option<&SetRet<V>>) -> String {
        match (op, ret) {
            (SetOp::Add(value), _) => format!("add {value:?}"),
            (SetOp::Read, Some(SetRet::Elements(elements))) => format!("read -> {elements:?}"),
            (SetOp::Read, _) => "read".into(),
        }
    }

    fn describe_state(&self) -> String {
        format!("{:?}", self.elements)
    }
}
