//! The client API: what arrives is validated and handed on, what comes back gets a header.
//!
//! A write goes to the proposer and waits for this member's applier; a read waits for the read
//! barrier and then looks at the view; a watch joins the hub. No state lives here.
//!
//! [`Routes`] finds the service of a request. `KV` is looked for first and called directly: it is
//! the hot path. Plain HTTP on the same port is in `http`. A service that is not built answers
//! `Unimplemented`. What peers may ask over HTTP is in `peers`.

mod cluster;
mod election;
mod follow;
mod header;
mod http;
mod inside;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod metadata;
mod peers;
mod range_stream;
mod routes;
mod snapshot;
mod status;
mod validate;
mod watch;

pub use peers::{PeerRoutes, peer_routes};
pub use routes::{Api, Routes, routes};
