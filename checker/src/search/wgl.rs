//! The search of Wing and Gong, with Lowe's memory: calls get their places one after the other,
//! and what leads nowhere is taken back.
//!
//! A *configuration* is which calls have their place, the state they lead to, and which calls of
//! unknown outcome were used on the way. In each, any call that begins before the first return
//! left may come next. Calls of unknown outcome are not waited for: they only are candidates.
//!
//! What keeps it short:
//! - a call that only reads gets its place as soon as its answer fits: later it could do no more;
//! - of calls of one class only the one that returns first is a candidate;
//! - a call of unknown outcome is used only if the next call depends on it;
//! - `seen` ends whatever does no better than an earlier configuration;
//! - where states grow, `growth` sees which can no longer become what is read;
//! - in closed automata `needs` forbids to leave a state that will be missed, and writes that
//!   nobody reads get their places without a choice;
//! - the candidate that the first return asks for comes first;
//! - at a quiescent point whose state is known all that was before is forgotten.

use super::automaton::StateId;
use super::candidates::{Candidate, Move, Rank};
use super::events::{Event, Events, HEAD};
use super::furthest::Furthest;
use super::growth::Resets;
use super::limit::{Limit, Stop};
use super::model::{Guard, Model};
use super::needs::Needs;
use super::numbers::{narrow, wide};
use super::problem::Problem;
use super::seen::{Place, Seen};
use super::uses::{Kind, Uses};
use super::window::Window;

/// What a search comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Every call has its place.
    Order,
    /// There are no such places.
    Nothing,
    /// It ended before it knew.
    Stopped(Stop),
}

/// A step that can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// A call of known outcome got its place.
    Placed(u32),
    /// A call of this class of unknown outcome was used.
    Used(u32, Kind),
    /// This class counts only by the number of its uses.
    Pooled(u32),
}

/// A configuration on the way to the present one.
pub(super) struct Frame {
    /// Length of the trail before the step that led here.
    trail: usize,
    /// The state before that step.
    before: StateId,
    /// Whether all that step did was to use a call of unknown outcome.
    pub(super) is_by_unknown: bool,
    /// The last candidate that was tried here.
    pub(super) tried: Rank,
}

/// A search under way.
pub(crate) struct Search<'p, 'a, M: Model> {
    pub(super) problem: &'p mut Problem<'a, M>,
    pub(super) events: Events,
    pub(super) window: Window,
    /// For each event how many calls were invoked before it.
    invoked_before: Vec<u32>,
    /// In closed automata only.
    pub(super) needs: Option<Needs>,
    /// In the others.
    pub(super) resets: Option<Resets>,
    pub(super) state: StateId,
    /// Calls of unknown outcome that were used.
    pub(super) uses: Uses,
    pub(super) trail: Vec<Mark>,
    frames: Vec<Frame>,
    seen: Seen,
    /// One call of each class that may come next.
    pub(super) pending: Vec<u32>,
    /// For each class where `pending` has its call.
    pending_of: Vec<u32>,
    /// The first return left, and its call.
    pub(super) due: Option<(u32, u32)>,
    /// Calls before which the state is known, last first.
    cuts: Vec<u32>,
    pub(super) scratch: super::candidates::Scratch,
    furthest: Furthest,
}

impl<'p, 'a, M: Model> Search<'p, 'a, M> {
    /// Prepares to search.
    pub(crate) fn new(problem: &'p mut Problem<'a, M>) -> Search<'p, 'a, M> {
        let events = Events::new(&problem.known);
        let mut invoked_before = vec![0; wide(problem.last_event()) + 2];
        let mut invoked = 0;
        for event in 1..=problem.last_event() {
            invoked_before[wide(event)] = invoked;
            invoked += u32::from(matches!(events.what(event), Event::Invocation(_)));
        }
        let needs = problem.automaton.is_closed().then(|| Needs::new(problem));
        let resets = needs.is_none().then(|| Resets::new(problem));
        Search {
            events,
            window: Window::new(problem.known.len()),
            invoked_before,
            needs,
            resets,
            state: problem.initial,
            uses: Uses::new(problem.unknown.len()),
            trail: Vec::with_capacity(problem.known.len()),
            frames: Vec::new(),
            seen: Seen::new(),
            pending: Vec::new(),
            pending_of: vec![0; problem.automaton.classes()],
            due: None,
            cuts: cuts(problem),
            scratch: super::candidates::Scratch::new(problem.automaton.states()),
            furthest: Furthest::new(),
            problem,
        }
    }

