//! The way in: which engine judges which part of a history, and on which core.
//!
//! Parts are judged each for itself, on as many threads as there are cores if there is enough to
//! do. The first part without an order decides; so that the answer does not depend on which thread
//! was faster, parts before it are still judged, and those after it are not.

use std::cell::Cell;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::answer::{Answer, Counterexample, Verdict};
use super::calls::{Call, Calls};
use super::limit::{Budget, Cancel, Limit};
use super::model::Model;
use super::numbers::{Numbers, narrow, wide};
use super::problem::Problem;
use super::wgl::{Found, Search};
use super::zones::{self, Zoned};

/// Which engine is to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// Zones where they apply, else the search.
    #[default]
    Auto,
    /// Zones; a part to which they do not apply is unknown.
    Zones,
    /// The search.
    Wgl,
}

/// How to judge.
#[derive(Debug, Clone)]
pub struct Options {
    /// With what.
    pub engine: Engine,
    /// Steps that all searches together may make before they end as unknown. What a search
    /// remembers grows with its steps, by some dozens of bytes each.
    pub steps_max: u64,
    /// Threads to use; `None` is as many as there are cores.
    pub threads: Option<NonZero<usize>>,
    /// Ends all searches, as unknown.
    pub cancel: Cancel,
}

impl Default for Options {
    fn default() -> Options {
        let engine = Engine::Auto;
        Options { engine, steps_max: 10_000_000, threads: None, cancel: Cancel::new() }
    }
}

/// Calls for which other threads are worth their start whatever the search is like; of fewer calls, a
/// search that takes many steps gets help then.
const CALLS_FOR_THREADS: usize = 4_000;

/// A search that looks so often whether it is still needed is long.
const LOOKS_FOR_HELP: u32 = 2;

/// Says whether there is an order of `calls` that explains every answer, on an object that begins
/// as `initial`.
///
/// ```
/// use rusd_checker::model::register::{Register, RegisterOp, RegisterRet};
/// use rusd_checker::search::{Options, Recorder, Verdict, check};
///
/// let mut recorder = Recorder::new();
/// let write = recorder.invoke(1, RegisterOp::Write(7));
/// recorder.returns(write, RegisterRet::Written);
/// let read = recorder.invoke(2, RegisterOp::Read);
/// recorder.returns(read, RegisterRet::Value(None));
/// let calls = recorder.finish();
///
/// let answer = check(&Register::default(), &calls, &Options::default());
/// let Verdict::Illegal(counterexample) = answer.verdict else { panic!("7 was written before") };
/// assert!(counterexample.unplaced.contains(&read));
/// ```
pub fn check<M>(initial: &M, calls: &Calls<M::Op, M::Ret>, options: &Options) -> Answer
where
    M: Model + Sync,
    M::Op: Sync,
    M::Ret: Sync,
{
    let parts = Parts::new(initial, calls.list(), options);
    if parts.list.len() < 2 {
        parts.work(&|| {});
        return parts.answer();
    }
    let is_alone = AtomicBool::new(true);
    thread::scope(|scope| {
        // Asking for the number of cores takes longer than judging a short history.
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let get_help = || {
            if is_alone.swap(false, Ordering::Relaxed) {
                let threads = options.threads.map_or_else(cores, NonZero::get);
                for _ in 1..threads.min(parts.list.len()) {
                    scope.spawn(|| parts.work(&|| {}));
                }
            }
        };
        if calls.len() >= CALLS_FOR_THREADS {
            get_help();
        }
        parts.work(&get_help);
    });
    parts.answer()
}

/// The same on this thread alone.
pub(crate) fn check_here<M: Model>(
    initial: &M,
    calls: &Calls<M::Op, M::Ret>,
    options: &Options,
) -> Answer {
    let parts = Parts::new(initial, calls.list(), options);
    parts.work(&|| {});
    parts.answer()
}

/// One part of the history.
struct Part {
    name: String,
    members: Vec<u32>,
}

/// What came of a part.
enum Judged {
    Order,
    Illegal(Counterexample),
    Stopped(String),
}

/// What came of all parts so far.
#[derive(Default)]
struct Totals {
    /// The first part without an order.
    illegal: Option<(usize, Counterexample)>,
    /// The first part that was given up.
    stopped: Option<(usize, String)>,
    by_zones: usize,
    by_search: usize,
    steps: u64,
}

/// The parts of a history, of which each is judged by whoever comes to it first.
struct Parts<'a, M: Model> {
    initial: &'a M,
    calls: &'a [Call<M::Op, M::Ret>],
    list: Vec<Part>,
    engine: Engine,
    budget: Budget<'a>,
    next: AtomicUsize,
    /// No part from this one on need be judged.
    end: AtomicUsize,
    totals: Mutex<Totals>,
}

