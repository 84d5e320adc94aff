//! Faults on members that are scripts.

use crate::cluster::tests::scripted;
use crate::workload::Workload;

use super::*;

const MS: u64 = 1_000_000;

async fn windows(script: &str, load_ms: Range<u64>, planned: Planned) -> Vec<Window> {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Arc::new(scripted(2, script, folder.path()).await);
    let nemesis = Nemesis::new(Arc::clone(&cluster), Recorder::off(), Clock::start(), 1);
    let load_ns = load_ms.start * MS..load_ms.end * MS;
    let stop = CancellationToken::new();
    let windows = Arc::new(nemesis).run(vec![planned], load_ns, stop).await;
    cluster.stop().await;
    windows
}

/// Of everyone.
fn planned(kind: FaultKind, lasts_ms: u64) -> Planned {
    let text = format!(
        "duration = \"60s\"\nclients = 1\nkeys = {{ count = 1 }}\nmix = {{ put = 1 }}\n\
         cluster = {{ members = 3 }}\n\
         [[faults]]\nkind = \"{}\"\ntarget = \"all\"\nat = \"0s\"\nfor = \"{lasts_ms}ms\"\n",
        kind.name()
    );
    let workload = Workload::parse("test.toml", &text).unwrap();
    schedule::timetable(&workload, 1).remove(0)
}

#[tokio::test]
async fn a_fault_is_done_and_told() {
    for kind in [FaultKind::Kill, FaultKind::Pause, FaultKind::Partition, FaultKind::Restart] {
        let windows = windows("stays.sh", 0..60_000, planned(kind, 50)).await;
        let [window] = windows.as_slice() else { panic!("{windows:?}") };
        assert_eq!((window.members.as_slice(), &window.error), (&[0, 1][..], &None));
        assert!(window.end_s - window.start_s >= 0.05, "{window:?}");
    }
}

/// The first one ends by itself instead of serving again, so the next one is left alone.
#[tokio::test]
async fn one_after_the_other_ends_with_the_first_that_is_not_whole_again() {
    let planned = Planned { target: Target::Each, ..planned(FaultKind::Restart, 50) };
    let windows = windows("ends.sh", 0..60_000, planned).await;
    let [window] = windows.as_slice() else { panic!("{windows:?}") };
    assert_eq!(window.members, [0]);
    assert!(window.error.as_ref().is_some_and(|e| e.contains("ended by itself")), "{window:?}");
}

#[tokio::test]
async fn a_fault_with_too_little_time_left_is_not_begun_and_is_an_error() {
    let windows = windows("stays.sh", 0..1000, planned(FaultKind::Kill, 5000)).await;
    let [window] = windows.as_slice() else { panic!("{windows:?}") };
    assert!(window.members.is_empty(), "{window:?}");
    assert!(window.error.as_ref().is_some_and(|error| error.contains("too late")), "{window:?}");
}

fn pauses(faults: &str) -> Vec<Planned> {
    let text = format!(
        "duration = \"60s\"\nclients = 1\nkeys = {{ count = 1 }}\nmix = {{ put = 1 }}\n\
         cluster = {{ members = 2 }}\n{faults}"
    );
    schedule::timetable(&Workload::parse("test.toml", &text).unwrap(), 1)
}

const FIRST: &str = "[[faults]]\nname = \"first\"\nkind = \"pause\"\ntarget = \"member:0\"\n\
                     at = \"20ms\"\nfor = \"50ms\"\n";

/// In the order in which they are asked for they could not be done: each waits for another.
#[tokio::test]
async fn faults_wait_for_each_other() {
    let during = "[[faults]]\nkind = \"pause\"\ntarget = \"member:1\"\nwhen = \"during first\"\n\
                  for = \"10ms\"\n";
    let after = "[[faults]]\nkind = \"pause\"\ntarget = \"member:0\"\nwhen = \"after first\"\n\
                 at = \"5ms\"\nfor = \"10ms\"\n";
    let folder = tempfile::tempdir().unwrap();
    let cluster = Arc::new(scripted(2, "stays.sh", folder.path()).await);
    let nemesis = Nemesis::new(Arc::clone(&cluster), Recorder::off(), Clock::start(), 1);
    let planned = pauses(&format!("{after}{during}{FIRST}"));
    let done = Arc::new(nemesis).run(planned, 0..60_000 * MS, CancellationToken::new()).await;
    cluster.stop().await;
    let [first, during, after] = done.as_slice() else { panic!("{done:?}") };
    assert!(done.iter().all(|window| window.error.is_none()), "{done:?}");
    assert_eq!((first.members[0], during.members[0], after.members[0]), (0, 1, 0));
    assert!(first.start_s >= 0.02 && during.start_s >= first.start_s);
    assert!(after.start_s >= first.end_s + 0.005, "{done:?}");
}

#[tokio::test]
async fn a_fault_that_waits_for_one_that_never_came_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Arc::new(scripted(2, "stays.sh", folder.path()).await);
    let nemesis = Nemesis::new(Arc::clone(&cluster), Recorder::off(), Clock::start(), 1);
    let waits = "[[faults]]\nkind = \"pause\"\ntarget = \"any\"\nwhen = \"after first\"\n\
                 for = \"1ms\"\n";
    let late = FIRST.replace("20ms", "1h");
    let stop = CancellationToken::new();
    stop.cancel();
    let done = Arc::new(nemesis).run(pauses(&format!("{late}{waits}")), 0..0, stop).await;
    cluster.stop().await;
    let [window] = done.as_slice() else { panic!("{done:?}") };
    let error = window.error.as_deref().unwrap_or_default();
    assert!(error.contains("first that it waits for"), "{done:?}");
}

/// What came of one member must not keep the others from being killed, and then mended.
#[tokio::test]
async fn a_kill_that_failed_is_an_error_and_is_still_ended() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = scripted(2, "stays.sh", folder.path()).await;
    let lost = kill::begin(&cluster, &[0, 1], true).await.unwrap_err().to_string();
    assert!(lost.contains("cannot cut the log of m0 back"), "{lost}");
    assert_eq!(cluster.cpu_seconds(), Some(0.0), "neither runs");
    each(&[0, 1], |member| cluster.launch(member)).unwrap();
    for member in ["m0", "m1"] {
        assert!(folder.path().join("logs").join(format!("{member}.log")).exists());
    }
    cluster.stop().await;
}
