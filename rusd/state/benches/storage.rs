//! What storage costs: the put path, reads of history, compaction, a cold start.
//!
//! `cargo bench -p rusd-state --bench storage`. Times are wall time with fsync; the puts are 256 B
//! values over a million random keys.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::cell::LazyCell;
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusd_proto::mvccpb::KeyValue;
use rusd_state::mvcc::revision::Revision;
use rusd_state::storage::change::{Changes, EntryKind, HistoryEntry, MetaChange};
use rusd_state::storage::{
    Backend, CompactProgress, DefragmentProgress, EngineKind, FjallOptions, FoldProgress, History,
    HistoryOptions, MemoryBackend, SledOptions, StartFrom,
};
use tempfile::TempDir;

const KEYS: u32 = 1_000_000;
const VALUE_BYTES: usize = 256;
/// What arrives between two flushes at 100,000 puts/s.
const PUTS_PER_FLUSH: i64 = 5_000;

/// An engine, and the folder that must outlive it.
struct Engine {
    backend: Arc<dyn Backend>,
    _folder: Option<TempDir>,
}

fn memory() -> Engine {
    Engine { backend: Arc::new(MemoryBackend::new()), _folder: None }
}

fn on_disk(kind: EngineKind) -> Engine {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let backend = kind.open(folder.path()).expect("it opens");
    Engine { backend, _folder: Some(folder) }
}

fn sled() -> Engine {
    on_disk(EngineKind::Sled(SledOptions::default()))
}

fn fjall() -> Engine {
    on_disk(EngineKind::Fjall(FjallOptions::default()))
}

type OpenEngine = fn() -> Engine;

const ENGINES: [(&str, OpenEngine); 3] = [("memory", memory), ("sled", sled), ("fjall", fjall)];

fn open(engine: &Engine) -> Arc<History> {
    History::open(Arc::clone(&engine.backend), HistoryOptions::default()).expect("it opens").0
}

fn put(main: i64, key: u32) -> Changes {
    let kv = KeyValue {
        key: Bytes::from(format!("/registry/pods/{key:08}")),
        value: Bytes::from(vec![b'v'; VALUE_BYTES]),
        create_revision: main,
        mod_revision: main,
        version: 1,
        lease: 0,
    };
    let revision = Revision::first_of(main);
    let history = vec![HistoryEntry { revision, kind: EntryKind::Put, kv: Arc::new(kv) }];
    let index = u64::try_from(main).expect("not negative");
    Changes { index, term: 1, history, ..Changes::default() }
}

/// Puts random keys, flushing as the flusher would.
fn fill(history: &History, mains: RangeInclusive<i64>, random: &mut ChaCha8Rng) {
    for main in mains {
        history.append(put(main, random.random_range(0..KEYS)));
        if main % PUTS_PER_FLUSH == 0 {
            history.flush().expect("it flushes");
        }
    }
    history.flush().expect("it flushes");
}

fn fold(history: &History) {
    while history.fold_step(256).expect("it folds") != FoldProgress::Idle {}
}

