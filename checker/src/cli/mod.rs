//! The commands of the command line, one file each.

pub(crate) mod convert;