impl<'a, M: Model> Parts<'a, M> {
    fn new(initial: &'a M, calls: &'a [Call<M::Op, M::Ret>], options: &'a Options) -> Parts<'a, M> {
        let mut keys = Numbers::new();
        let mut list: Vec<Part> = Vec::new();
        for (place, call) in (0..narrow(calls.len())).zip(calls) {
            let (number, is_new) = keys.number(M::partition(&call.op));
            if is_new {
                let name = M::describe_part(keys.thing(number));
                list.push(Part { name, members: Vec::new() });
            }
            list[wide(number)].members.push(place);
        }
        Parts {
            initial,
            calls,
            end: AtomicUsize::new(list.len()),
            list,
            engine: options.engine,
            budget: Budget::new(options.steps_max, &options.cancel),
            next: AtomicUsize::new(0),
            totals: Mutex::new(Totals::default()),
        }
    }

    /// Judges parts until there are no more; calls for help if a search gets long.
    fn work(&self, get_help: &dyn Fn()) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.end.load(Ordering::Relaxed) {
                return;
            }
            let looks = Cell::new(0_u32);
            let is_needless = || {
                if looks.replace(looks.get() + 1) == LOOKS_FOR_HELP {
                    get_help();
                }
                index >= self.end.load(Ordering::Relaxed)
            };
            let mut limit = Limit::new(&self.budget, &is_needless);
            let (judged, is_by_zones) = self.judge(&self.list[index], &mut limit);
            let mut totals = self.totals.lock().expect("no thread panics while it holds this");
            totals.steps += limit.steps();
            match judged {
                Judged::Stopped(reason) => {
                    if totals.stopped.as_ref().is_none_or(|(other, _)| index < *other) {
                        totals.stopped = Some((index, reason));
                    }
                    continue;
                }
                Judged::Illegal(counterexample) => {
                    self.end.fetch_min(index, Ordering::Relaxed);
                    if totals.illegal.as_ref().is_none_or(|(other, _)| index < *other) {
                        totals.illegal = Some((index, counterexample));
                    }
                }
                Judged::Order => {}
            }
            totals.by_zones += usize::from(is_by_zones);
            totals.by_search += usize::from(!is_by_zones);
        }
    }

    fn answer(self) -> Answer {
        let totals = self.totals.into_inner().expect("no thread panicked");
        let verdict = match (totals.illegal, totals.stopped) {
            (Some((_, counterexample)), _) => Verdict::Illegal(counterexample),
            (None, Some((_, reason))) => Verdict::Unknown { reason },
            (None, None) => Verdict::Linearizable,
        };
        let partitions = self.list.len();
        let Totals { by_zones, by_search, steps, .. } = totals;
        Answer { verdict, partitions, by_zones, by_search, steps }
    }

    /// What comes of a part, and whether the zones said so.
    fn judge(&self, part: &Part, limit: &mut Limit<'_>) -> (Judged, bool) {
        let mut problem = Problem::new(self.initial, self.calls, &part.members);
        let zoned = match self.engine {
            Engine::Auto | Engine::Zones => zones::check(&problem),
            Engine::Wgl => Zoned::Unsuitable,
        };
        match zoned {
            Zoned::Order => (Judged::Order, true),
            Zoned::Conflict(calls) => (Self::explain(part, &mut problem, calls), true),
            Zoned::Unsuitable if self.engine == Engine::Zones => {
                let reason = format!("the values of {} have several possible writers", part.name);
                (Judged::Stopped(reason), true)
            }
            Zoned::Unsuitable => (self.search(part, &mut problem, limit), false),
        }
    }

    fn search(&self, part: &Part, problem: &mut Problem<'a, M>, limit: &mut Limit<'_>) -> Judged {
        let mut search = Search::new(problem);
        match search.run(limit) {
            Found::Order => Judged::Order,
            Found::Nothing => Judged::Illegal(counterexample(part, &search)),
            Found::Stopped(stop) => {
                let reason = self.budget.explain(stop);
                Judged::Stopped(format!("{}: {reason}", part.name))
            }
        }
    }

    /// The zones know that there is no order; a short search shows how far one comes.
    fn explain(part: &Part, problem: &mut Problem<'a, M>, calls: Vec<usize>) -> Judged {
        let cancel = Cancel::new();
        let steps = 10 * u64::from(problem.last_event()) + EXPLAINING_STEPS_MIN;
        let budget = Budget::new(steps, &cancel);
        let always = || false;
        let mut search = Search::new(problem);
        let found = search.run(&mut Limit::new(&budget, &always));
        assert_ne!(found, Found::Order, "zones and search agree on {}", part.name);
        let mut counterexample = counterexample(part, &search);
        if found != Found::Nothing {
            counterexample.unplaced.clear();
        }
        for call in calls {
            if !counterexample.unplaced.contains(&call) {
                counterexample.unplaced.push(call);
            }
        }
        Judged::Illegal(counterexample)
    }
}

/// Steps to explain a conflict of few calls.
const EXPLAINING_STEPS_MIN: u64 = 1_000;

fn counterexample<M: Model>(part: &Part, search: &Search<'_, '_, M>) -> Counterexample {
    Counterexample {
        partition: part.name.clone(),
        prefix: search.furthest_way(),
        unplaced: search.furthest_due().into_iter().collect(),
        states: search.furthest_states(),
    }
}
