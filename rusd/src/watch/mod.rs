//! Watches: every event reaches everyone who asked for it, once and in order.
//!
//! ```text
//! applier --(bounded channel)--> hub thread --(bounded channel per watcher)--> stream task --> client
//!                                   |  exact key -> watchers (DashMap)            |
//!                                   |  ranges -> watchers (interval tree)         '-- history, when behind
//!                                   '--(full: the watcher is marked as lost)
//! ```
//!
//! - The [`hub`] hands each revision to whoever watches its keys. It never waits: a watcher whose
//!   channel is full is *lost*, and gets nothing more until it rejoins. So a slow client slows
//!   nobody down.
//! - A `watcher` knows the next revision it owes its client. It is *synced* while the hub's
//!   deliveries continue there; else it is *behind*, and reads the history from there on. Because
//!   the next revision is all it needs, being lost costs time and never an event.
//! - `sync` holds the watchers of one stream: which have something, which are behind, and what a
//!   progress request may promise.
//!
//! **Joining without a gap.** The hub announces a revision (`dispatching`) before it looks for that
//! revision's watchers. A watcher first makes itself visible and then reads `dispatching`: every
//! later revision will find it. What came up to there it takes from the history, where it is
//! already visible, since the applier hands a revision on only after applying it. A revision that
//! comes on both ways is skipped the second time.
//!
//! Left out: one scan for the watchers of different streams, and restoring watches after an
//! installed snapshot.

pub mod hub;
pub(crate) mod progress;
pub(crate) mod range_index;
pub(crate) mod sync;
pub(crate) mod watcher;

#[cfg(test)]
mod tests;
