//! Placeholder until the engines exist.
fn main() {}
