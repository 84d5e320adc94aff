//! What the state machine costs: applying puts and transactions, and reading, with 1M keys of 256 B
//! (`RUSD_BENCH_KEYS` changes the number). The flusher's work is not counted, apart from `flush`.

use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use prost::Message;
use rusd_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use rusd_proto::etcdserverpb::request_op::Request;
use rusd_proto::etcdserverpb::{
    CompactionRequest, Compare, InternalRaftRequest, PutRequest, RangeRequest, RequestHeader,
    RequestOp, TxnRequest,
};
use rusd_proto::raftpb::Entry;
use rusd_state::apply::ENTRIES_BATCHED_MAX;
use rusd_state::storage::{
    Backend, FoldProgress, HistoryOptions, MemoryBackend, SledBackend, SledOptions,
};
use rusd_state::{Options, Progress, StateMachine, View};

const VALUE_BYTES: usize = 256;

/// Pending history at which the benchmark flushes, as the server's flusher does.
const FLUSH_BYTES: usize = 32 << 20;

/// A machine with keys, and a source of further entries.
struct Bench {
    machine: StateMachine,
    keys: u64,
    random: u64,
    _folder: Option<tempfile::TempDir>,
}

impl Bench {
    fn new(engine: &str, keys: u64, resident_bytes_max: usize) -> Self {
        let (backend, folder): (Arc<dyn Backend>, _) = if engine == "memory" {
            (Arc::new(MemoryBackend::default()), None)
        } else {
            let folder = tempfile::tempdir().expect("a folder for the engine");
            let sled = SledBackend::open(folder.path(), SledOptions::default());
            (Arc::new(sled.expect("a fresh engine opens")), Some(folder))
        };
        let options = Options { resident_bytes_max, ..Options::default() };
        let machine = StateMachine::open(backend, HistoryOptions::default(), options)
            .expect("a fresh engine opens");
        let mut bench = Bench { machine, keys, random: 88_172_645_463_325_252, _folder: folder };
        for first in (0..keys).step_by(ENTRIES_BATCHED_MAX) {
            let last = keys.min(first + 64);
            let requests: Vec<_> = (first..last).map(put).collect();
            bench.apply(requests);
            bench.flush_if_full();
        }
        bench.flush();
        bench
    }

    fn random_key(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % self.keys
    }

    fn entries(&self, requests: Vec<InternalRaftRequest>) -> Vec<Entry> {
        let applied = self.machine.applied().0;
        let entry = |(mut request, index): (InternalRaftRequest, u64)| {
            request.header = Some(RequestHeader { id: index, ..RequestHeader::default() });
            Entry {
                term: Some(1),
                index: Some(index),
                r#type: None,
                data: Some(request.encode_to_vec().into()),
            }
        };
        requests.into_iter().zip(applied + 1..).map(entry).collect()
    }

    fn apply(&mut self, requests: Vec<InternalRaftRequest>) {
        let entries = self.entries(requests);
        self.apply_entries(&entries);
    }

    fn apply_entries(&mut self, entries: &[Entry]) {
        let each = &mut |applied| {
            black_box(applied);
        };
        self.machine.apply_batch(entries, each).expect("the entries are well formed");
    }

    fn flush(&self) {
        self.machine.history().flush().expect("the engine works");
    }

    fn flush_if_full(&self) {
        if self.machine.history().pending_bytes() > FLUSH_BYTES {
            self.flush();
        }
    }

    /// Processor time of applying `count` requests in batches.
    fn time_apply(&mut self, count: u64, make: fn(u64) -> InternalRaftRequest) -> Duration {
        let mut elapsed = Duration::ZERO;
        let mut left = count;
        while left > 0 {
            let run = left.min(REQUESTS_PREPARED);
            let requests = (0..run).map(|_| make(self.random_key())).collect();
            let entries = self.entries(requests);
            let start = processor_time();
            for batch in entries.chunks(ENTRIES_BATCHED_MAX) {
                self.apply_entries(batch);
            }
            elapsed += processor_time().saturating_sub(start);
            self.flush_if_full();
            left -= run;
        }
        elapsed
    }

    /// Processor time of `count` reads of random keys.
    fn time_reads(&mut self, count: u64, read: impl Fn(&View, u64)) -> Duration {
        let keys: Vec<u64> = (0..count).map(|_| self.random_key()).collect();
        let view = self.machine.view();
        let start = processor_time();
        for key in keys {
            read(&view, key);
        }
        processor_time().saturating_sub(start)
    }
}

/// Requests that are made before their time is taken.
const REQUESTS_PREPARED: u64 = 16_384;

/// What this thread has used of a processor, so that whatever else runs on the machine counts less.
/// Where the kernel does not tell, the time that went by.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn processor_time() -> Duration {
    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
    // The kernel brings the number up to date when the thread offers to wait.
    std::thread::yield_now();
    let used = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let used = used.and_then(|text| text.split(' ').next()?.parse().ok());
    used.map_or_else(|| STARTED.elapsed(), Duration::from_nanos)
}

fn key(number: u64) -> Bytes {
    format!("key/{number:012}").into()
}

fn put_request(number: u64) -> PutRequest {
    let value = vec![u8::try_from(number % 251).expect("below 251"); VALUE_BYTES];
    PutRequest { key: key(number), value: value.into(), ..PutRequest::default() }
}

