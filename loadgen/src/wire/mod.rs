//! Unary calls over HTTP/2, at the least cost to whoever makes them.
//!
//! A load generator shares its machine with what it measures, so its own cost limits what it can
//! measure. A stack that can do everything (tonic on tower on hyper on h2) costs some twenty
//! microseconds of CPU a call, more than a fast server. This one can do unary calls, and nothing
//! else: many streams on one connection, many frames in one write, no allocation that outlives a
//! call, no lock.
//!
//! ```text
//!  request --> message --> connection --> bytes --> socket        one write for many calls
//!                             ^  frame, head                      one read for many answers
//!  answer <-- message <-------'  frame, hpack
//! ```
//!
//! [`Connection`] does no IO: it makes bytes of calls and answers of bytes. So its tests need no
//! network, and plain and secured sockets are the same to it.
//!
//! Left out on purpose: what a server may send only if it was asked to (pushed streams, compressed
//! messages, header tables that change: we announce a table of size 0). A call is one message; of an
//! answer with several messages (a snapshot) only the first is kept, or none.
//!
//! Sources: RFC 9113 (HTTP/2), RFC 7541 (HPACK), gRPC over HTTP/2.

mod connection;
mod frame;
mod head;
mod hpack;
mod huffman;
pub mod message;
pub mod null;
mod received;
pub mod socket;

pub use connection::{Broken, Connection};
pub use head::Call;
pub use socket::Socket;

#[cfg(test)]
mod tests;
