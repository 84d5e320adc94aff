//! Where states only grow, of which not all are known: what can still become of one.
//!
//! The model may know that calls of opaque effect lead from one state never to another, as nothing
//! that is appended to a string takes away what it begins with. A read that is open must find its
//! state before it returns; if the state that is there cannot grow into it, then only a call that
//! leaves a state whatever it finds can help, and one of these must be left in time. So a wrong order
//! of calls that grow a state is seen with the first read that is open, and not when none fits any more.

use super::automaton::StateId;
use super::model::Model;
use super::numbers::wide;
use super::problem::Problem;
use super::window::Window;

/// Calls that leave a state whatever they find, with that state.
pub(super) struct Resets {
    /// Of known outcome, by their invocation.
    known: Vec<(u32, StateId)>,
    /// Classes of unknown outcome.
    unknown: Vec<(u32, StateId)>,
}

impl Resets {
    /// Of all calls of a problem.
    pub(super) fn new<M: Model>(problem: &Problem<'_, M>) -> Resets {
        let leaves = |class| problem.automaton.known(class).leaves();
        let known = (0..).zip(&problem.known);
        let unknown = (0..).zip(&problem.unknown);
        Resets {
            known: known.filter_map(|(call, it)| Some((call, leaves(it.class)?))).collect(),
            unknown: unknown.filter_map(|(index, it)| Some((index, leaves(it.class)?))).collect(),
        }
    }

    /// Whether one is left that is invoked before the event `deadline` and leaves what can become
    /// `read`.
    pub(super) fn is_left_for<M: Model>(
        &self,
        read: StateId,
        deadline: u32,
        window: &Window,
        used: &[u32],
        problem: &Problem<'_, M>,
    ) -> bool {
        let begin = self.known.partition_point(|(call, _)| wide(*call) < window.first());
        let mut known = self.known[begin..]
            .iter()
            .take_while(|(call, _)| problem.known[wide(*call)].invoked < deadline)
            .filter(|(call, _)| !window.contains(*call));
        let mut unknown = self.unknown.iter().filter(|(index, _)| {
            let next = wide(used[wide(*index)]);
            let invoked = problem.unknown[wide(*index)].invoked.get(next);
            invoked.is_some_and(|invoked| *invoked <= deadline)
        });
        known.any(|(_, state)| problem.automaton.may_grow(*state, read))
            || unknown.any(|(_, state)| problem.automaton.may_grow(*state, read))
    }
}
