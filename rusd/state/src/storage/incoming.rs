//! A generation that came from another member: whole and synced, but not current before the log
//! knows that it begins where this ends.
//!
//! ```text
//! <folder>/8/         the generation
//! <folder>/INCOMING   "8 sled 5000 3": number, engine, applied index, term, and a checksum
//! ```
//!
//! Order of a snapshot's installation: an [`Installation`] leaves a generation and
//! its marker; the log notes the snapshot and is synced; [`accept`] makes the generation current.
//! At the next start whoever opens the storage asks [`find`], compares with the log, and accepts or
//! [`discard`]s; all before the generations are opened. A stop between any two of these steps, also
//! inside of them, leaves one of the states that they begin from. What is not taken after all, since the
//! disk refuses the marker or the log has come further meanwhile, is removed by [`forget`].

use std::sync::Arc;

use bytes::Bytes;

use crate::storage::error::StorageError;
use crate::storage::generations::{self, Expected};
use crate::storage::shelf::Shelf;
use crate::storage::{Generation, Generations, Import, ImportError};

const MARKER: &str = "INCOMING";
const UNFINISHED: &str = "it is there until it is finished";

/// What waits to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    number: u64,
    engine: String,
    /// Index of the last entry of the log whose effects are in it.
    pub applied_index: u64,
    /// Its term.
    pub term: u64,
}

/// A generation that is coming in. Dropped, it is leftovers.
#[derive(Debug)]
pub struct Installation {
    generations: Arc<Generations>,
    /// Until it is finished.
    coming: Option<(Generation, Import)>,
    _expected: Expected,
}

impl Installation {
    /// Begins. What waited to be accepted before is forgotten, and removed.
    pub fn begin(generations: &Arc<Generations>) -> Result<Installation, StorageError> {
        match find(generations.shelf()) {
            Ok(Some(waiting)) => forget(generations, &waiting)?,
            Ok(None) | Err(_) => discard(generations.shelf())?,
        }
        let generation = generations.begin()?;
        let import = Import::into(Arc::clone(generation.backend()));
        Ok(Installation {
            generations: Arc::clone(generations),
            coming: Some((generation, import)),
            _expected: generations.expect_one(),
        })
    }

    /// Takes the next chunk.
    pub fn add(&mut self, chunk: Bytes) -> Result<(), ImportError> {
        let (_, import) = self.coming.as_mut().expect(UNFINISHED);
        import.add(chunk).map_err(|error| located(&self.generations, error))
    }

    /// After the last chunk: what came is whole and durable, and waits to be accepted.
    pub fn finish(mut self) -> Result<Incoming, ImportError> {
        let (generation, import) = self.coming.take().expect(UNFINISHED);
        let position = match import.finish() {
            Ok(position) => position,
            Err(error) => {
                self.generations.retire(generation);
                return Err(located(&self.generations, error));
            }
        };
        let incoming = Incoming {
            number: generation.number(),
            engine: self.generations.shelf().engine().to_owned(),
            applied_index: position.applied_index,
            term: position.term,
        };
        // Its files are closed before anybody may accept it and open it.
        drop(generation);
        rusd_failpoint::hit("raftBeforeSaveSnap");
        if let Err(error) = mark(self.generations.shelf(), &incoming) {
            // If that fails too, nothing more is begun before the marker is gone.
            forget(&self.generations, &incoming).ok();
            return Err(error.into());
        }
        rusd_failpoint::hit("raftAfterSaveSnap");
        Ok(incoming)
    }
}

fn located(generations: &Generations, error: ImportError) -> ImportError {
    match error {
        ImportError::Storage(error) => ImportError::Storage(generations.located(error)),
        bad @ ImportError::Bad(_) => bad,
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if let Some((generation, _)) = self.coming.take() {
            self.generations.retire(generation);
        }
    }
}

/// What waits beside the engine's generations.
pub fn find(shelf: &dyn Shelf) -> Result<Option<Incoming>, StorageError> {
    let Some(text) = shelf.read(MARKER)? else { return Ok(None) };
    let read = || {
        let mut words = text.split(' ');
        let number = words.next()?.parse().ok()?;
        let engine = words.next()?.to_owned();
        let applied_index = words.next()?.parse().ok()?;
        let term = words.next()?.parse().ok()?;
        Some(Incoming { number, engine, applied_index, term })
    };
    let damaged = || StorageError::Damaged {
        path: shelf.path().join(MARKER),
        reason: format!("names no generation: \"{text}\""),
    };
    read().map(Some).ok_or_else(damaged)
}

/// Makes what waits the current generation.
pub fn accept(shelf: &dyn Shelf) -> Result<(), StorageError> {
    if let Some(incoming) = find(shelf)? {
        generations::point_to(shelf, incoming.number, &incoming.engine, 0)?;
    }
    discard(shelf)
}

/// Forgets what waits. Its files go at the next start.
pub fn discard(shelf: &dyn Shelf) -> Result<(), StorageError> {
    shelf.remove(MARKER)
}

/// Removes what waits, and nobody has accepted.
pub fn forget(generations: &Generations, incoming: &Incoming) -> Result<(), StorageError> {
    // First what names it: it must not be found without its files.
    discard(generations.shelf())?;
    generations.shelf().remove_generation(incoming.number)
}

