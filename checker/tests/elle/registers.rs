//! Registers: each anomaly in the smallest history that has it, beside histories that are nearly it.

use rusd_checker::elle::rw_register::check;
use rusd_checker::elle::{
    Anomaly, Case, KeyOrder, Model, Names, Options, Report, Source, Transaction, Validity, explain,
    rw_register,
};

use crate::notation::{answer, at_once, in_turn, register};

const NOTHING: KeyOrder =
    KeyOrder { writes_follow_reads: false, sequential: false, linearizable: false };
const WFR: KeyOrder = KeyOrder { writes_follow_reads: true, ..NOTHING };
const SEQUENTIAL: KeyOrder = KeyOrder { sequential: true, ..NOTHING };
const LINEARIZABLE: KeyOrder = KeyOrder { linearizable: true, ..NOTHING };

fn judge(history: &[Transaction<rw_register::Mop>], model: &str, keys: KeyOrder) -> Report {
    let model: Model = model.parse().expect("a model");
    check(history, &Options { keys, ..Options::expecting(&[model]) })
}

/// What is found of each history, and what that rules out.
#[track_caller]
fn told(report: &Report, anomalies: &str, not: &str) {
    assert_eq!(answer(report), (anomalies.to_owned(), not.to_owned()), "{report:#?}");
    let unknown = ["", "empty-transaction-graph"].contains(&anomalies);
    assert_eq!(report.valid != Validity::Invalid, unknown);
    assert!(report.undecided.is_empty());
}

#[track_caller]
fn overlapping(model: &str, keys: KeyOrder, lines: &[&str], anomalies: &str, not: &str) {
    told(&judge(&at_once(lines, register), model, keys), anomalies, not);
}

#[track_caller]
fn ordered(model: &str, keys: KeyOrder, lines: &[&str], anomalies: &str, not: &str) {
    told(&judge(&in_turn(lines, register), model, keys), anomalies, not);
}

#[test]
fn circular_information_flow() {
    let lines = ["wx1 ry1", "wy1 rx1"];
    overlapping("serializable", NOTHING, &lines, "G1c", "read-committed");
    overlapping("read-uncommitted", NOTHING, &lines, "", "");
    overlapping(
        "serializable",
        NOTHING,
        &["wx1 wy1", "rx1 ry"],
        "G-single-item",
        "consistent-view repeatable-read",
    );
}

#[test]
fn the_initial_state_comes_first() {
    let single = ("G-single-item", "consistent-view repeatable-read");
    overlapping("serializable", NOTHING, &["rx ry1", "wy1 wx2"], single.0, single.1);
    overlapping("serializable", NOTHING, &["rx2 ry1", "wy1 wx2"], "", "");
    overlapping("serializable", NOTHING, &["rx wy1", "ry wx1"], "G2-item", "repeatable-read");
    let fork = ["wx1", "rx1 ry", "wy1", "ry1 rx"];
    overlapping(
        "serializable",
        NOTHING,
        &fork,
        "G-nonadjacent-item",
        "repeatable-read snapshot-isolation",
    );
}

#[test]
fn write_cycles_show_where_versions_have_an_order() {
    // 2 is last in both.
    let lines = ["0: wx1 wy2", "1: wx2 wy1", "0: rx2", "1: ry2"];
    let history = in_turn(&lines, register);
    told(&judge(&history, "serializable", NOTHING), "", "");
    told(&judge(&history, "serializable", SEQUENTIAL), "G0", "read-uncommitted");
    let revisions = ["wx1@5 wy2@8", "wx2@6 wy1@7"];
    overlapping("serializable", NOTHING, &revisions, "G0", "read-uncommitted");
    let revisions = ["wx1@5 wy2@5", "wx2@6 wy1@6"];
    overlapping("serializable", NOTHING, &revisions, "", "");
}

#[test]
fn writes_that_follow_reads_order_versions() {
    let lines = ["ry1 wx1 wy2", "rx1 ry1"];
    overlapping("serializable", NOTHING, &lines, "", "");
    overlapping("serializable", WFR, &lines, "G-single-item", "consistent-view repeatable-read");
}

