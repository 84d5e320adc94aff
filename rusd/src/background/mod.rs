//! What a member does by itself. Background work *proposes*; it never changes state.

pub mod auto_compaction;
pub mod cluster_version;
pub mod corruption;
pub mod lease_clock;
pub mod lease_expiry;
pub mod leases;
pub mod publisher;
pub mod space;
