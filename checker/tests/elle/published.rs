//! Histories whose answers are known from elsewhere: what Kingsbury and Alvaro report of databases
//! ("Elle", VLDB 2020, section 7), and what the tests of Elle (github.com/jepsen-io/elle) say of cases
//! that its check once got wrong. Told in our notation, with the transactions needed to write what is
//! read, and small names.

use rusd_checker::elle::{
    KeyOrder, Model, Options, Outcome, Report, Transaction, Validity, list_append, rw_register,
};

use crate::notation::{answer, at_once, in_turn, list, register};

fn expecting(models: &str) -> Options {
    let models: Vec<Model> =
        models.split(' ').map(|model| model.parse().expect("a model")).collect();
    Options::expecting(&models)
}

fn asking(anomalies: &str) -> Options {
    let anomalies = anomalies.split(' ').map(|name| name.parse().expect("an anomaly")).collect();
    Options { anomalies, ..Options::expecting(&[]) }
}

#[track_caller]
fn told(report: &Report, anomalies: &str, not: &str) {
    assert_eq!(answer(report), (anomalies.to_owned(), not.to_owned()), "{report:#?}");
    assert_eq!(report.valid == Validity::Valid, anomalies.is_empty());
}

#[track_caller]
fn lists(options: &Options, lines: &[&str], anomalies: &str, not: &str) {
    told(&list_append::check(&at_once(lines, list), options), anomalies, not);
}

#[track_caller]
fn registers(
    history: &[Transaction<rw_register::Mop>],
    options: &Options,
    anomalies: &str,
    not: &str,
) {
    told(&rw_register::check(history, options), anomalies, not);
}

fn linearizable_keys(model: &str) -> Options {
    let keys = KeyOrder { linearizable: true, writes_follow_reads: true, ..KeyOrder::default() };
    Options { keys, ..expecting(model) }
}

/// `TiDB` 2.1.7 applied the writes of a transaction again when it met a conflict: it read without 5 and
/// appended after 5.
#[test]
fn tidb_read_skew() {
    let lines = ["ax2", "ax1", "rx21 ax4", "ax5", "rx2154"];
    let not = "consistent-view repeatable-read";
    lists(&expecting("snapshot-isolation"), &lines, "G-single-item", not);
}

/// `YugaByte` DB 1.3.1: two transactions each miss what the other appended.
#[test]
fn yugabyte_write_skew() {
    let lines = ["ax8 ry", "ay8 rx"];
    lists(&expecting("serializable"), &lines, "G2-item", "repeatable-read");
    lists(&expecting("snapshot-isolation"), &lines, "", "");
}

/// `FaunaDB` 2.6.0: a transaction misses its own append.
#[test]
fn faunadb_internal() {
    let lines = ["ax6 rx", "rx6"];
    let strict = expecting("strict-serializable");
    lists(&strict, &lines, "internal", "read-atomic");
}

/// Dgraph 1.1.1: a transaction misses its own write; a write that was there three seconds ago is not
/// seen; and reads are skewed.
#[test]
fn dgraph_registers() {
    let snapshots = linearizable_keys("snapshot-isolation");
    let internal = at_once(&["wx1", "wx2 rx1"], register);
    registers(&internal, &snapshots, "empty-transaction-graph internal", "read-atomic");
    let stale = in_turn(&["ry wx2", "rx wz1"], register);
    registers(&stale, &snapshots, "cyclic-versions", "read-uncommitted");
    let skewed = at_once(&["rx1 ry", "wy1", "wx1 ry1"], register);
    let not = "consistent-view repeatable-read";
    registers(&skewed, &snapshots, "G-single-item", not);
}

/// Elle's `intermediate-sequential-extension-test`: no cycle has a single anti-dependency, though Elle
/// once said so.
#[test]
fn snapshots_without_read_skew() {
    let lines = ["ax2", "ay1 rx", "rz ry ax5", "az2 rx2"];
    let both = expecting("snapshot-isolation repeatable-read");
    lists(&both, &lines, "G2-item", "repeatable-read");
    lists(&expecting("snapshot-isolation"), &lines, "", "");
}

