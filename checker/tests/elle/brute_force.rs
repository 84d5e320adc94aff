//! The check against trying every order, on small histories.
//!
//! For lists the two must agree: a history that is not found to be wrong has a serial order, and one
//! that is has none. For registers a history that is found to be wrong has none; the converse holds
//! where revisions tell the order of all versions.
//!
//! A few thousand histories of each kind by default; more with `ELLE_HISTORIES=500000`, or with a range of
//! seeds, `ELLE_HISTORIES=100000..200000`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rusd_checker::elle::{
    Element, Key, KeyOrder, Model, Options, Outcome, Report, Transaction, Validity, list_append,
    rw_register,
};
use rusd_checker::synthetic::Dice;

use crate::simulated::{Isolation, Shape, Store};

const HISTORIES_DEFAULT: u64 = 6_000;

/// The seeds of the histories to try.
fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("ELLE_HISTORIES") else { return 0..HISTORIES_DEFAULT };
    let number = |text: &str| text.parse().expect("ELLE_HISTORIES is a number or a range");
    match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&text),
    }
}

/// How many histories are tried.
fn histories() -> u64 {
    seeds().end - seeds().start
}

/// What a model of the data says of micro-operations done one after the other.
trait Data: Clone + Default {
    type Mop;

    /// Does it; false if it cannot have shown what it did. Reads count only if `shows`.
    fn act(&mut self, mop: &Self::Mop, shows: bool) -> bool;
}

#[derive(Clone, Default)]
struct Lists(BTreeMap<Key, Vec<Element>>);

impl Data for Lists {
    type Mop = list_append::Mop;

    fn act(&mut self, mop: &list_append::Mop, shows: bool) -> bool {
        match mop {
            list_append::Mop::Append { key, element } => {
                self.0.entry(*key).or_default().push(*element);
                true
            }
            list_append::Mop::Read { key, list } => {
                let now = self.0.get(key).map_or(&[][..], Vec::as_slice);
                !shows || list.as_deref().unwrap_or(&[]) == now
            }
        }
    }
}

/// For each key its value, the revision that is known of that, and the greatest that was known so far:
/// revisions rise.
#[derive(Clone, Default)]
struct Registers(BTreeMap<Key, (Element, Option<u64>, u64)>);

impl Data for Registers {
    type Mop = rw_register::Mop;

    fn act(&mut self, mop: &rw_register::Mop, shows: bool) -> bool {
        match mop {
            rw_register::Mop::Write { key, value, mod_revision } => {
                let before = self.0.get(key).map_or(0, |now| now.2);
                let greatest = mod_revision.unwrap_or(before);
                self.0.insert(*key, (*value, *mod_revision, greatest));
                mod_revision.is_none_or(|revision| before < revision)
            }
            rw_register::Mop::Read { .. } if !shows => true,
            rw_register::Mop::Read { key, value, mod_revision } => {
                let now = self.0.get(key).copied();
                now.map(|now| now.0) == *value
                    && match (now.and_then(|now| now.1), mod_revision) {
                        (Some(now), Some(told)) => now == *told,
                        _ => true,
                    }
            }
        }
    }
}

/// What an order must respect beside what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Respects {
    Nothing,
    /// Each process does one thing after the other.
    Processes,
    /// What had returned comes before what was called then.
    RealTime,
}

impl Respects {
    const ALL: [Respects; 3] = [Respects::Nothing, Respects::Processes, Respects::RealTime];

    /// Whether the first must come before the second, if both are in the order.
    fn sets<M>(self, first: &Transaction<M>, second: &Transaction<M>) -> bool {
        let has_returned = first.outcome == Outcome::Ok
            && first.returned.is_some_and(|returned| returned < second.invoked);
        match self {
            Respects::Nothing => false,
            Respects::Processes => has_returned && first.process == second.process,
            Respects::RealTime => has_returned,
        }
    }

