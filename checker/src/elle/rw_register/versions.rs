//! The versions of all registers, by number: first what was written, then what was read and nobody
//! wrote, then for each key the initial state.

use super::mop::Mop;
use crate::elle::numbering::{at, number};
use crate::elle::transaction::{Element, Key, Transaction};
use crate::elle::writes::Writes;

/// A version of a register.
pub(super) type Version = u32;

/// Numbers versions, and knows what the store told of each.
#[derive(Debug)]
pub(super) struct Versions<'a> {
    writes: &'a Writes,
    /// What was read and nobody wrote; sorted.
    unwritten: Vec<(Key, Element)>,
    /// For each version but initial states, the first revision that was told of it.
    revisions: Vec<Option<u64>>,
    /// Versions of which two revisions were told.
    contradicted: Vec<Version>,
}

impl<'a> Versions<'a> {
    pub(super) fn collect(transactions: &[Transaction<Mop>], writes: &'a Writes) -> Versions<'a> {
        let mut unwritten: Vec<(Key, Element)> = Vec::new();
        for mop in committed(transactions) {
            if let Mop::Read { key, value: Some(value), .. } = mop
                && writes.find(*key, *value).is_none()
            {
                unwritten.push((*key, *value));
            }
        }
        unwritten.sort_unstable();
        unwritten.dedup();
        let revisions = vec![None; writes.len() + unwritten.len()];
        let mut versions = Versions { writes, unwritten, revisions, contradicted: Vec::new() };
        for mop in committed(transactions) {
            versions.note_revision(mop);
        }
        versions.contradicted.sort_unstable();
        versions.contradicted.dedup();
        versions
    }

    fn note_revision(&mut self, mop: &Mop) {
        let (key, value, revision) = match mop {
            Mop::Write { key, value, mod_revision: Some(revision) } => (key, value, revision),
            Mop::Read { key, value: Some(value), mod_revision: Some(revision) } => {
                (key, value, revision)
            }
            Mop::Write { .. } | Mop::Read { .. } => return,
        };
        let version = self.of(*key, Some(*value));
        let known = self.revisions[at(version)].get_or_insert(*revision);
        if *known != *revision {
            self.contradicted.push(version);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.revisions.len() + self.writes.keys().count()
    }

    /// The version of a key that has been read, or was written. `None` is the initial state.
    pub(super) fn of(&self, key: Key, value: Option<Element>) -> Version {
        let Some(value) = value else {
            return number(self.revisions.len() + at(key.0));
        };
        if let Some(write) = self.writes.find(key, value) {
            return number(write);
        }
        let place = self.unwritten.binary_search(&(key, value));
        number(self.writes.len() + place.expect("what was read is written or noted"))
    }

    pub(super) fn key(&self, version: Version) -> Key {
        let place = at(version);
        if place < self.writes.len() {
            return self.writes.key_of(place);
        }
        match self.unwritten.get(place - self.writes.len()) {
            Some((key, _)) => *key,
            None => Key(number(place - self.revisions.len())),
        }
    }

    /// What is in the register at a version; nothing at first.
    pub(super) fn value(&self, version: Version) -> Option<Element> {
        let place = at(version);
        if place < self.writes.len() {
            return Some(self.writes.get(place).element);
        }
        self.unwritten.get(place - self.writes.len()).map(|(_, value)| *value)
    }

    /// The transaction that made a version, if others could have come to see it.
    pub(super) fn maker(&self, version: Version) -> Option<u32> {
        let write = (at(version) < self.writes.len()).then(|| self.writes.get(at(version)))?;
        (write.is_possible() && write.is_final).then_some(write.transaction)
    }

    /// The revision of a version, if the store told it.
    pub(super) fn revision(&self, version: Version) -> Option<u64> {
        self.revisions.get(at(version)).copied().flatten()
    }

    /// Versions of which two revisions were told.
    pub(super) fn contradicted(&self) -> &[Version] {
        &self.contradicted
    }

    /// Versions but initial states.
    pub(super) fn all(&self) -> std::ops::Range<Version> {
        0..number(self.revisions.len())
    }

    /// The initial state of the key of each version.
    pub(super) fn initial(&self, version: Version) -> Version {
        self.of(self.key(version), None)
    }
}

fn committed(transactions: &[Transaction<Mop>]) -> impl Iterator<Item = &Mop> {
    transactions.iter().filter(|own| own.is_committed()).flat_map(|own| &own.mops)
}
