//! The check of a history of registers, from transactions to the answer.

use super::mop::Mop;
use super::sources::{Pair, Sources};
use super::touches::{self, Touch};
use super::versions::{Version, Versions};
use crate::elle::analysis::{self, Explain};
use crate::elle::anomaly::Anomaly;
use crate::elle::graph::{Builder, Label, Node};
use crate::elle::options::Options;
use crate::elle::report::{Case, Dependency, Findings, Report};
use crate::elle::transaction::{Transaction, TransactionId};
use crate::elle::writes::Writes;

/// Checks a history of transactions on registers, in all of which nothing is at first. A value that was
/// read and that nobody wrote is taken for one that was there before the history.
pub fn check(transactions: &[Transaction<Mop>], options: &Options) -> Report {
    let mut findings = Findings::new(options);
    let writes = Writes::collect(transactions);
    if let Some((key, element, writers)) = writes.duplicate() {
        let writers = writers.map(TransactionId);
        let case = || Case::DuplicateWrites { key, element, writers };
        findings.add(Anomaly::DuplicateWrites, case);
        return findings.report(options);
    }
    let versions = Versions::collect(transactions, &writes);
    let touches = touches::collect(transactions, &writes, &versions, &mut findings);
    let sources =
        Sources { transactions, versions: &versions, touches: &touches, keys: options.keys };
    let pairs = sources.pairs(&mut findings);
    let readers = readers(&touches);
    let mut builder = Builder::new(transactions.len());
    for (version, reader) in &readers {
        if let Some(maker) = versions.maker(*version) {
            builder.link(maker, *reader, Label::Wr);
        }
    }
    link_versions(&pairs, &versions, &readers, &mut builder);
    let reasons = Reasons { versions: &versions, touches: by_transaction(touches), pairs };
    analysis::conclude(transactions, builder, findings, &reasons, options)
}

/// Who read each version, seen from outside; sorted.
fn readers(touches: &[Touch]) -> Vec<(Version, Node)> {
    let read = |touch: &Touch| touch.read.map(|version| (version, touch.transaction));
    let mut readers: Vec<(Version, Node)> = touches.iter().filter_map(read).collect();
    readers.sort_unstable();
    readers
}

/// Adds a dependency of whoever made the second of a pair on whoever made or read the first.
fn link_versions(
    pairs: &[Pair],
    versions: &Versions<'_>,
    readers: &[(Version, Node)],
    builder: &mut Builder,
) {
    for pairs in pairs.chunk_by(|one, other| one.0 == other.0) {
        let before = pairs[0].0;
        let makers: Vec<Node> =
            pairs.iter().filter_map(|(_, after)| versions.maker(*after)).collect();
        if let Some(maker) = versions.maker(before) {
            builder.link_all(&[maker], &makers, Label::Ww);
        }
        let first = readers.partition_point(|(version, _)| *version < before);
        let own = readers[first..].iter().take_while(|(version, _)| *version == before);
        let own: Vec<Node> = own.map(|(_, reader)| *reader).collect();
        builder.link_all(&own, &makers, Label::Rw);
    }
}

/// The same touches, those of a transaction together.
fn by_transaction(mut touches: Vec<Touch>) -> Vec<Touch> {
    touches.sort_by_key(|touch| touch.transaction);
    touches
}

/// Finds again why an edge was added.
struct Reasons<'a> {
    versions: &'a Versions<'a>,
    /// Sorted by transaction.
    touches: Vec<Touch>,
    /// Sorted.
    pairs: Vec<Pair>,
}

impl Explain for Reasons<'_> {
    fn dependency(&self, from: Node, to: Node, label: Label) -> Option<Dependency> {
        self.touches(from).iter().find_map(|first| {
            let second = self.touches(to).iter().find(|second| second.key == first.key)?;
            let key = first.key;
            match label {
                Label::Wr => {
                    let version = self.made(first)?;
                    let value = self.versions.value(version)?;
                    (second.read == Some(version)).then_some(Dependency::Wr { key, value })
                }
                Label::Ww | Label::Rw => {
                    let before = if label == Label::Ww { self.made(first)? } else { first.read? };
                    let after = self.made(second)?;
                    self.pairs.binary_search(&(before, after)).ok()?;
                    let (value, next) = (self.versions.value(before), self.versions.value(after)?);
                    Some(match value {
                        Some(value) if label == Label::Ww => Dependency::Ww { key, value, next },
                        value => Dependency::Rw { key, value, next },
                    })
                }
                Label::Process | Label::Realtime | Label::Onward => None,
            }
        })
    }
}

impl Reasons<'_> {
    /// The touches of a transaction.
    fn touches(&self, transaction: Node) -> &[Touch] {
        let first = self.touches.partition_point(|touch| touch.transaction < transaction);
        let own = &self.touches[first..];
        &own[..own.partition_point(|touch| touch.transaction == transaction)]
    }

    /// The version that a touch made and that others could see.
    fn made(&self, touch: &Touch) -> Option<Version> {
        touch.wrote.filter(|version| self.versions.maker(*version) == Some(touch.transaction))
    }
}
