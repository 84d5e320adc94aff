//! Does a server answer as etcd does? Scripts of requests with etcd's answers, and who runs them.
//!
//! ```text
//!  conform/AREA/SITUATION.txt --> library --> script (parsed) --.
//!                                                               v
//!  server under test <-- dynamic (any RPC) <-- session --> answer, normalised --> report
//!                                                 ^             ^
//!                                  values ($NAME) '             ' differences (what may differ)
//! ```
//!
//! A script is data: requests and answers in protobuf's text format, so that every RPC and every
//! field can be said without code for it. [`session`] runs steps on one server and gives answers
//! that look the same on every server that behaves the same: ids are named, revisions count from
//! the start of the script, and what [`differences`] lists is only compared by its presence.
//!
//! [`generate`] makes steps of its own, at random, and runs them on two servers. It needs three
//! things: [`subject::Subject`] (a connection), [`session::Session`] (a clean start on it, then
//! `step`), and [`script::Step`].
//!
//! Invariant: an answer that was not compared is never counted as a pass.

pub mod answer;
pub mod clean;
pub mod differences;
pub mod dynamic;
pub mod generate;
pub mod library;
pub mod normalize;
pub mod record;
pub mod report;
pub mod runner;
pub mod schema;
pub mod script;
pub mod servers;
pub mod session;
pub mod settle;
pub mod subject;
pub mod values;
pub mod version;
