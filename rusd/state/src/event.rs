//! Events: what a write did to keys, for those who watch.
//!
//! One [`Events`] is one revision, whole, in operation order. It is shared, never copied: a write
//! seen by a thousand watchers exists once.

use std::sync::Arc;

use rusd_proto::mvccpb::KeyValue;

use crate::mvcc::revision::Revision;
pub use crate::storage::change::EntryKind;

/// What one revision changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Events {
    /// The main revision; if no key changed, the store's.
    pub revision: i64,
    /// The changes in operation order; empty if no key changed.
    pub list: Arc<[Event]>,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Put or delete.
    pub kind: EntryKind,
    /// The key-value after; of a delete, only the key and its mod revision.
    pub kv: Arc<KeyValue>,
    /// The key-value before.
    pub prev: Prev,
}

/// The key-value before an event.
///
/// The applier never waits for the engine, so a previous value that is not in memory is only named;
/// [`View::previous`](crate::view::View::previous) reads it for the watcher that asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Prev {
    /// The key did not exist.
    Absent,
    /// Here it is.
    Known(Arc<KeyValue>),
    /// It exists in history under this revision.
    Stored(Revision),
}
