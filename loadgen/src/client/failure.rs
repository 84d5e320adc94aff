//! What an error proves.
//!
//! An operation that was sent may be applied although its answer is an error, or never came. Only
//! a *rejection* proves that it was not: the server looked at the request and refused it, before
//! the log or at apply, and says so with a code and a text of its own. Everything else is unknown,
//! unless the operation could not have changed anything.

use rusd_checker::history::record::{Failure, Outcome, Request, TxnOp};
use tonic::{Code, Status};

/// Code of an operation that the client gave up waiting for.
pub const CLIENT_TIMEOUT: &str = "ClientTimeout";

/// The outcome of an operation that was sent and came back with an error.
pub fn outcome(request: &Request, status: &Status) -> Outcome {
    let failure =
        Failure { code: format!("{:?}", status.code()), message: status.message().to_owned() };
    if is_read(request) || is_rejection(status) {
        Outcome::Fail(failure)
    } else {
        Outcome::Unknown(failure)
    }
}

/// The outcome of an operation that was sent and had no answer in time.
pub fn timed_out(request: &Request) -> Outcome {
    let failure = Failure { code: CLIENT_TIMEOUT.to_owned(), message: String::new() };
    if is_read(request) { Outcome::Fail(failure) } else { Outcome::Unknown(failure) }
}

/// etcd says this of a write that it found too large for the quota *after* it had applied it.
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// The one rejection that etcd sends without a code of its own.
const TOO_MANY_REQUESTS: &str = "etcdserver: too many requests";

/// Whether the member is well and only refused this request.
pub fn is_refusal(status: &Status) -> bool {
    let by_code = matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unauthenticated
            | Code::ResourceExhausted
            | Code::Unimplemented
    );
    by_code || status.message() == TOO_MANY_REQUESTS
}

/// Whether the server itself refused, without effect.
fn is_rejection(status: &Status) -> bool {
    match status.message() {
        NO_SPACE => return false,
        TOO_MANY_REQUESTS => return true,
        _ => {}
    }
    let by_server =
        ["etcdserver: ", "mvcc: ", "etcdserver/"].iter().any(|p| status.message().starts_with(p));
    match status.code() {
        Code::Unimplemented => true,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unauthenticated
        | Code::ResourceExhausted => by_server,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => false,
    }
}

/// Whether the operation cannot have changed the store.
fn is_read(request: &Request) -> bool {
    match request {
        Request::Range(_) => true,
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).all(only_reads),
        _ => false,
    }
}

fn only_reads(op: &TxnOp) -> bool {
    match op {
        TxnOp::Range(_) => true,
        TxnOp::Txn(txn) => txn.success.iter().chain(&txn.failure).all(only_reads),
        TxnOp::Put(_) | TxnOp::DeleteRange(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use rusd_checker::history::record::{Put, Range};

    use super::*;

    #[test]
    fn only_a_rejection_by_the_server_proves_that_a_write_was_not_applied() {
        let write = Request::Put(Put::default());
        for (code, message, proven) in [
            (Code::Unknown, "etcdserver: too many requests", true),
            (Code::ResourceExhausted, "etcdserver: too many requests", true),
            (Code::NotFound, "etcdserver: requested lease not found", true),
            (Code::InvalidArgument, "etcdserver: key is not provided", true),
            (Code::OutOfRange, "mvcc: required revision has been compacted", true),
            (Code::Unimplemented, "", true),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", false),
            (Code::Unavailable, "etcdserver: request timed out", false),
            (Code::Unavailable, "etcdserver: leader changed", false),
            (Code::Unavailable, "etcdserver: server stopped", false),
            (Code::Unavailable, "tcp connect error", false),
            (Code::DeadlineExceeded, "context deadline exceeded", false),
            (Code::Cancelled, "", false),
            (Code::Unknown, "transport error", false),
            // The client's own limit: the answer was there, so the write was applied.
            (Code::OutOfRange, "decoded message length too large", false),
        ] {
            let outcome = outcome(&write, &Status::new(code, message));
            assert_eq!(matches!(outcome, Outcome::Fail(_)), proven, "{code:?} {message}");
        }
        assert!(matches!(timed_out(&write), Outcome::Unknown(_)));
    }

    #[test]
    fn a_read_changes_nothing() {
        let read = Request::Range(Range::default());
        assert!(matches!(outcome(&read, &Status::unavailable("")), Outcome::Fail(_)));
        assert!(matches!(timed_out(&read), Outcome::Fail(_)));
    }
}
