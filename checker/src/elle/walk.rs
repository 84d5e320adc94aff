//! The shortest way around from one transaction, level by level, as far as an automaton goes along.

use super::automaton::{Automaton, Closing, STATES, State};
use super::component::Component;
use super::graph::{Label, Node};
use super::numbering::{at, number};

/// One edge of a cycle: where it comes from, and why. It leads to where the next comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) from: Node,
    pub(crate) label: Label,
}

/// A node together with the state in which it was reached.
type Spot = usize;

/// Walks through one component. Keeps its tables from one walk to the next.
pub(crate) struct Walker<'a> {
    component: &'a Component,
    /// For each spot, the walk in which it was last reached.
    reached: Vec<u32>,
    /// For each spot of a transaction, from where it was reached, and why.
    from: Vec<(u32, Label)>,
    walk: u32,
    level: Vec<Spot>,
    next_level: Vec<Spot>,
    hubs: Vec<Spot>,
    /// Edges looked at, in all walks.
    pub(crate) steps: u64,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(component: &'a Component) -> Walker<'a> {
        let spots = component.nodes() * STATES;
        Walker {
            component,
            reached: vec![0; spots],
            from: vec![(0, Label::Onward); spots],
            walk: 0,
            level: Vec::new(),
            next_level: Vec::new(),
            hubs: Vec::new(),
            steps: 0,
        }
    }

    /// A shortest cycle from `start` that the automaton accepts, of at most `length_max` edges.
    pub(crate) fn around(
        &mut self,
        automaton: &Automaton,
        start: Node,
        length_max: usize,
    ) -> Option<Vec<Hop>> {
        // The edge in real time that closes a cycle is not walked.
        let levels = match automaton.closing {
            Closing::AtStart => length_max,
            Closing::BeforeStart => length_max.saturating_sub(1),
        };
        self.walk += 1;
        self.level.clear();
        self.level.push(spot(start, 0));
        self.reached[spot(start, 0)] = self.walk;
        for _ in 0..levels {
            self.next_level.clear();
            for place in 0..self.level.len() {
                if let Some(hops) = self.expand(automaton, start, self.level[place]) {
                    return Some(hops);
                }
            }
            if self.next_level.is_empty() {
                return None;
            }
            std::mem::swap(&mut self.level, &mut self.next_level);
        }
        None
    }

    fn expand(&mut self, automaton: &Automaton, start: Node, from: Spot) -> Option<Vec<Hop>> {
        let (node, state) = (node_of(from), from % STATES);
        let component = self.component;
        for (target, label) in component.out(node) {
            self.steps += 1;
            let Some(state) = automaton.after(state, label) else { continue };
            let why = (number(from), label);
            if let Some(hops) = self.reach(automaton, start, target, state, why) {
                return Some(hops);
            }
            // What a hub leads to is as near as the hub.
            while let Some(hub) = self.hubs.pop() {
                for (target, _) in component.out(node_of(hub)) {
                    self.steps += 1;
                    if let Some(hops) = self.reach(automaton, start, target, state, why) {
                        self.hubs.clear();
                        return Some(hops);
                    }
                }
            }
        }
        None
    }

    /// Notes that a node was reached. Gives the cycle, if that closes one.
    fn reach(
        &mut self,
        automaton: &Automaton,
        start: Node,
        target: Node,
        state: State,
        why: (u32, Label),
    ) -> Option<Vec<Hop>> {
        if target == start {
            let closes = automaton.closing == Closing::AtStart && automaton.accepts(state);
            return closes.then(|| self.trace(start, why));
        }
        let spot = spot(target, state);
        if self.reached[spot] == self.walk {
            return None;
        }
        self.reached[spot] = self.walk;
        if self.component.is_hub(target) {
            self.hubs.push(spot);
            return None;
        }
        self.from[spot] = why;
        self.next_level.push(spot);
        let is_before =
            || self.component.times(target).returned < self.component.times(start).invoked;
        if automaton.closing == Closing::BeforeStart && automaton.accepts(state) && is_before() {
            return Some(self.trace(start, (number(spot), Label::Realtime)));
        }
        None
    }

    /// The way that ends with an edge from a spot.
    fn trace(&self, start: Node, last: (u32, Label)) -> Vec<Hop> {
        let (mut place, mut label) = (at(last.0), last.1);
        let mut hops = vec![Hop { from: node_of(place), label }];
        while place != spot(start, 0) {
            let (before, why) = self.from[place];
            (place, label) = (at(before), why);
            hops.push(Hop { from: node_of(place), label });
        }
        hops.reverse();
        hops
    }
}

fn spot(node: Node, state: State) -> Spot {
    at(node) * STATES + state
}

fn node_of(spot: Spot) -> Node {
    number(spot / STATES)
}
