//! What a run comes to, and that every rendering says so.

use std::time::Duration;

use rusd_checker::verdict::{Counts, Engine, Timing, Violation};
use rusd_checker::{Rule, Verdict};

use super::*;
use crate::driver::EffortSummary;
use crate::generator::OpKind;
use crate::stats::{Ended, Quantiles, Sample, Stats};

fn report(judgement: Option<Verdict>, incidents: &[&str]) -> RunReport {
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
    RunReport {
        workload: "<mixed>".to_owned(),
        system: "etcd 3.7.3".to_owned(),
        commit: None,
        seed: 7,
        started: "20260101T000000".to_owned(),
        phase: Phase::Done,
        endpoints: vec!["http://127.0.0.1:1".to_owned(); 3],
        config: serde_json::Value::Null,
        command: vec!["loadgen".to_owned()],
        preload_s: None,
        load_start_s: 0.0,
        load: Some(load),
        members_cpu_s: None,
        faults: vec![Window {
            fault: "kill",
            target: "leader",
            members: vec![1],
            start_s: 1.0,
            end_s: 2.0,
            error: None,
        }],
        watches: Watched::default(),
        history_lines: None,
        incidents: incidents.iter().map(|text| (*text).to_owned()).collect(),
        interrupted: false,
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
    let (late, dropped, not_started, bottleneck) = (5, 0, 100, None);
    let (threads, cpu_s, busiest) = (1, 0.6, 0.2);
    EffortSummary { threads, cpu_s, busiest, lag_us, late, dropped, not_started, bottleneck }
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
    let told = "5 started late, 100 were due and never started";
    assert!(markdown::render(&report).contains(told), "{}", markdown::render(&report));
    assert!(html::render(&report).contains(told), "{}", html::render(&report));
}

#[test]
fn the_page_is_self_contained_and_escaped() {
    let page = html::render(&report(Some(invalid()), &[]));
    for absent in ["http://", "https://", "<script", "<mixed>", "<surprise>"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("class=\"kill\"") && page.contains("prefers-color-scheme"));
}
