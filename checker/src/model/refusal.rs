//! The refusals that say something about the store, with etcd's codes and texts.

use crate::history::record::Failure;

/// Why a request is refused without changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The lease does not exist.
    LeaseNotFound,
    /// The lease exists already.
    LeaseExists,
    /// The lease would live too long.
    LeaseTtlTooLarge,
    /// `ignore_value` or `ignore_lease` on a missing key.
    KeyNotFound,
    /// The revision is below the compact revision.
    Compacted,
    /// The revision is not there yet.
    FutureRevision,
    /// The key is empty.
    EmptyKey,
    /// A value together with `ignore_value`.
    ValueProvided,
    /// A lease together with `ignore_lease`.
    LeaseProvided,
    /// A transaction writes a key twice.
    DuplicateKey,
}

const TABLE: [(Refusal, &str, &str); 10] = [
    (Refusal::LeaseNotFound, "NotFound", "etcdserver: requested lease not found"),
    (Refusal::LeaseExists, "FailedPrecondition", "etcdserver: lease already exists"),
    (Refusal::LeaseTtlTooLarge, "OutOfRange", "etcdserver: too large lease TTL"),
    (Refusal::KeyNotFound, "InvalidArgument", "etcdserver: key not found"),
    (Refusal::Compacted, "OutOfRange", "etcdserver: mvcc: required revision has been compacted"),
    (
        Refusal::FutureRevision,
        "OutOfRange",
        "etcdserver: mvcc: required revision is a future revision",
    ),
    (Refusal::EmptyKey, "InvalidArgument", "etcdserver: key is not provided"),
    (Refusal::ValueProvided, "InvalidArgument", "etcdserver: value is provided"),
    (Refusal::LeaseProvided, "InvalidArgument", "etcdserver: lease is provided"),
    (Refusal::DuplicateKey, "InvalidArgument", "etcdserver: duplicate key given in txn request"),
];

impl Refusal {
    /// The refusal that `failure` is; `None` if it says nothing about the store (no leader,
    /// too many requests, connection refused).
    pub fn of(failure: &Failure) -> Option<Refusal> {
        let (refusal, _, _) = TABLE.iter().find(|(_, _, text)| *text == failure.message)?;
        Some(*refusal)
    }

    /// The refusal as a client sees it.
    pub fn failure(self) -> Failure {
        let (_, code, text) =
            TABLE.iter().find(|(refusal, _, _)| *refusal == self).expect("every refusal has a row");
        Failure { code: (*code).to_owned(), message: (*text).to_owned() }
    }

    /// Whether the request alone decides it, whatever the store holds.
    pub fn is_static(self) -> bool {
        match self {
            Refusal::LeaseTtlTooLarge
            | Refusal::EmptyKey
            | Refusal::ValueProvided
            | Refusal::LeaseProvided
            | Refusal::DuplicateKey => true,
            Refusal::LeaseNotFound
            | Refusal::LeaseExists
            | Refusal::KeyNotFound
            | Refusal::Compacted
            | Refusal::FutureRevision => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_again() {
        for (refusal, _, _) in TABLE {
            assert_eq!(Refusal::of(&refusal.failure()), Some(refusal));
        }
        let other = Failure { code: "Unavailable".into(), message: "no leader".into() };
        assert_eq!(Refusal::of(&other), None);
    }
}
