//! Whole clusters of rusd in one process and one thread, from one seed.
//!
//! ```text
//!   seed --> plan: members, faults, network          clients, watches (tasks)
//!              |                                          |  requests to the api, no sockets
//!              v                                          v
//!            world -- 1 ms at a time --> host: driver, applier, hub, engine   (the member's own)
//!              |                           |            |
//!              |<------- packets ----------'            '--> simulated disk: log and engine
//!              v
//!   invariants after every step; at the end the history goes to rusd-checker
//! ```
//!
//! What runs is the member as a server runs it (`rusd::assembly`), with its threads' loops stepped
//! by hand. What is simulated is time, the network between members, and the disk. A schedule is a
//! function of its seed: the same seed gives the same packets, faults and answers, to the byte.
//!
//! Left out: sockets, HTTP/2, files. [`whole`] is a second layer that has connections, HTTP/2 and gRPC,
//! and takes longer.

pub mod clients;
pub mod disk;
pub mod doors;
pub mod engine;
pub mod faults;
pub mod host;
pub mod invariants;
pub mod network;
pub mod operator;
pub mod plan;
pub mod plants;
pub mod schedule;
pub mod shelf;
pub mod shrink;
pub mod snapshots;
pub mod streams;
pub mod trace;
pub mod whole;
pub mod world;
