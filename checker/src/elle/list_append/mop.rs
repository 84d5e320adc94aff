//! Micro-operations on lists.

use crate::elle::names::Names;
use crate::elle::transaction::{Element, Key, MicroOp};

/// A micro-operation on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mop {
    /// Appends an element.
    Append {
        /// To which list.
        key: Key,
        /// The element. No other append to the list has it.
        element: Element,
    },
    /// Reads a list.
    Read {
        /// Which list.
        key: Key,
        /// What was in it. `None` in a committed transaction is the empty list, as Jepsen writes it;
        /// elsewhere nothing is known, and whatever is here does not count.
        list: Option<Vec<Element>>,
    },
}

impl Mop {
    /// The list that a read shows.
    pub(crate) fn list(&self) -> &[Element] {
        match self {
            Mop::Read { list: Some(list), .. } => list,
            Mop::Read { list: None, .. } | Mop::Append { .. } => &[],
        }
    }
}

impl MicroOp for Mop {
    const WROTE: &'static str = "appended";

    #[inline]
    fn key(&self) -> Key {
        match self {
            Mop::Append { key, .. } | Mop::Read { key, .. } => *key,
        }
    }

    #[inline]
    fn written(&self) -> Option<Element> {
        match self {
            Mop::Append { element, .. } => Some(*element),
            Mop::Read { .. } => None,
        }
    }

    fn describe(&self, names: &Names) -> String {
        match self {
            Mop::Append { key, element } => {
                format!("appended {} to {}", names.of_element(*element), names.of_key(*key))
            }
            Mop::Read { key, list } => {
                let list = list.as_deref().map_or("?".to_owned(), |list| names.of_list(list));
                format!("read {} = {list}", names.of_key(*key))
            }
        }
    }
}
