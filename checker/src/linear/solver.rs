//! Orders what floats: a small search over items that need, change, or merely observe leases and
//! the compact revision.
//!
//! An item has a range of places among the revisions and a range of times, and must come before
//! another if its place or its time is wholly before the other's. Variants of one group exclude
//! each other; of a mandatory group exactly one is used.
//!
//! Exact: it finds an order if there is one. Memory of failed states keeps it short.

use std::collections::{BTreeSet, HashSet};

/// Twice the rank for a write, one more for the slot after it.
pub(crate) type Spot = usize;

/// The most items that one search takes: a bit for each.
pub(crate) const ITEMS_MAX: usize = 128;

/// Something that must hold when an item happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The lease exists.
    Lease(i64),
    /// The lease does not exist.
    NoLease(i64),
    /// The compact revision is at most this.
    CompactAtMost(i64),
    /// The compact revision is at least this.
    CompactAtLeast(i64),
}

/// What an item changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing.
    Observe,
    /// The lease comes into being.
    Grant(i64),
    /// The lease ends.
    End(i64),
    /// The compact revision becomes this.
    Compact(i64),
}

/// One way in which something can have happened.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Variants of one thing share a group.
    pub(crate) group: usize,
    /// It must have happened.
    pub(crate) mandatory: bool,
    /// The operation to name; none for the end of a lease.
    pub(crate) operation: Option<usize>,
    pub(crate) needs: Vec<Need>,
    pub(crate) act: Act,
    pub(crate) spots: (Spot, Spot),
    pub(crate) times: (u64, u64),
}

impl Item {
    /// Whether this must come before `other`.
    pub(crate) fn precedes(&self, other: &Item) -> bool {
        self.spots.1 < other.spots.0 || self.times.1 < other.times.0
    }

    /// Whether there is any place for it.
    pub(crate) fn has_place(&self) -> bool {
        self.spots.0 <= self.spots.1 && self.times.0 <= self.times.1
    }

    /// The leases it touches.
    pub(crate) fn leases(&self) -> impl Iterator<Item = i64> {
        let needs = self.needs.iter().filter_map(|need| match need {
            Need::Lease(lease) | Need::NoLease(lease) => Some(*lease),
            Need::CompactAtMost(_) | Need::CompactAtLeast(_) => None,
        });
        let act = match self.act {
            Act::Grant(lease) | Act::End(lease) => Some(lease),
            Act::Observe | Act::Compact(_) => None,
        };
        needs.chain(act)
    }
}

/// What the items act on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Those that exist, ascending.
    leases: Vec<i64>,
    compact: i64,
}

impl State {
    fn allows(&self, need: Need) -> bool {
        let exists = |lease: i64| self.leases.binary_search(&lease).is_ok();
        match need {
            Need::Lease(lease) => exists(lease),
            Need::NoLease(lease) => !exists(lease),
            Need::CompactAtMost(revision) => self.compact <= revision,
            Need::CompactAtLeast(revision) => self.compact >= revision,
        }
    }

