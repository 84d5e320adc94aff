//! Micro-operations on registers.

use crate::elle::names::Names;
use crate::elle::transaction::{Element, Key, MicroOp};

/// A micro-operation on a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mop {
    /// Writes a value.
    Write {
        /// To which register.
        key: Key,
        /// The value. No other write to the register has it.
        value: Element,
        /// The revision at which the store says it was written, if it committed and the store tells.
        mod_revision: Option<u64>,
    },
    /// Reads a register.
    Read {
        /// Which register.
        key: Key,
        /// What was in it; `None` if nothing was. Counts in committed transactions only.
        value: Option<Element>,
        /// The revision at which the store says the value was written, if it tells.
        mod_revision: Option<u64>,
    },
}

impl MicroOp for Mop {
    const WROTE: &'static str = "wrote";

    fn key(&self) -> Key {
        match self {
            Mop::Write { key, .. } | Mop::Read { key, .. } => *key,
        }
    }

    fn written(&self) -> Option<Element> {
        match self {
            Mop::Write { value, .. } => Some(*value),
            Mop::Read { .. } => None,
        }
    }

    fn describe(&self, names: &Names) -> String {
        let (text, revision) = match self {
            Mop::Write { key, value, mod_revision } => {
                let text = format!("wrote {} to {}", names.of_element(*value), names.of_key(*key));
                (text, mod_revision)
            }
            Mop::Read { key, value, mod_revision } => {
                let value = value.map_or("nothing".to_owned(), |value| names.of_element(value));
                (format!("read {} = {value}", names.of_key(*key)), mod_revision)
            }
        };
        match revision {
            Some(revision) => format!("{text} (revision {revision})"),
            None => text,
        }
    }
}
