//! The engine's generations on disk, and the pointer to the one that counts.
//!
//! ```text
//! <folder>/7/          the files of generation 7
//! <folder>/8/          a generation that is being made, or one whose readers are not gone yet
//! <folder>/CURRENT     "7 sled 4096": its number, engine, and bytes when it was made; a checksum
//! <folder>/CURRENT.new on its way to be CURRENT
//! ```
//!
//! A generation is made beside the current one, filled and synced by the caller; then the pointer is
//! written to a new file, synced, renamed, and the folder synced. So at any moment one whole
//! generation is named. What is not named is removed at the next start, which first syncs the folder:
//! the pointer may be from a process that renamed it and ended.
//!
//! The first generation is made before there is a pointer. If that was cut short there is nothing to
//! lose, as long as the log still has all its entries: then everything is made anew.
//!
//! Engines without files have generations too, and nothing to remember of them. Where generations and
//! pointer stand is behind the [`Shelf`].

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::storage::error::StorageError;
use crate::storage::incoming;
use crate::storage::pointer;
use crate::storage::shelf::{Folder, Shelf};
use crate::storage::{Backend, EngineKind};

const POINTER: &str = "CURRENT";
const FIRST: u64 = 1;

/// The generations of one engine.
#[derive(Debug)]
pub struct Generations {
    shelf: Arc<dyn Shelf>,
    state: Mutex<State>,
    /// Held once more by each that is coming in.
    coming: Arc<()>,
}

#[derive(Debug)]
struct State {
    current: Generation,
    /// Number of the last one that was begun.
    newest: u64,
    /// No longer current, or given up; they may still have readers.
    retired: Vec<Generation>,
}

/// A generation is coming in from another member.
#[derive(Debug)]
pub(crate) struct Expected(#[expect(dead_code, reason = "held, not read")] Arc<()>);

/// One generation.
#[derive(Debug)]
pub struct Generation {
    number: u64,
    /// What its files took when it became current; 0 for one that was not made by a copy.
    bytes_when_made: u64,
    backend: Arc<dyn Backend>,
}

impl Generation {
    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Its engine.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }
}

impl Generations {
    /// Opens the current generation of the engine in `folder`, or begins the first one. Removes what
    /// an earlier life left behind.
    ///
    /// `is_log_whole` says that the log has all entries from the first on, so that an engine can be
    /// made from it alone.
    pub fn open(
        folder: &Path,
        kind: EngineKind,
        is_log_whole: bool,
    ) -> Result<Generations, StorageError> {
        Generations::open_on(kind.shelf(folder)?, is_log_whole)
    }

    /// The same, wherever they stand.
    pub fn open_on(shelf: Arc<dyn Shelf>, is_log_whole: bool) -> Result<Generations, StorageError> {
        let current = open_current(&*shelf, is_log_whole)?;
        let state = State { newest: current.number, current, retired: Vec::new() };
        Ok(Generations { shelf, state: Mutex::new(state), coming: Arc::default() })
    }

    /// Opens the current generation of a member that is not running, of whichever kind it is.
    pub fn open_current_of(folder: &Path) -> Result<Option<Arc<dyn Backend>>, StorageError> {
        let Some(text) = pointer::read(folder, POINTER)? else { return Ok(None) };
        let Pointer { number, engine, .. } = Pointer::parse(folder, &text)?;
        let unknown = || StorageError::Damaged {
            path: folder.to_path_buf(),
            reason: format!("names an engine that is not known: {engine}"),
        };
        let kind = EngineKind::named(&engine).ok_or_else(unknown)?;
        Folder::open(folder, kind)?.open(number).map(Some)
    }

    /// Where they stand.
    pub(crate) fn shelf(&self) -> &dyn Shelf {
        &*self.shelf
    }

    /// Another member's state is being taken over: the current generation will soon be of no use, so
    /// work that makes it fit for later is not worth the disk's time.
    pub fn is_one_coming(&self) -> bool {
        Arc::strong_count(&self.coming) > 1
    }

    /// One is coming in for as long as what is returned is held.
    pub(crate) fn expect_one(&self) -> Expected {
        Expected(Arc::clone(&self.coming))
    }

