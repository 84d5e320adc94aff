//! Bugs planted on purpose, so that the harness can prove that it catches them.
//!
//! Only a build with the cargo feature `planted-bugs` can have one; without it [`Plant`] has no
//! constructor that gives one, and the optimiser removes every trace.

// In tests too, so that they need no feature.
#[cfg(any(test, feature = "planted-bugs"))]
mod noted_log;

#[cfg(feature = "planted-bugs")]
mod slower;

#[cfg(any(test, feature = "planted-bugs"))]
pub use noted_log::NotedLog;

use rusd_state::planted::Bug;

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
    /// A leader counts entries of earlier terms as committed when a quorum has them.
    CommitEarlierTerms,
    /// A leader counts what learners have as if they were voters.
    LearnerCounted,
    /// A round of reads goes out again under the context of one that was given up.
    ReadContextReused,
    /// A member that led once goes on expiring leases, and the next leader is not asked.
    DeposedLeaderExpires,
    /// Progress is told at once, up to what is applied, and overtakes events that are on their way.
    ProgressAhead,
    /// A lease that was renewed ends when it would have ended anyhow.
    RenewalForgotten,
    /// Everything takes a tenth more CPU time.
    Slower,
    /// The state machine breaks a promise of the API.
    State(Bug),
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
            "commit-earlier-terms" => Plant::CommitEarlierTerms,
            "learner-counted" => Plant::LearnerCounted,
            "read-context-reused" => Plant::ReadContextReused,
            "deposed-leader-expires" => Plant::DeposedLeaderExpires,
            "progress-ahead" => Plant::ProgressAhead,
            "renewal-forgotten" => Plant::RenewalForgotten,
            "slower" => Plant::Slower,
            "create-revision-survives-delete" => Plant::State(Bug::CreateRevisionSurvivesDelete),
            "delete-range-leaves-last" => Plant::State(Bug::DeleteRangeLeavesLast),
            "prev-lost-by-lease" => Plant::State(Bug::PrevLostByLease),
            "version-survives-delete" => Plant::State(Bug::VersionSurvivesDelete),
            "count-up-to-limit" => Plant::State(Bug::CountUpToLimit),
            "missing-value-compares" => Plant::State(Bug::MissingValueCompares),
            "lease-stays" => Plant::State(Bug::LeaseStays),
            "compact-revision-unreadable" => Plant::State(Bug::CompactRevisionUnreadable),
            "engine-not-synced" => Plant::State(Bug::EngineNotSynced),
            other => panic!("RUSD_PLANT names no planted bug: {other:?}"),
        })
    }

    /// None: this build has no planted bugs.
    #[cfg(not(feature = "planted-bugs"))]
    pub const fn from_env() -> Option<Plant> {
        None
    }

    /// Begins what is wrong with the whole process rather than with one place.
    #[cfg(feature = "planted-bugs")]
    pub fn begin(self) {
        if self == Plant::Slower {
            slower::start();
        }
    }

    /// There is nothing to begin.
    #[cfg(not(feature = "planted-bugs"))]
    pub const fn begin(self) {}
}
