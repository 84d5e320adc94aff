//! One part of a history, made compact: what the engines work on.
//!
//! Calls of known outcome are ordered by their invocation and have a place in the list of events.
//! Calls of unknown outcome are kept by class: since none of them has to happen, those of a class
//! differ only in when they begin, and the earliest can stand for any other.

use super::automaton::{Automaton, ClassId, StateId};
use super::calls::Call;
use super::model::Model;
use super::numbers::{narrow, wide};

/// A call of known outcome. Events are numbered from 1 in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its class.
    pub(crate) class: ClassId,
    /// The event of its invocation.
    pub(crate) invoked: u32,
    /// The event of its return.
    pub(crate) returned: u32,
    /// Its place among the calls of the history.
    pub(crate) call: u32,
}

/// The calls of one class whose outcome is unknown, the earliest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// Their class.
    pub(crate) class: ClassId,
    /// For each the event before which it is invoked.
    pub(crate) invoked: Vec<u32>,
    /// Their places among the calls of the history.
    pub(crate) calls: Vec<u32>,
}

/// A part of a history, and the object it was done to.
pub(crate) struct Problem<'a, M: Model> {
    /// The object.
    pub(crate) automaton: Automaton<'a, M>,
    /// The state in which the history begins.
    pub(crate) initial: StateId,
    /// Calls of known outcome, by their invocation.
    pub(crate) known: Vec<Known>,
    /// Calls of unknown outcome that may change something, by class.
    pub(crate) unknown: Vec<Unknown>,
}

impl<'a, M: Model> Problem<'a, M> {
    /// The part of `calls` whose places are `members`.
    pub(crate) fn new(
        initial: &M,
        calls: &'a [Call<M::Op, M::Ret>],
        members: &[u32],
    ) -> Problem<'a, M> {
        let mut automaton = Automaton::new(initial);
        let mut known = Vec::with_capacity(members.len());
        let mut events = Vec::with_capacity(2 * members.len());
        let mut open = Vec::new();
        for &place in members {
            let call = &calls[wide(place)];
            match call.outcome() {
                Some((returned, ret)) => {
                    let class = automaton.class(&call.op, Some(ret));
                    events.push((call.invoked, narrow(known.len())));
                    events.push((returned, narrow(known.len())));
                    known.push(Known { class, invoked: 0, returned: 0, call: place });
                }
                None if M::is_read_only(&call.op, None) => {}
                None => open.push((call.invoked, place, automaton.class(&call.op, None))),
            }
        }
        let (replaced_by, initial) = automaton.settle();
        events.sort_unstable();
        for (event, (_, index)) in (1..).zip(&events) {
            let call = &mut known[wide(*index)];
            if call.invoked == 0 {
                call.invoked = event;
                call.class = replaced_by[call.class.index()];
            } else {
                call.returned = event;
            }
        }
        known.sort_unstable_by_key(|call| call.invoked);
        open.sort_unstable_by_key(|(invoked, ..)| *invoked);
        let mut unknown: Vec<Unknown> = Vec::new();
        let mut place_of = vec![None; automaton.classes()];
        for (invoked, place, class) in open {
            let class = replaced_by[class.index()];
            let index = *place_of[class.index()].get_or_insert_with(|| {
                unknown.push(Unknown { class, invoked: Vec::new(), calls: Vec::new() });
                unknown.len() - 1
            });
            let before = events.partition_point(|(position, _)| *position < invoked);
            unknown[index].invoked.push(narrow(before) + 1);
            unknown[index].calls.push(place);
        }
        Problem { automaton, initial, known, unknown }
    }

    /// The number of the last event.
    pub(crate) fn last_event(&self) -> u32 {
        narrow(2 * self.known.len())
    }
}
