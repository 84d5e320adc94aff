//! Which call a search tries next.
//!
//! Candidates have a rank and are tried in its order, each once per configuration. The lower the
//! rank, the likelier the call is what the history asks for: the due call itself, what leads to
//! the state that it requires, and only then anything else. The order is for speed alone: all
//! candidates have their turn before a configuration is given up.

use super::automaton::{Class, StateId};
use super::model::{Guard, Model};
use super::numbers::{narrow, wide};
use super::wgl::Search;

/// What a candidate does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// A call of known outcome gets its place.
    Place(u32),
    /// A call of this class of unknown outcome is used.
    Use(u32),
}

/// A call that may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    rank: Rank,
    pub(super) step: Move,
    /// The state that it leads to.
    pub(super) after: StateId,
}

/// The order of candidates: within a tier by how many steps at least are then left to what they are
/// tried for, and by a number that no other candidate of that kind has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(Tier, u32, u32);

impl Rank {
    /// Before any candidate.
    pub(super) const FIRST: Rank = Rank(Tier::None, 0, 0);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    /// No candidate.
    None,
    /// A write that nobody will read, in a state that nobody will read.
    Unread,
    /// It requires the state that is there.
    Fits,
    /// It leaves a state that can become what an open call reads, as the one that is there cannot.
    Begins,
    /// The same, of unknown outcome.
    UnknownBegins,
    /// What must come next at the latest.
    Due,
    /// It leads to the state that the due call requires, or away from the one that refuses it.
    Leads,
    /// The same, of unknown outcome.
    UnknownLeads,
    /// Any other.
    Other,
    /// Any other of unknown outcome.
    UnknownOther,
}

/// Memory that is used again and again.
pub(super) struct Scratch {
    /// For each state when it was last looked at.
    looked_at: Vec<u64>,
    now: u64,
    /// States to be reached, with the steps from there to what is wanted, the nearest first.
    states: Vec<(StateId, u32)>,
}

impl Scratch {
    /// For so many states, if they are all known from the beginning.
    pub(super) fn new(states: usize) -> Scratch {
        Scratch { looked_at: vec![0; states], now: 0, states: Vec::new() }
    }

    fn begin(&mut self) {
        self.now += 1;
        self.states.clear();
    }

    fn add(&mut self, state: StateId, distance: u32) {
        if self.looked_at[state.index()] != self.now {
            self.looked_at[state.index()] = self.now;
            self.states.push((state, distance));
        }
    }
}

/// The candidate of the lowest rank that has not been tried.
struct Best {
    tried: Rank,
    candidate: Option<Candidate>,
}

impl Best {
    fn offer(&mut self, candidate: Candidate) {
        let is_better = self.candidate.is_none_or(|best| candidate.rank < best.rank);
        if candidate.rank > self.tried && is_better {
            self.candidate = Some(candidate);
        }
    }
}

impl<M: Model> Search<'_, '_, M> {
    /// The next candidate, which is then counted as tried.
    pub(super) fn next_candidate(&mut self) -> Option<Candidate> {
        let (_, due) = self.due?;
        let tried = self.frame().tried;
        if tried.0 == Tier::Unread && self.is_without_choice() {
            return None;
        }
        let mut best = Best { tried, candidate: None };
        let out_of_reach = self.out_of_reach();
        self.offer_known(due, &out_of_reach, &mut best);
        let is_called_for = |best: &Best| best.candidate.is_some_and(|it| it.rank.0 <= Tier::Leads);
        if self.problem.unknown.is_empty() {
            // There is nothing else.
        } else if self.needs.is_some() {
            if !is_called_for(&best) {
                self.offer_unknown_for(due, &mut best);
            }
        } else if !is_called_for(&best) || !out_of_reach.is_empty() {
            self.offer_unknown(due, &out_of_reach, &mut best);
        }
        if let Some(candidate) = best.candidate {
            self.frame_mut().tried = candidate.rank;
        }
        best.candidate
    }

    /// After a write that nobody will read was tried in a state that nobody will read: whether no
    /// state refuses a call. Then it can come now, since a place later would do nothing else. So
    /// nothing else need be tried. (That the state is unread still holds: what has its place is as it
    /// was when the write was offered.)
    fn is_without_choice(&self) -> bool {
        self.needs.as_ref().is_some_and(|needs| !needs.is_any_refused())
    }

    fn required_by(&self, call: u32) -> Option<StateId> {
        match self.guard_of(call) {
            Guard::Only(state) => Some(state),
            Guard::Any | Guard::Except(_) | Guard::Opaque => None,
        }
    }

    fn guard_of(&self, call: u32) -> Guard<StateId> {
        self.problem.automaton.known(self.problem.known[wide(call)].class).guard
    }

    /// States that open calls read and the one that is there cannot become, where states grow.
    fn out_of_reach(&self) -> Vec<StateId> {
        if self.resets.is_none() {
            return Vec::new();
        }
        let automaton = &self.problem.automaton;
        let reads = self.pending.iter().filter_map(|call| {
            let class = automaton.known(self.problem.known[wide(*call)].class);
            class.requires().filter(|_| class.is_read_only())
        });
        reads.filter(|read| !automaton.may_grow(self.state, *read)).collect()
    }

    /// Whether what a class leaves can become one of these.
    fn begins(&self, class: Class, reads: &[StateId]) -> bool {
        let automaton = &self.problem.automaton;
        class
            .leaves()
            .is_some_and(|state| reads.iter().any(|read| automaton.may_grow(state, *read)))
    }

