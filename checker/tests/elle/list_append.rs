//! Lists: each anomaly in the smallest history that has it, beside histories that are nearly it.

use rusd_checker::elle::list_append::{Mop, check};
use rusd_checker::elle::{
    Anomaly, Case, Dependency, Model, Names, Options, Report, Transaction, TransactionId, Validity,
    draw, explain,
};

use crate::notation::{answer, at_once, in_turn, list};

fn judge(lines: &[&str], model: &str) -> Report {
    let model: Model = model.parse().expect("a model");
    check(&at_once(lines, list), &Options::expecting(&[model]))
}

/// What is found of each history, all of whose transactions run at once, and what that rules out.
#[track_caller]
fn table(model: &str, rows: &[(&[&str], &str, &str)]) {
    for (lines, anomalies, not) in rows {
        let report = judge(lines, model);
        let expected = ((*anomalies).to_owned(), (*not).to_owned());
        assert_eq!(answer(&report), expected, "{lines:?}: {report:#?}");
        assert!(report.undecided.is_empty());
        let unknown = ["", "empty-transaction-graph"].contains(anomalies);
        assert_eq!(report.valid != Validity::Invalid, unknown, "{lines:?}");
    }
}

#[test]
fn write_cycles() {
    table(
        "serializable",
        &[
            (&["ax1 ay1", "ax2 ay2", "rx12 ry21"], "G0", "read-uncommitted"),
            (&["ax1 ay1", "ax2 ay2", "rx12 ry12"], "", ""),
            // Three in a ring.
            (&["ax1 az2", "ax2 ay1", "ay2 az1", "rx12 ry12 rz12"], "G0", "read-uncommitted"),
            // What nobody read comes after what was read: T1 < T2 by x, T2 < T1 by y; and T4 read y
            // without T1's element, though it saw what came after it.
            (&["ax1 ay1", "ax2 ay2", "rx12", "ry2"], "G-single-item G0", "read-uncommitted"),
        ],
    );
}

#[test]
fn circular_information_flow() {
    table(
        "serializable",
        &[
            (&["ax1 ry1", "ax2 ay1", "rx12 ry1"], "G1c", "read-committed"),
            (&["ax1 ry1", "ax2 ay1", "rx21 ry1"], "", ""),
            (&["ax1 ry1", "ay1 rx1"], "G1c", "read-committed"),
            (&["ax1 ry1", "ay1 rz1", "az1 rx1"], "G1c", "read-committed"),
        ],
    );
    table("read-uncommitted", &[(&["ax1 ry1", "ay1 rx1"], "", "")]);
}

#[test]
fn one_anti_dependency() {
    table(
        "serializable",
        &[
            (&["ax1 ay1", "ax2 ry", "rx12"], "G-single-item", "consistent-view repeatable-read"),
            (&["ax1 ay1", "ax2 ry1", "rx12"], "", ""),
            (&["ax1 ay1", "rx1 ry"], "G-single-item", "consistent-view repeatable-read"),
            (&["ax1 ay1", "rx ry"], "", ""),
        ],
    );
    table("read-committed", &[(&["ax1 ay1", "rx1 ry"], "", "")]);
}

#[test]
fn anti_dependencies_that_do_not_meet() {
    let long_fork: &[&str] = &["ax1", "rx1 ry", "ay1", "ry1 rx"];
    table(
        "serializable",
        &[(long_fork, "G-nonadjacent-item", "repeatable-read snapshot-isolation")],
    );
    table(
        "snapshot-isolation",
        &[
            (long_fork, "G-nonadjacent-item", "repeatable-read snapshot-isolation"),
            // Two of three meet.
            (&["rx5 ry", "ay1 rz", "az2 at3", "rt3 ru", "au4 ax5"], "", ""),
        ],
    );
    table(
        "serializable",
        &[(&["rx5 ry", "ay1 rz", "az2 at3", "rt3 ru", "au4 ax5"], "G2-item", "repeatable-read")],
    );
}

