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
use prost::Message;
use rusd_proto::raftpb::ConfState;

use crate::storage::blocks::ReadBlock;
use crate::storage::change::HistoryEntry;
use crate::storage::error::StorageError;
use crate::storage::history::Durable;
use crate::storage::import;
use crate::storage::keycode;
use crate::storage::pins::{Pin, Pins};
use crate::storage::recovery::{self, Recovered};
use crate::storage::schema::{self, MetaKey, Tree};
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
    /// How many of them went into chunks.
    records_sent: usize,
    /// How many rows went into chunks, until that is told too.
    rows_sent: Option<usize>,
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
        // Below all compactions, so that a removal that is under way waits too, of whichever it is.
        let pin = pins.pin(0);
        let records = read_records(&*backend)?;
        Ok(Export {
            backend,
            position,
            records,
            records_sent: 0,
            rows_sent: Some(0),
            next_main: 0,
            _pin: pin,
        })
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

    /// Begins again with the first block.
    pub(crate) fn rewind(&mut self) {
        self.next_main = 0;
    }

    /// The entries of the next blocks, until those have `bytes_max`, but at least of one. None at the
    /// end.
    pub(crate) fn next_entries(
        &mut self,
        bytes_max: usize,
    ) -> Result<Vec<HistoryEntry>, StorageError> {
        rusd_failpoint::io("exportFile").map_err(StorageError::of_engine)?;
        let mut entries = Vec::new();
        // A block that compaction has rewritten may be empty.
        while entries.is_empty() {
            let rows = self.next_blocks(bytes_max)?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let block = ReadBlock::open(&row.key, &row.value)?;
                for entry in block.entries() {
                    entries.push(entry?.to_history()?);
                }
            }
        }
        Ok(entries)
    }

    /// The small records, read.
    pub(crate) fn recovered(&self) -> Result<Recovered, StorageError> {
        recovery::of_records(&self.backend, &self.records)
    }

    /// Voters and learners as of then.
    pub fn conf_state(&self) -> Result<ConfState, StorageError> {
        let key = MetaKey::ConfState.encode();
        let is_wanted = |row: &&Row| row.tree == Tree::Meta && row.key == key;
        let Some(row) = self.records.iter().find(is_wanted) else {
            return Ok(ConfState::default());
        };
        let value = schema::unseal(row.tree, &row.key, &row.value)?;
        ConfState::decode(value)
            .map_err(|error| StorageError::corrupt(Tree::Meta, &key, error.to_string()))
    }

    /// The next chunk for an [`Import`](crate::storage::Import): rows until they have `bytes_max`,
    /// but at least one. `None` at the end. Blocks come first, records after them.
    pub fn next_chunk(&mut self, bytes_max: usize) -> Result<Option<Bytes>, StorageError> {
        rusd_failpoint::io("exportChunk").map_err(StorageError::of_engine)?;
        let mut rows = self.next_blocks(bytes_max)?;
        if rows.is_empty() {
            rows = self.next_records(bytes_max);
        }
        if rows.is_empty() {
            return Ok(self.rows_sent.take().map(import::encode_end));
        }
        self.rows_sent = self.rows_sent.map(|sent| sent + rows.len());
        Ok(Some(import::encode(&rows)))
    }

    fn next_records(&mut self, bytes_max: usize) -> Vec<Row> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = self.records.get(self.records_sent)
            && (rows.is_empty() || bytes < bytes_max)
        {
            self.records_sent += 1;
            if !is_of_images(row) {
                bytes += row.key.len() + row.value.len();
                rows.push(row.clone());
            }
        }
        rows
    }

    /// Moves on to a later point: what was read of history stays read. The caller sees to it that
    /// nothing is written meanwhile.
    pub(crate) fn move_to(&mut self, position: Durable) -> Result<(), StorageError> {
        self.records = read_records(&*self.backend)?;
        self.position = position;
        Ok(())
    }
}

/// The images do not go with it, so neither does what is said of them.
fn is_of_images(row: &Row) -> bool {
    let key = (row.tree == Tree::Meta).then(|| MetaKey::decode(&row.key)).flatten();
    matches!(key, Some(MetaKey::Fold | MetaKey::ImageRows | MetaKey::ImageBytes))
}

/// Reads the small records.
pub(crate) fn read_records(backend: &dyn Backend) -> Result<Vec<Row>, StorageError> {
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
pub(crate) fn put_rows<'a>(rows: impl IntoIterator<Item = &'a Row>, batch: &mut Batch) {
    for Row { tree, key, value } in rows {
        batch.put_sealed(*tree, key, value.to_vec());
    }
}
