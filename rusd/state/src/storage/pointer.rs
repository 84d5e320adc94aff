//! Small files that name something, replaced as a whole or not at all.
//!
//! The text stands with its checksum. It is written into a new file, which is synced and renamed,
//! and the folder is synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::storage::error::StorageError;

/// What a pointer that is on its way is called.
pub(crate) fn new_name(name: &str) -> String {
    format!("{name}.new")
}

/// The text as it stands in the file.
pub(crate) fn sealed(text: &str) -> String {
    format!("{text} {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

/// Reads a pointer; `None` if there is none.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Option<String>, StorageError> {
    let path = folder.join(name);
    let found = match fs::read(&path) {
        Ok(found) => found,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StorageError::Io { path, source }),
    };
    let found = String::from_utf8_lossy(&found);
    let text = found.rsplit_once(' ').map_or("", |(text, _)| text);
    if sealed(text) != found {
        let reason = format!("names nothing: \"{}\"", found.escape_debug());
        return Err(StorageError::Damaged { path, reason });
    }
    Ok(Some(text.to_owned()))
}

/// Replaces a pointer.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<(), StorageError> {
    write_new(folder, name, text)?;
    rename_new(folder, name)
}

/// Removes a pointer, if it is there.
pub(crate) fn remove(folder: &Path, name: &str) -> Result<(), StorageError> {
    let path = folder.join(name);
    match step().and_then(|()| fs::remove_file(&path)) {
        Ok(()) => sync_changed(folder),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StorageError::Io { path, source }),
    }
}

/// The first half of [`write`].
pub(crate) fn write_new(folder: &Path, name: &str, text: &str) -> Result<(), StorageError> {
    let path = folder.join(new_name(name));
    let write = || -> io::Result<()> {
        step()?;
        let mut file = File::create(&path)?;
        file.write_all(sealed(text).as_bytes())?;
        step()?;
        file.sync_all()
    };
    write().map_err(|source| StorageError::Io { path: path.clone(), source })
}

fn rename_new(folder: &Path, name: &str) -> Result<(), StorageError> {
    let path = folder.join(name);
    let renamed = step().and_then(|()| fs::rename(folder.join(new_name(name)), &path));
    renamed.map_err(|source| StorageError::Io { path, source })?;
    sync_changed(folder)
}

/// The sync after a change of a pointer.
fn sync_changed(folder: &Path) -> Result<(), StorageError> {
    step().map_err(|source| StorageError::Io { path: folder.to_path_buf(), source })?;
    sync_folder(folder)
}

/// What comes now may fail.
fn step() -> io::Result<()> {
    rusd_failpoint::io("pointerStep")
}

/// Makes what was made, renamed and removed in a folder survive a loss of power.
pub(crate) fn sync_folder(path: &Path) -> Result<(), StorageError> {
    let sync = File::open(path).and_then(|file| file.sync_all());
    sync.map_err(|source| StorageError::Io { path: path.to_path_buf(), source })
}
