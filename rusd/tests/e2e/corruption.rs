//! A member whose history is another one is found: when it starts, over time, and when all compact.

use std::path::Path;

use nix::sys::signal::Signal;
use rusd_proto::etcdserverpb::alarm_request::AlarmAction;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType, CompactionRequest};
use rusd_state::storage::{Generations, Tree};
use tonic::Code;

use crate::process::{Member, Polling, http, put};
use crate::site::{Site, refused};

const FOUNDERS: [usize; 3] = [0, 1, 2];
/// The one whose history is changed.
const CORRUPT: usize = 2;
const TRUE: &[u8] = b"what was written";
const FALSE: &[u8] = b"something else !";

/// Changes a value in the history of a member that does not run, so that no checksum tells.
fn change_history(data_dir: &Path) {
    let engine = Generations::open_current_of(&data_dir.join("member/engine")).unwrap().unwrap();
    let mut changed = Vec::new();
    let mut look = |key: &[u8], value: bytes::Bytes| {
        if let Some(at) = value.windows(TRUE.len()).position(|window| window == TRUE) {
            let mut block = value[..value.len() - 4].to_vec();
            block[at..at + FALSE.len()].copy_from_slice(FALSE);
            let seal = crc32c::crc32c_append(crc32c::crc32c(key), &block);
            block.extend_from_slice(&seal.to_be_bytes());
            changed.push((key.to_vec(), block));
        }
        Ok(std::ops::ControlFlow::Continue(()))
    };
    engine.scan(Tree::KvRev, &[], &mut look).unwrap();
    assert_eq!(changed.len(), 1, "it was written once");
    for (key, block) in changed {
        engine.put_row(Tree::KvRev, &key, &block).unwrap();
    }
    engine.sync().unwrap();
}

/// Three members, of which the last has another history than the others, and does not run.
async fn three_with_a_corrupt_one(flags: &[&str]) -> Site {
    let mut site = Site::new(3);
    site.start_founders(&FOUNDERS, flags);
    let operator = site.operator(0).await;
    operator.put_in_time(std::str::from_utf8(TRUE).unwrap()).await;
    site.operator(CORRUPT).await.until_count(1).await;
    site.signal(CORRUPT, Signal::SIGTERM);
    site.wait(CORRUPT);
    operator.put_in_time("the others go on").await;
    change_history(&site.data_dir(CORRUPT));
    site
}

/// Waits for an alarm, and gives all of them.
async fn alarms(site: &Site) -> Vec<AlarmMember> {
    let mut maintenance = MaintenanceClient::new(site.channel(0).await);
    let polling = Polling::start();
    loop {
        let mut request = AlarmRequest::default();
        request.set_action(AlarmAction::Get);
        let alarms = maintenance.alarm(request).await.unwrap().into_inner().alarms;
        if !alarms.is_empty() {
            return alarms;
        }
        polling.again("no alarm is raised").await;
    }
}

async fn check_nothing_is_written(site: &Site) {
    let corrupt = refused(Code::DataLoss, "etcdserver: corrupt cluster");
    assert_eq!(site.operator(0).await.put("more").await, Err(corrupt));
}

#[tokio::test]
async fn a_corrupt_member_is_found_when_it_starts_and_when_all_compact() {
    let compaction = ["--feature-gates=CompactHashCheck=true", "--compact-hash-check-time=100ms"];
    let mut site = three_with_a_corrupt_one(&compaction).await;
    let id = site.id_of(CORRUPT).await;

    let at_start = ["--feature-gates=InitialCorruptCheck=true"];
    let (code, log) = site.start_in_vain(CORRUPT, &FOUNDERS, &at_start);
    assert_eq!(code, 1);
    assert!(log.contains(&format!("{id:x} found data inconsistency with peers")), "{log}");

    site.start(CORRUPT, &FOUNDERS, &compaction);
    site.operator(CORRUPT).await.until_count(2).await;
    let request = CompactionRequest { revision: 2, physical: false };
    KvClient::new(site.channel(0).await).compact(request).await.unwrap();
    let alarm = AlarmType::Corrupt.into();
    assert_eq!(alarms(&site).await, [AlarmMember { member_id: id, alarm }]);
    check_nothing_is_written(&site).await;
}

#[tokio::test]
async fn a_corrupt_member_is_found_over_time() {
    let mut site = three_with_a_corrupt_one(&["--corrupt-check-time=100ms"]).await;
    site.start(CORRUPT, &FOUNDERS, &["--corrupt-check-time=100ms"]);
    // As in etcd, the leader takes its own history for the true one.
    let alarms = alarms(&site).await;
    assert!(alarms.iter().all(|alarm| alarm.alarm() == AlarmType::Corrupt), "{alarms:?}");
    check_nothing_is_written(&site).await;
}

#[tokio::test]
async fn members_with_the_same_history_start_and_raise_nothing() {
    let flags = [
        "--feature-gates=CompactHashCheck=true,InitialCorruptCheck=true",
        "--compact-hash-check-time=50ms",
        "--corrupt-check-time=50ms",
    ];
    let mut site = Site::new(3);
    site.start_founders(&FOUNDERS, &flags);
    let operator = site.operator(0).await;
    operator.put_in_time("a").await;
    operator.put_in_time("b").await;
    let request = CompactionRequest { revision: 2, physical: false };
    KvClient::new(site.channel(0).await).compact(request).await.unwrap();
    site.operator(CORRUPT).await.until_count(2).await;
    site.signal(CORRUPT, Signal::SIGTERM);
    site.wait(CORRUPT);
    operator.put_in_time("c").await;
    let log = site.start(CORRUPT, &FOUNDERS, &flags);
    assert!(log.contains("initial corruption checking passed; no corruption"), "{log}");
    site.operator(CORRUPT).await.until_count(3).await;
    operator.put("d").await.unwrap();
}

/// Recorded from etcd 3.7.3.
#[tokio::test]
async fn peers_are_told_hashes_as_etcd_tells_them() {
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    for key in ["a", "b", "c"] {
        put(&mut kv, key, "1").await;
    }
    let newest = concat!(
        r#"{"header":{"revision":4},"hash":3870129361,"#,
        r#""compact_revision":-1,"hash_revision":4}"#
    );
    let second = concat!(
        r#"{"header":{"revision":4},"hash":2587454935,"#,
        r#""compact_revision":-1,"hash_revision":2}"#
    );
    let (ok, bad) = ("HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request");
    let other_cluster: &[&str] = &["X-Etcd-Cluster-ID: abc"];
    for (headers, question, status, answer) in [
        (&[][..], "{}", ok, newest),
        (&[], r#"{"revision":2}"#, ok, second),
        (&[], r#"{"revision":9}"#, bad, "mvcc: required revision is a future revision\n"),
        (&[], "x", bad, "error unmarshalling request\n"),
        (&[], "", bad, "error unmarshalling request\n"),
        (other_cluster, "{}", "HTTP/1.1 412 Precondition Failed", "cluster ID mismatch\n"),
    ] {
        let told = http(&member.peer, "/members/hashkv", headers, question).await;
        assert_eq!(told, (status.to_owned(), answer.to_owned()), "{question}");
    }
    let request = CompactionRequest { revision: 3, physical: true };
    kv.compact(request).await.unwrap();
    let compacted = http(&member.peer, "/members/hashkv", &[], r#"{"revision":1}"#).await;
    assert_eq!(compacted.1, "mvcc: required revision has been compacted\n");
    let kept = http(&member.peer, "/members/hashkv", &[], r#"{"revision":4}"#).await;
    assert_eq!(kept.1, newest.replace("-1", "3"));
}
