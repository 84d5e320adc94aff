//! Where gRPC statuses are born: etcd's codes and texts, which clients compare.

use tonic::{Code, Status};

use rusd_proto::etcdserverpb::{
    auth_server, cluster_server, kv_server, lease_server, maintenance_server, watch_server,
};
use rusd_proto::v3electionpb::election_server;
use rusd_proto::v3lockpb::lock_server;
use rusd_state::error::{ApplyError, ReadError};

use crate::background::leases::LeaseError;
use crate::consensus::proposer::ProposeError;
use crate::consensus::read_barrier::ReadBarrierError;
use crate::consensus::reconfigure::ReconfigureError;
use crate::consensus::transfer::TransferTimeout;
use crate::engine::DefragmentError;
use crate::hasher::HashError;

/// The services that are served.
const SERVICES: [&str; 8] = [
    kv_server::SERVICE_NAME,
    watch_server::SERVICE_NAME,
    lease_server::SERVICE_NAME,
    cluster_server::SERVICE_NAME,
    maintenance_server::SERVICE_NAME,
    lock_server::SERVICE_NAME,
    election_server::SERVICE_NAME,
    "grpc.health.v1.Health",
];

/// Why a watch could not be created: its range holds no key.
pub(super) const WATCH_RANGE_EMPTY: &str = "mvcc: watcher range is empty";
/// Why a watch could not be created: the stream has one with its id.
pub(super) const WATCH_ID_DUPLICATE: &str = "mvcc: duplicate watch ID provided on the WatchStream";

/// An error of etcd's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    EmptyKey,
    KeyNotFound,
    ValueProvided,
    LeaseProvided,
    TooManyOps,
    DuplicateKey,
    InvalidSortOption,
    InvalidClientVersion,
    Compacted,
    FutureRevision,
    NoSpace,
    LeaseNotFound,
    LeaseExists,
    LeaseTtlTooLarge,
    MemberExists,
    PeerUrlExists,
    MemberNotFound,
    MemberNotLearner,
    MemberUrlsBad,
    NotEnoughStartedMembers,
    LearnerNotReady,
    TooManyLearners,
    Unhealthy,
    RequestTooLarge,
    TooManyRequests,
    NoLeader,
    NotLeader,
    BadLeaderTransferee,
    LeaderTransferTimeout,
    Corrupt,
    NotSupportedForLearner,
    Stopped,
    Timeout,
    TimeoutLeaderLost,
    TimeoutConnectionLost,
    ApplyTimeout,
    DeadlineExceeded,
    LockSessionExpired,
    NobodyElected,
    NotElected,
    LeaderKeyMissing,
    Unimplemented,
}

