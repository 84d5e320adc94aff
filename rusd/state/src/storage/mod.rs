//! What the state machine keeps on disk, and how it gets there.
//!
//! The seam with `mvcc` is `history::History`; the seam with an engine is the `Backend` trait.
//! Nothing here knows what a transaction or a lease means.

pub mod change;