    /// Searches until it knows or is stopped.
    pub(crate) fn run(&mut self, limit: &mut Limit<'_>) -> Found {
        self.place_reads();
        let before = self.state;
        self.frames.push(Frame { trail: 0, before, is_by_unknown: false, tried: Rank::FIRST });
        self.cut();
        while let Some((due, _)) = self.due {
            if let Err(stop) = limit.step() {
                return Found::Stopped(stop);
            }
            if let Some(candidate) = self.next_candidate() {
                self.try_candidate(candidate);
                continue;
            }
            self.furthest.note(due, self.state, &self.trail);
            let frame = self.frames.pop().expect("the first one stays until here");
            if self.frames.is_empty() {
                return Found::Nothing;
            }
            self.go_back(frame.trail, frame.before);
            self.place_reads();
        }
        Found::Order
    }

    /// The calls on the way to where it came furthest, by their places in the history.
    pub(crate) fn furthest_way(&self) -> Vec<usize> {
        let mut used = vec![0; self.problem.unknown.len()];
        let call = |mark: &Mark| match *mark {
            Mark::Placed(call) => Some(wide(self.problem.known[wide(call)].call)),
            Mark::Used(class, _) => {
                let nth = &mut used[wide(class)];
                *nth += 1;
                Some(wide(self.problem.unknown[wide(class)].calls[*nth - 1]))
            }
            Mark::Pooled(_) => None,
        };
        self.furthest.trail().iter().filter_map(call).collect()
    }

    /// The call that is due there, by its place in the history.
    pub(crate) fn furthest_due(&self) -> Option<usize> {
        match self.events.what(self.furthest.due()) {
            Event::Return(call) => Some(wide(self.problem.known[wide(call)].call)),
            Event::Invocation(_) | Event::End => None,
        }
    }

    /// The states that were found there, for people.
    pub(crate) fn furthest_states(&self) -> Vec<String> {
        let automaton = &self.problem.automaton;
        self.furthest.states().iter().map(|state| automaton.describe(*state)).collect()
    }

    /// The configuration that is looked at.
    pub(super) fn frame(&self) -> &Frame {
        self.frames.last().expect("the first configuration stays until the end")
    }

    /// The same, to note what was tried.
    pub(super) fn frame_mut(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the first configuration stays until the end")
    }

    /// The state before the last step.
    pub(super) fn state_before(&self) -> StateId {
        self.frame().before
    }

    /// Makes the candidate's step, unless it leads nowhere.
    fn try_candidate(&mut self, candidate: Candidate) {
        let (trail, before) = (self.trail.len(), self.state);
        let is_by_unknown = match candidate.step {
            Move::Place(call) => {
                self.place(call);
                false
            }
            Move::Use(class) => {
                let kind = self.uses.add(class);
                self.trail.push(Mark::Used(class, kind));
                true
            }
        };
        self.state = candidate.after;
        if self.state != before && !(self.may_leave(before) && self.may_become_what_is_read()) {
            self.go_back(trail, before);
            return;
        }
        self.place_reads();
        // If it let a read happen it was of use already, whatever comes next.
        let is_by_unknown = is_by_unknown && self.trail.len() == trail + 1;
        if self.remember() {
            self.frames.push(Frame { trail, before, is_by_unknown, tried: Rank::FIRST });
            self.cut();
        } else {
            self.go_back(trail, before);
            self.place_reads();
        }
    }

    fn may_leave(&mut self, state: StateId) -> bool {
        let Search { needs, window, uses, problem, .. } = self;
        let step = (state, self.state);
        needs.as_mut().is_none_or(|needs| needs.may_leave(step, window, uses.used(), problem))
    }

    /// Whether what is read by calls that are open can still be had from the state that is there.
    /// `pending` is as before the last step.
    fn may_become_what_is_read(&self) -> bool {
        let Some(resets) = &self.resets else { return true };
        let Search { problem, window, uses, .. } = self;
        self.pending.iter().all(|call| {
            let known = problem.known[wide(*call)];
            let class = problem.automaton.known(known.class);
            let Some(read) = class.requires().filter(|_| class.is_read_only()) else { return true };
            problem.automaton.may_grow(self.state, read)
                || resets.is_left_for(read, known.returned, window, uses.used(), problem)
        })
    }

