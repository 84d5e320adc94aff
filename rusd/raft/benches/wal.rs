//! Appends to the log with a sync each, at several batch sizes. The figure per element is what one
//! entry of 256 bytes costs when so many share a sync.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rusd_proto::raftpb::{Entry, EntryType};
use rusd_raft::log::{LogStore as _, Wal, WalOptions};
use rusd_raft::{HardState, Metadata};

const ENTRY_BYTES: usize = 256;

fn batch(first: u64, count: u64) -> Vec<Entry> {
    let data = bytes::Bytes::from(vec![0x5a; ENTRY_BYTES]);
    let entry = |index| Entry {
        term: Some(1),
        index: Some(index),
        r#type: Some(EntryType::EntryNormal.into()),
        data: Some(data.clone()),
    };
    (first..first + count).map(entry).collect()
}

fn wal_append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wal_append");
    for (is_synced, name) in [(true, "sync"), (false, "no_sync")] {
        for count in [1, 16, 128] {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let metadata = Metadata { node_id: 1, cluster_id: 1 };
            let mut wal = Wal::create(&dir.path().join("wal"), metadata, WalOptions::default())
                .expect("a new log");
            let preparer = wal.preparer();
            let filling = std::thread::spawn(move || preparer.run());
            let mut next = 1;
            group.throughput(Throughput::Elements(count));
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    let state = HardState { term: 1, vote: 1, commit: next - 1 };
                    wal.append(&batch(next, count), Some(state)).expect("the disk has room");
                    if is_synced {
                        wal.sync().expect("the disk works");
                    }
                    next += count;
                });
            });
            drop(wal);
            filling.join().expect("the filling thread ends").expect("the disk has room");
        }
    }
    group.finish();
}

criterion_group!(benches, wal_append);
criterion_main!(benches);
