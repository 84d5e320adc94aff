//! Multi-version store of keys.

pub mod revision;
