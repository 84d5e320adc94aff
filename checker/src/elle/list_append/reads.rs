//! Each read: its place among the versions, the dependencies that follow, and whether it should have
//! shown what it did.
//!
//! Nearly every list is *clean*, a beginning of the longest list of its key with nothing wrong in it.
//! Comparing it tells its version, and all else is a look into tables. What is not clean is gone
//! through element by element.

use std::collections::BTreeMap;

use super::mop::Mop;
use super::versions::Versions;
use super::within;
use crate::elle::anomaly::Anomaly;
use crate::elle::graph::{Builder, Label, Node};
use crate::elle::numbering::{NONE, at, number};
use crate::elle::report::{Case, Findings};
use crate::elle::transaction::{Element, Key, MicroOp, Transaction, TransactionId};
use crate::elle::writes::{Write, Writes};

/// What the transaction at hand has done with a key.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The transaction that this is about; what it says of another is over.
    transaction: u32,
    /// Its last micro-operation with the key.
    last: u32,
    /// Its first one, if that is a read.
    first_read: Option<u32>,
    /// It has appended.
    appended: bool,
    /// It has read, and the longest clean list has this length.
    clean: u32,
    /// It has read a list that is not clean.
    unclean: bool,
}

impl Seen {
    const NOTHING: Seen = Seen {
        transaction: NONE,
        last: NONE,
        first_read: None,
        appended: false,
        clean: 0,
        unclean: false,
    };
}

/// Goes through all reads.
pub(super) struct Reads<'a> {
    transactions: &'a [Transaction<Mop>],
    writes: &'a Writes,
    versions: &'a Versions<'a>,
    builder: &'a mut Builder,
    findings: &'a mut Findings,
    /// For each key.
    seen: Vec<Seen>,
    /// For each micro-operation at hand, the last before it with the same key.
    previous: Vec<u32>,
    /// Reads of the last version of a key, which come before the appends that nobody read.
    at_end: Vec<(Key, Node)>,
    /// For each version, the first transaction that read it and then appended.
    updated_by: Vec<u32>,
    /// Others that did, by version.
    updated_again: Vec<(usize, u32)>,
    /// Those that read a list that is not clean and then appended.
    updated_unclean: BTreeMap<(Key, &'a [Element]), Vec<TransactionId>>,
    /// For each key, whether two lists that do not go together were found.
    is_incompatible: Vec<bool>,
}

