//! The log on disk against the log in memory, through random batches, crashes and damage.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rusd_proto::raftpb::EntryType;
use rusd_raft::log::{LogStore, MemoryLog, ReadOnlyLog, Wal, WalOptions};
use rusd_raft::{Entry, Fatal, HardState, Index, Metadata};

const METADATA: Metadata = Metadata { node_id: 0xa1, cluster_id: 0xc1 };

/// Small enough for several segments, and for reads that miss the cache.
const OPTIONS: WalOptions =
    WalOptions { segment_bytes: 16 * 1024, cache_bytes: 2 * 1024, segments_kept: 5 };

/// What goes to the log in one write.
#[derive(Clone, Debug)]
struct Batch {
    /// Replaces so many of the last entries, as a new leader does.
    replaced: u64,
    sizes: Vec<usize>,
    has_state: bool,
    is_synced: bool,
}

fn batch() -> impl Strategy<Value = Batch> {
    let size = prop_oneof![4 => 0..200_usize, 1 => 200..3000_usize];
    (0..4_u64, prop::collection::vec(size, 0..6), any::<bool>(), any::<bool>()).prop_map(
        |(replaced, sizes, has_state, is_synced)| Batch {
            replaced: replaced.saturating_sub(1),
            sizes,
            has_state,
            is_synced,
        },
    )
}

/// The batch as entries and state that a raft node could write after `log`.
fn content(log: &MemoryLog, batch: &Batch) -> (Vec<Entry>, Option<HardState>) {
    let last = log.last_index();
    let before = log.hard_state();
    let first = (last.0 + 1 - batch.replaced.min(last.0)).max(before.commit + 1);
    let last_term = log.term(last).unwrap().0;
    let term = before.term.max(last_term).max(1) + u64::from(first <= last.0);
    let entries: Vec<_> =
        (first..).zip(&batch.sizes).map(|(i, size)| entry(i, term, *size)).collect();
    let end = entries.last().map_or(last.0, Entry::index);
    let commit = before.commit.max(end.saturating_sub(3));
    let state = HardState { term, vote: term % 3, commit };
    (entries, batch.has_state.then_some(state))
}

/// Data without zeros, so that no damaged sector looks like one that was never written.
fn entry(index: u64, term: u64, size: usize) -> Entry {
    let byte = |i: usize| u8::try_from((i + usize::try_from(index).unwrap()) % 251 + 1).unwrap();
    let data: Vec<_> = (0..size).map(byte).collect();
    Entry {
        index: Some(index),
        term: Some(term),
        r#type: Some(EntryType::EntryNormal.into()),
        data: (size > 0).then(|| data.into()),
    }
}

/// A log on disk and its model, after the batches.
fn written(dir: &Path, batches: &[Batch]) -> (Wal, MemoryLog) {
    let mut wal = Wal::create(dir, METADATA, OPTIONS).unwrap();
    let mut model = MemoryLog::new(METADATA);
    for batch in batches {
        let (entries, state) = content(&model, batch);
        model.append(&entries, state).unwrap();
        wal.append(&entries, state).unwrap();
        if batch.is_synced {
            wal.sync().unwrap();
        }
    }
    (wal, model)
}

fn all(log: &impl LogStore) -> (HardState, Vec<Entry>) {
    let end = log.last_index().next();
    let entries =
        if end == Index(1) { vec![] } else { log.entries(Index(1), end, u64::MAX).unwrap() };
    (log.hard_state(), entries)
}

/// Every file of a folder with its content.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Each case syncs a few times, so the everyday run is short; `PROPTEST_CASES` makes it longer.
fn config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    if is_set { default } else { ProptestConfig { cases: 64, ..default } }
}

