//! How far a search came before it found that there is no order: what it has to tell.
//!
//! At a dead end the call that is due cannot get its place. The dead ends with the latest due call
//! are the ones to show: that call has no place whatever is done, and the states of these dead ends
//! are all that the object can have been in when it returned.

use super::automaton::StateId;
use super::wgl::Mark;

/// States that are kept.
const STATES_MAX: usize = 8;

/// The dead ends with the latest due call.
#[derive(Debug, Clone)]
pub(crate) struct Furthest {
    /// The return of that call.
    due: u32,
    states: Vec<StateId>,
    /// The way to the first of them.
    trail: Vec<Mark>,
    /// Up to here the search's own trail has been the same ever since.
    same: usize,
}

impl Furthest {
    /// None yet.
    pub(super) fn new() -> Furthest {
        Furthest { due: 0, states: Vec::new(), trail: Vec::new(), same: 0 }
    }

    /// The search went back to where its trail had this length.
    pub(super) fn went_back(&mut self, length: usize) {
        self.same = self.same.min(length);
    }

    /// A configuration has been given up in which this return was due.
    pub(super) fn note(&mut self, due: u32, state: StateId, trail: &[Mark]) {
        if due > self.due {
            self.due = due;
            self.states.clear();
            self.trail.truncate(self.same);
            self.trail.extend_from_slice(&trail[self.same..]);
            self.same = trail.len();
        }
        if due == self.due && self.states.len() < STATES_MAX && !self.states.contains(&state) {
            self.states.push(state);
        }
    }

    /// The return of the call that has no place; 0 if there was no dead end.
    pub(crate) fn due(&self) -> u32 {
        self.due
    }

    /// The states of the dead ends, that of the first one first.
    pub(crate) fn states(&self) -> &[StateId] {
        &self.states
    }

    /// The way to the first dead end.
    pub(super) fn trail(&self) -> &[Mark] {
        &self.trail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_latest_dead_end_is_kept() {
        let state = StateId::INITIAL;
        let way = |calls: &[u32]| calls.iter().map(|call| Mark::Placed(*call)).collect::<Vec<_>>();
        let mut furthest = Furthest::new();
        furthest.note(7, state, &way(&[0, 1, 2]));
        furthest.went_back(1);
        furthest.note(5, state, &way(&[0, 3]));
        assert_eq!(furthest.trail(), way(&[0, 1, 2]));
        furthest.went_back(2);
        furthest.note(9, state, &way(&[0, 3, 4, 5]));
        assert_eq!((furthest.due(), furthest.trail()), (9, way(&[0, 3, 4, 5]).as_slice()));
        assert_eq!(furthest.states(), [state]);
    }
}
