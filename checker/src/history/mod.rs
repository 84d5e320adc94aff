//! What was asked of a store, what it answered, and when.

pub mod record;
pub mod text;
