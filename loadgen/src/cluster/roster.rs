//! Who is a member now, told to those that follow: clients, watches, and whoever chooses whom to
//! break.
//!
//! Invariant: an index is one member's for life, and is never given to another. A member that is
//! replaced leaves, and a new one comes; so a history never takes two members for one.

use std::sync::Arc;

use tokio::sync::watch;

use crate::workload::Role;

/// A member that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Its index.
    pub member: u32,
    /// Its client address.
    pub endpoint: String,
    /// What it may do.
    pub role: Role,
}

/// The members that are there, by ascending index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    seats: Vec<Seat>,
}

/// The roster as it changes.
pub type Follow = watch::Receiver<Arc<Roster>>;

impl Roster {
    /// Voters at these addresses, with indexes from 0 on.
    pub fn of(endpoints: &[String]) -> Roster {
        let seats = (0..).zip(endpoints).map(|(member, endpoint)| Seat {
            member,
            endpoint: endpoint.clone(),
            role: Role::Voter,
        });
        Roster { seats: seats.collect() }
    }

    /// Everyone.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Those that vote; they serve clients.
    pub fn voters(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.role == Role::Voter)
    }

    /// A member, if it is there.
    pub fn seat(&self, member: u32) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.member == member)
    }

    /// Takes a member in, or changes what it may do.
    pub(crate) fn put(&mut self, seat: Seat) {
        self.leave(seat.member);
        self.seats.push(seat);
        self.seats.sort_by_key(|seat| seat.member);
    }

    /// Takes a member out.
    pub(crate) fn leave(&mut self, member: u32) {
        self.seats.retain(|seat| seat.member != member);
    }
}

/// A roster of voters that never changes.
pub fn fixed(endpoints: &[String]) -> Follow {
    watch::channel(Arc::new(Roster::of(endpoints))).1
}