    /// The engine of the current generation.
    pub fn current(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.state.lock().current.backend)
    }

    /// What the files of the current generation took when it was copied; 0 if it was not.
    pub fn bytes_when_made(&self) -> u64 {
        self.state.lock().current.bytes_when_made
    }

    /// Makes an empty generation. It is nothing but leftovers until [`Generations::switch_to`].
    pub fn begin(&self) -> Result<Generation, StorageError> {
        let number = {
            let mut state = self.state.lock();
            state.newest += 1;
            state.newest
        };
        let begun = open_one(&*self.shelf, number).and_then(|generation| {
            rusd_failpoint::io("defragOpenFileError").map_err(StorageError::of_engine)?;
            Ok(generation)
        });
        // What there is of it is of no use, and the disk may be full. If it cannot go, the next start
        // sees to it.
        begun.inspect_err(|_error| {
            self.shelf.remove_generation(number).ok();
        })
    }

    /// Says where an engine failed that does not say so itself.
    pub fn located(&self, error: StorageError) -> StorageError {
        match error {
            StorageError::Engine(source) => {
                let path = self.shelf.path().to_path_buf();
                StorageError::Io { path, source: io::Error::other(source) }
            }
            error => error,
        }
    }

    /// Makes a generation the current one; the caller has filled and synced it. After an error
    /// nobody knows which one is current, and the member must stop.
    pub fn switch_to(&self, mut generation: Generation) -> Result<(), StorageError> {
        generation.bytes_when_made = generation.backend.size_on_disk()?;
        let (number, bytes) = (generation.number, generation.bytes_when_made);
        point_to(&*self.shelf, number, self.shelf.engine(), bytes)?;
        let mut state = self.state.lock();
        let old = std::mem::replace(&mut state.current, generation);
        state.retired.push(old);
        Ok(())
    }

    /// Takes a generation that is given up.
    pub fn retire(&self, generation: Generation) {
        self.state.lock().retired.push(generation);
    }

    /// Removes the files of the generations that are no longer current and that nobody reads any
    /// more. An error if that does not give their space back: the member must stop, or it fills its
    /// disk when it tries again.
    pub fn sweep(&self) -> Result<(), StorageError> {
        let is_unread = |generation: &mut Generation| Arc::strong_count(&generation.backend) == 1;
        let unread: Vec<_> = self.state.lock().retired.extract_if(.., is_unread).collect();
        for Generation { number, backend, .. } in unread {
            let closes = backend.closes();
            // The engine closes its files before they go.
            drop(backend);
            self.shelf.remove_generation(number)?;
            if !closes {
                let reason = format!("generation {number} failed, and cannot be closed");
                return Err(StorageError::Damaged {
                    path: self.shelf.path().to_path_buf(),
                    reason,
                });
            }
        }
        Ok(())
    }
}

/// Opens the generation that the pointer names, or begins the first one.
fn open_current(shelf: &dyn Shelf, is_log_whole: bool) -> Result<Generation, StorageError> {
    let path = || shelf.path().to_path_buf();
    // Before what it does not name is removed.
    shelf.sync()?;
    let pointer = shelf.read(POINTER)?.map(|text| Pointer::parse(shelf.path(), &text));
    let pointer = pointer.transpose()?;
    if let Some(Pointer { engine, .. }) = pointer.as_ref().filter(|it| it.engine != shelf.engine())
    {
        let (path, found, wanted) = (path(), engine.clone(), shelf.engine());
        return Err(StorageError::OtherEngine { path, found, wanted });
    }
    let current = pointer.as_ref().map(|pointer| pointer.number);
    let numbers = shelf.numbers()?;
    let damaged = |reason| StorageError::Damaged { path: path(), reason };
    if current.is_none() && !is_log_whole && !numbers.is_empty() {
        return Err(damaged(format!("there is an engine, but no {POINTER} that names it")));
    }
    if let Some(number) = current.filter(|number| !numbers.contains(number)) {
        let reason = format!("{POINTER} names generation {number}, which is not there");
        return Err(damaged(reason));
    }
    remove_all_but(shelf, current)?;
    let mut generation = open_one(shelf, current.unwrap_or(FIRST))?;
    generation.bytes_when_made = pointer.map_or(0, |pointer| pointer.bytes_when_made);
    if current.is_none() {
        point_to(shelf, generation.number, shelf.engine(), 0)?;
    }
    Ok(generation)
}

