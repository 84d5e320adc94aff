//! What a watch has received and not yet told: responses with events that go into the history in
//! short, many in a record.
//!
//! Bounded by [`EVENTS_MAX`] and one response.

use std::time::Duration;

use rusd_checker::history::digests::{Brief, Digests, digest};
use rusd_checker::history::record::{Event, WatchBody};

use crate::clock::nanos;

/// Events that are held back at most; a response is not divided.
const EVENTS_MAX: usize = 1_000;
/// The oldest of them has arrived so long ago at most when the next response arrives.
const AGE_MAX: Duration = Duration::from_secs(1);

/// Responses that are held back.
#[derive(Debug, Default)]
pub(super) struct Short {
    responses: Vec<Brief>,
    events: usize,
    first_ns: u64,
    last_ns: u64,
}

/// What is to be recorded of them.
#[derive(Debug)]
pub(super) struct Told {
    /// When the last of them arrived.
    pub(super) arrived_ns: u64,
    /// Revision of the last header.
    pub(super) revision: i64,
    /// The responses.
    pub(super) body: WatchBody,
}

impl Short {
    /// Takes a response. Returns what is to be recorded, when it is time to.
    pub(super) fn take(
        &mut self,
        revision: i64,
        events: &[Event],
        fragment: bool,
        arrived_ns: u64,
    ) -> Option<Told> {
        if self.responses.is_empty() {
            self.first_ns = arrived_ns;
        }
        let events: Vec<_> =
            events.iter().map(|event| (event.kv.mod_revision, digest(event))).collect();
        self.events += events.len();
        self.last_ns = arrived_ns;
        self.responses.push(Brief { revision, events, fragment });
        let is_old = arrived_ns - self.first_ns >= nanos(AGE_MAX);
        if self.events >= EVENTS_MAX || is_old { self.tell() } else { None }
    }

    /// All that was held back; `None` if there is nothing.
    pub(super) fn tell(&mut self) -> Option<Told> {
        let Short { responses, last_ns, .. } = std::mem::take(self);
        let revision = responses.last()?.revision;
        let body = WatchBody::Digests(Digests::new(&responses));
        Some(Told { arrived_ns: last_ns, revision, body })
    }
}

#[cfg(test)]
mod tests {
    use rusd_checker::history::record::{EventKind, KeyValue};

    use super::*;

    fn event(mod_revision: i64) -> Event {
        let kv = KeyValue { mod_revision, ..KeyValue::default() };
        Event { kind: EventKind::Put, kv, prev_kv: None }
    }

    fn count(told: Option<Told>) -> Option<usize> {
        match told?.body {
            WatchBody::Digests(digests) => Some(digests.count()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn many_events_are_told_at_once() {
        let mut short = Short::default();
        let many: Vec<Event> = (2..=EVENTS_MAX.try_into().unwrap()).map(event).collect();
        assert_eq!(count(short.take(2_000, &many, false, 5)), None);
        assert_eq!(count(short.take(2_000, &[event(2_000)], false, 6)), Some(EVENTS_MAX));
        assert_eq!(count(short.tell()), None);
    }

    #[test]
    fn nothing_is_held_back_for_long() {
        let mut short = Short::default();
        assert_eq!(count(short.take(2, &[event(2)], false, 7)), None);
        let told = short.take(3, &[event(3)], false, 7 + nanos(AGE_MAX)).unwrap();
        assert_eq!((told.revision, told.arrived_ns), (3, 7 + nanos(AGE_MAX)));
        assert_eq!(count(Some(told)), Some(2));
    }
}
