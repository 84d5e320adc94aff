//! Messages of operations, to and from the wire.

use prost::Message;
use rusd_checker::history::record::{Request, Response};
use rusd_proto::etcdserverpb as pb;
use tonic::Status;

use super::Call;
use crate::client::convert;

/// What an operation calls.
pub fn call(request: &Request) -> Call {
    match request {
        Request::Put(_) => Call::Put,
        Request::Range(_) => Call::Range,
        Request::DeleteRange(_) => Call::DeleteRange,
        Request::Txn(_) => Call::Txn,
        Request::Compact(_) => Call::Compact,
        Request::LeaseGrant(_) => Call::LeaseGrant,
        Request::LeaseRevoke(_) => Call::LeaseRevoke,
        Request::LeaseKeepAlive(_) => Call::LeaseKeepAlive,
    }
}

/// Appends an operation's message.
pub fn encode(request: &Request, out: &mut Vec<u8>) {
    let encoded = match request {
        Request::Put(put) => convert::put(put).encode(out),
        Request::Range(range) => convert::range(range).encode(out),
        Request::DeleteRange(delete) => convert::delete_range(delete).encode(out),
        Request::Txn(txn) => convert::txn(txn).encode(out),
        Request::Compact(compact) => {
            pb::CompactionRequest { revision: compact.revision, physical: false }.encode(out)
        }
        Request::LeaseGrant(grant) => {
            pb::LeaseGrantRequest { ttl: grant.ttl, id: grant.id }.encode(out)
        }
        Request::LeaseRevoke(lease) => pb::LeaseRevokeRequest { id: lease.id }.encode(out),
        Request::LeaseKeepAlive(lease) => pb::LeaseKeepAliveRequest { id: lease.id }.encode(out),
    };
    encoded.expect("a vector grows");
}

/// What a message that came back says.
pub fn decode(request: &Request, message: &[u8]) -> Result<Response, Status> {
    match request {
        Request::Put(_) => convert::put_response(read(message)?),
        Request::Range(_) => convert::range_response(read(message)?),
        Request::DeleteRange(_) => convert::delete_range_response(read(message)?),
        Request::Txn(_) => convert::txn_response(read(message)?),
        Request::Compact(_) => convert::compact_response(read(message)?),
        Request::LeaseGrant(_) => convert::grant_response(read(message)?),
        Request::LeaseRevoke(_) => convert::revoke_response(read(message)?),
        Request::LeaseKeepAlive(_) => convert::keep_alive_response(read(message)?),
    }
}

fn read<M: Message + Default>(message: &[u8]) -> Result<M, Status> {
    let malformed = |error| Status::internal(format!("the answer is malformed: {error}"));
    M::decode(message).map_err(malformed)
}
