//! The order of history: from the compact revision on no operation is missing.
//!
//! Of the compact revision itself, we keep all operations, and etcd, whose snapshot a store may come
//! from, those that were not overwritten; of what is older, compaction leaves some. So both are taken
//! as they come.

use crate::mvcc::revision::Revision;
use crate::storage::error::StorageError;
use crate::storage::keycode;
use crate::storage::schema::Tree;
use crate::storage::write_behind::Position;

/// The first revision that a write can have.
const WRITE_REVISION_MIN: i64 = 2;

/// History, followed entry by entry.
#[derive(Debug)]
pub(crate) struct Sequence {
    /// From here on it must be whole.
    whole_from: i64,
    /// The revision of the store, with which it must end.
    revision: i64,
    last: Option<Revision>,
}

impl Sequence {
    /// The history of a store that stands there, read from the main revision `from` on.
    pub(crate) fn of(store: Position, from: i64) -> Self {
        let whole_from = (store.compact_revision + 1).max(WRITE_REVISION_MIN).max(from);
        Sequence { whole_from, revision: store.revision, last: None }
    }

    /// The last entry that was taken or skipped.
    pub(crate) fn last(&self) -> Option<Revision> {
        self.last
    }

    /// Takes an entry as it comes: what is before it could not be read.
    pub(crate) fn skip_to(&mut self, revision: Revision) {
        self.last = Some(revision);
    }

    /// Takes the next entry. `Err` if it is not the one that must follow; it is taken all the same.
    pub(crate) fn take(&mut self, revision: Revision) -> Result<(), StorageError> {
        let last = self.last.replace(revision);
        let Revision { main, sub } = revision;
        if main < self.whole_from {
            return Ok(());
        }
        let expected = match last {
            Some(last) if last.main == main => Revision { main, sub: last.sub + 1 },
            Some(last) => Revision::first_of(self.whole_from.max(last.main + 1)),
            None => Revision::first_of(self.whole_from),
        };
        if revision != expected {
            return Err(broken(
                main,
                format!(
                    "found operation {sub}, expected operation {} of revision {}",
                    expected.sub, expected.main
                ),
            ));
        }
        if main > self.revision {
            return Err(broken(main, format!("beyond the store's revision {}", self.revision)));
        }
        Ok(())
    }

    /// After the last entry.
    pub(crate) fn end(&self) -> Result<(), StorageError> {
        // Of what was compacted there may be nothing left.
        let last = self.last.map_or(0, |last| last.main).max(self.whole_from - 1);
        if last < self.revision {
            return Err(broken(self.revision, format!("history ends at {last}")));
        }
        Ok(())
    }
}

fn broken(main: i64, reason: String) -> StorageError {
    StorageError::corrupt(Tree::KvRev, &keycode::main_key(main), reason)
}
