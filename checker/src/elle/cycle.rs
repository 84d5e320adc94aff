//! The cycles of a component: of each kind that is there the shortest, the worst kinds first.
//!
//! For each kind, first *whether*, then *which*:
//!
//! 1. `starts` tells in linear time from where a cycle of the kind can be read: from within the
//!    strongly connected components of what it may be made of. For those whose anti-dependencies are
//!    never two in a row, that is the product of the graph with "the last edge was one". For exactly
//!    one anti-dependency, `reach` tells whether its end reaches its beginning.
//! 2. A [`Walker`] goes around from each start, never farther than the shortest cycle so far.
//!
//! What is implied by a kind that was found is not looked for, as in Elle. That is also why walks are
//! enough: one that meets a transaction twice is two cycles, and with the kinds that were looked for
//! before out of the way, one of the two is shorter and of its kind. There is one exception. Beside a
//! cycle of a worse kind that does not imply it, a kind may be there only as a walk that takes in the
//! worse cycle, or, in real time, with several real-time edges. Then it is left undecided, or, if
//! another is found, that is not said to be the shortest.
//!
//! Going around from every start may take long in a large component. When it has taken
//! [`search_steps_max`](super::options::Options), the shortest so far is given, and said not to be
//! proven the shortest.

use std::collections::BTreeSet;

use super::anomaly::{Anomaly, CycleKind, Scope};
use super::automaton::{Automaton, Closing, classify, labels};
use super::component::{Alternating, Component, Through};
use super::graph::{Label, Labels, Node};
use super::numbering::at;
use super::reach;
use super::scc::Numbering;
use super::walk::{Hop, Walker};

/// Whole passes over a component may look at this many times the edges that walks may: they are many
/// times faster.
const PASSES_PER_WALK: u64 = 20;

/// A cycle that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cycle {
    /// What it is called.
    pub(crate) anomaly: Anomaly,
    /// Its edges. Numbers are those of the component.
    pub(crate) hops: Vec<Hop>,
    /// Whether none of its kind in the component is shorter.
    pub(crate) is_shortest: bool,
}

/// What a component holds.
#[derive(Debug, Default)]
pub(crate) struct Cycles {
    pub(crate) found: Vec<Cycle>,
    pub(crate) undecided: Vec<Anomaly>,
}

/// Looks for cycles of all kinds that are not implied by others found. `order` is the order beside
/// dependencies that the component's edges include.
pub(crate) fn search(component: &Component, order: Option<Scope>, steps_max: u64) -> Cycles {
    let mut cycles = Cycles::default();
    let mut implied: BTreeSet<Anomaly> = BTreeSet::new();
    for scope in std::iter::once(Scope::Data).chain(order) {
        for kind in CycleKind::ALL {
            if implied.contains(&Anomaly::Cycle(kind, scope)) {
                continue;
            }
            let has_no_rw = |cycle: &Cycle| {
                matches!(cycle.anomaly, Anomaly::Cycle(CycleKind::G0 | CycleKind::G1c, _))
            };
            let is_beside_worse = cycles.found.iter().any(has_no_rw);
            match find(component, kind, scope, is_beside_worse, steps_max) {
                Search::Absent => {}
                Search::Undecided => cycles.undecided.push(Anomaly::Cycle(kind, scope)),
                Search::Found(cycle) => {
                    if implied.contains(&cycle.anomaly) {
                        continue;
                    }
                    implied.extend(cycle.anomaly.implications());
                    cycles.found.push(cycle);
                }
            }
        }
    }
    cycles
}

#[derive(Debug)]
enum Search {
    Found(Cycle),
    /// There is none.
    Absent,
    Undecided,
}

/// `is_beside_worse` tells that there is a cycle without anti-dependencies in the component.
fn find(
    component: &Component,
    kind: CycleKind,
    scope: Scope,
    is_beside_worse: bool,
    steps_max: u64,
) -> Search {
    let automaton = Automaton::new(kind, scope);
    let mut starts = starts(component, kind, scope, automaton.closing);
    if kind == CycleKind::GSingleItem {
        starts = closing_single(component, scope, automaton.closing, starts, steps_max);
    }
    if starts.is_empty() {
        return Search::Absent;
    }
    let mut walker = Walker::new(component);
    let mut shortest: Option<Vec<Hop>> = None;
    let mut is_complete = true;
    // A walk that meets a transaction twice may hide a cycle from the same start, and with several
    // real-time edges there may be a shorter cycle than with one.
    let mut may_hide = automaton.closing == Closing::BeforeStart;
    for start in starts {
        if walker.steps > steps_max {
            is_complete = false;
            break;
        }
        // Two edges are the fewest: none leads from a transaction to itself.
        let length_max = shortest.as_ref().map_or(component.nodes(), |hops| hops.len() - 1);
        if length_max < 2 {
            break;
        }
        match walker.around(&automaton, start, length_max) {
            Some(hops) if is_simple(&hops) => shortest = Some(hops),
            Some(_) => may_hide = true,
            None => {}
        }
    }
    let Some(hops) = shortest else {
        // Cycles of the other kinds are known to be there, as walks.
        let is_exact = kind == CycleKind::GSingleItem && automaton.closing == Closing::AtStart;
        return if is_exact && is_complete { Search::Absent } else { Search::Undecided };
    };
    let made_of: Vec<Label> = hops.iter().map(|hop| hop.label).collect();
    let (kind, scope) = classify(&made_of);
    let is_shortest = hops.len() == 2 || (is_complete && !(is_beside_worse && may_hide));
    Search::Found(Cycle { anomaly: Anomaly::Cycle(kind, scope), hops, is_shortest })
}

