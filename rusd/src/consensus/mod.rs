//! Consensus inside the member: who proposes, who drives the node, who talks to peers.
//!
//! ```text
//!  api --propose--> Proposer --queue--> driver thread --committed--> applier
//!  api --wait-----> ReadBarrier -queue->   | ^
//!                                 messages v | messages
//!                                      transport <--> peers
//! ```
//!
//! The driver thread alone touches the node and its log. Everyone else reaches it through bounded
//! queues and is told when it moved through [`progress::Progress`].

pub mod driver;
pub mod inbox;
pub mod join;
pub mod links;
pub mod log_keeper;
pub mod membership;
pub mod peer_handler;
pub mod peer_hash;
pub mod peer_http;
pub mod peer_link;
pub mod progress;
pub mod proposer;
pub mod read_barrier;
pub mod reconfigure;
pub mod snapshot_io;
pub mod transfer;
pub mod transport;
