//! The commands of the command line, one file each.

pub(crate) mod check;
pub(crate) mod convert;
mod follow;
pub(crate) mod shrink;

mod input;
mod output;
