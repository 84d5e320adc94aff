//! Who reaches whom, in each shape of a partition.

use rusd_loadgen::client::etcd::Client;

use crate::scene::{ANSWER_MAX, SILENCE, Scene, get, lasting, put};

/// The members that are not among these.
fn others(count: u32, members: &[u32]) -> Vec<u32> {
    (0..count).filter(|member| !members.contains(member)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_serves_nothing_and_the_rest_goes_on() {
    for mode in ["drop", "reject"] {
        let words = format!("mode = \"{mode}\"");
        let faults = lasting("partition", "leader", &words);
        let mut scene = Scene::start(3, &faults).await;
        let broken = scene.break_next().await;
        let cut_off = broken.member();
        for other in others(3, &[cut_off]) {
            scene.put(other, "a", mode).await;
        }
        assert!(!scene.serves(cut_off).await, "{mode}");
        assert_ne!(scene.leader().await, cut_off, "{mode}");
        scene.mend(broken).await;
        assert_eq!(scene.value(cut_off, "a", false).await.as_deref(), Some(mode));
        scene.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_minority_serves_nothing_and_the_majority_goes_on() {
    for target in ["minority", "majority"] {
        let faults = lasting("partition", target, "shape = \"halves\"");
        let mut scene = Scene::start(5, &faults).await;
        let broken = scene.break_next().await;
        let rest = others(5, &broken.members);
        let (few, many) = match target {
            "minority" => (&broken.members, &rest),
            _ => (&rest, &broken.members),
        };
        assert_eq!((few.len(), many.len()), (2, 3));
        for member in many {
            scene.put(*member, "a", "1").await;
        }
        for member in few {
            assert!(!scene.serves(*member).await, "{target}: m{member}");
        }
        scene.mend(broken).await;
        scene.stop().await;
    }
}

/// The leader reaches its two neighbours, which are a majority with it; the fourth hears nobody that
/// leads.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_ring_of_four_the_one_opposite_the_leader_is_alone() {
    let faults = lasting("partition", "all", "shape = \"ring\"");
    let mut scene = Scene::start(4, &faults).await;
    let broken = scene.break_next().await;
    let leader = scene.leader().await;
    let opposite = (leader + 2) % 4;
    for neighbour in [(leader + 1) % 4, (leader + 3) % 4] {
        scene.put(neighbour, "a", "1").await;
    }
    assert!(!scene.serves(opposite).await);
    scene.mend(broken).await;
    assert_eq!(scene.value(opposite, "a", false).await.as_deref(), Some("1"));
    scene.stop().await;
}

/// The bridge follows the leader, who does not reach the third.
#[tokio::test(flavor = "multi_thread")]
async fn at_a_bridge_the_two_sides_are_apart() {
    let faults = lasting("partition", "follower", "shape = \"bridge\"");
    let mut scene = Scene::start(3, &faults).await;
    let leader = scene.leader().await;
    let broken = scene.break_next().await;
    let bridge = broken.member();
    let third = 3 - leader - bridge;
    scene.put(leader, "a", "1").await;
    scene.put(bridge, "a", "2").await;
    assert!(!scene.serves(third).await);
    scene.mend(broken).await;
    assert_eq!(scene.value(third, "a", false).await.as_deref(), Some("2"));
    scene.stop().await;
}

/// What a follower sends still arrives; what is sent to it does not.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_gets_to_a_follower_that_is_cut_off_one_way() {
    let faults = lasting("partition", "follower", "direction = \"to\"");
    let mut scene = Scene::start(3, &faults).await;
    let leader = scene.leader().await;
    scene.put(leader, "a", "before").await;
    let broken = scene.break_next().await;
    let deaf = broken.member();
    scene.put(leader, "a", "after").await;
    let heard = scene.value(deaf, "a", true).await;
    assert_ne!(heard.as_deref(), Some("after"));
    assert!(!scene.serves(deaf).await);
    scene.mend(broken).await;
    assert_eq!(scene.value(deaf, "a", false).await.as_deref(), Some("after"));
    scene.stop().await;
}

/// What a leader sends does not arrive, so the others elect another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_not_heard_leads_no_more() {
    let faults = lasting("partition", "leader", "direction = \"from\"");
    let mut scene = Scene::start(3, &faults).await;
    let broken = scene.break_next().await;
    let mute = broken.member();
    let other = (mute + 1) % 3;
    scene.put(other, "a", "1").await;
    assert_ne!(scene.leader().await, mute);
    assert!(!scene.serves(mute).await);
    scene.mend(broken).await;
    scene.stop().await;
}

/// A request does not get to the member; or it does, and the answer does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_link_that_is_cut_one_way_the_other_way_stays() {
    for (direction, arrives) in [("to", false), ("from", true)] {
        let words = format!("links = \"clients\"\ndirection = \"{direction}\"");
        let mut scene = Scene::start(1, &lasting("partition", "any", &words)).await;
        let client = scene.client(0).await;
        client.execute(&put("a", "before")).await.unwrap();
        let broken = scene.break_next().await;
        let silent = tokio::time::timeout(SILENCE, client.execute(&put("a", "meanwhile"))).await;
        assert!(silent.is_err(), "{direction}: {silent:?}");
        if arrives {
            let arrives =
                async { while scene.value(0, "a", false).await.as_deref() != Some("meanwhile") {} };
            tokio::time::timeout(ANSWER_MAX, arrives).await.expect("it arrives");
        } else {
            assert_eq!(scene.value(0, "a", false).await.as_deref(), Some("before"));
        }
        scene.mend(broken).await;
        scene.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_cut_off_from_a_member_reach_the_others() {
    for mode in ["drop", "reject"] {
        let words = format!("links = \"clients\"\nmode = \"{mode}\"");
        let faults = lasting("partition", "member:1", &words);
        let mut scene = Scene::start(3, &faults).await;
        let before = scene.client(1).await;
        before.execute(&get("a", false)).await.unwrap();
        let broken = scene.break_next().await;
        assert_eq!(broken.members, [1]);
        let new = async || {
            let client = Client::connect(&scene.cluster.endpoint(1)).await.ok()?;
            client.execute(&get("a", false)).await.ok()
        };
        if mode == "drop" {
            let silent = tokio::time::timeout(SILENCE, before.execute(&get("a", false))).await;
            assert!(silent.is_err(), "no answer, and no error: {silent:?}");
            let silent = tokio::time::timeout(SILENCE, new()).await;
            assert!(silent.is_err(), "a new connection hangs: {silent:?}");
        } else {
            let refused = tokio::time::timeout(ANSWER_MAX, before.execute(&get("a", false))).await;
            assert!(refused.expect("it is told").is_err());
            let refused = tokio::time::timeout(ANSWER_MAX, new()).await;
            assert_eq!(refused.expect("it is told"), None);
        }
        scene.client(0).await.execute(&get("a", false)).await.unwrap();
        assert!(scene.serves(1).await, "its peers reach it");
        scene.mend(broken).await;
        scene.client(1).await.execute(&get("a", false)).await.unwrap();
        scene.stop().await;
    }
}
