//! The climb against the search, on random parts; and parts that only the climb can order.

use super::*;
use crate::linear::solver::solve;

/// The xorshift sequence: these tests lie below the made-up runs and their dice.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            dice.below(1);
        }
        dice
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % bound
    }

    fn per_mille(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }
}

fn small(dice: &mut Dice, bound: u64) -> usize {
    usize::try_from(dice.below(bound)).expect("small")
}

/// Places and times of which some order others; each in a window around the place in line.
fn item(dice: &mut Dice, group: usize) -> Item {
    let spot = small(dice, 12);
    let time = dice.below(12);
    let mut spots = (spot, spot + small(dice, 6));
    let mut times = (time, time + dice.below(6));
    if dice.per_mille(300) {
        spots = (0, 20);
    }
    if dice.per_mille(300) {
        times = (0, 20);
    }
    if dice.per_mille(20) {
        times = (9, 8);
    }
    let operation = Some(group);
    Item { group, mandatory: true, operation, needs: vec![], act: Act::Observe, spots, times }
}

/// As in a history: what nobody heard of may be late without end.
fn about_compactions(dice: &mut Dice) -> Vec<Item> {
    let mut items = with_deadlines(dice);
    for item in items.iter_mut().filter(|item| !item.mandatory) {
        (item.spots.1, item.times.1) = (40, 40);
    }
    items
}

/// Optional compactions must come before some other things.
fn with_deadlines(dice: &mut Dice) -> Vec<Item> {
    let mut items = Vec::new();
    for group in 0..3 + small(dice, 6) {
        let mut item = item(dice, group);
        let revision = i64::try_from(dice.below(5)).expect("small");
        match dice.below(7) {
            0..3 => item.act = Act::Compact(revision),
            3..5 => item.needs.push(Need::CompactAtMost(revision)),
            5 => item.needs.push(Need::CompactAtLeast(revision)),
            _ => {}
        }
        if matches!(item.act, Act::Compact(_)) && dice.per_mille(300) {
            item.mandatory = false;
        }
        items.push(item);
    }
    items
}

fn about_a_lease(dice: &mut Dice) -> Vec<Item> {
    let mut items = Vec::new();
    for group in 0..2 + small(dice, 5) {
        let mut item = item(dice, group);
        match dice.below(9) {
            0 if group == 0 => item.act = Act::Grant(7),
            0..4 => item.needs.push(Need::Lease(7)),
            4..7 => item.needs.push(Need::NoLease(7)),
            _ => item.act = Act::End(7),
        }
        item.mandatory = item.act == Act::Observe || dice.per_mille(500);
        items.push(item);
    }
    items
}

/// Some things may have happened in one of several ways.
fn add_variants(items: &mut Vec<Item>, dice: &mut Dice) {
    for index in 0..items.len() {
        if items[index].act == Act::Observe && dice.per_mille(150) {
            let group = items[index].group;
            items.push(Item { needs: items[index].needs.clone(), ..item(dice, group) });
        }
    }
}

/// Climb and search agree; says whether there is an order, if the climb can tell.
fn decide(items: &[Item], existing: &BTreeSet<i64>, seed: u64) -> Option<bool> {
    let ladder = Ladder::of(items, existing)?;
    let searched = solve(items, existing, &mut 1_000_000);
    match ladder.climb(items) {
        Solved::Yes => {
            assert_eq!(searched, Solved::Yes, "seed {seed}: {items:#?}");
            Some(true)
        }
        Solved::No(_) => {
            assert!(matches!(searched, Solved::No(_)), "seed {seed}: {items:#?}");
            Some(false)
        }
        Solved::TooLong => None,
    }
}

fn decide_many(make: fn(&mut Dice) -> Vec<Item>, existing: &BTreeSet<i64>, variants: bool) -> u64 {
    let (mut yes, mut no, mut undecided) = (0_u64, 0_u64, 0_u64);
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let mut items = make(&mut dice);
        if variants {
            add_variants(&mut items, &mut dice);
        }
        match decide(&items, existing, seed) {
            Some(true) => yes += 1,
            Some(false) => no += 1,
            None => undecided += 1,
        }
    }
    assert!(yes * 12 > SEEDS && no * 12 > SEEDS, "{yes} yes, {no} no");
    undecided
}

const SEEDS: u64 = 20_000;

#[test]
fn compactions_are_ordered_as_the_search_orders_them() {
    let none = BTreeSet::new();
    assert_eq!(decide_many(about_compactions, &none, false), 0);
    for make in [about_compactions, with_deadlines] {
        let undecided = decide_many(make, &none, true);
        assert!(undecided * 10 < SEEDS, "{undecided} undecided");
    }
}

#[test]
fn a_lease_is_ordered_as_the_search_orders_it() {
    for existing in [BTreeSet::new(), BTreeSet::from([7])] {
        for variants in [false, true] {
            let undecided = decide_many(about_a_lease, &existing, variants);
            assert!(undecided * 5 < SEEDS, "{undecided} undecided");
        }
    }
}

/// What has an order has one too if less is asked.
#[test]
fn a_projection_asks_for_less() {
    let mut split = 0;
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let mut items = about_compactions(&mut dice);
        let groups = items.len();
        for mut item in about_a_lease(&mut dice) {
            item.group += groups;
            items.push(item);
        }
        add_variants(&mut items, &mut dice);
        let none = BTreeSet::new();
        let decided: Vec<Solved> = Ladder::within(&items, &none)
            .into_iter()
            .map(|ladder| ladder.climb(&ladder.project(&items)))
            .collect();
        if decided.iter().any(|solved| matches!(solved, Solved::No(_))) {
            split += 1;
            let searched = solve(&items, &none, &mut 1_000_000);
            assert!(matches!(searched, Solved::No(_) | Solved::TooLong), "seed {seed}");
        }
    }
    assert!(split > SEEDS / 10, "{split}");
}

/// As in a run: reads of the past one after the other, and now and then a compaction.
fn long(compactions: &[i64]) -> Vec<Item> {
    let mut items = Vec::new();
    for group in 0..600_usize {
        let at = u64::try_from(group).expect("small") * 10;
        let act = match group.checked_sub(100).map(|past| (past % 100, past / 100)) {
            Some((0, nth)) if nth < compactions.len() => Act::Compact(compactions[nth]),
            _ => Act::Observe,
        };
        let needs = match act {
            Act::Observe => vec![Need::CompactAtMost(at.try_into().expect("small"))],
            _ => vec![],
        };
        let (spots, times) = ((group, group), (at, at + 25));
        items.push(Item {
            group,
            mandatory: true,
            operation: Some(group),
            needs,
            act,
            spots,
            times,
        });
    }
    items
}

#[test]
fn long_parts_are_decided() {
    let none = BTreeSet::new();
    let decide = |items: &[Item]| Ladder::of(items, &none).expect("one ladder").climb(items);
    assert_eq!(decide(&long(&[100, 900, 1700])), Solved::Yes);
    // The second compaction goes nowhere, or back.
    assert_eq!(decide(&long(&[900, 900, 1700])), Solved::No(vec![200]));
    assert_eq!(decide(&long(&[900, 100, 1700])), Solved::No(vec![100, 200]));
    // What is compacted is read: the first read that should have been refused is named.
    assert_eq!(decide(&long(&[100, 2500])), Solved::No(vec![201]));
}
