//! The check of a history of lists, from transactions to the answer.

use super::mop::Mop;
use super::reads::Reads;
use super::versions::Versions;
use crate::elle::analysis::{self, Explain};
use crate::elle::anomaly::Anomaly;
use crate::elle::graph::{Builder, Label, Node};
use crate::elle::numbering::at;
use crate::elle::options::Options;
use crate::elle::report::{Case, Dependency, Findings, Report};
use crate::elle::transaction::{MicroOp, Transaction, TransactionId};
use crate::elle::writes::Writes;

/// Checks a history of transactions on lists, all of which are empty at first.
pub fn check(transactions: &[Transaction<Mop>], options: &Options) -> Report {
    let mut findings = Findings::new(options);
    let writes = Writes::collect(transactions);
    if let Some((key, element, writers)) = writes.duplicate() {
        let writers = writers.map(TransactionId);
        let case = || Case::DuplicateWrites { key, element, writers };
        findings.add(Anomaly::DuplicateAppends, case);
        return findings.report(options);
    }
    let versions = Versions::collect(transactions, &writes);
    let mut builder = Builder::new(transactions.len());
    versions.link(&mut builder);
    versions.find_dirty_updates(&mut findings);
    Reads::new(transactions, &writes, &versions, &mut builder, &mut findings).judge();
    let reasons = Reasons { transactions, writes: &writes, versions: &versions };
    analysis::conclude(transactions, builder, findings, &reasons, options)
}

/// Finds again why an edge was added.
struct Reasons<'a> {
    transactions: &'a [Transaction<Mop>],
    writes: &'a Writes,
    versions: &'a Versions<'a>,
}

impl Explain for Reasons<'_> {
    fn dependency(&self, from: Node, to: Node, label: Label) -> Option<Dependency> {
        match label {
            Label::Ww => self.over_write(from, to),
            Label::Wr => self.read_of(from, to),
            Label::Rw => self.over_read(from, to),
            Label::Process | Label::Realtime | Label::Onward => None,
        }
    }
}

impl Reasons<'_> {
    fn mops(&self, transaction: Node) -> &[Mop] {
        &self.transactions[at(transaction)].mops
    }

    fn over_write(&self, from: Node, to: Node) -> Option<Dependency> {
        self.mops(to).iter().find_map(|mop| {
            let (key, next) = (mop.key(), mop.written()?);
            let write = self.writes.find(key, next)?;
            let before = self.writes.get(self.versions.write_before(key, write)?);
            (before.transaction == from).then_some(Dependency::Ww {
                key,
                value: before.element,
                next,
            })
        })
    }

    fn read_of(&self, from: Node, to: Node) -> Option<Dependency> {
        self.mops(to).iter().find_map(|mop| {
            let (key, value) = (mop.key(), *mop.list().last()?);
            let write = self.writes.get(self.writes.find(key, value)?);
            (write.transaction == from).then_some(Dependency::Wr { key, value })
        })
    }

    fn over_read(&self, from: Node, to: Node) -> Option<Dependency> {
        let mut reads = self.mops(from).iter().filter(|mop| matches!(mop, Mop::Read { .. }));
        reads.find_map(|mop| {
            let (key, list) = (mop.key(), mop.list());
            let version = self.versions.version(key, list)?;
            let own = |write: &usize| self.writes.get(*write).transaction == to;
            let next = match self.versions.write_after(key, version) {
                Some(next) => Some(next).filter(own),
                None => self.versions.unread(key).find(own),
            };
            let next = self.writes.get(next?).element;
            Some(Dependency::Rw { key, value: list.last().copied(), next })
        })
    }
}
