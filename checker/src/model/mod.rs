//! What etcd promises, written down a second time: this model shares no code with any server.
//!
//! ```text
//!  keyspace   the live keys, and what a write changes in them       (used by every engine)
//!  execute    requests, answers and refusals over a keyspace        (used by every engine)
//!  etcd_store keyspace + history + leases + compaction = all of it  (stateright, live comparison)
//! ```
//!
//! Left out: authentication, alarms and quotas; sort orders other than by key; time. A lease ends
//! when it is revoked, and an expiry is the server revoking it.

pub mod etcd_store;
pub mod keyspace;
pub mod refusal;

pub(crate) mod execute;
pub(crate) mod validate;
