//! What the state machine can be told.

/// Learners that etcd allows at a time, by default.
pub const LEARNERS_MAX: usize = 1;

/// Settings of a [`StateMachine`](crate::apply::StateMachine).
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for the newest values; what does not fit is read back from history. Members may
    /// differ.
    pub resident_bytes_max: usize,
    /// A lease that asks for less gets this, in seconds. All members must agree.
    pub lease_ttl_seconds_min: i64,
    /// How many members may be learners at a time. All members must agree.
    pub learners_max: usize,
    /// Deliberate faults, to show that the harness finds them.
    #[cfg(feature = "planted-bugs")]
    pub planted: PlantedBugs,
}

/// Deliberate faults.
#[cfg(feature = "planted-bugs")]
#[derive(Debug, Clone, Copy, Default)]
pub struct PlantedBugs {
    /// A transaction's first change gets one revision, the rest the next.
    pub split_txn: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            resident_bytes_max: 256 << 20,
            // What etcd's default heartbeat and election timeout come to.
            lease_ttl_seconds_min: 2,
            learners_max: LEARNERS_MAX,
            #[cfg(feature = "planted-bugs")]
            planted: PlantedBugs::default(),
        }
    }
}
