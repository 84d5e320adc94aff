//! Disks that are slow, fail, or lose what was not synced: the member acts them out, or notes what it
//! synced.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rusd_loadgen::client::etcd::Client;

use crate::scene::{ANSWER_MAX, Scene, lasting, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_takes_at_least_as_long_as_the_slow_disk() {
    let faults = lasting("slow_disk", "any", "by = \"150ms\"");
    let mut scene = Scene::start(1, &faults).await;
    let client = scene.direct(0).await;
    let broken = scene.break_next().await;
    let start = Instant::now();
    client.execute(&put("a", "1")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    scene.mend(broken).await;
    client.execute(&put("a", "2")).await.unwrap();
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_disk_fails_ends_by_name_and_the_rest_goes_on() {
    for place in ["log_write", "log_sync", "store"] {
        let words = format!("place = \"{place}\"");
        let faults = lasting("disk_error", "follower", &words);
        let mut scene = Scene::start(3, &faults).await;
        let leader = scene.leader().await;
        let broken = scene.break_next().await;
        let failing = broken.member();
        for write in 0..20 {
            scene.put(leader, "a", &write.to_string()).await;
        }
        let ends = async {
            while !scene.cluster.has_ended(failing) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(ANSWER_MAX, ends).await.expect("it ends");
        // That it said why is seen when it is mended.
        scene.mend(broken).await;
        assert_eq!(scene.value(failing, "a", false).await.as_deref(), Some("19"), "{place}");
        scene.stop().await;
    }
}

/// All members lose what they had not synced, and nothing that was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_was_synced() {
    let faults = lasting("kill", "all", "lose_unsynced = true");
    let mut scene = Scene::start(3, &faults).await;
    let leader = scene.leader().await;
    for write in 0..50 {
        scene.put(leader, &format!("k{write}"), "1").await;
    }
    let broken = scene.break_next().await;
    for member in 0..3 {
        assert!(Client::connect(&scene.cluster.direct(member)).await.is_err());
    }
    scene.mend(broken).await;
    for write in 0..50 {
        let found = scene.value(0, &format!("k{write}"), false).await;
        assert_eq!(found.as_deref(), Some("1"), "k{write}");
    }
    scene.stop().await;
}

/// Whether a log has these bytes somewhere.
fn has(wal: &Path, bytes: &str) -> bool {
    let segments = fs::read_dir(wal).unwrap().flatten();
    let mut segments =
        segments.filter(|entry| entry.path().extension().is_some_and(|e| e == "wal"));
    segments.any(|entry| {
        let content = fs::read(entry.path()).unwrap();
        String::from_utf8_lossy(&content).contains(bytes)
    })
}

/// A write is in the log, and its sync goes on for ever; nobody was promised anything. After a loss of
/// power it is not there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_synced_is_lost() {
    let faults = [
        lasting("slow_disk", "any", "by = \"1h\""),
        lasting("kill", "all", "lose_unsynced = true"),
    ]
    .concat();
    let mut scene = Scene::start(1, &faults).await;
    scene.put(0, "before", "1").await;
    let slow = scene.break_next().await;
    scene.let_more_happen_to(&slow);
    let client = scene.direct(0).await;
    let wal = scene.cluster.data(0).join("member").join("wal");
    let writing =
        tokio::spawn(async move { client.execute(&put("promised-to-nobody", "1")).await });
    let is_written = async {
        while !has(&wal, "promised-to-nobody") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(ANSWER_MAX, is_written).await.expect("it is written");
    let broken = scene.break_next().await;
    assert!(writing.await.unwrap().is_err(), "nobody was promised anything");
    assert!(!has(&wal, "promised-to-nobody"), "its log does not have it any more");
    scene.mend(broken).await;
    assert_eq!(scene.value(0, "promised-to-nobody", false).await, None);
    assert_eq!(scene.value(0, "before", false).await.as_deref(), Some("1"));
    scene.stop().await;
}
