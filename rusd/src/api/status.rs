//! Where gRPC statuses are born: etcd's codes and texts, which clients compare.

use tonic::{Code, Status};

use rusd_state::error::{ApplyError, ReadError};

use crate::background::leases::LeaseError;
use crate::consensus::proposer::ProposeError;
use crate::consensus::read_barrier::ReadBarrierError;

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
    Compacted,
    FutureRevision,
    LeaseNotFound,
    LeaseExists,
    LeaseTtlTooLarge,
    MemberExists,
    PeerUrlExists,
    MemberNotFound,
    MemberNotLearner,
    TooManyLearners,
    RequestTooLarge,
    TooManyRequests,
    NoLeader,
    NotSupportedForLearner,
    Stopped,
    Timeout,
    TimeoutLeaderLost,
    Unimplemented,
}

impl Rejection {
    fn row(self) -> (Code, &'static str) {
        use Code::{
            FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ResourceExhausted,
            Unavailable, Unimplemented,
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
            Self::Compacted => {
                (OutOfRange, "etcdserver: mvcc: required revision has been compacted")
            }
            Self::FutureRevision => {
                (OutOfRange, "etcdserver: mvcc: required revision is a future revision")
            }
            Self::LeaseNotFound => (NotFound, "etcdserver: requested lease not found"),
            Self::LeaseExists => (FailedPrecondition, "etcdserver: lease already exists"),
            Self::LeaseTtlTooLarge => (OutOfRange, "etcdserver: too large lease TTL"),
            Self::MemberExists => (FailedPrecondition, "etcdserver: member ID already exist"),
            Self::PeerUrlExists => (FailedPrecondition, "etcdserver: Peer URLs already exists"),
            Self::MemberNotFound => (NotFound, "etcdserver: member not found"),
            Self::MemberNotLearner => {
                (FailedPrecondition, "etcdserver: can only promote a learner member")
            }
            Self::TooManyLearners => {
                (FailedPrecondition, "etcdserver: too many learner members in cluster")
            }
            Self::RequestTooLarge => (InvalidArgument, "etcdserver: request is too large"),
            Self::TooManyRequests => (ResourceExhausted, "etcdserver: too many requests"),
            Self::NoLeader => (Unavailable, "etcdserver: no leader"),
            Self::NotSupportedForLearner => {
                (FailedPrecondition, "etcdserver: rpc not supported for learner")
            }
            Self::Stopped => (Unavailable, "etcdserver: server stopped"),
            Self::Timeout => (Unavailable, "etcdserver: request timed out"),
            Self::TimeoutLeaderLost => (
                Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
            ),
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
            ApplyError::MemberNotFound => Rejection::MemberNotFound,
            ApplyError::PeerUrlExists => Rejection::PeerUrlExists,
            ApplyError::MemberNotLearner => Rejection::MemberNotLearner,
            ApplyError::TooManyLearners => Rejection::TooManyLearners,
            ApplyError::Unimplemented => Rejection::Unimplemented,
        }
    }
}

impl From<ProposeError> for Rejection {
    fn from(error: ProposeError) -> Rejection {
        match error {
            ProposeError::TooManyRequests => Rejection::TooManyRequests,
            ProposeError::TooLarge => Rejection::RequestTooLarge,
            ProposeError::Timeout => Rejection::Timeout,
            ProposeError::TimeoutLeaderLost => Rejection::TimeoutLeaderLost,
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

/// The status of a failure of any of the lower layers.
pub(super) fn of(error: impl Into<Rejection>) -> Status {
    error.into().into()
}

/// A message longer than a request may be, in the words of etcd's gRPC library.
pub(super) fn message_too_large(found: usize, limit: usize) -> Status {
    let text = format!("grpc: received message larger than max ({found} vs. {limit})");
    Status::resource_exhausted(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts of etcd 3.7's `api/v3rpc/rpctypes/error.go`: code number, text, and what gives it here.
    const ETCD: [(i32, &str, Rejection); 24] = [
        (3, "etcdserver: key is not provided", Rejection::EmptyKey),
        (3, "etcdserver: key not found", Rejection::KeyNotFound),
        (3, "etcdserver: value is provided", Rejection::ValueProvided),
        (3, "etcdserver: lease is provided", Rejection::LeaseProvided),
        (3, "etcdserver: too many operations in txn request", Rejection::TooManyOps),
        (3, "etcdserver: duplicate key given in txn request", Rejection::DuplicateKey),
        (3, "etcdserver: invalid sort option", Rejection::InvalidSortOption),
        (11, "etcdserver: mvcc: required revision has been compacted", Rejection::Compacted),
        (11, "etcdserver: mvcc: required revision is a future revision", Rejection::FutureRevision),
        (5, "etcdserver: requested lease not found", Rejection::LeaseNotFound),
        (9, "etcdserver: lease already exists", Rejection::LeaseExists),
        (11, "etcdserver: too large lease TTL", Rejection::LeaseTtlTooLarge),
        (9, "etcdserver: member ID already exist", Rejection::MemberExists),
        (9, "etcdserver: Peer URLs already exists", Rejection::PeerUrlExists),
        (5, "etcdserver: member not found", Rejection::MemberNotFound),
        (9, "etcdserver: can only promote a learner member", Rejection::MemberNotLearner),
        (9, "etcdserver: too many learner members in cluster", Rejection::TooManyLearners),
        (3, "etcdserver: request is too large", Rejection::RequestTooLarge),
        (8, "etcdserver: too many requests", Rejection::TooManyRequests),
        (14, "etcdserver: no leader", Rejection::NoLeader),
        (9, "etcdserver: rpc not supported for learner", Rejection::NotSupportedForLearner),
        (14, "etcdserver: server stopped", Rejection::Stopped),
        (14, "etcdserver: request timed out", Rejection::Timeout),
        (
            14,
            "etcdserver: request timed out, possibly due to previous leader failure",
            Rejection::TimeoutLeaderLost,
        ),
    ];

    #[test]
    fn codes_and_texts_are_etcds() {
        for (code, text, rejection) in ETCD {
            let status = Status::from(rejection);
            assert_eq!((i32::from(status.code()), status.message()), (code, text));
        }
    }

    #[test]
    fn failures_of_lower_layers_get_their_row() {
        let row = |status: Status| (status.code(), status.message().to_owned());
        assert_eq!(row(of(ProposeError::TooLarge)), row(Rejection::RequestTooLarge.into()));
        assert_eq!(row(of(ReadBarrierError::Timeout)), row(Rejection::Timeout.into()));
        assert_eq!(row(of(LeaseError::NotFound)), row(Rejection::LeaseNotFound.into()));
        assert_eq!(row(of(ApplyError::KeyNotFound)), row(Rejection::KeyNotFound.into()));
        let compacted = ReadError::Compacted { compact: 5 };
        assert_eq!(row(of_read(compacted)), row(Rejection::Compacted.into()));
        let too_large = message_too_large(5, 4);
        assert_eq!(too_large.code(), Code::ResourceExhausted);
        assert_eq!(too_large.message(), "grpc: received message larger than max (5 vs. 4)");
    }
}