    fn options(self) -> Options {
        Options::expecting(&[match self {
            Respects::Nothing => Model::Serializable,
            Respects::Processes => Model::StrongSessionSerializable,
            Respects::RealTime => Model::StrongSerializable,
        }])
    }
}

/// Whether some order of all that committed, with any of what is unknown, shows each its reads.
fn has_order<D: Data>(history: &[Transaction<D::Mop>], respects: Respects) -> bool {
    let left: Vec<&Transaction<D::Mop>> =
        history.iter().filter(|own| own.outcome != Outcome::Fail).collect();
    place::<D>(&D::default(), &left, respects)
}

fn place<D: Data>(state: &D, left: &[&Transaction<D::Mop>], respects: Respects) -> bool {
    if left.iter().all(|own| own.outcome != Outcome::Ok) {
        return true;
    }
    (0..left.len()).any(|next| {
        let own = left[next];
        if left.iter().any(|other| respects.sets(other, own)) {
            return false;
        }
        let mut state = state.clone();
        let shows = own.outcome == Outcome::Ok;
        if !own.mops.iter().all(|mop| state.act(mop, shows)) {
            return false;
        }
        let rest: Vec<_> = [&left[..next], &left[next + 1..]].concat();
        place(&state, &rest, respects)
    })
}

/// A small history of a store that is as isolated as the seed wills.
fn simulate(seed: u64, dice: &mut Dice) -> Store {
    let isolation = match dice.below(6) {
        0 => Isolation::ReadUncommitted,
        1 => Isolation::ReadCommitted,
        2 | 3 => Isolation::Snapshot,
        _ => Isolation::Serializable,
    };
    let shape = Shape {
        isolation,
        clients: 2 + dice.below(3),
        keys: 1 + dice.below(3),
        transactions: 3 + dice.below(4),
        mops_max: 1 + dice.below(3),
        unknown_per_mille: if dice.per_mille(500) { 250 } else { 0 },
    };
    Store::run(seed, shape)
}

#[test]
fn lists_have_an_order_exactly_if_nothing_is_found() {
    let mut counts = [0_u64; 2];
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for seed in seeds() {
        let mut dice = Dice::new(seed ^ 0x1157);
        let mut history = simulate(seed, &mut dice).lists();
        for _ in 0..dice.below(3) {
            damage_list(&mut history, &mut dice);
        }
        for respects in Respects::ALL {
            let report = list_append::check(&history, &respects.options());
            let valid = report.valid != Validity::Invalid;
            let has_order = has_order::<Lists>(&history, respects);
            assert_eq!(
                valid, has_order,
                "seed {seed}, respecting {respects:?}: {report:#?}\n{history:#?}"
            );
            counts[usize::from(valid)] += 1;
            for anomaly in &report.anomaly_types {
                *kinds.entry(anomaly.to_string()).or_default() += 1;
            }
        }
    }
    println!("{} invalid, {} valid; {kinds:?}", counts[0], counts[1]);
    assert!(counts.iter().all(|count| count * 5 > histories()), "{counts:?}");
    for anomaly in [
        "G0",
        "G1a",
        "G1b",
        "G1c",
        "G-single-item",
        "G2-item",
        "dirty-update",
        "duplicate-elements",
        "future-read",
        "garbage-read",
        "incompatible-order",
        "internal",
        "lost-update",
        "G-single-item-process",
        "G2-item-process",
        "G1c-process",
        "G-single-item-realtime",
        "G1c-realtime",
        "G0-realtime",
    ] {
        assert!(kinds.contains_key(anomaly), "no {anomaly} among {kinds:?}");
    }
}

