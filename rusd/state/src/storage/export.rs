//! The state as it stands in the engine at one durable point, readable in steps while writes go on.
//!
//! The small records (`meta`, `lease`, `auth`) are taken at once. History is read block by block: it
//! only grows at its end, and while an export is held no block is removed or rewritten, nor is a
//! removal that is under way gone on with. (Of a removal that went on, the export could see a put
//! from before it and miss the delete from after it.) The images are not part of it: whoever takes
//! it over makes his own.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::storage::error::StorageError;
use crate::storage::history::Durable;
use crate::storage::keycode;
use crate::storage::pins::{Pin, Pins};
use crate::storage::schema::Tree;
use crate::storage::{Backend, Batch};

/// A row as the engine has it, under its seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) tree: Tree,
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
}

/// The trees of small records.
const RECORDS: [Tree; 3] = [Tree::Meta, Tree::Lease, Tree::Auth];

/// See above. Made by [`History::export`](crate::storage::History::export).
#[derive(Debug)]
pub struct Export {
    backend: Arc<dyn Backend>,
    position: Durable,
    records: Vec<Row>,
    /// No block below this one is left to read.
    next_main: i64,
    _pin: Pin,
}

impl Export {
    /// Of what is durable at `position`. The caller sees to it that nothing is written meanwhile.
    pub(crate) fn at(
        position: Durable,
        backend: Arc<dyn Backend>,
        pins: &Arc<Pins>,
    ) -> Result<Export, StorageError> {
        // Below the compact revision, so that a removal that is under way waits too.
        let pin = pins.pin((position.compact_revision - 1).max(0));
        let records = read_records(&*backend)?;
        Ok(Export { backend, position, records, next_main: 0, _pin: pin })
    }

    /// What was durable when it was made.
    pub fn position(&self) -> Durable {
        self.position
    }

    /// The small records.
    pub(crate) fn records(&self) -> &[Row] {
        &self.records
    }

    /// The next blocks of history, until they have `bytes_max`, but at least one. None at the end.
    pub(crate) fn next_blocks(&mut self, bytes_max: usize) -> Result<Vec<Row>, StorageError> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut next = self.next_main;
        let from = keycode::main_key(self.next_main);
        self.backend.scan(Tree::KvRev, &from, &mut |key, value| {
            let main = keycode::read_main(key)
                .ok_or_else(|| StorageError::corrupt(Tree::KvRev, key, "the key is no revision"))?;
            if main > self.position.revision || bytes >= bytes_max {
                return Ok(ControlFlow::Break(()));
            }
            bytes += value.len();
            next = main + 1;
            rows.push(Row { tree: Tree::KvRev, key: Bytes::copy_from_slice(key), value });
            Ok(ControlFlow::Continue(()))
        })?;
        self.next_main = next;
        Ok(rows)
    }

    /// Moves on to a later point: what was read of history stays read. The caller sees to it that
    /// nothing is written meanwhile.
    pub(crate) fn move_to(&mut self, position: Durable) -> Result<(), StorageError> {
        self.records = read_records(&*self.backend)?;
        self.position = position;
        Ok(())
    }
}

fn read_records(backend: &dyn Backend) -> Result<Vec<Row>, StorageError> {
    let mut rows = Vec::new();
    for tree in RECORDS {
        backend.scan(tree, &[], &mut |key, value| {
            rows.push(Row { tree, key: Bytes::copy_from_slice(key), value });
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(rows)
}

/// Puts rows into a batch as they are.
pub(crate) fn put_rows(rows: &[Row], batch: &mut Batch) {
    for Row { tree, key, value } in rows {
        batch.put_sealed(*tree, key, value.to_vec());
    }
}
