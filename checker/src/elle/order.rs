//! Orders beside dependencies: of each process, and of real time.
//!
//! In real time a transaction comes before all that were called after it had returned. That is an edge
//! for nearly each pair, so they go through hubs, one for each place in the history where a call
//! follows returns; the hubs lead onward in time:
//!
//! ```text
//!   ==a==   ==c==           a, b --realtime--> hub 1 --onward--> hub 2 --onward--> d
//!    ==b==        ==d==                          |                 ^
//!                                                v                 |
//!                                                c ----realtime----'
//! ```
//!
//! So there are at most three edges for each transaction, however many run at once. (Elle links each
//! call to the latest returns; their number grows with the number of clients.)

use std::collections::HashMap;

use super::anomaly::Scope;
use super::graph::{Builder, Label, Node};
use super::numbering::{at, number};
use super::transaction::Transaction;

/// Adds an order, if one was asked for.
pub(crate) fn link<M>(
    scope: Option<Scope>,
    transactions: &[Transaction<M>],
    builder: &mut Builder,
) {
    match scope {
        Some(Scope::Realtime) => realtime(transactions, builder),
        Some(Scope::Process) => processes(transactions, builder),
        Some(Scope::Data) | None => {}
    }
}

/// From each transaction of a process that committed to the next that may have happened. Elle leaves
/// out those whose outcome is unknown, though they too come after what their process did before.
fn processes<M>(transactions: &[Transaction<M>], builder: &mut Builder) {
    let mut in_order: Vec<Node> = (0..number(transactions.len())).collect();
    in_order.sort_by_key(|node| transactions[at(*node)].invoked);
    let mut last_of: HashMap<u64, Node> = HashMap::new();
    for node in in_order {
        let transaction = &transactions[at(node)];
        if !transaction.is_possible() {
            continue;
        }
        if let Some(last) = last_of.get(&transaction.process) {
            builder.link(*last, node, Label::Process);
        }
        if transaction.is_committed() {
            last_of.insert(transaction.process, node);
        }
    }
}

/// The call or the return of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) place: u64,
    pub(crate) is_return: bool,
    pub(crate) transaction: Node,
}

/// Calls and returns, in order. What is unknown never returns, and what failed does not count.
pub(crate) fn events<'a, M: 'a>(
    transactions: impl Iterator<Item = (Node, &'a Transaction<M>)>,
) -> Vec<Event> {
    let (mut events, mut returns) = (Vec::new(), Vec::new());
    for (transaction, own) in transactions.filter(|(_, own)| own.is_possible()) {
        events.push(Event { place: own.invoked, is_return: false, transaction });
        if let Some(place) = own.committed_at() {
            assert!(own.invoked < place, "a transaction returns after it was called");
            returns.push(Event { place, is_return: true, transaction });
        }
    }
    // Each is mostly in order, and a stable sort only merges what is.
    events.append(&mut returns);
    events.sort();
    events
}

fn realtime<M>(transactions: &[Transaction<M>], builder: &mut Builder) {
    let mut returned: Vec<Node> = Vec::new();
    let mut hub = None;
    for event in events((0..).zip(transactions)) {
        if event.is_return {
            returned.push(event.transaction);
            continue;
        }
        if !returned.is_empty() {
            let next = builder.hub();
            if let Some(last) = hub.replace(next) {
                builder.link(last, next, Label::Onward);
            }
            for transaction in returned.drain(..) {
                builder.link(transaction, next, Label::Realtime);
            }
        }
        if let Some(hub) = hub {
            builder.link(hub, event.transaction, Label::Onward);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scc::Numbering;
    use super::super::transaction::Outcome;
    use super::*;

    fn transaction(process: u64, invoked: u64, returned: Option<u64>) -> Transaction<()> {
        let outcome = match returned {
            Some(_) => Outcome::Ok,
            None => Outcome::Unknown,
        };
        Transaction { process, invoked, returned, outcome, mops: Vec::new() }
    }

    fn reached(builder: Builder, from: Node) -> Vec<Node> {
        let graph = builder.build();
        let mut seen = vec![false; graph.nodes()];
        let mut work = vec![from];
        while let Some(node) = work.pop() {
            for edge in graph.edges(node) {
                let target = graph.target(edge);
                if !std::mem::replace(&mut seen[at(target)], true) {
                    work.push(target);
                }
            }
        }
        (0..number(graph.transactions())).filter(|node| seen[at(*node)]).collect()
    }

    #[test]
    fn a_process_does_one_thing_after_the_other() {
        let mut failed = transaction(1, 2, Some(3));
        failed.outcome = Outcome::Fail;
        let history = [
            transaction(1, 0, Some(1)),
            failed,
            transaction(2, 4, Some(7)),
            transaction(1, 5, Some(6)),
            transaction(1, 8, None),
        ];
        let mut builder = Builder::new(history.len());
        link(Some(Scope::Process), &history, &mut builder);
        assert_eq!(reached(builder, 0), [3, 4]);
    }

    proptest! {
        /// A transaction reaches those that were called after its return, in one step or several.
        #[test]
        fn real_time(spans in prop::collection::vec((0_u64..40, 1_u64..12, 0_u8..8), 1..20)) {
            // Distinct places for all events, in the order drawn.
            let mut places: Vec<(u64, usize, bool)> = Vec::new();
            for (at, (call, length, _)) in spans.iter().enumerate() {
                places.push((*call, at, false));
                places.push((call + length, at, true));
            }
            places.sort_unstable();
            let place = |at: usize, is_return: bool| {
                let found = places.iter().position(|own| (own.1, own.2) == (at, is_return));
                u64::try_from(found.unwrap()).unwrap()
            };
            let history: Vec<Transaction<()>> = spans.iter().enumerate().map(|(at, (_, _, kind))| {
                let mut own = transaction(0, place(at, false), (*kind > 0).then(|| place(at, true)));
                if *kind == 1 {
                    own.outcome = Outcome::Fail;
                }
                own
            }).collect();
            for (from, own) in history.iter().enumerate() {
                let mut builder = Builder::new(history.len());
                link(Some(Scope::Realtime), &history, &mut builder);
                let later: Vec<Node> = (0..).zip(&history).filter(|(_, other)| {
                    other.is_possible() && own.committed_at().is_some_and(|at| at < other.invoked)
                }).map(|(node, _)| node).collect();
                prop_assert_eq!(reached(builder, number(from)), later);
            }
        }
    }

    #[test]
    fn real_time_alone_has_no_cycle_and_few_edges() {
        let history: Vec<Transaction<()>> =
            (0..1_000).map(|at| transaction(at, at * 3, Some(at * 3 + 200))).collect();
        let mut builder = Builder::new(history.len());
        link(Some(Scope::Realtime), &history, &mut builder);
        let graph = builder.build();
        assert!(Numbering::new(&graph).sizes.iter().all(|size| *size == 1));
        assert!(
            (0..number(graph.nodes())).map(|node| graph.edges(node).len()).sum::<usize>() <= 3_000
        );
    }
}