#[test]
fn registers_found_to_be_wrong_have_no_order() {
    let mut invalid = 0_u64;
    for seed in seeds() {
        let mut dice = Dice::new(seed ^ 0x4e9);
        let mut history = simulate(seed, &mut dice).registers(false);
        for _ in 0..dice.below(3) {
            damage_register(&mut history, &mut dice);
        }
        for respects in Respects::ALL {
            // Where the store is linearizable, so is each key, and writes follow what was read.
            let keys = KeyOrder {
                writes_follow_reads: dice.per_mille(500),
                sequential: respects != Respects::Nothing && dice.per_mille(500),
                linearizable: respects == Respects::RealTime && dice.per_mille(500),
            };
            let report = rw_register::check(&history, &Options { keys, ..respects.options() });
            if report.valid == Validity::Invalid {
                invalid += 1;
                let has_order = has_order::<Registers>(&history, respects);
                assert!(
                    !has_order,
                    "seed {seed}, respecting {respects:?}: {report:#?}\n{history:#?}"
                );
            }
        }
    }
    println!("{invalid} invalid");
    assert!(invalid * 10 > histories(), "{invalid}");
}

#[test]
fn registers_with_revisions_have_an_order_exactly_if_nothing_is_found() {
    let mut counts = [0_u64; 2];
    for seed in seeds() {
        let mut dice = Dice::new(seed ^ 0x3e7);
        let mut history = simulate(seed, &mut dice).registers(true);
        for _ in 0..dice.below(3) {
            damage_register(&mut history, &mut dice);
        }
        if !tells_all(&history) {
            continue;
        }
        for respects in Respects::ALL {
            let report: Report = rw_register::check(&history, &respects.options());
            let valid = report.valid != Validity::Invalid;
            let has_order = has_order::<Registers>(&told(&history), respects);
            assert_eq!(
                valid, has_order,
                "seed {seed}, respecting {respects:?}: {report:#?}\n{history:#?}"
            );
            counts[usize::from(valid)] += 1;
        }
    }
    println!("{} invalid, {} valid", counts[0], counts[1]);
    assert!(counts.iter().all(|count| count * 10 > histories()), "{counts:?}");
}

/// Whether every value read was written and has a revision, as has every write that committed, and of
/// every transaction of unknown outcome all writes were read or none: then the order of all versions is
/// known, but for those of transactions that need not have happened.
fn tells_all(history: &[Transaction<rw_register::Mop>]) -> bool {
    let committed = || history.iter().filter(|own| own.outcome == Outcome::Ok);
    let mut read = BTreeMap::new();
    for mop in committed().flat_map(|own| &own.mops) {
        match mop {
            rw_register::Mop::Read { key, value: Some(value), mod_revision } => {
                let is_told: &mut bool = read.entry((*key, *value)).or_insert(true);
                *is_told &= mod_revision.is_some();
            }
            rw_register::Mop::Write { mod_revision: None, .. } => return false,
            rw_register::Mop::Read { value: None, .. } | rw_register::Mop::Write { .. } => {}
        }
    }
    let writes = |own: &Transaction<rw_register::Mop>| -> Vec<(Key, Element)> {
        let write = |mop: &rw_register::Mop| match mop {
            rw_register::Mop::Write { key, value, .. } => Some((*key, *value)),
            rw_register::Mop::Read { .. } => None,
        };
        own.mops.iter().filter_map(write).collect()
    };
    let written: BTreeSet<(Key, Element)> = history.iter().flat_map(writes).collect();
    let all_or_none = |own: &Transaction<rw_register::Mop>| {
        let writes = writes(own);
        let count = writes.iter().filter(|write| read.contains_key(write)).count();
        count == 0 || count == writes.len()
    };
    read.iter().all(|(write, is_told)| *is_told && written.contains(write))
        && history.iter().filter(|own| own.outcome != Outcome::Ok).all(all_or_none)
}

