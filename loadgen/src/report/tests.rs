//! What a run comes to, and that every rendering says so.

use std::time::Duration;

use rusd_checker::verdict::{Counts, Engine, Named, Timing, Violation};
use rusd_checker::{Rule, Verdict};

use super::*;
use crate::driver::EffortSummary;
use crate::generator::OpKind;
use crate::metric::parse_conditions;
use crate::stats::{Ended, Quantiles, Sample, Stats};

pub(crate) fn report(judgement: Option<Verdict>, incidents: &[&str]) -> RunReport {
    let stats = Stats::default();
    for ms in 0..3000 {
        let due_ns = ms * 1_000_000;
        let sample = Sample {
            kind: OpKind::Get,
            ended: Ended::Ok,
            from_ns: due_ns,
            sent_ns: due_ns,
            ended_ns: due_ns + 500_000,
        };
        stats.record(0, sample);
    }
    let mut load = stats.summary(Duration::from_secs(3));
    load.effort = Some(effort());
    let distributions = stats.distributions();
    RunReport {
        version: VERSION,
        workload: "<mixed>".to_owned(),
        system: "etcd 3.7.3".to_owned(),
        commit: None,
        seed: 7,
        started: "20260101T000000".to_owned(),
        phase: Phase::Done,
        endpoints: vec!["http://127.0.0.1:1".to_owned(); 3],
        attached: false,
        config: serde_json::Value::Null,
        command: vec!["loadgen".to_owned()],
        overrides: Overrides::default(),
        preload_s: None,
        load_start_s: 0.0,
        load: Some(load),
        curves: distributions.curves(),
        members_cpu_s: None,
        members: vec![member(0, Some(3)), member(1, None), member(2, Some(5))],
        faults: vec![Window {
            fault: "kill",
            target: "leader",
            members: vec![1],
            start_s: 1.0,
            end_s: 2.0,
            error: None,
        }],
        recoveries: Vec::new(),
        slo: Vec::new(),
        watches: Watched::default(),
        history_lines: None,
        incidents: incidents.iter().map(|text| (*text).to_owned()).collect(),
        interrupted: false,
        stopped_by: None,
        judgement: judgement.map(|verdict| Judgement {
            verdict,
            engine: Engine::Revision,
            workload: String::new(),
            system: String::new(),
            seed: 7,
            counts: Counts::default(),
            timing: Timing::default(),
        }),
        recorded: true,
    }
}

/// What a generator costs that was not the bottleneck.
fn effort() -> EffortSummary {
    let lag_us = Quantiles { p50: 60, p90: 70, p99: 900, p999: 1000, max: 1000 };
    let (late, dropped, not_started, bottleneck) = (5, 20, 100, None);
    let (threads, cpu_s, busiest) = (1, 0.6, 0.2);
    EffortSummary { threads, cpu_s, busiest, lag_us, late, dropped, not_started, bottleneck }
}

fn member(member: u32, syncs: Option<u64>) -> MemberUse {
    MemberUse {
        member,
        endpoint: "http://127.0.0.1:1".to_owned(),
        restarts: 0,
        cpu_s: Some(0.075),
        cpu_us_per_operation: Some(25.0),
        rss_bytes_max: Some(1024),
        rss_bytes_end: Some(512),
        written_bytes: Some(2000),
        written_bytes_per_operation: Some(2.0 / 3.0),
        syncs,
        syncs_per_operation: syncs.map(|_| 0.001),
        samples: Vec::new(),
    }
}

/// A run of 3000 gets in 3 s, of half a millisecond each.
pub(crate) fn measured() -> RunReport {
    report(Some(Verdict::Valid), &[])
}

fn invalid() -> Verdict {
    let violation = Violation {
        rule: Rule::StaleRead,
        operations: Vec::new(),
        expected: "revision 5".to_owned(),
        got: "revision 4 & a <surprise>".to_owned(),
    };
    Verdict::Invalid { violations: vec![violation], omitted: 0 }
}

