//! The replicated state machine: the same entries in, the same state and answers out, on every
//! member.

pub mod mvcc;
pub mod storage;
