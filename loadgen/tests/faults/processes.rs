//! Processes that are killed, paused, restarted, exchanged and starved.

use std::fs;
use std::path::PathBuf;

use crate::scene::{ANSWER_MAX, SILENCE, Scene, lasting};

/// The state letter of a process: `T` is stopped.
fn state(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields[..1].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_is_gone_and_comes_back_with_all_it_had() {
    let mut scene = Scene::start(3, &lasting("kill", "leader", "")).await;
    let leader = scene.leader().await;
    scene.put(leader, "a", "before").await;
    let pid = scene.cluster.pid(leader);
    let broken = scene.break_next().await;
    assert_eq!((broken.member(), scene.cluster.pid(leader)), (leader, None));
    scene.put((leader + 1) % 3, "b", "meanwhile").await;
    scene.mend(broken).await;
    assert_ne!(scene.cluster.pid(leader), pid);
    for (key, expected) in [("a", "before"), ("b", "meanwhile")] {
        assert_eq!(scene.value(leader, key, false).await.as_deref(), Some(expected));
    }
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_member_stands_still_with_its_sockets_open() {
    let mut scene = Scene::start(3, &lasting("pause", "follower", "")).await;
    let broken = scene.break_next().await;
    let paused = broken.member();
    let pid = scene.cluster.pid(paused).unwrap();
    // The signal was sent; the kernel may still be delivering it.
    let stops = async {
        while state(pid) != "T" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SILENCE, stops).await.expect("it stops");
    assert!(!scene.serves(paused).await);
    scene.put(scene.leader().await, "a", "1").await;
    scene.mend(broken).await;
    assert_eq!(scene.cluster.pid(paused), Some(pid), "the same process goes on");
    assert_eq!(scene.value(paused, "a", false).await.as_deref(), Some("1"));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_member_ends_well_and_comes_back() {
    let mut scene = Scene::start(3, &lasting("restart", "leader", "")).await;
    let leader = scene.leader().await;
    scene.put(leader, "a", "1").await;
    // That it ended well is seen by the fault itself.
    let broken = scene.break_next().await;
    assert_eq!(scene.cluster.pid(leader), None);
    scene.must_serve((leader + 1) % 3).await;
    scene.mend(broken).await;
    assert_eq!(scene.value(leader, "a", false).await.as_deref(), Some("1"));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_member_runs_another_executable_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    let words = format!("binary = \"{}\"", other.display());
    let faults = lasting("swap_binary", "any", &words);
    let mut scene = Scene::start(3, &faults).await;
    fs::copy(scene.cluster.program().unwrap(), &other).unwrap();
    let program = |scene: &Scene, member| -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", scene.cluster.pid(member).unwrap())).unwrap()
    };
    let before = program(&scene, 0);
    let broken = scene.break_next().await;
    let swapped = broken.member();
    scene.must_serve(swapped).await;
    assert_eq!(program(&scene, swapped), fs::canonicalize(&other).unwrap());
    scene.put(swapped, "a", "1").await;
    scene.mend(broken).await;
    assert_eq!(program(&scene, swapped), before);
    assert_eq!(scene.value(swapped, "a", false).await.as_deref(), Some("1"));
    scene.stop().await;
}

/// The cores that each thread of a process may run on, as the kernel lists them.
fn cores(pid: u32) -> Vec<String> {
    let mut cores = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        cores.push(line.unwrap().trim().to_owned());
    }
    cores.sort();
    cores.dedup();
    cores
}

/// Processes of ours that may run on exactly this core and want to: state `R`. The number behind the
/// state is the parent.
fn spinning_on(core: &str) -> usize {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let of = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let is_there = of("status").lines().any(|line| {
            line.strip_prefix("Cpus_allowed_list:").is_some_and(|list| list.trim() == core)
        });
        let is_ours = of("stat").contains(&format!(") R {} ", std::process::id()));
        is_there && is_ours && of("cmdline").contains("while :; do :; done")
    })
    .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_starved_member_has_one_core_where_others_spin() {
    let faults = lasting("cpu_starve", "leader", "hogs = 3");
    let mut scene = Scene::start(3, &faults).await;
    let leader = scene.leader().await;
    let pid = scene.cluster.pid(leader).unwrap();
    let before = cores(pid);
    let broken = scene.break_next().await;
    let [core] = cores(pid).try_into().expect("all threads have the same cores");
    assert!(core.parse::<u32>().is_ok(), "one core: {core}");
    // They were started; the kernel may still be loading them.
    let spin = async {
        while spinning_on(&core) < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(ANSWER_MAX, spin).await.expect("three spin");
    scene.put(leader, "a", "1").await;
    scene.mend(broken).await;
    assert_eq!(cores(pid), before);
    scene.stop().await;
}
