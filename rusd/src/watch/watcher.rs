//! One watcher: what it owes its client next, and where that comes from.
//!
//! Invariant: every event that the watcher covers, from its start up to but not including `next`,
//! has been handed out exactly once, in order.

use rusd_state::event::{EntryKind, Event, Prev};
use rusd_state::view::EventScan;

use super::hub::{Delivery, Interest, Subscription};

/// So close behind the newest revision, a watcher joins the hub and reads the rest meanwhile.
/// Farther behind, what the hub would deliver would be thrown away.
const JOIN_DISTANCE: i64 = if cfg!(test) { 5 } else { 1000 };

/// What a client asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Puts are not wanted.
    pub(crate) no_put: bool,
    /// Deletes are not wanted.
    pub(crate) no_delete: bool,
    /// The value before each event is wanted.
    pub(crate) with_prev: bool,
    /// The client asked for this revision and later ones, and wants no word of earlier ones; 0 if
    /// it asked for what comes next.
    pub(crate) start_asked: i64,
}

impl Options {
    /// The client wants this event.
    pub(crate) fn wants(self, event: &Event) -> bool {
        match event.kind {
            EntryKind::Put => !self.no_put,
            EntryKind::Delete => !self.no_delete,
        }
    }
}

/// A watcher.
#[derive(Debug)]
pub(crate) struct Watcher {
    subscription: Subscription,
    options: Options,
    next: i64,
    state: State,
    /// Delivered, but later than was asked for. Invariant: of revision `next` or later.
    held: Option<Delivery>,
}

/// Where the next event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The history.
    Behind,
    /// The history up to this revision, then the hub.
    Joining {
        /// The last revision that the hub may not have delivered.
        until: i64,
    },
    /// The hub.
    Synced,
}

/// What [`Watcher::drain`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// All there was.
    Empty,
    /// All up to the revision asked for.
    Through,
    /// There may be more.
    Limited,
    /// The watcher needs the history.
    Behind,
}

impl Watcher {
    /// A watcher that hands out what happens from `start` on, up to `newest` from the history.
    pub(crate) fn new(
        subscription: Subscription,
        options: Options,
        start: i64,
        newest: i64,
    ) -> Self {
        let (next, state) = (start, State::Behind);
        let mut watcher = Watcher { subscription, options, next, state, held: None };
        watcher.maybe_join(newest);
        watcher
    }

    /// What the client asked for.
    pub(crate) fn options(&self) -> Options {
        self.options
    }

    /// What is watched.
    pub(crate) fn interest(&self) -> &Interest {
        self.subscription.interest()
    }

    /// The first revision not handed out.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// The hub's deliveries continue where the client is.
    pub(crate) fn is_synced(&self) -> bool {
        self.state == State::Synced
    }

    /// What comes next was delivered, and is later than `through`.
    pub(crate) fn holds_after(&self, through: i64) -> bool {
        self.held.as_ref().is_some_and(|held| held.events.revision > through)
    }

    /// Appends what the hub has delivered up to the revision `through`, at most `max` revisions.
    pub(crate) fn drain(&mut self, through: i64, max: usize, out: &mut Vec<Delivery>) -> Drained {
        self.subscription.unlist();
        if self.state != State::Synced {
            return Drained::Behind;
        }
        let mut taken = 0;
        while let Some(delivery) = self.held.take().or_else(|| self.subscription.next()) {
            let revision = delivery.events.revision;
            if revision < self.next {
                continue;
            }
            if revision > through {
                self.held = Some(delivery);
                return Drained::Through;
            }
            if self.options.with_prev && has_stored_prev(&delivery) {
                // The value before is only in the engine, and so is read with the history. All that
                // came before was handed on, however long ago: it may be compacted.
                self.next = revision;
                self.fall_behind();
                return Drained::Behind;
            }
            self.next = revision + 1;
            out.push(delivery);
            taken += 1;
            if taken == max {
                return Drained::Limited;
            }
        }
        if self.subscription.is_lost() {
            self.fall_behind();
            return Drained::Behind;
        }
        Drained::Empty
    }

    /// Appends what this watcher needs of a scan of the history from `from` on.
    pub(crate) fn feed(&mut self, from: i64, scan: &EventScan, out: &mut Vec<Delivery>) {
        let is_for_it = from <= self.next && self.next < scan.next_revision;
        if self.is_synced() || !is_for_it {
            return;
        }
        let fresh = scan.revisions.partition_point(|events| events.revision < self.next);
        for events in &scan.revisions[fresh..] {
            out.extend(Delivery::covered(events, self.interest()));
        }
        self.next = scan.next_revision;
        self.maybe_join(0);
    }

    fn fall_behind(&mut self) {
        self.subscription.lose();
        self.held = None;
        self.state = State::Behind;
        self.maybe_join(0);
    }

    /// Joins the hub if it is near, and reads the history at least up to `newest`.
    fn maybe_join(&mut self, newest: i64) {
        if self.state == State::Behind
            && self.next.saturating_add(JOIN_DISTANCE) >= self.subscription.dispatching()
        {
            self.state = State::Joining { until: self.subscription.join().max(newest) };
        }
        if let State::Joining { until } = self.state
            && self.next > until
        {
            self.state = State::Synced;
        }
    }
}

fn has_stored_prev(delivery: &Delivery) -> bool {
    let mut picks = delivery.picks.as_slice().iter();
    picks.any(|position| matches!(delivery.events.list[*position].prev, Prev::Stored(_)))
}