impl Rejection {
    #[expect(clippy::too_many_lines, reason = "one arm per error of etcd's table")]
    fn row(self) -> (Code, &'static str) {
        use Code::{
            DataLoss, DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound, OutOfRange,
            ResourceExhausted, Unavailable, Unimplemented, Unknown,
        };
        match self {
            Self::EmptyKey => (InvalidArgument, "etcdserver: key is not provided"),
            Self::KeyNotFound => (InvalidArgument, "etcdserver: key not found"),
            Self::ValueProvided => (InvalidArgument, "etcdserver: value is provided"),
            Self::LeaseProvided => (InvalidArgument, "etcdserver: lease is provided"),
            Self::TooManyOps => (InvalidArgument, "etcdserver: too many operations in txn request"),
            Self::DuplicateKey => {
                (InvalidArgument, "etcdserver: duplicate key given in txn request")
            }
            Self::InvalidSortOption => (InvalidArgument, "etcdserver: invalid sort option"),
            Self::InvalidClientVersion => {
                (InvalidArgument, "etcdserver: invalid client api version")
            }
            Self::Compacted => {
                (OutOfRange, "etcdserver: mvcc: required revision has been compacted")
            }
            Self::FutureRevision => {
                (OutOfRange, "etcdserver: mvcc: required revision is a future revision")
            }
            Self::NoSpace => (ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            Self::LeaseNotFound => (NotFound, "etcdserver: requested lease not found"),
            Self::LeaseExists => (FailedPrecondition, "etcdserver: lease already exists"),
            Self::LeaseTtlTooLarge => (OutOfRange, "etcdserver: too large lease TTL"),
            Self::MemberExists => (FailedPrecondition, "etcdserver: member ID already exist"),
            Self::PeerUrlExists => (FailedPrecondition, "etcdserver: Peer URLs already exists"),
            Self::MemberNotFound => (NotFound, "etcdserver: member not found"),
            Self::MemberNotLearner => {
                (FailedPrecondition, "etcdserver: can only promote a learner member")
            }
            Self::MemberUrlsBad => (InvalidArgument, "etcdserver: given member URLs are invalid"),
            // The table has another code for it, which etcd loses on the way to the wire.
            Self::NotEnoughStartedMembers => {
                (Unknown, "etcdserver: re-configuration failed due to not enough started members")
            }
            Self::LearnerNotReady => (
                FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
            Self::Unhealthy => (Unavailable, "etcdserver: unhealthy cluster"),
            Self::TooManyLearners => {
                (FailedPrecondition, "etcdserver: too many learner members in cluster")
            }
            Self::RequestTooLarge => (InvalidArgument, "etcdserver: request is too large"),
            // The table has another code for it, which etcd loses on the way to the wire.
            Self::TooManyRequests => (Unknown, "etcdserver: too many requests"),
            Self::NoLeader => (Unavailable, "etcdserver: no leader"),
            Self::NotLeader => (FailedPrecondition, "etcdserver: not leader"),
            Self::BadLeaderTransferee => (FailedPrecondition, "etcdserver: bad leader transferee"),
            // etcd has no code for it.
            Self::LeaderTransferTimeout => {
                (Unknown, "etcdserver: request timed out, leader transfer took too long")
            }
            Self::Corrupt => (DataLoss, "etcdserver: corrupt cluster"),
            Self::NotSupportedForLearner => {
                (FailedPrecondition, "etcdserver: rpc not supported for learner")
            }
            Self::Stopped => (Unavailable, "etcdserver: server stopped"),
            Self::Timeout => (Unavailable, "etcdserver: request timed out"),
            Self::TimeoutLeaderLost => (
                Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
            ),
            Self::TimeoutConnectionLost => {
                (Unavailable, "etcdserver: request timed out, possibly due to connection lost")
            }
            Self::ApplyTimeout => (
                Unavailable,
                "etcdserver: request timed out, waiting for the applied index took too long",
            ),
            // In the words of the gRPC library, which etcd leaves it to.
            Self::DeadlineExceeded => (DeadlineExceeded, "context deadline exceeded"),
            // Of etcd's client library, which the lock and election services are made of.
            Self::LockSessionExpired => (Unknown, "mutex: session is expired"),
            Self::NobodyElected => (Unknown, "election: no leader"),
            Self::NotElected => (Unknown, "election: not leader"),
            Self::LeaderKeyMissing => (Unknown, "\"leader\" field must be provided"),
            Self::Unimplemented => (Unimplemented, "etcdserver: not implemented"),
        }
    }

    /// The text alone, where it travels inside an answer.
    pub(super) fn text(self) -> &'static str {
        self.row().1
    }
}

impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Status {
        let (code, text) = rejection.row();
        Status::new(code, text)
    }
}

impl From<ApplyError> for Rejection {
    fn from(error: ApplyError) -> Rejection {
        match error {
            ApplyError::LeaseNotFound => Rejection::LeaseNotFound,
            ApplyError::LeaseExists => Rejection::LeaseExists,
            ApplyError::LeaseTtlTooLarge => Rejection::LeaseTtlTooLarge,
            ApplyError::Compacted => Rejection::Compacted,
            ApplyError::FutureRevision => Rejection::FutureRevision,
            ApplyError::KeyNotFound => Rejection::KeyNotFound,
            ApplyError::MemberExists => Rejection::MemberExists,
            ApplyError::MemberNotFound | ApplyError::MemberRemoved => Rejection::MemberNotFound,
            ApplyError::NotEnoughStartedMembers => Rejection::NotEnoughStartedMembers,
            ApplyError::PeerUrlExists => Rejection::PeerUrlExists,
            ApplyError::MemberNotLearner => Rejection::MemberNotLearner,
            ApplyError::TooManyLearners => Rejection::TooManyLearners,
            ApplyError::NoSpace => Rejection::NoSpace,
            ApplyError::Corrupt => Rejection::Corrupt,
            ApplyError::Unimplemented => Rejection::Unimplemented,
        }
    }
}

impl From<ProposeError> for Rejection {
    fn from(error: ProposeError) -> Rejection {
        match error {
            ProposeError::TooManyRequests => Rejection::TooManyRequests,
            ProposeError::TooLarge => Rejection::RequestTooLarge,
            ProposeError::NeverProposed => Rejection::DeadlineExceeded,
            ProposeError::Timeout => Rejection::Timeout,
            ProposeError::TimeoutLeaderLost => Rejection::TimeoutLeaderLost,
            ProposeError::TimeoutConnectionLost => Rejection::TimeoutConnectionLost,
            ProposeError::Stopped => Rejection::Stopped,
        }
    }
}

