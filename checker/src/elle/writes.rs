//! Who wrote what: the writes of a history by key and element.
//!
//! One flat table, the writes of a key together and sorted by element, so that a look-up is a search
//! among those of one key.

use std::ops::Range;

use super::numbering::{at, number, starts};
use super::transaction::{Element, Key, MicroOp, Outcome, Transaction};

/// What became of the transaction of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It committed.
    Committed,
    /// It aborted.
    Aborted,
    /// It may have committed.
    Unknown,
}

/// One write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(crate) element: Element,
    pub(crate) transaction: u32,
    pub(crate) fate: Fate,
    /// No later write of its transaction goes to the same key.
    pub(crate) is_final: bool,
}

impl Write {
    /// Whether it may have happened.
    pub(crate) fn is_possible(&self) -> bool {
        self.fate != Fate::Aborted
    }
}

/// The writes of a history, numbered from 0.
#[derive(Debug)]
pub(crate) struct Writes {
    /// Where the writes of each key begin, and where those of the last end.
    starts: Vec<u32>,
    writes: Vec<Write>,
}

impl Writes {
    pub(crate) fn collect<M: MicroOp>(transactions: &[Transaction<M>]) -> Writes {
        let (in_order, counts) = read_off(transactions);
        let starts = starts(&counts);
        let mut writes = Writes { writes: by_key(&in_order, &starts), starts };
        for key in 0..counts.len() {
            let own = writes.range(Key(number(key)));
            let own = &mut writes.writes[own];
            if !own.is_sorted_by_key(|write| write.element) {
                own.sort_unstable_by_key(|write| write.element);
            }
        }
        writes
    }

    /// Keys that are written or read: all numbers up to the greatest.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + use<> {
        (0..number(self.starts.len() - 1)).map(Key)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }

    /// The writes of a key, by number.
    #[inline]
    pub(crate) fn range(&self, key: Key) -> Range<usize> {
        at(self.starts[at(key.0)])..at(self.starts[at(key.0) + 1])
    }

    /// The write of an element.
    #[inline]
    pub(crate) fn find(&self, key: Key, element: Element) -> Option<usize> {
        let range = self.range(key);
        let own = &self.writes[range.clone()];
        let place = own.binary_search_by_key(&element, |write| write.element);
        place.ok().map(|place| range.start + place)
    }

    #[inline]
    pub(crate) fn get(&self, write: usize) -> &Write {
        &self.writes[write]
    }

    /// The key of a write.
    pub(crate) fn key_of(&self, write: usize) -> Key {
        let after = self.starts.partition_point(|start| at(*start) <= write);
        Key(number(after - 1))
    }

    /// The first element that was written to its key twice, and by whom.
    pub(crate) fn duplicate(&self) -> Option<(Key, Element, [u32; 2])> {
        self.keys().find_map(|key| {
            let mut pairs = self.writes[self.range(key)].windows(2);
            let pair = pairs.find(|pair| pair[0].element == pair[1].element)?;
            let mut writers = [pair[0].transaction, pair[1].transaction];
            writers.sort_unstable();
            Some((key, pair[0].element, writers))
        })
    }
}

/// The writes in the order of transactions, and how many each key has. Transactions lie scattered in
/// memory, and what is read of them is most of what collecting takes: so they are gone through once.
fn read_off<M: MicroOp>(transactions: &[Transaction<M>]) -> (Vec<(Key, Write)>, Vec<u32>) {
    let mut writes = Vec::with_capacity(transactions.len());
    let mut counts: Vec<u32> = Vec::new();
    for (transaction, own) in (0..).zip(transactions) {
        let fate = match own.outcome {
            Outcome::Ok => Fate::Committed,
            Outcome::Fail => Fate::Aborted,
            Outcome::Unknown => Fate::Unknown,
        };
        for mop in &own.mops {
            let key = mop.key();
            if at(key.0) >= counts.len() {
                counts.resize(at(key.0) + 1, 0);
            }
            if let Some(element) = mop.written() {
                counts[at(key.0)] += 1;
                writes.push((key, Write { element, transaction, fate, is_final: true }));
            }
        }
    }
    (writes, counts)
}

/// The writes of each key together, and which of them are final.
fn by_key(in_order: &[(Key, Write)], starts: &[u32]) -> Vec<Write> {
    let nothing =
        Write { element: Element(0), transaction: 0, fate: Fate::Aborted, is_final: true };
    let mut writes = vec![nothing; in_order.len()];
    let mut places = starts.to_vec();
    for (key, write) in in_order {
        let key = at(key.0);
        let place = at(places[key]);
        if place > at(starts[key]) && writes[place - 1].transaction == write.transaction {
            writes[place - 1].is_final = false;
        }
        writes[place] = *write;
        places[key] += 1;
    }
    writes
}
