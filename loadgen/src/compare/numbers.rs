//! Which numbers are compared, and what the pairs of runs say of each.

use super::Plan;
use crate::metric::{Metric, Quantity};
use crate::report::RunReport;
use crate::workload::Mix;

/// A number of fewer operations than that is not compared.
const OPERATIONS_MIN: u64 = 100;

/// What is compared in any case: what is named, also by a limit.
pub(super) fn asked(plan: &Plan) -> Vec<Metric> {
    let mut asked = plan.metrics.clone();
    for limit in &plan.limits {
        if !asked.contains(&limit.metric) {
            asked.push(limit.metric);
        }
    }
    asked
}

/// What is looked at: what is asked for and, if no number is named, whatever is worth it.
pub(super) fn worth_it(
    plan: &Plan,
    asked: &[Metric],
    a: &[&RunReport],
    b: &[&RunReport],
) -> Vec<Metric> {
    let mut metrics = if plan.metrics.is_empty() { candidates(a, b) } else { Vec::new() };
    metrics.extend(asked.iter().filter(|metric| !metrics.contains(metric)).collect::<Vec<_>>());
    metrics
}

/// What the runs of both systems say of a number.
pub(super) enum Pairs {
    /// All of them measured it, and there are ratios, or there is nothing anywhere.
    Whole(Vec<f64>, Vec<f64>),
    /// None of them measured it.
    Absent,
    /// There is a ratio of some pairs only, and why.
    Partial(String),
}

/// The values of a number in the runs of both systems.
pub(super) fn pairs(metric: Metric, a: &[&RunReport], b: &[&RunReport]) -> Pairs {
    let values = |reports: &[&RunReport]| -> Vec<f64> {
        reports.iter().filter_map(|report| metric.of(report)).collect()
    };
    let (of_a, of_b) = (values(a), values(b));
    if of_a.is_empty() && of_b.is_empty() {
        return Pairs::Absent;
    }
    if of_a.len() < a.len() || of_b.len() < b.len() || a.len() != b.len() {
        let (some_a, all_a, some_b, all_b) = (of_a.len(), a.len(), of_b.len(), b.len());
        return Pairs::Partial(format!(
            "measured in {some_a} of {all_a} runs of A and {some_b} of {all_b} of B"
        ));
    }
    let zeros = |values: &[f64]| values.iter().filter(|value| **value <= 0.0).count();
    let (zeros_a, zeros_b) = (zeros(&of_a), zeros(&of_b));
    if zeros_a + zeros_b > 0 && !is_nothing(&of_a, &of_b) {
        return Pairs::Partial(format!(
            "0 in {zeros_a} runs of A and {zeros_b} of B, and there is no ratio to nothing"
        ));
    }
    Pairs::Whole(of_a, of_b)
}

/// Whether every value is 0, as the errors of systems without any.
pub(super) fn is_nothing(a: &[f64], b: &[f64]) -> bool {
    a.iter().chain(b).all(|value| *value <= 0.0)
}

/// Numbers that are worth a comparison: pace and latency of all operations, the same of each kind
/// with enough of them if there are several, and what the members used.
fn candidates(a: &[&RunReport], b: &[&RunReport]) -> Vec<Metric> {
    let is_common = |name: &str| {
        a.iter().chain(b).all(|report| {
            let kinds = report.load.as_ref().map(|load| &load.kinds);
            let kind = kinds.and_then(|kinds| kinds.get(name));
            kind.is_some_and(|kind| kind.counts.ok >= OPERATIONS_MIN)
        })
    };
    let kinds = Mix::default().weights().into_iter().map(|(kind, _)| kind);
    let kinds: Vec<_> = kinds.filter(|kind| is_common(kind.name())).collect();
    let mut metrics = vec![Metric::of_all(Quantity::Rate)];
    let latencies = [Quantity::P50, Quantity::P99];
    metrics.extend(latencies.map(Metric::of_all));
    if kinds.len() > 1 {
        for kind in kinds {
            metrics.extend(latencies.map(|quantity| Metric { kind: Some(kind), quantity }));
        }
    }
    let of_members = [Quantity::Cpu, Quantity::Memory, Quantity::Written, Quantity::Syncs];
    metrics.extend(of_members.map(Metric::of_all));
    metrics
}
