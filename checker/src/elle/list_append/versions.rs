//! The order of the versions of each list, from the longest list that was read.

use super::mop::Mop;
use crate::elle::anomaly::Anomaly;
use crate::elle::graph::{Builder, Label};
use crate::elle::numbering::{NONE, at, number};
use crate::elle::report::{Case, Findings};
use crate::elle::transaction::{Element, Key, MicroOp, Transaction, TransactionId};
use crate::elle::writes::{Fate, Writes};

/// The versions of all lists: for each the empty one, then one for each element in the longest list
/// read, without those that it holds again.
#[derive(Debug)]
pub(super) struct Versions<'a> {
    writes: &'a Writes,
    /// For each key, the longest list read.
    longest: Vec<&'a [Element]>,
    /// For each key, who read it.
    readers: Vec<u32>,
    /// For each key, its first version.
    starts: Vec<u32>,
    /// For each version, the write that made it, unless it is the first or garbage.
    made_by: Vec<u32>,
    /// For each version, the transaction that made the next: of those that may have happened, since
    /// what aborted made no version.
    next: Vec<u32>,
    /// For each key, the length of the longest list up to the first element that should not be there.
    clean: Vec<u32>,
    /// For each write, its place in the list, from 1; 0 if nobody read it.
    places: Vec<u32>,
}

