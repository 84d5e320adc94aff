//! Random streams of requests on two servers side by side, and the shortest one on which they
//! answer differently.
//!
//! ```text
//!  seed, stream --> requests (draw, txn) --> steps --> pair: server under test | etcd
//!                      ^                                  |            |
//!                      '--- revision, leases <------------+-- equal? --'
//!                                                             no: shrink --> a script
//! ```
//!
//! A stream is a function of its seed and of what etcd answers: where the store's revision stands
//! and which leases there are decides what is worth asking. Keys and leases are few, so that
//! requests meet. A [`request::Request`] is one decision; [`steps`] makes of it the steps of a
//! script, with whatever must be waited for, so that answers never depend on timing and what is
//! found can be filed as it is printed.
//!
//! Left out, because it has no one answer: leases that expire, watches of two streams at once.
//!
//! Invariant: a stream counts as equal only if every answer of it was compared.

mod draw;
pub mod pair;
pub mod request;
pub mod requests;
pub mod run;
pub mod shrink;
pub mod steps;
pub mod summary;
mod txn;
