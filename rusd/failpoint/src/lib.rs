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
//! The code names a place by one call: [`hit`], or [`failed`] where it can fail. Without the feature
//! `enabled`, which no default build has, these are nothing, and no name can be set.
//!
//! Left out: gofail's `break`, which starts a debugger.

#[cfg(feature = "enabled")]
mod http;
#[cfg(feature = "enabled")]
mod registry;
#[cfg(feature = "enabled")]
mod terms;

/// Every place: etcd's names where it has the place too, and ours after them.
pub const NAMES: [&str; 31] = [
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
    // The write or the sync of the log fails, of the engine fails, of the images.
    "walWriteError",
    "walSyncError",
    "engineCommitError",
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

/// The same at a place that can fail: the reason, if `return("REASON")` was set.
#[cfg(feature = "enabled")]
pub fn failed(name: &'static str) -> Option<String> {
    registry::evaluate(name)
}

/// Nothing: this build has no failpoints.
#[cfg(not(feature = "enabled"))]
#[inline]
pub const fn failed(_name: &'static str) -> Option<String> {
    None
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
            let calls = ["hit", "failed"].map(|call| format!("rusd_failpoint::{call}(\"{name}\")"));
            let count: usize = calls.iter().map(|call| code.matches(call.as_str()).count()).sum();
            assert_eq!(count, 1, "{name}");
        }
        let all = code.matches("rusd_failpoint::hit(").count();
        let all = all + code.matches("rusd_failpoint::failed(").count();
        assert_eq!((all, NAMES.len()), (NAMES.len(), BTreeSet::from(NAMES).len()));
    }
}
