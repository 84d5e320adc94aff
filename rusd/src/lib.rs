//! The member: gRPC, peers, threads, disk and time around the state machine.

pub mod api;
pub mod applier;
pub mod assembly;
pub mod background;
pub mod blocking;
pub mod bootstrap;
pub mod config;
pub mod consensus;
pub mod engine;
pub mod hasher;
pub mod logging;
pub mod member;
pub mod metrics;
pub mod net;
pub mod plant;
pub mod quota;
pub mod server;
pub mod snapshot;
pub mod storage;
pub mod tls;
pub mod verify;
pub mod version;
pub mod watch;
