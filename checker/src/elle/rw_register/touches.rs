//! What each transaction had to do with each key, seen from outside: what it read before it wrote, and
//! what it wrote at last. On the way, each read is judged by what was written elsewhere.

use super::mop::Mop;
use super::versions::{Version, Versions};
use crate::elle::anomaly::Anomaly;
use crate::elle::numbering::{NONE, at};
use crate::elle::report::{Case, Findings};
use crate::elle::transaction::{Key, MicroOp, Transaction, TransactionId};
use crate::elle::writes::Writes;

/// What a transaction had to do with a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Touch {
    pub(super) key: Key,
    pub(super) transaction: u32,
    /// What it read of the key before it wrote to it. Known only if it committed.
    pub(super) read: Option<Version>,
    /// What it wrote to the key at last.
    pub(super) wrote: Option<Version>,
}

impl Touch {
    /// The version that it saw or made first.
    pub(super) fn first(&self) -> Option<Version> {
        self.read.or(self.wrote)
    }

    /// The version that it left.
    pub(super) fn last(&self) -> Option<Version> {
        self.wrote.or(self.read)
    }
}

/// The touches of all transactions that may have happened, those of a key together and in the order of
/// transactions.
pub(super) fn collect(
    transactions: &[Transaction<Mop>],
    writes: &Writes,
    versions: &Versions<'_>,
    findings: &mut Findings,
) -> Vec<Touch> {
    let seen = vec![Seen::NOTHING; writes.keys().count()];
    let mut walk = Walk { writes, versions, findings, touches: Vec::new(), seen };
    for (own, transaction) in (0..).zip(transactions) {
        if transaction.is_committed() {
            walk.committed(own, &transaction.mops);
        } else if transaction.is_possible() {
            walk.unknown(own, &transaction.mops);
        }
    }
    let mut touches = walk.touches;
    find_lost_updates(&touches, versions, findings);
    touches.sort_by_key(|touch| touch.key);
    touches
}

/// What the transaction at hand has done with a key.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The transaction that this is about; what it says of another is over.
    transaction: u32,
    /// Its place among the touches.
    touch: usize,
    /// The version that it last read or wrote.
    now: Option<Version>,
}

impl Seen {
    const NOTHING: Seen = Seen { transaction: NONE, touch: 0, now: None };
}

struct Walk<'a> {
    writes: &'a Writes,
    versions: &'a Versions<'a>,
    findings: &'a mut Findings,
    touches: Vec<Touch>,
    /// For each key.
    seen: Vec<Seen>,
}

impl Walk<'_> {
    fn committed(&mut self, own: u32, mops: &[Mop]) {
        let mut is_consistent = true;
        for (place, mop) in mops.iter().enumerate() {
            let key = mop.key();
            let seen = self.seen(own, key);
            let (version, is_read) = match mop {
                Mop::Write { value, .. } => (self.versions.of(key, Some(*value)), false),
                Mop::Read { value, .. } => (self.versions.of(key, *value), true),
            };
            if !is_read {
                self.touches[seen.touch].wrote = Some(version);
            } else if let Some(now) = seen.now {
                if is_consistent && now != version {
                    is_consistent = false;
                    self.contradiction(own, place, now);
                }
            } else {
                self.touches[seen.touch].read = Some(version);
            }
            if is_read {
                self.judge(own, mops, place, version);
            }
            self.seen[at(key.0)].now = Some(version);
        }
    }

    fn unknown(&mut self, own: u32, mops: &[Mop]) {
        for mop in mops {
            let Some(value) = mop.written() else { continue };
            let seen = self.seen(own, mop.key());
            self.touches[seen.touch].wrote = Some(self.versions.of(mop.key(), Some(value)));
        }
    }

    /// What the transaction has done with a key, which it now touches if it had not before.
    fn seen(&mut self, own: u32, key: Key) -> Seen {
        let seen = &mut self.seen[at(key.0)];
        if seen.transaction != own {
            *seen = Seen { transaction: own, touch: self.touches.len(), now: None };
            self.touches.push(Touch { key, transaction: own, read: None, wrote: None });
        }
        *seen
    }

    fn contradiction(&mut self, own: u32, place: usize, now: Version) {
        let expected = self.versions.value(now).into_iter().collect();
        self.findings.add(Anomaly::Internal, || Case::Internal {
            transaction: TransactionId(own),
            mop: place,
            expected,
            prefix_unknown: false,
        });
    }

    /// Whether others should have seen the version that was read.
    fn judge(&mut self, own: u32, mops: &[Mop], place: usize, version: Version) {
        let key = mops[place].key();
        let Some(element) = self.versions.value(version) else { return };
        let Some(write) = self.writes.find(key, element) else { return };
        let write = *self.writes.get(write);
        if write.transaction == own {
            let is_it = |mop: &Mop| mop.key() == key && mop.written() == Some(element);
            if !mops[..place].iter().any(is_it) {
                let transaction = TransactionId(own);
                let case = || Case::FutureRead { transaction, key, element };
                self.findings.add(Anomaly::FutureRead, case);
            }
            return;
        }
        let (reader, writer) = (TransactionId(own), Some(TransactionId(write.transaction)));
        let case = || Case::Read { reader, writer, key, element };
        if !write.is_possible() {
            self.findings.add(Anomaly::G1a, case);
        }
        if !write.is_final {
            self.findings.add(Anomaly::G1b, case);
        }
    }
}

/// Finds versions that several have read and then written over.
fn find_lost_updates(touches: &[Touch], versions: &Versions<'_>, findings: &mut Findings) {
    let update = |touch: &Touch| touch.wrote.and(touch.read).map(|read| (read, touch.transaction));
    let mut updates: Vec<(Version, u32)> = touches.iter().filter_map(update).collect();
    updates.sort_unstable();
    for same in updates.chunk_by(|one, other| one.0 == other.0).filter(|same| same.len() > 1) {
        let version = same[0].0;
        findings.add(Anomaly::LostUpdate, || Case::LostUpdate {
            key: versions.key(version),
            version: versions.value(version).into_iter().collect(),
            transactions: same.iter().map(|(_, own)| TransactionId(*own)).collect(),
        });
    }
}
