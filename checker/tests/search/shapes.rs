//! What models claim of calls without a state is what happens in every state.

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
use rusd_checker::search::{Effect, Guard, Shape};
use rusd_checker::synthetic::Dice;

use super::subjects::Subject;

#[test]
fn claims_are_true() {
    compare::<Register<u64>>();
    compare::<CasRegister<u64>>();
    compare::<VersionedRegister<u64>>();
    compare::<Keyed<u64, AppendString>>();
    compare::<Keyed<u64, CasRegister<u64>>>();
    compare::<GrowSet<u64>>();
    compare::<Counter>();
    compare::<Lock>();
    compare::<Bank>();
    compare::<UnknownBank>();
    compare::<MultiRegister<u64, u64>>();
    compare::<EtcdStore>();
}

fn compare<S>()
where
    S: Subject,
    S::Op: Clone + Debug + Sync,
    S::Ret: Clone + Debug + Sync,
{
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let initial = S::initial(&mut dice);
        // States are of one part of the object: that of the first operation.
        let ops: Vec<S::Op> = (0..24).map(|nth| S::op(&mut dice, nth)).collect();
        let of_part: Vec<&S::Op> =
            ops.iter().filter(|op| S::partition(op) == S::partition(&ops[0])).collect();
        let mut states = vec![initial.clone()];
        let mut answered = Vec::new();
        for op in &of_part {
            let mut state = states.last().expect("at least the first").clone();
            let ret = state.invoke(op);
            let lie = S::lie(&mut dice, &ret);
            answered.extend([(*op, Some(ret)), (*op, Some(lie)), (*op, None)]);
            states.push(state);
        }
        for state in &states {
            grows(&initial, state, &answered);
        }
        for (op, ret) in &answered {
            let shape = initial.shape(op, ret.as_ref());
            for state in &states {
                let is_read_only = S::is_read_only(op, ret.as_ref());
                holds(state, op, ret.as_ref(), &shape, is_read_only);
            }
        }
    }
}

/// A state may grow into whatever calls of opaque effect make of it.
fn grows<S>(initial: &S, state: &S, answered: &[(&S::Op, Option<S::Ret>)])
where
    S: Subject,
    S::Op: Clone + Debug + Sync,
    S::Ret: Clone + Debug + Sync,
{
    let mut later = state.clone();
    for (op, ret) in answered {
        let mut after = later.clone();
        let fits = if let Some(ret) = ret {
            after.is_valid_step(op, ret)
        } else {
            after.invoke(op);
            true
        };
        if fits && initial.shape(op, ret.as_ref()).effect == Effect::Opaque {
            later = after;
            assert!(state.may_grow_into(&later), "{state:?} into {later:?} by {op:?}");
        }
    }
}

fn holds<S>(state: &S, op: &S::Op, ret: Option<&S::Ret>, shape: &Shape<S>, is_read_only: bool)
where
    S: Subject,
    S::Op: Clone + Debug + Sync,
    S::Ret: Clone + Debug + Sync,
{
    let told = format!("{op:?} -> {ret:?} in {state:?}");
    let mut after = state.clone();
    let fits = if let Some(ret) = ret {
        after.is_valid_step(op, ret)
    } else {
        after.invoke(op);
        after != *state
    };
    let allowed = match &shape.guard {
        Guard::Any => true,
        Guard::Only(only) => only == state,
        Guard::Except(except) => except != state,
        Guard::Opaque => fits,
    };
    // A call of unknown outcome need not change anything where it could.
    assert!(allowed == fits || (ret.is_none() && allowed), "{told}: {:?}", shape.guard);
    if !fits {
        return;
    }
    assert!(!is_read_only || after == *state, "{told} is not read-only");
    match &shape.effect {
        Effect::None => assert_eq!(after, *state, "{told}"),
        Effect::Always(always) => assert_eq!(after, *always, "{told}"),
        Effect::Opaque => {}
    }
}
