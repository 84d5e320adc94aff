//! Journals that a loss of power, or a damage, leaves behind.

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::storage::fjall::{FjallBackend, FjallOptions};
use crate::storage::{Backend, Batch, Tree};

/// Sectors are lost or kept whole.
const SECTOR_BYTES: usize = 512;

fn open(folder: &Path) -> Result<FjallBackend, StorageError> {
    FjallBackend::open(folder, FjallOptions::default())
}

/// A batch says its number in two trees, and has a long value.
fn batch(number: u32, value_bytes: usize) -> Batch {
    let mut batch = Batch::default();
    batch.put_sealed(Tree::Kv, b"number", number.to_be_bytes().to_vec());
    batch.put_sealed(Tree::KvRev, &number.to_be_bytes(), vec![7; value_bytes]);
    batch.put_sealed(Tree::Meta, b"number", number.to_be_bytes().to_vec());
    batch
}

fn number(backend: &FjallBackend, tree: Tree) -> u32 {
    let value = backend.get(tree, b"number").unwrap();
    value.map_or(0, |value: Bytes| u32::from_be_bytes(value[..].try_into().unwrap()))
}

/// The last batch that is there, which all trees agree on, with all before it.
fn last_batch(backend: &FjallBackend) -> u32 {
    let last = number(backend, Tree::Kv);
    assert_eq!(last, number(backend, Tree::Meta));
    for before in 1..=last {
        let value = backend.get(Tree::KvRev, &before.to_be_bytes()).unwrap();
        assert!(
            value.is_some_and(|value| value.iter().all(|byte| *byte == 7)),
            "{before} of {last}"
        );
    }
    assert!(backend.get(Tree::KvRev, &(last + 1).to_be_bytes()).unwrap().is_none());
    last
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.unwrap(), to.to_path_buf());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A database with batches that are synced and batches that are not, as its files stand before a loss of
/// power, and how many bytes of its journal are synced.
struct Written {
    folder: tempfile::TempDir,
    synced_bytes: usize,
}

const SYNCED: u32 = 5;
const WRITTEN: u32 = 12;

impl Written {
    fn new(rng: &mut ChaCha8Rng) -> Written {
        let folder = tempfile::tempdir().unwrap();
        let backend = open(&folder.path().join("live")).unwrap();
        let mut synced_bytes = 0;
        for number in 1..=WRITTEN {
            backend.commit(&batch(number, rng.random_range(1..3_000))).unwrap();
            if number == SYNCED {
                backend.sync().unwrap();
                synced_bytes = used(&fs::read(folder.path().join("live/0.jnl")).unwrap());
            }
        }
        backend.hand_to_system();
        copy(&folder.path().join("live"), &folder.path().join("image"));
        Written { folder, synced_bytes }
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn journal(&self) -> PathBuf {
        self.image().join("0.jnl")
    }
}

/// Up to the last byte that is not zero.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn what_lost_sectors_that_were_not_synced_opens_with_all_that_was() {
    let mut cuts = 0;
    for seed in 0..16 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let written = Written::new(&mut rng);
        let mut bytes = fs::read(written.journal()).unwrap();
        let used = used(&bytes);
        // A sector that is synced in part was written whole before: its end is what may be lost.
        let mut sector = written.synced_bytes;
        while sector < used {
            let end = (sector / SECTOR_BYTES + 1) * SECTOR_BYTES;
            if rng.random_ratio(1, 6) {
                bytes[sector..end].fill(0);
            }
            sector = end;
        }
        fs::write(written.journal(), &bytes).unwrap();

        let backend = open(&written.image()).unwrap();
        let last = last_batch(&backend);
        assert!((SYNCED..=WRITTEN).contains(&last), "{last}, seed {seed}");
        cuts += u32::from(last < WRITTEN);
        // It can be written to, and opened again.
        backend.commit(&batch(last + 1, 1_000)).unwrap();
        drop(backend);
        assert_eq!(last_batch(&open(&written.image()).unwrap()), last + 1, "seed {seed}");
        assert!(!written.journal().with_extension(KEPT).exists());
    }
    assert!(cuts > 8, "{cuts}");
}