/// Elle's `checker-test` and others: answers to what was asked for by name.
#[test]
fn what_was_asked_for() {
    let contradictory = ["ax1 ry1", "ax2", "ax3 ay1", "rx13", "rx123"];
    lists(&asking("G1"), &contradictory, "G1c incompatible-order", "read-committed");
    let write_cycle_too = ["ax1 ax2 ax4", "ax3 rx1234"];
    lists(&asking("internal"), &write_cycle_too, "internal", "read-uncommitted");
    let intermediate = ["ax1 ax2", "rx1"];
    lists(&asking("G0"), &intermediate, "", "");
    lists(&asking("G1"), &intermediate, "G1b", "read-committed");
    lists(&asking("G2"), &intermediate, "G-single-item", "read-committed");
    let unseen = ["ax1 ay1", "ax2 ay2", "ax3 ay3", "rx12", "ry2"];
    lists(&expecting("serializable"), &unseen, "G-single-item G0", "read-uncommitted");
    let fork = ["ax1 at1", "rx1 ry", "ay1 az2", "rz2 rt"];
    let not = "repeatable-read snapshot-isolation";
    lists(&expecting("repeatable-read"), &fork, "G-nonadjacent-item", not);
}

/// Elle's README: all that a cycle of information flow rules out.
#[test]
fn what_circular_information_flow_rules_out() {
    let history = at_once(&["ax1 ry1", "ax2 ay1", "rx12"], list);
    let report = list_append::check(&history, &expecting("serializable"));
    told(&report, "G1c", "read-committed");
    let also_not: Vec<&str> = report.also_not.iter().map(|model| model.name()).collect();
    // Beside those of the README the ones that its models have got since.
    let expected = "causal-cerone consistent-view cursor-stability forward-consistent-view \
                    monotonic-atomic-view monotonic-snapshot-read monotonic-view \
                    parallel-snapshot-isolation prefix read-atomic repeatable-read serializable \
                    snapshot-isolation strong-read-committed strong-serializable \
                    strong-session-read-committed strong-session-serializable \
                    strong-session-snapshot-isolation strong-snapshot-isolation update-atomic \
                    update-serializable";
    assert_eq!(also_not.join(" "), expected);
}

/// A case that Elle's tests leave out, since Elle takes the step for an anti-dependency only: the last
/// transaction does not see what its own session wrote before, and that write follows it.
#[test]
fn a_session_that_does_not_see_its_own_write() {
    let history = in_turn(&["4: wxe wy1", "4: ry1 wya", "4: ry1 wyb"], register);
    let keys = KeyOrder { writes_follow_reads: true, ..KeyOrder::default() };
    let sessions = Options { keys, ..expecting("strong-session-snapshot-isolation") };
    registers(
        &history,
        &sessions,
        "G-single-item-process lost-update",
        "cursor-stability update-atomic",
    );
}

/// Elle's `cyclic-versions-bug-test`: the first read overlaps the write, the second follows it.
#[test]
fn a_read_of_nothing_beside_a_write() {
    let mut history = in_turn(&["0: rx", "1: wx4", "0: rx4"], register);
    (history[1].invoked, history[0].returned) = (1, Some(2));
    registers(&history, &linearizable_keys("serializable"), "", "");
}

/// Elle's `unfindable-g-single`: a ring closed by one anti-dependency amid many cycles with two in a row,
/// in which Elle's search for the ring runs out of time, so that it only tells that some such cycle is
/// there.
#[test]
fn a_ring_amid_other_cycles_is_found() {
    use list_append::Mop::{Append, Read};
    use rusd_checker::elle::{Case, Element, Key};

    let (size, tail) = (300, 8);
    let append = |key, element| Append { key: Key(key), element: Element(element) };
    let read = |key, count| Read { key: Key(key), list: Some((0..count).map(Element).collect()) };
    let mut all = Vec::new();
    for place in 0..size {
        let own = 2 + 2 * place;
        let closing = match place {
            0 => append(1, 0),
            _ if place == size - 1 => read(1, 0),
            _ => append(own, 0),
        };
        all.push(vec![append(0, place), closing]);
        if place > 0 && place < size - 1 {
            all.extend((1..tail).map(|element| vec![append(own, element)]));
            all.push(vec![read(own, tail), read(own + 1, 0)]);
            all.push(vec![append(own + 1, 0), read(0, 0)]);
        }
    }
    all.push(vec![read(0, size)]);
    let history: Vec<Transaction<list_append::Mop>> = (0..)
        .zip(all)
        .map(|(own, mops)| Transaction {
            process: own,
            invoked: own,
            returned: Some(own + 1_000_000),
            outcome: Outcome::Ok,
            mops,
        })
        .collect();
    let report = list_append::check(&history, &expecting("snapshot-isolation"));
    told(&report, "G-single-item", "consistent-view repeatable-read");
    let Case::Cycle { steps, shortest: true } =
        &report.cases("G-single-item".parse().expect("a name"))[0]
    else {
        panic!("{report:#?}")
    };
    assert_eq!(steps.len(), usize::try_from(size).expect("small"));
}
