//! The engines there are, by name.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use crate::storage::error::StorageError;
use crate::storage::{
    Backend, FjallBackend, FjallOptions, MemoryBackend, SledBackend, SledOptions,
};

/// Which engine, and how it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// sled.
    Sled(SledOptions),
    /// fjall.
    Fjall(FjallOptions),
    /// Memory; nothing is on disk.
    Memory,
}

impl EngineKind {
    /// Those that have files.
    pub const ON_DISK: [fn() -> EngineKind; 2] = [
        || EngineKind::Sled(SledOptions::default()),
        || EngineKind::Fjall(FjallOptions::default()),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Sled(_) => "sled",
            EngineKind::Fjall(_) => "fjall",
            EngineKind::Memory => "memory",
        }
    }

    /// Whether it can hold a row whose key is empty.
    pub fn holds_empty_keys(self) -> bool {
        match self {
            EngineKind::Sled(_) | EngineKind::Memory => true,
            EngineKind::Fjall(_) => false,
        }
    }

    /// The one that has files under that name, opened with its default settings.
    pub fn named(name: &str) -> Option<EngineKind> {
        Self::ON_DISK.iter().map(|make| make()).find(|kind| kind.name() == name)
    }

    /// Opens or creates an engine in a folder.
    ///
    /// sled panics at some damage of its files. That too becomes an error that says where.
    pub fn open(self, folder: &Path) -> Result<Arc<dyn Backend>, StorageError> {
        let damaged = |reason| StorageError::Damaged { path: folder.to_path_buf(), reason };
        match unless_it_panics(|| self.open_files(folder)) {
            Ok(Err(StorageError::Engine(error))) => {
                Err(damaged(format!("{} cannot open it: {error}", self.name())))
            }
            Ok(opened) => opened,
            Err(text) => Err(damaged(format!("{} gave up on opening it: {text}", self.name()))),
        }
    }

    fn open_files(self, folder: &Path) -> Result<Arc<dyn Backend>, StorageError> {
        Ok(match self {
            EngineKind::Sled(options) => Arc::new(SledBackend::open(folder, options)?),
            EngineKind::Fjall(options) => Arc::new(FjallBackend::open(folder, options)?),
            EngineKind::Memory => Arc::new(MemoryBackend::new()),
        })
    }
}

/// Does something with an engine; what it says if it panics. It is not to be used after that.
pub(crate) fn unless_it_panics<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref().copied()).unwrap_or_default().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use bytes::Bytes;

    use super::*;
    use crate::storage::schema::{self, Tree};
    use crate::storage::{Batch, Visit};

    fn on_each_engine(run: fn(EngineKind, &Path)) {
        for make in EngineKind::ON_DISK {
            let folder = tempfile::tempdir().unwrap();
            run(make(), folder.path());
        }
    }

    fn get(backend: &dyn Backend, tree: Tree, key: &[u8]) -> Option<Bytes> {
        let value = backend.get(tree, key).unwrap()?;
        Some(schema::unseal(tree, key, &value).unwrap())
    }

    #[test]
    fn a_second_opener_is_refused_in_plain_words() {
        on_each_engine(|kind, folder| {
            let first = kind.open(folder).unwrap();
            let error = kind.open(folder).unwrap_err();
            assert!(matches!(error, StorageError::Locked { .. }), "{error:?}");
            assert!(error.to_string().ends_with("is in use by another process"), "{error}");
            drop(first);
            kind.open(folder).unwrap();
        });
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_named() {
        on_each_engine(|kind, folder| {
            let path = folder.join("file");
            std::fs::write(&path, b"").unwrap();
            let error = kind.open(&path).unwrap_err();
            assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
        });
    }

    #[test]
    fn values_large_and_small_come_back_after_a_reopen() {
        on_each_engine(|kind, folder| {
            let large = vec![7_u8; 3 << 20];
            let mut batch = Batch::default();
            batch.put(Tree::KvRev, b"large", large.clone());
            batch.put(Tree::Meta, b"small", b"1".to_vec());
            batch.remove(Tree::Lease, b"never there");
            let backend = kind.open(folder).unwrap();
            backend.commit(&Batch::default()).unwrap();
            backend.commit(&batch).unwrap();
            backend.sync().unwrap();
            drop(backend);
            let backend = kind.open(folder).unwrap();
            assert_eq!(get(&*backend, Tree::KvRev, b"large").unwrap(), large);
            assert_eq!(get(&*backend, Tree::Meta, b"small").unwrap(), &b"1"[..]);
            let (key, _) = backend.at_or_before(Tree::Meta, b"smaller").unwrap().unwrap();
            assert_eq!(key, &b"small"[..]);
            assert_eq!(backend.at_or_before(Tree::Meta, b"a").unwrap(), None);
            backend.clear(Tree::Meta).unwrap();
            backend.sync().unwrap();
            drop(backend);
            let backend = kind.open(folder).unwrap();
            assert_eq!(get(&*backend, Tree::Meta, b"small"), None);
        });
    }

    #[test]
    fn images_tell_what_they_replace_and_come_in_order() {
        on_each_engine(|kind, folder| {
            let backend = kind.open(folder).unwrap();
            for number in (0..1000_u16).rev() {
                let value = vec![0; usize::from(number % 7)];
                let replaced = backend.put_row(Tree::Kv, &number.to_be_bytes(), &value);
                assert_eq!(replaced.unwrap(), None);
            }
            assert_eq!(backend.put_row(Tree::Kv, &5_u16.to_be_bytes(), b"").unwrap(), Some(5));
            assert_eq!(backend.remove_row(Tree::Kv, &5_u16.to_be_bytes()).unwrap(), Some(0));
            assert_eq!(backend.remove_row(Tree::Kv, &5_u16.to_be_bytes()).unwrap(), None);
            let mut seen = Vec::new();
            let visit: Visit<'_> = &mut |key, _| {
                seen.push(u16::from_be_bytes(key.try_into().unwrap()));
                let is_full = seen.len() == 700;
                Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            };
            backend.scan(Tree::Kv, &3_u16.to_be_bytes(), visit).unwrap();
            assert_eq!(seen, (3..5).chain(6..704).collect::<Vec<_>>());
        });
    }

    #[test]
    fn what_an_engine_takes_grows_with_what_it_holds() {
        on_each_engine(|kind, folder| {
            let backend = kind.open(folder).unwrap();
            let empty = backend.size_on_disk().unwrap();
            assert!(empty < 4 << 20, "{kind:?}: {empty}");
            let mut batch = Batch::default();
            for number in 0..20_u8 {
                batch.put(Tree::KvRev, &[number], vec![number; 1 << 20]);
            }
            backend.commit(&batch).unwrap();
            backend.sync().unwrap();
            let full = backend.size_on_disk().unwrap();
            assert!((20 << 20..100 << 20).contains(&full), "{kind:?}: {full}");
        });
    }
}
