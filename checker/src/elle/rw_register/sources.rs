//! What is known of the order of versions, source by source.

use super::mop::Mop;
use super::touches::Touch;
use super::versions::{Version, Versions};
use crate::elle::anomaly::Anomaly;
use crate::elle::graph::{Builder, Label};
use crate::elle::numbering::at;
use crate::elle::options::KeyOrder;
use crate::elle::order;
use crate::elle::report::{Case, Findings, Source};
use crate::elle::scc;
use crate::elle::transaction::{Key, Transaction};

/// A version, and one that comes after it.
pub(super) type Pair = (Version, Version);

/// What there is to learn the order of versions from.
pub(super) struct Sources<'a> {
    pub(super) transactions: &'a [Transaction<Mop>],
    pub(super) versions: &'a Versions<'a>,
    pub(super) touches: &'a [Touch],
    pub(super) keys: KeyOrder,
}

impl Sources<'_> {
    /// All pairs that are known, sorted, without those from a source that contradicts the earlier ones
    /// on a key: that is noted as an anomaly.
    pub(super) fn pairs(&self, findings: &mut Findings) -> Vec<Pair> {
        let mut pairs = self.of(Source::InitialState);
        let mut sources = vec![Source::InitialState];
        for version in self.versions.contradicted() {
            findings.add(Anomaly::CyclicVersions, || Case::CyclicVersions {
                key: self.versions.key(*version),
                versions: vec![self.versions.value(*version)],
                sources: vec![Source::ModRevision],
            });
        }
        for source in self.asked() {
            let more = self.of(source);
            if more.is_empty() {
                continue;
            }
            sources.push(source);
            let cyclic = self.cyclic(&pairs, &more, &sources, findings);
            if !cyclic.is_empty() {
                sources.pop();
            }
            pairs.extend(
                more.into_iter()
                    .filter(|pair| cyclic.binary_search(&self.versions.key(pair.0)).is_err()),
            );
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    fn asked(&self) -> Vec<Source> {
        let asked = [
            (true, Source::ModRevision),
            (self.keys.writes_follow_reads, Source::WritesFollowReads),
            (self.keys.sequential, Source::SequentialKeys),
            (self.keys.linearizable, Source::LinearizableKeys),
        ];
        asked.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, source)| source).collect()
    }

    fn of(&self, source: Source) -> Vec<Pair> {
        match source {
            Source::InitialState => self
                .versions
                .all()
                .map(|version| (self.versions.initial(version), version))
                .collect(),
            Source::ModRevision => self.by_revision(),
            Source::WritesFollowReads => {
                let read_and_wrote = |touch: &Touch| touch.read.zip(touch.wrote);
                self.touches
                    .iter()
                    .filter_map(read_and_wrote)
                    .filter(|pair| pair.0 != pair.1)
                    .collect()
            }
            Source::SequentialKeys => self.of_each_key(Self::by_process),
            Source::LinearizableKeys => self.of_each_key(Self::by_time),
        }
    }

    /// Versions of a key in the order of their revisions. If two have the same, each is before the
    /// other.
    fn by_revision(&self) -> Vec<Pair> {
        let told = |version: Version| {
            let revision = self.versions.revision(version)?;
            Some((self.versions.key(version), revision, version))
        };
        let mut told: Vec<(Key, u64, Version)> = self.versions.all().filter_map(told).collect();
        told.sort_unstable();
        let mut pairs = Vec::with_capacity(told.len());
        for pair in told.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            pairs.push((pair[0].2, pair[1].2));
            if pair[0].1 == pair[1].1 {
                pairs.push((pair[1].2, pair[0].2));
            }
        }
        pairs
    }

    fn of_each_key(&self, pairs: impl Fn(&Self, &[Touch], &mut Vec<Pair>)) -> Vec<Pair> {
        let mut all = Vec::new();
        for touches in self.touches.chunk_by(|one, other| one.key == other.key) {
            pairs(self, touches, &mut all);
        }
        all
    }

    /// Each process sees the versions of a key in order.
    fn by_process(&self, touches: &[Touch], pairs: &mut Vec<Pair>) {
        let own = |touch: &Touch| &self.transactions[at(touch.transaction)];
        let mut in_order: Vec<&Touch> = touches.iter().collect();
        in_order.sort_by_key(|touch| (own(touch).process, own(touch).invoked));
        for pair in in_order.windows(2) {
            let is_same = own(pair[0]).process == own(pair[1]).process;
            if is_same && own(pair[0]).is_committed() {
                follow(pair[0], pair[1], pairs);
            }
        }
    }

    /// All see the versions of a key in order. To each it is enough to pair the latest that had ended
    /// before: what had ended before those is paired with them.
    fn by_time(&self, touches: &[Touch], pairs: &mut Vec<Pair>) {
        let own = |touch: usize| &self.transactions[at(touches[touch].transaction)];
        let mut ended: Vec<usize> = Vec::new();
        let numbered =
            (0..).zip(touches.iter().map(|touch| &self.transactions[at(touch.transaction)]));
        for event in order::events(numbered) {
            let touch = at(event.transaction);
            if event.is_return {
                let is_latest =
                    |earlier: &usize| own(*earlier).committed_at() >= Some(own(touch).invoked);
                ended.retain(is_latest);
                ended.push(touch);
            } else {
                for earlier in &ended {
                    follow(&touches[*earlier], &touches[touch], pairs);
                }
            }
        }
    }

    /// Keys whose versions have no order if `more` is true beside `pairs`; sorted.
    fn cyclic(
        &self,
        pairs: &[Pair],
        more: &[Pair],
        sources: &[Source],
        findings: &mut Findings,
    ) -> Vec<Key> {
        let mut builder = Builder::new(self.versions.len());
        for (before, after) in pairs.iter().chain(more) {
            builder.link(*before, *after, Label::Ww);
        }
        let mut cycles: Vec<Vec<Version>> = Vec::new();
        scc::components(&builder.build(), &mut |members| {
            if members.len() > 1 {
                cycles.push(members.to_vec());
            }
        });
        let mut keys = Vec::new();
        for mut members in cycles {
            members.sort_unstable();
            let key = self.versions.key(members[0]);
            keys.push(key);
            let versions = members.iter().map(|version| self.versions.value(*version)).collect();
            let sources = sources.to_vec();
            findings.add(Anomaly::CyclicVersions, || Case::CyclicVersions {
                key,
                versions,
                sources,
            });
        }
        keys.sort_unstable();
        keys
    }
}

/// What the first left comes before what the second saw or made first.
fn follow(first: &Touch, second: &Touch, pairs: &mut Vec<Pair>) {
    if let (Some(before), Some(after)) = (first.last(), second.first())
        && before != after
    {
        pairs.push((before, after));
    }
}
