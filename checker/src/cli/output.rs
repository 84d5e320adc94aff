//! Files that a command writes.
//!
//! What is written appears under its name once it is whole: until then, and if writing fails, there is
//! only `NAME.partial`, which is removed again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusd_checker::formats::FormatError;

/// Writes a file.
pub(crate) fn whole<T, E>(path: &Path, write: impl FnOnce(File) -> Result<T, E>) -> Result<T, E>
where
    E: From<FormatError> + From<io::Error>,
{
    let partial = partial(path);
    let file = File::create(&partial)
        .map_err(|source| FormatError::Open { path: partial.display().to_string(), source })?;
    let done = write(file)
        .and_then(|written| fs::rename(&partial, path).map(|()| written).map_err(Into::into));
    if done.is_err() {
        fs::remove_file(&partial)?;
    }
    done
}

/// What a file or folder is called until it is whole.
pub(crate) fn partial(path: &Path) -> PathBuf {
    // Without a slash at its end.
    let mut name = OsString::from(path.components().as_path());
    name.push(".partial");
    PathBuf::from(name)
}