#[test]
fn outcomes_and_exit_codes() {
    let unknown = Verdict::Unknown { reason: "search limit".to_owned() };
    for (judgement, incidents, expected, code) in [
        (Some(Verdict::Valid), &[][..], Outcome::Ok, 0),
        (Some(invalid()), &[], Outcome::Violation, 1),
        (Some(invalid()), &["m1 ended"], Outcome::Violation, 1),
        (Some(unknown), &[], Outcome::Unknown, 3),
        (Some(Verdict::Valid), &["m1 ended"], Outcome::Failed, 4),
        (None, &[], Outcome::Failed, 4),
    ] {
        let report = report(judgement, incidents);
        assert_eq!((report.outcome(), report.outcome().exit_code()), (expected, code));
    }
    let mut missed = report(Some(Verdict::Valid), &[]);
    missed.check(&parse_conditions("--slo", "get.p99<1us,rate>1").unwrap());
    assert_eq!((missed.outcome(), missed.outcome().exit_code()), (Outcome::SloMissed, 5));
    assert!(missed.headline().starts_with("SLO MISSED: get.p99<1us (it was "), "{missed:?}");
    let unrecorded = RunReport { recorded: false, ..report(None, &[]) };
    assert_eq!(unrecorded.outcome(), Outcome::Ok);
}

/// A history without the faults that it was to have is no proof, however valid.
#[test]
fn a_fault_that_failed_fails_the_run() {
    let mut report = report(Some(Verdict::Valid), &[]);
    let mut faults = report.faults.clone();
    report.set_faults(faults.clone());
    assert_eq!(report.outcome(), Outcome::Ok);
    faults[0].error = Some("no member leads\nand more".to_owned());
    report.set_faults(faults);
    assert_eq!(report.outcome(), Outcome::Failed);
    let headline = "RUN FAILED: the kill of leader was not done as planned: no member leads";
    assert_eq!(report.headline(), headline);
    assert!(markdown::render(&report).contains("| no member leads |"));
}

/// An empty history keeps every promise.
#[test]
fn a_load_of_which_nothing_was_answered_fails_the_run() {
    let mut report = report(Some(Verdict::Valid), &[]);
    let load = report.load.take().unwrap();
    report.set_load(load);
    assert_eq!(report.outcome(), Outcome::Ok);
    report.set_load(Stats::default().summary(Duration::from_secs(3)));
    assert_eq!(report.outcome(), Outcome::Failed);
}

/// What a generator measures that cannot keep up is itself.
#[test]
fn a_generator_that_was_the_bottleneck_fails_the_run() {
    let mut report = report(Some(Verdict::Valid), &[]);
    let mut load = report.load.take().unwrap();
    load.effort.as_mut().unwrap().bottleneck = Some("it was busy".to_owned());
    report.set_load(load);
    assert_eq!(report.outcome(), Outcome::Failed);
    let headline = "RUN FAILED: the generator was the bottleneck: it was busy";
    assert_eq!(report.headline(), headline);
}

/// A watch that never opened again has nothing in the history that could be wrong.
#[test]
fn a_watch_that_did_not_come_to_the_end_fails_the_run() {
    let mut report = report(Some(Verdict::Valid), &[]);
    report.set_watches(3, 70, &[]);
    assert_eq!((report.outcome(), report.watches.complete), (Outcome::Ok, 3));
    report.set_watches(3, 70, &[2]);
    assert_eq!((report.outcome(), report.watches.complete), (Outcome::Failed, 2));
    let headline = "RUN FAILED: 1 of 3 watches did not come up to the final revision 70: on m2";
    assert_eq!(report.headline(), headline);
}

#[test]
fn every_rendering_tells_the_verdict() {
    let report = report(Some(invalid()), &[]);
    let folder = tempfile::tempdir().unwrap();
    report.save(folder.path()).unwrap();
    for name in ["run.json", "summary.md", "junit.xml", "report.html"] {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.contains("linearizable/stale-read"), "{name}: {text}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing half-written stays");
}

/// What nobody started has no latency, and must not be hidden by that.
#[test]
fn operations_that_were_never_started_are_told() {
    let report = report(Some(Verdict::Valid), &[]);
    let told = "5 started late, 20 dropped, 100 were due and never started";
    assert!(markdown::render(&report).contains(told), "{}", markdown::render(&report));
    assert!(html::render(&report).contains(told), "{}", html::render(&report));
}

/// The run's clock begins before the load does.
#[test]
fn times_are_told_from_the_beginning_of_the_load() {
    let mut report = report(Some(Verdict::Valid), &[]);
    report.load_start_s = 0.75;
    report.load.as_mut().unwrap().elapsed_s = 2.0;
    let (page, summary) = (html::render(&report), markdown::render(&report));
    assert!(page.contains("<td>0.2 s</td><td>1.2 s</td>"), "{page}");
    assert!(summary.contains("| kill | leader | m1 | 0.2 s | 1.2 s |"), "{summary}");
    // Slices from 1.0 s to 2.5 s are whole ones: three points, the first a quarter of a second in.
    let (_, pace) = page.split_once("<h2>Throughput</h2>").unwrap();
    let (_, line) = pace.split_once("<path class=\"line1\" d=\"M").unwrap();
    let (line, _) = line.split_once('"').unwrap();
    assert_eq!(line.matches('L').count() + 1, 3, "{line}");
}

