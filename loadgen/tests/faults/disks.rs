//! Disks that are full.

use std::fs;
use std::io::ErrorKind;

use crate::scene::{Scene, lasting, put};

/// Writes that need more space than a member has prepared.
const VALUE_BYTES: usize = 200_000;
const WRITES_MAX: usize = 2000;

/// It says that there is no space, or ends and says why; the others go on; and with room it serves
/// again and has everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_space_ends_by_name_and_comes_back_with_everything() {
    let faults = lasting("disk_full", "follower", "");
    let scene = Scene::with(3, "disk = \"256MiB\"", &faults).await;
    let mut scene = scene;
    let leader = scene.leader().await;
    let broken = scene.break_next().await;
    let full = broken.member();
    let before = scene.cluster.said(full);
    let probe = scene.cluster.data(full).join("probe");
    let refused = fs::write(&probe, [1; 8192]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
    let client = scene.direct(leader).await;
    let value = "v".repeat(VALUE_BYTES);
    let mut writes = 0;
    while !scene.cluster.has_ended(full) {
        client.execute(&put(&format!("k{writes}"), &value)).await.unwrap();
        writes += 1;
        assert!(writes < WRITES_MAX, "it goes on without space");
    }
    let said = scene.cluster.said_since(full, before).unwrap().to_lowercase();
    assert!(said.contains("no space left"), "{said}");
    scene.put(leader, "last", "1").await;
    scene.mend(broken).await;
    fs::write(&probe, [1; 8192]).expect("there is room again");
    assert_eq!(scene.value(full, "last", false).await.as_deref(), Some("1"));
    scene.stop().await;
}