fn put(number: u64) -> InternalRaftRequest {
    InternalRaftRequest { put: Some(put_request(number)), ..InternalRaftRequest::default() }
}

/// The common transaction of Kubernetes: write if nobody else has.
fn txn(number: u64) -> InternalRaftRequest {
    let compare = Compare {
        result: CompareResult::Greater.into(),
        target: CompareTarget::Mod.into(),
        key: key(number),
        target_union: Some(TargetUnion::ModRevision(1)),
        ..Compare::default()
    };
    let put = RequestOp { request: Some(Request::RequestPut(put_request(number))) };
    let get = RequestOp { request: Some(Request::RequestRange(range(number, 0))) };
    let txn = TxnRequest { compare: vec![compare], success: vec![put], failure: vec![get] };
    InternalRaftRequest { txn: Some(txn), ..InternalRaftRequest::default() }
}

/// One key, or about as many as `length` says.
fn range(number: u64, length: u64) -> RangeRequest {
    let range_end = if length == 0 { Bytes::new() } else { key(number + length) };
    RangeRequest { key: key(number), range_end, ..RangeRequest::default() }
}

fn keys() -> u64 {
    let keys = std::env::var("RUSD_BENCH_KEYS");
    keys.map_or(1_000_000, |keys| keys.parse().expect("a number of keys"))
}

/// `RUSD_BENCH_ENGINE` leaves the other engine out.
fn all_on(criterion: &mut Criterion, engine: &str) {
    if std::env::var("RUSD_BENCH_ENGINE").is_ok_and(|only| only != engine) {
        return;
    }
    benches_on(criterion, engine);
    compaction_on(criterion, engine);
    start_on(criterion, engine);
}

fn benches_on(criterion: &mut Criterion, engine: &str) {
    let mut bench = Bench::new(engine, keys(), 1 << 30);
    let mut group = criterion.benchmark_group(format!("mvcc/{engine}"));
    group.sample_size(10).warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));
    group.bench_function("put", |b| b.iter_custom(|count| bench.time_apply(count, put)));
    group.bench_function("txn", |b| b.iter_custom(|count| bench.time_apply(count, txn)));
    let loaded = i64::try_from(bench.keys).expect("fits") + 1;
    let mut reads = |name: &str, read: &dyn Fn(&View, u64)| {
        group.bench_function(name, |b| b.iter_custom(|count| bench.time_reads(count, read)));
    };
    let answer = |view: &View, request: &RangeRequest| {
        black_box(view.range(request).expect("readable"));
    };
    reads("get", &|view, key| answer(view, &range(key, 0)));
    reads("range_100", &|view, key| answer(view, &range(key, 100)));
    reads("range_100_historical", &|view, key| {
        answer(view, &RangeRequest { revision: loaded, ..range(key, 100) });
    });
    reads("count_10000", &|view, key| {
        answer(view, &RangeRequest { count_only: true, ..range(key, 10_000) });
    });
    reads("watch_catch_up_64_kib", &|view, key| {
        let from = i64::try_from(key).expect("fits") + 2;
        black_box(view.events(from, 64 << 10, false).expect("readable"));
    });
    group.finish();
}

/// Removing 100k revisions, of which 90 % are dead, from index and history.
fn compaction_on(criterion: &mut Criterion, engine: &str) {
    let mut group = criterion.benchmark_group(format!("mvcc/{engine}"));
    group.sample_size(10);
    group.bench_function("compact_100k_revisions", |b| {
        b.iter_custom(|count| (0..count).map(|_| time_compaction(engine)).sum());
    });
    group.finish();
}

fn time_compaction(engine: &str) -> Duration {
    let mut bench = Bench::new(engine, 10_000, 1 << 30);
    bench.time_apply(90_000, put);
    let mut compactor = bench.machine.compactor();
    let revision = bench.machine.view().revision();
    let compaction = CompactionRequest { revision, physical: false };
    bench.apply(vec![InternalRaftRequest { compaction: Some(compaction), ..Default::default() }]);
    bench.flush();
    let start = processor_time();
    while compactor.step(64).expect("the engine works") == Progress::More {}
    processor_time().saturating_sub(start)
}

/// Opening a state with all keys folded.
fn start_on(criterion: &mut Criterion, engine: &str) {
    let bench = Bench::new(engine, keys(), 1 << 30);
    let history = bench.machine.history();
    while history.fold_step(10_000).expect("the engine works") != FoldProgress::Idle {}
    let mut group = criterion.benchmark_group(format!("mvcc/{engine}"));
    group.sample_size(10);
    group.bench_function("start", |b| {
        b.iter_custom(|count| {
            let open = |_| {
                let backend = history.backend();
                let start = processor_time();
                let options = Options { resident_bytes_max: 1 << 30, ..Options::default() };
                let machine = StateMachine::open(backend, HistoryOptions::default(), options);
                let elapsed = processor_time().saturating_sub(start);
                black_box(machine.expect("it opens"));
                elapsed
            };
            (0..count).map(open).sum()
        });
    });
    group.finish();
}

fn memory(criterion: &mut Criterion) {
    all_on(criterion, "memory");
}

fn sled(criterion: &mut Criterion) {
    all_on(criterion, "sled");
}

criterion_group!(benches, memory, sled);
criterion_main!(benches);
