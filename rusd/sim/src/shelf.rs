//! Generations of an engine on a simulated disk, and the small files that name them.
//!
//! What is made, replaced or removed in the folder survives a loss of power from the next sync of the
//! folder on; until then, each by itself, it may be there or not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use rusd_state::storage::{Backend, MemoryBackend, Shelf, StorageError};

use crate::engine::{Fuse, SimEngine};

/// The engine's folder of a member.
#[derive(Debug)]
pub struct SimShelf {
    fuse: Arc<Fuse>,
    /// The engines tear what they commit, on purpose.
    is_torn: bool,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    files: BTreeMap<String, File>,
    generations: BTreeMap<u64, SimEngine>,
    /// Removed since the last sync of the folder.
    removed: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct File {
    live: Option<String>,
    durable: Option<String>,
}

impl SimShelf {
    /// An empty one.
    pub fn new(fuse: Arc<Fuse>, is_torn: bool) -> SimShelf {
        SimShelf { fuse, is_torn, content: Mutex::default() }
    }

    /// The power goes.
    pub fn lose_power(&self, rng: &mut impl Rng) {
        let mut content = self.content.lock();
        let content = &mut *content;
        for file in content.files.values_mut().filter(|file| file.live != file.durable) {
            if rng.random_bool(0.5) {
                file.live.clone_from(&file.durable);
            } else {
                file.durable.clone_from(&file.live);
            }
        }
        for engine in content.generations.values_mut() {
            let kept = rng.random_range(0..=engine.unsynced());
            *engine = engine.after_crash(kept);
        }
        for number in std::mem::take(&mut content.removed) {
            // With nothing in it any more.
            if rng.random_bool(0.5) {
                content.generations.insert(number, self.empty());
            }
        }
    }

    fn empty(&self) -> SimEngine {
        let memory = if self.is_torn {
            MemoryBackend::crashable_and_torn()
        } else {
            MemoryBackend::crashable()
        };
        SimEngine::new(memory, Arc::clone(&self.fuse))
    }

    fn burn(&self) -> Result<(), StorageError> {
        self.fuse.burn().map_err(|source| StorageError::Io { path: self.path().into(), source })
    }

    /// Puts a text into a file, or removes it, and syncs the folder.
    fn replace(&self, name: &str, text: Option<&str>) -> Result<(), StorageError> {
        self.burn()?;
        let mut content = self.content.lock();
        content.files.entry(name.to_owned()).or_default().live = text.map(str::to_owned);
        self.sync_folder(&mut content)
    }

    fn sync_folder(&self, content: &mut Content) -> Result<(), StorageError> {
        self.burn()?;
        content.removed.clear();
        for file in content.files.values_mut() {
            file.durable.clone_from(&file.live);
        }
        Ok(())
    }
}

impl Shelf for SimShelf {
    fn engine(&self) -> &'static str {
        "sim"
    }

    fn path(&self) -> &Path {
        Path::new("engine")
    }

    fn read(&self, name: &str) -> Result<Option<String>, StorageError> {
        Ok(self.content.lock().files.get(name).and_then(|file| file.live.clone()))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), StorageError> {
        // First into a new file, which is synced.
        self.burn()?;
        self.replace(name, Some(text))
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        match self.read(name)? {
            Some(_) => self.replace(name, None),
            None => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.sync_folder(&mut self.content.lock())
    }

    fn numbers(&self) -> Result<Vec<u64>, StorageError> {
        Ok(self.content.lock().generations.keys().copied().collect())
    }

    fn open(&self, number: u64) -> Result<Arc<dyn Backend>, StorageError> {
        let mut content = self.content.lock();
        if let Some(engine) = content.generations.get(&number) {
            return Ok(Arc::new(engine.clone()));
        }
        self.burn()?;
        let engine = self.empty();
        content.generations.insert(number, engine.clone());
        self.sync_folder(&mut content)?;
        Ok(Arc::new(engine))
    }

    fn remove_generation(&self, number: u64) -> Result<(), StorageError> {
        self.burn()?;
        let mut content = self.content.lock();
        content.generations.remove(&number);
        content.removed.insert(number);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rusd_state::storage::{Generations, Tree};

    use super::*;

    #[test]
    fn a_loss_of_power_takes_what_was_not_synced() {
        let mut found = BTreeSet::new();
        for seed in 0..50 {
            let fuse = Arc::new(Fuse::default());
            let shelf = SimShelf::new(Arc::clone(&fuse), false);
            let engine = shelf.open(1).unwrap();
            engine.put_row(Tree::Kv, b"a", b"1").unwrap();
            shelf.write("CURRENT", "old").unwrap();
            shelf.open(2).unwrap();
            shelf.remove_generation(2).unwrap();
            // The folder is not synced after the change.
            fuse.set(2);
            shelf.write("CURRENT", "new").unwrap_err();
            fuse.mend();
            assert_eq!(shelf.read("CURRENT").unwrap().as_deref(), Some("new"));
            shelf.lose_power(&mut ChaCha8Rng::seed_from_u64(seed));
            let has_image = shelf.open(1).unwrap().get(Tree::Kv, b"a").unwrap().is_some();
            let current = shelf.read("CURRENT").unwrap().unwrap();
            found.insert((has_image, shelf.numbers().unwrap().len(), current));
        }
        assert_eq!(found.len(), 8, "{found:?}");
    }

    /// A pointer that is read at a start may never have been synced. The generation that it replaced
    /// must not go before it is.
    #[test]
    fn the_generation_that_counts_is_there_after_a_failed_switch_a_start_and_a_loss_of_power() {
        for seed in 0..50 {
            let fuse = Arc::new(Fuse::default());
            let shelf = Arc::new(SimShelf::new(Arc::clone(&fuse), false));
            let open = || Generations::open_on(shelf.clone(), false);
            let generations = open().unwrap();
            let fresh = generations.begin().unwrap();
            fuse.set(2);
            generations.switch_to(fresh).unwrap_err();
            fuse.mend();
            drop(generations);
            drop(open().unwrap());
            shelf.lose_power(&mut ChaCha8Rng::seed_from_u64(seed));
            open().unwrap_or_else(|error| panic!("{error}, seed {seed}"));
        }
    }
}
