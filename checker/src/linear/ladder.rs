//! Orders parts that are too long to be searched, but whose state only rises: the compact revision,
//! or the life of one lease that is granted at most once.
//!
//! ```text
//!  compactions:  nothing --Compact(5)--> 5 --Compact(9)--> 9
//!  a lease:      not yet --Grant--> exists --End--> ended
//! ```
//!
//! A greedy climb decides: on each level everything is placed that can be; then the state rises as
//! little as possible. Placing what changes nothing forbids nothing later, and a smaller rise leaves
//! every greater one possible, so if the climb gets stuck there is no order. Two things it does not
//! decide, and then says so: an item of which there are variants, if it is what the climb is stuck
//! at; and an optional rise that was passed over for something that could have waited.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::solver::{Act, Item, Need, Solved, Spot};

/// What rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ladder {
    /// The compact revision.
    Compactions,
    /// This lease, from before its grant to after its end.
    Lease {
        id: i64,
        /// It was there from the beginning.
        exists: bool,
    },
}

/// How far the state has risen.
type Level = i64;

const BEFORE_GRANT: Level = 0;
const GRANTED: Level = 1;
const ENDED: Level = 2;

impl Ladder {
    /// The ladder that a part is about, if there is only one.
    pub(crate) fn of(part: &[Item], existing: &BTreeSet<i64>) -> Option<Ladder> {
        let ladders = Ladder::within(part, existing);
        let [ladder] = ladders.as_slice() else { return None };
        let own = |item: &Item| {
            item.needs.iter().all(|need| ladder.is_about(*need))
                && (item.act == Act::Observe || ladder.step(item.act).is_some())
        };
        part.iter().all(own).then_some(*ladder)
    }

    /// All ladders that a part has something to do with.
    pub(crate) fn within(part: &[Item], existing: &BTreeSet<i64>) -> Vec<Ladder> {
        let leases: BTreeSet<i64> = part.iter().flat_map(Item::leases).collect();
        let mut ladders = Vec::new();
        if leases.is_empty() || part.iter().any(|item| Ladder::Compactions.concerns(item)) {
            ladders.push(Ladder::Compactions);
        }
        for id in leases {
            let exists = existing.contains(&id);
            let grants = part.iter().filter(|item| item.act == Act::Grant(id)).count();
            if grants + usize::from(exists) <= 1 {
                ladders.push(Ladder::Lease { id, exists });
            }
        }
        ladders
    }

    /// What is left of a part if nothing but this ladder is looked at. Has an order if the part has.
    pub(crate) fn project(self, part: &[Item]) -> Vec<Item> {
        // Of a thing that must have happened in one of many ways, one way may not matter here.
        let mut free = BTreeSet::new();
        for item in part.iter().filter(|item| item.mandatory && !self.concerns(item)) {
            free.insert(item.group);
        }
        let own = part.iter().filter(|item| self.concerns(item) && !free.contains(&item.group));
        own.cloned()
            .map(|mut item| {
                item.needs.retain(|need| self.is_about(*need));
                if self.step(item.act).is_none() {
                    item.act = Act::Observe;
                }
                item
            })
            .collect()
    }

    /// Looks for an order of items that are all about this ladder.
    pub(crate) fn climb(self, items: &[Item]) -> Solved {
        let mut climb = Climb::new(self, items);
        let Some(left) = climb.run() else { return Solved::Yes };
        if climb.passed_over() {
            return Solved::TooLong;
        }
        if !climb.has_variants() {
            return Solved::No(left);
        }
        // Without them less is asked for.
        let single: Vec<Item> =
            items.iter().filter(|item| !climb.is_variant(item)).cloned().collect();
        let mut climb = Climb::new(self, &single);
        match climb.run() {
            Some(left) if !climb.passed_over() => Solved::No(left),
            _ => Solved::TooLong,
        }
    }

    fn concerns(self, item: &Item) -> bool {
        item.needs.iter().any(|need| self.is_about(*need)) || self.step(item.act).is_some()
    }

    fn is_about(self, need: Need) -> bool {
        match (self, need) {
            (Ladder::Compactions, Need::CompactAtMost(_) | Need::CompactAtLeast(_)) => true,
            (Ladder::Lease { id, .. }, Need::Lease(lease) | Need::NoLease(lease)) => id == lease,
            (Ladder::Compactions | Ladder::Lease { .. }, _) => false,
        }
    }

    fn first(self) -> Level {
        match self {
            Ladder::Compactions => -1,
            Ladder::Lease { exists: false, .. } => BEFORE_GRANT,
            Ladder::Lease { exists: true, .. } => GRANTED,
        }
    }

    /// To where an act lifts the state.
    fn step(self, act: Act) -> Option<Level> {
        match (self, act) {
            (Ladder::Compactions, Act::Compact(revision)) => Some(revision),
            (Ladder::Lease { id, .. }, Act::Grant(lease)) if id == lease => Some(GRANTED),
            (Ladder::Lease { id, .. }, Act::End(lease)) if id == lease => Some(ENDED),
            (Ladder::Compactions | Ladder::Lease { .. }, _) => None,
        }
    }

