//! Who must come before whom: transactions, and edges that say why.
//!
//! Where many must each come before many, as those that read a key empty and all that wrote to it,
//! edges from each to each would be too many. They go through *hubs*, nodes that are no transactions:
//!
//! ```text
//!   reader --rw--> hub --onward--> hub --onward--> hub
//!                   |               |               |
//!                 onward          onward          onward
//!                   v               v               v
//!                writer          writer          writer
//! ```
//!
//! The label of the edge into the first hub is the reason; what follows is one step with it. A
//! transaction reaches others through a hub, never itself, so that cycles stay what they are.
//!
//! Nodes below the number of transactions are transactions, the others hubs.

use std::ops::Range;

use super::numbering::{at, number, starts};

/// A transaction or a hub.
pub(crate) type Node = u32;

/// Why an edge is there. Of several reasons for one edge, the first counts, as in Elle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label {
    /// The other wrote over what it wrote.
    Ww,
    /// The other read what it wrote.
    Wr,
    /// The other wrote over what it read.
    Rw,
    /// One process did both.
    Process,
    /// It had returned when the other was called.
    Realtime,
    /// Out of a hub: on with the step that led into it.
    Onward,
}

impl Label {
    /// How many there are.
    pub(crate) const COUNT: usize = 6;

    /// Its place in a table.
    #[inline]
    pub(crate) fn index(self) -> usize {
        match self {
            Label::Ww => 0,
            Label::Wr => 1,
            Label::Rw => 2,
            Label::Process => 3,
            Label::Realtime => 4,
            Label::Onward => 5,
        }
    }
}

/// A set of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Labels([bool; Label::COUNT]);

impl Labels {
    pub(crate) fn of(labels: &[Label]) -> Labels {
        let mut set = [false; Label::COUNT];
        for label in labels {
            set[label.index()] = true;
        }
        Labels(set)
    }

    #[inline]
    pub(crate) fn contains(self, label: Label) -> bool {
        self.0[label.index()]
    }
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    from: Node,
    to: Node,
    label: Label,
}

/// A graph to be.
#[derive(Debug)]
pub(crate) struct Builder {
    transactions: usize,
    nodes: usize,
    edges: Vec<Edge>,
}

impl Builder {
    pub(crate) fn new(transactions: usize) -> Builder {
        Builder { transactions, nodes: transactions, edges: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// One edge. None leads from a node to itself.
    #[inline]
    pub(crate) fn link(&mut self, from: Node, to: Node, label: Label) {
        if from != to {
            self.edges.push(Edge { from, to, label });
        }
    }

    /// A new hub.
    pub(crate) fn hub(&mut self) -> Node {
        self.nodes += 1;
        number(self.nodes - 1)
    }

    /// From each of `from` to each of `to`, but not from one to itself.
    pub(crate) fn link_all(&mut self, from: &[Node], to: &[Node], label: Label) {
        // What hubs would take.
        if from.len().saturating_mul(to.len()) <= 2 * from.len() + 4 * to.len() {
            for (one, other) in from.iter().flat_map(|one| to.iter().map(move |other| (one, other)))
            {
                self.link(*one, *other, label);
            }
            return;
        }
        let mut to = to.to_vec();
        to.sort_unstable();
        to.dedup();
        let upward: Vec<Node> = to.iter().map(|_| self.hub()).collect();
        let downward: Vec<Node> = to.iter().map(|_| self.hub()).collect();
        for (place, target) in to.iter().enumerate() {
            self.link(upward[place], *target, Label::Onward);
            self.link(downward[place], *target, Label::Onward);
            if place > 0 {
                self.link(upward[place - 1], upward[place], Label::Onward);
                self.link(downward[place], downward[place - 1], Label::Onward);
            }
        }
        for one in from {
            let (below, above) = match to.binary_search(one) {
                Ok(own) => (own.checked_sub(1), own + 1),
                Err(_) => (None, 0),
            };
            if let Some(below) = below {
                self.link(*one, downward[below], label);
            }
            if above < to.len() {
                self.link(*one, upward[above], label);
            }
        }
    }

    /// The graph, its edges sorted by where they come from.
    pub(crate) fn build(self) -> Graph {
        let mut counts = vec![0; self.nodes];
        for edge in &self.edges {
            counts[at(edge.from)] += 1;
        }
        let starts = starts(&counts);
        let mut places = starts.clone();
        let mut targets = vec![0; self.edges.len()];
        let mut labels = vec![Label::Onward; self.edges.len()];
        for edge in &self.edges {
            let place = &mut places[at(edge.from)];
            targets[at(*place)] = edge.to;
            labels[at(*place)] = edge.label;
            *place += 1;
        }
        Graph { transactions: self.transactions, starts, targets, labels }
    }
}

/// Who must come before whom.
#[derive(Debug)]
pub(crate) struct Graph {
    transactions: usize,
    starts: Vec<u32>,
    targets: Vec<Node>,
    labels: Vec<Label>,
}

impl Graph {
    pub(crate) fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn transactions(&self) -> usize {
        self.transactions
    }

    /// The edges out of a node, by number.
    #[inline]
    pub(crate) fn edges(&self, node: Node) -> Range<usize> {
        at(self.starts[at(node)])..at(self.starts[at(node) + 1])
    }

    #[inline]
    pub(crate) fn target(&self, edge: usize) -> Node {
        self.targets[edge]
    }

    #[inline]
    pub(crate) fn label(&self, edge: usize) -> Label {
        self.labels[edge]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Pairs of transactions that are one step apart.
    fn steps(graph: &Graph) -> BTreeSet<(Node, Node, usize)> {
        let transactions = number(graph.transactions());
        let mut pairs = BTreeSet::new();
        for from in 0..transactions {
            for edge in graph.edges(from) {
                let mut work = vec![graph.target(edge)];
                while let Some(node) = work.pop() {
                    if node < transactions {
                        pairs.insert((from, node, graph.label(edge).index()));
                    } else {
                        work.extend(graph.edges(node).map(|onward| graph.target(onward)));
                    }
                }
            }
        }
        pairs
    }

    #[test]
    fn hubs_lead_from_each_to_each_other() {
        for (sources, targets) in [(1, 40), (40, 1), (2, 3), (9, 9), (30, 50)] {
            // Every third one is both.
            let from: Vec<Node> = (0..sources).map(|node| node * 3).collect();
            let to: Vec<Node> = (0..targets).rev().collect();
            let mut builder = Builder::new(200);
            builder.link_all(&from, &to, Label::Rw);
            let graph = builder.build();
            let mut expected = BTreeSet::new();
            for one in &from {
                expected
                    .extend(to.iter().filter(|other| *other != one).map(|other| (*one, *other, 2)));
            }
            assert_eq!(steps(&graph), expected, "{sources} x {targets}");
        }
    }

    #[test]
    fn many_to_many_takes_few_edges() {
        let nodes: Vec<Node> = (0..1_000).collect();
        let mut builder = Builder::new(1_000);
        builder.link_all(&nodes, &nodes, Label::Rw);
        assert!(builder.edges.len() < 6_001, "{}", builder.edges.len());
    }

    #[test]
    fn no_edge_leads_to_where_it_comes_from() {
        let mut builder = Builder::new(2);
        builder.link(1, 1, Label::Ww);
        assert!(builder.is_empty());
        builder.link(1, 0, Label::Ww);
        let graph = builder.build();
        assert_eq!((graph.edges(0).len(), graph.edges(1).len()), (0, 1));
    }
}
