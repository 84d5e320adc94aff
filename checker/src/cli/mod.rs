//! The commands of the command line, one file each.

pub(crate) mod check;
pub(crate) mod convert;

mod input;
mod output;