#[test]
fn a_journal_that_makes_sense_to_its_end_is_left_alone() {
    let written = Written::new(&mut ChaCha8Rng::seed_from_u64(1));
    let before = fs::read(written.journal()).unwrap();
    assert!(prepare(&written.image()).unwrap().is_none());
    assert_eq!(fs::read(written.journal()).unwrap(), before);
    assert_eq!(last_batch(&open(&written.image()).unwrap()), WRITTEN);
}

/// fjall's hash is of the parts of a batch: a sequence number has no protection of its own, see
/// `numbers`.
#[test]
fn each_flipped_byte_ends_what_is_whole_but_in_a_sequence_number() {
    let written = Written::new(&mut ChaCha8Rng::seed_from_u64(2));
    let bytes = fs::read(written.journal()).unwrap();
    let bytes = &bytes[..used(&bytes)];
    let begins = |bytes: &[u8]| {
        let mut reader = BatchReader::new(bytes);
        let mut begins = vec![0];
        while reader.batch().is_ok() {
            begins.push(usize::try_from(reader.position()).unwrap());
        }
        begins
    };
    let all = begins(bytes);
    assert_eq!(*all.last().unwrap(), bytes.len());
    for at in (0..bytes.len()).step_by(3) {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 0x10;
        let batch = all.partition_point(|begin| *begin <= at) - 1;
        let is_sequence = (5..13).contains(&(at - all[batch]));
        let expected = if is_sequence { &all[..] } else { &all[..=batch] };
        assert_eq!(begins(&flipped), expected, "byte {at}");
    }
}

#[test]
fn damage_of_what_a_table_has_is_refused_and_stays() {
    let written = Written::new(&mut ChaCha8Rng::seed_from_u64(3));
    let backend = open(&written.image()).unwrap();
    backend.tree(Tree::Kv).rotate_memtable_and_wait().unwrap();
    drop(backend);
    let mut bytes = fs::read(written.journal()).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(written.journal(), &bytes).unwrap();
    for _ in 0..2 {
        let error = open(&written.image()).unwrap_err().to_string();
        assert!(error.contains("0.jnl: damaged at byte "), "{error}");
        assert_eq!(fs::read(written.journal()).unwrap(), bytes);
        assert!(!written.journal().with_extension(KEPT).exists());
    }
}

