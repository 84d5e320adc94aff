//! Defragmentation gives back the space of what was compacted, and otherwise nobody notices it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusd_proto::etcdserverpb::alarm_request::AlarmAction;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DefragmentRequest, HashKvRequest, PutRequest,
    RangeRequest, StatusRequest, StatusResponse,
};
use tonic::Code;
use tonic::transport::Channel;

use crate::process::{Member, put};

/// Keys that are written over and over.
const KEYS: usize = 20;
const VALUE_BYTES: usize = 50_000;
/// Longest that a write may wait on a slow machine: many times what a flush takes, and a fraction
/// of what a stop for the whole copy would.
const WAIT_MAX: Duration = Duration::from_secs(5);

type Maintenance = MaintenanceClient<Channel>;

fn key(number: usize) -> String {
    format!("key {:02}", number % KEYS)
}

/// Differs in every byte from write to write, so that nothing can be made small.
fn value(number: usize) -> String {
    let mut state = number + 1;
    let letters = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        char::from(b'a' + u8::try_from(state >> 33 & 15).unwrap())
    });
    letters.take(VALUE_BYTES).collect()
}

async fn status(maintenance: &mut Maintenance) -> StatusResponse {
    maintenance.status(StatusRequest {}).await.unwrap().into_inner()
}

async fn hash(maintenance: &mut Maintenance, revision: i64) -> (u32, i64) {
    let response = maintenance.hash_kv(HashKvRequest { revision }).await.unwrap().into_inner();
    (response.hash, response.compact_revision)
}

async fn defragment(maintenance: &mut Maintenance) {
    let response = maintenance.defragment(DefragmentRequest {}).await.unwrap().into_inner();
    assert_eq!(response.header, None, "etcd's answer has no header");
}

async fn compact(kv: &mut KvClient<Channel>, revision: i64) {
    kv.compact(CompactionRequest { revision, physical: true }).await.unwrap();
}

async fn assert_holds(kv: &mut KvClient<Channel>, writes: usize) {
    for number in writes - KEYS..writes {
        let request = RangeRequest { key: key(number).into(), ..RangeRequest::default() };
        let found = kv.range(request).await.unwrap().into_inner();
        assert!(found.kvs[0].value == value(number), "{} is as it was written", key(number));
    }
}

#[tokio::test]
async fn a_full_member_is_emptied_and_writes_again() {
    for backend in ["sled", "fjall"] {
        fill_and_empty(Member::start(&["--quota-backend-bytes", "16000000", "--backend", backend]))
            .await;
    }
}

async fn fill_and_empty(member: Member) {
    let (mut kv, mut maintenance) = (member.kv().await, Maintenance::new(member.channel().await));
    let mut writes = 0;
    let refused = loop {
        let (key, value) = (key(writes).into(), value(writes).into());
        match kv.put(PutRequest { key, value, ..PutRequest::default() }).await {
            Ok(_) => writes += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let full = status(&mut maintenance).await;
    assert!(full.db_size_in_use <= full.db_size, "{full:?}");
    let (revision, id) = full.header.map(|header| (header.revision, header.member_id)).unwrap();
    compact(&mut kv, revision).await;
    let compacted = status(&mut maintenance).await;
    assert!(compacted.db_size_in_use < full.db_size_in_use / 2, "{compacted:?}");
    let hash_before = hash(&mut maintenance, 0).await;
    defragment(&mut maintenance).await;
    let defragmented = status(&mut maintenance).await;
    assert!(defragmented.db_size < full.db_size / 2, "{defragmented:?}");
    assert!(defragmented.db_size_in_use <= defragmented.db_size, "{defragmented:?}");
    assert_eq!(hash(&mut maintenance, 0).await, hash_before);
    let mut disarm = AlarmRequest { member_id: id, ..AlarmRequest::default() };
    disarm.set_action(AlarmAction::Deactivate);
    disarm.set_alarm(AlarmType::Nospace);
    maintenance.alarm(disarm).await.unwrap();
    put(&mut kv, "small", "1").await;
    assert_holds(&mut kv, writes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_and_a_kill_in_the_middle_loses_nothing() {
    if std::env::var("RUSD_E2E_ENDPOINT").is_ok() {
        return;
    }
    for backend in ["sled", "fjall"] {
        write_and_kill(Member::start(&["--backend", backend])).await;
    }
}

async fn write_and_kill(mut member: Member) {
    let (mut kv, mut maintenance) = (member.kv().await, Maintenance::new(member.channel().await));
    let is_over = Arc::new(AtomicBool::new(false));
    let writing = {
        let (mut kv, is_over) = (kv.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            let (mut writes, mut longest) = (0, Duration::ZERO);
            while !is_over.load(Ordering::Acquire) || writes < 10 * KEYS {
                let since = Instant::now();
                put(&mut kv, &key(writes), &value(writes)).await;
                longest = longest.max(since.elapsed());
                writes += 1;
            }
            (writes, longest)
        })
    };
    for round in 0..6 {
        // Compactions come before, and between the copies.
        let current = status(&mut maintenance).await.header.unwrap().revision;
        if round % 2 == 1 && current > 5 {
            compact(&mut kv, current - 5).await;
        }
        let before = hash(&mut maintenance, current).await;
        let mut second = maintenance.clone();
        tokio::join!(defragment(&mut maintenance), defragment(&mut second));
        assert_eq!(hash(&mut maintenance, current).await, before);
    }
    is_over.store(true, Ordering::Release);
    let (mut writes, longest) = writing.await.unwrap();
    assert!(longest < WAIT_MAX, "a write took {longest:?}");
    assert_holds(&mut kv, writes).await;

    for _ in 0..3 {
        let mut cut_short = Maintenance::new(member.channel().await);
        let cut_short =
            tokio::spawn(async move { cut_short.defragment(DefragmentRequest {}).await });
        for _ in 0..KEYS {
            put(&mut kv, &key(writes), &value(writes)).await;
            writes += 1;
        }
        member.kill_and_restart();
        drop(cut_short.await.unwrap());
        kv = member.kv().await;
        assert_holds(&mut kv, writes).await;
    }
    let mut maintenance = Maintenance::new(member.channel().await);
    defragment(&mut maintenance).await;
    let revision = status(&mut maintenance).await.header.unwrap().revision;
    assert_eq!(revision, i64::try_from(writes).unwrap() + 1);
    member.terminate();
    rusd::verify::verify(&member.data_dir()).unwrap();
}
