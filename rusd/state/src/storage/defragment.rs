//! Defragmentation: the engine is copied into a fresh generation, which takes its place.
//!
//! A value that is stepped by the flusher's thread between flushes, so neither reads nor writes
//! wait. First the images are copied, which nobody folds meanwhile; then history, up to its end as
//! it grows. In the step that finds nothing new any more the small records are written, all is
//! synced, and the generations are switched; no flush can come in between.
//!
//! Until the switch the fresh generation is leftovers. If it cannot be written, it is given up, and
//! nothing has happened.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::storage::error::StorageError;
use crate::storage::export::{Export, Row, put_rows};
use crate::storage::history::Durable;
use crate::storage::schema::Tree;
use crate::storage::{Backend, Batch};

/// Bytes copied between two syncs of the fresh generation, so that none of them takes long.
const SYNC_BYTES: usize = 4 << 20;

/// What a step of a defragmentation came to.
#[derive(Debug)]
pub enum DefragmentProgress {
    /// None is under way.
    Idle,
    /// There is more to do.
    Busy,
    /// The fresh generation is the current one.
    Done,
    /// The fresh generation could not be written and is given up; all is as it was before.
    Failed(StorageError),
}

/// One that is under way.
#[derive(Debug)]
pub(crate) struct Defragmentation {
    target: Arc<dyn Backend>,
    export: Export,
    /// The image that is being copied, and the first key that is left of it.
    image: Option<(Tree, Vec<u8>)>,
    unsynced_bytes: usize,
}

/// Which side failed.
pub(crate) enum CopyError {
    /// The engine that is copied.
    Source(StorageError),
    /// The fresh one.
    Target(StorageError),
}

impl Defragmentation {
    /// Into an empty engine.
    pub(crate) fn new(target: Arc<dyn Backend>, export: Export) -> Self {
        rusd_failpoint::hit("defragBeforeCopy");
        let image = Some((Tree::Index, Vec::new()));
        Defragmentation { target, export, image, unsynced_bytes: 0 }
    }

    /// The copy.
    pub(crate) fn into_target(self) -> Arc<dyn Backend> {
        self.target
    }

    /// Copies about `bytes_max` more. False if the fresh generation is whole, and durable.
    pub(crate) fn step(
        &mut self,
        source: &dyn Backend,
        durable: Durable,
        bytes_max: usize,
    ) -> Result<bool, CopyError> {
        rusd_failpoint::io("defragdbFail")
            .map_err(|error| CopyError::Target(StorageError::of_engine(error)))?;
        let (copied, is_image) = match self.image.take() {
            Some((tree, from)) => (self.copy_image(source, tree, from, bytes_max)?, true),
            None => (self.copy_blocks(bytes_max)?, false),
        };
        self.unsynced_bytes += copied;
        if self.unsynced_bytes >= SYNC_BYTES {
            self.target.sync().map_err(CopyError::Target)?;
            self.unsynced_bytes = 0;
        }
        if copied > 0 || is_image {
            return Ok(true);
        }
        if self.export.position() != durable {
            self.export.move_to(durable).map_err(CopyError::Source)?;
            return Ok(true);
        }
        let completed = rusd_failpoint::io("defragBeforeRename").map_err(StorageError::of_engine);
        completed.and_then(|()| self.complete()).map_err(CopyError::Target)?;
        Ok(false)
    }

    fn copy_image(
        &mut self,
        source: &dyn Backend,
        tree: Tree,
        from: Vec<u8>,
        bytes_max: usize,
    ) -> Result<usize, CopyError> {
        let mut bytes = 0;
        let mut rows = Vec::new();
        let mut next = None;
        let visited = source.scan(tree, &from, &mut |key, value: Bytes| {
            if bytes >= bytes_max {
                next = Some(key.to_vec());
                return Ok(ControlFlow::Break(()));
            }
            bytes += key.len() + value.len();
            rows.push((key.to_vec(), value));
            Ok(ControlFlow::Continue(()))
        });
        visited.map_err(CopyError::Source)?;
        for (key, value) in rows {
            self.target.put_row(tree, &key, &value).map_err(CopyError::Target)?;
        }
        self.image = match (next, tree) {
            (Some(next), _) => Some((tree, next)),
            (None, Tree::Index) => Some((Tree::Kv, Vec::new())),
            (None, _) => None,
        };
        Ok(bytes)
    }

    fn copy_blocks(&mut self, bytes_max: usize) -> Result<usize, CopyError> {
        let rows = self.export.next_blocks(bytes_max).map_err(CopyError::Source)?;
        let mut batch = Batch::default();
        put_rows(&rows, &mut batch);
        self.target.commit(&batch).map_err(CopyError::Target)?;
        Ok(batch.len_bytes())
    }

    fn complete(&mut self) -> Result<(), StorageError> {
        let target = &self.target;
        let (meta, others) =
            self.export.records().iter().partition::<Vec<&Row>, _>(|row| row.tree == Tree::Meta);
        for row in others {
            target.put_row(row.tree, &row.key, &row.value)?;
        }
        // Whoever sees what `meta` has may trust that all the rest is there.
        target.sync()?;
        let mut batch = Batch::default();
        put_rows(meta, &mut batch);
        target.commit(&batch)?;
        target.sync()
    }
}
