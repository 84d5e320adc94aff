//! What models and checkers are given: calls and transactions, whatever file they came from.

use std::fmt;
use std::sync::Arc;

use super::edn::Edn;

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It took effect: all of it.
    Ok,
    /// It did not take effect, and none of it will.
    Fail,
    /// It may have taken effect, may do so later, or never.
    Unknown,
}

/// A transaction of one process: micro-operations `M` that take effect together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transaction<M> {
    /// Who called: transactions of one process do not overlap.
    pub process: u64,
    /// Position of the call among the events of the history. No two events share one.
    pub invoked: u64,
    /// Position of the return, after its call. Counts only if it took effect: what is unknown may
    /// happen at any later time.
    pub returned: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it did, in order; reads have a result if it took effect.
    pub mops: Vec<M>,
}

impl<M> Transaction<M> {
    /// When it had returned, if it is known to have taken effect.
    pub(crate) fn committed_at(&self) -> Option<u64> {
        self.returned.filter(|_| self.is_committed())
    }

    /// Whether it took effect, for sure.
    pub(crate) fn is_committed(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// Whether it may have taken effect.
    pub(crate) fn is_possible(&self) -> bool {
        self.outcome != Outcome::Fail
    }
}

/// A key or value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing: what is there before the first write.
    Nil,
    /// A whole number.
    Integer(i64),
    /// A string.
    Text(Arc<str>),
    /// Anything else, as EDN writes it.
    Other(Arc<str>),
}

impl From<&Edn> for Value {
    fn from(form: &Edn) -> Value {
        match form.untagged() {
            Edn::Nil => Value::Nil,
            Edn::Integer(number) => Value::Integer(*number),
            Edn::String(text) => Value::Text(text.as_str().into()),
            other => Value::Other(other.to_string().into()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Other(text) => f.write_str(text),
        }
    }
}

/// As EDN: models tell of values by `Debug`.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which of several independent objects an operation is on: Jepsen's `:independent` keys.
///
/// A store of independent objects is linearizable if each of them is (Herlihy and Wing, 1990).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// The history has one object.
    Only,
    /// The one with this key.
    Of(Value),
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectKey::Only => f.write_str("the object"),
            ObjectKey::Of(key) => fmt::Display::fmt(key, f),
        }
    }
}

/// A micro-operation on lists that are appended to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AppendMop {
    /// Append a value to the list of a key.
    Append(Value, Value),
    /// Read the list of a key; `None` if what it was is unknown.
    Read(Value, Option<Vec<Value>>),
}

/// A micro-operation on registers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RegisterMop {
    /// Write the register of a key.
    Write(Value, Value),
    /// Read the register of a key; `None` if what it was is unknown.
    Read(Value, Option<Value>),
}
