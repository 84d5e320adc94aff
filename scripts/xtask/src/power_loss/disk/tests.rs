//! What survives a loss of power, and what need not.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::server::Scratch;

/// Everything that is seen when many images of the disk are looked at.
fn of_images<T: Ord>(disk: &Disk, look: impl Fn(&Path) -> T) -> BTreeSet<T> {
    let mut chance = Random::new(ChaCha8Rng::seed_from_u64(1));
    let images = (0..400).map(|_| {
        let folder = Scratch::new("disk-test").unwrap();
        disk.image(folder.path(), &mut chance).unwrap();
        look(folder.path())
    });
    images.collect()
}

/// What many images show under a path: its bytes, or that it is not there.
fn seen(disk: &Disk, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    of_images(disk, |folder| fs::read(folder.join(path)).ok())
}

/// The names that many images have at their root.
fn names(disk: &Disk) -> BTreeSet<Vec<String>> {
    of_images(disk, |folder| {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    })
}

fn write(disk: &mut Disk, file: Inode, offset: u64, bytes: &[u8]) {
    let begun = disk.write(file, offset, bytes.to_vec()).unwrap();
    disk.end(begun);
}

fn sync(disk: &mut Disk, inode: Inode) {
    let begun = disk.begin_sync(inode);
    disk.end_sync(begun);
}

/// A disk with one file, whose name is synced.
fn with_file() -> (Disk, Inode) {
    let mut disk = Disk::new();
    let file = disk.make(Path::new("a"), false).unwrap();
    sync(&mut disk, Disk::ROOT);
    (disk, file)
}

#[test]
fn what_was_synced_is_there_and_what_was_not_may_be() {
    let (mut disk, file) = with_file();
    write(&mut disk, file, 0, b"old");
    assert_eq!(
        seen(&disk, "a"),
        [b"".to_vec(), vec![0; 3], b"old".to_vec()].map(Some).into(),
        "the length may be there without the bytes"
    );
    sync(&mut disk, file);
    write(&mut disk, file, 0, b"new");
    assert_eq!(seen(&disk, "a"), [b"old".to_vec(), b"new".to_vec()].map(Some).into());
}

#[test]
fn sectors_are_kept_each_by_itself_and_each_as_one_of_the_writes_left_it() {
    let (mut disk, file) = with_file();
    write(&mut disk, file, 0, &[1; 1024]);
    sync(&mut disk, file);
    write(&mut disk, file, 256, &[2; 512]);
    write(&mut disk, file, 0, &[3; 128]);
    let images: BTreeSet<(Vec<u8>, u8)> = (seen(&disk, "a").into_iter().flatten())
        .map(|bytes| (vec![bytes[0], bytes[256]], bytes[512]))
        .collect();
    let first = [[1, 1], [1, 2], [3, 2]];
    let expected = first.iter().flat_map(|it| [(it.to_vec(), 1), (it.to_vec(), 2)]);
    assert_eq!(images, expected.collect());
}

#[test]
fn a_sync_is_about_what_had_ended_when_it_began() {
    let (mut disk, file) = with_file();
    write(&mut disk, file, 0, &[1; 512]);
    let sync = disk.begin_sync(file);
    write(&mut disk, file, 512, &[1; 512]);
    disk.end_sync(sync);
    assert!(seen(&disk, "a").iter().flatten().all(|bytes| bytes.starts_with(&[1; 512])));
    assert!(seen(&disk, "a").iter().flatten().any(|bytes| bytes.len() == 512));
    let unended = disk.write(file, 1024, vec![1]).unwrap();
    let sync = disk.begin_sync(file);
    disk.end_sync(sync);
    disk.end(unended);
    assert!(seen(&disk, "a").iter().flatten().any(|bytes| bytes.len() == 1024));
}

#[test]
fn a_file_that_was_cut_and_grew_again_has_zeros() {
    let (mut disk, file) = with_file();
    write(&mut disk, file, 0, &[1; 600]);
    for bytes in [10, 600] {
        let begun = disk.set_length(file, bytes).unwrap();
        disk.end(begun);
    }
    sync(&mut disk, file);
    let expected = [vec![1; 10], vec![0; 590]].concat();
    assert_eq!(seen(&disk, "a"), [Some(expected)].into());
}

#[test]
fn names_are_kept_in_their_order_and_by_a_sync_of_their_folder_alone() {
    let mut disk = Disk::new();
    let file = disk.make(Path::new("new"), false).unwrap();
    write(&mut disk, file, 0, b"1");
    sync(&mut disk, file);
    assert!(seen(&disk, "new").contains(&None), "the file's own sync keeps no name");
    disk.rename(Path::new("new"), Path::new("name")).unwrap();
    let one = |name: &str| vec![name.to_owned()];
    assert_eq!(names(&disk), [vec![], one("new"), one("name")].into());
    sync(&mut disk, Disk::ROOT);
    assert_eq!(seen(&disk, "name"), [Some(b"1".to_vec())].into());
    disk.remove(Path::new("name")).unwrap();
    assert_eq!(seen(&disk, "name"), [None, Some(b"1".to_vec())].into());
}

#[test]
fn a_kill_of_the_process_leaves_everything() {
    let mut disk = Disk::new();
    disk.make(Path::new("folder"), true).unwrap();
    let file = disk.make(Path::new("folder/a"), false).unwrap();
    write(&mut disk, file, 5, b"1");
    let folder = Scratch::new("disk-test").unwrap();
    disk.image(folder.path(), &mut Everything).unwrap();
    assert_eq!(fs::read(folder.path().join("folder/a")).unwrap(), b"\0\0\0\0\x001");
}
