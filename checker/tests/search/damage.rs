//! Small histories: some of them as a correct object made them, most of them damaged, which need not
//! make them invalid.

use rusd_checker::search::{Call, Calls};
use rusd_checker::synthetic::Dice;
use rusd_checker::synthetic_calls::{Load, simulate};

use super::subjects::Subject;

/// Calls of unknown outcome: the reference checkers try every way to use them.
const UNKNOWN_MAX: usize = 3;

/// A history of a handful of calls, the object that it begins with, and whether it was damaged.
pub(crate) fn make<S: Subject>(seed: u64) -> (S, Calls<S::Op, S::Ret>, bool)
where
    S::Op: Clone + std::fmt::Debug + Sync,
    S::Ret: Clone + std::fmt::Debug + Sync,
{
    let mut dice = Dice::new(seed ^ 0x005e_a4c4);
    let initial = S::initial(&mut dice);
    let unknown_per_mille = if dice.per_mille(600) { 250 } else { 0 };
    let load = Load { clients: 1 + dice.below(4), calls: 2 + dice.below(7), unknown_per_mille };
    let mut nth = 0;
    let calls = simulate(load, initial.clone(), &mut dice, |dice, _| {
        nth += 1;
        S::op(dice, nth)
    });
    let mut list = calls.list().to_vec();
    let mut unknown = 0;
    list.retain(|call| {
        unknown += usize::from(call.outcome().is_none());
        call.outcome().is_some() || unknown <= UNKNOWN_MAX
    });
    // What was left out may have been read.
    let is_cut = list.len() < calls.len();
    let is_damaged = dice.per_mille(700);
    if is_damaged {
        for _ in 0..=dice.below(3) {
            damage::<S>(&mut list, &mut dice);
        }
    }
    (initial, Calls::new(list).expect("well-formed"), is_damaged || is_cut)
}

fn damage<S: Subject>(list: &mut Vec<Call<S::Op, S::Ret>>, dice: &mut Dice)
where
    S::Op: Clone + std::fmt::Debug + Sync,
    S::Ret: Clone + std::fmt::Debug + Sync,
{
    if list.is_empty() {
        return;
    }
    let place = pick(dice, list.len());
    let other = pick(dice, list.len());
    match dice.below(8) {
        0..3 => {
            let lied = list[place].ret.as_ref().map(|ret| S::lie(dice, ret));
            list[place].ret = lied;
        }
        3 => {
            let op = list[other].op.clone();
            let ret = list[other].ret.clone();
            if list[place].ret.is_some() && ret.is_some() {
                (list[place].op, list[place].ret) = (op, ret);
            }
        }
        4 => swap_times(list, place, other),
        5 => {
            list.remove(place);
        }
        6 => forget(list, place),
        _ => narrow(list, place, dice),
    }
}

fn swap_times<O, R>(list: &mut [Call<O, R>], place: usize, other: usize) {
    if let (Some(here), Some(there)) = (list[place].returned, list[other].returned) {
        let (invoked, returned) = (list[other].invoked, there);
        (list[other].invoked, list[other].returned) = (list[place].invoked, Some(here));
        (list[place].invoked, list[place].returned) = (invoked, Some(returned));
    }
}

/// Forgets the outcome, in any of the ways in which it can be unknown.
pub(crate) fn forget<O, R>(list: &mut [Call<O, R>], place: usize) {
    let unknown = list.iter().filter(|call| call.outcome().is_none()).count();
    if unknown < UNKNOWN_MAX {
        match place % 3 {
            0 => list[place].ret = None,
            1 => list[place].returned = None,
            _ => (list[place].ret, list[place].returned) = (None, None),
        }
    }
}

/// Makes a call shorter: its invocation right before its return, or the other way around.
fn narrow<O, R>(list: &mut [Call<O, R>], place: usize, dice: &mut Dice) {
    if list[place].returned.is_none() {
        return;
    }
    space(list);
    let returned = list[place].returned.expect("looked at above");
    if dice.per_mille(500) {
        list[place].invoked = returned - 1;
    } else {
        list[place].returned = Some(list[place].invoked + 1);
    }
}

/// Makes room between all events.
pub(crate) fn space<O, R>(list: &mut [Call<O, R>]) {
    for call in list {
        call.invoked *= 4;
        call.returned = call.returned.map(|returned| returned * 4);
    }
}

pub(crate) fn pick(dice: &mut Dice, count: usize) -> usize {
    let count = u64::try_from(count).expect("usize fits u64");
    usize::try_from(dice.below(count)).expect("below a usize")
}
