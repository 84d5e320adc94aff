//! Links that are cut, slow, narrow, reset or half open.

use std::collections::BTreeSet;

use super::network::RuleId;
use super::network::rule::{Between, Effect, Rule};
use crate::cluster::{Cluster, ClusterError};
use crate::workload::{CutMode, FaultKind, How, Shape};

/// Breaks links of the members until the rule is taken back.
pub(super) fn begin(cluster: &Cluster, kind: FaultKind, how: &How, members: &[u32]) -> RuleId {
    let everyone: Vec<u32> = cluster.roster().seats().iter().map(|seat| seat.member).collect();
    cluster.network().impose(rule(kind, how, members, &everyone))
}

/// Resets the connections of the members. That there were none is an error: nothing was shown.
pub(super) fn reset(cluster: &Cluster, how: &How, members: &[u32]) -> Result<(), ClusterError> {
    let rule = rule(FaultKind::Reset, how, members, members);
    match cluster.network().reset(&rule) {
        0 => Err(ClusterError::NotDone {
            member: members.first().copied().unwrap_or_default(),
            reason: "it has no connection to reset".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn rule(kind: FaultKind, how: &How, members: &[u32], everyone: &[u32]) -> Rule {
    let targets = || members.iter().copied().collect();
    let between = match how.shape {
        Shape::Isolate => Between::Around(targets(), how.direction),
        Shape::Halves => Between::Across(targets(), how.direction),
        Shape::Ring => Between::Pairs(apart_in_a_ring(everyone)),
        Shape::Bridge => Between::Pairs(apart_at_a_bridge(everyone, members)),
    };
    let effect = match (kind, how.mode) {
        (FaultKind::Delay, _) => Effect::Delay { by: how.by, spread: how.spread },
        (FaultKind::Bandwidth, _) => Effect::Bandwidth { bytes_per_s: how.bytes_per_s },
        (FaultKind::HalfOpen, _) => Effect::HalfOpen,
        (FaultKind::Reset, _) | (_, CutMode::Reset) => Effect::Reset,
        (_, CutMode::Hold) => Effect::Hold,
    };
    Rule { links: how.links, between, effect }
}

/// Who is not the neighbour of whom, both ways.
fn apart_in_a_ring(everyone: &[u32]) -> BTreeSet<(u32, u32)> {
    let count = everyone.len();
    let mut apart = BTreeSet::new();
    for (place, &one) in everyone.iter().enumerate() {
        for (other_place, &other) in everyone.iter().enumerate() {
            let distance = place.abs_diff(other_place);
            if distance.min(count - distance) > 1 {
                apart.insert((one, other));
            }
        }
    }
    apart
}

/// Everyone but the bridge, in two halves that are apart, both ways.
fn apart_at_a_bridge(everyone: &[u32], bridge: &[u32]) -> BTreeSet<(u32, u32)> {
    let others: Vec<u32> = everyone.iter().copied().filter(|m| !bridge.contains(m)).collect();
    let (left, right) = others.split_at(others.len() / 2);
    let pairs = left.iter().flat_map(|&l| right.iter().flat_map(move |&r| [(l, r), (r, l)]));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways(pairs: &[(u32, u32)]) -> BTreeSet<(u32, u32)> {
        pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]).collect()
    }

    #[test]
    fn in_a_ring_each_reaches_two() {
        assert_eq!(apart_in_a_ring(&[0, 1, 2]), BTreeSet::new());
        assert_eq!(apart_in_a_ring(&[0, 1, 2, 3]), both_ways(&[(0, 2), (1, 3)]));
        let five = apart_in_a_ring(&[0, 1, 2, 3, 7]);
        assert_eq!(five, both_ways(&[(0, 2), (0, 3), (1, 3), (1, 7), (2, 7)]));
    }

    #[test]
    fn a_bridge_reaches_both_halves() {
        assert_eq!(apart_at_a_bridge(&[0, 1, 2], &[1]), both_ways(&[(0, 2)]));
        let five = apart_at_a_bridge(&[0, 1, 2, 3, 4], &[0]);
        assert_eq!(five, both_ways(&[(1, 3), (1, 4), (2, 3), (2, 4)]));
    }
}
