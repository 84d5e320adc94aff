//! Counts of what the engine holds, kept with it so that a start need not count.

use std::ops::AddAssign;

use crate::storage::Batch;
use crate::storage::schema::MetaKey;
use crate::storage::write_behind::put_number;

/// How many of something, and the bytes of their keys and values. Also a change of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) count: i64,
    pub(crate) bytes: i64,
}

/// The records under which a tally is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kept {
    /// Rows of `index`; bytes of `index` and `kv`. A crash may leave it a little off.
    Images,
    /// Entries in `kv_rev`; bytes of its blocks.
    History,
}

impl Tally {
    /// Writes it, with what is committed.
    pub(crate) fn put(self, kept: Kept, batch: &mut Batch) {
        let (count, bytes) = match kept {
            Kept::Images => (MetaKey::ImageRows, MetaKey::ImageBytes),
            Kept::History => (MetaKey::HistoryEntries, MetaKey::HistoryBytes),
        };
        put_number(batch, &count, self.count.max(0));
        put_number(batch, &bytes, self.bytes.max(0));
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// Bytes of an entry of the engine.
pub(crate) fn entry_bytes(key: &[u8], value_len: usize) -> i64 {
    i64::try_from(key.len() + value_len).expect("a length fits")
}
