//! One strongly connected component, cut out of the graph: small, with numbers of its own.
//!
//! Of several edges from one node straight to another only the strongest reason is kept, so that a
//! cycle has one name. The order of a process is kept beside a read or an anti-dependency, though:
//! cycles that take it instead are of a worse kind, and models of sessions forbid some of those only.

use std::ops::Range;

use super::graph::{Graph, Label, Labels, Node};
use super::numbering::{at, number, starts};
use super::scc::Steps;

/// When a transaction was called and when it had returned; `u64::MAX` if never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) invoked: u64,
    pub(crate) returned: u64,
}

/// A component, or any part of a graph. Transactions have the lower numbers, hubs the higher.
#[derive(Debug)]
pub(crate) struct Component {
    /// Numbers in the graph.
    members: Vec<Node>,
    times: Vec<Times>,
    starts: Vec<u32>,
    targets: Vec<Node>,
    labels: Vec<Label>,
}

impl Component {
    /// Cuts `members` out of the graph.
    pub(crate) fn cut(
        graph: &Graph,
        mut members: Vec<Node>,
        times: impl Fn(Node) -> Times,
    ) -> Component {
        members.sort_unstable();
        let transactions = members.partition_point(|node| at(*node) < graph.transactions());
        let times = members[..transactions].iter().map(|node| times(*node)).collect();
        let (mut targets, mut labels) = (Vec::new(), Vec::new());
        let mut counts = Vec::with_capacity(members.len());
        let mut own: Vec<(Node, Label)> = Vec::new();
        for node in &members {
            own.clear();
            for edge in graph.edges(*node) {
                if let Ok(place) = members.binary_search(&graph.target(edge)) {
                    own.push((number(place), graph.label(edge)));
                }
            }
            own.sort_unstable();
            own.dedup_by(|weaker, kept| {
                let hides_processes = matches!(kept.1, Label::Ww | Label::Process);
                weaker.0 == kept.0 && (weaker.1 != Label::Process || hides_processes)
            });
            counts.push(number(own.len()));
            targets.extend(own.iter().map(|(target, _)| *target));
            labels.extend(own.iter().map(|(_, label)| *label));
        }
        Component { members, times, starts: starts(&counts), targets, labels }
    }

    /// Transactions and hubs.
    pub(crate) fn nodes(&self) -> usize {
        self.members.len()
    }

    /// The transactions in it.
    pub(crate) fn transactions(&self) -> Range<Node> {
        0..number(self.times.len())
    }

    #[inline]
    pub(crate) fn is_hub(&self, node: Node) -> bool {
        at(node) >= self.times.len()
    }

    /// When a transaction was called and had returned.
    #[inline]
    pub(crate) fn times(&self, transaction: Node) -> Times {
        self.times[at(transaction)]
    }

    /// The number of a node in the graph.
    pub(crate) fn in_graph(&self, node: Node) -> Node {
        self.members[at(node)]
    }

    pub(crate) fn edge_count(&self) -> usize {
        self.targets.len()
    }

    #[inline]
    pub(crate) fn edges(&self, node: Node) -> Range<usize> {
        at(self.starts[at(node)])..at(self.starts[at(node) + 1])
    }

    /// Edges out of a node: where they lead, and why.
    #[inline]
    pub(crate) fn out(&self, node: Node) -> impl Iterator<Item = (Node, Label)> + '_ {
        self.edges(node).map(|edge| (self.targets[edge], self.labels[edge]))
    }
}

/// A component, as seen by who may take edges with some labels only.
pub(crate) struct Through<'a> {
    pub(crate) component: &'a Component,
    pub(crate) labels: Labels,
}

impl Steps for Through<'_> {
    fn nodes(&self) -> usize {
        self.component.nodes()
    }

    fn edges(&self, node: Node) -> Range<usize> {
        self.component.edges(node)
    }

    fn step(&self, _: Node, edge: usize) -> Option<Node> {
        let may = self.labels.contains(self.component.labels[edge]);
        may.then(|| self.component.targets[edge])
    }
}

