//! The table of etcd's errors, and how the lower layers' failures get into it.

use std::fs;
use std::path::Path;

use super::*;

/// What gives an error of etcd's table here.
enum Here {
    /// This.
    Is(Rejection),
    /// Nothing until this is built.
    NotYet(&'static str),
    /// Nothing, as it is not seen on the wire of etcd either.
    Never(&'static str),
}
use Here::{Is, Never, NotYet};

/// All of etcd 3.7's `api/v3rpc/rpctypes/error.go`, in its order: code number and text.
const ETCD: [(i32, &str, Here); 63] = [
    (3, "etcdserver: key is not provided", Is(Rejection::EmptyKey)),
    (3, "etcdserver: key not found", Is(Rejection::KeyNotFound)),
    (3, "etcdserver: value is provided", Is(Rejection::ValueProvided)),
    (3, "etcdserver: lease is provided", Is(Rejection::LeaseProvided)),
    (3, "etcdserver: too many operations in txn request", Is(Rejection::TooManyOps)),
    (3, "etcdserver: duplicate key given in txn request", Is(Rejection::DuplicateKey)),
    (3, "etcdserver: invalid client api version", Is(Rejection::InvalidClientVersion)),
    (3, "etcdserver: invalid sort option", Is(Rejection::InvalidSortOption)),
    (11, "etcdserver: mvcc: required revision has been compacted", Is(Rejection::Compacted)),
    (11, "etcdserver: mvcc: required revision is a future revision", Is(Rejection::FutureRevision)),
    (8, "etcdserver: mvcc: database space exceeded", Is(Rejection::NoSpace)),
    (5, "etcdserver: requested lease not found", Is(Rejection::LeaseNotFound)),
    (9, "etcdserver: lease already exists", Is(Rejection::LeaseExists)),
    (11, "etcdserver: too large lease TTL", Is(Rejection::LeaseTtlTooLarge)),
    (1, "etcdserver: watch canceled", Never("told to a client that is gone")),
    (9, "etcdserver: member ID already exist", Is(Rejection::MemberExists)),
    (9, "etcdserver: Peer URLs already exists", Is(Rejection::PeerUrlExists)),
    (
        9,
        "etcdserver: re-configuration failed due to not enough started members",
        Never("goes out without its code"),
    ),
    (3, "etcdserver: given member URLs are invalid", Is(Rejection::MemberUrlsBad)),
    (5, "etcdserver: member not found", Is(Rejection::MemberNotFound)),
    (9, "etcdserver: can only promote a learner member", Is(Rejection::MemberNotLearner)),
    (
        9,
        "etcdserver: can only promote a learner member which is in sync with leader",
        Is(Rejection::LearnerNotReady),
    ),
    (9, "etcdserver: too many learner members in cluster", Is(Rejection::TooManyLearners)),
    (
        9,
        "etcdserver: cluster ID mismatch",
        Never("of member lists that differ, which only clients compare"),
    ),
    (3, "etcdserver: request is too large", Is(Rejection::RequestTooLarge)),
    (8, "etcdserver: too many requests", Never("goes out without its code")),
    (9, "etcdserver: root user does not exist", NotYet("auth")),
    (9, "etcdserver: root user does not have root role", NotYet("auth")),
    (9, "etcdserver: user name already exists", NotYet("auth")),
    (3, "etcdserver: user name is empty", NotYet("auth")),
    (9, "etcdserver: user name not found", NotYet("auth")),
    (9, "etcdserver: role name already exists", NotYet("auth")),
    (9, "etcdserver: role name not found", NotYet("auth")),
    (3, "etcdserver: role name is empty", NotYet("auth")),
    (3, "etcdserver: authentication failed, invalid user ID or password", NotYet("auth")),
    (3, "etcdserver: permission not given", NotYet("auth")),
    (7, "etcdserver: permission denied", NotYet("auth")),
    (9, "etcdserver: role is not granted to the user", NotYet("auth")),
    (9, "etcdserver: permission is not granted to the role", NotYet("auth")),
    (9, "etcdserver: authentication is not enabled", NotYet("auth")),
    (16, "etcdserver: invalid auth token", NotYet("auth")),
    (3, "etcdserver: invalid auth management", NotYet("auth")),
    (3, "etcdserver: revision of auth store is old", NotYet("auth")),
    (14, "etcdserver: no leader", Is(Rejection::NoLeader)),
    (9, "etcdserver: not leader", Is(Rejection::NotLeader)),
    (14, "etcdserver: leader changed", Never("reads go on under the new leader")),
    (9, "etcdserver: not capable", Never("of clusters of etcd 2")),
    (14, "etcdserver: server stopped", Is(Rejection::Stopped)),
    (14, "etcdserver: request timed out", Is(Rejection::Timeout)),
    (
        14,
        "etcdserver: request timed out, possibly due to previous leader failure",
        Is(Rejection::TimeoutLeaderLost),
    ),
    (
        14,
        "etcdserver: request timed out, possibly due to connection lost",
        Is(Rejection::TimeoutConnectionLost),
    ),
    (
        14,
        "etcdserver: request timed out, waiting for the applied index took too long",
        Is(Rejection::ApplyTimeout),
    ),
    (14, "etcdserver: unhealthy cluster", Is(Rejection::Unhealthy)),
    (15, "etcdserver: corrupt cluster", Is(Rejection::Corrupt)),
    (9, "etcdserver: rpc not supported for learner", Is(Rejection::NotSupportedForLearner)),
    (9, "etcdserver: bad leader transferee", Is(Rejection::BadLeaderTransferee)),
    (3, "etcdserver: wrong downgrade target version format", NotYet("downgrade")),
    (3, "etcdserver: invalid downgrade target version", NotYet("downgrade")),
    (9, "etcdserver: cluster version not found during downgrade", NotYet("downgrade")),
    (9, "etcdserver: cluster has a downgrade job in progress", NotYet("downgrade")),
    (9, "etcdserver: no inflight downgrade job", NotYet("downgrade")),
    (1, "etcdserver: request canceled", Never("told to a client that is gone")),
    (
        4,
        "etcdserver: context deadline exceeded",
        Never("goes out in the words of the gRPC library"),
    ),
];

/// What etcd's servers say with the code `Unknown`: the first two lose their code because the
/// server takes the client's form of the error, a late transfer was never given one, the others are
/// errors of the client library.
const WITHOUT_CODE: [(&str, Rejection); 7] = [
    ("etcdserver: too many requests", Rejection::TooManyRequests),
    (
        "etcdserver: re-configuration failed due to not enough started members",
        Rejection::NotEnoughStartedMembers,
    ),
    (
        "etcdserver: request timed out, leader transfer took too long",
        Rejection::LeaderTransferTimeout,
    ),
    ("mutex: session is expired", Rejection::LockSessionExpired),
    ("election: no leader", Rejection::NobodyElected),
    ("election: not leader", Rejection::NotElected),
    ("\"leader\" field must be provided", Rejection::LeaderKeyMissing),
];

#[test]
fn codes_and_texts_are_etcds() {
    for (code, text, here) in ETCD {
        match here {
            Is(rejection) => {
                let status = Status::from(rejection);
                assert_eq!((i32::from(status.code()), status.message()), (code, text));
            }
            NotYet(why) | Never(why) => assert!(!why.is_empty(), "{text}"),
        }
    }
    for (text, rejection) in WITHOUT_CODE {
        let status = Status::from(rejection);
        assert_eq!((status.code(), status.message()), (Code::Unknown, text));
    }
    let status = Status::from(Rejection::DeadlineExceeded);
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "context deadline exceeded");
}

/// Errors that no conformance script gets from a server, and where they are tested instead, or why
/// nowhere over the wire: the name of a file of `rusd/tests/e2e`, or a reason in words.
const UNSCRIPTED: [(&str, &str); 21] = [
    ("etcdserver: invalid client api version", "api.rs"),
    ("etcdserver: member ID already exist", "the answer to an id that was used, which is drawn"),
    ("etcdserver: Peer URLs already exists", "members.rs"),
    ("etcdserver: member not found", "members.rs"),
    ("etcdserver: can only promote a learner member", "members.rs"),
    ("etcdserver: too many learner members in cluster", "members.rs"),
    ("etcdserver: rpc not supported for learner", "members.rs"),
    ("etcdserver: given member URLs are invalid", "members.rs"),
    ("etcdserver: re-configuration failed due to not enough started members", "members.rs"),
    ("etcdserver: can only promote a learner member which is in sync with leader", "members.rs"),
    ("etcdserver: unhealthy cluster", "members.rs"),
    (
        "etcdserver: request timed out, waiting for the applied index took too long",
        "the answer of a leader whose applier is late",
    ),
    // How far a real etcd falls behind depends on its disk, so that no script can be recorded.
    ("etcdserver: too many requests", "log.rs"),
    ("etcdserver: no leader", "leaderless.rs"),
    ("etcdserver: request timed out", "leaderless.rs"),
    ("context deadline exceeded", "leaderless.rs"),
    (
        "etcdserver: request timed out, possibly due to previous leader failure",
        "a time-out that an election came into; `why_late` is tested by itself",
    ),
    (
        "etcdserver: request timed out, possibly due to connection lost",
        "a time-out that a broken link came into; `why_late` is tested by itself",
    ),
    (
        "etcdserver: request timed out, leader transfer took too long",
        "needs a member that answers its peers and wins no election",
    ),
    ("etcdserver: server stopped", "whoever is told so loses the connection at the same time"),
    ("etcdserver: not implemented", "etcd implements it"),
];

fn read_folder(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(&path, text);
        } else {
            *text += &fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn every_error_is_seen_by_a_script_or_has_a_reason_not_to_be() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut scripts, mut e2e) = (String::new(), String::new());
    read_folder(&root.join("../loadgen/conform"), &mut scripts);
    read_folder(&root.join("tests/e2e"), &mut e2e);
    let here = ETCD.iter().filter(|(_, _, here)| matches!(here, Is(_)));
    let mut errors: Vec<(i32, &str)> = here.map(|(code, text, _)| (*code, *text)).collect();
    errors.extend(WITHOUT_CODE.iter().map(|(text, _)| (i32::from(Code::Unknown), *text)));
    errors.push((i32::from(Code::DeadlineExceeded), "context deadline exceeded"));
    errors.push((i32::from(Code::Unimplemented), Rejection::Unimplemented.text()));
    for (code, text) in errors {
        let answer = format!("{:?}: {text}\n", Code::from(code));
        let unscripted = UNSCRIPTED.iter().find(|(listed, _)| *listed == text);
        match unscripted {
            None => assert!(scripts.contains(&answer), "no script is answered {answer}"),
            Some((_, why)) => {
                assert!(!scripts.contains(&answer), "a script is answered {answer}");
                assert!(!why.is_empty(), "{text}");
                let is_file = Path::new(why).extension().is_some();
                assert!(!is_file || e2e.contains(&format!("{text}\"")), "not in {why}: {text}");
            }
        }
    }
    for text in [WATCH_RANGE_EMPTY, WATCH_ID_DUPLICATE] {
        assert!(scripts.contains(text), "{text}");
    }
}

