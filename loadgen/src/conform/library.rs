//! Where scripts come from: those that are built in, or a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::script::{Script, ScriptError};

/// Name and text of each script that is built in; made by our build from `conform/`.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/conformance_scripts.rs"));

/// A script, and where it was read from.
#[derive(Debug, Clone)]
pub struct Source {
    /// `area/situation`.
    pub name: String,
    /// What the file holds.
    pub text: String,
    /// The file, unless it is built in.
    pub path: Option<PathBuf>,
    /// What it says.
    pub script: Script,
}

/// Why there are no scripts.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// A folder or file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Scripts that cannot be read, all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Scripts(Vec<ScriptError>),
    /// Nothing has such a name.
    #[error("no script's name contains {0:?}")]
    NoMatch(String),
}

/// The scripts whose name contains `filter`, from `folder` or those that are built in.
pub fn scripts(folder: Option<&Path>, filter: Option<&str>) -> Result<Vec<Source>, LibraryError> {
    let texts = match folder {
        Some(folder) => read(folder)?,
        None => BUILT_IN
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned(), None))
            .collect(),
    };
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    for (name, text, path) in texts {
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        match Script::parse(&name, &text) {
            Ok(script) => sources.push(Source { name, text, path, script }),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(LibraryError::Scripts(errors));
    }
    if sources.is_empty() {
        return Err(LibraryError::NoMatch(filter.unwrap_or_default().to_owned()));
    }
    Ok(sources)
}

type Read = (String, String, Option<PathBuf>);

fn read(folder: &Path) -> Result<Vec<Read>, LibraryError> {
    let mut texts = Vec::new();
    for area in sorted(folder)?.iter().filter(|path| path.is_dir()) {
        for path in sorted(area)?.iter().filter(|path| path.extension() == Some("txt".as_ref())) {
            let text = fs::read_to_string(path).map_err(io_error(path))?;
            let name = format!("{}/{}", stem(area), stem(path));
            texts.push((name, text, Some(path.clone())));
        }
    }
    Ok(texts)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, LibraryError> {
    let entries = fs::read_dir(folder).map_err(io_error(folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(io_error(folder))?;
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LibraryError {
    move |source| LibraryError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that cannot be read, or whose answers were never recorded, tests nothing.
    #[test]
    fn every_script_that_is_built_in_is_whole() {
        for source in scripts(None, None).unwrap() {
            for step in source.script.steps.iter().filter(|step| step.action.is_answered()) {
                let (name, line) = (&source.name, step.line);
                assert!(step.expected.is_some(), "{name}:{line}: no answer was recorded");
            }
        }
    }

    #[test]
    fn all_scripts_that_cannot_be_read_are_named_at_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("put")).unwrap();
        for (name, text) in [("a", "# a\nput\n"), ("b", "Put\n"), ("c", "# c\nPut\n")] {
            fs::write(folder.path().join("put").join(format!("{name}.txt")), text).unwrap();
        }
        let Err(LibraryError::Scripts(errors)) = scripts(Some(folder.path()), None) else {
            panic!("two scripts are wrong");
        };
        assert_eq!(errors.len(), 2);
        assert_eq!(scripts(Some(folder.path()), Some("put/c")).unwrap().len(), 1);
        assert!(matches!(scripts(Some(folder.path()), Some("x")), Err(LibraryError::NoMatch(_))));
    }
}