/// A component, as seen by who may take edges with some labels, but never two anti-dependencies in a
/// row. Each node is there twice: node `2n` is `n` after another edge, `2n + 1` is `n` after an
/// anti-dependency.
pub(crate) struct Alternating<'a> {
    pub(crate) component: &'a Component,
    pub(crate) labels: Labels,
}

impl Alternating<'_> {
    /// What an edge leads to, from a node that was reached by an anti-dependency or not.
    pub(crate) fn onward(&self, after_rw: bool, target: Node, label: Label) -> Option<Node> {
        let after_rw = match label {
            Label::Rw if after_rw => return None,
            Label::Rw => true,
            Label::Onward => after_rw,
            Label::Ww | Label::Wr | Label::Process | Label::Realtime => false,
        };
        self.labels.contains(label).then(|| 2 * target + u32::from(after_rw))
    }
}

impl Steps for Alternating<'_> {
    fn nodes(&self) -> usize {
        2 * self.component.nodes()
    }

    fn edges(&self, node: Node) -> Range<usize> {
        self.component.edges(node / 2)
    }

    fn step(&self, node: Node, edge: usize) -> Option<Node> {
        let (target, label) = (self.component.targets[edge], self.component.labels[edge]);
        self.onward(node % 2 == 1, target, label)
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::Builder;
    use super::super::scc::Numbering;
    use super::*;

    fn cut(edges: &[(Node, Node, Label)], members: &[Node]) -> Component {
        let mut builder = Builder::new(6);
        for (from, to, label) in edges {
            builder.link(*from, *to, *label);
        }
        Component::cut(&builder.build(), members.to_vec(), |node| Times {
            invoked: u64::from(node),
            returned: u64::MAX,
        })
    }

    #[test]
    fn keeps_edges_inside_and_the_strongest_of_each_pair() {
        let edges = [
            (5, 3, Label::Rw),
            (5, 3, Label::Ww),
            (3, 5, Label::Realtime),
            (3, 5, Label::Wr),
            (3, 1, Label::Ww),
        ];
        let component = cut(&edges, &[5, 3]);
        assert_eq!(component.transactions(), 0..2);
        assert_eq!(component.in_graph(1), 5);
        assert_eq!(component.times(1).invoked, 5);
        assert_eq!(component.out(0).collect::<Vec<_>>(), [(1, Label::Wr)]);
        assert_eq!(component.out(1).collect::<Vec<_>>(), [(0, Label::Ww)]);
    }

    #[test]
    fn the_order_of_a_process_is_hidden_by_writes_over_writes_only() {
        let out = |labels: &[Label]| {
            let edges: Vec<_> = labels.iter().map(|label| (0, 1, *label)).collect();
            cut(&edges, &[0, 1]).out(0).map(|(_, label)| label).collect::<Vec<_>>()
        };
        assert_eq!(out(&[Label::Process, Label::Ww]), [Label::Ww]);
        assert_eq!(out(&[Label::Process, Label::Rw]), [Label::Rw, Label::Process]);
        assert_eq!(out(&[Label::Process, Label::Rw, Label::Wr]), [Label::Wr, Label::Process]);
        assert_eq!(out(&[Label::Process, Label::Process]), [Label::Process]);
    }

    #[test]
    fn two_anti_dependencies_in_a_row_lead_nowhere() {
        let labels = Labels::of(&[Label::Ww, Label::Wr, Label::Rw]);
        let is_cyclic = |edges: &[(Node, Node, Label)]| {
            let component = cut(edges, &[0, 1, 2, 3]);
            let numbering = Numbering::new(&Alternating { component: &component, labels });
            numbering.sizes.iter().any(|size| *size > 1)
        };
        assert!(!is_cyclic(&[(0, 1, Label::Rw), (1, 0, Label::Rw)]));
        assert!(is_cyclic(&[(0, 1, Label::Rw), (1, 0, Label::Wr)]));
        let (a, b) = ((0, 1, Label::Rw), (2, 3, Label::Rw));
        assert!(is_cyclic(&[a, (1, 2, Label::Wr), b, (3, 0, Label::Ww)]));
        assert!(!is_cyclic(&[a, (1, 2, Label::Rw), b, (3, 0, Label::Ww)]));
    }
}
