//! A storage write group: changes of several trees that are committed together.

use crate::storage::schema::{self, Tree};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// Where.
    pub(crate) tree: Tree,
    /// Of which key.
    pub(crate) key: Vec<u8>,
    /// The new value; `None` removes the key.
    pub(crate) value: Option<Vec<u8>>,
}

/// Changes that become visible and durable together. Of two changes of a key the later one counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub(crate) writes: Vec<Write>,
}

impl Batch {
    /// Writes `value` under its seal.
    pub(crate) fn put(&mut self, tree: Tree, key: &[u8], value: Vec<u8>) {
        let value = Some(schema::seal(key, value));
        self.writes.push(Write { tree, key: key.to_vec(), value });
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, tree: Tree, key: &[u8]) {
        self.writes.push(Write { tree, key: key.to_vec(), value: None });
    }

    /// Bytes of all keys and values.
    pub(crate) fn len_bytes(&self) -> usize {
        let value_len = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        self.writes.iter().map(|write| write.key.len() + value_len(&write.value)).sum()
    }
}
