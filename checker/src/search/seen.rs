//! The configurations that a search has been in.
//!
//! A configuration is which calls have their place, the state, and how many calls of unknown
//! outcome were used of each class. One with the same calls and state that used no more of any
//! class can do whatever this one can; so this one need not be looked at, though it is another.

use std::hash::{BuildHasher as _, Hasher as _};

use hashbrown::DefaultHashBuilder;
use hashbrown::hash_table::{Entry, HashTable};

use super::automaton::StateId;
use super::numbers::{narrow, wide};

/// How many calls of a class of unknown outcome were used.
pub(crate) type Use = (u32, u32);

/// The calls that have their place, and the state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'w> {
    /// Which word of the window is the first of `words`.
    pub(crate) from: usize,
    /// The words in question.
    pub(crate) words: &'w [u64],
    /// The state.
    pub(crate) state: StateId,
}

struct Remembered {
    hash: u64,
    from: u32,
    state: StateId,
    words: Slice,
    uses: Slice,
    /// The one with the same calls and state that was remembered before.
    older: Option<u32>,
}

#[derive(Clone, Copy)]
struct Slice {
    start: usize,
    end: usize,
}

/// What a search remembers.
pub(crate) struct Seen {
    /// The newest for each set of calls and state.
    newest: HashTable<u32>,
    remembered: Vec<Remembered>,
    words: Vec<u64>,
    uses: Vec<Use>,
    hasher: DefaultHashBuilder,
}

impl Seen {
    /// Nothing.
    pub(crate) fn new() -> Seen {
        Seen {
            newest: HashTable::new(),
            remembered: Vec::new(),
            words: Vec::new(),
            uses: Vec::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.newest.clear();
        self.remembered.clear();
        self.words.clear();
        self.uses.clear();
    }

    /// Remembers a configuration; false if one that can do all it can is remembered already.
    /// `uses` is ascending by class, without classes that were not used.
    pub(crate) fn remember(&mut self, place: Place<'_>, uses: &[Use]) -> bool {
        let hash = self.hash(place);
        let Seen { newest, remembered, words, .. } = self;
        let is_same = |number: &u32| {
            let other = &remembered[wide(*number)];
            other.hash == hash
                && other.state == place.state
                && wide(other.from) == place.from
                && words[other.words.start..other.words.end] == *place.words
        };
        let number = narrow(remembered.len());
        let hash_of = |number: &u32| remembered[wide(*number)].hash;
        let (older, shared) = match newest.entry(hash, is_same, hash_of) {
            Entry::Occupied(mut found) => {
                let older = *found.get();
                if covers(remembered, &self.uses, older, uses) {
                    return false;
                }
                *found.get_mut() = number;
                (Some(older), Some(remembered[wide(older)].words))
            }
            Entry::Vacant(free) => {
                free.insert(number);
                (None, None)
            }
        };
        let words = shared.unwrap_or_else(|| append(words, place.words));
        let uses = append(&mut self.uses, uses);
        let from = narrow(place.from);
        remembered.push(Remembered { hash, from, state: place.state, words, uses, older });
        true
    }

    fn hash(&self, place: Place<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_usize(place.from);
        hasher.write_usize(place.state.index());
        for word in place.words {
            hasher.write_u64(*word);
        }
        hasher.finish()
    }
}

/// Whether the configuration `number`, or an older one with the same calls and state, used no more
/// than `uses` of any class.
fn covers(remembered: &[Remembered], all: &[Use], number: u32, uses: &[Use]) -> bool {
    let mut next = Some(number);
    while let Some(number) = next {
        let other = &remembered[wide(number)];
        if is_within(&all[other.uses.start..other.uses.end], uses) {
            return true;
        }
        next = other.older;
    }
    false
}

/// Whether `less` has no more of any class than `more`.
fn is_within(less: &[Use], more: &[Use]) -> bool {
    let mut more = more.iter();
    less.iter().all(|(class, count)| {
        more.by_ref()
            .find(|(other, _)| other >= class)
            .is_some_and(|(other, has)| other == class && count <= has)
    })
}

fn append<T: Copy>(all: &mut Vec<T>, some: &[T]) -> Slice {
    let start = all.len();
    all.extend_from_slice(some);
    Slice { start, end: all.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(words: &[u64], from: usize) -> Place<'_> {
        let state = StateId::INITIAL;
        Place { from, words, state }
    }

    #[test]
    fn what_used_more_is_covered_by_what_used_less() {
        let mut seen = Seen::new();
        let here = [0b101];
        assert!(seen.remember(place(&here, 1), &[(2, 1), (5, 2)]));
        assert!(!seen.remember(place(&here, 1), &[(2, 1), (5, 2)]));
        assert!(!seen.remember(place(&here, 1), &[(1, 1), (2, 3), (5, 2), (9, 1)]));
        assert!(seen.remember(place(&here, 1), &[(5, 4)]), "none of 2, so more of 5 may be had");
        assert!(seen.remember(place(&here, 1), &[(2, 2), (5, 1)]));
        assert!(!seen.remember(place(&here, 1), &[(2, 2), (4, 1), (5, 1)]));
        assert!(seen.remember(place(&here, 1), &[]));
        assert!(!seen.remember(place(&here, 1), &[(7, 1)]));
    }

    #[test]
    fn other_calls_or_another_offset_are_another_place() {
        let mut seen = Seen::new();
        assert!(seen.remember(place(&[1], 0), &[]));
        assert!(seen.remember(place(&[1], 1), &[]));
        assert!(seen.remember(place(&[1, 0], 0), &[]));
        assert!(seen.remember(place(&[3], 0), &[]));
        assert!(!seen.remember(place(&[3], 0), &[]));
        seen.clear();
        assert!(seen.remember(place(&[3], 0), &[]));
    }
}
