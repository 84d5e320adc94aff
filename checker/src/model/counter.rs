//! A counter.

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use crate::search::{Model, Shape};

/// A sum, 0 at the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Counter {
    /// The sum.
    pub sum: i64,
}

/// What can be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CounterOp {
    /// Be this much more; it may be negative.
    Add(i64),
    /// What is the sum?
    Read,
}

/// What it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CounterRet {
    /// It is.
    Added,
    /// This is the sum.
    Sum(i64),
}

impl SequentialSpec for Counter {
    type Op = CounterOp;
    type Ret = CounterRet;

    fn invoke(&mut self, op: &CounterOp) -> CounterRet {
        match op {
            CounterOp::Add(amount) => {
                self.sum = self.sum.wrapping_add(*amount);
                CounterRet::Added
            }
            CounterOp::Read => CounterRet::Sum(self.sum),
        }
    }
}

impl Model for Counter {
    type Key = ();

    fn partition(_: &CounterOp) {}

    fn is_read_only(op: &CounterOp, _: Option<&CounterRet>) -> bool {
        matches!(op, CounterOp::Read | CounterOp::Add(0))
    }

    fn shape(&self, op: &CounterOp, ret: Option<&CounterRet>) -> Shape<Counter> {
        match (op, ret) {
            (CounterOp::Read, Some(CounterRet::Sum(sum))) => Shape::reads(Counter { sum: *sum }),
            _ => Shape::opaque(Self::is_read_only(op, ret)),
        }
    }

    fn describe(op: &CounterOp, ret: Option<&CounterRet>) -> String {
        match (op, ret) {
            (CounterOp::Add(amount), _) => format!("add {amount}"),
            (CounterOp::Read, Some(CounterRet::Sum(sum))) => format!("read -> {sum}"),
            (CounterOp::Read, _) => "read".into(),
        }
    }

    fn describe_state(&self) -> String {
        self.sum.to_string()
    }
}
