//! The object as an automaton: states and kinds of calls by number.
//!
//! Calls with equal operations and answers are of one *class*: a search asks for each class once
//! in each state, and may exchange calls of a class for each other. If the model tells the
//! [shape](Model::shape) of every class, nothing is asked at all: the automaton is *closed*, all
//! of its states are known from the beginning, and those that no call tells apart are one.

use hashbrown::HashMap;

use super::model::{Effect, Guard, Model};
use super::numbers::{Numbers, narrow, wide};

/// A state, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StateId(u32);

impl StateId {
    /// The state in which the history begins.
    pub(crate) const INITIAL: StateId = StateId(0);

    /// As an index.
    pub(crate) fn index(self) -> usize {
        wide(self.0)
    }
}

/// A class of calls, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClassId(u32);

impl ClassId {
    /// As an index.
    pub(crate) fn index(self) -> usize {
        wide(self.0)
    }
}

/// What is known of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Class {
    /// The states it fits.
    pub(crate) guard: Guard<StateId>,
    /// The state it leaves.
    pub(crate) effect: Effect<StateId>,
}

impl Class {
    /// The only state it fits.
    pub(crate) fn requires(self) -> Option<StateId> {
        match self.guard {
            Guard::Only(state) => Some(state),
            Guard::Any | Guard::Except(_) | Guard::Opaque => None,
        }
    }

    /// The state that it leaves whatever it finds.
    pub(crate) fn leaves(self) -> Option<StateId> {
        match self.effect {
            Effect::Always(state) => Some(state),
            Effect::None | Effect::Opaque => None,
        }
    }

    /// Whether it changes nothing.
    pub(crate) fn is_read_only(self) -> bool {
        self.effect == Effect::None
    }

    fn is_known(self) -> bool {
        self.guard != Guard::Opaque && self.effect != Effect::Opaque
    }
}

/// States, classes, and what each class does in each state.
pub(crate) struct Automaton<'a, M: Model> {
    states: Numbers<M>,
    /// An operation and its answer, of each class.
    asked: Numbers<(&'a M::Op, Option<&'a M::Ret>)>,
    classes: Vec<Class>,
    /// What the model said of a class in a state.
    tried: HashMap<(StateId, ClassId), Option<StateId>>,
    is_closed: bool,
    /// What stands for all states that no call tells apart.
    rest: Option<StateId>,
}

impl<'a, M: Model> Automaton<'a, M> {
    /// Its first state is the one in which the history begins.
    pub(crate) fn new(initial: &M) -> Automaton<'a, M> {
        let mut automaton = Automaton {
            states: Numbers::new(),
            asked: Numbers::new(),
            classes: Vec::new(),
            tried: HashMap::new(),
            is_closed: true,
            rest: None,
        };
        automaton.state(initial.clone());
        automaton
    }

    /// The class of a call.
    pub(crate) fn class(&mut self, op: &'a M::Op, ret: Option<&'a M::Ret>) -> ClassId {
        let (number, is_new) = self.asked.number((op, ret));
        if is_new {
            let shape = self.states.thing(0).shape(op, ret);
            let guard = match shape.guard {
                Guard::Any => Guard::Any,
                Guard::Only(state) => Guard::Only(self.state(state)),
                Guard::Except(state) => Guard::Except(self.state(state)),
                Guard::Opaque => Guard::Opaque,
            };
            let effect = match shape.effect {
                Effect::None => Effect::None,
                Effect::Always(state) => Effect::Always(self.state(state)),
                Effect::Opaque => Effect::Opaque,
            };
            let class = Class { guard, effect };
            self.is_closed &= class.is_known();
            self.classes.push(class);
        }
        ClassId(number)
    }

    /// To be called when all classes are known. In a closed automaton it makes one of the states
    /// that no call tells apart, and one of the classes that do the same. Gives the class that
    /// each is to be replaced by, and the state to begin with.
    pub(crate) fn settle(&mut self) -> (Vec<ClassId>, StateId) {
        if !self.is_closed {
            let same = (0..narrow(self.classes.len())).map(ClassId).collect();
            return (same, StateId::INITIAL);
        }
        let mut is_told_apart = vec![false; self.states.len()];
        for class in &self.classes {
            if let Guard::Only(state) | Guard::Except(state) = class.guard {
                is_told_apart[state.index()] = true;
            }
        }
        self.rest = (0..).zip(&is_told_apart).find(|(_, told)| !**told).map(|(id, _)| StateId(id));
        let rest = self.rest;
        let merged = |state: StateId| match rest {
            Some(rest) if !is_told_apart[state.index()] => rest,
            _ => state,
        };
        let mut distinct = Numbers::new();
        let mut replaced_by = Vec::with_capacity(self.classes.len());
        for class in &mut self.classes {
            if let Effect::Always(state) = &mut class.effect {
                *state = merged(*state);
            }
            replaced_by.push(ClassId(distinct.number(*class).0));
        }
        self.classes = distinct.into_things();
        (replaced_by, merged(StateId::INITIAL))
    }

    /// Whether what every class does is known without asking the model.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// How many states are known.
    pub(crate) fn states(&self) -> usize {
        self.states.len()
    }

    /// How many classes there are.
    pub(crate) fn classes(&self) -> usize {
        self.classes.len()
    }

    /// What is known of a class.
    pub(crate) fn known(&self, class: ClassId) -> Class {
        self.classes[class.index()]
    }

    /// The state after a call of `class` in `state`; `None` if its answer does not fit.
    pub(crate) fn step(&mut self, state: StateId, class: ClassId) -> Option<StateId> {
        let Class { guard, effect } = self.classes[class.index()];
        match guard {
            Guard::Only(only) if only != state => return None,
            Guard::Except(except) if except == state => return None,
            Guard::Opaque => return self.ask(state, class),
            Guard::Any | Guard::Only(_) | Guard::Except(_) => {}
        }
        match effect {
            Effect::None => Some(state),
            Effect::Always(after) => Some(after),
            Effect::Opaque => self.ask(state, class),
        }
    }

    /// Whether calls of opaque effect can lead from one state to another.
    pub(crate) fn may_grow(&self, from: StateId, to: StateId) -> bool {
        from == to || self.states.thing(from.0).may_grow_into(self.states.thing(to.0))
    }

    /// A state, for people.
    pub(crate) fn describe(&self, state: StateId) -> String {
        if self.rest == Some(state) {
            return "one that no call asks for".into();
        }
        self.states.thing(state.0).describe_state()
    }

    fn ask(&mut self, state: StateId, class: ClassId) -> Option<StateId> {
        if let Some(told) = self.tried.get(&(state, class)) {
            return *told;
        }
        // Classes are merged in closed automata only, which ask for nothing: the numbers agree.
        let (op, ret) = *self.asked.thing(class.0);
        let mut model = self.states.thing(state.0).clone();
        let fits = if let Some(ret) = ret {
            model.is_valid_step(op, ret)
        } else {
            model.invoke(op);
            true
        };
        let after = fits.then(|| self.state(model));
        self.tried.insert((state, class), after);
        after
    }

    fn state(&mut self, state: M) -> StateId {
        StateId(self.states.number(state).0)
    }
}