#[test]
fn write_skew() {
    table(
        "serializable",
        &[
            (&["rx ay1", "ry ax1"], "G2-item", "repeatable-read"),
            (&["rx ay1", "ry1 ax1"], "", ""),
            // Nobody read what was appended; each key has two.
            (&["rx ay1", "ry ax1", "ax2", "ay2"], "G2-item", "repeatable-read"),
            // What may have happened, if it was read.
            (&["rx ay1", "?ry ax1 az1", "rz1"], "", ""),
            (&["rx ry ay1", "ry ax1"], "G2-item", "repeatable-read"),
        ],
    );
    table("snapshot-isolation", &[(&["rx ay1", "ry ax1"], "", "")]);
    table("read-committed", &[(&["rx ay1", "ry ax1"], "", "")]);
}

#[test]
fn lost_updates() {
    table(
        "serializable",
        &[
            (
                &["ax0", "rx0 ax1", "rx0 ax2"],
                "G2-item lost-update",
                "cursor-stability update-atomic",
            ),
            (
                &["rx ax1", "rx ax2", "rx12"],
                "G-single-item lost-update",
                "cursor-stability update-atomic",
            ),
            (&["ax0", "rx0 ax1", "rx01 ax2"], "", ""),
            // Two appends of one transaction.
            (&["rx ax1 ax2", "rx12"], "", ""),
            // Written first: what is read later is not what the update is based on.
            (&["ax1 rx1", "ax2 rx12"], "", ""),
            // Not known to have committed.
            (&["ax0", "rx0 ax1", "?rx0 ax2"], "", ""),
            // Of a list that nobody can have written.
            (
                &["ax1", "rx91 ax2", "rx91 ax3"],
                "G2-item garbage-read lost-update",
                "read-committed",
            ),
            (&["ax1", "rx91 ax2", "rx91"], "garbage-read", "read-committed"),
        ],
    );
}

#[test]
fn aborted_reads() {
    table(
        "serializable",
        &[
            (&["!ax1", "rx1"], "G1a empty-transaction-graph", "read-committed"),
            (&["!ax1", "rx"], "empty-transaction-graph", ""),
            (&["?ax1", "rx1"], "", ""),
            // In the middle of what is read, and below what committed.
            (&["!ax1", "ax2", "rx12"], "G1a dirty-update", "read-committed"),
            // Who did not see it did not see what came after it either.
            (
                &["!ax1", "ax2 ay1", "rx12", "rx ry1"],
                "G-single-item G1a dirty-update",
                "read-committed",
            ),
        ],
    );
    table("read-uncommitted", &[(&["!ax1", "rx1"], "empty-transaction-graph", "read-committed")]);
}

#[test]
fn intermediate_reads() {
    let single = "G-single-item G1b";
    table(
        "serializable",
        &[
            (&["ax1 ax2", "rx1"], single, "read-committed"),
            (&["ax1 ax2", "rx12"], "", ""),
            // Of its own, a transaction may see what it has so far.
            (&["ax1 rx1 ax2", "rx12"], "", ""),
            // Never alone, but below others.
            (&["ax1 ax2", "rx123", "ax3"], "", ""),
        ],
    );
    table("read-committed", &[(&["ax1 ax2", "rx1"], "G1b", "read-committed")]);
}

#[test]
fn dirty_updates() {
    table(
        "read-committed",
        &[
            (&["!ax1", "ax2", "rx12"], "G1a dirty-update", "read-committed"),
            (&["!ax1", "?ax2", "ax3", "rx123"], "G1a dirty-update", "read-committed"),
            // Nothing committed is above it.
            (&["!ax1", "?ax2", "rx12"], "G1a", "read-committed"),
            (&["ax1", "!ax2", "rx12"], "G1a empty-transaction-graph", "read-committed"),
        ],
    );
}

#[test]
fn duplicate_elements() {
    let report = judge(&["ax1 ry1", "ax2 ay1", "rx121"], "read-committed");
    let expected = ("G1c duplicate-elements".to_owned(), "read-uncommitted".to_owned());
    assert_eq!(answer(&report), expected);
    table("read-committed", &[(&["ax1", "rx11"], "duplicate-elements", "read-uncommitted")]);
    table("read-committed", &[(&["ax1", "ay1", "rx1 ry1"], "", "")]);
}

