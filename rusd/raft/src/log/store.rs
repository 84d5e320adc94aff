//! The seam between consensus and the disk.

use rusd_proto::raftpb::Entry;

use crate::error::Fatal;
use crate::types::{HardState, Index, Metadata, Term};

/// A durable log of entries and of the node's hard state.
///
/// Order of use: any number of `append`s, then `sync`. What was appended can be read back at once;
/// it survives a crash of the process from then on, and a crash of the machine after `sync`.
pub trait LogStore {
    /// Whose log this is.
    fn metadata(&self) -> Metadata;

    /// The hard state last appended.
    fn hard_state(&self) -> HardState;

    /// The oldest entry that can be read. With no entries, the index that the next one gets.
    fn first_index(&self) -> Index;

    /// The newest entry; `first_index - 1` when there is none.
    fn last_index(&self) -> Index;

    /// The term of an entry in `first_index - 1 ..= last_index`, `None` outside.
    fn term(&self, index: Index) -> Option<Term>;

    /// Entries of `low..high`, as many as fit into `bytes_max` of data, but at least one.
    ///
    /// # Panics
    /// When the range is not within the log.
    fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>, Fatal>;

    /// Adds entries, without gaps. One whose index is taken replaces that entry and all after it.
    /// Order on disk: entries, then hard state, so that a commit index never outruns the entries.
    fn append(&mut self, entries: &[Entry], hard_state: Option<HardState>) -> Result<(), Fatal>;

    /// Makes everything appended so far survive a crash of the machine.
    fn sync(&mut self) -> Result<(), Fatal>;
}
