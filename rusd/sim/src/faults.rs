//! What goes wrong, and when: drawn from the seed while the schedule runs, since who leads is known
//! only then. Everything is healed at the end.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::disk::Loss;
use crate::network::Weather;

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
}

/// A fault and how long it lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// What.
    pub fault: Fault,
    /// How long, in milliseconds.
    pub for_ms: u64,
}

/// The next fault. `leader` is who leads now, as far as that can be said.
pub fn draw(rng: &mut ChaCha8Rng, members: usize, leader: Option<usize>) -> Planned {
    let any = |rng: &mut ChaCha8Rng| match leader {
        Some(leader) if rng.random_bool(0.5) => leader,
        _ => rng.random_range(0..members),
    };
    let fault = match rng.random_range(0..100) {
        0..14 => {
            let member = any(rng);
            disk_error(rng, member)
        }
        14..28 => {
            let loss = if rng.random_bool(0.6) { Loss::OfPower } else { Loss::OfProcess };
            let count = *[1, 1, 1, 2, members].choose(rng).expect("not empty");
            let mut chosen = BTreeSet::from([any(rng)]);
            while chosen.len() < count.min(members) {
                chosen.insert(rng.random_range(0..members));
            }
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
        _ => Fault::Transfer { to: rng.random_range(0..members) },
    };
    let for_ms = *[30, 150, 500, 1500, 4000].choose(rng).expect("not empty");
    Planned { fault, for_ms: rng.random_range(1..=for_ms) }
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
    members: usize,
    any: impl Fn(&mut ChaCha8Rng) -> usize,
) -> Vec<(usize, usize)> {
    let pairs = (0..members).flat_map(|from| (0..members).map(move |to| (from, to)));
    let pairs: Vec<(usize, usize)> = pairs.filter(|(from, to)| from != to).collect();
    match rng.random_range(0..4) {
        0 => {
            let alone = any(rng);
            pairs.into_iter().filter(|(from, to)| *from == alone || *to == alone).collect()
        }
        1 => {
            let mut order: Vec<usize> = (0..members).collect();
            order.shuffle(rng);
            let half = &order[..members.div_ceil(2)];
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
