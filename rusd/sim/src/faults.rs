//! What goes wrong, and when: drawn from the seed while the schedule runs, since who leads is known
//! only then. Everything is healed at the end.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::disk::Loss;
use crate::network::Weather;
use crate::plan::{Plan, UNREST_STREAM};

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Members end and come back.
    Crash {
        /// Which.
        members: Vec<usize>,
        /// What is lost.
        loss: Loss,
    },
    /// A member stands still.
    Pause(usize),
    /// Links are cut, as pairs of sender and receiver.
    Cut(Vec<(usize, usize)>),
    /// Packets fare badly on all links.
    Weather(Weather),
    /// A member's disk fails after some more writes: it has to stop, in the middle of what it does.
    DiskError {
        /// Which.
        member: usize,
        /// How many writes and syncs are still done.
        after_writes: u64,
        /// What is lost: nothing, or as with the power.
        loss: Loss,
    },
    /// A member's engine does nothing, so that much of what it applied is in the log only.
    IdleEngine(usize),
    /// Leadership is handed over.
    Transfer {
        /// To whom.
        to: usize,
    },
    /// A member's engine is copied into a fresh generation.
    Defragment(usize),
    /// The membership is changed.
    Membership(Change),
}

/// A change of the membership.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Another member.
    Add {
        /// It does not vote at first.
        is_learner: bool,
        /// Who is asked for it.
        at: usize,
    },
    /// The learner, if there is one, gets a vote.
    Promote,
    /// A member goes.
    Remove {
        /// Which.
        member: usize,
        /// Who is asked for it.
        at: usize,
    },
    /// A member's machine is lost for good; it is removed, and another one is added.
    Replace {
        /// Which.
        member: usize,
        /// The new one does not vote at first.
        is_learner: bool,
    },
}

/// A fault and how long it lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// What.
    pub fault: Fault,
    /// How long, in milliseconds.
    pub for_ms: u64,
}

impl Fault {
    /// Whom it concerns.
    pub fn members(&self) -> Vec<usize> {
        match self {
            Fault::Crash { members, .. } => members.clone(),
            Fault::Cut(links) => links.iter().flat_map(|(from, to)| [*from, *to]).collect(),
            // Whoever is asked has a door, even if nobody is behind it.
            Fault::Weather(_) | Fault::Membership(Change::Promote | Change::Add { .. }) => {
                Vec::new()
            }
            Fault::Pause(member)
            | Fault::DiskError { member, .. }
            | Fault::IdleEngine(member)
            | Fault::Transfer { to: member }
            | Fault::Defragment(member)
            | Fault::Membership(Change::Replace { member, .. } | Change::Remove { member, .. }) => {
                vec![*member]
            }
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.fault)?;
        match self.fault {
            Fault::Transfer { .. } | Fault::Defragment(_) | Fault::Membership(_) => Ok(()),
            _ => write!(f, " for {} ms", self.for_ms),
        }
    }
}

/// Where faults come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Drawn as the schedule goes.
    Drawn {
        /// From the seed.
        rng: Box<ChaCha8Rng>,
        /// When the next one begins.
        next_ms: u64,
        /// Most time without one.
        calm_ms_max: u64,
        /// Members are added and removed too.
        changes_membership: bool,
        /// If no leader is to last.
        unrest: Option<Box<Unrest>>,
    },
    /// Those of an earlier run, or some of them, with the times at which they began.
    Listed(VecDeque<(u64, Planned)>),
}

impl Source {
    /// Those of a plan.
    pub fn of(plan: &Plan) -> Source {
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        rng.set_stream(101);
        let next_ms = rng.random_range(0..plan.calm_ms_max);
        let (calm_ms_max, changes_membership) = (plan.calm_ms_max, plan.newcomers > 0);
        let unrest = plan.has_unrest.then(|| Box::new(Unrest::of(plan)));
        Source::Drawn { rng: Box::new(rng), next_ms, calm_ms_max, changes_membership, unrest }
    }

    /// One begins now. `leader` is who leads, as far as that can be said.
    pub fn is_due(&mut self, now_ms: u64, leader: impl FnOnce() -> Option<usize>) -> bool {
        match self {
            Source::Drawn { next_ms, unrest, .. } => {
                let falls = unrest.as_mut().is_some_and(|unrest| unrest.sees(now_ms, leader()));
                falls || *next_ms <= now_ms
            }
            Source::Listed(faults) => faults.front().is_some_and(|(at_ms, _)| *at_ms <= now_ms),
        }
    }

    /// The next one that begins now. `members` are those that there are, `leader` is who leads, as
    /// far as that can be said.
    pub fn next(
        &mut self,
        now_ms: u64,
        members: &[usize],
        leader: Option<usize>,
    ) -> Option<Planned> {
        match self {
            Source::Drawn { rng, next_ms, calm_ms_max, changes_membership, unrest } => {
                let fall = unrest.as_mut().and_then(|unrest| unrest.fall(now_ms, members));
                if fall.is_some() {
                    return fall;
                }
                if *next_ms > now_ms || members.is_empty() {
                    return None;
                }
                let planned = draw(rng, members, leader, *changes_membership);
                *next_ms = now_ms + rng.random_range(1..*calm_ms_max);
                Some(planned)
            }
            Source::Listed(faults) => {
                faults.pop_front_if(|(at_ms, _)| *at_ms <= now_ms).map(|(_, planned)| planned)
            }
        }
    }
}

/// Ends the reign of each leader soon. So members come to have entries of several terms that the
/// others do not have, which is when it matters what a leader may count as committed (Raft's figure 8).
#[derive(Debug, Clone)]
pub struct Unrest {
    rng: ChaCha8Rng,
    leader: Option<usize>,
    /// When it falls.
    falls_ms: Option<u64>,
}

