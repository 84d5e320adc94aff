//! The log in memory, for tests and simulation.
//!
//! Remembers separately what was synced, so that a simulated crash can lose the rest.

use rusd_proto::raftpb::Entry;

use crate::error::Fatal;
use crate::log::store::LogStore;
use crate::types::{HardState, Index, Metadata, Term};

#[derive(Clone, Debug, Default, PartialEq)]
struct Content {
    /// `entries[i]` has index `i + 1`.
    entries: Vec<Entry>,
    hard_state: HardState,
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

fn position(index: Index) -> usize {
    usize::try_from(index.0).expect("a log in memory is small")
}

impl LogStore for MemoryLog {
    fn metadata(&self) -> Metadata {
        self.metadata
    }

    fn hard_state(&self) -> HardState {
        self.content.hard_state
    }

    fn first_index(&self) -> Index {
        Index(1)
    }

    fn last_index(&self) -> Index {
        Index(self.content.entries.last().map_or(0, Entry::index))
    }

    fn term(&self, index: Index) -> Option<Term> {
        if index == Index(0) {
            return Some(Term(0));
        }
        self.content.entries.get(position(index) - 1).map(|entry| Term(entry.term()))
    }

    fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>, Fatal> {
        let range = &self.content.entries[position(low) - 1..position(high) - 1];
        let mut bytes = 0;
        let fits = range.iter().enumerate().take_while(|(i, entry)| {
            bytes += u64::try_from(entry.data().len()).expect("a length fits u64");
            *i == 0 || bytes <= bytes_max
        });
        Ok(fits.map(|(_, entry)| entry.clone()).collect())
    }

    fn append(&mut self, entries: &[Entry], hard_state: Option<HardState>) -> Result<(), Fatal> {
        for entry in entries {
            let kept = position(Index(entry.index())) - 1;
            assert!(kept <= self.content.entries.len(), "entries are appended without gaps");
            self.content.entries.truncate(kept);
            self.content.entries.push(entry.clone());
        }
        if let Some(hard_state) = hard_state {
            self.content.hard_state = hard_state;
        }
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