#[test]
fn incompatible_orders() {
    table(
        "read-committed",
        &[
            (&["ax1", "ax2", "rx12", "rx21"], "incompatible-order", "read-committed"),
            (&["ax1", "ax2", "ax3", "rx13", "rx123"], "incompatible-order", "read-committed"),
            (&["ax1", "ax2", "ax3", "rx1", "rx123"], "", ""),
            (&["ax1", "ax2", "rx2", "rx12"], "incompatible-order", "read-committed"),
            // Only who is known to have committed is believed.
            (&["ax1", "ax2", "rx12", "?rx21"], "", ""),
            (&["ax1", "ax2", "rx12", "!rx21"], "", ""),
            (&["ax1", "ax2", "rx1", "?rx21"], "", ""),
            (&["ax1", "ax2", "rx1", "!rx21"], "", ""),
        ],
    );
    let twice = judge(&["ax1", "ax2", "rx12", "rx21", "rx2"], "read-committed");
    assert_eq!(twice.anomalies["incompatible-order"].count, 1, "one for each key");
}

#[test]
fn internal_contradictions() {
    table(
        "read-atomic",
        &[
            (&["rx rx2", "ax2"], "internal", "consistent-view read-atomic repeatable-read"),
            (&["ax2", "rx2 rx2"], "", ""),
            (&["ax3 rx"], "empty-transaction-graph internal", "read-atomic"),
            (&["ax1", "ax3 rx13"], "", ""),
            (&["ax1", "rx1 ax3 rx3"], "incompatible-order internal", "read-committed"),
        ],
    );
    // Repeatable read says nothing of it.
    let report = judge(&["ax1", "ax3 rx1"], "repeatable-read");
    assert!(!report.has(Anomaly::Internal));
    let twice = judge(&["rx rx2 rx", "ax2"], "read-atomic");
    assert_eq!(twice.anomalies["internal"].count, 1, "one for each transaction");
}

#[test]
fn future_reads() {
    table(
        "read-committed",
        &[
            (&["rx1 ax1"], "empty-transaction-graph future-read", "read-committed"),
            (&["rx012 ax1", "ax0", "ax2"], "G1c future-read", "read-committed"),
            (&["ax1 rx01 ax0 ax3"], "empty-transaction-graph future-read", "read-committed"),
            (&["rx ax1"], "empty-transaction-graph", ""),
            (&["ax1 rx1 ax2", "rx12"], "", ""),
            (&["rx21 ax1", "ax2", "rx2"], "future-read", "read-committed"),
            // In a list that goes with nothing.
            (
                &["rx3 ax3", "ax1", "ax2", "rx12"],
                "future-read incompatible-order",
                "read-committed",
            ),
        ],
    );
}

#[test]
fn garbage_reads() {
    table(
        "read-committed",
        &[
            (&["ax1", "rx91"], "garbage-read", "read-committed"),
            (&["ax1", "rx19"], "empty-transaction-graph garbage-read", "read-committed"),
            (&["ax1", "rx9"], "empty-transaction-graph garbage-read", "read-committed"),
        ],
    );
}

#[test]
fn histories_that_tell_nothing() {
    table(
        "serializable",
        &[
            (&[], "empty-transaction-graph", ""),
            (&["ax1"], "empty-transaction-graph", ""),
            (&["ax1", "ay1", "rz"], "empty-transaction-graph", ""),
            (&["rx", "ax1"], "", ""),
            (&["rx", "ax1", "ax2"], "", ""),
        ],
    );
    assert_eq!(judge(&["ax1"], "serializable").valid, Validity::Unknown);
    for lines in [["ax1", "ax1"], ["ax1", "!ax1"], ["ax1 ax1", "rx"], ["ax1 rx rx2", "ax1"]] {
        let report = judge(&lines, "serializable");
        assert_eq!(answer(&report), ("duplicate-appends".to_owned(), String::new()));
        assert_eq!(report.valid, Validity::Unknown);
    }
}

