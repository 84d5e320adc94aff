//! The log in memory, for tests and simulation.
//!
//! Remembers separately what was synced, so that a simulated crash can lose the rest.

use rusd_proto::raftpb::Entry;

use crate::error::Fatal;
use crate::log::store::{LogStore, SnapshotMark};
use crate::types::{HardState, Index, Metadata, Term};

#[derive(Clone, Debug, Default, PartialEq)]
struct Content {
    /// The entry before the first.
    base: Index,
    base_term: Term,
    /// `entries[i]` has index `base + i + 1`.
    entries: Vec<Entry>,
    hard_state: HardState,
}

impl Content {
    /// Where the entry of an index stands, or would stand.
    fn position(&self, index: Index) -> usize {
        let distance = index.0.checked_sub(self.base.0 + 1).expect("the entry was not cut off");
        usize::try_from(distance).expect("a log in memory is small")
    }
}

/// A log that lives as long as the value.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    metadata: Metadata,
    content: Content,
    synced: Content,
}

impl MemoryLog {
    /// An empty log.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata, ..Self::default() }
    }

    /// What a crash of the machine leaves behind: the state at the last sync.
    #[must_use]
    pub fn crashed(&self) -> Self {
        Self { content: self.synced.clone(), ..self.clone() }
    }
}

impl LogStore for MemoryLog {
    fn metadata(&self) -> Metadata {
        self.metadata
    }

    fn hard_state(&self) -> HardState {
        self.content.hard_state
    }

    fn first_index(&self) -> Index {
        self.content.base.next()
    }

    fn last_index(&self) -> Index {
        self.content.entries.last().map_or(self.content.base, |entry| Index(entry.index()))
    }

    fn term(&self, index: Index) -> Option<Term> {
        let content = &self.content;
        if index <= content.base {
            return (index == content.base).then_some(content.base_term);
        }
        content.entries.get(content.position(index)).map(|entry| Term(entry.term()))
    }

    fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>, Fatal> {
        let content = &self.content;
        let range = &content.entries[content.position(low)..content.position(high)];
        let mut bytes = 0;
        let fits = range.iter().enumerate().take_while(|(i, entry)| {
            bytes += u64::try_from(entry.data().len()).expect("a length fits u64");
            *i == 0 || bytes <= bytes_max
        });
        Ok(fits.map(|(_, entry)| entry.clone()).collect())
    }

    fn append(&mut self, entries: &[Entry], hard_state: Option<HardState>) -> Result<(), Fatal> {
        for entry in entries {
            let kept = self.content.position(Index(entry.index()));
            assert!(kept <= self.content.entries.len(), "entries are appended without gaps");
            self.content.entries.truncate(kept);
            self.content.entries.push(entry.clone());
        }
        if let Some(hard_state) = hard_state {
            self.content.hard_state = hard_state;
        }
        Ok(())
    }

    fn append_mark(&mut self, mark: &SnapshotMark) -> Result<(), Fatal> {
        assert_eq!(self.term(mark.index), Some(mark.term), "the log holds what a mark tells");
        Ok(())
    }

    fn cut(&mut self, base: Index) -> Result<(), Fatal> {
        if base > self.content.base {
            let base_term = self.term(base).expect("the log is cut at an entry that it holds");
            let kept = self.content.entries.split_off(self.content.position(base) + 1);
            self.content = Content { base, base_term, entries: kept, ..self.content };
        }
        Ok(())
    }

    fn restart_after(&mut self, mark: &SnapshotMark, state: HardState) -> Result<(), Fatal> {
        self.content = Content {
            base: mark.index,
            base_term: mark.term,
            entries: Vec::new(),
            hard_state: state,
        };
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fatal> {
        // Entries below the common prefix are equal; copying all is good enough for tests.
        self.synced.clone_from(&self.content);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index: Some(index), term: Some(term), ..Default::default() }
    }

    #[test]
    fn crash_loses_exactly_what_was_not_synced() {
        let mut log = MemoryLog::default();
        log.append(&[entry(1, 1), entry(2, 1)], Some(HardState { term: 1, vote: 2, commit: 0 }))
            .unwrap();
        log.sync().unwrap();
        log.append(&[entry(2, 2)], Some(HardState { term: 2, vote: 0, commit: 1 })).unwrap();
        assert_eq!(log.term(Index(2)), Some(Term(2)));
        let log = log.crashed();
        assert_eq!(log.term(Index(2)), Some(Term(1)));
        assert_eq!(log.hard_state(), HardState { term: 1, vote: 2, commit: 0 });
    }
}
