//! Trying everything: the checker that is too simple to be wrong.

use rusd_checker::search::{Calls, Model};

/// Whether there is an order of the calls that explains every answer.
pub(crate) fn is_linearizable<M: Model>(initial: &M, calls: &Calls<M::Op, M::Ret>) -> bool {
    can_go_on(initial, calls, &mut vec![false; calls.len()])
}

/// Whether the calls that are not placed can follow in some order. Those of unknown outcome need
/// not.
fn can_go_on<M: Model>(state: &M, calls: &Calls<M::Op, M::Ret>, placed: &mut [bool]) -> bool {
    let left: Vec<usize> = (0..calls.len()).filter(|place| !placed[*place]).collect();
    let returns = left.iter().filter_map(|place| calls.list()[*place].outcome());
    let Some(first_return) = returns.map(|(returned, _)| returned).min() else { return true };
    left.into_iter().any(|place| {
        let call = &calls.list()[place];
        let mut after = state.clone();
        let fits = call.invoked < first_return
            && if let Some((_, ret)) = call.outcome() {
                after.is_valid_step(&call.op, ret)
            } else {
                after.invoke(&call.op);
                true
            };
        if !fits {
            return false;
        }
        placed[place] = true;
        let goes_on = can_go_on(&after, calls, placed);
        placed[place] = false;
        goes_on
    })
}
