//! The operations, and what they need to know.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::units;

/// Weights of the kinds of operations. Absent is 0.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Put of one key.
    pub put: u32,
    /// Linearizable read of one key.
    pub get: u32,
    /// Linearizable read of a few neighbouring keys.
    pub range: u32,
    /// Linearizable read of all keys under the prefix, cut by a limit.
    pub range_limit: u32,
    /// Linearizable read of the keys that a folder of the key holds: whatever comes after the last
    /// slash or, where that is nothing, after all digits but the last two.
    pub range_prefix: u32,
    /// The same, without values.
    pub range_keys_only: u32,
    /// How many keys there are.
    pub range_count: u32,
    /// Read of one key from what the asked member has.
    pub get_serializable: u32,
    /// Read of a few keys as they were at an earlier revision.
    pub range_historical: u32,
    /// Delete of one key.
    pub delete: u32,
    /// Delete of a few neighbouring keys.
    pub delete_range: u32,
    /// Transaction: put if the key is still as last seen.
    pub txn_cas: u32,
    /// Transaction: several puts, deletes and reads at once.
    pub txn_multi: u32,
    /// Read, then put if the key is still as just read: two operations.
    pub txn_read_modify_write: u32,
    /// Transaction: appends to a list and reads others, if no list has changed since the client read
    /// them: two operations.
    pub txn_append: u32,
    /// Transaction: reads some keys and writes others, whatever they are.
    pub txn_write_read: u32,
    /// A key is created with a lease, if it is absent, and deleted again: two operations, if nobody
    /// else has it.
    pub lock: u32,
    /// A key that is absent is created with a lease; who has done so writes it, and deletes it in
    /// the end.
    pub election: u32,
    /// Grant of a lease. What is not kept alive expires.
    pub lease_grant: u32,
    /// Put of one key with a lease attached.
    pub put_lease: u32,
    /// Renewal of a lease.
    pub lease_keep_alive: u32,
    /// Revocation of a lease, with its keys.
    pub lease_revoke: u32,
    /// Dropping of history.
    pub compact: u32,
    /// Defragmentation of a member. Not in the history: it changes nothing that can be read.
    pub defragment: u32,
    /// Reading of a member's snapshot, to its end. Not in the history.
    pub snapshot: u32,
}

/// How leases are used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Leases {
    /// Asked-for time to live, in whole seconds.
    #[serde(deserialize_with = "units::duration")]
    pub ttl: Duration,
    /// Leases a client uses at a time; a further grant leaves the oldest to expire.
    pub per_client: u32,
}

impl Default for Leases {
    fn default() -> Self {
        Leases { ttl: Duration::from_secs(3), per_client: 4 }
    }
}

/// How history is dropped.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compaction {
    /// Revisions that a compaction leaves readable.
    pub keep: u32,
}

impl Default for Compaction {
    fn default() -> Self {
        Compaction { keep: 10_000 }
    }
}

/// How lists grow that transactions append to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lists {
    /// How many there are at a time.
    pub count: Spanned<u32>,
    /// When a list has so many elements, a new one takes its place.
    pub elements_max: Spanned<u32>,
}

impl Default for Lists {
    fn default() -> Self {
        Lists { count: Spanned::new(0..0, 8), elements_max: Spanned::new(0..0, 32) }
    }
}
