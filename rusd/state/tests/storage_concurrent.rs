//! Readers beside the applier and the flusher: what was appended is seen, whole, wherever it is at
//! the moment: in the active buffer, in the one that is being flushed, or in the engine.

#![expect(clippy::unwrap_used, reason = "a test fails where it fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusd_proto::mvccpb::KeyValue;
use rusd_state::mvcc::revision::Revision;
use rusd_state::storage::change::{Changes, EntryKind, HistoryEntry};
use rusd_state::storage::{
    Backend, DefragmentProgress, EngineKind, History, HistoryOptions, MemoryBackend, verify,
};

const LAST: i64 = 6000;
const READERS: u64 = 3;
/// How often the flusher moves at least, however fast the applier is.
const MOVES_MIN: u32 = 2;

fn key(main: i64) -> String {
    format!("key {}", main % 97)
}

fn changes(main: i64) -> Changes {
    let kv = KeyValue {
        key: Bytes::from(key(main)),
        value: Bytes::from(main.to_string()),
        create_revision: if main < 99 { main } else { 2 + (main - 2) % 97 },
        mod_revision: main,
        version: 1 + (main - 2) / 97,
        lease: 0,
    };
    let revision = Revision::first_of(main);
    let history = vec![HistoryEntry { revision, kind: EntryKind::Put, kv: Arc::new(kv) }];
    Changes { index: main.unsigned_abs(), term: 1, history, ..Changes::default() }
}

/// Tells the readers that it is over when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn read_at_random(history: &History, seed: u64, is_over: &AtomicBool) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut is_last_round = false;
    while !is_last_round {
        is_last_round = is_over.load(Ordering::Acquire);
        let appended = history.appended().revision;
        if appended < 2 {
            continue;
        }
        let main = random.random_range(2..=appended);
        let entry = history.get(Revision::first_of(main), key(main).as_bytes()).unwrap();
        assert_eq!(entry.unwrap().kv.value, main.to_string());
        let (mut next, end) = (main, (main + 300).min(appended));
        while next <= end {
            let scan = history.scan(next, end, 2000).unwrap();
            for entry in &scan.entries {
                assert_eq!(entry.revision.main, next, "no revision is skipped");
                next += 1;
            }
            assert_eq!(scan.next_main, next);
        }
    }
}

/// The flusher moves over to a new engine as often as it can.
fn run(mut make: impl FnMut() -> Arc<dyn Backend> + Send) {
    let options =
        HistoryOptions { block_bytes: 1000, batch_bytes_max: 3000, ..HistoryOptions::default() };
    let (history, _) = History::open(make(), options).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (history, is_over) = (&*history, &is_over);
        for seed in 0..READERS {
            scope.spawn(move || read_at_random(history, seed, is_over));
        }
        scope.spawn(move || {
            // Also when this panics: the readers must not go on for ever.
            let _over = Over(is_over);
            let mut moves = 0;
            while history.flush().unwrap().durable.revision < LAST || moves < MOVES_MIN {
                history.fold_step(16).unwrap();
                match history.defragment_step(4000, || Ok(())).unwrap() {
                    DefragmentProgress::Idle => history.begin_defragment(make()).unwrap(),
                    DefragmentProgress::Busy => {}
                    DefragmentProgress::Done => moves += 1,
                    DefragmentProgress::Failed(error) => panic!("{error}"),
                }
            }
        });
        for main in 2..=LAST {
            history.append(changes(main));
            if main % 64 == 0 {
                thread::yield_now();
            }
        }
    });
    assert_eq!(history.pending_bytes(), 0, "what was flushed is not counted any more");
    let report = verify(&history.backend()).unwrap();
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!(report.revision, LAST);
}

#[test]
fn readers_see_everything_over_memory() {
    run(|| Arc::new(MemoryBackend::new()));
}

#[test]
fn readers_see_everything_over_engines_on_disk() {
    for make in EngineKind::ON_DISK {
        let folder = tempfile::tempdir().unwrap();
        let mut made = 0;
        run(|| {
            made += 1;
            make().open(&folder.path().join(made.to_string())).unwrap()
        });
    }
}
