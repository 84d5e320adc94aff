//! When each lease runs out, by this member's clock.
//!
//! Every member keeps the deadlines; only a leader acts on them. A new leader gives every lease its
//! whole time again, since it cannot know what its predecessor had renewed (etcd's
//! `lessor.Promote`), so a lease may live longer than promised, never shorter.
//!
//! A lease past its deadline is *expired* from then on, whether or not its revocation is in the log
//! already: it can no longer be renewed, or a client could be told that it lives while it is being
//! revoked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Time between two checkpoints of a lease, and the shortest time left that is worth one.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_mins(5);

/// Deadlines of leases.
#[derive(Debug, Default)]
pub struct LeaseClock {
    deadlines: Mutex<Deadlines>,
    /// Told when a lease is gone.
    revoked: Notify,
}

#[derive(Debug, Default)]
struct Deadlines {
    /// Term in which this member, as the leader, took the deadlines over. 0: it has not.
    promoted_term: u64,
    by_id: BTreeMap<i64, Deadline>,
    /// The same deadlines in order. Invariant: has exactly the entries of `by_id`.
    in_order: BTreeSet<(Instant, i64)>,
    /// When to note how much time is left, in order. Invariant: at most one entry for each of
    /// `by_id`, the one that stands there.
    checkpoints: BTreeSet<(Instant, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    ttl: Duration,
    /// What was left at the last checkpoint, which a new leader goes by.
    noted: Option<Duration>,
    checkpoint_at: Option<Instant>,
}

impl Deadline {
    /// What a new leader gives.
    fn time(&self) -> Duration {
        self.noted.unwrap_or(self.ttl)
    }

    fn expired(&self, now: Instant) -> LeaseState {
        LeaseState::Expired { overdue: now - self.at, ttl: self.ttl }
    }
}

/// What a clock knows of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// There is no such lease here.
    Unknown,
    /// Its time is over; its revocation is on the way.
    Expired {
        /// Time since then.
        overdue: Duration,
        /// Its whole time to live.
        ttl: Duration,
    },
    /// It lives.
    Alive {
        /// Time left.
        remaining: Duration,
        /// Its whole time to live.
        ttl: Duration,
    },
}

impl Deadlines {
    fn set(&mut self, id: i64, mut deadline: Deadline, now: Instant) {
        self.remove(id);
        deadline.checkpoint_at =
            (deadline.time() > CHECKPOINT_INTERVAL).then_some(now + CHECKPOINT_INTERVAL);
        self.in_order.insert((deadline.at, id));
        self.checkpoints.extend(deadline.checkpoint_at.map(|at| (at, id)));
        self.by_id.insert(id, deadline);
    }

    fn remove(&mut self, id: i64) {
        if let Some(deadline) = self.by_id.remove(&id) {
            self.in_order.remove(&(deadline.at, id));
            if let Some(at) = deadline.checkpoint_at {
                self.checkpoints.remove(&(at, id));
            }
        }
    }
}

impl LeaseClock {
    /// A lease was granted, here and now; or it is loaded, with the seconds that were left at its
    /// last checkpoint (0: it had none).
    pub fn granted(&self, id: i64, ttl_seconds: i64, noted_seconds: i64) {
        let now = Instant::now();
        let (ttl, noted) = (seconds(ttl_seconds), noted(noted_seconds));
        let mut deadline = Deadline { at: now, ttl, noted, checkpoint_at: None };
        deadline.at += deadline.time();
        self.deadlines.lock().set(id, deadline, now);
    }

    /// A lease is gone.
    pub fn revoked(&self, id: i64) {
        self.deadlines.lock().remove(id);
        self.revoked.notify_waiters();
    }

    /// The seconds left to leases were noted in the log (0: the whole time).
    pub fn checkpointed(&self, leases: &[(i64, i64)]) {
        let now = Instant::now();
        let mut deadlines = self.deadlines.lock();
        for (id, left) in leases {
            if let Some(deadline) = deadlines.by_id.get(id).copied() {
                deadlines.set(*id, Deadline { noted: noted(*left), ..deadline }, now);
            }
        }
    }

    /// This member became the leader of `term`: every lease gets its whole time again, or what was
    /// noted as left, and `extra`.
    pub fn promote(&self, term: u64, extra: Duration) {
        let now = Instant::now();
        let mut deadlines = self.deadlines.lock();
        deadlines.promoted_term = term;
        deadlines.in_order.clear();
        deadlines.checkpoints.clear();
        for (id, deadline) in std::mem::take(&mut deadlines.by_id) {
            let at = now + deadline.time() + extra;
            deadlines.set(id, Deadline { at, ..deadline }, now);
        }
    }

    /// The term in which this member took the deadlines over as the leader.
    pub fn promoted_term(&self) -> u64 {
        self.deadlines.lock().promoted_term
    }

    /// What is known of a lease.
    pub fn state(&self, id: i64) -> LeaseState {
        let now = Instant::now();
        match self.deadlines.lock().by_id.get(&id) {
            None => LeaseState::Unknown,
            Some(deadline) if deadline.at <= now => deadline.expired(now),
            Some(Deadline { at, ttl, .. }) => LeaseState::Alive { remaining: *at - now, ttl: *ttl },
        }
    }

