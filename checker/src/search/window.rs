//! Which calls have their place: a bit set of which only the part in question is kept.
//!
//! Calls are numbered by their invocation. All before the first that has no place have one, and
//! none after the last invocation before the first return that is left can have one; so the words
//! in between say everything. A configuration of a long history is as small as of a short one.

use super::numbers::wide;

/// Calls that have their place.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    words: Vec<u64>,
    /// The first call without a place.
    first: usize,
}

impl Window {
    /// No call of `calls` has its place.
    pub(crate) fn new(calls: usize) -> Window {
        // One more, so that there always is a call without a place.
        Window { words: vec![0; calls / 64 + 1], first: 0 }
    }

    /// Whether a call has its place.
    pub(crate) fn contains(&self, call: u32) -> bool {
        let (word, bit) = split(call);
        self.words[word] & bit != 0
    }

    /// Gives a call its place.
    pub(crate) fn insert(&mut self, call: u32) {
        let (word, bit) = split(call);
        self.words[word] |= bit;
        while self.words[self.first / 64] >> (self.first % 64) & 1 == 1 {
            self.first += 1;
        }
    }

    /// Takes a call's place away.
    pub(crate) fn remove(&mut self, call: u32) {
        let (word, bit) = split(call);
        self.words[word] &= !bit;
        self.first = self.first.min(wide(call));
    }

    /// The first call that has no place.
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    /// The words from the first call without a place to before call `end`, and which word is the
    /// first of them. No call from `end` on has its place.
    pub(crate) fn words(&self, end: usize) -> (usize, &[u64]) {
        let from = self.first / 64;
        (from, &self.words[from..end.div_ceil(64).max(from)])
    }
}

fn split(call: u32) -> (usize, u64) {
    (wide(call) / 64, 1 << (call % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_in_question_are_told() {
        let mut window = Window::new(300);
        for call in (0..200).chain([202, 260]) {
            window.insert(call);
        }
        assert_eq!(window.first(), 200);
        let (from, words) = window.words(261);
        assert_eq!((from, words.len()), (3, 2));
        assert_eq!(words[1], 1 << 4);
        window.insert(200);
        window.insert(201);
        assert_eq!(window.first(), 203);
        window.remove(70);
        assert_eq!((window.first(), window.contains(70), window.contains(71)), (70, false, true));
    }

    #[test]
    fn the_end_is_no_call() {
        let mut window = Window::new(64);
        for call in 0..64 {
            window.insert(call);
        }
        assert_eq!(window.first(), 64);
        assert_eq!(window.words(64), (1, [].as_slice()));
    }
}
