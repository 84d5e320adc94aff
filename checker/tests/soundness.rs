//! A correct store is never accused: histories made up from the model, of middling size and in
//! many shapes, are valid.

use rusd_checker::history::History;
use rusd_checker::history::record::Record;
use rusd_checker::synthetic::{Dice, Mix, Run, Shape};
use rusd_checker::{Options, Report, Verdict, check};

fn judge(seed: u64, shape: Shape, operations: u64) -> Report {
    let mut run = Run::shaped(seed, shape);
    let header = Record::Header(run.header());
    let records = std::iter::once(header).chain(run.records(operations));
    let history = History::collect(records).expect("well-formed");
    check(&history, &Options::default())
}

fn seeds() -> u64 {
    std::env::var("SOUNDNESS_SEEDS").map_or(40, |text| text.parse().expect("a number"))
}

/// Many clients, many unknown outcomes, many leases.
fn shape(seed: u64) -> Shape {
    let mut dice = Dice::new(seed);
    let mix = Mix {
        lease_grant: 1 + dice.below(4),
        lease_put: 1 + dice.below(20),
        lease_revoke: dice.below(4),
        lease_keep_alive: dice.below(4),
        compact: dice.below(3),
        ..Shape::large().mix
    };
    Shape {
        clients: 1 + dice.below(40),
        keys: 2 + dice.below(60),
        unknown_per_mille: dice.below(120),
        mix,
        unique_values: dice.per_mille(800),
        lease_ttl: 1,
        step_ns_max: 1 << (16 + dice.below(13)),
        observed: true,
        bug: None,
    }
}

#[test]
fn watched_histories_are_valid() {
    for seed in 0..seeds() {
        let report = judge(seed, shape(seed), 3_000);
        assert_eq!(report.verdict, Verdict::Valid, "seed {seed}: {:?}", report.counts);
    }
}

/// Without watches gaps are pinned by reads only, if at all: giving up is allowed, accusing is not.
#[test]
fn unwatched_histories_are_not_accused() {
    let mut decided = 0;
    for seed in 0..seeds() {
        let shape = Shape { observed: false, unknown_per_mille: 10, ..shape(seed) };
        let options = Options { search_steps_max: 200_000, ..Options::default() };
        let mut run = Run::shaped(seed, shape);
        let header = Record::Header(run.header());
        let records = std::iter::once(header).chain(run.records(400));
        let history = History::collect(records).expect("well-formed");
        let report = check(&history, &options);
        assert!(
            !matches!(report.verdict, Verdict::Invalid { .. }),
            "seed {seed}: {:#?}",
            report.verdict
        );
        decided += u64::from(report.verdict == Verdict::Valid);
    }
    assert!(decided * 2 > seeds(), "only {decided} of {} were decided", seeds());
}
