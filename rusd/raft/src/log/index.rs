//! Where each entry stands, and its term.
//!
//! Four bytes per entry: per segment the offsets of a contiguous run of entries. Terms change
//! seldom, so they are kept as runs.
//!
//! Invariant: over the segments, runs follow each other without gaps from the first entry to the
//! last; a segment without entries may stand anywhere.

/// The runs of one log.
#[derive(Debug)]
pub(super) struct LogIndex {
    /// The entry before the first.
    base_index: u64,
    base_term: u64,
    runs: Vec<Run>,
    /// `(first index, term)`, both rising; each reaches to the next one's first index.
    terms: Vec<(u64, u64)>,
    last_index: u64,
}

#[derive(Debug, Default)]
struct Run {
    first_index: u64,
    offsets: Vec<u32>,
}

impl Run {
    /// The index after its last entry.
    fn end(&self) -> u64 {
        self.first_index + u64::try_from(self.offsets.len()).expect("a length fits u64")
    }
}

/// A place in the log's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the segment, counted from the oldest that is there.
    pub(super) segment: usize,
    /// Byte at which the frame begins.
    pub(super) offset: u32,
}

fn position(distance: u64) -> usize {
    usize::try_from(distance).expect("offsets of all entries are in memory")
}

impl LogIndex {
    /// A log without segments, whose first entry comes after `base`.
    pub(super) fn new(base_index: u64, base_term: u64) -> Self {
        Self { base_index, base_term, runs: Vec::new(), terms: Vec::new(), last_index: base_index }
    }

    /// A new segment begins; entries go there from now on.
    pub(super) fn push_segment(&mut self) {
        self.runs.push(Run { first_index: self.last_index + 1, offsets: Vec::new() });
    }

    /// Takes the entry that was written at `offset` of the newest segment.
    pub(super) fn push(&mut self, index: u64, term: u64, offset: u32) {
        assert!(
            index > self.base_index && index <= self.last_index + 1,
            "entry {index} does not continue a log of {}..={}",
            self.base_index + 1,
            self.last_index
        );
        self.truncate(index);
        let run = self.runs.last_mut().expect("there is a segment");
        run.offsets.push(offset);
        if self.terms.last().is_none_or(|(_, last)| *last != term) {
            self.terms.push((index, term));
        }
        self.last_index = index;
    }

    /// Drops the entries from `index` on.
    fn truncate(&mut self, index: u64) {
        if index > self.last_index {
            return;
        }
        for run in self.runs.iter_mut().rev() {
            let ends_before = run.end() <= index;
            run.offsets.truncate(position(index.saturating_sub(run.first_index)));
            run.first_index = run.first_index.min(index);
            if ends_before && !run.offsets.is_empty() {
                break;
            }
        }
        while self.terms.last().is_some_and(|(first, _)| *first >= index) {
            self.terms.pop();
        }
        self.last_index = index - 1;
    }

    /// Forgets all entries: the log goes on after `base`.
    pub(super) fn reset(&mut self, base_index: u64, base_term: u64) {
        for run in &mut self.runs {
            *run = Run { first_index: base_index + 1, offsets: Vec::new() };
        }
        self.terms.clear();
        self.base_index = base_index;
        self.base_term = base_term;
        self.last_index = base_index;
    }

    /// Entries up to `base` are no longer to be read.
    pub(super) fn raise_base(&mut self, base_index: u64, base_term: u64) {
        assert!(base_index >= self.base_index && base_index <= self.last_index);
        self.base_index = base_index;
        self.base_term = base_term;
    }

    /// How many of the oldest segments hold nothing but entries up to the base. Never the newest.
    pub(super) fn unneeded_segments(&self) -> usize {
        let older = &self.runs[..self.runs.len().saturating_sub(1)];
        older.iter().take_while(|run| run.end() <= self.base_index + 1).count()
    }

    /// The oldest segments are gone.
    pub(super) fn remove_segments(&mut self, count: usize) {
        assert!(count <= self.unneeded_segments(), "a segment with entries is removed");
        self.runs.drain(..count);
        let needed = self.terms.partition_point(|(first, _)| *first <= self.base_index + 1);
        self.terms.drain(..needed.saturating_sub(1));
    }

    /// The oldest entry that can be read.
    pub(super) fn first_index(&self) -> u64 {
        self.base_index + 1
    }

    /// The newest entry.
    pub(super) fn last_index(&self) -> u64 {
        self.last_index
    }

    /// The term of an entry or of the one before the first.
    pub(super) fn term(&self, index: u64) -> Option<u64> {
        if index == self.base_index {
            return Some(self.base_term);
        }
        if index < self.base_index || index > self.last_index {
            return None;
        }
        let after = self.terms.partition_point(|(first, _)| *first <= index);
        Some(self.terms[after - 1].1)
    }

    /// Where an entry stands.
    pub(super) fn place(&self, index: u64) -> Option<Place> {
        if index <= self.base_index || index > self.last_index {
            return None;
        }
        let segment = self.runs.partition_point(|run| run.first_index <= index) - 1;
        let run = &self.runs[segment];
        let offset = *run.offsets.get(position(index - run.first_index))?;
        Some(Place { segment, offset })
    }
}
