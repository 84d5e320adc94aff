//! Leases: keys that live as long as their client says so.
//!
//! No clock here. A lease ends when a revoke is applied, whoever proposed it; the server keeps the
//! time and proposes the revoke of a lease that ran out.

pub mod grant;
pub(crate) mod lessor;
