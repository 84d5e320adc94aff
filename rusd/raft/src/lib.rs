//! Consensus as a value, and the durable log.
//!
//! A [`Node`] is one raft instance. It is stepped from outside and does nothing by itself: it has
//! no socket, no thread, no clock. Time is [`Node::tick`], the network is [`Node::step`] and an
//! [`Outbox`], the disk is a [`log::LogStore`].
//!
//! ```text
//!   tick ──┐                        ┌──> Outbox: a leader's appends, which need no sync of ours
//!   step ──┤        ┌─────────┐     │
//!   propose┼──────> │  Node   │ ── poll ──> log: ONE write, ONE sync
//!   read ──┤        │ (raft)  │     │
//!   apply ─┘        └─────────┘     ├──> Outbox: votes and replies, which promise what is on disk
//!                                   └──> Turn: committed entries, answered reads
//! ```
//!
//! The caller's loop: drain inputs into `tick`, `step`, `propose`, `read_index`; call
//! [`Node::poll`] once; for every membership change in [`Turn::committed`] call
//! [`Node::apply_conf_change`] **before** the next `poll`; hand the committed entries on.
//!
//! The consensus algorithm is the `raft` crate's. This crate adds the durable log in etcd's
//! format, the peer protocol, etcd's membership entries, and the rules about what must be on disk
//! before what may be said.
//!
//! Invariants:
//! - Term, vote and entries are synced before a message that depends on them leaves.
//! - Nothing is handed out as committed before it is synced here, even if a quorum of others has it.
//! - A `ReadIndex` context is used once; a retry takes a fresh one.
//! - Same seed, same calls, same log: same messages.
//!
//! - The log is forgotten only up to a mark, which the caller sets where the state is durable.
//!
//! A node whose log is too far behind gets the whole state: see [`Outgoing::Snapshot`] and
//! [`Node::install`]. The state itself never passes through here.
//!
//! Left out on purpose: joint membership changes, leases on reads.

mod types;

mod node;

mod ready;

mod read_index;

mod conf_change;

mod convert;

mod storage;

mod error;

pub mod log;

pub use conf_change::{BootstrapMember, bootstrap};
pub use error::{Fatal, ProposeError, StepError};
#[cfg(feature = "planted-bugs")]
pub use node::Plant;
pub use node::{Config, Node};
pub use read_index::ReadState;
pub use ready::{Outbox, Outgoing, SnapshotOrder, Turn};
pub use rusd_proto::raftpb::{ConfChange, ConfState, Entry};
pub use types::{HardState, Index, Metadata, NodeStatus, Role, Term};
