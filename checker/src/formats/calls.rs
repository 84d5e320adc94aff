//! What models and checkers are given: calls and transactions, whatever file they came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::edn::Edn;
use crate::search::Call;

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It took effect.
    Ok,
    /// It did not take effect.
    Fail,
    /// Nobody knows.
    Unknown,
}

/// A transaction of one process: micro-operations that take effect together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transaction<M> {
    /// Who called.
    pub process: u64,
    /// Position of the call in the total order of the history's events.
    pub invoked: u64,
    /// Position of the return; `None` if the outcome is unknown.
    pub returned: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it did; reads have a result if it took effect.
    pub mops: Vec<M>,
}

/// A key or value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// An operation on one of several independent objects; `None` if the history has one object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keyed<O> {
    /// Which object.
    pub key: Option<Value>,
    /// What is done with it.
    pub op: O,
}

/// The calls on each object by itself, in their order; the key is `None` if there is one object.
///
/// A store of independent objects is linearizable if each of them is (Herlihy and Wing, 1990), so
/// that each can be judged by itself.
pub fn by_key<O, R>(calls: Vec<Call<Keyed<O>, R>>) -> BTreeMap<Option<Value>, Vec<Call<O, R>>> {
    let mut parts: BTreeMap<Option<Value>, Vec<Call<O, R>>> = BTreeMap::new();
    for Call { process, invoked, returned, op: Keyed { key, op }, ret } in calls {
        parts.entry(key).or_default().push(Call { process, invoked, returned, op, ret });
    }
    parts
}

/// An operation on a register.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RegisterOp {
    /// Read it.
    Read,
    /// Write it.
    Write(Value),
    /// Write `to` if it holds `from`.
    Cas {
        /// What it must hold.
        from: Value,
        /// What it holds then.
        to: Value,
    },
}

/// What an operation on a register returned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RegisterRet {
    /// What it held.
    Read(Value),
    /// It was written.
    Written,
    /// Whether it held what it must.
    Cas(bool),
}

/// One step of an operation on several registers at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MultiStep {
    /// Read this register.
    Read(Value),
    /// Write this register.
    Write(Value, Value),
}

/// An operation on a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MutexOp {
    /// Take it.
    Acquire,
    /// Give it back.
    Release,
}

/// An operation on one key of a store of strings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StringOp {
    /// Read it.
    Get,
    /// Replace it.
    Put(Arc<str>),
    /// Add to its end.
    Append(Arc<str>),
}

/// What an operation on a store of strings returned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StringRet {
    /// What was there; `None` if the key was not.
    Got(Option<Arc<str>>),
    /// It was done.
    Done,
}

/// An operation on a set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SetOp {
    /// Add an element.
    Add(Value),
    /// Read all elements.
    Read,
}

/// What an operation on a set returned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SetRet {
    /// It was added.
    Added,
    /// What it held, in the order of the answer.
    Read(Vec<Value>),
}

/// An operation on the accounts of a bank.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BankOp {
    /// Move an amount.
    Transfer {
        /// From this account.
        from: Value,
        /// To this one.
        to: Value,
        /// So much.
        amount: i64,
    },
    /// Read all balances.
    Read,
}

/// What an operation on a bank returned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BankRet {
    /// It was moved.
    Transferred,
    /// Accounts and balances, in the order of the answer.
    Read(Vec<(Value, i64)>),
}

/// An operation on a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CounterOp {
    /// Add to it.
    Add(i64),
    /// Read it.
    Read,
}

/// What an operation on a counter returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CounterRet {
    /// It was added.
    Added,
    /// What it was.
    Read(i64),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_come_apart() {
        let call = |invoked, key: Option<i64>| Call {
            process: 0,
            invoked,
            returned: None,
            op: Keyed { key: key.map(Value::Integer), op: RegisterOp::Read },
            ret: None::<RegisterRet>,
        };
        let parts = by_key(vec![call(0, Some(2)), call(1, Some(1)), call(2, Some(2))]);
        let invoked: Vec<(Option<Value>, Vec<u64>)> = parts
            .into_iter()
            .map(|(key, calls)| (key, calls.iter().map(|call| call.invoked).collect()))
            .collect();
        assert_eq!(
            invoked,
            [(Some(Value::Integer(1)), vec![1]), (Some(Value::Integer(2)), vec![0, 2])]
        );
        assert_eq!(by_key(vec![call(0, None)]).into_keys().collect::<Vec<_>>(), [None]);
    }
}
