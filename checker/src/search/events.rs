//! The events that are left, as a doubly linked list.
//!
//! A call that a search has given its place is lifted out with both of its events, and put back
//! when the search goes back. Calls are put back in the reverse of the order in which they were
//! lifted; so an event that is out still knows its neighbours.

use super::numbers::{narrow, wide};
use super::problem::Known;

/// An event that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// This call is invoked.
    Invocation(u32),
    /// This call returns.
    Return(u32),
    /// There are no more.
    End,
}

/// What comes before the first event.
pub(crate) const HEAD: u32 = 0;

/// The events of the calls of known outcome that are left.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    next: Vec<u32>,
    previous: Vec<u32>,
    what: Vec<Event>,
}

impl Events {
    /// All events.
    pub(crate) fn new(known: &[Known]) -> Events {
        let last = narrow(2 * known.len());
        let mut what = vec![Event::End; wide(last) + 2];
        for (call, known) in (0..).zip(known) {
            what[wide(known.invoked)] = Event::Invocation(call);
            what[wide(known.returned)] = Event::Return(call);
        }
        let next = (1..=last + 1).chain([last + 1]).collect();
        let previous = [HEAD].into_iter().chain(0..=last).collect();
        Events { next, previous, what }
    }

    /// What an event is.
    pub(crate) fn what(&self, event: u32) -> Event {
        self.what[wide(event)]
    }

    /// The event after this one that is left.
    pub(crate) fn next(&self, event: u32) -> u32 {
        self.next[wide(event)]
    }

    /// The event before this one that is left.
    pub(crate) fn previous(&self, event: u32) -> u32 {
        self.previous[wide(event)]
    }

    /// Takes out the events of a call.
    pub(crate) fn lift(&mut self, call: Known) {
        for event in [call.invoked, call.returned] {
            let (next, previous) = (self.next(event), self.previous(event));
            self.next[wide(previous)] = next;
            self.previous[wide(next)] = previous;
        }
    }

    /// Puts back the events of the call that was lifted last.
    pub(crate) fn unlift(&mut self, call: Known) {
        for event in [call.returned, call.invoked] {
            let (next, previous) = (self.next(event), self.previous(event));
            self.next[wide(previous)] = event;
            self.previous[wide(next)] = event;
        }
    }
}
