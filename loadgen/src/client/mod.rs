//! How operations reach a member.
//!
//! Nothing here retries: an operation is sent once, over a connection that was there before, or
//! not at all. That is what makes [`failure`] able to say what an error proves.

pub mod convert;
pub mod etcd;
pub mod failure;
pub mod link;
pub mod tls;
