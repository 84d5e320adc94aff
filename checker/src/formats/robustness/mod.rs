//! The report folder of etcd's robustness tests (`tests/robustness/report` there), both ways.
//!
//! ```text
//!  REPORT/client-1/operations.json    one JSON value for each operation
//!         client-1/watch.json         one JSON value for each watch, with all its responses
//!         server-.../                 the members' data: not read, not written
//! ```
//!
//! Field names are those of etcd's `model` package in 3.6 and 3.7: Go's JSON of `porcupine.Operation`
//! and `WatchOperation`.
//!
//! # Reading
//!
//! What the report does not say is worked out where there is one answer (`changes`): create revisions, the
//! versions in events, and leases follow from the events of a watch on all keys, which these tests
//! always have, and from the puts. The rest becomes weaker, never stronger:
//! - values of 20 bytes and more are digests in the report, and stand-ins here (`values`);
//! - a compaction's answer has no revision, so its outcome is unknown;
//! - a write that ended in an error may have taken effect, whatever the error says;
//! - leases are granted for 7200 seconds, as these tests do; a grant whose answer was lost is left
//!   out, since nobody learnt its id; so are defragmentations;
//! - where a watch from now on begins, its first response tells, as etcd's checker takes it.
//!
//! # Writing
//!
//! Reads and watches that the report has no words for are left out and counted, which makes nothing
//! invalid; a write that it has no words for is an error ([`FormatError::Untellable`]):
//! deletes of ranges, compares but of mod revision or version for equality, nested
//! transactions, `ignore_value`, `ignore_lease`, short keys and values that are no text.
//! Left out are serializable reads, counts, keep-alives, refusals (but of compactions), watches of
//! ranges that are no prefix, filtered or told in short, previous key-values of writes, final states
//! and faults. Times to live are not told: etcd's model has no lease that runs out, and takes a key that
//! went with one for an error. There are no members' data, so its checker judges linearizability,
//! and skips watches and reads of the past, for which it wants their logs.
//!
//! [`FormatError::Untellable`]: super::FormatError::Untellable

mod changes;
mod from_operation;
mod from_watch;
mod merge;
mod model;
mod operations_file;
mod read;
mod survey;
mod to_operation;
mod to_watch;
mod values;
mod watch_file;
mod write;

pub use read::Reader;
pub use write::Writer;