    /// Whether the state can go from one level straight to the other.
    fn leads(self, from: Level, to: Level) -> bool {
        match self {
            Ladder::Compactions => from < to,
            Ladder::Lease { .. } => from + 1 == to,
        }
    }

    fn allows(item: &Item, level: Level) -> bool {
        item.needs.iter().all(|need| match *need {
            Need::CompactAtMost(revision) => level <= revision,
            Need::CompactAtLeast(revision) => level >= revision,
            Need::Lease(_) => level == GRANTED,
            Need::NoLease(_) => level != GRANTED,
        })
    }

    /// Whether an item may happen on this level or on a higher one.
    fn may_wait(self, item: &Item, level: Level) -> bool {
        match self {
            Ladder::Compactions => item
                .needs
                .iter()
                .all(|need| !matches!(need, Need::CompactAtMost(revision) if *revision < level)),
            Ladder::Lease { .. } => (level..=ENDED).any(|level| Ladder::allows(item, level)),
        }
    }
}

/// A climb, as far as it has come.
struct Climb<'a> {
    ladder: Ladder,
    items: &'a [Item],
    level: Level,
    /// By item: the level on which it was placed.
    placed: Vec<Option<Level>>,
    /// By item: it, or a variant of it, is placed, or there is no place for it.
    gone: Vec<bool>,
    /// Mandatory things that are not placed.
    due: usize,
    /// What ends before these is too late: something is placed that must come after it.
    latest: (Spot, u64),
    groups: BTreeMap<usize, Vec<usize>>,
    /// Mandatory items by when they must come at last; what is gone is skipped.
    by_last_spot: Vec<usize>,
    by_last_time: Vec<usize>,
    /// Items by the first spot they can have, last first: those that have not come up.
    below: Vec<usize>,
    /// Items whose spot has come up, but perhaps not their time.
    waiting_for_time: BinaryHeap<Reverse<(u64, usize)>>,
    /// Items with nothing before them that is not placed, but on another level, or rises.
    open: Vec<usize>,
}

impl<'a> Climb<'a> {
    fn new(ladder: Ladder, items: &'a [Item]) -> Climb<'a> {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            groups.entry(item.group).or_default().push(index);
        }
        let gone: Vec<bool> = items.iter().map(|item| !item.has_place()).collect();
        let mandatory: Vec<usize> =
            (0..items.len()).filter(|index| items[*index].mandatory && !gone[*index]).collect();
        let mut by_last_spot = mandatory.clone();
        by_last_spot.sort_by_key(|index| Reverse(items[*index].spots.1));
        let mut by_last_time = mandatory;
        by_last_time.sort_by_key(|index| Reverse(items[*index].times.1));
        let mut below: Vec<usize> = (0..items.len()).filter(|index| !gone[*index]).collect();
        below.sort_by_key(|index| Reverse(items[*index].spots.0));
        let due = groups.values().filter(|group| items[group[0]].mandatory).count();
        Climb {
            ladder,
            items,
            level: ladder.first(),
            placed: vec![None; items.len()],
            gone,
            due,
            latest: (0, 0),
            groups,
            by_last_spot,
            by_last_time,
            below,
            waiting_for_time: BinaryHeap::new(),
            open: Vec::new(),
        }
    }

    /// Climbs to the end. If it gets stuck, says which operations are to blame.
    fn run(&mut self) -> Option<Vec<usize>> {
        loop {
            self.place_all();
            if self.due == 0 {
                return None;
            }
            let Some(rise) = self.smallest_rise() else { return Some(self.stuck_at()) };
            let to = self.ladder.step(self.items[rise].act).expect("it rises");
            self.place(rise);
            self.level = to;
        }
    }

    /// Places everything that can be on this level and changes nothing.
    fn place_all(&mut self) {
        let mut looked_at = 0;
        loop {
            self.open_up();
            let mut open = std::mem::take(&mut self.open);
            let before = self.due;
            let mut kept = 0;
            for place in 0..open.len() {
                let index = open[place];
                let is_new = place >= looked_at;
                if is_new && self.is_placeable(index) {
                    self.place(index);
                } else if !self.gone[index] {
                    open[kept] = index;
                    kept += 1;
                }
            }
            open.truncate(kept);
            looked_at = kept;
            self.open = open;
            if self.due == before {
                return;
            }
        }
    }

    fn is_placeable(&self, index: usize) -> bool {
        let item = &self.items[index];
        let observes = item.mandatory && item.act == Act::Observe;
        observes && !self.gone[index] && Ladder::allows(item, self.level)
    }

