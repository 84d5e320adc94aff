//! When each revision of the window can have been made, as far as the stream has told.
//!
//! As the timeline of a whole history has it, but kept up to date with every answer: an answer that
//! showed a revision was there before it returned, and one that did not show it was called before it
//! was made. The two meet if an operation that began after a revision had been seen does not see it.
//!
//! Invariant: `lower` and `upper` rise with the revision, and there is one bound beyond the newest
//! revision.

use std::collections::VecDeque;

use crate::verdict::Rule;

/// Who says that a revision was not made before its call, and the rule that breaks if it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) line: u64,
    pub(super) call_ns: u64,
    pub(super) rule: Rule,
}

/// Who has seen a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seer {
    pub(super) line: u64,
    pub(super) return_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Bound {
    lower: Caller,
    upper: Seer,
}

/// An operation that does not see a revision that had been seen before it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clash {
    pub(super) revision: i64,
    pub(super) seer: Seer,
    pub(super) caller: Caller,
}

/// The bounds of all revisions of the window.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Revision of the first bound.
    base: i64,
    bounds: VecDeque<Bound>,
}

const NOBODY: Caller = Caller { line: 0, call_ns: 0, rule: Rule::RealTimeOrder };
const NEVER: Seer = Seer { line: 0, return_ns: u64::MAX };

impl Bounds {
    /// Before the first operation.
    pub(super) fn new(first: i64) -> Bounds {
        let bound = Bound { lower: NOBODY, upper: NEVER };
        Bounds { base: first, bounds: VecDeque::from([bound, bound]) }
    }

    /// The newest revision that anything tells of.
    pub(super) fn newest(&self) -> i64 {
        self.base + wide(self.bounds.len()) - 2
    }

    /// Revisions up to this one are there.
    pub(super) fn extend(&mut self, newest: i64) {
        while self.newest() < newest {
            let lower = self.bounds.back().expect("never empty").lower;
            self.bounds.push_back(Bound { lower, upper: NEVER });
        }
    }

    /// Revisions from this one on were made after a call. What is before the window is lost.
    pub(super) fn not_before(&mut self, revision: i64, caller: Caller) -> Option<Clash> {
        let start = place(revision.max(self.base) - self.base);
        let mut clash = None;
        for (place, bound) in self.bounds.range_mut(start..).enumerate() {
            if bound.lower.call_ns >= caller.call_ns {
                break;
            }
            bound.lower = caller;
            if caller.call_ns > bound.upper.return_ns && clash.is_none() {
                let revision = self.base + wide(start + place);
                clash = Some(Clash { revision, seer: bound.upper, caller });
            }
        }
        clash
    }

    /// Revisions up to this one were made before a return.
    pub(super) fn not_after(&mut self, revision: i64, seer: Seer) -> Option<Clash> {
        let mut clash = None;
        for place in (0..=place((revision - self.base).max(-1) + 1)).rev().skip(1) {
            let bound = &mut self.bounds[place];
            if bound.upper.return_ns <= seer.return_ns {
                break;
            }
            bound.upper = seer;
            if bound.lower.call_ns > seer.return_ns && clash.is_none() {
                let revision = self.base + wide(place);
                clash = Some(Clash { revision, seer, caller: bound.lower });
            }
        }
        clash
    }

    /// The time before which a revision of the window was made.
    pub(super) fn upper_ns(&self, revision: i64) -> u64 {
        self.bounds[place(revision - self.base)].upper.return_ns
    }

    /// Lets go of revisions below this one, which is not beyond the newest.
    pub(super) fn forget(&mut self, base: i64) {
        let gone = place((base - self.base).max(0));
        self.bounds.drain(..gone);
        self.base += wide(gone);
    }

    pub(super) fn len(&self) -> usize {
        self.bounds.len()
    }
}

fn wide(count: usize) -> i64 {
    i64::try_from(count).expect("revisions of the window are few")
}

fn place(distance: i64) -> usize {
    usize::try_from(distance).expect("not below the window")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(call_ns: u64) -> Caller {
        Caller { line: call_ns, call_ns, rule: Rule::StaleRead }
    }

    fn seer(return_ns: u64) -> Seer {
        Seer { line: return_ns, return_ns }
    }

    #[test]
    fn an_operation_clashes_with_what_was_seen_before_it_whichever_comes_first() {
        for seen_first in [true, false] {
            let mut bounds = Bounds::new(1);
            bounds.extend(5);
            let mut clashes = Vec::new();
            for sees in [seen_first, !seen_first] {
                // Revision 4 was seen by 10; an answer called at 11 shows revision 2.
                clashes.push(if sees {
                    bounds.not_after(4, seer(10))
                } else {
                    bounds.not_before(3, caller(11))
                });
            }
            assert_eq!(clashes[0], None);
            let revision = if seen_first { 3 } else { 4 };
            let clash = Clash { revision, seer: seer(10), caller: caller(11) };
            assert_eq!(clashes[1], Some(clash), "seen first: {seen_first}");
        }
    }

    #[test]
    fn operations_at_one_time_do_not_clash() {
        let mut bounds = Bounds::new(1);
        bounds.extend(5);
        assert_eq!(bounds.not_after(4, seer(10)), None);
        assert_eq!(bounds.not_before(3, caller(10)), None, "called when it returned");
        assert_eq!(bounds.not_before(5, caller(90)), None, "above what was seen");
        bounds.extend(6);
        assert_eq!(bounds.not_after(6, seer(89)).map(|clash| clash.revision), Some(6));
    }

    #[test]
    fn what_left_the_window_still_clashes_where_that_is_certain() {
        let mut bounds = Bounds::new(1);
        bounds.extend(9);
        assert_eq!(bounds.not_after(9, seer(10)), None);
        bounds.forget(6);
        assert_eq!((bounds.len(), bounds.newest(), bounds.upper_ns(6)), (5, 9, 10));
        assert_eq!(bounds.not_after(3, seer(1)), None, "nothing is known of it");
        assert_eq!(bounds.not_before(3, caller(11)).map(|clash| clash.revision), Some(6));
    }
}
