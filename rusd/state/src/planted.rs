//! Semantic bugs planted on purpose, so that the harness can prove that it finds them.
//!
//! Only a build with the feature `planted-bugs` can have one, for the whole process; in others
//! nothing is left of the questions.

/// A promise that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A key that was deleted goes on counting its versions when it is made again.
    VersionSurvivesDelete,
    /// The count of a range is at most its limit.
    CountUpToLimit,
    /// The value of a key that does not exist compares as if it were empty.
    MissingValueCompares,
    /// A put without a lease leaves the key with the lease that it had.
    LeaseStays,
    /// The compact revision itself cannot be read any more.
    CompactRevisionUnreadable,
    /// A key that is made again says that it was created when it was deleted.
    CreateRevisionSurvivesDelete,
    /// A delete of a range of several keys leaves the last of them, and counts it.
    DeleteRangeLeavesLast,
    /// Events of keys that a lease takes with it have no previous key-value.
    PrevLostByLease,
    /// What the engine wrote is called durable before it is synced.
    EngineNotSynced,
}

#[cfg(feature = "planted-bugs")]
static PLANTED: std::sync::OnceLock<Bug> = std::sync::OnceLock::new();

/// Plants a bug.
///
/// # Panics
/// If there is another one already.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Bug) {
    PLANTED.set(bug).expect("one bug at a time");
}

/// Whether this bug is planted.
#[cfg(feature = "planted-bugs")]
pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(&bug)
}

/// No bug is planted in this build.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is_planted(_bug: Bug) -> bool {
    false
}
