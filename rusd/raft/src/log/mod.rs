//! The durable log: what a node must find again after a crash.
//!
//! [`LogStore`] is the seam. [`Wal`] keeps the log in etcd's on-disk format; [`MemoryLog`] keeps
//! it in memory for tests and simulation, and can forget what was not synced.
//!
//! ```text
//!  Node ─append, sync─> Wal ── record (frames, running CRC)
//!                        │
//!                        ├──── segment (files, zero-filled ahead)
//!                        ├──── index   (entry -> segment and offset; terms)
//!                        └──── replay  (folder -> all of the above, or Corrupt)
//! ```

mod store;

mod record;

mod index;

mod segment;

mod replay;

mod cache;

mod wal;

mod read_only;

mod memory;

mod lock;

pub use lock::DataDirLock;
pub use memory::MemoryLog;
pub use read_only::ReadOnlyLog;
pub use segment::SegmentPreparer;
pub use store::{LogStore, SnapshotMark};
pub use wal::{SyncPoint, Wal, WalOptions};