#[test]
fn keys_that_are_linearizable_order_versions() {
    // Both read the old state and write over what the other read, at once.
    let lines = ["rx1 ry1", "rx1 wy2", "ry1 wx2"];
    let mut history = in_turn(&lines, register);
    history[1].returned = Some(7);
    history[2].returned = Some(6);
    history[2].invoked = 4;
    told(&judge(&history, "serializable", NOTHING), "empty-transaction-graph", "");
    told(&judge(&history, "serializable", LINEARIZABLE), "G2-item", "repeatable-read");
    told(&judge(&history, "read-committed", LINEARIZABLE), "", "");
}

#[test]
fn revisions_order_versions() {
    // The second read misses what the first saw overwritten.
    let lines = ["wx1@2", "wx2@3 wy2@3", "ry2@3 rx1@2"];
    overlapping(
        "serializable",
        NOTHING,
        &lines,
        "G-single-item",
        "consistent-view repeatable-read",
    );
    overlapping("serializable", NOTHING, &["wx1@2", "wx2@3 wy2@3", "ry rx1@2"], "", "");
    // The revision of what is unknown is told by whoever reads it.
    let lines = ["wx1@2", "?wx2 wy2", "rx2@3", "ry2@3 rx1@2"];
    overlapping(
        "serializable",
        NOTHING,
        &lines,
        "G-single-item",
        "consistent-view repeatable-read",
    );
    // Without that, nothing is known of the order of 1 and 2.
    overlapping("serializable", NOTHING, &["wx1@2", "?wx2 wy2", "ry2@3 rx1@2"], "", "");
    ordered(
        "strict-serializable",
        NOTHING,
        &["wx1@2", "wx2@3", "rx1@2"],
        "G-single-item-realtime",
        "strong-snapshot-isolation",
    );
    ordered(
        "strict-serializable",
        NOTHING,
        &["wx1@3", "wx2@2"],
        "G0-realtime",
        "strong-read-uncommitted",
    );
}

#[test]
fn versions_without_an_order() {
    let model = "read-uncommitted";
    let cyclic = ("cyclic-versions", "read-uncommitted");
    ordered(model, SEQUENTIAL, &["0: wx1", "0: wx2", "0: rx1"], cyclic.0, cyclic.1);
    ordered(model, SEQUENTIAL, &["0: wx1", "0: wx2", "1: rx1"], "", "");
    ordered(model, LINEARIZABLE, &["wx1", "wx2", "rx1"], cyclic.0, cyclic.1);
    ordered(model, LINEARIZABLE, &["wx1", "wx2", "rx2"], "", "");
    overlapping(model, LINEARIZABLE, &["wx1", "wx2", "rx1"], "", "");
    ordered(model, LINEARIZABLE, &["wx1", "rx1", "rx"], cyclic.0, cyclic.1);
    // Two revisions of one version, two versions of one revision.
    overlapping(model, NOTHING, &["wx1@5", "rx1@7"], cyclic.0, cyclic.1);
    overlapping(model, NOTHING, &["wx1@5", "wx2@5", "rx1@5"], cyclic.0, cyclic.1);
    overlapping(model, NOTHING, &["wx1@5", "wy2@5", "rx1@5"], "", "");
    let both = KeyOrder { writes_follow_reads: true, ..LINEARIZABLE };
    let report =
        judge(&in_turn(&["rx1", "rx", "rx4 wx3", "wx4"], register), "strict-serializable", both);
    assert_eq!(answer(&report).0, "G0-realtime cyclic-versions");
    let sources = vec![Source::InitialState, Source::WritesFollowReads, Source::LinearizableKeys];
    for case in report.cases(Anomaly::CyclicVersions) {
        assert!(matches!(case, Case::CyclicVersions { sources: own, .. } if *own == sources));
    }
    assert_eq!(report.anomalies["cyclic-versions"].count, 2);
}

#[test]
fn a_source_that_contradicts_itself_on_one_key_is_heard_for_others() {
    let lines = ["0: wx1 wy1", "0: wx2", "0: rx1 wy2", "1: ry2 wz1", "2: rz1 ry1"];
    let report = judge(&in_turn(&lines, register), "serializable", SEQUENTIAL);
    assert_eq!(answer(&report).0, "G-single-item cyclic-versions");
}

