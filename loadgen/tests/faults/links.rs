//! Links that are slow, narrow, reset or half open.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use rusd_proto::etcdserverpb::WatchCreateRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::{ANSWER_MAX, SILENCE, Scene, fault, get, lasting, put};

const BY: Duration = Duration::from_millis(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_read_through_a_slow_link_takes_at_least_the_delay_both_ways() {
    let words = "links = \"clients\"\nby = \"120ms\"\nspread = \"10ms\"";
    let mut scene = Scene::start(1, &lasting("delay", "any", words)).await;
    let (slow, direct) = (scene.client(0).await, scene.direct(0).await);
    let broken = scene.break_next().await;
    let start = Instant::now();
    slow.execute(&get("a", false)).await.unwrap();
    assert!(start.elapsed() >= 2 * BY, "{:?}", start.elapsed());
    direct.execute(&get("a", false)).await.unwrap();
    scene.mend(broken).await;
    scene.stop().await;
}

/// That none of so many answers has to wait for a fourth of the jitter has a chance of one in 10^20.
#[tokio::test(flavor = "multi_thread")]
async fn jitter_makes_some_answers_late() {
    let words = "links = \"clients\"\nby = \"1ms\"\nspread = \"400ms\"";
    let mut scene = Scene::start(1, &lasting("delay", "any", words)).await;
    let client = scene.client(0).await;
    let broken = scene.break_next().await;
    let mut longest = Duration::ZERO;
    for _ in 0..15 {
        let start = Instant::now();
        client.execute(&get("a", false)).await.unwrap();
        longest = longest.max(start.elapsed());
    }
    assert!(longest >= Duration::from_millis(100), "{longest:?}");
    scene.mend(broken).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_takes_at_least_the_delay_to_the_followers_and_back() {
    let words = "by = \"120ms\"";
    let mut scene = Scene::start(3, &lasting("delay", "leader", words)).await;
    let leader = scene.leader().await;
    let client = scene.direct(leader).await;
    let broken = scene.break_next().await;
    assert_eq!(broken.member(), leader);
    let start = Instant::now();
    client.execute(&put("a", "1")).await.unwrap();
    assert!(start.elapsed() >= 2 * BY, "{:?}", start.elapsed());
    scene.mend(broken).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_link_passes_no_more_than_its_bytes_in_a_second() {
    let words = "links = \"clients\"\ndirection = \"to\"\nrate = \"32KiB\"";
    let faults = lasting("bandwidth", "any", words);
    let mut scene = Scene::start(1, &faults).await;
    let client = scene.client(0).await;
    let broken = scene.break_next().await;
    let start = Instant::now();
    client.execute(&put("a", &"v".repeat(96 << 10))).await.unwrap();
    // What fits into the first part of a second is let through at its end.
    assert!(start.elapsed() >= Duration::from_millis(2900), "{:?}", start.elapsed());
    scene.mend(broken).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_ends_streams_and_lets_new_connections_come() {
    let faults = fault("reset", "any", "links = \"clients\"");
    let mut scene = Scene::start(1, &faults).await;
    let client = scene.client(0).await;
    let create = WatchCreateRequest { key: "a".into(), ..WatchCreateRequest::default() };
    let mut watch = client.watch(create).await.unwrap();
    assert!(watch.responses.message().await.unwrap().expect("it is open").created);
    let broken = scene.break_next().await;
    let ended = tokio::time::timeout(ANSWER_MAX, watch.responses.message()).await;
    assert!(ended.expect("it ends").is_err(), "the stream was broken");
    scene.client(0).await.execute(&put("a", "1")).await.unwrap();
    scene.mend(broken).await;
    scene.stop().await;
}

/// The connections that a process has made to these ports of the loopback, by their numbers in the
/// kernel, which are never used twice.
fn made(pid: u32, ports: &[u16]) -> BTreeSet<String> {
    let sockets = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let sockets = sockets.filter_map(|entry| fs::read_link(entry.path()).ok());
    let own: BTreeSet<String> = sockets
        .filter_map(|link| {
            Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let is_to = |remote: &str| ports.iter().any(|port| remote.ends_with(&format!(":{port:04X}")));
    // The third and fourth fields are the other end and the state, of which 01 is open.
    let rows = rows.filter(|row| row[3] == "01" && is_to(row[2]) && own.contains(row[9]));
    rows.map(|row| row[9].to_owned()).collect()
}

/// Members connect to each other again.
#[tokio::test(flavor = "multi_thread")]
async fn members_whose_connections_are_reset_go_on() {
    let mut scene = Scene::start(3, &fault("reset", "leader", "")).await;
    let leader = scene.leader().await;
    let pid = scene.cluster.pid(leader).unwrap();
    let others = (0..3).filter(|member| *member != leader);
    let ports: Vec<u16> = others.map(|member| scene.cluster.peer_port(member)).collect();
    let before = made(pid, &ports);
    assert!(!before.is_empty());
    let broken = scene.break_next().await;
    assert_eq!(broken.member(), leader);
    let gone = async {
        while !made(pid, &ports).is_disjoint(&before) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(ANSWER_MAX, gone).await.expect("its connections are gone");
    scene.put(broken.member(), "a", "1").await;
    scene.mend(broken).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_on_a_half_open_connection_time_out_while_it_stays() {
    let faults = lasting("half_open", "any", "links = \"clients\"");
    let mut scene = Scene::start(1, &faults).await;
    let client = scene.client(0).await;
    client.execute(&put("a", "1")).await.unwrap();
    let endpoint = scene.cluster.endpoint(0);
    let mut raw = TcpStream::connect(endpoint.trim_start_matches("http://")).await.unwrap();
    let broken = scene.break_next().await;
    let asked = tokio::time::timeout(SILENCE, client.execute(&get("a", false))).await;
    assert!(asked.is_err(), "no answer and no error: {asked:?}");
    raw.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let silent = tokio::time::timeout(SILENCE, raw.read(&mut [0; 64])).await;
    assert!(silent.is_err(), "the connection stays: {silent:?}");
    // The server goes on.
    assert_eq!(scene.value(0, "a", false).await.as_deref(), Some("1"));
    scene.mend(broken).await;
    let ended = tokio::time::timeout(ANSWER_MAX, raw.read(&mut [0; 64])).await;
    assert!(ended.expect("it ends").is_err(), "it is reset when it is mended");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_connections_are_half_open_leads_no_more() {
    let mut scene = Scene::start(3, &lasting("half_open", "leader", "")).await;
    let broken = scene.break_next().await;
    let cut_off = broken.member();
    let other = (cut_off + 1) % 3;
    scene.put(other, "a", "1").await;
    assert!(!scene.serves(cut_off).await);
    scene.mend(broken).await;
    assert_eq!(scene.value(cut_off, "a", false).await.as_deref(), Some("1"));
    scene.stop().await;
}
