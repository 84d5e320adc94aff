//! Every engine, stateright's tester and trying everything: of each history they say the same.

use std::fmt::Debug;

use rusd_checker::model::append::AppendString;
use rusd_checker::model::bank::{Bank, UnknownBank};
use rusd_checker::model::cas_register::CasRegister;
use rusd_checker::model::counter::Counter;
use rusd_checker::model::etcd_store::EtcdStore;
use rusd_checker::model::keyed::Keyed;
use rusd_checker::model::lock::Lock;
use rusd_checker::model::multi_register::MultiRegister;
use rusd_checker::model::register::Register;
use rusd_checker::model::set::GrowSet;
use rusd_checker::model::versioned_register::VersionedRegister;
use rusd_checker::search::{Calls, Counterexample, Engine, Options, Verdict, WglTester, check};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use super::damage::make;
use super::exhaustive::is_linearizable;
use super::histories;
use super::subjects::{Subject, Unique};

/// What was seen of one kind of object.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    histories: u64,
    illegal: u64,
    unknown_outcomes: u64,
    by_zones: u64,
}

#[test]
fn the_search_agrees() {
    // Fourteen kinds of objects share the number.
    let each = histories().div_ceil(14);
    let search = Engine::Wgl;
    report("search, register", compare::<Register<u64>>(each, search));
    report("search, unique register", compare::<Unique<Register<u64>>>(each, search));
    report("search, cas register", compare::<CasRegister<u64>>(each, search));
    report("search, unique cas register", compare::<Unique<CasRegister<u64>>>(each, search));
    report("search, versioned register", compare::<VersionedRegister<u64>>(each, search));
    report("search, strings by key", compare::<Keyed<u64, AppendString>>(each, search));
    report("search, cas registers by key", compare::<Keyed<u64, CasRegister<u64>>>(each, search));
    report("search, set", compare::<GrowSet<u64>>(each, search));
    report("search, counter", compare::<Counter>(each, search));
    report("search, lock", compare::<Lock>(each, search));
    report("search, bank", compare::<Bank>(each, search));
    report("search, bank of unknown beginning", compare::<UnknownBank>(each, search));
    report("search, multi-register", compare::<MultiRegister<u64, u64>>(each, search));
    report("search, etcd store", compare::<EtcdStore>(each, search));
}

#[test]
fn the_zones_agree() {
    let half = histories().div_ceil(2);
    for (name, seen) in [
        ("unique register", compare::<Unique<Register<u64>>>(half, Engine::Auto)),
        ("unique cas register", compare::<Unique<CasRegister<u64>>>(half, Engine::Auto)),
    ] {
        assert!(seen.by_zones * 2 > seen.histories, "{name}: zones decide few: {seen:?}");
        report(&format!("zones, {name}"), seen);
    }
}

/// Says what was seen, in the words that `cargo xtask oracle` looks for, if it is enough of everything.
#[expect(clippy::print_stdout, reason = "xtask keeps what was counted")]
fn report(name: &str, seen: Seen) {
    let Seen { histories, illegal, unknown_outcomes, by_zones } = seen;
    println!(
        "{name}: {histories} histories: {illegal} illegal, {unknown_outcomes} with unknown \
         outcomes, {by_zones} decided by zones; no disagreement"
    );
    assert!(illegal * 10 > histories, "{name}: too few are illegal: {seen:?}");
    assert!(illegal * 10 < histories * 9, "{name}: too few are not: {seen:?}");
    assert!(unknown_outcomes * 4 > histories, "{name}: {seen:?}");
}

fn compare<S>(histories: u64, engine: Engine) -> Seen
where
    S: Subject,
    S::Op: Clone + Debug + Sync,
    S::Ret: Clone + Debug + Sync,
{
    let options = Options { engine, ..Options::default() };
    let mut seen = Seen::default();
    for seed in 0..histories {
        let (initial, calls, is_damaged) = make::<S>(seed);
        let answer = check(&initial, &calls, &options);
        let is_valid = match &answer.verdict {
            Verdict::Linearizable => true,
            Verdict::Illegal(counterexample) => {
                believe(&initial, &calls, counterexample);
                false
            }
            Verdict::Unknown { reason } => panic!("seed {seed}: {reason}"),
        };
        let told = || format!("seed {seed}: {answer:?}\n{initial:?}\n{}", show(&calls));
        assert!(is_valid || is_damaged, "not damaged: {}", told());
        assert_eq!(is_valid, is_linearizable(&initial, &calls), "tried all: {}", told());
        let tester = feed(LinearizabilityTester::new(initial.clone()), &calls);
        assert_eq!(is_valid, tester.is_consistent(), "stateright: {}", told());
        if seed % 8 == 0 {
            let tester = feed(WglTester::new(initial.clone()), &calls);
            assert_eq!(is_valid, tester.is_consistent(), "as a tester: {}", told());
        }
        seen.histories += 1;
        seen.illegal += u64::from(!is_valid);
        let is_unknown =
            |call: &&rusd_checker::search::Call<S::Op, S::Ret>| call.outcome().is_none();
        seen.unknown_outcomes += u64::from(calls.list().iter().find(is_unknown).is_some());
        seen.by_zones += u64::from(answer.by_zones > 0);
    }
    seen
}

/// The calls of a prefix have the order that is told, and with the missing call there is none.
fn believe<S>(initial: &S, calls: &Calls<S::Op, S::Ret>, why: &Counterexample)
where
    S: Subject,
    S::Op: Clone + Debug + Sync,
    S::Ret: Clone + Debug + Sync,
{
    let mut state = initial.clone();
    for (index, place) in why.prefix.iter().enumerate() {
        let call = &calls.list()[*place];
        match call.outcome() {
            Some((_, ret)) => {
                assert!(state.is_valid_step(&call.op, ret), "{why:?}\n{}", show(calls));
            }
            None => {
                state.invoke(&call.op);
            }
        }
        let is_late = |later: &&usize| {
            let returned = calls.list()[**later].outcome().map(|(returned, _)| returned);
            returned.is_some_and(|returned| returned < call.invoked)
        };
        assert_eq!(why.prefix[index..].iter().find(is_late), None, "{why:?}\n{}", show(calls));
    }
    assert!(!why.unplaced.is_empty(), "{why:?}");
    assert!(!why.render::<S>(calls).is_empty());
}

/// Tells a tester of calls and returns. Each call is a thread of its own: only time orders them.
pub(crate) fn feed<S, T>(mut tester: T, calls: &Calls<S::Op, S::Ret>) -> T
where
    S: Subject,
    S::Op: Clone + Debug + Sync,
    S::Ret: Clone + Debug + Sync,
    T: ConsistencyTester<usize, S>,
{
    let mut events = Vec::new();
    for (thread, call) in calls.list().iter().enumerate() {
        events.push((call.invoked, thread, None));
        events.extend(call.outcome().map(|(returned, ret)| (returned, thread, Some(ret))));
    }
    events.sort_unstable_by_key(|(position, ..)| *position);
    for (_, thread, ret) in events {
        let told = match ret {
            None => tester.on_invoke(thread, calls.list()[thread].op.clone()),
            Some(ret) => tester.on_return(thread, ret.clone()),
        };
        assert!(told.is_ok(), "each thread calls once and then returns");
    }
    tester
}

pub(crate) fn show<O: Debug, R: Debug>(calls: &Calls<O, R>) -> String {
    calls.list().iter().map(|call| format!("{call:?}")).collect::<Vec<_>>().join("\n")
}
