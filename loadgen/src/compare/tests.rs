//! What is compared with what, and what a limit says of it.

use super::*;
use crate::metric::{Quantity, parse_ratio_limits};
use crate::report::schema;
use crate::report::tests::measured;
use crate::runner::tests::settings;

fn plan(limits: &str) -> Plan {
    let limits = if limits.is_empty() {
        Vec::new()
    } else {
        parse_ratio_limits("--fail-if", limits).unwrap()
    };
    Plan {
        a: ("rusd=old".to_owned(), settings()),
        b: ("rusd=new".to_owned(), settings()),
        rounds: 3,
        confidence: 0.95,
        margin: 0.02,
        limits,
        metrics: Vec::new(),
    }
}

/// Runs in the order in which they are done; those of B use so many times the CPU.
fn runs(times: f64) -> Vec<(Which, RunReport)> {
    let noise = [0.00, 0.01, -0.01, 0.02, -0.02, 0.005, 0.013, -0.003, 0.007, -0.015, 0.011, 0.0];
    let order = ROUND.into_iter().cycle().zip(noise);
    order
        .map(|(which, noise)| {
            let mut report = measured();
            let times = if which == Which::B { times } else { 1.0 };
            for member in &mut report.members {
                let cpu_us = member.cpu_us_per_operation.as_mut().unwrap();
                *cpu_us *= times * (1.0 + noise);
            }
            (which, report)
        })
        .collect()
}

fn cpu(comparison: &Comparison) -> &Compared {
    comparison.metrics.iter().find(|compared| compared.metric == "cpu").unwrap()
}

#[test]
fn a_difference_is_found_and_likeness_is_too() {
    let same = compared(&plan(""), &runs(1.0));
    assert_eq!(same.headline(), format!("NO DIFFERENCE in {} numbers", same.metrics.len()));
    assert_eq!(same.pairs, 6);
    let slower = compared(&plan(""), &runs(1.1));
    let compared = cpu(&slower);
    assert!(compared.differs && compared.is_worse, "{compared:?}");
    assert!((compared.ratio - 1.1).abs() < 0.02, "{compared:?}");
    assert_eq!(slower.metrics.iter().filter(|metric| metric.differs).count(), 1);
    let faster = self::compared(&plan(""), &runs(0.8));
    assert!(cpu(&faster).differs && !cpu(&faster).is_worse);
}

/// What drifts is felt by both of a pair, so that it is no difference, nor hides one.
#[test]
fn neighbours_are_compared_with_each_other() {
    assert_eq!(ROUND, [Which::A, Which::B, Which::B, Which::A], "neither always comes first");
    let mut runs = runs(1.1);
    for (place, (_, report)) in (0_i32..).zip(&mut runs) {
        for member in &mut report.members {
            *member.cpu_us_per_operation.as_mut().unwrap() *= 1.5_f64.powi(place / 2);
        }
    }
    let comparison = compared(&plan(""), &runs);
    let compared = cpu(&comparison);
    assert!(compared.differs && compared.high / compared.low < 1.2, "{compared:?}");
}

#[test]
fn what_one_run_did_not_measure_is_not_compared_and_told() {
    let mut runs = runs(1.0);
    runs[5].1.members[0].cpu_us_per_operation = None;
    let comparison = compared(&plan(""), &runs);
    assert!(comparison.metrics.iter().all(|compared| compared.metric != "cpu"));
    // Run 6 is the third of B.
    assert_eq!(comparison.not_compared, ["cpu: measured in 6 of 6 runs of A and 5 of 6 of B"]);
}

/// Of fewer numbers more is known; one that was asked for is never left out in silence.
#[test]
fn what_is_asked_for_is_compared() {
    let metrics = vec![Metric::of_all(Quantity::Cpu), Metric::of_all(Quantity::Syncs)];
    let few = compared(&Plan { metrics, ..plan("") }, &runs(1.1));
    assert_eq!(few.metrics.len(), 1);
    assert_eq!(few.not_compared, ["syncs: measured in no run"]);
    let many = compared(&plan(""), &runs(1.1));
    let width = |compared: &Compared| compared.high / compared.low;
    assert!(width(cpu(&few)) < width(cpu(&many)));
}

#[test]
fn limits_are_for_what_is_sure() {
    for (times, limit, holds, reason) in [
        (1.2, "cpu>1.1", false, "ratio 1.2"),
        (1.2, "cpu>1.3", true, "ratio 1.2"),
        (0.7, "cpu<0.9", false, "ratio 0.7"),
        (1.0, "cpu<1.5", true, "which may be chance"),
        (1.0, "put.p99>1.1", false, "measured in no run"),
        // Of these nobody compares the numbers, if no limit names them.
        (1.0, "p999>1.1", true, "ratio 1.000, interval 1.000 to 1.000"),
        (1.0, "get.errors>1.1", true, "ratio 1.000, interval 1.000 to 1.000"),
    ] {
        let comparison = compared(&plan(limit), &runs(times));
        let checked = &comparison.limits[0];
        assert_eq!(checked.holds, holds, "{checked:?}");
        assert!(checked.reason.contains(reason), "{checked:?}");
        assert_eq!(comparison.is_regression(), !holds);
    }
}

/// There is no ratio to nothing; a limit on it is not kept by looking away.
#[test]
fn what_is_nothing_in_some_runs_is_told() {
    let mut runs = runs(1.0);
    for (which, report) in &mut runs {
        let load = report.load.as_mut().unwrap();
        load.kinds.get_mut("get").unwrap().counts.fail = u64::from(*which == Which::B);
    }
    let comparison = compared(&plan("get.errors>1.1"), &runs);
    let reason = "0 in 6 runs of A and 0 of B, and there is no ratio to nothing";
    assert_eq!(comparison.not_compared, [format!("get.errors: {reason}")]);
    assert!(comparison.is_regression() && comparison.limits[0].reason == reason);
}

#[test]
fn ratios_have_the_digits_that_say_something() {
    for (ratio, expected) in
        [(0.0, "below 0.001"), (0.8304, "0.830"), (12.34, "12.3"), (15724.0, "above 1000")]
    {
        assert_eq!(page::times(ratio), expected);
    }
}

#[test]
fn renderings_say_so_and_keep_to_the_schema() {
    let comparison = compared(&plan("cpu>1.05"), &runs(1.1));
    for page in [page::markdown(&comparison), page::html(&comparison)] {
        for expected in ["REGRESSION: cpu", "B is worse", "no difference", "rusd=old"] {
            assert!(page.contains(expected), "{expected}: {page}");
        }
    }
    for absent in ["http://", "https://", "<script"] {
        assert!(!page::html(&comparison).contains(absent), "{absent}");
    }
    let schema = schema::comparison();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut value = serde_json::to_value(&comparison).unwrap();
    assert!(validator.is_valid(&value));
    value["metrics"][0]["ratio"] = serde_json::json!("large");
    assert!(!validator.is_valid(&value));
}