impl<'a> Reads<'a> {
    pub(super) fn new(
        transactions: &'a [Transaction<Mop>],
        writes: &'a Writes,
        versions: &'a Versions<'a>,
        builder: &'a mut Builder,
        findings: &'a mut Findings,
    ) -> Reads<'a> {
        let keys = writes.keys().count();
        Reads {
            transactions,
            writes,
            versions,
            builder,
            findings,
            seen: vec![Seen::NOTHING; keys],
            previous: Vec::new(),
            at_end: Vec::new(),
            updated_by: vec![NONE; versions.len()],
            updated_again: Vec::new(),
            updated_unclean: BTreeMap::new(),
            is_incompatible: vec![false; keys],
        }
    }

    /// Judges all reads and adds the dependencies that follow from them.
    pub(super) fn judge(mut self) {
        let transactions = self.transactions;
        for (own, transaction) in (0..).zip(transactions) {
            if transaction.is_committed() {
                self.transaction(own, &transaction.mops);
            }
        }
        self.link_unread();
        self.find_lost_updates();
    }

    fn transaction(&mut self, own: Node, mops: &'a [Mop]) {
        self.previous.clear();
        let mut is_consistent = true;
        for (place, mop) in mops.iter().enumerate() {
            let key = mop.key();
            let mut seen = self.seen[at(key.0)];
            if seen.transaction != own {
                seen = Seen { transaction: own, ..Seen::NOTHING };
            }
            self.previous.push(seen.last);
            match mop {
                Mop::Append { element, .. } => {
                    self.append(own, mops, place, *element, &seen);
                    seen.appended = true;
                }
                Mop::Read { .. } => {
                    let list = mop.list();
                    if seen.last == NONE {
                        seen.first_read = Some(number(place));
                    } else if is_consistent {
                        is_consistent = self.is_consistent(own, mops, place);
                    }
                    if self.versions.is_clean(key, list) {
                        self.clean(own, key, list);
                        seen.clean = seen.clean.max(number(list.len()));
                    } else {
                        self.unclean(own, key, list);
                        seen.unclean = true;
                    }
                }
            }
            seen.last = number(place);
            self.seen[at(key.0)] = seen;
        }
    }

    /// Whether a read goes with what its transaction did before. Of each transaction, one that does not
    /// is enough.
    fn is_consistent(&mut self, own: Node, mops: &[Mop], place: usize) -> bool {
        let Some(expected) = within::contradiction(mops, &self.previous, place) else {
            return true;
        };
        self.findings.add(Anomaly::Internal, || Case::Internal {
            transaction: TransactionId(own),
            mop: place,
            expected: expected.list,
            prefix_unknown: expected.prefix_unknown,
        });
        false
    }

    /// An append after what its transaction has read: had it read the element already, and who else
    /// appended to the version it had read first?
    fn append(&mut self, own: Node, mops: &'a [Mop], place: usize, element: Element, seen: &Seen) {
        let key = mops[place].key();
        if seen.clean > 0 || seen.unclean {
            let write = self.writes.find(key, element);
            let at_place = write.and_then(|write| self.versions.place(write));
            let in_clean = at_place.is_some_and(|place| place <= at(seen.clean));
            if in_clean || (seen.unclean && has_read(mops, &self.previous, place, element)) {
                let transaction = TransactionId(own);
                self.findings.add(Anomaly::FutureRead, || Case::FutureRead {
                    transaction,
                    key,
                    element,
                });
            }
        }
        if let Some(read) = seen.first_read
            && !seen.appended
        {
            self.update(own, key, mops[at(read)].list());
        }
    }

    /// Notes that a transaction read a version and then appended to it.
    fn update(&mut self, own: Node, key: Key, list: &'a [Element]) {
        if !self.versions.is_clean(key, list) {
            self.updated_unclean.entry((key, list)).or_default().push(TransactionId(own));
            return;
        }
        let version = self.versions.clean_version(key, list);
        if self.updated_by[version] == NONE {
            self.updated_by[version] = own;
        } else {
            self.updated_again.push((version, own));
        }
    }

    /// A list in which nothing is wrong but, at most, that its last element is not the last of its
    /// transaction.
    fn clean(&mut self, own: Node, key: Key, list: &[Element]) {
        let version = self.versions.clean_version(key, list);
        if let Some(write) = self.versions.made_by(version)
            && !self.read_of_write(own, key, write)
        {
            return;
        }
        self.before_next(own, key, version);
    }

    /// The dependency on who wrote the last element of a list. Says whether that was another.
    fn read_of_write(&mut self, own: Node, key: Key, write: usize) -> bool {
        let write = self.writes.get(write);
        if write.transaction == own {
            return false;
        }
        if write.is_possible() {
            self.builder.link(write.transaction, own, Label::Wr);
        }
        if !write.is_final {
            let (writer, element) = (Some(TransactionId(write.transaction)), write.element);
            self.findings.add(Anomaly::G1b, || Case::Read {
                reader: TransactionId(own),
                writer,
                key,
                element,
            });
        }
        true
    }

    /// The dependency of who made the version after the one that was read.
    fn before_next(&mut self, own: Node, key: Key, version: usize) {
        match self.versions.next_maker(version) {
            Some(next) => self.builder.link(own, next, Label::Rw),
            None => self.at_end.push((key, own)),
        }
    }

    /// A list with something wrong in it.
    fn unclean(&mut self, own: Node, key: Key, list: &[Element]) {
        let reader = TransactionId(own);
        if !self.versions.longest(key).starts_with(list)
            && !std::mem::replace(&mut self.is_incompatible[at(key.0)], true)
        {
            let longest = self.versions.longest(key).to_vec();
            let other = self.versions.reader_of_longest(key);
            self.findings.add(Anomaly::IncompatibleOrder, || Case::IncompatibleOrder {
                key,
                readers: [reader, other],
                lists: [list.to_vec(), longest],
            });
        }
        self.duplicates(reader, key, list);
        for element in list {
            let write = self.writes.find(key, *element).map(|write| self.writes.get(write));
            if write.is_some_and(Write::is_possible) {
                continue;
            }
            let anomaly = if write.is_some() { Anomaly::G1a } else { Anomaly::GarbageRead };
            let writer = write.map(|write| TransactionId(write.transaction));
            let element = *element;
            self.findings.add(anomaly, || Case::Read { reader, writer, key, element });
        }
        if let Some(last) = list.last()
            && let Some(write) = self.writes.find(key, *last)
            && !self.read_of_write(own, key, write)
        {
            return;
        }
        if let Some(version) = self.versions.version(key, list) {
            self.before_next(own, key, version);
        }
    }

    fn duplicates(&mut self, reader: TransactionId, key: Key, list: &[Element]) {
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let element = pair[0];
            self.findings.add(Anomaly::DuplicateElements, || Case::DuplicateElements {
                reader,
                key,
                element,
            });
        }
    }

    /// What nobody read was appended after the last version that was.
    fn link_unread(&mut self) {
        self.at_end.sort_unstable();
        self.at_end.dedup();
        for readers in self.at_end.chunk_by(|one, other| one.0 == other.0) {
            let unread = self.versions.unread(readers[0].0);
            let writers: Vec<Node> =
                unread.map(|write| self.writes.get(write).transaction).collect();
            let readers: Vec<Node> = readers.iter().map(|(_, reader)| *reader).collect();
            self.builder.link_all(&readers, &writers, Label::Rw);
        }
    }

    fn find_lost_updates(&mut self) {
        self.updated_again.sort_unstable();
        for again in self.updated_again.chunk_by(|one, other| one.0 == other.0) {
            let first = self.updated_by[again[0].0];
            let transactions: Vec<TransactionId> = std::iter::once(first)
                .chain(again.iter().map(|(_, own)| *own))
                .map(TransactionId)
                .collect();
            let (key, version) = self.updated(first, again[0].0);
            self.findings.add(Anomaly::LostUpdate, || Case::LostUpdate {
                key,
                version,
                transactions,
            });
        }
        let several = std::mem::take(&mut self.updated_unclean);
        for ((key, list), transactions) in several.into_iter().filter(|(_, own)| own.len() > 1) {
            let version = list.to_vec();
            self.findings.add(Anomaly::LostUpdate, || Case::LostUpdate {
                key,
                version,
                transactions,
            });
        }
    }

    /// The key and the list of a version that a transaction read.
    fn updated(&self, transaction: u32, version: usize) -> (Key, Vec<Element>) {
        let mops = &self.transactions[at(transaction)].mops;
        let is_it = |mop: &&Mop| {
            matches!(mop, Mop::Read { .. })
                && self.versions.is_clean(mop.key(), mop.list())
                && self.versions.clean_version(mop.key(), mop.list()) == version
        };
        let read = mops.iter().find(is_it).expect("it has read the version");
        (read.key(), read.list().to_vec())
    }
}

/// Whether a transaction had read an element before a place.
fn has_read(mops: &[Mop], previous: &[u32], place: usize, element: Element) -> bool {
    let mut place = previous[place];
    while place != NONE {
        if mops[at(place)].list().contains(&element) {
            return true;
        }
        place = previous[at(place)];
    }
    false
}
