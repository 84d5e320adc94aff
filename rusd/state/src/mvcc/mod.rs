//! Multi-version store of keys.
//!
//! ```text
//!   WriteTxn (applier, write lock)          ReadAt (anyone, read lock per chunk)
//!        |                                        |
//!        v                                        v
//!   Store: ordered keys -> KeyEntry { newest + its value if resident, past revisions }
//!        |                                        |
//!        '----- append ---->  storage::History  <-'  values that are old or evicted
//! ```
//!
//! The index in memory decides *what exists at a revision*; history only holds values. So a
//! revision that compaction removed from the index is invisible at once, whatever still stands on
//! disk, and a revision in the index is always readable from history: pins see to that.
//!
//! Left out on purpose: snapshots of the index, cursors that live across calls, and any clock.

pub mod compaction;
pub(crate) mod index_key;
pub(crate) mod key_index;
pub(crate) mod key_range;
pub(crate) mod read;
pub mod revision;
pub(crate) mod store;
pub(crate) mod write;
