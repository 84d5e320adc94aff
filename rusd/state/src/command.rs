//! What a log entry asks for.
//!
//! An entry carries etcd's `InternalRaftRequest`, a message with some forty optional fields of
//! which one is set. It is read here field by field instead of into that struct, because clearing
//! and dropping the struct costs more than a put. Keys and values are slices of the entry's data.

use ::bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, bytes, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};
use rusd_proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, LeaseCheckpointRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, RequestHeader, TxnRequest,
};
use rusd_proto::membershippb::{ClusterMemberAttrSetRequest, ClusterVersionSetRequest};

/// A request of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// What its proposer waits for; 0 if nobody does.
    pub request_id: u64,
    /// The request.
    pub body: Body,
}

/// A request of the log, without its id.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Nothing: the entry that a new leader writes.
    Empty,
    /// Write a key.
    Put(PutRequest),
    /// Delete keys.
    DeleteRange(DeleteRangeRequest),
    /// Compare, then write.
    Txn(TxnRequest),
    /// Drop old revisions.
    Compaction(CompactionRequest),
    /// Make a lease.
    LeaseGrant(LeaseGrantRequest),
    /// End a lease.
    LeaseRevoke(LeaseRevokeRequest),
    /// Record what is left of leases.
    LeaseCheckpoint(LeaseCheckpointRequest),
    /// Ask for, raise or clear an alarm.
    Alarm(AlarmRequest),
    /// Set the cluster's version.
    ClusterVersionSet(ClusterVersionSetRequest),
    /// Set a member's name and client URLs.
    ClusterMemberAttrSet(ClusterMemberAttrSetRequest),
    /// A request of a kind that is not built, by its field number.
    Unimplemented(u32),
}

/// Field numbers of etcd's `InternalRaftRequest`.
mod field {
    pub(super) const ID: u32 = 1;
    pub(super) const PUT: u32 = 4;
    pub(super) const DELETE_RANGE: u32 = 5;
    pub(super) const TXN: u32 = 6;
    pub(super) const COMPACTION: u32 = 7;
    pub(super) const LEASE_GRANT: u32 = 8;
    pub(super) const LEASE_REVOKE: u32 = 9;
    pub(super) const ALARM: u32 = 10;
    pub(super) const LEASE_CHECKPOINT: u32 = 11;
    pub(super) const HEADER: u32 = 100;
    pub(super) const CLUSTER_VERSION_SET: u32 = 1300;
    pub(super) const CLUSTER_MEMBER_ATTR_SET: u32 = 1301;
}

impl Command {
    /// Reads an encoded `InternalRaftRequest`; no bytes at all are the empty command.
    pub fn decode(mut entry: Bytes) -> Result<Command, DecodeError> {
        let mut command = Command { request_id: 0, body: Body::Empty };
        while entry.has_remaining() {
            let (tag, wire_type) = decode_key(&mut entry)?;
            match (tag, wire_type) {
                (field::ID, WireType::Varint) => command.request_id = decode_varint(&mut entry)?,
                (_, WireType::LengthDelimited) => {
                    let mut message = Bytes::new();
                    let context = DecodeContext::default();
                    bytes::merge(wire_type, &mut message, &mut entry, context)?;
                    command.set(tag, message)?;
                }
                _ => skip_field(wire_type, tag, &mut entry, DecodeContext::default())?,
            }
        }
        Ok(command)
    }

    fn set(&mut self, tag: u32, message: Bytes) -> Result<(), DecodeError> {
        self.body = match tag {
            field::PUT => Body::Put(PutRequest::decode(message)?),
            field::DELETE_RANGE => Body::DeleteRange(DeleteRangeRequest::decode(message)?),
            field::TXN => Body::Txn(TxnRequest::decode(message)?),
            field::COMPACTION => Body::Compaction(CompactionRequest::decode(message)?),
            field::LEASE_GRANT => Body::LeaseGrant(LeaseGrantRequest::decode(message)?),
            field::LEASE_REVOKE => Body::LeaseRevoke(LeaseRevokeRequest::decode(message)?),
            field::LEASE_CHECKPOINT => {
                Body::LeaseCheckpoint(LeaseCheckpointRequest::decode(message)?)
            }
            field::ALARM => Body::Alarm(AlarmRequest::decode(message)?),
            field::CLUSTER_VERSION_SET => {
                Body::ClusterVersionSet(ClusterVersionSetRequest::decode(message)?)
            }
            field::CLUSTER_MEMBER_ATTR_SET => {
                Body::ClusterMemberAttrSet(ClusterMemberAttrSetRequest::decode(message)?)
            }
            field::HEADER => {
                // etcd puts the id here; the field of the request itself is the older place.
                self.request_id = RequestHeader::decode(message)?.id;
                return Ok(());
            }
            other => Body::Unimplemented(other),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rusd_proto::etcdserverpb::{AuthEnableRequest, InternalRaftRequest};

    use super::*;

    fn decode(request: &InternalRaftRequest) -> Command {
        Command::decode(request.encode_to_vec().into()).unwrap()
    }

    #[test]
    fn the_set_field_and_the_id_are_found() {
        let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
        let header = RequestHeader { id: 7, ..RequestHeader::default() };
        let request = InternalRaftRequest {
            header: Some(header),
            put: Some(put.clone()),
            ..InternalRaftRequest::default()
        };
        assert_eq!(decode(&request), Command { request_id: 7, body: Body::Put(put) });
        let grant = LeaseGrantRequest { ttl: 5, id: 9 };
        let request = InternalRaftRequest {
            id: 3,
            lease_grant: Some(grant),
            ..InternalRaftRequest::default()
        };
        assert_eq!(decode(&request), Command { request_id: 3, body: Body::LeaseGrant(grant) });
    }

    #[test]
    fn what_is_not_built_is_named() {
        let request = InternalRaftRequest {
            auth_enable: Some(AuthEnableRequest {}),
            ..InternalRaftRequest::default()
        };
        assert_eq!(decode(&request).body, Body::Unimplemented(1000));
        assert_eq!(Command::decode(Bytes::new()).unwrap().body, Body::Empty);
    }

    #[test]
    fn a_cut_entry_is_an_error() {
        let put = PutRequest { key: "key".into(), value: "v".into(), ..PutRequest::default() };
        let request =
            InternalRaftRequest { id: 3, put: Some(put), ..InternalRaftRequest::default() };
        let whole = Bytes::from(request.encode_to_vec());
        for length in 3..whole.len() {
            assert!(Command::decode(whole.slice(..length)).is_err(), "{length} bytes");
        }
    }
}