#[test]
fn kinds_of_operations_have_curves_of_their_own() {
    let mut report = report(Some(Verdict::Valid), &[]);
    let by_kind = "Percentiles of the response time by operation, ms";
    assert!(!html::render(&report).contains(by_kind), "there is one kind");
    let load = report.load.as_mut().unwrap();
    load.kinds.insert("put", load.kinds["get"].clone());
    report.curves.insert("put".to_owned(), report.curves["get"].clone());
    let page = html::render(&report);
    let (_, curves) = page.split_once(by_kind).unwrap();
    assert!(curves.contains(">get</text>") && curves.contains(">put</text>"), "{curves}");
}

/// Whoever reads only the build server's page is told as well.
#[test]
fn junit_tells_what_went_wrong_with_the_run() {
    let well = junit::render(&report(Some(Verdict::Valid), &[])).unwrap();
    assert!(!well.contains("<error"), "{well}");
    let wrong = junit::render(&report(Some(Verdict::Valid), &["m1 ended by itself"])).unwrap();
    assert_eq!(wrong.matches("<error message=\"").count(), 2, "{wrong}");
    assert!(wrong.contains("m1 ended by itself"), "{wrong}");
}

#[test]
fn the_page_is_self_contained_and_escaped() {
    let page = html::render(&report(Some(invalid()), &[]));
    for absent in ["http://", "https://", "<script", "<mixed", "<surprise"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("class=\"fault kill\"") && page.contains("prefers-color-scheme"));
}

/// What a schema says of a value; nothing if it is valid.
fn refused(schema: &serde_json::Value, value: &serde_json::Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).unwrap();
    validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

#[test]
fn what_is_written_keeps_to_the_schema() {
    let schema = schema::run();
    for verdict in [None, Some(Verdict::Valid), Some(invalid())] {
        let mut report = report(verdict, &["m1 ended"]);
        report.recoveries =
            recovery::recoveries(report.load.as_ref().unwrap(), 0.0, &report.faults);
        assert_eq!(report.recoveries.len(), 1);
        report.overrides.system = Some(crate::workload::System::Etcd);
        let value = serde_json::to_value(report.written()).unwrap();
        assert_eq!(refused(&schema, &value), Vec::<String>::new());
    }
}

/// A schema that takes anything says nothing.
#[test]
fn the_schema_refuses_what_is_not_a_report() {
    let schema = schema::run();
    let value = serde_json::to_value(report(Some(invalid()), &[]).written()).unwrap();
    let pointers = [
        "/outcome",
        "/seed",
        "/load/counts/ok",
        "/load/slices/0/p99_us",
        "/faults/0/start_s",
        "/members/0/rss_bytes_max",
        "/curves/get/0/quantile",
        "/judgement/violations/0/rule",
        "/phase",
    ];
    for pointer in pointers {
        let mut wrong = value.clone();
        *wrong.pointer_mut(pointer).unwrap() = serde_json::json!(["surprise"]);
        assert!(!refused(&schema, &wrong).is_empty(), "{pointer}");
    }
    for field in ["outcome", "version", "load", "workload", "members"] {
        let mut wrong = value.clone();
        wrong.as_object_mut().unwrap().remove(field).unwrap();
        assert!(!refused(&schema, &wrong).is_empty(), "{field}");
    }
}

/// A comment on a pull request that is too long is refused whole.
#[test]
fn a_summary_fits_a_comment_however_much_went_wrong() {
    let named = Named { line: 7, text: "put a=1 ".repeat(500) };
    let violation = Violation {
        rule: Rule::StaleRead,
        operations: vec![named; 100],
        expected: "x".repeat(1000),
        got: "y".repeat(1000),
    };
    let verdict = Verdict::Invalid { violations: vec![violation; 30], omitted: 5 };
    let incident = "the log says\n".repeat(2000);
    let mut report = report(Some(verdict), &[&incident]);
    let page = markdown::render(&report);
    assert!(page.len() <= 60_100, "{}", page.len());
    assert!(page.ends_with("The rest is in report.html.\n"));
    report.judgement = None;
    let page = markdown::render(&report);
    assert_eq!(page.matches("```").count() % 2, 0, "a fence stays open");
}
