//! Drives an etcd-compatible cluster with load and faults, and records what it answers.
//!
//! ```text
//!  workload.toml --> workload --> generator --> driver --> wire ----> the cluster
//!                        |        keys pacing     |           ^
//!                        |                        v           |
//!                        '--> nemesis --------> recorder --> history.jsonl --> checker
//!                                                 |
//!                                               stats --> report
//! ```
//!
//! A run is one pass through [`runner`]: start (or attach to) a cluster, watch it, load it, hurt
//! it, heal it, read what every member holds, hand the history to the checker, write the report.
//!
//! Invariants:
//! - the system under test is known by its addresses only (and, when we started it, by its
//!   process ids): nothing here depends on a server crate;
//! - every written value is unique in the run, every time is read from one monotonic clock, and a
//!   process id is never used again after an operation whose outcome is unknown;
//! - an operation counts as failed only if it provably was not applied;
//! - every queue is bounded, and every fault is undone before the run ends.
//!
//! Not here: any judgement of a history; that is the checker's.

pub mod agreement;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod compare;
pub mod conform;
pub mod driver;
pub mod generator;
pub mod keys;
pub mod metric;
pub mod nemesis;
pub mod pacing;
pub mod recorder;
pub mod report;
pub mod results;
pub mod runner;
pub mod search;
pub mod stats;
pub mod watcher;
pub mod wire;
pub mod workload;

#[cfg(test)]
mod test_member;
