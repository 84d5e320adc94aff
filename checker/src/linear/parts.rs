//! Divides what floats into parts that share no lease, so that each can be ordered by itself; and
//! judges those too long to be searched.

use std::collections::{BTreeMap, BTreeSet};

use super::solver::{Act, ITEMS_MAX, Item, Need, Solved, solve};

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
    pairwise(&part, &existing)
}

/// Of one lease that was granted at most once, drops observations that others imply: it exists
/// between any two places at which it exists.
fn reduce(part: Vec<Item>, existing: &BTreeSet<i64>) -> Vec<Item> {
    let grants = part.iter().filter(|item| matches!(item.act, Act::Grant(_))).count();
    let leases: BTreeSet<i64> = part.iter().flat_map(Item::leases).collect();
    if part.len() < REDUCE_MIN || leases.len() != 1 || grants + existing.len() > 1 {
        return part;
    }
    let exists = |item: &Item| {
        item.act == Act::Observe
            && item.mandatory
            && matches!(item.needs.as_slice(), [Need::Lease(_)])
    };
    let placed = |item: &Item| exists(item) && item.spots.0 == item.spots.1;
    let anytime = |item: &Item| exists(item) && !placed(item) && item.times.0 == 0;
    let first = part.iter().filter(|item| placed(item)).map(|item| item.spots.0).min();
    let last = part.iter().filter(|item| placed(item)).map(|item| item.spots.0).max();
    let soonest = part.iter().filter(|item| anytime(item)).map(|item| item.times.1).min();
    let (mut first, mut last, mut soonest) = (first, last, soonest);
    let mut keep = Vec::new();
    for item in part {
        let wanted = if placed(&item) {
            first.take_if(|first| *first == item.spots.0).is_some()
                || last.take_if(|last| *last == item.spots.0).is_some()
        } else if anytime(&item) {
            soonest.take_if(|soonest| *soonest == item.times.1).is_some()
        } else {
            true
        };
        if wanted {
            keep.push(item);
        }
    }
    keep
}

const REDUCE_MIN: usize = 8;

/// For parts too long to search: what can be told of items two by two. May miss contradictions.
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
    if left.is_empty() { Solved::Yes } else { Solved::No(left) }
}
