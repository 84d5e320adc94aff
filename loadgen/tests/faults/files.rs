//! Files that are damaged while their member is dead.

use std::fs;
use std::path::{Path, PathBuf};

use crate::scene::{Scene, lasting};

/// Enough that a half of it is some entries.
const WRITES: usize = 60;

async fn written(faults: &str) -> Scene {
    let scene = Scene::start(3, faults).await;
    let leader = scene.leader().await;
    for write in 0..WRITES {
        scene.put(leader, &format!("k{write}"), &"v".repeat(100)).await;
    }
    scene
}

async fn has_everything(scene: &Scene, member: u32) {
    for write in 0..WRITES {
        let found = scene.value(member, &format!("k{write}"), false).await;
        assert!(found.is_some(), "k{write} on m{member}");
    }
}

/// Whether the newest segment of a log ends in a record of which less than half is there: behind it
/// there are zeros. The low 56 bits of what precedes a record are its length.
fn is_torn(wal: &Path) -> bool {
    let segments = fs::read_dir(wal).unwrap().map(|entry| entry.unwrap().path());
    let segments = segments.filter(|path: &PathBuf| path.extension().is_some_and(|e| e == "wal"));
    let segment = fs::read(segments.max().expect("it has a segment")).unwrap();
    let bytes = |start: usize| {
        let head = segment.get(start..start + 8)?.try_into().unwrap();
        let bytes = usize::try_from(u64::from_le_bytes(head) & ((1 << 56) - 1)).unwrap();
        (bytes > 0).then_some(bytes)
    };
    let (mut next, mut last) = (0, 0..0);
    while let Some(bytes) = bytes(next) {
        last = next + 8..next + 8 + bytes;
        next = last.end.next_multiple_of(8);
    }
    segment
        .get(last.start + last.len() / 2..last.end)
        .is_none_or(|half| half.iter().all(|b| *b == 0))
}

/// The log ends in the beginning of a record that nobody was promised.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_torn_write_all_members_serve_with_all_that_was_acknowledged() {
    let mut scene = written(&lasting("torn_write", "all", "")).await;
    let wal = |member| scene.cluster.data(member).join("member").join("wal");
    let logs = [wal(0), wal(1), wal(2)];
    assert!(logs.iter().all(|log| !is_torn(log)));
    let broken = scene.break_next().await;
    assert!(logs.iter().all(|log| is_torn(log)));
    scene.mend(broken).await;
    assert!(logs.iter().all(|log| !is_torn(log)), "who serves has cut it off");
    for member in 0..3 {
        has_everything(&scene, member).await;
        scene.put(member, "after", "1").await;
    }
    scene.stop().await;
}

/// A member ends by this fault, the others go on, and it has everything when it is mended. What it
/// said is seen by the fault itself.
async fn is_refused_by_name(faults: &str) {
    let mut scene = written(faults).await;
    let broken = scene.break_next().await;
    let refusing = broken.member();
    assert!(scene.cluster.has_ended(refusing));
    scene.put(scene.leader().await, "after", "1").await;
    scene.mend(broken).await;
    has_everything(&scene, refusing).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_refused_by_name_and_the_rest_goes_on() {
    is_refused_by_name(&lasting("bit_flip", "follower", "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_what_was_acknowledged_is_refused_by_name() {
    is_refused_by_name(&lasting("truncate", "follower", "")).await;
}

/// What a workload asks for that a member does not do is an error: here it must serve, and refuses.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_must_refuse_and_serves_is_an_error() {
    let faults = lasting("torn_write", "follower", "then = \"refuse\"");
    let mut scene = written(&faults).await;
    let (broken, done) = scene.try_next().await;
    let error = done.unwrap_err().to_string();
    assert!(error.contains("was started on a damaged log, and has not ended"), "{error}");
    scene.mend(broken).await;
    scene.stop().await;
}