/// A journal whose last batch is damaged.
fn damaged_at_its_end(seed: u64) -> (Written, Vec<u8>) {
    let written = Written::new(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut bytes = fs::read(written.journal()).unwrap();
    let last = used(&bytes) - 1;
    bytes[last] ^= 1;
    fs::write(written.journal(), &bytes).unwrap();
    (written, bytes)
}

#[test]
fn a_cut_that_was_not_confirmed_is_made_again() {
    let (written, bytes) = damaged_at_its_end(4);
    let first = prepare(&written.image()).unwrap().unwrap();
    assert_eq!(fs::metadata(written.journal()).unwrap().len(), first.at);
    let before = (first.at, first.sequence);
    // The process is killed.
    std::mem::forget(first);
    let second = prepare(&written.image()).unwrap().unwrap();
    assert_eq!(before, (second.at, second.sequence));
    drop(second);
    assert_eq!(fs::read(written.journal()).unwrap(), bytes);
    assert_eq!(last_batch(&open(&written.image()).unwrap()), WRITTEN - 1);
}

/// The end was thrown away before anybody knew whether the log has what was in it.
#[test]
fn what_was_cut_is_kept_until_the_first_write() {
    type Write = fn(&FjallBackend) -> Result<(), StorageError>;
    let writes: [Write; 4] = [
        |backend| backend.commit(&Batch::default()),
        |backend| backend.put_row(Tree::Index, b"a", b"").map(drop),
        |backend| backend.remove_row(Tree::Index, b"a").map(drop),
        |backend| backend.clear(Tree::Index),
    ];
    for (write, seed) in writes.into_iter().zip(5..) {
        let (written, bytes) = damaged_at_its_end(seed);
        for _ in 0..2 {
            let backend = open(&written.image()).unwrap();
            assert_eq!(last_batch(&backend), WRITTEN - 1);
            let damage = backend.left_out().unwrap().to_string();
            assert!(damage.contains("0.jnl: damaged at byte "), "{damage}");
            drop(backend);
            assert_eq!(fs::read(written.journal()).unwrap(), bytes);
        }
        let backend = open(&written.image()).unwrap();
        write(&backend).unwrap();
        assert!(backend.left_out().is_none());
        drop(backend);
        let backend = open(&written.image()).unwrap();
        assert!(backend.left_out().is_none());
        assert_eq!(last_batch(&backend), WRITTEN - 1);
    }
}

/// The trees that a batch writes to.
const TREES: [Tree; 3] = [Tree::Kv, Tree::KvRev, Tree::Meta];

/// A folder whose journals are 0 and 1. 0 has batches up to `SYNCED`, and 1 those up to `WRITTEN`. Of the
/// trees and batches given, a table is made when they are written. If the first journal is to be gone, all
/// that it had is in tables.
fn two_journals(folder: &Path, is_first_gone: bool, tables: &[(Tree, u32)]) {
    let [first, second] = ["0.jnl", "1.jnl"].map(|name| folder.join(name));
    let mut backend = open(folder).unwrap();
    for number in 1..=WRITTEN {
        backend.commit(&batch(number, 200)).unwrap();
        for (tree, _) in tables.iter().filter(|(_, at)| *at == number) {
            backend.tree(*tree).rotate_memtable_and_wait().unwrap();
        }
        if number == SYNCED && is_first_gone {
            for tree in TREES {
                backend.tree(tree).rotate_memtable_and_wait().unwrap();
            }
            drop(backend);
            fs::remove_file(&first).unwrap();
            File::create(&second).unwrap();
            backend = open(folder).unwrap();
        }
    }
    drop(backend);
    if !is_first_gone {
        let bytes = fs::read(&first).unwrap();
        let begins = begins(&bytes);
        let first_bytes = begins[begins.len() - 1 - usize::try_from(WRITTEN - SYNCED).unwrap()];
        fs::write(&first, &bytes[..first_bytes]).unwrap();
        fs::write(&second, &bytes[first_bytes..used(&bytes)]).unwrap();
    }
}

/// What is in a copy of a folder.
fn last_batch_of_copy(image: &Path) -> u32 {
    let opened = tempfile::tempdir().unwrap();
    copy(image, &opened.path().join("opened"));
    last_batch(&open(&opened.path().join("opened")).unwrap())
}

/// Where the batches of a journal begin, and its end.
fn begins(bytes: &[u8]) -> Vec<usize> {
    let mut reader = BatchReader::new(bytes);
    let mut begins = vec![0];
    while reader.batch().is_ok() {
        begins.push(usize::try_from(reader.position()).unwrap());
    }
    begins
}

/// A flipped bit of a number made fjall pass over the batch's rows in a tree that has a table. Gives how
/// many flips are refused and how many do no harm.
fn flip_each_bit_of_the_numbers(image: &Path, journal: &str) -> (u32, u32) {
    let (mut refused, mut harmless) = (0, 0);
    let journal_path = image.join(journal);
    let bytes = fs::read(&journal_path).unwrap();
    let begins = begins(&bytes);
    for (position, begin) in begins[..begins.len() - 1].iter().enumerate() {
        for (byte, bit) in
            (begin + 5..begin + 13).flat_map(|byte| (0..8).map(move |bit| (byte, bit)))
        {
            let mut flipped = bytes.clone();
            flipped[byte] ^= 1 << bit;
            fs::write(&journal_path, &flipped).unwrap();
            match prepare(image) {
                Ok(cut) => {
                    assert!(cut.is_none());
                    let opened = tempfile::tempdir().unwrap();
                    let opened = opened.path().join("opened");
                    copy(image, &opened);
                    let backend = open(&opened).unwrap();
                    assert_eq!(
                        last_batch(&backend),
                        WRITTEN,
                        "batch {position}, bit {bit} of {byte}"
                    );
                    backend.commit(&batch(WRITTEN + 1, 100)).unwrap();
                    drop(backend);
                    assert_eq!(last_batch(&open(&opened).unwrap()), WRITTEN + 1);
                    harmless += 1;
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("jnl: damaged at byte "), "{error}");
                    refused += 1;
                }
            }
        }
    }
    fs::write(&journal_path, &bytes).unwrap();
    (refused, harmless)
}