    /// Gives a living lease its whole time again.
    pub fn renew(&self, id: i64) -> LeaseState {
        let now = Instant::now();
        let mut deadlines = self.deadlines.lock();
        match deadlines.by_id.get(&id).copied() {
            None => LeaseState::Unknown,
            Some(deadline) if deadline.at <= now => deadline.expired(now),
            Some(deadline) => {
                let ttl = deadline.ttl;
                deadlines.set(id, Deadline { at: now + ttl, ..deadline }, now);
                LeaseState::Alive { remaining: ttl, ttl }
            }
        }
    }

    /// Leases whose time is over, longest first, at most `max`.
    pub fn expired(&self, max: usize) -> Vec<i64> {
        let now = Instant::now();
        let deadlines = self.deadlines.lock();
        let over = deadlines.in_order.iter().take_while(|(at, _)| *at <= now);
        over.take(max).map(|(_, id)| *id).collect()
    }

    /// Ids of all leases, the one that ends first first.
    pub fn ids(&self) -> Vec<i64> {
        self.deadlines.lock().in_order.iter().map(|(_, id)| *id).collect()
    }

    /// A checkpoint of the lease is in the log, and would outlive its renewal.
    pub fn is_noted(&self, id: i64) -> bool {
        self.deadlines.lock().by_id.get(&id).is_some_and(|deadline| deadline.noted.is_some())
    }

    /// Leases of which it is time to note the seconds left, with those, at most `max`. Each is told
    /// once, and again after another interval.
    pub fn due_checkpoints(&self, now: Instant, max: usize) -> Vec<(i64, i64)> {
        let mut deadlines = self.deadlines.lock();
        let mut due = Vec::new();
        while due.len() < max
            && let Some((_, id)) =
                deadlines.checkpoints.first().filter(|(at, _)| *at <= now).copied()
        {
            let deadline = deadlines.by_id[&id];
            deadlines.set(id, deadline, now);
            let left = deadline.at.saturating_duration_since(now);
            if left > Duration::ZERO && left < deadline.ttl {
                due.push((id, i64::try_from(left.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)));
            }
        }
        due
    }

    /// Returns when some lease is gone. Create it before looking, await it after.
    pub fn next_revocation(&self) -> impl Future<Output = ()> {
        self.revoked.notified()
    }
}

fn noted(left_seconds: i64) -> Option<Duration> {
    (left_seconds > 0).then(|| seconds(left_seconds))
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_lease_cannot_be_renewed_but_a_new_leader_revives_it() {
        let clock = LeaseClock::default();
        clock.granted(7, 0, 0);
        clock.granted(8, 100, 0);
        assert!(matches!(clock.renew(7), LeaseState::Expired { .. }));
        assert_eq!(clock.expired(10), [7]);
        assert!(matches!(clock.renew(8), LeaseState::Alive { .. }));
        clock.promote(3, Duration::from_secs(50));
        assert!(matches!(clock.renew(7), LeaseState::Alive { .. }));
        clock.revoked(7);
        assert_eq!(clock.state(7), LeaseState::Unknown);
    }

    #[test]
    fn leases_are_listed_in_the_order_in_which_they_end() {
        let clock = LeaseClock::default();
        for (id, ttl) in [(1, 100), (2, 50), (3, 200)] {
            clock.granted(id, ttl, 0);
        }
        assert_eq!(clock.ids(), [2, 1, 3]);
        clock.renew(2);
        clock.granted(4, 20, 0);
        clock.revoked(3);
        assert_eq!(clock.ids(), [4, 2, 1]);
    }

    #[test]
    fn what_is_left_of_a_long_lease_is_noted_in_turn() {
        let clock = LeaseClock::default();
        for (id, ttl) in [(1, 300), (2, 1000), (3, 400)] {
            clock.granted(id, ttl, 0);
        }
        let start = Instant::now();
        let after = |minutes| start + Duration::from_mins(minutes);
        assert_eq!(clock.due_checkpoints(after(4), 10), []);
        assert_eq!(clock.due_checkpoints(after(5), 1), [(2, 700)]);
        assert_eq!(clock.due_checkpoints(after(5), 10), [(3, 100)], "but not the short one");
        assert_eq!(clock.due_checkpoints(after(5), 10), [], "once in five minutes");
        assert_eq!(clock.due_checkpoints(after(10), 10), [(2, 400)], "3 is over");
        clock.checkpointed(&[(2, 400), (3, 100), (9, 1)]);
        assert!(clock.is_noted(2) && !clock.is_noted(1) && !clock.is_noted(9));
        assert_eq!(clock.due_checkpoints(after(6), 10), [(2, 640)], "3 has too little left");
        clock.promote(2, Duration::ZERO);
        assert_eq!(left(&clock, 2), 399);
        assert_eq!(left(&clock, 1), 299);
        clock.checkpointed(&[(2, 0)]);
        clock.promote(3, Duration::ZERO);
        assert_eq!(left(&clock, 2), 999);
    }

    fn left(clock: &LeaseClock, id: i64) -> u64 {
        let LeaseState::Alive { remaining, .. } = clock.state(id) else { panic!("{id} is gone") };
        remaining.as_secs()
    }
}
