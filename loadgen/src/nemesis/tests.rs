//! Faults on members that are scripts.

use crate::cluster::tests::scripted;
use crate::workload::{Role, Target};

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

fn planned(kind: FaultKind, lasts_ms: u64) -> Planned {
    Planned {
        start_ns: 0,
        lasts_ns: lasts_ms * MS,
        kind,
        target: Target::All,
        role: Role::Voter,
        mode: CutMode::Hold,
        lose_unsynced: false,
    }
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

/// What came of one member must not keep the others from being killed, and then mended.
#[tokio::test]
async fn a_kill_that_failed_is_an_error_and_is_still_ended() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = scripted(2, "stays.sh", folder.path()).await;
    let lost = kill::begin(&cluster, &[0, 1], true).await.unwrap_err().to_string();
    assert!(lost.contains("cannot cut the log of m0 back"), "{lost}");
    assert_eq!(cluster.cpu_seconds(), Some(0.0), "neither runs");
    kill::end(&cluster, &[0, 1]).unwrap();
    for member in ["m0", "m1"] {
        assert!(folder.path().join("logs").join(format!("{member}.log")).exists());
    }
    cluster.stop().await;
}
