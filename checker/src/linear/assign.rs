//! Says who filled each gap, so that everything that floats finds a place.
//!
//! The replay knows what happened at each gap and a matching of gaps to makers, but not which of
//! several possible makers it was. For the keys it makes no difference; for leases it may: a key
//! that was deleted does not tell whether its lease ended with it.
//!
//! The matching is tried first. Where a part of what floats does not fit, only those gaps are
//! tried otherwise that can matter to the part.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::floating::{self, Filled, Floats, Placed};
use super::gaps::{Maker, Makers};
use super::leases::Leases;
use super::replay::Replay;
use super::runs::without_keys;
use super::timeline::{Rank, Timeline};

/// Ways that are tried for one part before giving up.
const WAYS_MAX: usize = 5_000;

/// Whether what floats has an order, with the gaps filled by anyone who could have.
pub(crate) fn place_floating(
    timeline: &Timeline<'_>,
    leases: &Leases,
    makers: &Makers<'_, '_>,
    floats: &Floats,
    replay: &Replay<'_, '_>,
    steps: &mut u64,
) -> Placed {
    let made = replay.matching().made();
    let no_leases = floats.have_no_leases() && leases.iter().next().is_none();
    let without_keys = if no_leases { HashMap::new() } else { without_keys(replay, timeline) };
    let chosen = made.iter().map(|(rank, maker, _)| (*rank, *maker)).collect();
    let filled = Filled { replay, made: chosen, without_keys };
    let mut ways = Ways {
        timeline,
        leases,
        floats,
        made: &made,
        filled,
        varied: Vec::new(),
        only: None,
        tried: 0,
    };
    // Each round settles a part for good.
    for _ in 0..=made.len() {
        let placed = floating::check_strict(timeline, leases, &ways.filled, floats, None, steps);
        let Placed::No { left, leases: about } = placed else { return placed };
        let touches = |maker: &Maker| match &about {
            None => true,
            Some(about) => makers.leases_of(*maker).iter().any(|lease| about.contains(lease)),
        };
        ways.varied = that_matter(&made, touches);
        if ways.varied.is_empty() {
            return Placed::No { left, leases: about };
        }
        let settles_all = about.is_none();
        ways.only = about.map(|mut only| {
            for place in &ways.varied {
                for maker in made[*place].2 {
                    only.extend(makers.leases_of(*maker));
                }
            }
            only.remove(&0);
            floats.close(timeline, &mut only);
            only
        });
        ways.tried = 0;
        match ways.try_all(0, steps) {
            Some(true) if settles_all => return Placed::Yes,
            Some(true) => {}
            Some(false) => return Placed::No { left, leases: None },
            None => return Placed::TooLong,
        }
    }
    Placed::TooLong
}

/// Gaps whose makers can make a difference: those that someone in question can have made, and
/// those from which somebody would be pushed aside. Places in `made`, ascending.
fn that_matter(made: &[(Rank, Maker, &[Maker])], touches: impl Fn(&Maker) -> bool) -> Vec<usize> {
    let ambiguous = |place: &usize| made[*place].2.len() > 1;
    let (mut varied, mut others): (Vec<usize>, Vec<usize>) =
        (0..made.len()).filter(ambiguous).partition(|place| made[*place].2.iter().any(&touches));
    loop {
        let known: HashSet<Maker> =
            varied.iter().flat_map(|place| made[*place].2).copied().collect();
        let (shared, rest): (Vec<usize>, Vec<usize>) = others
            .into_iter()
            .partition(|place| made[*place].2.iter().any(|maker| known.contains(maker)));
        if shared.is_empty() {
            varied.sort_unstable();
            return varied;
        }
        varied.extend(shared);
        others = rest;
    }
}

/// All ways to say who filled some of the gaps.
struct Ways<'a, 'h, 'r> {
    timeline: &'a Timeline<'h>,
    leases: &'a Leases,
    floats: &'a Floats,
    made: &'a [(Rank, Maker, &'a [Maker])],
    filled: Filled<'a, 'h, 'r>,
    /// Places in `made` that are tried.
    varied: Vec<usize>,
    /// The leases that are looked at; all if `None`.
    only: Option<BTreeSet<i64>>,
    tried: usize,
}

impl Ways<'_, '_, '_> {
    /// Whether a way was found, which then is in `filled`. `None`: too many.
    fn try_all(&mut self, depth: usize, steps: &mut u64) -> Option<bool> {
        let Some(&place) = self.varied.get(depth) else {
            self.tried += 1;
            if self.tried > WAYS_MAX {
                return None;
            }
            let only = self.only.as_ref();
            return match floating::check_strict(
                self.timeline,
                self.leases,
                &self.filled,
                self.floats,
                only,
                steps,
            ) {
                Placed::Yes => Some(true),
                Placed::No { .. } => Some(false),
                Placed::TooLong => None,
            };
        };
        let (rank, _, makers) = self.made[place];
        for maker in makers {
            if self.is_taken(*maker, depth) {
                continue;
            }
            self.filled.made[place] = (rank, *maker);
            if self.try_all(depth + 1, steps)? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Whether a gap that is not to be varied any more has this maker.
    fn is_taken(&self, maker: Maker, depth: usize) -> bool {
        let open = &self.varied[depth..];
        let made = self.filled.made.iter().enumerate();
        made.into_iter()
            .any(|(place, (_, taken))| *taken == maker && open.binary_search(&place).is_err())
    }
}
