//! Transactions that write registers and read them.
//!
//! A register shows only what was written last, so its versions have no order by themselves. What is
//! known of it comes from several sources, each of which gives some pairs of versions:
//!
//! - nothing was there before the first version;
//! - the store told the revision of each version (etcd does): then the order is known;
//! - what the [options](crate::elle::Options) take for granted of each key.
//!
//! ```text
//!   versions:   none -> 3 -> 7        7 was written by T2, after T2 had read 3
//!
//!   wr: whoever wrote 3 before whoever read it        ww: whoever wrote 3 before T2
//!   rw: whoever read 3 before T2
//! ```
//!
//! `touches` goes through the transactions: what each read of a key at first and wrote to it at last,
//! and whether its reads should have shown what they did. `sources` gives the pairs, `versions` numbers
//! the versions, and `check` makes dependencies of them.
//!
//! Why it is sound: dependencies are added only where the order of two versions is known. It is
//! complete only where the order of all versions is; elsewhere a history may be valid here and yet have
//! no serial order.
//!
//! Left out: deletions; what transactions read that did not commit; the order of versions that
//! follows from the order of transactions in turn.

mod check;
mod mop;
mod sources;
mod touches;
mod versions;

pub use check::check;
pub use mop::Mop;