impl<'a> Versions<'a> {
    pub(super) fn collect(
        transactions: &'a [Transaction<Mop>],
        writes: &'a Writes,
    ) -> Versions<'a> {
        let keys = writes.keys().count();
        let mut versions = Versions {
            writes,
            longest: vec![&[]; keys],
            readers: vec![NONE; keys],
            starts: Vec::with_capacity(keys + 1),
            made_by: Vec::with_capacity(writes.len() + keys),
            next: Vec::new(),
            clean: Vec::with_capacity(keys),
            places: vec![0; writes.len()],
        };
        for (reader, own) in (0..).zip(transactions).filter(|(_, own)| own.is_committed()) {
            for mop in &own.mops {
                let (key, list) = (at(mop.key().0), mop.list());
                if list.len() > versions.longest[key].len() {
                    versions.longest[key] = list;
                    versions.readers[key] = reader;
                }
            }
        }
        for key in writes.keys() {
            versions.order(key);
        }
        versions.starts.push(number(versions.made_by.len()));
        versions.find_next();
        versions
    }

    /// Makes the versions of a key.
    fn order(&mut self, key: Key) {
        let start = self.made_by.len();
        self.starts.push(number(start));
        self.made_by.push(NONE);
        let longest = self.longest[at(key.0)];
        let mut clean = longest.len();
        for (place, element) in longest.iter().enumerate() {
            let Some(write) = self.writes.find(key, *element) else {
                clean = clean.min(place);
                self.made_by.push(NONE);
                continue;
            };
            if self.places[write] != 0 {
                clean = clean.min(place);
                continue;
            }
            if !self.writes.get(write).is_possible() {
                clean = clean.min(place);
            }
            self.places[write] = number(self.made_by.len() - start);
            self.made_by.push(number(write));
        }
        self.clean.push(number(clean));
    }

    fn find_next(&mut self) {
        self.next = vec![NONE; self.made_by.len()];
        for key in self.writes.keys() {
            let mut next = NONE;
            for version in (at(self.starts[at(key.0)])..self.end(key)).rev() {
                self.next[version] = next;
                next = self.maker(version).unwrap_or(next);
            }
        }
    }

    /// The version after the last of a key.
    fn end(&self, key: Key) -> usize {
        at(self.starts[at(key.0) + 1])
    }

    /// The longest list read of a key.
    #[inline]
    pub(super) fn longest(&self, key: Key) -> &'a [Element] {
        self.longest[at(key.0)]
    }

    /// Who read it.
    pub(super) fn reader_of_longest(&self, key: Key) -> TransactionId {
        TransactionId(self.readers[at(key.0)])
    }

    /// Whether a list is the beginning of the longest, and nothing in it is wrong by itself.
    #[inline]
    pub(super) fn is_clean(&self, key: Key, list: &[Element]) -> bool {
        list.len() <= at(self.clean[at(key.0)]) && is_same(list, &self.longest(key)[..list.len()])
    }

    /// The version that a clean list is.
    #[inline]
    pub(super) fn clean_version(&self, key: Key, list: &[Element]) -> usize {
        at(self.starts[at(key.0)]) + list.len()
    }

    /// The version that a list is, going by its last element.
    pub(super) fn version(&self, key: Key, list: &[Element]) -> Option<usize> {
        let first = at(self.starts[at(key.0)]);
        let Some(last) = list.last() else { return Some(first) };
        let place = self.places[self.writes.find(key, *last)?];
        (place != 0).then(|| first + at(place))
    }

    /// How many versions there are, of all keys.
    pub(super) fn len(&self) -> usize {
        self.made_by.len()
    }

    /// The write that made a version.
    #[inline]
    pub(super) fn made_by(&self, version: usize) -> Option<usize> {
        let write = self.made_by[version];
        (write != NONE).then(|| at(write))
    }

    /// The transaction that made a version, if it may have happened.
    fn maker(&self, version: usize) -> Option<u32> {
        let write = self.writes.get(self.made_by(version)?);
        write.is_possible().then_some(write.transaction)
    }

    /// The transaction that made the next version.
    #[inline]
    pub(super) fn next_maker(&self, version: usize) -> Option<u32> {
        let next = self.next[version];
        (next != NONE).then_some(next)
    }

    /// The place of a write in its list, from 1.
    pub(super) fn place(&self, write: usize) -> Option<usize> {
        let place = self.places[write];
        (place != 0).then(|| at(place))
    }

    /// Elements of a key that may have been appended and that nobody read.
    pub(super) fn unread(&self, key: Key) -> impl Iterator<Item = usize> + '_ {
        self.writes
            .range(key)
            .filter(|write| self.places[*write] == 0 && self.writes.get(*write).is_possible())
    }

    /// The write that made the version before that of another, or the last if nobody read it.
    pub(super) fn write_before(&self, key: Key, write: usize) -> Option<usize> {
        let first = at(self.starts[at(key.0)]);
        let end = self.place(write).map_or(self.end(key), |place| first + place);
        let mut earlier = (first..end).rev().filter_map(|version| self.made_by(version));
        earlier.find(|write| self.writes.get(*write).is_possible())
    }

    /// The write that made the version after one.
    pub(super) fn write_after(&self, key: Key, version: usize) -> Option<usize> {
        let mut later = (version + 1..self.end(key)).filter_map(|version| self.made_by(version));
        later.find(|write| self.writes.get(*write).is_possible())
    }

    /// Adds a dependency from each writer of a key to the next.
    pub(super) fn link(&self, builder: &mut Builder) {
        for key in self.writes.keys() {
            let mut last = None;
            for version in at(self.starts[at(key.0)])..self.end(key) {
                let Some(maker) = self.maker(version) else { continue };
                if let Some(last) = last.replace(maker) {
                    builder.link(last, maker, Label::Ww);
                }
            }
            let Some(last) = last else { continue };
            for write in self.unread(key) {
                builder.link(last, self.writes.get(write).transaction, Label::Ww);
            }
        }
    }

    /// Finds elements of transactions that aborted below those of others that committed.
    pub(super) fn find_dirty_updates(&self, findings: &mut Findings) {
        for key in self.writes.keys() {
            let clean = at(self.clean[at(key.0)]);
            if clean == self.longest(key).len() {
                continue;
            }
            let mut aborted: Option<usize> = None;
            for version in at(self.starts[at(key.0)])..self.end(key) {
                let Some(write) = self.made_by(version) else { continue };
                match (self.writes.get(write).fate, aborted) {
                    (Fate::Aborted, None) => aborted = Some(version),
                    (Fate::Committed, Some(first)) => {
                        findings
                            .add(Anomaly::DirtyUpdate, || self.dirty_update(key, first, version));
                        aborted = None;
                    }
                    (Fate::Aborted, Some(_)) | (Fate::Committed, None) | (Fate::Unknown, _) => {}
                }
            }
        }
    }

    fn dirty_update(&self, key: Key, aborted: usize, committed: usize) -> Case {
        let write = |version: usize| self.made_by(version).map(|write| self.writes.get(write));
        let by = |version| TransactionId(write(version).map_or(NONE, |write| write.transaction));
        let elements = (aborted..=committed).filter_map(write).map(|write| write.element);
        Case::DirtyUpdate {
            key,
            aborted: by(aborted),
            committed: by(committed),
            elements: elements.collect(),
        }
    }
}

/// Whether two lists of one length are the same. Compares in blocks, without an early way out in them,
/// so that the compiler makes vector instructions of it: most of a check's bytes are compared here.
fn is_same(one: &[Element], other: &[Element]) -> bool {
    let (ones, ones_rest) = one.as_chunks::<16>();
    let (others, others_rest) = other.as_chunks::<16>();
    let differs = |one: &[Element], other: &[Element]| {
        one.iter().zip(other).fold(0, |bits, (one, other)| bits | (one.0 ^ other.0)) != 0
    };
    !ones.iter().zip(others).any(|(one, other)| differs(one, other))
        && !differs(ones_rest, others_rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_compared_to_the_last_element() {
        for length in 0..70 {
            let list: Vec<Element> = (0..length).map(Element).collect();
            assert!(is_same(&list, &list));
            for place in 0..list.len() {
                let mut other = list.clone();
                other[place].0 ^= 0x8000_0000;
                assert!(!is_same(&list, &other), "{place} of {length}");
            }
        }
    }
}