    fn after(&self, item: &Item) -> Option<State> {
        if !item.needs.iter().all(|need| self.allows(*need)) {
            return None;
        }
        let mut state = self.clone();
        let allowed = match item.act {
            Act::Observe => true,
            Act::Grant(lease) => match state.leases.binary_search(&lease) {
                Ok(_) => false,
                Err(place) => {
                    state.leases.insert(place, lease);
                    true
                }
            },
            Act::End(lease) => match state.leases.binary_search(&lease) {
                Ok(place) => {
                    state.leases.remove(place);
                    true
                }
                Err(_) => false,
            },
            Act::Compact(revision) => {
                let higher = revision > state.compact;
                state.compact = revision;
                higher
            }
        };
        allowed.then_some(state)
    }
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Solved {
    /// There is an order.
    Yes,
    /// There is none; these operations were left over when the search had come furthest.
    No(Vec<usize>),
    /// The search became too long.
    TooLong,
}

/// Looks for an order of `items`; `existing` leases are there from the beginning. At most
/// [`ITEMS_MAX`] items.
pub(crate) fn solve(items: &[Item], existing: &BTreeSet<i64>, steps: &mut u64) -> Solved {
    assert!(items.len() <= ITEMS_MAX, "the caller divides longer lists");
    let mut search = Search {
        items,
        before: vec![0; items.len()],
        group: vec![0; items.len()],
        mandatory: 0,
        failed: HashSet::new(),
        steps,
        furthest: None,
    };
    for (one, item) in items.iter().enumerate() {
        if item.mandatory {
            search.mandatory |= 1 << one;
        }
        for (other, before) in items.iter().enumerate() {
            if before.group == item.group {
                search.group[one] |= 1 << other;
            } else if before.precedes(item) {
                search.before[one] |= 1 << other;
            }
        }
    }
    // A mandatory group without any place left cannot be placed.
    let state = State { leases: existing.iter().copied().collect(), compact: -1 };
    let all = items.iter().enumerate();
    let left =
        all.fold(0, |left, (index, item)| if item.has_place() { left | 1 << index } else { left });
    let homeless = items
        .iter()
        .enumerate()
        .filter(|(index, item)| item.mandatory && search.group[*index] & left == 0);
    let homeless: Vec<usize> = homeless.filter_map(|(_, item)| item.operation).collect();
    if items.iter().enumerate().any(|(i, item)| item.mandatory && search.group[i] & left == 0) {
        return Solved::No(homeless);
    }
    match search.run(left, &state) {
        Some(true) => Solved::Yes,
        Some(false) => Solved::No(search.leftover()),
        None => Solved::TooLong,
    }
}

struct Search<'a> {
    items: &'a [Item],
    /// By item: those that must come before it.
    before: Vec<u128>,
    /// By item: its group, itself included.
    group: Vec<u128>,
    mandatory: u128,
    failed: HashSet<(u128, State)>,
    steps: &'a mut u64,
    furthest: Option<u128>,
}

impl Search<'_> {
    /// Whether the items in `left` can be ordered from `state` on. `None`: too long.
    fn run(&mut self, left: u128, state: &State) -> Option<bool> {
        if left & self.mandatory == 0 {
            return Some(true);
        }
        if self.failed.contains(&(left, state.clone())) {
            return Some(false);
        }
        *self.steps = self.steps.checked_sub(1)?;
        let count = |left: u128| (left & self.mandatory).count_ones();
        if self.furthest.is_none_or(|furthest| count(left) < count(furthest)) {
            self.furthest = Some(left);
        }
        for index in bits(left) {
            // Whoever must come before and is still mandatory blocks; an optional one is given up.
            let before = left & self.before[index];
            if before & self.mandatory != 0 && self.blocks(before, left) {
                continue;
            }
            let Some(next) = state.after(&self.items[index]) else { continue };
            let rest = left & !self.group[index] & !before;
            if self.run(rest, &next)? {
                return Some(true);
            }
        }
        self.failed.insert((left, state.clone()));
        Some(false)
    }

    /// Whether giving up the items in `before` leaves a mandatory group without a variant.
    fn blocks(&self, before: u128, left: u128) -> bool {
        bits(before & self.mandatory).any(|index| self.group[index] & left & !before == 0)
    }

    fn leftover(&self) -> Vec<usize> {
        let left = self.furthest.unwrap_or(0) & self.mandatory;
        let mut operations: Vec<usize> =
            bits(left).filter_map(|index| self.items[index].operation).collect();
        operations.sort_unstable();
        operations.dedup();
        operations
    }
}

fn bits(mut set: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if set == 0 {
            return None;
        }
        let index = set.trailing_zeros();
        set &= set - 1;
        Some(usize::try_from(index).expect("under 128"))
    })
}
