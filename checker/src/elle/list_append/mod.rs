//! Transactions that append to lists and read them.
//!
//! A list tells its whole past: whoever read `[3 1 2]` has seen three appends in their order. So the
//! longest list read of each key orders its versions, and every other list must be a beginning of it.
//!
//! ```text
//!   version      [ ]  ->  [3]  ->  [3 1]  ->  [3 1 2]      appends that nobody read
//!   written by            T4       T1         T7           come after the last
//!   read by      T2                T4, T9
//!
//!   ww: T4 before T1      wr: T1 before T9      rw: T9 before T7
//! ```
//!
//! `versions` makes the order of each key, `reads` finds the place of each read in it, adds the
//! dependencies and judges the read, `within` compares a read with what its own transaction did
//! before.
//!
//! Why it is sound: a committed read shows what was there, and elements are appended once, so in any
//! serial execution the versions have this order and the dependencies hold. Why it is complete: if
//! nothing is wrong and no cycle is there, the dependencies leave a serial order in which every
//! transaction reads what it did read. What is unknown takes part if any of it was read, and need not
//! have happened otherwise.
//!
//! Left out: what transactions read that did not commit.

mod check;
mod mop;
mod reads;
mod versions;
mod within;

pub use check::check;
pub use mop::Mop;
