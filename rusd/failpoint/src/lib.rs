//! Failpoints: named places at which a trial lets a member end, wait or fail, in the protocol of
//! etcd's gofail, so that one file of faults works on rusd and on an etcd that was built with it.
//!
//! ```text
//!   GOFAIL_FAILPOINTS=raftBeforeSave=sleep(100)     from the start
//!   GOFAIL_HTTP=127.0.0.1:22381                     over HTTP:
//!     GET /                    all, a line each: NAME=TERMS
//!     GET /NAME                its terms
//!     GET /NAME/count          how often it did something
//!     PUT /NAME                sets its terms, which are the body
//!     PUT /failpoints          several: NAME=TERMS;NAME=TERMS
//!     DELETE /NAME             nothing more
//! ```
//!
//! The code names a place by one call: [`hit`], or [`io()`] before what can fail, mostly a write, and
//! before each step of several that belong together. There the process can be made to end, and the write
//! to fail:
//!
//! ```text
//!   return("EIO")             each write fails as on a disk that is damaged
//!   return("ENOSPC")          or that is full; any other reason is told as it stands
//!   1*return("EIO")           only the next one fails
//!   3*off->return("EIO")      three steps go well, the fourth fails and all after it
//!   3*off->panic              and the process ends before the fourth
//! ```
//!
//! Without the feature `enabled`, which no default build has, these are nothing, and no name can be set.
//!
//! Left out: gofail's `break`, which starts a debugger.

use std::io;

#[cfg(feature = "enabled")]
mod http;
#[cfg(feature = "enabled")]
mod registry;
#[cfg(feature = "enabled")]
mod terms;

/// Every place: etcd's names where it has the place too, and ours after them.
pub const NAMES: [&str; 42] = [
    "raftBeforeLeaderSend",
    "raftBeforeSave",
    "raftAfterSave",
    "raftBeforeFollowerSend",
    "raftBeforeAdvance",
    // The state of another member: when it is whole here, and waits; when the log knows of it; when it
    // is opened.
    "raftBeforeSaveSnap",
    "raftAfterSaveSnap",
    "raftBeforeApplySnap",
    "raftBeforeWALSaveSnaphot",
    "raftAfterApplySnap",
    "raftAfterWALRelease",
    "applyBeforeOpenSnapshot",
    "applyAfterOpenSnapshot",
    "walBeforeSync",
    "walAfterSync",
    "beforePublishing",
    "beforeApplyOneEntryNormal",
    "beforeApplyOneConfChange",
    "beforeCommit",
    "afterCommit",
    "compactBeforeCommitScheduledCompact",
    "compactAfterCommitScheduledCompact",
    "compactBeforeCommitBatch",
    "compactAfterCommitBatch",
    "compactBeforeSetFinishedCompact",
    "compactAfterSetFinishedCompact",
    "defragBeforeCopy",
    "defragBeforeRename",
    // A generation of the engine is begun, for a copy or for the state of another member; a part of the
    // copy is written.
    "defragOpenFileError",
    "defragdbFail",
    // Records are written to the log, or synced.
    "walWriteError",
    "walSyncError",
    // A segment is ended and the next begun: cut, sync, create, write, sync, rename, sync of the folder.
    "walCutStep",
    // A segment is removed: delete, sync of the folder.
    "walReleaseStep",
    // A piece of the next segment is filled with zeros.
    "walPrepareStep",
    // History is written to the engine; a row of the images; how far they are.
    "engineCommitError",
    "foldRow",
    "foldFinish",
    // A small file beside the engine (CURRENT, INCOMING) is replaced: write, sync, rename, sync of the
    // folder; or removed: delete, sync of the folder.
    "pointerStep",
    // The state of another member is written: each chunk; the small records, a sync, how far it goes, a
    // sync.
    "importStep",
    // The state is read: a chunk for another member; a part of a file for a client.
    "exportChunk",
    "exportFile",
];

/// Does what was set for the place of this name: waits, or ends the process at once.
#[cfg(feature = "enabled")]
pub fn hit(name: &'static str) {
    // What it returns means nothing here.
    drop(registry::evaluate(name));
}

/// Nothing: this build has no failpoints.
#[cfg(not(feature = "enabled"))]
#[inline]
pub const fn hit(_name: &'static str) {}

/// The same at a place that can fail: with what `return("REASON")` says.
#[cfg(feature = "enabled")]
pub fn io(name: &'static str) -> io::Result<()> {
    registry::evaluate(name).map_or(Ok(()), |reason| Err(error(reason)))
}

/// Nothing: this build has no failpoints.
#[cfg(not(feature = "enabled"))]
#[inline]
pub const fn io(_name: &'static str) -> io::Result<()> {
    Ok(())
}

/// The system's error, if the reason names one. The numbers are Linux's.
#[cfg(feature = "enabled")]
fn error(reason: String) -> io::Error {
    match reason.as_str() {
        "EIO" => io::Error::from_raw_os_error(5),
        "ENOSPC" => io::Error::from_raw_os_error(28),
        _ => io::Error::other(reason),
    }
}

/// Sets what `GOFAIL_FAILPOINTS` says, and serves at `GOFAIL_HTTP`; an error says why not.
#[cfg(feature = "enabled")]
pub fn start() -> Result<(), String> {
    if let Ok(all) = std::env::var("GOFAIL_FAILPOINTS") {
        registry::places().set_several(&all)?;
    }
    match std::env::var("GOFAIL_HTTP") {
        Ok(address) if !address.is_empty() => http::serve(&address),
        _ => Ok(()),
    }
}

/// Nothing: this build has no failpoints.
#[cfg(not(feature = "enabled"))]
pub const fn start() -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn read(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, text);
            } else {
                *text += &fs::read_to_string(path).unwrap();
            }
        }
    }

    #[test]
    fn every_place_is_in_the_code_once_and_has_its_name() {
        let (mut code, root) = (String::new(), Path::new(env!("CARGO_MANIFEST_DIR")));
        for folder in ["../src", "../raft/src", "../state/src"] {
            read(&root.join(folder), &mut code);
        }
        for name in NAMES {
            let calls = ["hit", "io"].map(|call| format!("rusd_failpoint::{call}(\"{name}\")"));
            let count: usize = calls.iter().map(|call| code.matches(call.as_str()).count()).sum();
            assert_eq!(count, 1, "{name}");
        }
        let all = code.matches("rusd_failpoint::hit(").count();
        let all = all + code.matches("rusd_failpoint::io(").count();
        assert_eq!((all, NAMES.len()), (NAMES.len(), BTreeSet::from(NAMES).len()));
    }

    #[cfg(feature = "enabled")]
    #[test]
    fn a_reason_is_the_systems_error_or_told_as_it_stands() {
        assert_eq!(error("ENOSPC".to_owned()).kind(), io::ErrorKind::StorageFull);
        assert!(error("EIO".to_owned()).to_string().starts_with("Input/output error"));
        assert_eq!(error("no more".to_owned()).to_string(), "no more");
    }
}