#[test]
fn a_flipped_bit_of_a_number_is_refused_or_does_no_harm() {
    type Case<'a> = (bool, &'a [(Tree, u32)], &'a [&'a str]);
    let cases: [Case<'_>; 5] = [
        (false, &[], &["0.jnl", "1.jnl"]),
        (false, &[(Tree::KvRev, 3), (Tree::KvRev, 9)], &["0.jnl", "1.jnl"]),
        (true, &[], &["1.jnl"]),
        (true, &[(Tree::KvRev, 8)], &["1.jnl"]),
        (true, &TREES.map(|tree| (tree, WRITTEN)), &["1.jnl"]),
    ];
    for (is_first_gone, tables, journals) in cases {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        two_journals(&image, is_first_gone, tables);
        assert_eq!(last_batch_of_copy(&image), WRITTEN);
        for journal in journals {
            let (refused, harmless) = flip_each_bit_of_the_numbers(&image, journal);
            let flips = begins(&fs::read(image.join(journal)).unwrap()).len() - 1;
            assert_eq!(refused + harmless, u32::try_from(flips).unwrap() * u64::BITS);
        }
    }
}

/// fjall drops what follows a damage in a journal that is not the newest.
#[test]
fn a_damage_in_an_older_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    two_journals(&image, false, &[]);
    let bytes = fs::read(image.join("0.jnl")).unwrap();
    let begins = begins(&bytes);
    for at in 0..begins[begins.len() - 1] {
        let batch = begins.partition_point(|begin| *begin <= at) - 1;
        if (5..13).contains(&(at - begins[batch])) {
            continue;
        }
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        fs::write(image.join("0.jnl"), &flipped).unwrap();
        let error = open(&image).unwrap_err().to_string();
        let place = format!("0.jnl: damaged at byte {}: ", begins[batch]);
        assert!(error.contains(&place), "{error}");
    }
    fs::write(image.join("0.jnl"), &bytes).unwrap();
    assert_eq!(last_batch(&open(&image).unwrap()), WRITTEN);
}

/// A clear takes its tree's numbers away, and has one itself that no row has: what is written after the next
/// opening may have numbers that the journal has already.
#[test]
fn numbers_that_a_clear_took_away_are_given_again() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let backend = open(folder.path()).unwrap();
        backend.commit(&batch(round + 1, 10)).unwrap();
        for number in 0..20_u32 {
            backend.put_row(Tree::Index, &number.to_be_bytes(), b"").unwrap();
        }
        backend.clear(Tree::Index).unwrap();
        backend.clear(Tree::Lease).unwrap();
        drop(backend);
        assert_eq!(last_batch(&open(folder.path()).unwrap()), round + 1);
    }
    let mut reader = BatchReader::new(File::open(folder.path().join("0.jnl")).unwrap());
    let numbers: Vec<u64> = std::iter::from_fn(|| Some(reader.batch().ok()?.sequence)).collect();
    assert!(!numbers.is_sorted(), "{numbers:?}");
}

/// So much is written that fjall begins new journals and removes old ones, which it does when its threads
/// come to it; it is opened again and again meanwhile.
#[test]
fn journals_that_came_and_went_are_not_refused() {
    const ROUNDS_MIN: u32 = 5;
    const ROUNDS_MAX: u32 = 50;
    const BATCHES: u32 = 40;
    let folder = tempfile::tempdir().unwrap();
    let has_first = || folder.path().join("0.jnl").exists();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut rounds = 0;
    while rounds < ROUNDS_MIN || has_first() {
        assert!(rounds < ROUNDS_MAX, "no journal is ever removed");
        let backend = open(folder.path()).unwrap();
        for number in rounds * BATCHES + 1..=(rounds + 1) * BATCHES {
            backend.commit(&batch(number, rng.random_range(1..1_500_000))).unwrap();
            for row in 0..20_u32 {
                backend.put_row(Tree::Index, &(number * 20 + row).to_be_bytes(), &[3; 99]).unwrap();
            }
            if number % 90 == 0 {
                backend.clear(Tree::Index).unwrap();
            }
        }
        rounds += 1;
    }
    assert_eq!(last_batch(&open(folder.path()).unwrap()), rounds * BATCHES);
}
