//! Which members a fault is done to, decided when it is due.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::IteratorRandom;

use crate::cluster::{Cluster, readiness};
use crate::workload::Target;

/// Who leads, if the target's meaning depends on it.
pub(super) async fn leader_if_needed(cluster: &Cluster, target: Target) -> Option<u32> {
    match target {
        Target::Leader | Target::Follower => readiness::leader(cluster).await,
        Target::Any | Target::All => None,
    }
}

/// Chooses among `count` members, leaving out those in `busy`.
pub fn choose(
    target: Target,
    count: u32,
    leader: Option<u32>,
    busy: &BTreeSet<u32>,
    random: &mut impl Rng,
) -> Result<Vec<u32>, String> {
    let free = (0..count).filter(|member| !busy.contains(member));
    match (target, leader) {
        (Target::Leader | Target::Follower, None) => Err("no member leads".to_owned()),
        (Target::Leader, Some(leader)) if busy.contains(&leader) => {
            Err(format!("the leader m{leader} is under another fault"))
        }
        (Target::Leader, Some(leader)) => Ok(vec![leader]),
        (Target::Follower, Some(leader)) => one(free.filter(|m| *m != leader), random),
        (Target::Any, _) => one(free, random),
        (Target::All, _) if !busy.is_empty() => {
            Err("some members are under another fault".to_owned())
        }
        (Target::All, _) => Ok(free.collect()),
    }
}

fn one(members: impl Iterator<Item = u32>, random: &mut impl Rng) -> Result<Vec<u32>, String> {
    let chosen = members.choose(random);
    chosen.map(|member| vec![member]).ok_or_else(|| "every member is under a fault".to_owned())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn chosen(target: Target, leader: Option<u32>, busy: &[u32]) -> BTreeSet<Vec<u32>> {
        let busy = busy.iter().copied().collect();
        (0..200)
            .map(|seed| {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                choose(target, 3, leader, &busy, &mut random).unwrap_or_default()
            })
            .collect()
    }

    #[test]
    fn targets_mean_what_they_say() {
        let sets = |members: &[&[u32]]| members.iter().map(|m| m.to_vec()).collect();
        for (target, leader, busy, expected) in [
            (Target::Leader, Some(1), &[][..], sets(&[&[1]])),
            (Target::Leader, Some(1), &[1], sets(&[&[]])),
            (Target::Leader, None, &[], sets(&[&[]])),
            (Target::Follower, Some(1), &[], sets(&[&[0], &[2]])),
            (Target::Follower, Some(1), &[2], sets(&[&[0]])),
            (Target::Any, None, &[0], sets(&[&[1], &[2]])),
            (Target::Any, None, &[0, 1, 2], sets(&[&[]])),
            (Target::All, None, &[], sets(&[&[0, 1, 2]])),
            (Target::All, None, &[0], sets(&[&[]])),
        ] {
            let busy_text = format!("{busy:?}");
            let expected: BTreeSet<Vec<u32>> = expected;
            assert_eq!(chosen(target, leader, busy), expected, "{target:?} {leader:?} {busy_text}");
        }
    }
}