/// Lets a generation wait, which is whole and synced.
fn mark(shelf: &dyn Shelf, incoming: &Incoming) -> Result<(), StorageError> {
    let Incoming { number, engine, applied_index, term } = incoming;
    shelf.write(MARKER, &format!("{number} {engine} {applied_index} {term}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::storage::change::{Changes, LeaseChange};
    use crate::storage::shelf::Folder;
    use crate::storage::{
        EngineKind, Export, History, HistoryOptions, MemoryBackend, SledOptions, verify,
    };

    const SLED: EngineKind = EngineKind::Sled(SledOptions { cache_bytes: 1 << 20 });

    fn on(folder: &Path) -> Folder {
        Folder::open(folder, SLED).unwrap()
    }

    /// The state of a member that has applied so many entries.
    fn export(applied_index: u64) -> Export {
        let backend = Arc::new(MemoryBackend::new());
        let (history, _) = History::open(backend, HistoryOptions::default()).unwrap();
        let leases = vec![LeaseChange::Delete(1)];
        let changes = Changes { index: applied_index, term: 3, leases, ..Changes::default() };
        history.append(changes);
        history.flush().unwrap();
        history.export().unwrap()
    }

    fn install(generations: &Arc<Generations>, applied_index: u64) -> Incoming {
        let mut export = export(applied_index);
        let mut installation = Installation::begin(generations).unwrap();
        while let Some(chunk) = export.next_chunk(1).unwrap() {
            installation.add(chunk).unwrap();
        }
        installation.finish().unwrap()
    }

    /// What a member finds applied that starts over what is in the folder.
    fn applied(folder: &Path) -> u64 {
        let generations = Generations::open(folder, SLED, true).unwrap();
        assert_eq!(find(&on(folder)).unwrap(), None, "nothing waits any more");
        let report = verify(&generations.current()).unwrap();
        assert!(report.is_sound(), "{report:?}");
        report.applied_index
    }

    #[test]
    fn what_waits_is_taken_or_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let open = || Arc::new(Generations::open(folder, SLED, true).unwrap());
        assert_eq!(find(&on(folder)).unwrap(), None);
        let incoming = install(&open(), 50);
        assert_eq!((incoming.applied_index, incoming.term), (50, 3));
        assert_eq!(find(&on(folder)).unwrap(), Some(incoming));
        accept(&on(folder)).unwrap();
        assert_eq!(applied(folder), 50);

        let generations = open();
        install(&generations, 60);
        let newer = install(&generations, 70);
        assert_eq!(find(&on(folder)).unwrap(), Some(newer), "the later one counts");
        assert_eq!(on(folder).numbers().unwrap().len(), 2, "the current one, and the later one");
        drop(generations);
        discard(&on(folder)).unwrap();
        assert_eq!(applied(folder), 50);

        install(&open(), 80);
        assert_eq!(applied(folder), 50, "what nobody accepted is forgotten");
    }

    #[test]
    fn a_stop_inside_of_the_acceptance_leaves_it_to_be_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let generations = Arc::new(Generations::open(folder, SLED, true).unwrap());
        let incoming = install(&generations, 50);
        drop(generations);
        generations::point_to(&on(folder), incoming.number, &incoming.engine, 0).unwrap();
        assert_eq!(find(&on(folder)).unwrap(), Some(incoming));
        accept(&on(folder)).unwrap();
        assert_eq!(applied(folder), 50);
    }

    /// The state was whole, but its marker could not be written: its files stayed until the next start,
    /// and the leader, which was refused, sent the next copy of it a second later.
    #[test]
    fn what_cannot_be_marked_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Arc::new(Generations::open(folder.path(), SLED, true).unwrap());
        let in_the_way = folder.path().join("INCOMING.new");
        std::fs::create_dir(&in_the_way).unwrap();
        let mut export = export(50);
        let mut installation = Installation::begin(&generations).unwrap();
        while let Some(chunk) = export.next_chunk(1).unwrap() {
            installation.add(chunk).unwrap();
        }
        let refused = installation.finish().unwrap_err().to_string();
        assert!(refused.contains("INCOMING.new: "), "{refused}");
        assert_eq!(on(folder.path()).numbers().unwrap(), [1]);
        std::fs::remove_dir(in_the_way).unwrap();
        let incoming = install(&generations, 60);
        forget(&generations, &incoming).unwrap();
        assert_eq!(find(&on(folder.path())).unwrap(), None);
        assert_eq!(on(folder.path()).numbers().unwrap(), [1]);
    }

    #[test]
    fn what_is_cut_short_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Arc::new(Generations::open(folder.path(), SLED, true).unwrap());
        let mut export = export(50);
        let mut installation = Installation::begin(&generations).unwrap();
        let chunk = export.next_chunk(1).unwrap().unwrap();
        for end in 1..chunk.len() {
            let mut installation = Installation::begin(&generations).unwrap();
            installation.add(chunk.slice(..end)).unwrap();
            let refused = installation.finish().unwrap_err().to_string();
            assert!(refused.ends_with("its last row is cut"), "{refused}");
        }
        installation.add(chunk).unwrap();
        let refused = installation.finish().unwrap_err();
        assert!(matches!(refused, ImportError::Bad(_)), "{refused}");
        assert_eq!(find(&on(folder.path())).unwrap(), None);
        generations.sweep().unwrap();
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "the current generation and its pointer");
    }
}
