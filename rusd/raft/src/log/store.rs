//! The seam between consensus and the disk.

use rusd_proto::raftpb::{ConfState, Entry};

use crate::error::Fatal;
use crate::types::{HardState, Index, Metadata, Term};

/// An index up to which the state is kept elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotMark {
    /// The last entry that is in the state.
    pub index: Index,
    /// Its term.
    pub term: Term,
    /// Voters and learners as of it.
    pub conf_state: ConfState,
}

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

    /// Notes that the state up to `mark` is kept elsewhere, durably. A log that was cut needs such a
    /// mark at or after its beginning.
    ///
    /// # Panics
    /// When the entry at the mark is not in the log with that term.
    fn append_mark(&mut self, mark: &SnapshotMark) -> Result<(), Fatal>;

    /// Forgets the entries up to and with `base`, which a synced mark at or after it vouches for,
    /// and everything of them on disk that is not needed for anything else.
    fn cut(&mut self, base: Index) -> Result<(), Fatal>;

    /// Forgets all entries: the state came from elsewhere, and the log goes on after it. Written
    /// with the hard state in one go, but not synced.
    fn restart_after(&mut self, mark: &SnapshotMark, state: HardState) -> Result<(), Fatal>;

    /// Makes everything appended so far survive a crash of the machine.
    fn sync(&mut self) -> Result<(), Fatal>;
}