fn open_one(shelf: &dyn Shelf, number: u64) -> Result<Generation, StorageError> {
    Ok(Generation { number, bytes_when_made: 0, backend: shelf.open(number)? })
}

/// Makes a generation the current one.
pub(crate) fn point_to(
    shelf: &dyn Shelf,
    number: u64,
    engine: &str,
    bytes_when_made: u64,
) -> Result<(), StorageError> {
    shelf.write(POINTER, &format!("{number} {engine} {bytes_when_made}"))
}

/// Which generation counts, and what it is.
struct Pointer {
    number: u64,
    engine: String,
    bytes_when_made: u64,
}

impl Pointer {
    fn parse(path: &Path, text: &str) -> Result<Pointer, StorageError> {
        let read = || {
            let mut words = text.split(' ');
            let number = words.next()?.parse().ok()?;
            let engine = words.next()?.to_owned();
            let bytes_when_made = words.next()?.parse().ok()?;
            Some(Pointer { number, engine, bytes_when_made })
        };
        let damaged = || StorageError::Damaged {
            path: path.join(POINTER),
            reason: format!("names no generation: \"{text}\""),
        };
        read().ok_or_else(damaged)
    }
}

fn remove_all_but(shelf: &dyn Shelf, current: Option<u64>) -> Result<(), StorageError> {
    // It names one of those that go.
    incoming::discard(shelf)?;
    for number in shelf.numbers()? {
        if Some(number) != current {
            shelf.remove_generation(number)?;
        }
    }
    shelf.remove(&pointer::new_name(POINTER))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;

    use super::*;
    use crate::storage::schema::{self, Tree};
    use crate::storage::{Batch, SledBackend, SledOptions};

    const SLED: EngineKind = EngineKind::Sled(SledOptions { cache_bytes: 1 << 20 });

    fn numbers_in(folder: &Path) -> Vec<u64> {
        Folder::open(folder, SLED).unwrap().numbers().unwrap()
    }

    fn mark(backend: &dyn Backend, name: &str) {
        let mut batch = Batch::default();
        batch.put(Tree::Meta, b"mark", name.as_bytes().to_vec());
        backend.commit(&batch).unwrap();
        backend.sync().unwrap();
    }

    fn marked(backend: &dyn Backend) -> Option<Bytes> {
        let value = backend.get(Tree::Meta, b"mark").unwrap()?;
        Some(schema::unseal(Tree::Meta, b"mark", &value).unwrap())
    }

    fn found(folder: &Path, is_log_whole: bool) -> Result<Option<Bytes>, String> {
        let generations = Generations::open(folder, SLED, is_log_whole);
        let found = marked(&*generations.map_err(|error| error.to_string())?.current());
        assert!(!folder.join(pointer::new_name(POINTER)).exists());
        assert_eq!(numbers_in(folder).len(), 1, "leftovers are gone");
        Ok(found)
    }

    /// What a machine that stops now would leave.
    fn image_of(folder: &Path) -> tempfile::TempDir {
        fn copy(from: &Path, to: &Path) {
            for entry in fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                let target = to.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    fs::create_dir(&target).unwrap();
                    copy(&entry.path(), &target);
                } else {
                    fs::copy(entry.path(), &target).unwrap();
                }
            }
        }
        let image = tempfile::tempdir().unwrap();
        copy(folder, image.path());
        image
    }

    #[test]
    fn a_stop_between_any_two_steps_leaves_the_old_generation_or_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let generations = Generations::open(folder, SLED, false).unwrap();
        mark(&*generations.current(), "old");
        let mut images = vec![("nothing", image_of(folder), "old")];
        fs::create_dir(folder.join("2")).unwrap();
        images.push(("an empty folder", image_of(folder), "old"));
        let new = generations.begin().unwrap();
        images.push(("an empty engine", image_of(folder), "old"));
        mark(&**new.backend(), "new");
        images.push(("a whole engine", image_of(folder), "old"));
        fs::write(folder.join(pointer::new_name(POINTER)), b"").unwrap();
        images.push(("an empty pointer", image_of(folder), "old"));
        pointer::write_new(folder, POINTER, "2 sled 0").unwrap();
        images.push(("a pointer on its way", image_of(folder), "old"));
        generations.switch_to(new).unwrap();
        images.push(("the pointer", image_of(folder), "new"));
        fs::remove_file(folder.join("1").join("conf")).unwrap();
        images.push(("half of the old one", image_of(folder), "new"));
        generations.sweep().unwrap();
        assert!(!folder.join("1").exists());
        images.push(("all", image_of(folder), "new"));
        for (reached, image, expected) in images {
            for is_log_whole in [true, false] {
                let found = found(image.path(), is_log_whole);
                assert_eq!(found, Ok(Some(Bytes::from(expected))), "stopped at {reached}");
            }
        }
    }

    #[test]
    fn a_stop_before_the_first_pointer_is_made_good_from_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir(folder.join("1")).unwrap();
        fs::write(folder.join("1").join("conf"), b"half").unwrap();
        let refused = found(folder, false).unwrap_err();
        assert!(refused.ends_with("there is an engine, but no CURRENT that names it"), "{refused}");
        assert!(folder.join("1").join("conf").exists(), "what may be all there is stays");
        pointer::write_new(folder, POINTER, "1 sled 0").unwrap();
        assert_eq!(found(folder, true), Ok(None));
        assert_eq!(found(folder, false), Ok(None), "from now on there is a pointer");
    }

    /// Its files are removed, and held by the process. With each try there would be more of them.
    #[test]
    fn what_failed_and_cannot_be_closed_ends_the_member() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Generations::open(folder.path(), SLED, true).unwrap();
        let backend = SledBackend::open(&folder.path().join("2"), SledOptions::default()).unwrap();
        backend.fail();
        generations.retire(Generation {
            number: 2,
            bytes_when_made: 0,
            backend: Arc::new(backend),
        });
        let error = generations.sweep().unwrap_err().to_string();
        assert!(error.ends_with(": generation 2 failed, and cannot be closed"), "{error}");
        assert_eq!(numbers_in(folder.path()), [1]);
        generations.sweep().unwrap();
    }

    #[test]
    fn a_generation_with_readers_outlives_its_successor() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Generations::open(folder.path(), SLED, true).unwrap();
        let reader = generations.current();
        mark(&*reader, "old");
        generations.switch_to(generations.begin().unwrap()).unwrap();
        generations.sweep().unwrap();
        assert_eq!(marked(&*reader), Some(Bytes::from("old")));
        assert!(folder.path().join("1").exists());
        drop(reader);
        generations.retire(generations.begin().unwrap());
        generations.sweep().unwrap();
        assert_eq!(numbers_in(folder.path()), [2]);
        let bytes = generations.bytes_when_made();
        assert!(bytes > 0);
        drop(generations);
        let generations = Generations::open(folder.path(), SLED, true).unwrap();
        assert_eq!(generations.bytes_when_made(), bytes);
    }

    /// One that could not be made was left lying about, and so was one for each further try.
    #[test]
    fn a_generation_that_cannot_be_made_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Generations::open(folder.path(), SLED, true).unwrap();
        fs::create_dir_all(folder.path().join("2").join("db")).unwrap();
        generations.begin().unwrap_err();
        assert_eq!(numbers_in(folder.path()), [1]);
        assert_eq!(generations.begin().unwrap().number(), 3);
    }

    #[test]
    fn a_damaged_pointer_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        drop(Generations::open(folder, SLED, true).unwrap());
        let pointer = fs::read(folder.join(POINTER)).unwrap();
        for bit in 0..pointer.len() * 8 {
            let mut flipped = pointer.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(folder.join(POINTER), flipped).unwrap();
            let refused = found(folder, true).unwrap_err();
            assert!(refused.contains("CURRENT: names nothing"), "{refused}");
        }
        point_to(&Folder::open(folder, SLED).unwrap(), 3, "sled", 0).unwrap();
        let refused = found(folder, true).unwrap_err();
        assert!(refused.ends_with("CURRENT names generation 3, which is not there"), "{refused}");
        assert!(folder.join("1").exists());
    }
}
