//! The links between members, and of clients with them, which pass through us and can be broken.
//!
//! Each member advertises the address of a [`Proxy`](proxy::Proxy) of ours as its peer address, so
//! that every connection to it passes through that proxy; and clients are told the address of
//! another one, if the workload breaks their links. [`rule`] says what is done to which links,
//! [`line`] when delayed bytes arrive, `maker` who made a connection.
//!
//! To cut a member off, also the connections *it* makes must be cut: for each accepted connection we
//! look up (in `/proc`) which member's process made it. Whoever made a connection of which that is
//! not known may be the one that is cut off: when such a connection carries bytes meanwhile, the rule
//! has a [`Leak`], which is told when it ends. So where there is no `/proc`, no cut is whole.
//!
//! Invariant: bytes are never lost or reordered within a connection that goes on. A held link keeps
//! them, as a network that is cut keeps them in the sender's buffers; a reset one ends the
//! connection.

mod line;
mod maker;
pub mod proxy;
pub mod rule;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use rule::{Flow, Rule};

/// Bytes got around a rule, perhaps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a connection to m{to}, made by nobody knows whom, carried bytes that a fault of the links \
     perhaps was to stop"
)]
pub struct Leak {
    /// The member that the connection led to.
    pub to: u32,
}

/// Names a rule that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleId(u64);

/// The rules in force, as they change.
#[derive(Debug, Clone, Default)]
struct InForce {
    next: u64,
    ids: Vec<u64>,
    rules: Vec<Rule>,
}

/// The links of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Network {
    in_force: watch::Sender<InForce>,
    /// Process ids of the members that run.
    pids: Arc<Mutex<BTreeMap<u32, u32>>>,
    /// The first leak of a rule that has not been told yet.
    leak: Arc<Mutex<Option<Leak>>>,
    connections: Arc<Mutex<Connections>>,
}

/// Connections that there are, each with what ends it.
#[derive(Debug, Default)]
struct Connections {
    next: u64,
    open: BTreeMap<u64, (Flow, CancellationToken)>,
}

impl Network {
    /// Tells which process a member is; `None` if it does not run.
    pub fn set_pid(&self, member: u32, pid: Option<u32>) {
        let mut pids = self.pids.lock().expect("no holder panics");
        match pid {
            Some(pid) => pids.insert(member, pid),
            None => pids.remove(&member),
        };
    }

    /// Puts a rule in force.
    pub fn impose(&self, rule: Rule) -> RuleId {
        let mut id = 0;
        self.in_force.send_modify(|in_force| {
            id = in_force.next;
            in_force.next += 1;
            in_force.ids.push(id);
            in_force.rules.push(rule);
        });
        RuleId(id)
    }

    /// Takes a rule back. The error says that something got around it.
    pub fn lift(&self, RuleId(id): RuleId) -> Result<(), Leak> {
        self.in_force.send_modify(|in_force| {
            if let Some(place) = in_force.ids.iter().position(|other| *other == id) {
                in_force.ids.remove(place);
                in_force.rules.remove(place);
            }
        });
        self.leak.lock().expect("no holder panics").take().map_or(Ok(()), Err)
    }

    /// Resets the connections that there are and that the rule is about, whatever its effect. New
    /// ones may come. Says how many.
    pub fn reset(&self, rule: &Rule) -> usize {
        let connections = self.connections.lock().expect("no holder panics");
        let mut count = 0;
        for (flow, end) in connections.open.values() {
            if rule.has(*flow) || rule.has(flow.back()) {
                end.cancel();
                count += 1;
            }
        }
        count
    }

    fn open(&self, flow: Flow) -> Open {
        let end = CancellationToken::new();
        let mut connections = self.connections.lock().expect("no holder panics");
        let id = connections.next;
        connections.next += 1;
        connections.open.insert(id, (flow, end.clone()));
        Open { id, end, connections: Arc::clone(&self.connections) }
    }
}

/// A connection that there is.
#[derive(Debug)]
struct Open {
    id: u64,
    end: CancellationToken,
    connections: Arc<Mutex<Connections>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.lock().expect("no holder panics").open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
