//! Wire types: the etcd v3 API, etcd's log records, and the protocol between members.
//!
//! Generated from `proto/`; names and field numbers of etcd's messages equal those of etcd 3.7.
//! Every `bytes` field is a [`bytes::Bytes`](prost::bytes::Bytes), so that a decoded request
//! shares its key and value with whoever keeps them.
//!
//! Not here: any behaviour. Both the server and the harness depend on this crate, and on nothing
//! else of each other.

macro_rules! generated {
    ($(#[$doc:meta])* $name:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(
            missing_docs,
            unreachable_pub,
            elided_lifetimes_in_paths,
            clippy::all,
            clippy::pedantic,
            clippy::as_conversions,
            clippy::allow_attributes_without_reason,
            reason = "generated code"
        )]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

generated!(
    /// Users, roles and permissions.
    authpb, "authpb");
generated!(
    /// The client API, and the internal request that a log entry carries.
    etcdserverpb, "etcdserverpb");
generated!(
    /// A lease as it is stored.
    leasepb, "leasepb");
generated!(
    /// Cluster membership as the log carries it.
    membershippb, "membershippb");
generated!(
    /// A key with its value and revisions, and what happened to it.
    mvccpb, "mvccpb");
generated!(
    /// Entries, hard state and membership changes as the log on disk holds them.
    raftpb, "raftpb");
generated!(
    /// The protocol between members.
    rusdpeerpb, "rusdpeerpb");
generated!(
    /// The election service.
    v3electionpb, "v3electionpb");
generated!(
    /// The lock service.
    v3lockpb, "v3lockpb");
generated!(
    /// Frames of the log on disk.
    walpb, "walpb");

/// The descriptors of all the above, encoded: for tools that make and read messages by the names
/// of their fields.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
