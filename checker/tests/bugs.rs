//! Simulated stores with one bug each: the checker finds it, and blames the right rule.

use rusd_checker::history::History;
use rusd_checker::history::record::Record;
use rusd_checker::synthetic::{Bug, Mix, Run, Shape};
use rusd_checker::{Options, Report, Rule, Verdict, check};

const SEEDS: u64 = 20;
const OPERATIONS: u64 = 4_000;

fn judge(seed: u64, shape: Shape) -> Report {
    let mut run = Run::shaped(seed, shape);
    let header = Record::Header(run.header());
    let records = std::iter::once(header).chain(run.records(OPERATIONS));
    let history = History::collect(records).expect("well-formed");
    check(&history, &Options::default())
}

#[track_caller]
fn blames(bug: Bug, shape: Shape, rule: Rule) {
    for seed in 0..SEEDS {
        let good = judge(seed, shape.clone());
        assert_eq!(good.verdict, Verdict::Valid, "seed {seed} without the bug");
        let bad = judge(seed, Shape { bug: Some(bug), ..shape.clone() });
        assert_eq!(bad.verdict.rule(), Some(rule), "seed {seed}: {:#?}", bad.verdict);
    }
}

#[test]
fn stale_reads() {
    blames(Bug::StaleRead, Shape::medium(), Rule::StaleRead);
}

#[test]
fn acknowledged_writes_lost_in_a_power_cut() {
    blames(Bug::LostWrites, Shape::medium(), Rule::LostWrite);
}

#[test]
fn dropped_watch_events() {
    blames(Bug::DroppedEvent, Shape::medium(), Rule::WatchComplete);
}

#[test]
fn transactions_in_two_revisions() {
    blames(Bug::SplitTxn, Shape::medium(), Rule::TxnAtomic);
}

#[test]
fn leases_that_run_out_early() {
    let mix = Mix { lease_revoke: 0, lease_grant: 4, lease_put: 20, ..Shape::large().mix };
    // Many keys, so that some are still attached when a lease runs out.
    let shape = Shape { mix, lease_ttl: 1, keys: 2_000, unknown_per_mille: 0, ..Shape::medium() };
    blames(Bug::EarlyExpiry, shape, Rule::LeaseEarlyExpiry);
}

#[test]
fn leases_that_do_not_run_out() {
    let mix = Mix { lease_grant: 4, lease_put: 20, ..Shape::large().mix };
    let shape = Shape { mix, keys: 2_000, ..Shape::medium() };
    blames(Bug::NoExpiry, shape, Rule::LeaseLateExpiry);
}
