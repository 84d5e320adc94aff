//! The whole list of what may differ between two servers that both behave as etcd.
//!
//! Everything else is compared, field by field. A field that is listed here is still compared by
//! its presence: it prints as `*` when it is set.
//!
//! Fields are named `Message.field`, without the package, or `field` in any message.

/// Values that every server chooses for itself.
const FREE: &[&str] = &[
    "ResponseHeader.cluster_id",
    "ResponseHeader.member_id",
    "ResponseHeader.raft_term",
    "Member.clientURLs",
    "StatusResponse.version",
    "StatusResponse.storageVersion",
    "StatusResponse.leader",
    "StatusResponse.dbSize",
    "StatusResponse.dbSizeInUse",
    "StatusResponse.raftIndex",
    "StatusResponse.raftTerm",
    "StatusResponse.raftAppliedIndex",
    // What is left depends on when one asks; below zero it says that there is no such lease.
    "LeaseTimeToLiveResponse.TTL",
    // A hash of the storage file, format and all.
    "HashResponse.hash",
    "SnapshotResponse.remaining_bytes",
    "SnapshotResponse.blob",
    "SnapshotResponse.version",
    "AuthenticateResponse.token",
];

/// Ids. A small one was chosen by the script; a large one by the server, and prints as `*` unless
/// `let` gave it a name.
const IDS: &[&str] = &["lease", "ID", "memberID", "targetID"];

/// Ids from here on are taken for a server's own.
const SERVER_IDS_MIN: u64 = 1 << 32;

/// Revisions. They count from 1 at the start of the script.
const REVISIONS: &[&str] = &[
    "revision",
    "create_revision",
    "mod_revision",
    "min_mod_revision",
    "max_mod_revision",
    "min_create_revision",
    "max_create_revision",
    "start_revision",
    "compact_revision",
    "hash_revision",
    // Of an election: the revision at which the leader's key was made.
    "LeaderKey.rev",
];

/// Lists that etcd gives in no particular order; here they are sorted.
const UNORDERED: &[&str] = &["LeaseTimeToLiveResponse.keys", "members", "alarms", "errors"];

/// Texts whose spaces mean nothing: etcd prints alarms with one space or two, as its library likes
/// in that build.
const LOOSE: &[&str] = &["StatusResponse.errors"];

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// By its value.
    Exact,
    /// By its presence.
    Free,
    /// By its value relative to the script's start.
    Revision,
    /// By its name, if it has one, and by its value if the script chose it.
    Id,
    /// By its words.
    Words,
}

/// The rule of a field.
pub fn rule(message: &str, field: &str) -> Rule {
    let is_in = |list: &[&str]| is_listed(list, message, field);
    if is_in(FREE) {
        Rule::Free
    } else if is_in(REVISIONS) {
        Rule::Revision
    } else if is_in(IDS) {
        Rule::Id
    } else if is_in(LOOSE) {
        Rule::Words
    } else {
        Rule::Exact
    }
}

/// Whether the order of a list may differ.
pub fn is_unordered(message: &str, field: &str) -> bool {
    is_listed(UNORDERED, message, field)
}

/// Whether an id was chosen by the server.
pub fn is_servers_own(id: u64) -> bool {
    id >= SERVER_IDS_MIN
}

fn is_listed(list: &[&str], message: &str, field: &str) -> bool {
    list.iter().any(|entry| match entry.split_once('.') {
        Some((of, name)) => of == message && name == field,
        None => *entry == field,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_free_only_in_the_message_that_is_named() {
        assert_eq!(rule("LeaseTimeToLiveResponse", "TTL"), Rule::Free);
        assert_eq!(rule("LeaseGrantResponse", "TTL"), Rule::Exact);
        assert_eq!(rule("KeyValue", "mod_revision"), Rule::Revision);
        assert_eq!(rule("KeyValue", "version"), Rule::Exact);
        assert_eq!(rule("KeyValue", "lease"), Rule::Id);
    }
}
