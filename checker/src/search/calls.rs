//! A history as the search engines want it: calls, each from its invocation to its return.
//!
//! Neutral: nothing of formats, clocks or servers. Time is the position of an event among all
//! events of the history, so that no two events are at once; whoever reads a format decides what
//! equal time stamps mean (a call at the moment of a return began before it).
//!
//! A call of unknown outcome has no return, or no answer, or neither: it may take effect at any
//! time after its invocation, or never. A call that provably did nothing is not in here.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One call on the object, by one process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call<O, R> {
    /// Who called. For people: only positions order calls.
    pub process: u64,
    /// Position of the invocation.
    pub invoked: u64,
    /// Position of the return, if there was one.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub returned: Option<u64>,
    /// What was asked for.
    pub op: O,
    /// What was answered; `None` if that is not known.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub ret: Option<R>,
}

/// Of any answer, also of one that has no default.
fn none<T>() -> Option<T> {
    None
}

impl<O, R> Call<O, R> {
    /// Position of the return and the answer, if the outcome is known.
    pub fn outcome(&self) -> Option<(u64, &R)> {
        self.returned.zip(self.ret.as_ref())
    }
}

/// Why calls are not a history.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallsError {
    /// Two events have one position, so that it is not known which was first.
    #[error("two events are at position {position}")]
    SamePosition {
        /// The position.
        position: u64,
    },
    /// A call returns before it is invoked.
    #[error("call {call} is invoked at {invoked} and returns at {returned}")]
    ReturnsBeforeInvocation {
        /// Which, counted from 0.
        call: usize,
        /// Position of its invocation.
        invoked: u64,
        /// Position of its return.
        returned: u64,
    },
}

/// The calls of a history, in any order.
///
/// ```
/// use rusd_checker::model::register::{RegisterOp, RegisterRet};
/// use rusd_checker::search::{Calls, Recorder};
///
/// let mut recorder = Recorder::new();
/// let write = recorder.invoke(1, RegisterOp::Write(7));
/// let read = recorder.invoke(2, RegisterOp::Read);
/// recorder.returns(read, RegisterRet::Value(Some(7)));
/// recorder.returns(write, RegisterRet::Written);
/// let calls: Calls<_, _> = recorder.finish();
/// assert_eq!(calls.list()[write].returned, Some(3));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Calls<O, R> {
    list: Vec<Call<O, R>>,
}

impl<O, R> Calls<O, R> {
    /// Takes calls whose events have positions of their own.
    pub fn new(list: Vec<Call<O, R>>) -> Result<Calls<O, R>, CallsError> {
        let mut positions = Vec::with_capacity(2 * list.len());
        for (number, call) in list.iter().enumerate() {
            positions.push(call.invoked);
            if let Some(returned) = call.returned {
                if returned < call.invoked {
                    let invoked = call.invoked;
                    let call = number;
                    return Err(CallsError::ReturnsBeforeInvocation { call, invoked, returned });
                }
                positions.push(returned);
            }
        }
        positions.sort_unstable();
        match positions.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(CallsError::SamePosition { position: pair[0] }),
            None => Ok(Calls { list }),
        }
    }

    /// The calls, in the order in which they were given.
    pub fn list(&self) -> &[Call<O, R>] {
        &self.list
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Makes [`Calls`] of events that are told in their order.
#[derive(Debug, Clone)]
pub struct Recorder<O, R> {
    calls: Vec<Option<Call<O, R>>>,
    events: u64,
}

impl<O, R> Default for Recorder<O, R> {
    fn default() -> Recorder<O, R> {
        Recorder { calls: Vec::new(), events: 0 }
    }
}

impl<O, R> Recorder<O, R> {
    /// Nothing has happened yet.
    pub fn new() -> Recorder<O, R> {
        Recorder::default()
    }

    /// A process calls; the number names the call to the other verbs.
    pub fn invoke(&mut self, process: u64, op: O) -> usize {
        let invoked = self.tick();
        self.calls.push(Some(Call { process, invoked, returned: None, op, ret: None }));
        self.calls.len() - 1
    }

    /// The call is answered.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn returns(&mut self, call: usize, ret: R) {
        let returned = self.tick();
        let call = self.open(call);
        call.returned = Some(returned);
        call.ret = Some(ret);
    }

    /// The call provably did nothing: it is forgotten.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn fails(&mut self, call: usize) {
        self.open(call);
        self.calls[call] = None;
    }

    /// What was recorded. Calls that have not ended are of unknown outcome. Numbers are those of
    /// [`Recorder::invoke`] as long as no call failed.
    pub fn finish(self) -> Calls<O, R> {
        Calls { list: self.calls.into_iter().flatten().collect() }
    }

    fn tick(&mut self) -> u64 {
        self.events += 1;
        self.events - 1
    }

    fn open(&mut self, call: usize) -> &mut Call<O, R> {
        match self.calls.get_mut(call) {
            Some(Some(open)) if open.returned.is_none() => open,
            _ => panic!("call {call} is not open"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(invoked: u64, returned: Option<u64>) -> Call<(), ()> {
        Call { process: 0, invoked, returned, op: (), ret: None }
    }

    #[test]
    fn positions_are_distinct_and_ordered() {
        assert!(Calls::new(vec![call(0, Some(3)), call(1, None), call(2, Some(4))]).is_ok());
        let same = Calls::new(vec![call(0, Some(2)), call(2, None)]);
        assert_eq!(same, Err(CallsError::SamePosition { position: 2 }));
        let back = Calls::new(vec![call(5, None), call(4, Some(3))]);
        assert_eq!(
            back,
            Err(CallsError::ReturnsBeforeInvocation { call: 1, invoked: 4, returned: 3 })
        );
    }

    #[test]
    fn what_fails_is_forgotten_and_what_stays_open_is_unknown() {
        let mut recorder = Recorder::new();
        let failed = recorder.invoke(0, "a");
        let open = recorder.invoke(1, "b");
        recorder.fails(failed);
        let done = recorder.invoke(0, "c");
        recorder.returns(done, 'x');
        assert_eq!((failed, open, done), (0, 1, 2));
        let calls = recorder.finish();
        let told: Vec<_> = calls.list().iter().map(|call| (call.op, call.outcome())).collect();
        assert_eq!(told, [("b", None), ("c", Some((3, &'x')))]);
    }
}
