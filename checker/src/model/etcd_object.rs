//! [`EtcdStore`] as an object that can be searched. It does not fall into parts: every write moves
//! the revision, which every answer tells.

use super::etcd_store::EtcdStore;
use crate::history::record::{Outcome, Request, Txn, TxnOp};
use crate::search::Model;

impl Model for EtcdStore {
    type Key = ();

    fn partition(_: &Request) {}

    fn is_read_only(request: &Request, outcome: Option<&Outcome>) -> bool {
        let is_refused = matches!(outcome, Some(Outcome::Fail(_)));
        is_refused
            || match request {
                Request::Range(_) | Request::LeaseKeepAlive(_) => true,
                Request::Txn(txn) => only_reads(txn),
                Request::Put(_)
                | Request::DeleteRange(_)
                | Request::LeaseGrant(_)
                | Request::LeaseRevoke(_)
                | Request::Compact(_) => false,
            }
    }

    fn describe(request: &Request, outcome: Option<&Outcome>) -> String {
        match outcome {
            None => format!("{request:?}"),
            Some(outcome) => format!("{request:?} -> {outcome:?}"),
        }
    }

    fn describe_state(&self) -> String {
        let keys = self.keys().iter().map(|(key, stored)| stored.key_value(key));
        format!("revision {} with {:?}", self.revision(), keys.collect::<Vec<_>>())
    }
}

fn only_reads(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match op {
        TxnOp::Range(_) => true,
        TxnOp::Txn(inner) => only_reads(inner),
        TxnOp::Put(_) | TxnOp::DeleteRange(_) => false,
    })
}