fn put_path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("storage/put_5000_and_flush");
    group.throughput(Throughput::Elements(PUTS_PER_FLUSH.unsigned_abs()));
    for (name, engine) in ENGINES {
        let engine = engine();
        let history = open(&engine);
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut next = 2;
        group.bench_function(name, |bencher| {
            let batch = |next: &mut i64, random: &mut ChaCha8Rng| {
                let from = *next;
                *next += PUTS_PER_FLUSH;
                (from..*next).map(|main| put(main, random.random_range(0..KEYS))).collect()
            };
            let apply = |batch: Vec<Changes>| {
                for changes in batch {
                    history.append(changes);
                }
                history.flush().expect("it flushes");
            };
            bencher.iter_batched(|| batch(&mut next, &mut random), apply, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    for (name, engine) in ENGINES {
        let engine = engine();
        let history = open(&engine);
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let keys: Vec<u32> = (0..200_000).map(|_| random.random_range(0..KEYS)).collect();
        for (main, key) in (2..).zip(&keys) {
            history.append(put(main, *key));
            if main % PUTS_PER_FLUSH == 0 {
                history.flush().expect("it flushes");
            }
        }
        history.flush().expect("it flushes");
        let mut group = criterion.benchmark_group("storage/read");
        let get = |position: usize| {
            let main = i64::try_from(position).expect("small") + 2;
            let key = format!("/registry/pods/{:08}", keys[position]);
            history.get(Revision::first_of(main), key.as_bytes()).expect("it reads")
        };
        group.throughput(Throughput::Elements(100));
        group.bench_function(BenchmarkId::new("historical_range_of_100", name), |bencher| {
            bencher.iter(|| {
                for _ in 0..100 {
                    black_box(get(random.random_range(0..keys.len()))).expect("it is there");
                }
            });
        });
        group.throughput(Throughput::Elements(100_000));
        group.bench_function(BenchmarkId::new("watch_catch_up_100k", name), |bencher| {
            bencher.iter(|| {
                let mut next = 2;
                while next < 100_002 {
                    let scan = history.scan(next, 100_001, 1 << 20).expect("it reads");
                    next = black_box(scan).next_main;
                }
            });
        });
        group.finish();
    }
}

fn compaction(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("storage/compact_100k_revisions");
    group.throughput(Throughput::Elements(100_000)).sample_size(10);
    for (name, engine) in ENGINES {
        group.bench_function(name, |bencher| {
            let setup = || {
                let engine = engine();
                let history = open(&engine);
                fill(&history, 2..=110_000, &mut ChaCha8Rng::seed_from_u64(3));
                let meta = vec![MetaChange::CompactRevision(100_000)];
                history.append(Changes { index: 110_001, term: 1, meta, ..Changes::default() });
                history.flush().expect("it flushes");
                (engine, history)
            };
            // Of ten changes, nine are dead.
            let keep = |revision: &Revision, _: &[u8]| revision.main % 10 == 0;
            let compact = |(engine, history): (Engine, Arc<History>)| {
                loop {
                    match history.compact_step(100_000, &keep, 64).expect("it compacts") {
                        CompactProgress::Busy { .. } => {}
                        CompactProgress::Finished { .. } => break,
                        other => panic!("{other:?}"),
                    }
                }
                (engine, history)
            };
            bencher.iter_batched(setup, compact, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn folding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("storage/fold_100k_keys");
    group.throughput(Throughput::Elements(100_000)).sample_size(10);
    for (name, engine) in ENGINES {
        group.bench_function(name, |bencher| {
            let setup = || {
                let engine = engine();
                let history = open(&engine);
                fill(&history, 2..=100_001, &mut ChaCha8Rng::seed_from_u64(4));
                (engine, history)
            };
            let run = |(engine, history): (Engine, Arc<History>)| {
                fold(&history);
                (engine, history)
            };
            bencher.iter_batched(setup, run, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn defragmentation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("storage/defragment_100k_keys");
    group.throughput(Throughput::Elements(100_000)).sample_size(10);
    for (name, engine) in ENGINES {
        group.bench_function(name, |bencher| {
            let setup = || {
                let from = engine();
                let history = open(&from);
                fill(&history, 2..=100_001, &mut ChaCha8Rng::seed_from_u64(5));
                fold(&history);
                (from, engine(), history)
            };
            let copy = |(from, to, history): (Engine, Engine, Arc<History>)| {
                history.begin_defragment(Arc::clone(&to.backend)).expect("it begins");
                loop {
                    match history.defragment_step(256 << 10, || Ok(())).expect("it copies") {
                        DefragmentProgress::Busy => {}
                        DefragmentProgress::Done => break,
                        other => panic!("{other:?}"),
                    }
                }
                (from, to, history)
            };
            bencher.iter_batched(setup, copy, BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// A million keys, each written once, and folded.
fn folded_million() -> Engine {
    let engine = sled();
    let history = open(&engine);
    for main in 2..=i64::from(KEYS) + 1 {
        history.append(put(main, u32::try_from(main).expect("small")));
        if main % PUTS_PER_FLUSH == 0 {
            history.flush().expect("it flushes");
        }
    }
    history.flush().expect("it flushes");
    fold(&history);
    engine
}

fn cold_start(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("storage/cold_start_1m_keys");
    group.throughput(Throughput::Elements(1_000_000)).sample_size(10);
    group.warm_up_time(Duration::from_millis(1));
    // Made only if one of the two runs.
    let engine = LazyCell::new(folded_million);
    // Sled gives its lock back a little after the last handle is gone, so it stays open: this is
    // what we add to its own start.
    for (name, start_from) in
        [("sled, history", StartFrom::History), ("sled, images", StartFrom::Images)]
    {
        group.bench_function(name, |bencher| {
            let engine = &*engine;
            bencher.iter(|| {
                let options = HistoryOptions { start_from, ..HistoryOptions::default() };
                let (_, recovered) =
                    History::open(Arc::clone(&engine.backend), options).expect("it opens");
                let mut seen = 0_u32;
                let mut visit = |replayed| {
                    black_box(replayed);
                    seen += 1;
                };
                recovered.replay(&mut visit).expect("it reads");
                assert_eq!(seen, KEYS);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, put_path, reads, compaction, folding, defragmentation, cold_start);
criterion_main!(benches);