/// Whether a cycle meets no transaction twice.
fn is_simple(hops: &[Hop]) -> bool {
    let distinct: BTreeSet<Node> = hops.iter().map(|hop| hop.from).collect();
    distinct.len() == hops.len()
}

/// Transactions from which a cycle can be read; none if there is no cycle of the kind.
fn starts(component: &Component, kind: CycleKind, scope: Scope, closing: Closing) -> Vec<Node> {
    let labels = labels(kind, scope);
    match kind {
        CycleKind::G0 | CycleKind::G1c => {
            let numbering = Numbering::new(&Through { component, labels });
            let first = if kind == CycleKind::G0 { None } else { Some(Label::Wr) };
            component
                .transactions()
                .filter(|node| match closing {
                    Closing::BeforeStart => numbering.is_in_cycle(*node),
                    Closing::AtStart => leads_on(component, &numbering, *node, labels, first),
                })
                .collect()
        }
        CycleKind::GSingleItem | CycleKind::GNonadjacentItem => {
            alternating_starts(component, labels, closing)
        }
        CycleKind::G2Item => adjacent_starts(component, labels, closing),
    }
}

/// Whether an edge of the node, with the label if one is given, stays in its component.
fn leads_on(
    component: &Component,
    numbering: &Numbering,
    node: Node,
    labels: Labels,
    first: Option<Label>,
) -> bool {
    component.out(node).any(|(target, label)| {
        labels.contains(label)
            && first.is_none_or(|first| first == label)
            && numbering.are_together(node, target)
    })
}

/// Starts of cycles in which no two anti-dependencies follow each other.
fn alternating_starts(component: &Component, labels: Labels, closing: Closing) -> Vec<Node> {
    let view = Alternating { component, labels };
    let numbering = Numbering::new(&view);
    let mut has_rw = vec![false; numbering.sizes.len()];
    let mut starts = Vec::new();
    for node in component.transactions() {
        let mut begins = false;
        for (target, label) in component.out(node).filter(|(_, label)| *label == Label::Rw) {
            let Some(after) = view.onward(false, target, label) else { continue };
            if numbering.are_together(2 * node, after) {
                has_rw[at(numbering.of[at(after)])] = true;
                begins = true;
            }
        }
        if begins {
            starts.push(node);
        }
    }
    match closing {
        Closing::AtStart => starts,
        Closing::BeforeStart => {
            let is_on = |spot: Node| has_rw[at(numbering.of[at(spot)])];
            let transactions = component.transactions();
            transactions.filter(|node| is_on(2 * node) || is_on(2 * node + 1)).collect()
        }
    }
}

/// Starts of cycles with two anti-dependencies in a row.
fn adjacent_starts(component: &Component, labels: Labels, closing: Closing) -> Vec<Node> {
    let numbering = Numbering::new(&Through { component, labels });
    let begins = |node: &Node| leads_on(component, &numbering, *node, labels, Some(Label::Rw));
    let first: Vec<Node> = component.transactions().filter(begins).collect();
    let mut after_rw = vec![false; component.nodes()];
    let mut work = Vec::new();
    for node in &first {
        for (target, label) in component.out(*node) {
            if label == Label::Rw && numbering.are_together(*node, target) {
                work.push(target);
            }
        }
    }
    while let Some(node) = work.pop() {
        if std::mem::replace(&mut after_rw[at(node)], true) || !component.is_hub(node) {
            continue;
        }
        let onward = component.out(node).map(|(target, _)| target);
        work.extend(onward.filter(|target| numbering.are_together(node, *target)));
    }
    if !first.iter().any(|node| after_rw[at(*node)]) {
        return Vec::new();
    }
    match closing {
        Closing::AtStart => first,
        Closing::BeforeStart => {
            component.transactions().filter(|node| numbering.is_in_cycle(*node)).collect()
        }
    }
}

/// Of the starts of cycles with exactly one anti-dependency, those that there is a cycle from. As given,
/// if telling would take too long.
fn closing_single(
    component: &Component,
    scope: Scope,
    closing: Closing,
    starts: Vec<Node>,
    steps_max: u64,
) -> Vec<Node> {
    let mut pairs = Vec::new();
    for node in component.transactions() {
        let antidependents = component.out(node).filter(|(_, label)| *label == Label::Rw);
        pairs.extend(antidependents.map(|(target, _)| (target, node)));
    }
    if reach::cost(component, pairs.len()) > steps_max.saturating_mul(PASSES_PER_WALK) {
        return starts;
    }
    // All that the cycle may be made of, but no second anti-dependency.
    let answers = reach::reaching(component, labels(CycleKind::G1c, scope), &pairs);
    let closed = pairs.iter().zip(answers).filter(|(_, answer)| *answer);
    let from: BTreeSet<Node> = closed.map(|((_, node), _)| *node).collect();
    match closing {
        Closing::AtStart => from.into_iter().collect(),
        Closing::BeforeStart if from.is_empty() => Vec::new(),
        Closing::BeforeStart => starts,
    }
}

#[cfg(test)]
#[path = "cycle_tests.rs"]
mod tests;
