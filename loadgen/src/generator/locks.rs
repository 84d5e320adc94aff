//! Locks and elections, made of transactions on keys with leases, as etcd's own recipes are: so a
//! history tells all of them, and whoever judges it needs to know nothing but the store.
//!
//! Nobody waits: a client that finds a key taken asks again another time.

use rand::Rng;
use rusd_checker::history::record::{
    CompareResult, CompareTarget, DeleteRange, Put, Range, Request, Txn, TxnOp,
};
use rusd_checker::history::text::Text;

use super::{Generator, OpKind, compare};
use crate::keys::Purpose;

/// A leader resigns once in so many times that it does something.
const RESIGNS_ONE_IN: u32 = 8;

impl Generator {
    fn beside(&mut self, folder: &str) -> Text {
        let index = self.choose(Purpose::Other);
        Text::from(&format!("{}{folder}/{index}", self.seen.keys().whole().0))
    }

    /// Takes a lock, if it is free.
    pub(super) fn lock(&mut self, lease: i64) -> Txn {
        let key = self.beside("lock");
        self.create(key, lease)
    }

    /// Creates a key, if it is absent.
    fn create(&mut self, key: Text, lease: i64) -> Txn {
        let absent = CompareTarget::Create(0);
        Txn {
            compare: vec![compare(key.clone(), CompareResult::Equal, absent)],
            success: vec![TxnOp::Put(Put { lease, ..self.put(key.clone()) })],
            failure: vec![TxnOp::Range(Range { key, ..Range::default() })],
        }
    }

    /// A lock that was taken is given back next.
    pub(super) fn locked(&mut self, txn: &Txn, succeeded: bool, revision: i64) {
        if let (true, [TxnOp::Put(put)]) = (succeeded, txn.success.as_slice()) {
            let release = delete_if_created(put.key.clone(), revision);
            self.follow_up = Some((OpKind::Lock, Request::Txn(release)));
        }
    }

    /// Stands for election; a leader speaks, or resigns.
    pub(super) fn stand(&mut self, lease: i64) -> Txn {
        let Some((key, created)) = self.leads.clone() else {
            let key = self.beside("election");
            return self.create(key, lease);
        };
        if self.rng.random_ratio(1, RESIGNS_ONE_IN) {
            return delete_if_created(key, created);
        }
        let own = CompareTarget::Create(created);
        Txn {
            compare: vec![compare(key.clone(), CompareResult::Equal, own)],
            success: vec![TxnOp::Put(Put { ignore_lease: true, ..self.put(key.clone()) })],
            failure: vec![TxnOp::Range(Range { key, ..Range::default() })],
        }
    }

    /// Learns whether this client leads.
    pub(super) fn stood(&mut self, txn: &Txn, succeeded: bool, revision: i64) {
        match (succeeded, txn.success.as_slice()) {
            (true, [TxnOp::Put(put)]) if put.lease != 0 => {
                self.leads = Some((put.key.clone(), revision));
            }
            (true, [TxnOp::Put(_)]) => {}
            _ => self.leads = None,
        }
    }
}

/// Deletes a key, if it is the one that was created at this revision.
fn delete_if_created(key: Text, created: i64) -> Txn {
    let own = CompareTarget::Create(created);
    Txn {
        compare: vec![compare(key.clone(), CompareResult::Equal, own)],
        success: vec![TxnOp::DeleteRange(DeleteRange {
            key: key.clone(),
            ..DeleteRange::default()
        })],
        failure: vec![TxnOp::Range(Range { key, ..Range::default() })],
    }
}
