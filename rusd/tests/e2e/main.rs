//! A real `rusd` process, driven over the network.
//!
//! With `RUSD_E2E_ENDPOINT` set the same expectations are put to the server there instead, which
//! must be fresh for each test: that is how they were compared with etcd.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod certificates;
mod cluster;
mod corruption;
mod defragment;
#[cfg(feature = "failpoints")]
mod failpoints;
mod hashes;
mod leaderless;
mod locks;
mod log;
mod maintenance;
mod members;
mod process;
mod refusals;
mod site;
mod snapshot;
mod tls;
mod watch;