/// The history with all revisions at all writes, as far as anybody tells them. A value of which two are
/// told is written with the one and read with the other, which no order shows.
fn told(history: &[Transaction<rw_register::Mop>]) -> Vec<Transaction<rw_register::Mop>> {
    let mut revisions = BTreeMap::new();
    for mop in history.iter().filter(|own| own.outcome == Outcome::Ok).flat_map(|own| &own.mops) {
        if let rw_register::Mop::Read { key, value: Some(value), mod_revision } = mop {
            revisions.insert((*key, *value), *mod_revision);
        }
    }
    let mut told = history.to_vec();
    for own in told.iter_mut().filter(|own| own.outcome != Outcome::Ok) {
        for mop in &mut own.mops {
            if let rw_register::Mop::Write { key, value, mod_revision } = mop {
                *mod_revision = revisions.get(&(*key, *value)).copied().flatten();
            }
        }
    }
    told
}

fn pick(length: usize, dice: &mut Dice) -> Option<usize> {
    let length = u64::try_from(length).expect("usize fits u64");
    (length > 0).then(|| usize::try_from(dice.below(length)).expect("below a usize"))
}

fn damage_list(history: &mut Vec<Transaction<list_append::Mop>>, dice: &mut Dice) {
    let Some(own) = pick(history.len(), dice) else { return };
    if dice.per_mille(300) {
        damage_transaction(history, own, dice);
        return;
    }
    let Some(place) = pick(history[own].mops.len(), dice) else { return };
    let lists: Vec<Vec<Element>> = history
        .iter()
        .flat_map(|own| &own.mops)
        .filter_map(|mop| match mop {
            list_append::Mop::Read { list, .. } => list.clone(),
            list_append::Mop::Append { .. } => None,
        })
        .collect();
    let list_append::Mop::Read { list: Some(list), .. } = &mut history[own].mops[place] else {
        return;
    };
    match dice.below(6) {
        0 => drop(list.pop()),
        1 => list.push(Element(u32::try_from(dice.below(8)).expect("small"))),
        2 => {
            if let Some(at) = pick(list.len(), dice) {
                list.remove(at);
            }
        }
        3 => {
            if let (Some(one), Some(other)) = (pick(list.len(), dice), pick(list.len(), dice)) {
                list.swap(one, other);
            }
        }
        4 => {
            if let Some(other) = pick(lists.len(), dice) {
                list.clone_from(&lists[other]);
            }
        }
        _ => list.clear(),
    }
}

fn damage_register(history: &mut Vec<Transaction<rw_register::Mop>>, dice: &mut Dice) {
    let Some(own) = pick(history.len(), dice) else { return };
    if dice.per_mille(300) {
        damage_transaction(history, own, dice);
        return;
    }
    let mops: Vec<rw_register::Mop> = history.iter().flat_map(|own| own.mops.clone()).collect();
    let Some(place) = pick(history[own].mops.len(), dice) else { return };
    let Some(other) = pick(mops.len(), dice) else { return };
    let (seen, told) = match mops[other] {
        rw_register::Mop::Read { value, mod_revision, .. } => (value, mod_revision),
        rw_register::Mop::Write { value, mod_revision, .. } => (Some(value), mod_revision),
    };
    match &mut history[own].mops[place] {
        rw_register::Mop::Read { value, mod_revision, .. } => {
            (*value, *mod_revision) = match dice.below(4) {
                0 => (None, None),
                1 => (*value, mod_revision.map(|revision| revision + dice.below(3))),
                _ => (seen, told),
            };
        }
        rw_register::Mop::Write { mod_revision: Some(revision), .. } => *revision += dice.below(3),
        rw_register::Mop::Write { .. } => {}
    }
}

/// Changes of outcome and of time.
fn damage_transaction<M>(history: &mut Vec<Transaction<M>>, own: usize, dice: &mut Dice) {
    match dice.below(4) {
        0 => history[own].outcome = Outcome::Fail,
        1 => history[own].outcome = Outcome::Unknown,
        2 => drop(history.remove(own)),
        // Before everything else, or after.
        _ => {
            let last = history.iter().filter_map(|own| own.returned).max().unwrap_or(0);
            let (invoked, shift) = (&mut history[own].invoked, last + 1);
            *invoked += shift;
            history[own].returned = history[own].returned.map(|returned| returned + shift);
        }
    }
}
