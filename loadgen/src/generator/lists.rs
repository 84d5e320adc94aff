//! Transactions that append to lists and read others, as Jepsen's append workload for etcd has them.
//!
//! A list is a key whose value is its elements, with a blank between. A client reads some lists at
//! once; then, if none of them has changed, it appends an element to some and reads the others, at
//! once again. Every element is unlike all others, so a list tells in which order they came, and
//! each put of a history tells which element it appended: the last one.

use rand::Rng;
use rusd_checker::history::record::{
    CompareResult, CompareTarget, Put, Range, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use rusd_checker::history::text::Text;

use super::{Generator, OpKind, compare};

/// Most lists of one transaction.
const LISTS_MAX: usize = 3;

impl Generator {
    /// Reads some lists.
    pub(super) fn read_lists(&mut self) -> Txn {
        let count = self.rng.random_range(1..=LISTS_MAX).min(self.lists);
        let first = self.rng.random_range(0..self.lists);
        let keys = (0..count).map(|step| self.list((first + step) % self.lists));
        let read = |key| TxnOp::Range(Range { key, ..Range::default() });
        Txn { success: keys.map(read).collect(), ..Txn::default() }
    }

    /// The list that takes elements at a place.
    pub(super) fn list(&self, place: usize) -> Text {
        let prefix = self.seen.keys().whole().0;
        Text::from(&format!("{prefix}list/{place}/{}", self.seen.generation_of(place)))
    }

    /// Appends to what was just read, unless it was no reading.
    pub(super) fn append_to_read(&mut self, txn: &Txn, answer: &TxnResponse) {
        if !txn.compare.is_empty() {
            return;
        }
        let mut compares = Vec::new();
        let mut success = Vec::new();
        for (op, found) in txn.success.iter().zip(&answer.responses) {
            let (TxnOp::Range(read), TxnOpResponse::Range(found)) = (op, found) else { return };
            let kv = found.kvs.first();
            let unchanged = CompareTarget::Mod(kv.map_or(0, |kv| kv.mod_revision));
            compares.push(compare(read.key.clone(), CompareResult::Equal, unchanged));
            if success.is_empty() || self.rng.random_bool(0.5) {
                let elements = kv.map_or(&[][..], |kv| kv.value.as_bytes());
                self.retire_if_full(&read.key, elements);
                let value = self.longer(elements);
                success.push(TxnOp::Put(Put { key: read.key.clone(), value, ..Put::default() }));
            } else {
                success.push(op.clone());
            }
        }
        let failure = txn.success.clone();
        let follow_up = Txn { compare: compares, success, failure };
        self.follow_up = Some((OpKind::TxnAppend, super::Request::Txn(follow_up)));
    }

    /// Elements with one more.
    fn longer(&mut self, elements: &[u8]) -> Text {
        self.written += 1;
        let element = super::values::unique(self.process, self.written, 0);
        let longer =
            if elements.is_empty() { element } else { [elements, b" ", &element].concat() };
        Text::from(&longer)
    }

    /// Lets a new list take the place of one that has enough elements.
    fn retire_if_full(&self, key: &Text, elements: &[u8]) {
        if elements.split(|byte| *byte == b' ').count() < self.list_elements_max {
            return;
        }
        if let Some(place) = (0..self.lists).find(|place| self.list(*place) == *key) {
            self.seen.next_generation(place);
        }
    }
}
