//! What hashes of several members say of their histories. Etcd's rules; no network, no clock.

use std::collections::BTreeMap;

use rusd_state::HashKv;

use crate::consensus::peer_hash::PeerHash;

/// What a comparison after a compaction found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// All members have the same.
    Same,
    /// All that told have the same, but not all told.
    Unknown,
    /// These members are corrupt. 0: no majority agrees, so it cannot be said which are.
    Corrupt(Vec<u64>),
}

/// Peers with another history up to the same revision, after the same compaction.
pub(super) fn differ_at_start<'a>(
    own: &'a HashKv,
    peers: &'a [PeerHash],
) -> impl Iterator<Item = &'a PeerHash> {
    peers.iter().filter(|peer| {
        let theirs = peer.answer.as_ref();
        theirs.is_ok_and(|theirs| {
            theirs.hash != own.hash && theirs.compact_revision == own.compact_revision
        })
    })
}

/// The first member that must be corrupt, and why. `before` was taken by the leader before it asked
/// the peers for the hash up to the same revision, `after` when all of that was committed.
pub(super) fn of_newest(
    own_id: u64,
    before: &HashKv,
    after: &HashKv,
    peers: &[PeerHash],
) -> Option<(u64, &'static str)> {
    let is_same_span = |one: &HashKv, other: &HashKv| {
        one.revision == other.revision && one.compact_revision == other.compact_revision
    };
    if before.hash != after.hash && is_same_span(before, after) {
        return Some((own_id, "two hashes of this member's own history differ"));
    }
    peers.iter().find_map(|PeerHash { member_id, answer }| {
        let theirs = answer.as_ref().ok()?;
        let why = if theirs.current_revision > after.current_revision {
            "revision from follower must be less than or equal to leader's"
        } else if theirs.compact_revision > after.compact_revision {
            "compact revision from follower must be less than or equal to leader's"
        } else if theirs.compact_revision == before.compact_revision && theirs.hash != before.hash {
            "same compact revision then hashes must match"
        } else {
            return None;
        };
        Some((*member_id, why))
    })
}

/// Compares what all members found at one compaction.
pub(super) fn of_compaction(own_id: u64, own: &HashKv, peers: &[PeerHash]) -> Found {
    let mut members_by_hash = BTreeMap::from([(own.hash, vec![own_id])]);
    let mut told = 0;
    for PeerHash { member_id, answer } in peers {
        let Ok(theirs) = answer else { continue };
        if theirs.compact_revision == own.compact_revision {
            members_by_hash.entry(theirs.hash).or_default().push(*member_id);
            told += 1;
        }
    }
    if members_by_hash.len() == 1 {
        return if told == peers.len() && told > 0 { Found::Same } else { Found::Unknown };
    }
    let members = peers.len() + 1;
    let quorum = members / 2 + 1;
    let majority = members_by_hash.iter().find(|(_, members)| members.len() >= quorum);
    match majority.map(|(hash, _)| *hash) {
        Some(hash) => {
            members_by_hash.remove(&hash);
            Found::Corrupt(members_by_hash.into_values().flatten().collect())
        }
        None => Found::Corrupt(vec![0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::peer_hash::NoHash;

    const OWN: u64 = 1;

    fn hash(hash: u32, compact_revision: i64, revision: i64) -> HashKv {
        HashKv { hash, compact_revision, revision, current_revision: revision }
    }

    fn told(member_id: u64, answer: HashKv) -> PeerHash {
        PeerHash { member_id, answer: Ok(answer) }
    }

    fn silent(member_id: u64) -> PeerHash {
        PeerHash { member_id, answer: Err(NoHash::Compacted) }
    }

    #[test]
    fn at_start_only_another_hash_after_the_same_compaction_counts() {
        let own = hash(1, 1, 5);
        let count = |peer: PeerHash| differ_at_start(&own, &[peer]).count();
        assert_eq!(count(silent(2)), 0);
        assert_eq!(count(told(2, hash(1, 1, 5))), 0);
        assert_eq!(count(told(2, hash(2, 2, 5))), 0);
        assert_eq!(count(told(2, hash(2, 1, 5))), 1);
    }

    #[test]
    fn of_the_newest_state_the_first_corrupt_member_is_told() {
        let before = hash(1, 1, 1);
        let who = |after: HashKv, peers: &[PeerHash]| {
            of_newest(OWN, &before, &after, peers).map(|(member, _)| member)
        };
        let after = hash(2, 2, 2);
        assert_eq!(who(before, &[]), None);
        assert_eq!(who(after, &[silent(2), told(3, before)]), None, "an old compaction");
        assert_eq!(who(hash(2, 1, 2), &[]), None, "another revision");
        assert_eq!(who(hash(2, 1, 1), &[]), Some(OWN));
        assert_eq!(who(after, &[silent(2), told(3, hash(9, 1, 1))]), Some(3));
        assert_eq!(who(after, &[told(2, hash(1, 1, 3))]), Some(2), "ahead of the leader");
        assert_eq!(who(after, &[told(2, hash(1, 3, 2))]), Some(2), "compacted more");
        let both = [told(2, hash(1, 3, 2)), told(3, hash(1, 3, 2))];
        assert_eq!(who(after, &both), Some(2), "one at a time");
    }

    #[test]
    fn after_a_compaction_the_minority_is_corrupt() {
        let own = hash(2, 1, 2);
        let (same, other, third) = (own, hash(3, 1, 2), hash(4, 1, 2));
        let found = |peers: &[PeerHash]| of_compaction(OWN, &own, peers);
        assert_eq!(found(&[]), Found::Unknown, "nobody to compare with");
        assert_eq!(found(&[told(2, same), told(3, same)]), Found::Same);
        assert_eq!(found(&[told(2, same), silent(3)]), Found::Unknown);
        assert_eq!(found(&[told(2, hash(3, 0, 2))]), Found::Unknown, "after another compaction");
        assert_eq!(found(&[told(2, same), told(3, other)]), Found::Corrupt(vec![3]));
        assert_eq!(found(&[told(2, other), told(3, other)]), Found::Corrupt(vec![OWN]));
        assert_eq!(found(&[silent(2), told(3, other)]), Found::Corrupt(vec![0]));
        let five = [told(2, same), told(3, same), told(4, other), told(5, third)];
        assert_eq!(found(&five), Found::Corrupt(vec![4, 5]));
        let five = [told(2, same), silent(3), told(4, other), told(5, same)];
        assert_eq!(found(&five), Found::Corrupt(vec![4]));
        let five = [told(2, same), told(3, other), told(4, other), told(5, third)];
        assert_eq!(found(&five), Found::Corrupt(vec![0]));
    }
}