#[track_caller]
fn ordered(model: &str, lines: &[&str], anomalies: &str, not: &str) {
    let model: Model = model.parse().expect("a model");
    let report = check(&in_turn(lines, list), &Options::expecting(&[model]));
    assert_eq!(answer(&report), (anomalies.to_owned(), not.to_owned()), "{report:#?}");
}

#[test]
fn orders_of_real_time_and_of_processes() {
    let stale = ["0: ax1", "1: ax2", "2: rx1", "3: rx12"];
    ordered("serializable", &stale, "", "");
    ordered("strong-session-serializable", &stale, "", "");
    ordered("strict-serializable", &stale, "G-single-item-realtime", "strong-snapshot-isolation");
    let own = ["0: ax1", "1: ax2", "1: rx1", "3: rx12"];
    ordered("serializable", &own, "", "");
    ordered(
        "strong-session-snapshot-isolation",
        &own,
        "G-single-item-process",
        "strong-session-snapshot-isolation",
    );
    // What is said under the stronger model is about real time, of which processes are a part.
    ordered("strict-serializable", &own, "G-single-item-realtime", "strong-snapshot-isolation");
    let backward = ["1: rx1 ay1", "2: ry1", "2: ax1"];
    ordered(
        "strong-session-read-committed",
        &backward,
        "G1c-process",
        "strong-session-read-committed",
    );
    ordered("strong-read-committed", &backward, "G1c-realtime", "strong-read-committed");
    ordered("read-committed", &backward, "", "");
    let writes = ["0: ax2", "0: ax1", "1: rx12"];
    ordered(
        "strong-session-read-uncommitted",
        &writes,
        "G0-process",
        "strong-session-read-uncommitted",
    );
    ordered("strict-serializable", &writes, "G0-realtime", "strong-read-uncommitted");
    let fork = ["0: rx rz1", "1: ax1", "1: rz", "2: az1"];
    ordered(
        "strong-session-snapshot-isolation",
        &fork,
        "G-nonadjacent-item-process",
        "strong-session-snapshot-isolation",
    );
    ordered("serializable", &["0: ry ax1", "1: rx az1", "1: rz ay1"], "G2-item", "repeatable-read");
    ordered(
        "strong-session-serializable",
        &["0: ry ax1", "1: ay1", "1: rx"],
        "G2-item-process",
        "strong-session-serializable",
    );
}

/// One session reads what is not there yet and then misses its own write: the second anti-dependency
/// goes where the order of the process goes. Taken by the one that is a cycle of two anti-dependencies,
/// by the other one of a single; only that is forbidden in snapshots that follow a session.
#[test]
fn the_order_of_a_process_counts_beside_other_dependencies() {
    let skew = ["1: rx ay1", "1: ry ax1"];
    ordered("snapshot-isolation", &skew, "", "");
    ordered(
        "strong-session-snapshot-isolation",
        &skew,
        "G-single-item-process",
        "repeatable-read strong-session-snapshot-isolation",
    );
    // The same with a read and a write over a write.
    let backward = ["1: ax2 ay1", "1: ry1 ax1", "2: rx12"];
    ordered("read-uncommitted", &backward, "", "");
    ordered(
        "strong-session-read-uncommitted",
        &backward,
        "G0-process",
        "read-committed strong-session-read-uncommitted",
    );
}

#[test]
fn what_is_unknown_never_returns() {
    // It may have happened at any later time.
    ordered("strict-serializable", &["?ax1", "rx", "rx1"], "", "");
    ordered(
        "strict-serializable",
        &["ax1", "rx", "rx1"],
        "G-single-item-realtime",
        "strong-snapshot-isolation",
    );
    // But not before it was called.
    ordered("strict-serializable", &["rx1", "?ax1"], "G1c-realtime", "strong-read-committed");
}

