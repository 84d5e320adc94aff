//! A storage write group: changes of several trees that are committed together.

use crate::storage::schema::{self, Tree};
use crate::storage::tally::entry_bytes;

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

impl Write {
    /// Bytes of the entry that is put.
    pub(crate) fn put_bytes(&self) -> i64 {
        self.value.as_ref().map_or(0, |value| entry_bytes(&self.key, value.len()))
    }
}

/// Changes that become visible and durable together. Of two changes of a key the later one counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub(crate) writes: Vec<Write>,
}

impl Batch {
    /// Writes `value` under its seal.
    pub(crate) fn put(&mut self, tree: Tree, key: &[u8], value: Vec<u8>) {
        self.put_sealed(tree, key, schema::seal(key, value));
    }

    /// Writes a value that has its seal.
    pub(crate) fn put_sealed(&mut self, tree: Tree, key: &[u8], value: Vec<u8>) {
        self.writes.push(Write { tree, key: key.to_vec(), value: Some(value) });
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, tree: Tree, key: &[u8]) {
        self.writes.push(Write { tree, key: key.to_vec(), value: None });
    }

    /// Bytes of the keys and values that are put into a tree.
    pub(crate) fn put_bytes(&self, tree: Tree) -> i64 {
        self.writes.iter().filter(|write| write.tree == tree).map(Write::put_bytes).sum()
    }

    /// Bytes of all keys and values.
    pub(crate) fn len_bytes(&self) -> usize {
        let value_len = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        self.writes.iter().map(|write| write.key.len() + value_len(&write.value)).sum()
    }
}
