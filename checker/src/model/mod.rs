//! What etcd promises, written down a second time: this model shares no code with any server.
//!
//! ```text
//!  keyspace   the live keys, and what a write changes in them       (used by every engine)
//!  execute    requests, answers and refusals over a keyspace        (used by every engine)
//!  etcd_store keyspace + history + leases + compaction = all of it  (stateright, live comparison)
//! ```
//!
//! Beside it are the objects that histories without revisions are judged by, in `search`:
//!
//! ```text
//!  register  cas_register  versioned_register   one value
//!  append  set  counter  lock                   a string, a set, a sum, an owner
//!  bank  multi_register                         several values that belong together
//!  keyed                                        any of these under each of many keys
//! ```
//!
//! Left out: authentication, alarms and quotas; sort orders other than by key; time. A lease ends
//! when it is revoked, and an expiry is the server revoking it.

pub mod append;
pub mod bank;
pub mod cas_register;
pub mod counter;
pub mod etcd_store;
pub mod keyed;
pub mod keyspace;
pub mod lock;
pub mod multi_register;
pub mod refusal;
pub mod register;
pub mod set;
pub mod versioned_register;

pub(crate) mod execute;
pub(crate) mod validate;

mod etcd_object;
