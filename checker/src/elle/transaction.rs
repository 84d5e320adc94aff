//! A transaction, as the client saw it.
//!
//! Keys and elements are numbers; [`Names`] gives them out, from 0 on, and tables are as long as the
//! greatest key.

use serde::Serialize;

use super::names::Names;

/// A key, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Key(pub u32);

/// What is written: an element of a list, or a register's value. No two writes of one key have the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Element(pub u32);

/// A transaction, by its place among those that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TransactionId(pub u32);

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It committed: all of it happened.
    Ok,
    /// It aborted: none of it happened, and none of it will.
    Fail,
    /// It may have happened, may happen later, or never. The text says what the client saw.
    Unknown(String),
}

/// A transaction of micro-operations `M`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction<M> {
    /// Jepsen's process: transactions of one do not overlap.
    pub process: u64,
    /// Where its call stands among the events of the history. No two events share a place.
    pub invoked: u64,
    /// Where its return stands, after its call. Counts only if it committed: what is unknown may
    /// happen at any later time.
    pub returned: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it did, in order.
    pub mops: Vec<M>,
}

impl<M> Transaction<M> {
    /// When it had returned, if it is known to have committed.
    pub(crate) fn committed_at(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Ok => self.returned,
            Outcome::Fail | Outcome::Unknown(_) => None,
        }
    }

    /// Whether it committed, for sure.
    pub(crate) fn is_committed(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// Whether it may have happened.
    pub(crate) fn is_possible(&self) -> bool {
        self.outcome != Outcome::Fail
    }
}

/// What the micro-operations of all kinds of histories have in common.
pub trait MicroOp {
    /// What a write does, in the past tense: "appended".
    const WROTE: &'static str;

    /// The key it is about.
    fn key(&self) -> Key;

    /// What it writes; `None` if it reads.
    fn written(&self) -> Option<Element>;

    /// In words, without who did it: "appended 3 to x".
    fn describe(&self, names: &Names) -> String;
}
