//! Our search behind stateright's [`ConsistencyTester`], so that its models can use it in place of
//! [`LinearizabilityTester`](stateright::semantics::LinearizabilityTester).
//!
//! A model checker compares and hashes testers to know where it has been. So this one keeps, like
//! stateright's, not when things happened but only what happened before what: for each call how
//! many calls of each thread had returned when it was invoked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use stateright::semantics::ConsistencyTester;

use super::answer::Verdict;
use super::calls::{Call, Calls};
use super::engine::{Engine, Options, check_here};
use super::model::Model;

/// How many calls of each thread had returned.
type Returned<T> = BTreeMap<T, usize>;

/// A history that is told as it happens, and whether it is linearizable.
///
/// ```
/// use rusd_checker::search::WglTester;
/// use stateright::semantics::ConsistencyTester;
/// use stateright::semantics::register::{Register, RegisterOp, RegisterRet};
///
/// let mut tester = WglTester::new(Register('a'));
/// tester.on_invoke(1, RegisterOp::Write('b'))?;
/// tester.on_invret(2, RegisterOp::Read, RegisterRet::ReadOk('b'))?;
/// assert!(tester.is_consistent());
/// tester.on_invret(2, RegisterOp::Read, RegisterRet::ReadOk('a'))?;
/// assert!(!tester.is_consistent());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WglTester<T, M: Model> {
    initial: M,
    /// The calls of each thread; only the last can be open.
    threads: Threads<T, M::Op, M::Ret>,
    /// Nothing impossible was told: no second call of a thread, no return without a call.
    is_well_formed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Told<T, O, R> {
    /// What had returned when it was invoked.
    after: Returned<T>,
    op: O,
    ret: Option<R>,
}

/// The calls of each thread.
type Threads<T, O, R> = BTreeMap<T, Vec<Told<T, O, R>>>;

impl<T: Copy + Ord, M: Model> WglTester<T, M> {
    /// Nothing has happened to the object yet.
    pub fn new(initial: M) -> WglTester<T, M> {
        WglTester { initial, threads: BTreeMap::new(), is_well_formed: true }
    }

    /// How many calls of each thread have returned.
    fn returned(&self) -> Returned<T> {
        let count = |calls: &Vec<Told<T, M::Op, M::Ret>>| {
            calls.iter().filter(|call| call.ret.is_some()).count()
        };
        let counts = self.threads.iter().map(|(thread, calls)| (*thread, count(calls)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

impl<T: Copy + Ord, M: Model> WglTester<T, M>
where
    M::Op: Clone,
    M::Ret: Clone,
{
    /// The calls at positions that agree with what happened before what. Of two calls what had
    /// returned before one had also returned before the other, or the other way around; so
    /// invocations are in the order of how much that was, and a return comes right before the
    /// first invocation that it came before.
    fn calls(&self) -> Calls<M::Op, M::Ret> {
        let mut invocations = Vec::new();
        for (number, (thread, told)) in (0..).zip(&self.threads) {
            for (index, call) in told.iter().enumerate() {
                let before: usize = call.after.values().sum();
                invocations.push((before, number, *thread, index));
            }
        }
        invocations.sort_unstable();
        let mut position = 0;
        let mut tick = || {
            position += 1;
            position
        };
        let mut list = Vec::new();
        let mut place = BTreeMap::new();
        let mut open = BTreeSet::new();
        for (_, process, thread, index) in invocations {
            let told = &self.threads[&thread][index];
            let has_returned =
                |other: &(T, usize)| told.after.get(&other.0).is_some_and(|count| other.1 < *count);
            let returning: Vec<(T, usize)> = open.iter().copied().filter(has_returned).collect();
            for call in returning {
                open.remove(&call);
                let call: &mut Call<M::Op, M::Ret> = &mut list[place[&call]];
                call.returned = Some(tick());
            }
            place.insert((thread, index), list.len());
            list.push(Call {
                process,
                invoked: tick(),
                returned: None,
                op: told.op.clone(),
                ret: told.ret.clone(),
            });
            if told.ret.is_some() {
                open.insert((thread, index));
            }
        }
        for call in open {
            list[place[&call]].returned = Some(tick());
        }
        Calls::new(list).expect("every position is given once, and returns come last")
    }
}

impl<T, M> ConsistencyTester<T, M> for WglTester<T, M>
where
    T: Copy + Debug + Ord,
    M: Model,
    M::Op: Clone,
    M::Ret: Clone,
{
    fn on_invoke(&mut self, thread: T, op: M::Op) -> Result<&mut Self, String> {
        let is_open = |call: &Told<T, M::Op, M::Ret>| call.ret.is_none();
        if self.threads.get(&thread).and_then(|calls| calls.last()).is_some_and(is_open) {
            self.is_well_formed = false;
        }
        if !self.is_well_formed {
            return Err(format!("thread {thread:?} calls while its last call is open"));
        }
        let after = self.returned();
        self.threads.entry(thread).or_default().push(Told { after, op, ret: None });
        Ok(self)
    }

    fn on_return(&mut self, thread: T, ret: M::Ret) -> Result<&mut Self, String> {
        let last = self.threads.get_mut(&thread).and_then(|calls| calls.last_mut());
        match last.filter(|call| call.ret.is_none()) {
            Some(open) if self.is_well_formed => {
                open.ret = Some(ret);
                Ok(self)
            }
            _ => {
                self.is_well_formed = false;
                Err(format!("thread {thread:?} returns, and has not called"))
            }
        }
    }

    fn is_consistent(&self) -> bool {
        let options = Options { engine: Engine::Wgl, steps_max: u64::MAX, ..Options::default() };
        self.is_well_formed
            && check_here(&self.initial, &self.calls(), &options).verdict == Verdict::Linearizable
    }
}
