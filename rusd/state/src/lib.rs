//! The replicated state machine: the same entries in, the same state and answers out, on every
//! member.
//!
//! ```text
//!             apply (one thread)                       view (any thread)
//!   entry --> command --> txn --> mvcc::write ---.   .-- mvcc::read --> response
//!                                 lease           v v
//!                                             shared state (one RwLock)
//!                                                  |
//!                              storage::History: write-behind buffer, then the engine
//! ```
//!
//! Order of calls: [`StateMachine::open`](apply::StateMachine::open), then
//! [`apply`](apply::StateMachine::apply) for every entry after
//! [`applied`](apply::StateMachine::applied), in order. Views may be taken and used at any time. A
//! thread of the caller flushes, folds and compacts.
//!
//! Not here: any clock, thread, socket or random number.

mod alarm;
pub mod apply;
pub mod command;
pub mod error;
pub mod etcd;
pub mod event;
pub mod hash;
pub mod lease;
pub mod members;
pub mod mvcc;
pub mod options;
pub mod planted;
pub mod quota;
mod recovery;
mod shared;
pub mod storage;
pub mod txn;
pub mod view;

pub use apply::{Applied, LeaseEffect, Response, StateMachine};
pub use error::{ApplyError, Fatal, ReadError};
pub use event::{EntryKind, Event, Events, Prev};
pub use hash::HashKv;
pub use lease::grant::LeaseInfo;
pub use mvcc::compaction::{Compactor, Progress};
pub use mvcc::revision::Revision;
pub use options::Options;
pub use view::{EventScan, View};
