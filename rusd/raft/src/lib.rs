//! Consensus as a value, and the durable log.