#[test]
fn the_example_of_the_paper() {
    // The last of four read b before the second appended to it, and appended to c after the third,
    // which saw that.
    let history = at_once(
        &[
            "aa1 aa3 aa4 ab2 ab3 ab4 ab5 ac1 ac2",
            "ab8 ra134",
            "ac4 rb23458 rc124 ra134",
            "ad1 ra134 rb2345 ac3",
        ],
        list,
    );
    let report = check(&history, &Options::default());
    assert_eq!(report.valid, Validity::Invalid);
    assert_eq!(answer(&report).0, "G-single-item");
    let Case::Cycle { steps, shortest: true } = &report.cases("G-single-item".parse().unwrap())[0]
    else {
        panic!("{report:#?}")
    };
    let ids: Vec<TransactionId> = steps.iter().map(|step| step.from).collect();
    assert_eq!(ids, [TransactionId(1), TransactionId(2), TransactionId(3)]);
    assert!(matches!(steps[0].because, Dependency::Wr { .. }));
    assert!(matches!(steps[1].because, Dependency::Ww { .. }));
    assert!(matches!(steps[2].because, Dependency::Rw { .. }));
}

#[test]
fn anomalies_may_be_asked_for_by_name() {
    let asked = |name: &str, lines: &[&str]| {
        let anomalies = vec![name.parse().expect("an anomaly")];
        check(&at_once(lines, list), &Options { anomalies, ..Options::expecting(&[]) }).valid
    };
    let write_cycle = ["ax1 ay1", "ax2 ay2", "rx12 ry21"];
    assert_eq!(asked("G0", &write_cycle), Validity::Invalid);
    assert_eq!(asked("G1", &write_cycle), Validity::Invalid, "a write cycle is G1c");
    assert_eq!(asked("G2", &write_cycle), Validity::Valid, "and not G2");
    assert_eq!(asked("internal", &["rx rx1", "ax1"]), Validity::Invalid);
    assert_eq!(asked("G0", &["!ax1", "rx1"]), Validity::Unknown, "the graph is empty");
}

#[test]
fn many_readers_and_many_writers_that_nobody_read() {
    // Two of the writers have read the list empty too, and all of it is possible.
    let mut lines: Vec<String> = (0..40).map(|_| "rx".to_owned()).collect();
    lines.extend("0123456789bcdefghijk".chars().map(|own| format!("ax{own}")));
    lines.push("rx axa".to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    table("serializable", &[(&lines, "", "")]);
    // One of the readers has seen what one of the writers wrote elsewhere.
    let mut broken = lines.clone();
    broken[7] = "rx ry1";
    broken[50] = "axb ay1";
    table("serializable", &[(&broken, "G-single-item", "consistent-view repeatable-read")]);
    let mut twice = lines;
    twice[50] = "rx axb";
    table("serializable", &[(&twice, "G2-item lost-update", "cursor-stability update-atomic")]);
}

fn named() -> Names {
    let mut names = Names::new();
    for letter in 'a'..='z' {
        names.key(&letter.to_string());
    }
    for element in 0..10 {
        names.element(&element.to_string());
    }
    names
}

fn told(lines: &[&str]) -> String {
    let history: Vec<Transaction<Mop>> = at_once(lines, list);
    explain::report(&check(&history, &Options::default()), &history, &named())
}

#[test]
fn a_cycle_in_words() {
    assert_eq!(
        told(&["ax1 ay1", "ax2 ry", "rx12"]),
        "G-single-item
  T1 = process 100, events 0 to 3: appended 1 to x, appended 1 to y
  T2 = process 101, events 1 to 4: appended 2 to x, read y = []
  T1 comes before T2: T1 appended 1 to x, and T2 appended 2 after that.
  T2 comes before T1: T2 read y before anything was in it, and T1 appended 1 to it.
  So each of them would have to come before itself.
"
    );
}

#[test]
fn other_anomalies_in_words() {
    for (lines, words) in [
        (&["!ax1", "rx1"][..], "T1 read 1 of x, but T2, which appended it, aborted."),
        (&["ax1 ax2", "rx1"], "T1 read 1 of x, but it is not the last that T2 appended to it."),
        (&["ax1", "rx19"], "T1 read 9 of x, but nobody appended it."),
        (&["!ax1", "ax2", "rx12"], "x has [1 2], of which T1's is first; but T1 aborted."),
        (&["ax1", "rx11"], "T1 read 1 twice in x."),
        (
            &["ax1", "ax2", "rx12", "rx21"],
            "T1 read x = [2 1], T2 read [1 2]: neither is the beginning of the other.",
        ),
        (&["rx1 ax1"], "T1 read 1 of x before it appended it."),
        (
            &["ax3 rx1", "ax1"],
            "T1 read x = [1], but by what it had done before it should have seen what ends with [3].",
        ),
        (
            &["ax0", "rx0 ax1", "rx0 ax2"],
            "T1, T2 all read x = [0], and each appended something new.",
        ),
        (&["ax1", "ax1"], "Both appended 1 to x, so that no read tells whose it saw."),
        (&["ax1"], "No transaction depends on another: nothing was checked."),
    ] {
        assert!(told(lines).contains(words), "{}", told(lines));
    }
    let stale = in_turn(&["0: ax1", "1: ax2", "2: rx1", "3: rx12"], list);
    let report = check(&stale, &Options::default());
    let told = explain::report(&report, &stale, &named());
    let words = "T1 had returned, at event 3, when T2 was called, at event 4.";
    assert!(told.contains(words), "{told}");
}

#[test]
fn a_cycle_as_a_picture() {
    let history = at_once(&["rx ay1", "ry ax1"], list);
    let report = check(&history, &Options::default());
    let anomaly: Anomaly = "G2-item".parse().unwrap();
    assert_eq!(
        draw::dot(anomaly, &report.cases(anomaly)[0], &history, &named()),
        r##"digraph "G2-item" {
  label="G2-item"; fontname=sans;
  node [shape=box, fontname=sans];
  edge [fontname=sans];
  T1 [label="T1\nread x = []\nappended 1 to y"];
  T2 [label="T2\nread y = []\nappended 1 to x"];
  T1 -> T2 [label="rw\nx: nothing, then 1", color="#2471a3"];
  T2 -> T1 [label="rw\ny: nothing, then 1", color="#2471a3"];
}
"##
    );
}

