//! Which members a fault is done to, decided when it is due.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::IteratorRandom;

use crate::cluster::roster::{Roster, Seat};
use crate::cluster::{Cluster, readiness};
use crate::workload::{Role, Target};

/// Who leads, if the target's meaning depends on it.
pub(super) async fn leader_if_needed(cluster: &Cluster, target: Target) -> Option<u32> {
    match target {
        Target::Leader | Target::Follower => readiness::leader(cluster).await,
        Target::Learner
        | Target::Any
        | Target::Minority
        | Target::Majority
        | Target::All
        | Target::Each
        | Target::New
        | Target::Member(_) => None,
    }
}

/// Chooses among the members of `roster`, leaving out those in `busy`. Nobody is chosen to be new.
pub fn choose(
    target: Target,
    roster: &Roster,
    leader: Option<u32>,
    busy: &BTreeSet<u32>,
    random: &mut impl Rng,
) -> Result<Vec<u32>, String> {
    let free = roster.seats().iter().filter(|seat| !busy.contains(&seat.member));
    let all_voters = roster.voters().count();
    let voters = free.clone().filter(|seat| seat.role == Role::Voter);
    match (target, leader) {
        (Target::Leader | Target::Follower, None) => Err("no member leads".to_owned()),
        (Target::Leader, Some(leader)) if busy.contains(&leader) => {
            Err(format!("the leader m{leader} is under another fault"))
        }
        (Target::Leader, Some(leader)) => Ok(vec![leader]),
        (Target::Follower, Some(leader)) => {
            one(voters.filter(|seat| seat.member != leader), random, EVERY_MEMBER_BUSY)
        }
        (Target::Learner, _) => {
            one(free.filter(|seat| seat.role == Role::Learner), random, "there is no learner")
        }
        (Target::Any, _) => one(free, random, EVERY_MEMBER_BUSY),
        (Target::All | Target::Each, _) if !busy.is_empty() => {
            Err("some members are under another fault".to_owned())
        }
        (Target::All | Target::Each, _) => Ok(free.map(|seat| seat.member).collect()),
        (Target::Minority, _) => several(voters, (all_voters.saturating_sub(1)) / 2, random),
        (Target::Majority, _) => several(voters, all_voters / 2 + 1, random),
        (Target::Member(member), _) if roster.seat(member).is_none() => {
            Err(format!("m{member} is no member"))
        }
        (Target::Member(member), _) if busy.contains(&member) => {
            Err(format!("m{member} is under another fault"))
        }
        (Target::Member(member), _) => Ok(vec![member]),
        (Target::New, _) => Ok(Vec::new()),
    }
}

const EVERY_MEMBER_BUSY: &str = "every member is under a fault";

fn several<'a>(
    seats: impl Iterator<Item = &'a Seat>,
    count: usize,
    random: &mut impl Rng,
) -> Result<Vec<u32>, String> {
    let mut chosen = seats.map(|seat| seat.member).choose_multiple(random, count);
    chosen.sort_unstable();
    if chosen.len() == count && count > 0 {
        return Ok(chosen);
    }
    Err(format!("{} of {count} voters are free of faults", chosen.len()))
}

fn one<'a>(
    seats: impl Iterator<Item = &'a Seat>,
    random: &mut impl Rng,
    none: &str,
) -> Result<Vec<u32>, String> {
    let chosen = seats.choose(random);
    chosen.map(|seat| vec![seat.member]).ok_or_else(|| none.to_owned())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Voters 0 to 2, and the learner 3.
    fn roster() -> Roster {
        let mut roster = Roster::of(&["a", "b", "c"].map(str::to_owned));
        roster.put(Seat { member: 3, endpoint: "d".to_owned(), role: Role::Learner });
        roster
    }

    fn chosen(target: Target, leader: Option<u32>, busy: &[u32]) -> BTreeSet<Vec<u32>> {
        let busy = busy.iter().copied().collect();
        let roster = roster();
        (0..200)
            .map(|seed| {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                choose(target, &roster, leader, &busy, &mut random).unwrap_or_default()
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
            (Target::Learner, None, &[], sets(&[&[3]])),
            (Target::Learner, None, &[3], sets(&[&[]])),
            (Target::Any, None, &[0], sets(&[&[1], &[2], &[3]])),
            (Target::Any, None, &[0, 1, 2, 3], sets(&[&[]])),
            (Target::All, None, &[], sets(&[&[0, 1, 2, 3]])),
            (Target::Each, None, &[], sets(&[&[0, 1, 2, 3]])),
            (Target::Each, None, &[1], sets(&[&[]])),
            (Target::New, None, &[1], sets(&[&[]])),
            (Target::All, None, &[0], sets(&[&[]])),
            (Target::Minority, None, &[], sets(&[&[0], &[1], &[2]])),
            (Target::Minority, None, &[0, 1], sets(&[&[2]])),
            (Target::Majority, None, &[], sets(&[&[0, 1], &[0, 2], &[1, 2]])),
            (Target::Majority, None, &[0, 1], sets(&[&[]])),
            (Target::Member(1), None, &[], sets(&[&[1]])),
            (Target::Member(1), None, &[1], sets(&[&[]])),
            (Target::Member(7), None, &[], sets(&[&[]])),
        ] {
            let busy_text = format!("{busy:?}");
            let expected: BTreeSet<Vec<u32>> = expected;
            assert_eq!(chosen(target, leader, busy), expected, "{target:?} {leader:?} {busy_text}");
        }
    }
}