#[test]
fn no_error_is_in_the_table_twice() {
    let texts = ETCD.iter().map(|(_, text, _)| *text);
    let distinct: std::collections::BTreeSet<&str> = texts.collect();
    assert_eq!(distinct.len(), ETCD.len());
}

#[test]
fn failures_of_lower_layers_get_their_row() {
    let row = |status: Status| (status.code(), status.message().to_owned());
    assert_eq!(row(of(ProposeError::TooLarge)), row(Rejection::RequestTooLarge.into()));
    assert_eq!(row(of(ReadBarrierError::Timeout)), row(Rejection::Timeout.into()));
    assert_eq!(row(of(LeaseError::NotFound)), row(Rejection::LeaseNotFound.into()));
    assert_eq!(row(of(TransferTimeout)), row(Rejection::LeaderTransferTimeout.into()));
    assert_eq!(row(of(ApplyError::KeyNotFound)), row(Rejection::KeyNotFound.into()));
    assert_eq!(row(of(ApplyError::NoSpace)), row(Rejection::NoSpace.into()));
    assert_eq!(row(of(ApplyError::Corrupt)), row(Rejection::Corrupt.into()));
    let compacted = ReadError::Compacted { compact: 5 };
    assert_eq!(row(of_read(compacted)), row(Rejection::Compacted.into()));
    let too_large = message_too_large(5, 4);
    assert_eq!(too_large.code(), Code::ResourceExhausted);
    assert_eq!(too_large.message(), "grpc: received message larger than max (5 vs. 4)");
}

#[test]
fn an_error_loses_its_code_inside() {
    let inside = without_code(Rejection::LeaseNotFound.into());
    assert_eq!(inside.code(), Code::Unknown);
    assert_eq!(inside.message(), "etcdserver: requested lease not found");
    assert_eq!(without_code(Status::cancelled("x")).code(), Code::Cancelled);
}

#[test]
fn what_is_not_there_is_refused_in_etcds_words() {
    for (path, text) in [
        ("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"),
        ("/etcdserverpb.Nope/Range", "unknown service etcdserverpb.Nope"),
        ("/foo", "malformed method name: \"/foo\""),
        ("/etcdserverpb.Auth/AuthStatus", "etcdserver: not implemented"),
    ] {
        let status = unknown_method(path);
        assert_eq!((status.code(), status.message()), (Code::Unimplemented, text), "{path}");
    }
}