#[test]
fn what_is_no_cycle_as_a_picture() {
    let history = at_once(&["!ax1", "rx1"], list);
    let report = check(&history, &Options::default());
    assert_eq!(
        draw::dot(Anomaly::G1a, &report.cases(Anomaly::G1a)[0], &history, &named()),
        r#"digraph "G1a" {
  label="G1a"; fontname=sans;
  node [shape=box, fontname=sans];
  edge [fontname=sans];
  T1 [label="T1\nread x = [1]"];
  T2 [label="T2\nappended 1 to x"];
  why [shape=note, label="T1 read 1 of x, but T2, which appended it, aborted."];
}
"#
    );
    // Nobody is concerned, and every case can be drawn.
    let nothing = check(&at_once(&["ax1"], list), &Options::default());
    for anomaly in &nothing.anomaly_types {
        let drawn = draw::dot(*anomaly, &nothing.cases(*anomaly)[0], &history, &named());
        assert!(drawn.contains("nothing was checked"), "{drawn}");
    }
}

#[test]
fn as_json() {
    let report = judge(&["ax1 ay1", "rx1 ry"], "snapshot-isolation");
    assert_eq!(
        serde_json::to_value(&report).unwrap(),
        serde_json::json!({
            "valid?": false,
            "anomaly-types": ["G-single-item"],
            "anomalies": { "G-single-item": { "count": 1, "cases": [{
                "type": "cycle",
                "shortest": true,
                "steps": [
                    {"from": 0, "to": 1, "type": "wr", "key": 23, "value": 1},
                    {"from": 1, "to": 0, "type": "rw", "key": 24, "value": null, "value'": 1},
                ],
            }]}},
            "not": ["consistent-view", "repeatable-read"],
            "also-not": [
                "forward-consistent-view", "serializable", "snapshot-isolation",
                "strong-serializable", "strong-session-serializable",
                "strong-session-snapshot-isolation", "strong-snapshot-isolation",
                "update-serializable",
            ],
        })
    );
}