    /// Brings up what has nothing before it any more.
    fn open_up(&mut self) {
        let last = |list: &mut Vec<usize>, gone: &[bool]| {
            while list.last().is_some_and(|index| gone[*index]) {
                list.pop();
            }
            list.last().copied()
        };
        let spot = last(&mut self.by_last_spot, &self.gone);
        let spot = spot.map_or(Spot::MAX, |index| self.items[index].spots.1);
        let time = last(&mut self.by_last_time, &self.gone);
        let time = time.map_or(u64::MAX, |index| self.items[index].times.1);
        while let Some(index) = self.below.pop_if(|index| self.items[*index].spots.0 <= spot) {
            self.waiting_for_time.push(Reverse((self.items[index].times.0, index)));
        }
        while let Some(&Reverse((from, index))) = self.waiting_for_time.peek()
            && from <= time
        {
            self.waiting_for_time.pop();
            self.open.push(index);
        }
    }

    /// The open act that lifts the state least. What must still lift it later must not be passed.
    fn smallest_rise(&self) -> Option<usize> {
        let target = |index: usize| self.ladder.step(self.items[index].act);
        let due = (0..self.items.len())
            .filter(|index| self.items[*index].mandatory && !self.gone[*index])
            .filter_map(target)
            .min();
        let possible = self.open.iter().copied().filter(|index| {
            let item = &self.items[*index];
            let Some(to) = target(*index) else { return false };
            let in_turn = due.is_none_or(|due| to < due || to == due && item.mandatory);
            in_turn
                && !self.gone[*index]
                && self.ladder.leads(self.level, to)
                && Ladder::allows(item, self.level)
                && !self.is_given_up(*index)
        });
        possible.min_by_key(|index| target(*index))
    }

    /// Whether something is placed that an optional item would have had to come before.
    fn is_given_up(&self, index: usize) -> bool {
        let item = &self.items[index];
        !item.mandatory && (item.spots.1 < self.latest.0 || item.times.1 < self.latest.1)
    }

    /// Placed items that this one would have had to come before.
    fn after(&self, index: usize) -> impl Iterator<Item = (&Item, Level)> {
        let own = &self.items[index];
        let placed = self.items.iter().zip(&self.placed);
        placed
            .filter_map(|(item, level)| level.map(|level| (item, level)))
            .filter(|(item, _)| own.precedes(item))
    }

    /// Whether a rise was passed over for something that could also have come after it, or not at
    /// all.
    fn passed_over(&self) -> bool {
        (0..self.items.len()).any(|index| {
            let Some(to) = self.ladder.step(self.items[index].act) else { return false };
            !self.items[index].mandatory
                && self.after(index).any(|(item, level)| match self.ladder.step(item.act) {
                    None => level < to && self.ladder.may_wait(item, to),
                    Some(lower) => lower < to && !item.mandatory,
                })
        })
    }

    fn is_variant(&self, item: &Item) -> bool {
        item.mandatory && self.groups[&item.group].len() > 1
    }

    fn has_variants(&self) -> bool {
        self.items.iter().any(|item| self.is_variant(item))
    }

    fn place(&mut self, index: usize) {
        let item = &self.items[index];
        self.placed[index] = Some(self.level);
        self.latest = (self.latest.0.max(item.spots.0), self.latest.1.max(item.times.0));
        for variant in &self.groups[&item.group] {
            self.gone[*variant] = true;
        }
        self.due -= usize::from(item.mandatory);
    }

    /// What can never be placed; or else what waits for the state to rise, with what keeps it from
    /// rising; or all that is left.
    fn stuck_at(&self) -> Vec<usize> {
        let left = |index: &usize| self.items[*index].mandatory && !self.gone[*index];
        let step = |index: &usize| self.ladder.step(self.items[*index].act);
        let open = self.open.iter().copied().filter(left);
        let (mut waiting, never): (Vec<usize>, Vec<usize>) = open.partition(|index| {
            let may_wait = self.ladder.may_wait(&self.items[*index], self.level);
            step(index).map_or(may_wait, |to| self.level < to)
        });
        if waiting.iter().any(|index| step(index).is_some()) {
            let lowest = (0..self.items.len())
                .filter(left)
                .min_by_key(|index| step(index).unwrap_or(Level::MAX));
            waiting.extend(lowest);
        }
        let all: Vec<usize> = (0..self.items.len()).filter(left).collect();
        let blamed = [self.homeless(), never, waiting, all];
        let blamed = blamed.into_iter().find(|blamed| !blamed.is_empty()).unwrap_or_default();
        let mut operations: Vec<usize> =
            blamed.into_iter().filter_map(|index| self.items[index].operation).collect();
        operations.sort_unstable();
        operations.dedup();
        operations
    }

    /// What must have happened, and has no place in any way.
    fn homeless(&self) -> Vec<usize> {
        let groups = self.groups.values().filter(|group| {
            let has_place = |index: &usize| self.items[*index].has_place();
            self.items[group[0]].mandatory && !group.iter().any(has_place)
        });
        groups.flatten().copied().collect()
    }
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
