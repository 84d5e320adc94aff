//! What is written is read back, whatever it is; and whatever is read, nothing panics or runs on.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use rusd_bbolt::{Database, Layout, PageSize, ReadError, Writer};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
type Buckets = BTreeMap<Vec<u8>, Rows>;

/// Small pages make deep trees.
const SMALL: u32 = 1024;

fn fill<W: std::io::Write>(mut writer: Writer<W>, buckets: &Buckets) -> Layout {
    for (name, rows) in buckets {
        writer.bucket(name).unwrap();
        for (key, value) in rows {
            writer.put(key, value).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn written(buckets: &Buckets, page_bytes: u32) -> Vec<u8> {
    let page_size = PageSize::new(page_bytes).unwrap();
    let layout = fill(Writer::measuring(page_size), buckets);
    let mut file = Vec::new();
    assert_eq!(fill(Writer::new(&mut file, layout).unwrap(), buckets), layout);
    assert_eq!(u64::try_from(file.len()).unwrap(), layout.file_bytes());
    file
}

fn read(file: &[u8]) -> Result<Buckets, ReadError> {
    let database = Database::open(file, u64::try_from(file.len()).unwrap())?;
    let mut buckets = Buckets::new();
    for bucket in database.buckets() {
        let bucket = bucket?;
        let mut rows = Rows::new();
        for entry in bucket.entries() {
            let (key, value) = entry?;
            assert!(rows.insert(key.to_vec(), value.to_vec()).is_none());
        }
        let again = database.bucket(bucket.name())?.unwrap();
        assert_eq!(again.entries().count(), rows.len());
        buckets.insert(bucket.name().to_vec(), rows);
    }
    Ok(buckets)
}

/// Few keys with long values, and many with short ones.
fn rows() -> impl Strategy<Value = Rows> {
    let key = || prop::collection::vec(any::<u8>(), 1..40);
    let long = prop::collection::vec(any::<u8>(), 0..9000);
    let short = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        prop::collection::btree_map(key(), long, 0..8),
        prop::collection::btree_map(key(), short, 0..600),
        prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 1..900),
            Just(vec![]),
            0..60
        ),
    ]
}

fn buckets() -> impl Strategy<Value = Buckets> {
    prop::collection::btree_map(prop::collection::vec(any::<u8>(), 1..20), rows(), 0..8)
}

proptest! {
    #[test]
    fn what_is_written_is_read(buckets in buckets(), shift in 10..17_u32) {
        prop_assert_eq!(read(&written(&buckets, 1 << shift)).unwrap(), buckets);
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(
        buckets in buckets(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = written(&buckets, SMALL);
        for (at, byte) in flips {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        drop(read(&file));
    }
}

fn numbered(count: u32) -> Buckets {
    let rows = (0..count).map(|number| (number.to_be_bytes().to_vec(), vec![7; 30]));
    Buckets::from([(b"key".to_vec(), rows.collect())])
}

#[test]
fn trees_grow_deep_and_come_back() {
    for count in [0, 1, 5, 6, 20, 21, 500, 20_000] {
        let buckets = numbered(count);
        assert_eq!(read(&written(&buckets, SMALL)).unwrap(), buckets, "{count}");
    }
}

/// Each number of each page header and element, set to values that mean harm.
#[test]
fn hostile_numbers_are_refused() {
    let file = written(&numbered(120), SMALL);
    let mut refused = 0;
    for at in (2 * 1024..file.len()).step_by(2) {
        for number in [0_u32, 1, 2, 3, 0x7fff_ffff, u32::MAX] {
            let mut bad = file.clone();
            let end = (at + 4).min(bad.len());
            bad[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            refused += usize::from(read(&bad).is_err());
        }
    }
    assert!(refused > 2000, "{refused}");
}

/// A branch that is its own child, and one that names a child twice.
#[test]
fn a_tree_that_leads_back_ends() {
    let file = written(&numbered(400), SMALL);
    let last = file.chunks(1024).rposition(|page| page[8] == 1);
    let branch = last.unwrap();
    let child = |element: usize| branch * 1024 + 16 + element * 16 + 8;
    let mut own = file.clone();
    let number = u64::try_from(branch).unwrap();
    own[child(0)..][..8].copy_from_slice(&number.to_le_bytes());
    let error = read(&own).unwrap_err().to_string();
    assert_eq!(error, format!("page {branch}: a tree that is too deep"));
    let mut twice = file.clone();
    twice.copy_within(child(0)..child(0) + 8, child(1));
    let error = read(&twice).unwrap_err().to_string();
    assert!(error.ends_with("a key that is out of order"), "{error}");
}

#[test]
fn the_second_meta_page_serves_if_the_first_is_damaged() {
    for page_bytes in [SMALL, 4096, 65536] {
        let buckets = numbered(100);
        let mut file = written(&buckets, page_bytes);
        file[20] ^= 1;
        assert_eq!(read(&file).unwrap(), buckets);
        file[usize::try_from(page_bytes).unwrap() + 20] ^= 1;
        assert_eq!(read(&file).unwrap_err().to_string(), "version mismatch");
    }
}

#[test]
fn a_file_that_is_cut_is_refused() {
    let file = written(&numbered(400), SMALL);
    for len in 0..file.len() {
        read(&file[..len]).unwrap_err();
    }
}
