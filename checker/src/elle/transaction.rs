//! A transaction, as the client saw it.
//!
//! Keys and elements are numbers; [`Names`] gives them out, from 0 on, and tables are as long as the
//! greatest key.

use serde::Serialize;

use super::names::Names;
pub use crate::formats::calls::{Outcome, Transaction};

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