    fn offer_known(&mut self, due: u32, out_of_reach: &[StateId], best: &mut Best) {
        let wanted = self.required_by(due).filter(|state| *state != self.state);
        let is_refused = self.guard_of(due) == Guard::Except(self.state);
        let is_unread = self.needs.as_ref().is_some_and(|needs| !needs.is_read(self.state));
        for index in 0..self.pending.len() {
            let call = self.pending[index];
            let known = self.problem.known[wide(call)];
            let Some(after) = self.problem.automaton.step(self.state, known.class) else {
                continue;
            };
            let class = self.problem.automaton.known(known.class);
            let needs = self.needs.as_ref();
            let tier = if is_unread && needs.is_some_and(|needs| needs.is_unread_write(class)) {
                Tier::Unread
            } else if class.requires().is_some() {
                Tier::Fits
            } else if self.begins(class, out_of_reach) {
                Tier::Begins
            } else if call == due {
                Tier::Due
            } else if wanted == Some(after) || is_refused && after != self.state {
                Tier::Leads
            } else {
                Tier::Other
            };
            let rank = Rank(tier, 0, known.returned);
            let is_of_use = !self.frame().is_by_unknown || {
                let before = self.state_before();
                self.problem.automaton.step(before, known.class) != Some(after)
            };
            if is_of_use {
                best.offer(Candidate { rank, step: Move::Place(call), after });
            }
        }
    }

    /// Calls of unknown outcome, in an automaton of which not all states are known.
    fn offer_unknown(&mut self, due: u32, out_of_reach: &[StateId], best: &mut Best) {
        let wanted = self.required_by(due);
        for index in 0..narrow(self.problem.unknown.len()) {
            let class = self.problem.unknown[wide(index)].class;
            if !self.is_open(index) {
                continue;
            }
            let after = self.problem.automaton.step(self.state, class);
            if let Some(after) = after {
                let known = self.problem.automaton.known(class);
                let tier = if self.begins(known, out_of_reach) {
                    Tier::UnknownBegins
                } else if wanted == Some(after) {
                    Tier::UnknownLeads
                } else {
                    Tier::UnknownOther
                };
                self.offer_use(index, after, (tier, 0), best);
            }
        }
    }

    /// Calls of unknown outcome that lead to a state that a call which may come next requires, or
    /// to one that such a call of unknown outcome requires.
    fn offer_unknown_for(&mut self, due: u32, best: &mut Best) {
        self.scratch.begin();
        self.look_for(&[due], Tier::UnknownLeads, best);
        let pending = std::mem::take(&mut self.pending);
        self.look_for(&pending, Tier::UnknownOther, best);
        self.pending = pending;
    }

    fn look_for(&mut self, calls: &[u32], tier: Tier, best: &mut Best) {
        let from = self.scratch.states.len();
        let mut is_refused = false;
        for call in calls {
            let class = self.problem.automaton.known(self.problem.known[wide(*call)].class);
            match class.guard {
                Guard::Only(state) => self.scratch.add(state, 0),
                Guard::Except(state) => is_refused |= state == self.state,
                Guard::Any | Guard::Opaque => {}
            }
        }
        let mut next = from;
        while let Some(&(state, distance)) = self.scratch.states.get(next) {
            next += 1;
            let needs = self.needs.as_ref().expect("of a closed automaton");
            for place in 0..needs.unknown_writers(state).len() {
                let needs = self.needs.as_ref().expect("of a closed automaton");
                let index = needs.unknown_writers(state)[place];
                let class = self.problem.unknown[wide(index)].class;
                if !self.is_open(index) {
                    continue;
                }
                if let Some(after) = self.problem.automaton.step(self.state, class) {
                    self.offer_use(index, after, (tier, distance), best);
                    continue;
                }
                match self.problem.automaton.known(class).guard {
                    Guard::Only(before) => self.scratch.add(before, distance + 1),
                    Guard::Except(_) => is_refused = true,
                    Guard::Any | Guard::Opaque => {}
                }
            }
        }
        if is_refused {
            self.offer_other_states(tier, best);
        }
    }

    /// Calls of unknown outcome that lead to any other state; of those that write what nobody reads
    /// one will do.
    fn offer_other_states(&mut self, tier: Tier, best: &mut Best) {
        let mut has_unread = false;
        for index in 0..narrow(self.problem.unknown.len()) {
            let class = self.problem.unknown[wide(index)].class;
            if !self.is_open(index) {
                continue;
            }
            let Some(after) = self.problem.automaton.step(self.state, class) else { continue };
            let known = self.problem.automaton.known(class);
            let is_unread = self.needs.as_ref().is_some_and(|needs| needs.is_unread_write(known));
            if after != self.state && !(is_unread && has_unread) {
                self.offer_use(index, after, (tier, 0), best);
                has_unread |= is_unread;
            }
        }
    }

    /// Whether a call of the class was invoked before the due return, and not used.
    fn is_open(&self, index: u32) -> bool {
        let next = wide(self.uses.used()[wide(index)]);
        let invoked = self.problem.unknown[wide(index)].invoked.get(next);
        invoked.zip(self.due).is_some_and(|(invoked, (event, _))| *invoked <= event)
    }

    /// A use that leads to `after`, with so many steps left from there to what it is tried for.
    fn offer_use(
        &mut self,
        index: u32,
        after: StateId,
        (tier, distance): (Tier, u32),
        best: &mut Best,
    ) {
        if after == self.state {
            return;
        }
        let class = self.problem.unknown[wide(index)].class;
        if self.frame().is_by_unknown {
            let before = self.state_before();
            if self.problem.automaton.step(before, class) == Some(after) {
                return;
            }
        }
        best.offer(Candidate { rank: Rank(tier, distance, index), step: Move::Use(index), after });
    }
}
