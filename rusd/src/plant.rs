//! Bugs planted on purpose, so that the harness can prove that it catches them.
//!
//! Only a build with the cargo feature `planted-bugs` can have one; without it [`Plant`] has no
//! constructor that gives one, and the optimiser removes every trace.

#[cfg(feature = "planted-bugs")]
pub use synced_note::SyncedNote;

/// A bug planted on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Linearizable reads are served without asking the leader.
    StaleRead,
    /// Writes are acknowledged before the log is synced.
    AckBeforeSync,
    /// One watch event in a thousand is dropped.
    DropWatchEvent,
    /// A transaction's operations are applied in two revisions.
    SplitTxn,
}

impl Plant {
    /// The bug that the environment variable `RUSD_PLANT` names.
    ///
    /// # Panics
    /// On an unknown name: a run meant to be broken must not be sound by a typing error.
    #[cfg(feature = "planted-bugs")]
    pub fn from_env() -> Option<Plant> {
        let name = std::env::var("RUSD_PLANT").ok()?;
        Some(match name.as_str() {
            "stale-read" => Plant::StaleRead,
            "ack-before-sync" => Plant::AckBeforeSync,
            "drop-watch-event" => Plant::DropWatchEvent,
            "split-txn" => Plant::SplitTxn,
            other => panic!("RUSD_PLANT names no planted bug: {other:?}"),
        })
    }

    /// None: this build has no planted bugs.
    #[cfg(not(feature = "planted-bugs"))]
    pub const fn from_env() -> Option<Plant> {
        None
    }
}

#[cfg(feature = "planted-bugs")]
mod synced_note {
    use std::fs;
    use std::path::{Path, PathBuf};

    use rusd_raft::log::SyncPoint;

    /// Notes in `member/wal/SYNCED` how far the log is synced, for a harness that acts out a loss
    /// of power: it cuts the log back to there.
    #[derive(Debug)]
    pub struct SyncedNote {
        path: PathBuf,
        noted: Option<SyncPoint>,
    }

    impl SyncedNote {
        /// A note beside the log in `wal_dir`.
        pub fn new(wal_dir: &Path) -> Self {
            SyncedNote { path: wal_dir.join("SYNCED"), noted: None }
        }

        /// Notes `synced`, if that is news.
        ///
        /// # Panics
        /// If the note cannot be written: the harness would cut at the wrong place.
        pub fn update(&mut self, synced: &SyncPoint) {
            if self.noted.as_ref() == Some(synced) {
                return;
            }
            let segment = synced.segment.file_name().unwrap_or_default().display();
            let temporary = self.path.with_extension("new");
            fs::write(&temporary, format!("{segment} {}\n", synced.offset))
                .and_then(|()| fs::rename(&temporary, &self.path))
                .expect("the folder of the log takes another file");
            self.noted = Some(synced.clone());
        }
    }
}
