//! Leaders that hand over, members that come and go, and work that they are told to do.

use rusd_checker::history::record::{Range, Request};
use rusd_checker::history::text::Text;
use rusd_loadgen::workload::Role;

use crate::scene::{Scene, fault, lasting};

/// Whether each of those that are listed is a learner, the voters first.
async fn listed(scene: &Scene) -> Vec<bool> {
    let leader = scene.leader().await;
    let list = scene.direct(leader).await.member_list().await.unwrap();
    let mut learners: Vec<bool> = list.members.iter().map(|member| member.is_learner).collect();
    learners.sort_unstable();
    learners
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_hands_over() {
    let faults = fault("move_leader", "follower", "");
    let mut scene = Scene::start(3, &faults).await;
    let before = scene.leader().await;
    let broken = scene.break_next().await;
    assert_ne!(broken.member(), before);
    assert_eq!(scene.leader().await, broken.member());
    scene.mend(broken).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_are_promoted_replaced_and_removed() {
    let faults = [
        fault("member_add", "new", "as = \"learner\""),
        fault("member_promote", "learner", ""),
        lasting("member_replace", "follower", ""),
        fault("member_remove", "follower", ""),
    ]
    .concat();
    let mut scene = Scene::start(3, &faults).await;
    scene.put(0, "a", "1").await;

    let added = scene.break_next().await;
    assert_eq!(listed(&scene).await, [false, false, false, true]);
    let learner = added.member();
    assert_eq!(scene.cluster.roster().seat(learner).map(|seat| seat.role), Some(Role::Learner));
    scene.mend(added).await;

    let promoted = scene.break_next().await;
    assert_eq!(promoted.member(), learner);
    assert_eq!(listed(&scene).await, [false; 4]);
    scene.mend(promoted).await;

    let replaced = scene.break_next().await;
    let gone = replaced.member();
    let came = scene.mend(replaced).await.expect("another one");
    assert_eq!(listed(&scene).await, [false; 4]);
    assert!(scene.cluster.roster().seat(gone).is_none() && came > learner);
    assert_eq!(scene.value(came, "a", false).await.as_deref(), Some("1"));

    let removed = scene.break_next().await;
    assert_eq!(listed(&scene).await, [false; 3]);
    assert!(scene.cluster.has_ended(removed.member()));
    scene.mend(removed).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_compaction_the_past_cannot_be_read() {
    let faults = fault("compact", "any", "keep = 5");
    let mut scene = Scene::start(1, &faults).await;
    let first = scene.put(0, "a", "0").await;
    for write in 1..20 {
        scene.put(0, "a", &write.to_string()).await;
    }
    let client = scene.direct(0).await;
    let past = Request::Range(Range { key: Text::from("a"), revision: first, ..Range::default() });
    client.execute(&past).await.unwrap();
    let broken = scene.break_next().await;
    let refused = client.execute(&past).await.unwrap_err();
    assert!(refused.message().contains("has been compacted"), "{refused}");
    scene.mend(broken).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defragmented_store_is_smaller() {
    const WRITTEN_BYTES: i64 = 10_000_000;
    let faults = [fault("compact", "any", "keep = 1"), fault("defragment", "any", "")].concat();
    let mut scene = Scene::start(1, &faults).await;
    let value = "v".repeat(100_000);
    for _ in 0..100 {
        scene.put(0, "a", &value).await;
    }
    let compacted = scene.break_next().await;
    scene.mend(compacted).await;
    // What was compacted goes later: until then a store that is rewritten has it, too.
    let client = scene.direct(0).await;
    let mut status = client.status().await.unwrap();
    while status.db_size_in_use > WRITTEN_BYTES / 4 {
        scene.put(0, "b", "").await;
        status = client.status().await.unwrap();
    }
    let broken = scene.break_next().await;
    let after = client.status().await.unwrap().db_size;
    assert!(after < WRITTEN_BYTES / 2, "{} {after}", status.db_size);
    assert_eq!(scene.value(0, "a", false).await.map(|v| v.len()), Some(value.len()));
    scene.mend(broken).await;
    scene.stop().await;
}
