//! Strongly connected components: where everything leads to everything, and only there are cycles.
//!
//! Tarjan's algorithm, with one number for each node as in Pearce ("A space-efficient algorithm for
//! finding strongly connected components", 2016), and with a stack of its own, since a history makes
//! paths of a million nodes.

use std::ops::Range;

use super::graph::{Graph, Node};
use super::numbering::{at, number};

/// A graph, or a view of one.
pub(crate) trait Steps {
    fn nodes(&self) -> usize;

    /// The edges out of a node, by number.
    fn edges(&self, node: Node) -> Range<usize>;

    /// Where an edge of a node leads, if it may be taken.
    fn step(&self, node: Node, edge: usize) -> Option<Node>;
}

impl Steps for Graph {
    fn nodes(&self) -> usize {
        Graph::nodes(self)
    }

    #[inline]
    fn edges(&self, node: Node) -> Range<usize> {
        Graph::edges(self, node)
    }

    #[inline]
    fn step(&self, _: Node, edge: usize) -> Option<Node> {
        Some(self.target(edge))
    }
}

/// Which component each node is in. An edge never leads to a component with a greater number.
#[derive(Debug)]
pub(crate) struct Numbering {
    pub(crate) of: Vec<u32>,
    /// Nodes in each component.
    pub(crate) sizes: Vec<usize>,
}

impl Numbering {
    pub(crate) fn new(graph: &impl Steps) -> Numbering {
        let mut of = vec![0; graph.nodes()];
        let mut sizes = Vec::new();
        components(graph, &mut |members| {
            for member in members {
                of[at(*member)] = number(sizes.len());
            }
            sizes.push(members.len());
        });
        Numbering { of, sizes }
    }

    pub(crate) fn are_together(&self, one: Node, other: Node) -> bool {
        self.of[at(one)] == self.of[at(other)]
    }

    /// Whether the node is in a component of several.
    pub(crate) fn is_in_cycle(&self, node: Node) -> bool {
        self.sizes[at(self.of[at(node)])] > 1
    }
}

/// A node on the way, and which of its edges comes next.
struct Frame {
    node: Node,
    first_seen: u32,
    next: usize,
    end: usize,
}

/// Gives every component to `each`, one to which others lead before those.
///
/// Nodes are taken from the last on: where edges lead to greater numbers, as in a history that mostly
/// goes forward in time, the ways stay short.
pub(crate) fn components(graph: &impl Steps, each: &mut impl FnMut(&[Node])) {
    let mut search = Search {
        seen: vec![0; graph.nodes()],
        clock: 1,
        frames: Vec::new(),
        waiting: Vec::new(),
        done: u32::MAX,
        members: Vec::new(),
    };
    for start in (0..number(graph.nodes())).rev() {
        if search.seen[at(start)] == 0 {
            search.explore(start, graph, each);
        }
    }
}

struct Search {
    /// For each node: 0 if not seen; while it waits for its component, when the earliest node that it
    /// is known to lead back to was seen; then a number greater than all of those.
    seen: Vec<u32>,
    clock: u32,
    frames: Vec<Frame>,
    /// Nodes that lead back to one on the way.
    waiting: Vec<Node>,
    done: u32,
    members: Vec<Node>,
}

impl Search {
    fn explore(&mut self, start: Node, graph: &impl Steps, each: &mut impl FnMut(&[Node])) {
        self.enter(start, graph);
        while let Some(frame) = self.frames.last_mut() {
            let node = frame.node;
            if frame.next == frame.end {
                self.leave(each);
                continue;
            }
            let edge = frame.next;
            frame.next += 1;
            let Some(target) = graph.step(node, edge) else { continue };
            match self.seen[at(target)] {
                0 => self.enter(target, graph),
                seen if seen < self.seen[at(node)] => self.seen[at(node)] = seen,
                _ => {}
            }
        }
    }

    fn enter(&mut self, node: Node, graph: &impl Steps) {
        self.seen[at(node)] = self.clock;
        let edges = graph.edges(node);
        self.frames.push(Frame { node, first_seen: self.clock, next: edges.start, end: edges.end });
        self.clock += 1;
    }

    fn leave(&mut self, each: &mut impl FnMut(&[Node])) {
        let Some(Frame { node, first_seen, .. }) = self.frames.pop() else { return };
        let earliest = self.seen[at(node)];
        if earliest < first_seen {
            self.waiting.push(node);
            if let Some(parent) = self.frames.last() {
                let known = &mut self.seen[at(parent.node)];
                *known = earliest.min(*known);
            }
            return;
        }
        self.members.clear();
        self.members.push(node);
        while let Some(last) = self.waiting.last()
            && self.seen[at(*last)] >= first_seen
        {
            self.members.extend(self.waiting.pop());
        }
        for member in &self.members {
            self.seen[at(*member)] = self.done;
        }
        // Components take numbers from above and nodes from below: there are never more than both.
        self.clock -= number(self.members.len());
        self.done -= 1;
        each(&self.members);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::graph::{Builder, Label};
    use super::*;

    fn graph(nodes: usize, edges: &[(Node, Node)]) -> Graph {
        let mut builder = Builder::new(nodes);
        for (from, to) in edges {
            builder.link(*from, *to, Label::Ww);
        }
        builder.build()
    }

    #[test]
    fn a_cycle_is_one_component() {
        let numbering = Numbering::new(&graph(5, &[(0, 1), (1, 2), (2, 0), (2, 3), (4, 0)]));
        assert!(numbering.are_together(0, 2) && !numbering.are_together(0, 3));
        assert!(numbering.is_in_cycle(1) && !numbering.is_in_cycle(4));
        assert!(numbering.of[3] < numbering.of[0] && numbering.of[0] < numbering.of[4]);
    }

    #[test]
    fn a_path_of_a_million_does_not_overflow_the_stack() {
        let edges: Vec<(Node, Node)> = (1..1_000_000).map(|node| (node, node - 1)).collect();
        let mut count = 0;
        components(&graph(1_000_000, &edges), &mut |_| count += 1);
        assert_eq!(count, 1_000_000);
    }

    proptest! {
        /// Together are those that reach each other, and numbers rise against the edges.
        #[test]
        fn agrees_with_reachability(edges in prop::collection::vec((0_u32..12, 0_u32..12), 0..40)) {
            let numbering = Numbering::new(&graph(12, &edges));
            let mut reaches = [[false; 12]; 12];
            for (node, row) in reaches.iter_mut().enumerate() {
                row[node] = true;
            }
            for (from, to) in &edges {
                reaches[at(*from)][at(*to)] = true;
            }
            for middle in 0..12 {
                for from in 0..12 {
                    for to in 0..12 {
                        reaches[from][to] |= reaches[from][middle] && reaches[middle][to];
                    }
                }
            }
            for one in 0..12_u32 {
                for other in 0..12_u32 {
                    let both = reaches[at(one)][at(other)] && reaches[at(other)][at(one)];
                    prop_assert_eq!(numbering.are_together(one, other), both);
                    if reaches[at(one)][at(other)] {
                        prop_assert!(numbering.of[at(one)] >= numbering.of[at(other)]);
                    }
                }
            }
        }
    }
}