proptest! {
    #![proptest_config(config())]

    /// What was appended can be read, at once and after the log was opened again, in any window.
    #[test]
    fn wal_holds_what_the_model_holds(
        batches in prop::collection::vec(batch(), 1..40),
        windows in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..5000_u64), 8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("wal");
        let (wal, model) = written(&dir, &batches);
        prop_assert_eq!(all(&wal), all(&model));
        drop(wal);
        let wal = Wal::open(&dir, METADATA, OPTIONS).unwrap();
        prop_assert_eq!(all(&wal), all(&model));
        let length = usize::try_from(model.last_index().0).unwrap();
        for (low, end, bytes_max) in windows.iter().filter(|_| length > 0) {
            let low = Index(1 + u64::try_from(low.index(length)).unwrap());
            let left = usize::try_from(model.last_index().0 - low.0).unwrap();
            let end = Index(low.0 + 1 + u64::try_from(end.index(left + 1)).unwrap());
            prop_assert_eq!(
                wal.entries(low, end, *bytes_max).unwrap(),
                model.entries(low, end, *bytes_max).unwrap()
            );
            prop_assert_eq!(wal.term(low), model.term(low));
        }
        prop_assert_eq!(ReadOnlyLog::open(&dir).unwrap().torn_bytes(), 0);
    }

    /// A crash in the middle of the last write leaves what was synced and some records of that
    /// write, whole and from its start; and the log goes on from there.
    #[test]
    fn torn_tail_is_cut_at_a_whole_record(
        batches in prop::collection::vec(batch(), 1..20),
        last in batch(),
        cut in 0..8000_u64,
        is_truncated in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("wal");
        let (mut wal, model) = written(&dir, &batches);
        wal.sync().unwrap();
        let (entries, state) = content(&model, &last);
        wal.append(&entries, state).unwrap();
        let synced = wal.synced();
        drop(wal);

        tear(&synced.segment, synced.offset, cut, is_truncated);
        let mut possible = vec![all(&model)];
        for count in 1..=entries.len() {
            let mut partial = model.clone();
            partial.append(&entries[..count], None).unwrap();
            possible.push(all(&partial));
        }
        let mut whole = model.clone();
        whole.append(&entries, state).unwrap();
        possible.push(all(&whole));

        let mut wal = Wal::open(&dir, METADATA, OPTIONS).unwrap();
        prop_assert!(possible.contains(&all(&wal)), "{:?} is none of {possible:?}", all(&wal));
        let (index, term) = (wal.last_index().0 + 1, wal.hard_state().term.max(100));
        wal.append(&[entry(index, term, 700)], None).unwrap();
        let expected = all(&wal);
        drop(wal);
        prop_assert_eq!(all(&Wal::open(&dir, METADATA, OPTIONS).unwrap()), expected);
    }

    /// A loss of power keeps any sectors of what was not synced, each as one of the writes left it;
    /// the log is still there up to what was synced, with some whole records more.
    #[test]
    fn any_sectors_of_what_was_not_synced_may_be_lost(
        batches in prop::collection::vec(batch(), 1..12),
        unsynced in prop::collection::vec(batch(), 1..4),
        kept in prop::collection::vec(0..5_usize, 64),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("wal");
        let (mut wal, mut model) = written(&dir, &batches);
        wal.sync().unwrap();
        let synced = wal.synced();
        let mut states = vec![fs::read(&synced.segment).unwrap()];
        let mut possible = vec![all(&model)];
        for batch in &unsynced {
            let (entries, state) = content(&model, batch);
            wal.append(&entries, state).unwrap();
            if wal.synced().segment != synced.segment {
                // It was full, and was synced before the next began.
                return Ok(());
            }
            for count in 1..=entries.len() {
                let mut partial = model.clone();
                partial.append(&entries[..count], None).unwrap();
                possible.push(all(&partial));
            }
            model.append(&entries, state).unwrap();
            possible.push(all(&model));
            states.push(fs::read(&synced.segment).unwrap());
        }
        drop(wal);
        // The marker after what was synced is not synced itself; what is before it is.
        let length = states.iter().map(Vec::len).max().unwrap();
        let mut torn = vec![0; length];
        for (number, sector) in torn.chunks_mut(512).enumerate() {
            let state = &states[kept[number % kept.len()] % states.len()];
            let from = (number * 512).min(state.len());
            let held = &state[from..(from + sector.len()).min(state.len())];
            sector[..held.len()].copy_from_slice(held);
        }
        fs::write(&synced.segment, torn).unwrap();
        let wal = Wal::open(&dir, METADATA, OPTIONS).unwrap();
        prop_assert!(possible.contains(&all(&wal)), "{:?} is none of {possible:?}", all(&wal));
        let expected = all(&wal);
        drop(wal);
        prop_assert_eq!(all(&Wal::open(&dir, METADATA, OPTIONS).unwrap()), expected);
    }

    /// One wrong bit anywhere in the records is found, and nothing is changed on disk.
    #[test]
    fn flipped_bit_is_refused(
        batches in prop::collection::vec(batch(), 1..20),
        file in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("wal");
        let (mut wal, _) = written(&dir, &batches);
        wal.sync().unwrap();
        drop(wal);
        let (path, mut content) = file.get(&files(&dir)).clone();
        let records = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        content[byte.index(records)] ^= 1_u8 << bit;
        fs::write(&path, &content).unwrap();

        let before = files(&dir);
        let refused = Wal::open(&dir, METADATA, OPTIONS);
        prop_assert!(refused.is_err(), "byte {} of {}", byte.index(records), path.display());
        let is_named = matches!(
            refused.unwrap_err(),
            Fatal::Corrupt { path: found, .. } if files(&dir).iter().any(|(file, _)| *file == found)
        );
        prop_assert!(is_named);
        prop_assert_eq!(files(&dir), before);
    }
}

/// Leaves of the segment what a crash may leave: it ends at any byte, or sectors from some on were
/// never written.
fn tear(segment: &Path, synced: u64, cut: u64, is_truncated: bool) {
    let mut content = fs::read(segment).unwrap();
    let length = content.len();
    let at = usize::try_from(synced + cut).unwrap().min(length);
    if is_truncated {
        content.truncate(at);
    } else {
        let sector = at.next_multiple_of(512).min(length);
        content[sector..].fill(0);
    }
    fs::write(segment, content).unwrap();
}
