//! What the calls that are left need of the states, in a closed automaton.
//!
//! A state that a call left requires must be reached once more, unless it is there already; and
//! some call left must be able to bring it, early enough. So a search sees at once that a state
//! may not be left yet, where it would otherwise find out after trying every way to go on.

use super::automaton::{Class, StateId};
use super::model::{Guard, Model};
use super::numbers::{narrow, wide};
use super::problem::Problem;
use super::window::Window;

/// Requirements and supplies of every state.
pub(crate) struct Needs {
    /// Calls that require a state, by their return.
    readers: Queues,
    /// Calls that leave a state, by their invocation.
    writers: Queues,
    /// Classes of unknown outcome that leave a state.
    unknown_writers: Queues,
    /// Whether a class of unknown outcome requires the state.
    is_of_use: Vec<bool>,
    refused: Refused,
}

impl Needs {
    /// Of all calls of a problem whose automaton is closed.
    pub(crate) fn new<M: Model>(problem: &Problem<'_, M>) -> Needs {
        let states = problem.automaton.states();
        let class_of = |call: u32| problem.automaton.known(problem.known[wide(call)].class);
        let mut calls: Vec<u32> = (0..narrow(problem.known.len())).collect();
        let leaves = |call: u32| class_of(call).leaves();
        let writers = Queues::new(states, &calls, leaves);
        calls.sort_unstable_by_key(|call| problem.known[wide(*call)].returned);
        let requires = |call: u32| class_of(call).requires();
        let readers = Queues::new(states, &calls, requires);
        let mut refused = Refused { by_state: vec![0; states], all: 0 };
        for call in &calls {
            refused.add(class_of(*call));
        }
        let mut is_of_use = vec![false; states];
        for unknown in &problem.unknown {
            let class = problem.automaton.known(unknown.class);
            if let Some(state) = class.requires() {
                is_of_use[state.index()] = true;
            }
            refused.add(class);
        }
        let classes: Vec<u32> = (0..narrow(problem.unknown.len())).collect();
        let unknown_leaves =
            |index: u32| problem.automaton.known(problem.unknown[wide(index)].class).leaves();
        let unknown_writers = Queues::new(states, &classes, unknown_leaves);
        Needs { readers, writers, unknown_writers, is_of_use, refused }
    }

    /// A call has got its place.
    pub(crate) fn place(&mut self, class: Class) {
        if let Some(state) = class.requires() {
            self.readers.left[state.index()] -= 1;
        }
        self.refused.remove(class);
    }

    /// A call has lost its place.
    pub(crate) fn displace(&mut self, call: u32, class: Class) {
        if let Some(state) = class.requires() {
            self.readers.left[state.index()] += 1;
            self.readers.put_back(call, state);
        }
        if let Some(state) = class.leaves() {
            self.writers.put_back(call, state);
        }
        self.refused.add(class);
    }

    /// Whether `state` can be left for `after`: nobody requires it any more, or it can be had again in
    /// time.
    pub(crate) fn may_leave<M: Model>(
        &mut self,
        (state, after): (StateId, StateId),
        window: &Window,
        used: &[u32],
        problem: &Problem<'_, M>,
    ) -> bool {
        let Some(reader) = self.readers.first(state, window) else { return true };
        let deadline = problem.known[wide(reader)].returned;
        let have = Have { window, used, problem, deadline };
        if have.known(&mut self.writers, state) {
            return true;
        }
        let unknown_writers = &self.unknown_writers;
        unknown_writers.of(state).iter().any(|&index| {
            let class = problem.automaton.known(problem.unknown[wide(index)].class);
            have.unknown(index)
                && class.requires().is_none_or(|before| {
                    before == after
                        || have.known(&mut self.writers, before)
                        || unknown_writers.of(before).iter().any(|index| have.unknown(*index))
                })
        })
    }

    /// Whether a call left requires `state`, or can make use of it.
    pub(crate) fn is_read(&self, state: StateId) -> bool {
        self.readers.left[state.index()] > 0 || self.is_of_use[state.index()]
    }

    /// Whether a class writes over anything what no call left reads or is refused by.
    pub(crate) fn is_unread_write(&self, class: Class) -> bool {
        class.guard == Guard::Any
            && class.leaves().is_some_and(|state| !self.is_read(state) && !self.refuses(state))
    }

