//! How long it takes to read and to judge a history, apart from each other.
//!
//! The promise is a million operations judged within three seconds on two cores; `checker generate`
//! makes the same history as a file.

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rusd_checker::history::History;
use rusd_checker::history::jsonl::Writer;
use rusd_checker::synthetic::Run;
use rusd_checker::{Options, Verdict, check};

const SIZES: [u64; 2] = [100_000, 1_000_000];

fn text(operations: u64) -> Vec<u8> {
    let mut run = Run::new(1);
    let mut writer = Writer::new(Vec::new(), &run.header()).expect("memory takes everything");
    for record in run.records(operations) {
        writer.write(&record).expect("memory takes everything");
    }
    writer.finish().expect("memory takes everything")
}

fn history(criterion: &mut Criterion) {
    for operations in SIZES {
        let text = text(operations);
        let history = History::read(text.as_slice(), &mut |_| {}).expect("well-formed");
        let mut group = criterion.benchmark_group(format!("history of {operations}"));
        group.sample_size(10).measurement_time(Duration::from_secs(20));
        group.throughput(Throughput::Elements(operations));
        group.bench_function("judge", |bencher| {
            bencher.iter_batched(
                Options::default,
                |options| assert_eq!(check(&history, &options).verdict, Verdict::Valid),
                BatchSize::PerIteration,
            );
        });
        group.bench_function("read", |bencher| {
            bencher.iter_with_large_drop(|| History::read(text.as_slice(), &mut |_| {}));
        });
        group.finish();
    }
}

criterion_group!(benches, history);
criterion_main!(benches);