    /// Gives every call that only reads, and whose answer fits, its place; looks what may come
    /// next, and what is due first.
    fn place_reads(&mut self) {
        self.pending.clear();
        self.due = None;
        let mut event = self.events.next(HEAD);
        loop {
            match self.events.what(event) {
                Event::End => return,
                Event::Return(call) => {
                    self.due = Some((event, call));
                    return;
                }
                Event::Invocation(call) => {
                    let before = self.events.previous(event);
                    let class = self.problem.known[wide(call)].class;
                    let reads = self.problem.automaton.known(class).is_read_only();
                    if reads && self.problem.automaton.step(self.state, class).is_some() {
                        self.place(call);
                        event = self.events.next(before);
                    } else {
                        self.expect(call);
                        event = self.events.next(event);
                    }
                }
            }
        }
    }

    /// Notes that a call may come next. Of its class only the one that returns first is kept: in
    /// any order the two could change places.
    fn expect(&mut self, call: u32) {
        let known = self.problem.known[wide(call)];
        let place = &mut self.pending_of[known.class.index()];
        if let Some(other) = self.pending.get_mut(wide(*place)) {
            let of_class = self.problem.known[wide(*other)];
            if of_class.class == known.class {
                if known.returned < of_class.returned {
                    *other = call;
                }
                return;
            }
        }
        *place = narrow(self.pending.len());
        self.pending.push(call);
    }

    fn place(&mut self, call: u32) {
        let known = self.problem.known[wide(call)];
        self.events.lift(known);
        self.window.insert(call);
        if let Some(needs) = &mut self.needs {
            needs.place(self.problem.automaton.known(known.class));
        }
        self.trail.push(Mark::Placed(call));
    }

    /// Takes back what was done since the trail had this length.
    fn go_back(&mut self, trail: usize, state: StateId) {
        self.furthest.went_back(trail);
        while self.trail.len() > trail {
            match self.trail.pop().expect("longer than asked for") {
                Mark::Placed(call) => {
                    let known = self.problem.known[wide(call)];
                    self.events.unlift(known);
                    self.window.remove(call);
                    if let Some(needs) = &mut self.needs {
                        needs.displace(call, self.problem.automaton.known(known.class));
                    }
                }
                Mark::Used(class, kind) => self.uses.remove(class, kind),
                Mark::Pooled(class) => self.uses.unpool(class),
            }
        }
        self.state = state;
    }

    /// Remembers the configuration; false if it was seen, or one that can do all it can.
    fn remember(&mut self) -> bool {
        self.pool_uses();
        let end = self.due.map_or(narrow(self.problem.known.len()), |(event, _)| {
            self.invoked_before[wide(event)]
        });
        let Search { window, uses, seen, state, .. } = self;
        let (from, words) = window.words(wide(end));
        let is_any_refused = self.needs.as_ref().is_some_and(Needs::is_any_refused);
        seen.remember(Place { from, words, state: *state }, uses.told(is_any_refused))
    }

    fn pool_uses(&mut self) {
        let Search { needs: Some(needs), uses, trail, problem, .. } = self else { return };
        let counts_by_number = |index: u32| {
            let class = problem.automaton.known(problem.unknown[wide(index)].class);
            needs.counts_by_number(class)
        };
        uses.pool(counts_by_number, |class| trail.push(Mark::Pooled(class)));
    }

    /// Forgets what was before a quiescent point if any other way there leads to the same state,
    /// and can have used no less.
    fn cut(&mut self) {
        let mut is_passed = false;
        while self.cuts.last().is_some_and(|call| wide(*call) <= self.window.first()) {
            self.cuts.pop();
            is_passed = true;
        }
        if is_passed && self.uses.told(true).is_empty() {
            let (trail, before) = (self.trail.len(), self.state);
            self.frames.clear();
            self.frames.push(Frame { trail, before, is_by_unknown: false, tried: Rank::FIRST });
            self.seen.clear();
        }
    }
}

/// Calls that are invoked when no other is open, after one that was alone and tells the state that
/// it left; the last first.
fn cuts<M: Model>(problem: &Problem<'_, M>) -> Vec<u32> {
    let mut cuts = Vec::new();
    // Calls since the last quiescent point, and when the last of all returned.
    let (mut calls, mut returned) = (0, 0);
    let mut leaves = None;
    for (number, call) in (0..).zip(&problem.known) {
        if returned < call.invoked {
            if calls == 1 && leaves.is_some() {
                cuts.push(number);
            }
            calls = 0;
        }
        let class = problem.automaton.known(call.class);
        leaves = match class.guard {
            Guard::Only(state) if class.is_read_only() => Some(state),
            _ => class.leaves(),
        };
        calls += 1;
        returned = returned.max(call.returned);
    }
    cuts.reverse();
    cuts
}
