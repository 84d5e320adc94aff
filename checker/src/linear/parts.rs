//! Divides what floats into parts that share no lease, so that each can be ordered by itself; and
//! judges those too long to be searched.

use std::collections::{BTreeMap, BTreeSet};

use super::ladder::Ladder;
use super::solver::{Act, ITEMS_MAX, Item, Need, Solved, Spot, solve};

/// Divides items into parts that share no lease; everything about compactions is one part.
pub(crate) fn parts(items: Vec<Item>) -> Vec<Vec<Item>> {
    const COMPACTIONS: i64 = 0;
    let mut parents: BTreeMap<i64, i64> = BTreeMap::new();
    let mut group_key: BTreeMap<usize, i64> = BTreeMap::new();
    let keys_of = |item: &Item| {
        let mut keys: Vec<i64> = item.leases().collect();
        if keys.is_empty()
            || item
                .needs
                .iter()
                .any(|need| matches!(need, Need::CompactAtMost(_) | Need::CompactAtLeast(_)))
        {
            keys.push(COMPACTIONS);
        }
        keys
    };
    for item in &items {
        let mut keys = keys_of(item);
        keys.extend(group_key.get(&item.group));
        let root = find(&mut parents, keys[0]);
        for key in &keys[1..] {
            let other = find(&mut parents, *key);
            parents.insert(other, root);
        }
        group_key.insert(item.group, keys[0]);
    }
    let mut parts: BTreeMap<i64, Vec<Item>> = BTreeMap::new();
    for item in items {
        let root = find(&mut parents, keys_of(&item)[0]);
        parts.entry(root).or_default().push(item);
    }
    parts.into_values().collect()
}

fn find(parents: &mut BTreeMap<i64, i64>, key: i64) -> i64 {
    let mut root = key;
    while let Some(parent) = parents.get(&root).copied().filter(|parent| *parent != root) {
        root = parent;
    }
    parents.insert(key, root);
    root
}

/// Orders a part.
pub(crate) fn solve_part(part: Vec<Item>, existing: &BTreeSet<i64>, steps: &mut u64) -> Solved {
    let touched: BTreeSet<i64> = part.iter().flat_map(Item::leases).collect();
    let existing: BTreeSet<i64> = touched.intersection(existing).copied().collect();
    let part = reduce(part, &existing);
    if part.len() <= ITEMS_MAX {
        return solve(&part, &existing, steps);
    }
    match Ladder::of(&part, &existing) {
        Some(ladder) => ladder.climb(&part),
        None => in_pieces(&part, &existing),
    }
}

/// For parts too long to search that are no ladder: a contradiction in a piece is one of the whole,
/// but without one nothing is decided.
fn in_pieces(part: &[Item], existing: &BTreeSet<i64>) -> Solved {
    for ladder in Ladder::within(part, existing) {
        let contradiction = ladder.climb(&ladder.project(part));
        if matches!(contradiction, Solved::No(_)) {
            return contradiction;
        }
    }
    pairwise(part, existing)
}

/// Of leases that were granted at most once, drops observations that others imply: such a lease
/// exists between any two places at which it exists.
fn reduce(part: Vec<Item>, existing: &BTreeSet<i64>) -> Vec<Item> {
    if part.len() < REDUCE_MIN {
        return part;
    }
    let mut seen: BTreeMap<i64, Seen> = BTreeMap::new();
    for item in &part {
        if let Act::Grant(lease) = item.act {
            seen.entry(lease).or_default().grants += 1;
        }
        match existence(item) {
            Some((lease, Existence::At(spot))) => {
                let seen = seen.entry(lease).or_default();
                seen.first = Some(seen.first.map_or(spot, |first| first.min(spot)));
                seen.last = Some(seen.last.map_or(spot, |last| last.max(spot)));
            }
            Some((lease, Existence::Until(time))) => {
                let soonest = &mut seen.entry(lease).or_default().soonest;
                *soonest = Some(soonest.map_or(time, |soonest| soonest.min(time)));
            }
            None => {}
        }
    }
    seen.retain(|lease, seen| seen.grants + usize::from(existing.contains(lease)) <= 1);
    let mut is_wanted = |item: &Item| {
        let Some((lease, existence)) = existence(item) else { return true };
        let Some(seen) = seen.get_mut(&lease) else { return true };
        match existence {
            Existence::At(spot) => {
                seen.first.take_if(|first| *first == spot).is_some()
                    || seen.last.take_if(|last| *last == spot).is_some()
            }
            Existence::Until(time) => seen.soonest.take_if(|soonest| *soonest == time).is_some(),
        }
    };
    part.into_iter().filter(|item| is_wanted(item)).collect()
}

/// What tells that a lease exists, and nothing else.
enum Existence {
    /// At this place.
    At(Spot),
    /// At some time before this one.
    Until(u64),
}

fn existence(item: &Item) -> Option<(i64, Existence)> {
    let [Need::Lease(lease)] = item.needs.as_slice() else { return None };
    if item.act != Act::Observe || !item.mandatory {
        return None;
    }
    if item.spots.0 == item.spots.1 {
        Some((*lease, Existence::At(item.spots.0)))
    } else if item.times.0 == 0 {
        Some((*lease, Existence::Until(item.times.1)))
    } else {
        None
    }
}

/// The observations of one lease that imply the others.
#[derive(Default)]
struct Seen {
    grants: usize,
    first: Option<Spot>,
    last: Option<Spot>,
    soonest: Option<u64>,
}

const REDUCE_MIN: usize = 8;

/// What can be told of items two by two: a contradiction, or nothing.
fn pairwise(part: &[Item], existing: &BTreeSet<i64>) -> Solved {
    let grants: Vec<&Item> = part.iter().filter(|item| matches!(item.act, Act::Grant(_))).collect();
    let ends: Vec<&Item> = part.iter().filter(|item| matches!(item.act, Act::End(_))).collect();
    let compacts: Vec<&Item> =
        part.iter().filter(|item| matches!(item.act, Act::Compact(_))).collect();
    let mut left = Vec::new();
    for item in part {
        let fits = item.has_place()
            && item.needs.iter().all(|need| match need {
                Need::Lease(lease) => {
                    existing.contains(lease)
                        || grants
                            .iter()
                            .any(|grant| grant.act == Act::Grant(*lease) && !item.precedes(grant))
                }
                Need::NoLease(lease) => {
                    let of = |act: Act| act == Act::Grant(*lease);
                    let never = !existing.contains(lease)
                        && grants
                            .iter()
                            .filter(|grant| of(grant.act) && grant.mandatory)
                            .all(|grant| !grant.precedes(item));
                    never
                        || ends.iter().any(|end| end.act == Act::End(*lease) && !item.precedes(end))
                }
                Need::CompactAtMost(revision) => !compacts.iter().any(|compact| {
                    matches!(compact.act, Act::Compact(to) if to > *revision)
                        && compact.mandatory
                        && compact.precedes(item)
                }),
                Need::CompactAtLeast(revision) => compacts.iter().any(|compact| {
                    matches!(compact.act, Act::Compact(to) if to >= *revision)
                        && !item.precedes(compact)
                }),
            });
        if !fits && item.mandatory {
            left.extend(item.operation);
        }
    }
    if left.is_empty() { Solved::TooLong } else { Solved::No(left) }
}