/// The longest that a leader lasts, in milliseconds: until its first messages arrive, until they are
/// answered, or a little longer.
const REIGNS_MS: [u64; 3] = [2, 30, 90];

impl Unrest {
    fn of(plan: &Plan) -> Unrest {
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        rng.set_stream(UNREST_STREAM);
        Unrest { rng, leader: None, falls_ms: None }
    }

    /// Whether the leader falls now.
    fn sees(&mut self, now_ms: u64, leader: Option<usize>) -> bool {
        if leader.is_some() && leader != self.leader {
            let most = *REIGNS_MS.choose(&mut self.rng).expect("not empty");
            self.falls_ms = Some(now_ms + self.rng.random_range(0..=most));
        }
        self.leader = leader;
        self.falls_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// What becomes of a leader that falls now.
    fn fall(&mut self, now_ms: u64, members: &[usize]) -> Option<Planned> {
        self.falls_ms.take_if(|at_ms| *at_ms <= now_ms)?;
        let leader = self.leader.filter(|leader| members.contains(leader))?;
        let others = members.iter().filter(|member| **member != leader);
        let fault = match self.rng.random_range(0..4) {
            0 => Fault::Crash { members: vec![leader], loss: Loss::OfProcess },
            1 => Fault::Crash { members: vec![leader], loss: Loss::OfPower },
            _ => Fault::Cut(others.flat_map(|it| [(leader, *it), (*it, leader)]).collect()),
        };
        let for_ms = *[50, 300, 1000].choose(&mut self.rng).expect("not empty");
        Some(Planned { fault, for_ms: self.rng.random_range(1..=for_ms) })
    }
}

/// The next fault. `members` are those that there are, `leader` is who leads now, as far as that can
/// be said.
fn draw(
    rng: &mut ChaCha8Rng,
    members: &[usize],
    leader: Option<usize>,
    changes_membership: bool,
) -> Planned {
    let any = |rng: &mut ChaCha8Rng| match leader {
        Some(leader) if rng.random_bool(0.5) => leader,
        _ => *members.choose(rng).expect("there are members"),
    };
    let fault = match rng.random_range(0..if changes_membership { 130 } else { 104 }) {
        0..14 => {
            let member = any(rng);
            disk_error(rng, member)
        }
        14..28 => {
            let loss = if rng.random_bool(0.6) { Loss::OfPower } else { Loss::OfProcess };
            let count = *[1, 1, 1, 2, members.len()].choose(rng).expect("not empty");
            let mut chosen = BTreeSet::from([any(rng)]);
            chosen.extend(members.choose_multiple(rng, count - 1));
            Fault::Crash { members: chosen.into_iter().collect(), loss }
        }
        28..40 => Fault::Pause(any(rng)),
        40..68 => Fault::Cut(cuts(rng, members, any)),
        68..84 => Fault::Weather(Weather {
            delay_ms: (0, *[5, 30, 120, 300].choose(rng).expect("not empty")),
            loss: *[0.0, 0.05, 0.3].choose(rng).expect("not empty"),
            doubled: *[0.0, 0.1, 0.3].choose(rng).expect("not empty"),
            reorders: rng.random_bool(0.5),
        }),
        84..94 => Fault::IdleEngine(any(rng)),
        94..100 => Fault::Transfer { to: *members.choose(rng).expect("there are members") },
        100..104 => Fault::Defragment(any(rng)),
        _ => Fault::Membership(change(rng, any)),
    };
    let for_ms = *[30, 150, 500, 1500, 4000].choose(rng).expect("not empty");
    Planned { fault, for_ms: rng.random_range(1..=for_ms) }
}

fn change(rng: &mut ChaCha8Rng, any: impl Fn(&mut ChaCha8Rng) -> usize) -> Change {
    let (at, member, is_learner) = (any(rng), any(rng), rng.random_bool(0.5));
    match rng.random_range(0..10) {
        0..3 => Change::Add { is_learner, at },
        3..5 => Change::Promote,
        5..8 => Change::Remove { member, at },
        _ => Change::Replace { member, is_learner },
    }
}

fn disk_error(rng: &mut ChaCha8Rng, member: usize) -> Fault {
    let most = *[1, 4, 40].choose(rng).expect("not empty");
    let after_writes = rng.random_range(0..most);
    let loss = if rng.random_bool(0.8) { Loss::OfPower } else { Loss::OfProcess };
    Fault::DiskError { member, after_writes, loss }
}

/// Cuts of one kind: one member alone, two halves, one direction, or any.
fn cuts(
    rng: &mut ChaCha8Rng,
    members: &[usize],
    any: impl Fn(&mut ChaCha8Rng) -> usize,
) -> Vec<(usize, usize)> {
    let pairs = members.iter().flat_map(|from| members.iter().map(move |to| (*from, *to)));
    let pairs: Vec<(usize, usize)> = pairs.filter(|(from, to)| from != to).collect();
    match rng.random_range(0..4) {
        0 => {
            let alone = any(rng);
            pairs.into_iter().filter(|(from, to)| *from == alone || *to == alone).collect()
        }
        1 => {
            let mut order: Vec<usize> = members.to_vec();
            order.shuffle(rng);
            let half = &order[..members.len().div_ceil(2)];
            let is_across = |(from, to): &(usize, usize)| half.contains(from) != half.contains(to);
            pairs.into_iter().filter(is_across).collect()
        }
        2 => {
            let (deaf, hears_nothing) = (any(rng), rng.random_bool(0.5));
            let is_lost = |(from, to): &(usize, usize)| {
                if hears_nothing { *to == deaf } else { *from == deaf }
            };
            pairs.into_iter().filter(is_lost).collect()
        }
        _ => pairs.into_iter().filter(|_| rng.random_bool(0.3)).collect(),
    }
}
