//! What all checks end with: from dependencies to cycles to the answer.

use super::anomaly::Anomaly;
use super::component::{Component, Times};
use super::cycle::{self, Cycle};
use super::graph::{Builder, Graph, Label, Node};
use super::numbering::at;
use super::options::Options;
use super::order;
use super::report::{Case, Dependency, Findings, Report, Step};
use super::scc;
use super::transaction::{Transaction, TransactionId};

/// Tells why one transaction depends on another, given what kind of dependency it is.
pub(crate) trait Explain {
    /// The reason for an edge that the check has added.
    fn dependency(&self, from: Node, to: Node, label: Label) -> Option<Dependency>;
}

/// Adds the orders that were asked for to the dependencies, and looks for cycles.
pub(crate) fn conclude<M>(
    transactions: &[Transaction<M>],
    mut builder: Builder,
    mut findings: Findings,
    explain: &impl Explain,
    options: &Options,
) -> Report {
    let order = options.order();
    order::link(order, transactions, &mut builder);
    if builder.is_empty() {
        findings.add(Anomaly::EmptyTransactionGraph, || Case::EmptyTransactionGraph);
    }
    let graph = builder.build();
    for members in cyclic(&graph) {
        let component = Component::cut(&graph, members, |node| times(&transactions[at(node)]));
        let cycles = cycle::search(&component, order, options.search_steps_max);
        for anomaly in cycles.undecided {
            findings.leave_undecided(anomaly);
        }
        for cycle in cycles.found {
            let case = || case(&cycle, &component, transactions, explain);
            findings.add(cycle.anomaly, case);
        }
    }
    findings.report(options)
}

/// The components in which there are cycles, the first in the history first.
fn cyclic(graph: &Graph) -> Vec<Vec<Node>> {
    let mut cyclic: Vec<Vec<Node>> = Vec::new();
    scc::components(graph, &mut |members| {
        if members.len() > 1 {
            cyclic.push(members.to_vec());
        }
    });
    cyclic.sort_by_cached_key(|members| members.iter().min().copied());
    cyclic
}

fn times<M>(transaction: &Transaction<M>) -> Times {
    Times { invoked: transaction.invoked, returned: transaction.committed_at().unwrap_or(u64::MAX) }
}

/// The cycle, with reasons, from its first transaction on.
fn case<M>(
    cycle: &Cycle,
    component: &Component,
    transactions: &[Transaction<M>],
    explain: &impl Explain,
) -> Case {
    let mut hops: Vec<(Node, Label)> =
        cycle.hops.iter().map(|hop| (component.in_graph(hop.from), hop.label)).collect();
    let first = (0..hops.len()).min_by_key(|place| hops[*place].0).unwrap_or(0);
    hops.rotate_left(first);
    let step = |place: usize| {
        let (from, label) = hops[place];
        let (to, _) = hops[(place + 1) % hops.len()];
        let because = reason(from, to, label, transactions, explain);
        Step { from: TransactionId(from), to: TransactionId(to), because }
    };
    Case::Cycle { steps: (0..hops.len()).map(step).collect(), shortest: cycle.is_shortest }
}

fn reason<M>(
    from: Node,
    to: Node,
    label: Label,
    transactions: &[Transaction<M>],
    explain: &impl Explain,
) -> Dependency {
    let (before, after) = (&transactions[at(from)], &transactions[at(to)]);
    match label {
        Label::Process => Dependency::Process { process: before.process },
        Label::Realtime => Dependency::Realtime {
            returned: before.committed_at().expect("what comes before others has returned"),
            invoked: after.invoked,
        },
        Label::Ww | Label::Wr | Label::Rw | Label::Onward => explain
            .dependency(from, to, label)
            .expect("every edge was added for a reason, which is found again"),
    }
}
