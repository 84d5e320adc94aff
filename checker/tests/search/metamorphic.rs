//! What must not make a valid history invalid: an outcome that is forgotten, a call that takes
//! longer. And what must not change a verdict at all: moving all of it in time, other threads.

use std::fmt::Debug;
use std::num::NonZero;

use rusd_checker::model::append::AppendString;
use rusd_checker::model::bank::{Bank, UnknownBank};
use rusd_checker::model::cas_register::CasRegister;
use rusd_checker::model::keyed::Keyed;
use rusd_checker::model::lock::Lock;
use rusd_checker::model::register::Register;
use rusd_checker::model::set::GrowSet;
use rusd_checker::search::{Calls, Engine, Options, Verdict, check};
use rusd_checker::synthetic::Dice;
use rusd_checker::synthetic_calls::{Load, Values, kv, with_an_old_read};

use super::agreement::show;
use super::damage::{forget, make, pick, space};
use super::histories;
use super::subjects::{Subject, Unique};

#[test]
fn a_valid_history_stays_valid_when_calls_take_longer() {
    let each = histories().div_ceil(8);
    widen::<Register<u64>>(each);
    widen::<Unique<Register<u64>>>(each);
    widen::<Unique<CasRegister<u64>>>(each);
    widen::<CasRegister<u64>>(each);
    widen::<Keyed<u64, AppendString>>(each);
    widen::<GrowSet<u64>>(each);
    widen::<Lock>(each);
    widen::<Bank>(each);
    widen::<UnknownBank>(each);
}

fn widen<S>(histories: u64)
where
    S: Subject,
    S::Op: Clone + Debug + Sync,
    S::Ret: Clone + Debug + Sync,
{
    let options = Options::default();
    let mut widened = 0;
    for seed in 0..histories {
        let (initial, calls, _) = make::<S>(seed);
        if check(&initial, &calls, &options).verdict != Verdict::Linearizable {
            continue;
        }
        let mut dice = Dice::new(seed);
        let mut list = calls.list().to_vec();
        for _ in 0..4 {
            if list.is_empty() {
                break;
            }
            let place = pick(&mut dice, list.len());
            space(&mut list);
            match dice.below(3) {
                // Before the event that came before, or after the one that came after.
                0 => list[place].invoked = list[place].invoked.saturating_sub(5 * dice.below(3)),
                1 => {
                    let longer = 5 * dice.below(3);
                    list[place].returned = list[place].returned.map(|returned| returned + longer);
                }
                _ => forget(&mut list, place),
            }
            let Ok(wider) = Calls::new(list.clone()) else { continue };
            let verdict = check(&initial, &wider, &options).verdict;
            let told =
                format!("seed {seed}: {initial:?}\n{}\nwider\n{}", show(&calls), show(&wider));
            assert_eq!(verdict, Verdict::Linearizable, "{told}");
            widened += 1;
        }
    }
    assert!(widened > histories, "only {widened} were widened");
}

#[test]
fn threads_change_nothing() {
    let load = Load { clients: 8, calls: 8_000, unknown_per_mille: 5 };
    let mut illegal = 0;
    for seed in 0..12 {
        let mut dice = Dice::new(seed);
        let calls = kv(load, 50, seed);
        let is_read = |op: &rusd_checker::model::keyed::KeyedOp<String, _>| {
            op.op == rusd_checker::model::append::AppendOp::Get
        };
        let mut damaged = calls.clone();
        for _ in 0..seed % 4 {
            damaged = with_an_old_read(&damaged, is_read, &mut dice);
        }
        let initial = Keyed::new(AppendString::default());
        let judge = |threads| {
            let threads = NonZero::new(threads);
            check(&initial, &damaged, &Options { threads, ..Options::default() }).verdict
        };
        let alone = judge(1);
        assert_eq!(alone, judge(4), "seed {seed}");
        assert!(alone == Verdict::Linearizable || seed % 4 > 0, "seed {seed}: {alone:?}");
        illegal += u32::from(alone.name() == "illegal");
    }
    assert!(illegal >= 3, "only {illegal} were illegal");
}

#[test]
fn a_search_that_is_cut_short_says_so() {
    let load = Load { clients: 20, calls: 2_000, unknown_per_mille: 100 };
    let calls = rusd_checker::synthetic_calls::cas_register(load, Values::Few(5), 1);
    let initial = CasRegister::default();
    let options = Options { engine: Engine::Wgl, steps_max: 100, ..Options::default() };
    let answer = check(&initial, &calls, &options);
    let Verdict::Unknown { reason } = &answer.verdict else { panic!("{answer:?}") };
    assert!(reason.contains("100 steps"), "{reason}");
    assert_eq!(answer.steps, 100);
    let options = Options { engine: Engine::Wgl, ..Options::default() };
    options.cancel.cancel();
    let verdict = check(&initial, &calls, &options).verdict;
    assert!(matches!(verdict, Verdict::Unknown { .. }), "{verdict:?}");
    let options = Options { engine: Engine::Zones, ..Options::default() };
    let verdict = check(&initial, &calls, &options).verdict;
    assert!(matches!(verdict, Verdict::Unknown { .. }), "values are written again and again");
}