#[test]
fn aborted_and_intermediate_reads() {
    let model = "read-committed";
    overlapping(model, NOTHING, &["!wx1", "rx1"], "G1a empty-transaction-graph", "read-committed");
    overlapping(model, NOTHING, &["?wx1", "rx1"], "", "");
    overlapping(
        model,
        NOTHING,
        &["wx1 wx2", "rx1"],
        "G1b empty-transaction-graph",
        "read-committed",
    );
    overlapping(model, NOTHING, &["wx1 wx2", "rx2"], "", "");
    overlapping(model, NOTHING, &["wx1 rx1 wx2", "rx2"], "", "");
}

#[test]
fn contradictions_within_a_transaction() {
    let model = "read-atomic";
    overlapping(model, NOTHING, &["rx1 rx2"], "empty-transaction-graph internal", "read-atomic");
    overlapping(model, NOTHING, &["wx1 rx2"], "empty-transaction-graph internal", "read-atomic");
    overlapping(model, NOTHING, &["rx wx1 rx"], "empty-transaction-graph internal", "read-atomic");
    overlapping(model, NOTHING, &["rx wx1 rx1"], "empty-transaction-graph", "");
    overlapping(
        model,
        NOTHING,
        &["rx1 wx1"],
        "empty-transaction-graph future-read",
        "read-committed",
    );
    overlapping(model, NOTHING, &["wx1 rx1"], "empty-transaction-graph", "");
    overlapping(model, NOTHING, &["rx1 ry1"], "empty-transaction-graph", "");
}

#[test]
fn lost_updates() {
    let not = "cursor-stability update-atomic";
    overlapping(
        "serializable",
        NOTHING,
        &["rx0 wx1", "rx0 wx2"],
        "empty-transaction-graph lost-update",
        not,
    );
    overlapping("serializable", WFR, &["rx0 wx1", "rx0 wx2"], "G2-item lost-update", not);
    overlapping("serializable", WFR, &["rx0 wx1", "rx1 wx2"], "", "");
    overlapping("serializable", WFR, &["wx0", "rx0 wx1", "?rx0 wx2"], "", "");
    overlapping("serializable", NOTHING, &["rx wx1", "rx wx2"], "G2-item lost-update", not);
    overlapping("serializable", NOTHING, &["rx wx1", "wx2 rx2"], "", "");
}

#[test]
fn histories_that_tell_nothing() {
    for lines in [&[][..], &["wx1"], &["wx1", "wx2"], &["wx1 wy2", "wx2 wy1"]] {
        overlapping("serializable", NOTHING, lines, "empty-transaction-graph", "");
    }
    let report = judge(&at_once(&["wx1", "wx1"], register), "serializable", NOTHING);
    assert_eq!(answer(&report), ("duplicate-writes".to_owned(), String::new()));
    assert_eq!(report.valid, Validity::Unknown);
}

#[test]
fn many_readers_of_nothing_and_many_writers() {
    let mut lines: Vec<String> = (0..40).map(|_| "rx".to_owned()).collect();
    lines.extend("123456789abcdefghijk".chars().map(|own| format!("wx{own}")));
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    overlapping("serializable", NOTHING, &lines, "", "");
    lines[7] = "rx ry1";
    lines[50] = "wxb wy1";
    overlapping(
        "serializable",
        NOTHING,
        &lines,
        "G-single-item",
        "consistent-view repeatable-read",
    );
}

#[test]
fn in_words() {
    let mut names = Names::new();
    for letter in 'a'..='z' {
        names.key(&letter.to_string());
    }
    let history = in_turn(&["0: wx1@2", "1: wx2@3", "2: rx1@2"], register);
    let report = check(&history, &Options::default());
    assert_eq!(
        explain::report(&report, &history, &names),
        "G-single-item-realtime
  T1 = process 1, events 2 to 3: wrote 2 to x (revision 3)
  T2 = process 2, events 4 to 5: read x = 1 (revision 2)
  T1 comes before T2: T1 had returned, at event 3, when T2 was called, at event 4.
  T2 comes before T1: T2 read x when 1 was its last, and T1 wrote 2 after that.
  So each of them would have to come before itself.
"
    );
    let history = in_turn(&["0: wx1", "0: wx2", "0: rx1"], register);
    let keys = Options { keys: SEQUENTIAL, ..Options::default() };
    let told = explain::report(&check(&history, &keys), &history, &names);
    assert!(told.contains("The versions 1, 2 of x have no order"), "{told}");
}