impl From<ReadBarrierError> for Rejection {
    fn from(error: ReadBarrierError) -> Rejection {
        match error {
            ReadBarrierError::TooManyRequests => Rejection::TooManyRequests,
            ReadBarrierError::Timeout => Rejection::Timeout,
            ReadBarrierError::Stopped => Rejection::Stopped,
        }
    }
}

impl From<ReconfigureError> for Rejection {
    fn from(error: ReconfigureError) -> Rejection {
        match error {
            ReconfigureError::NotEnoughStartedMembers => Rejection::NotEnoughStartedMembers,
            ReconfigureError::Unhealthy => Rejection::Unhealthy,
            ReconfigureError::LearnerNotReady => Rejection::LearnerNotReady,
            ReconfigureError::NotLeader => Rejection::NotLeader,
            ReconfigureError::ApplyTimeout => Rejection::ApplyTimeout,
            ReconfigureError::Refused(error) => error.into(),
            ReconfigureError::Proposal(error) => error.into(),
        }
    }
}

impl From<TransferTimeout> for Rejection {
    fn from(_: TransferTimeout) -> Rejection {
        Rejection::LeaderTransferTimeout
    }
}

impl From<LeaseError> for Rejection {
    fn from(error: LeaseError) -> Rejection {
        match error {
            LeaseError::NotFound => Rejection::LeaseNotFound,
            LeaseError::NoLeader => Rejection::NoLeader,
            LeaseError::Timeout => Rejection::Timeout,
            LeaseError::TooManyRequests => Rejection::TooManyRequests,
            LeaseError::Stopped => Rejection::Stopped,
        }
    }
}

/// The status of a failed read. What is wrong with the engine has no row in etcd's table.
pub(super) fn of_read(error: ReadError) -> Status {
    match error {
        ReadError::Compacted { .. } => Rejection::Compacted.into(),
        ReadError::FutureRevision { .. } => Rejection::FutureRevision.into(),
        ReadError::Storage(error) => Status::unknown(error.to_string()),
    }
}

/// The status of a hash that could not be computed.
pub(super) fn of_hash(error: HashError) -> Status {
    match error {
        HashError::Read(error) => of_read(error),
        HashError::Ended(error) => internal(&error.to_string()),
    }
}

/// The status of a defragmentation that was not. What the engine says has no row in etcd's table.
pub(super) fn of_defragment(error: DefragmentError) -> Status {
    match error {
        DefragmentError::TooManyRequests => Rejection::TooManyRequests.into(),
        DefragmentError::Stopped => Rejection::Stopped.into(),
        DefragmentError::Failed(text) => Status::unknown(text),
    }
}

/// The status of a failure of any of the lower layers.
pub(super) fn of(error: impl Into<Rejection>) -> Status {
    error.into().into()
}

/// What is left of an error that went through etcd's own client inside the server: its text.
pub(super) fn without_code(status: Status) -> Status {
    match status.code() {
        Code::Cancelled | Code::DeadlineExceeded => status,
        _ => Status::unknown(status.message()),
    }
}

/// What a range may ask for, and a stream of it may not.
pub(super) fn not_streamed(what: &str) -> Status {
    Status::unimplemented(format!("RangeStream does not support {what}"))
}

/// The member itself is broken.
pub(super) fn internal(what: &str) -> Status {
    Status::internal(what)
}

/// There is no such method: in the words of etcd's gRPC library, or of etcd where it knows the
/// service and rusd does not yet.
pub(super) fn unknown_method(path: &str) -> Status {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.rsplit_once('/'))
    else {
        return Status::unimplemented(format!("malformed method name: {path:?}"));
    };
    if service == auth_server::SERVICE_NAME {
        return Rejection::Unimplemented.into();
    }
    Status::unimplemented(if SERVICES.contains(&service) {
        format!("unknown method {method} for service {service}")
    } else {
        format!("unknown service {service}")
    })
}

/// A message longer than a request may be, in the words of etcd's gRPC library.
pub(super) fn message_too_large(found: usize, limit: usize) -> Status {
    let text = format!("grpc: received message larger than max ({found} vs. {limit})");
    Status::resource_exhausted(text)
}

#[cfg(test)]
mod tests;
