//! Simulated stores: one that keeps its promise is never found to break it, and one that promises less
//! shows only what that allows, and does show it.

use std::collections::{BTreeMap, BTreeSet};

use rusd_checker::elle::{KeyOrder, Model, Options, Report, Validity, list_append, rw_register};

use crate::simulated::{Isolation, Shape, Store};

const SEEDS: u64 = 12;

fn shape(isolation: Isolation) -> Shape {
    Shape { isolation, clients: 8, keys: 6, transactions: 600, mops_max: 4, unknown_per_mille: 20 }
}

/// What lists show of a store in all runs, under a model.
fn lists(isolation: Isolation, model: Model) -> BTreeSet<String> {
    shown(isolation, |store| list_append::check(&store.lists(), &Options::expecting(&[model])))
}

fn registers(isolation: Isolation, model: Model, told: bool, keys: KeyOrder) -> BTreeSet<String> {
    let options = Options { keys, ..Options::expecting(&[model]) };
    shown(isolation, |store| rw_register::check(&store.registers(told), &options))
}

fn shown(isolation: Isolation, check: impl Fn(&Store) -> Report) -> BTreeSet<String> {
    let mut shown = BTreeMap::<String, u64>::new();
    for seed in 0..SEEDS {
        let report = check(&Store::run(seed, shape(isolation)));
        assert_ne!(report.valid, Validity::Unknown, "seed {seed}");
        assert_eq!(report.valid == Validity::Valid, report.anomaly_types.is_empty());
        for (name, found) in report.anomalies {
            *shown.entry(name).or_default() += found.count;
        }
    }
    shown.into_keys().collect()
}

#[track_caller]
fn within(shown: &BTreeSet<String>, must: &[&str], may: &[&str]) {
    for name in must {
        assert!(shown.contains(*name), "{name} is not among {shown:?}");
    }
    for name in shown {
        assert!(must.contains(&name.as_str()) || may.contains(&name.as_str()), "{name}");
    }
}

const GRANTED: KeyOrder =
    KeyOrder { writes_follow_reads: true, sequential: true, linearizable: true };

#[test]
fn a_serializable_store_is_clean() {
    let nothing = BTreeSet::new();
    assert_eq!(lists(Isolation::Serializable, Model::StrongSerializable), nothing);
    for told in [false, true] {
        for keys in [KeyOrder::default(), GRANTED] {
            let shown = registers(Isolation::Serializable, Model::StrongSerializable, told, keys);
            assert_eq!(shown, nothing);
        }
    }
    assert_eq!(lists(Isolation::Serializable, Model::StrongSessionSerializable), nothing);
}

#[test]
fn snapshot_isolation_shows_write_skew_only() {
    let nothing = BTreeSet::new();
    assert_eq!(lists(Isolation::Snapshot, Model::StrongSnapshotIsolation), nothing);
    assert_eq!(lists(Isolation::Snapshot, Model::StrongSessionSnapshotIsolation), nothing);
    let shown = lists(Isolation::Snapshot, Model::StrongSerializable);
    within(&shown, &["G2-item"], &["G2-item-realtime"]);
    let shown =
        registers(Isolation::Snapshot, Model::StrongSerializable, true, KeyOrder::default());
    within(&shown, &["G2-item"], &["G2-item-realtime"]);
    let wfr = KeyOrder { writes_follow_reads: true, ..KeyOrder::default() };
    let shown = registers(Isolation::Snapshot, Model::Serializable, false, wfr);
    within(&shown, &[], &["G2-item"]);
}

#[test]
fn read_committed_shows_no_dirty_data() {
    let nothing = BTreeSet::new();
    assert_eq!(lists(Isolation::ReadCommitted, Model::StrongReadCommitted), nothing);
    let shown = lists(Isolation::ReadCommitted, Model::StrongSerializable);
    let may = [
        "G-nonadjacent-item",
        "G-nonadjacent-item-realtime",
        "G-single-item-realtime",
        "G2-item-realtime",
    ];
    within(&shown, &["G-single-item", "G2-item", "internal", "lost-update"], &may);
    let shown =
        registers(Isolation::ReadCommitted, Model::StrongReadCommitted, true, KeyOrder::default());
    assert_eq!(shown, nothing);
}

#[test]
fn read_uncommitted_shows_everything_but_write_cycles() {
    let nothing = BTreeSet::new();
    assert_eq!(lists(Isolation::ReadUncommitted, Model::StrongReadUncommitted), nothing);
    let shown = lists(Isolation::ReadUncommitted, Model::ReadCommitted);
    let may = ["G1b"];
    within(&shown, &["G1a", "G1c", "incompatible-order"], &may);
    let shown =
        registers(Isolation::ReadUncommitted, Model::ReadCommitted, true, KeyOrder::default());
    within(&shown, &["G1a", "G1b", "G1c"], &[]);
}
