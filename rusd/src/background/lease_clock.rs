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
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

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
}

#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    ttl: Duration,
}

/// What a clock knows of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// There is no such lease here.
    Unknown,
    /// Its time is over; its revocation is on the way.
    Expired,
    /// It lives.
    Alive {
        /// Time left.
        remaining: Duration,
        /// Its whole time to live.
        ttl: Duration,
    },
}

impl Deadlines {
    fn set(&mut self, id: i64, at: Instant, ttl: Duration) {
        self.remove(id);
        self.by_id.insert(id, Deadline { at, ttl });
        self.in_order.insert((at, id));
    }

    fn remove(&mut self, id: i64) {
        if let Some(deadline) = self.by_id.remove(&id) {
            self.in_order.remove(&(deadline.at, id));
        }
    }
}

impl LeaseClock {
    /// A lease was granted, here and now.
    pub fn granted(&self, id: i64, ttl_seconds: i64) {
        let ttl = seconds(ttl_seconds);
        self.deadlines.lock().set(id, Instant::now() + ttl, ttl);
    }

    /// A lease is gone.
    pub fn revoked(&self, id: i64) {
        self.deadlines.lock().remove(id);
        self.revoked.notify_waiters();
    }

    /// This member became the leader of `term`: every lease gets its whole time again, and `extra`.
    pub fn promote(&self, term: u64, extra: Duration) {
        let now = Instant::now();
        let mut deadlines = self.deadlines.lock();
        deadlines.promoted_term = term;
        deadlines.in_order.clear();
        let Deadlines { by_id, in_order, .. } = &mut *deadlines;
        for (id, deadline) in by_id {
            deadline.at = now + deadline.ttl + extra;
            in_order.insert((deadline.at, *id));
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
            Some(deadline) if deadline.at <= now => LeaseState::Expired,
            Some(Deadline { at, ttl }) => LeaseState::Alive { remaining: *at - now, ttl: *ttl },
        }
    }

    /// Gives a living lease its whole time again.
    pub fn renew(&self, id: i64) -> LeaseState {
        let now = Instant::now();
        let mut deadlines = self.deadlines.lock();
        match deadlines.by_id.get(&id).copied() {
            None => LeaseState::Unknown,
            Some(deadline) if deadline.at <= now => LeaseState::Expired,
            Some(Deadline { ttl, .. }) => {
                deadlines.set(id, now + ttl, ttl);
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

    /// Returns when some lease is gone. Create it before looking, await it after.
    pub fn next_revocation(&self) -> impl Future<Output = ()> {
        self.revoked.notified()
    }
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
        clock.granted(7, 0);
        clock.granted(8, 100);
        assert_eq!(clock.renew(7), LeaseState::Expired);
        assert_eq!(clock.expired(10), [7]);
        assert!(matches!(clock.renew(8), LeaseState::Alive { .. }));
        clock.promote(3, Duration::from_secs(50));
        assert!(matches!(clock.renew(7), LeaseState::Alive { .. }));
        clock.revoked(7);
        assert_eq!(clock.state(7), LeaseState::Unknown);
    }
}
