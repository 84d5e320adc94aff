//! Since when the stream to each peer is open.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The streams to the peers. Told by the transport.
#[derive(Debug)]
pub struct Links {
    member_id: u64,
    open_since: Mutex<BTreeMap<u64, Option<Instant>>>,
}

impl Links {
    /// No peers yet.
    pub fn new(member_id: u64) -> Self {
        Links { member_id, open_since: Mutex::default() }
    }

    /// There is this peer. The stream to it is not open yet.
    pub(crate) fn added(&self, peer: u64) {
        self.open_since.lock().entry(peer).or_default();
    }

    /// The peer is gone.
    pub(crate) fn removed(&self, peer: u64) {
        self.open_since.lock().remove(&peer);
    }

    /// The stream to `peer` is open.
    pub fn opened(&self, peer: u64) {
        self.set(peer, Some(Instant::now()));
    }

    /// The stream to `peer` broke.
    pub fn closed(&self, peer: u64) {
        self.set(peer, None);
    }

    fn set(&self, peer: u64, since: Option<Instant>) {
        if let Some(open_since) = self.open_since.lock().get_mut(&peer) {
            *open_since = since;
        }
    }

    /// Since when the stream to `peer` is open.
    pub fn open_since(&self, peer: u64) -> Option<Instant> {
        self.open_since.lock().get(&peer).copied().flatten()
    }

    /// How many of `members` this member has reached all since `since`; itself it always reaches.
    pub fn reached_since(&self, members: impl IntoIterator<Item = u64>, since: Instant) -> usize {
        let open_since = self.open_since.lock();
        let is_reached = |member: &u64| {
            let opened = || open_since.get(member).copied().flatten();
            *member == self.member_id || opened().is_some_and(|opened| opened < since)
        };
        members.into_iter().filter(is_reached).count()
    }

    /// All since `since`, the stream to `leader` was open; if this member leads, to a quorum.
    pub fn reach_since(&self, leader: u64, since: Instant) -> bool {
        if leader != self.member_id {
            return self.reached_since([leader], since) == 1;
        }
        let peers: Vec<u64> = self.open_since.lock().keys().copied().collect();
        let members = peers.len() + 1;
        1 + self.reached_since(peers, since) > members / 2
    }

    /// Of `members`, the peer that is reached for the longest time.
    pub fn longest_open(&self, members: impl IntoIterator<Item = u64>) -> Option<u64> {
        let opened = members.into_iter().filter_map(|peer| Some((self.open_since(peer)?, peer)));
        opened.min().map(|(_, peer)| peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(peers: impl IntoIterator<Item = u64>) -> Links {
        let links = Links::new(1);
        for peer in peers {
            links.added(peer);
        }
        links
    }

    #[test]
    fn a_leader_needs_a_quorum_and_a_follower_the_leader() {
        let links = links([2, 3]);
        assert!(!links.reach_since(1, Instant::now()));
        links.opened(2);
        let later = Instant::now();
        assert!(links.reach_since(1, later), "two of three");
        assert!(links.reach_since(2, later) && !links.reach_since(3, later));
        links.closed(2);
        links.opened(2);
        assert!(!links.reach_since(1, later), "it broke since");
        assert!(!links.reach_since(2, later));
        assert!(self::links([]).reach_since(1, later), "alone");
        let five = self::links(2..6);
        five.opened(2);
        assert!(!five.reach_since(1, Instant::now()), "two of five");
    }

    #[test]
    fn the_oldest_stream_is_the_best_one() {
        let links = links([2, 3, 4]);
        assert_eq!(links.longest_open([1, 2, 3, 4]), None);
        links.opened(3);
        links.opened(2);
        assert_eq!(links.longest_open([1, 2, 3, 4]), Some(3));
        assert_eq!(links.reached_since([1, 2, 3, 4], Instant::now()), 3);
        links.removed(3);
        links.opened(3);
        assert_eq!(links.longest_open([1, 2, 3, 4]), Some(2), "a removed peer is not reached");
    }
}
