//! Since when the stream to each peer is open.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The streams to the peers. Told by the transport.
#[derive(Debug)]
pub struct Links {
    member_id: u64,
    open_since: BTreeMap<u64, Mutex<Option<Instant>>>,
}

impl Links {
    /// None is open yet.
    pub fn new(member_id: u64, peers: impl IntoIterator<Item = u64>) -> Self {
        let open_since = peers.into_iter().map(|peer| (peer, Mutex::new(None))).collect();
        Links { member_id, open_since }
    }

    /// The stream to `peer` is open.
    pub(crate) fn opened(&self, peer: u64) {
        self.set(peer, Some(Instant::now()));
    }

    /// The stream to `peer` broke.
    pub(crate) fn closed(&self, peer: u64) {
        self.set(peer, None);
    }

    fn set(&self, peer: u64, since: Option<Instant>) {
        if let Some(open_since) = self.open_since.get(&peer) {
            *open_since.lock() = since;
        }
    }

    /// All since `since`, the stream to `leader` was open; if this member leads, to a quorum.
    pub fn reach_since(&self, leader: u64, since: Instant) -> bool {
        let is_open = |open_since: &Mutex<Option<Instant>>| {
            open_since.lock().is_some_and(|opened| opened < since)
        };
        if leader != self.member_id {
            return self.open_since.get(&leader).is_some_and(is_open);
        }
        let reached = 1 + self.open_since.values().filter(|since| is_open(since)).count();
        reached > self.open_since.len().div_ceil(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_needs_a_quorum_and_a_follower_the_leader() {
        let links = Links::new(1, [2, 3]);
        assert!(!links.reach_since(1, Instant::now()));
        links.opened(2);
        let later = Instant::now();
        assert!(links.reach_since(1, later), "two of three");
        assert!(links.reach_since(2, later) && !links.reach_since(3, later));
        links.closed(2);
        links.opened(2);
        assert!(!links.reach_since(1, later), "it broke since");
        assert!(!links.reach_since(2, later));
        assert!(Links::new(1, []).reach_since(1, later), "alone");
        let five = Links::new(1, 2..6);
        five.opened(2);
        assert!(!five.reach_since(1, Instant::now()), "two of five");
    }
}
