//! Filling an empty engine with a state that no log led to.
//!
//! Nothing of it counts before [`Fill::finish`]; the caller sees to it that nobody opens it earlier.

use std::sync::Arc;

use crate::storage::change::Changes;
use crate::storage::error::StorageError;
use crate::storage::history::Durable;
use crate::storage::schema::Tree;
use crate::storage::tally::{Kept, Tally};
use crate::storage::write_behind::Buffer;
use crate::storage::{BATCH_BYTES_MAX, Backend, HistoryOptions};

/// See above.
#[derive(Debug)]
pub(crate) struct Fill {
    backend: Arc<dyn Backend>,
    buffer: Buffer,
    history: Tally,
}

impl Fill {
    /// Into an empty engine.
    pub(crate) fn into(backend: Arc<dyn Backend>) -> Fill {
        Fill { backend, buffer: Buffer::default(), history: Tally::default() }
    }

    /// Takes changes, in order: those of keys by whole revisions.
    pub(crate) fn push(&mut self, changes: Changes) -> Result<(), StorageError> {
        self.buffer.push(changes);
        if self.buffer.bytes >= BATCH_BYTES_MAX { self.write() } else { Ok(()) }
    }

    /// After the last change: everything is durable, and the store is at `revision`, which is not
    /// below its last change.
    pub(crate) fn finish(mut self, revision: i64) -> Result<Durable, StorageError> {
        let position = &mut self.buffer.position;
        assert!(revision >= position.revision, "revisions rise");
        position.revision = revision;
        let durable = *position;
        self.write()?;
        self.backend.sync()?;
        Ok(durable)
    }

    fn write(&mut self) -> Result<(), StorageError> {
        let following = Buffer::following(self.buffer.position, 0);
        let buffer = std::mem::replace(&mut self.buffer, following);
        let mut batch = buffer.pack(HistoryOptions::default().block_bytes);
        self.history += Tally { count: buffer.entries(), bytes: batch.put_bytes(Tree::KvRev) };
        self.history.put(Kept::History, &mut batch);
        self.backend.commit(&batch)
    }
}
