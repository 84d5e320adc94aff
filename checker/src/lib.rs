//! Judges the history of a key-value store: did it keep its promises?

pub mod history;