    /// Whether of the uses of a class only their number can matter from now on: nobody reads what it
    /// leaves, and if it can help to leave another state, then any other such write can as well.
    pub(crate) fn counts_by_number(&self, class: Class) -> bool {
        self.is_unread_write(class)
            || !self.is_any_refused() && class.leaves().is_some_and(|state| !self.is_read(state))
    }

    /// Whether there is a call left that some state refuses: then it can be of use to leave a state
    /// for any other.
    pub(crate) fn is_any_refused(&self) -> bool {
        self.refused.all > 0
    }

    /// Whether a call left is refused by `state`.
    fn refuses(&self, state: StateId) -> bool {
        self.refused.by_state[state.index()] > 0
    }

    /// Classes of unknown outcome that leave `state`.
    pub(crate) fn unknown_writers(&self, state: StateId) -> &[u32] {
        self.unknown_writers.of(state)
    }
}

/// Whether a state can be had before an event.
struct Have<'h, 'a, M: Model> {
    window: &'h Window,
    used: &'h [u32],
    problem: &'h Problem<'a, M>,
    deadline: u32,
}

impl<M: Model> Have<'_, '_, M> {
    /// Whether a call of known outcome that is left leaves it.
    fn known(&self, writers: &mut Queues, state: StateId) -> bool {
        let writer = writers.first(state, self.window);
        writer.is_some_and(|writer| self.problem.known[wide(writer)].invoked < self.deadline)
    }

    /// Whether a call of this class of unknown outcome is left.
    fn unknown(&self, index: u32) -> bool {
        let next = wide(self.used[wide(index)]);
        let invoked = self.problem.unknown[wide(index)].invoked.get(next);
        invoked.is_some_and(|invoked| *invoked <= self.deadline)
    }
}

/// Calls left that some state refuses, and classes of unknown outcome.
struct Refused {
    by_state: Vec<u32>,
    all: u32,
}

impl Refused {
    fn add(&mut self, class: Class) {
        if let Guard::Except(state) = class.guard {
            self.by_state[state.index()] += 1;
            self.all += 1;
        }
    }

    fn remove(&mut self, class: Class) {
        if let Guard::Except(state) = class.guard {
            self.by_state[state.index()] -= 1;
            self.all -= 1;
        }
    }
}

/// Calls by state, in some order, of which the first ones are taken away and put back.
struct Queues {
    items: Vec<u32>,
    /// For each state where its calls begin in `items`, and one more.
    begins: Vec<u32>,
    /// For each state, all before this one are taken away.
    heads: Vec<u32>,
    /// For each call its place in `items`.
    places: Vec<u32>,
    /// For each state how many are left.
    left: Vec<u32>,
}

impl Queues {
    fn new(states: usize, calls: &[u32], state_of: impl Fn(u32) -> Option<StateId>) -> Queues {
        let mut left = vec![0; states];
        for state in calls.iter().filter_map(|call| state_of(*call)) {
            left[state.index()] += 1;
        }
        let mut begins = Vec::with_capacity(states + 1);
        let mut end = 0;
        for count in &left {
            begins.push(end);
            end += count;
        }
        begins.push(end);
        let mut free = begins.clone();
        let mut items = vec![0; wide(end)];
        let mut places = vec![0; calls.len()];
        for &call in calls {
            if let Some(state) = state_of(call) {
                let place = free[state.index()];
                items[wide(place)] = call;
                places[wide(call)] = place;
                free[state.index()] += 1;
            }
        }
        let heads = begins[..states].to_vec();
        Queues { items, begins, heads, places, left }
    }

    fn of(&self, state: StateId) -> &[u32] {
        let index = state.index();
        &self.items[wide(self.begins[index])..wide(self.begins[index + 1])]
    }

    /// The first that has no place.
    fn first(&mut self, state: StateId, window: &Window) -> Option<u32> {
        let index = state.index();
        let end = self.begins[index + 1];
        let head = &mut self.heads[index];
        while *head < end && window.contains(self.items[wide(*head)]) {
            *head += 1;
        }
        (*head < end).then(|| self.items[wide(*head)])
    }

    fn put_back(&mut self, call: u32, state: StateId) {
        let head = &mut self.heads[state.index()];
        *head = (*head).min(self.places[wide(call)]);
    }
}
