//! The flags about the cluster: who may change it, and how much of the log is kept for members that
//! are behind.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use crate::consensus::log_keeper::KeptLog;

/// etcd's defaults.
const SNAPSHOT_COUNT: u64 = 10_000;
const CATCH_UP_ENTRIES: u64 = 5000;

/// How much of the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct LogKeeping {
    /// Entries after which the state so far is noted as kept elsewhere; 0 is the default.
    #[arg(long = "snapshot-count", env = "ETCD_SNAPSHOT_COUNT", value_name = "N")]
    #[arg(default_value_t = SNAPSHOT_COUNT)]
    snapshot_count: u64,
    /// Entries kept before that, for members that are a little behind; 0 is the default.
    #[arg(long = "snapshot-catchup-entries", env = "ETCD_SNAPSHOT_CATCHUP_ENTRIES")]
    #[arg(value_name = "N", default_value_t = CATCH_UP_ENTRIES)]
    catch_up_entries: u64,
    /// Files of the log that are kept though they are no longer needed; 0 keeps all.
    #[arg(long = "max-wals", env = "ETCD_MAX_WALS", value_name = "N", default_value_t = 5)]
    pub segments_kept: usize,
    /// Taken and not heeded: there are no snapshot files.
    #[arg(long = "max-snapshots", env = "ETCD_MAX_SNAPSHOTS", value_name = "N")]
    #[arg(default_value_t = 5)]
    max_snapshots: u64,
}

impl LogKeeping {
    /// What the driver keeps.
    pub fn kept_log(&self) -> KeptLog {
        let or = |given, default| if given == 0 { default } else { given };
        KeptLog {
            entries_per_mark: or(self.snapshot_count, SNAPSHOT_COUNT),
            catch_up_entries: or(self.catch_up_entries, CATCH_UP_ENTRIES),
        }
    }
}

/// How the membership is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Membership {
    /// Refuse changes of the membership that put the quorum at risk.
    #[arg(long = "strict-reconfig-check", env = "ETCD_STRICT_RECONFIG_CHECK")]
    #[arg(value_name = "BOOL", value_parser = BoolishValueParser::new(), action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "true", default_missing_value = "true")]
    pub is_strict: bool,
    /// Make a cluster of this member alone, from its own data.
    #[arg(long = "force-new-cluster", env = "ETCD_FORCE_NEW_CLUSTER")]
    #[arg(value_name = "BOOL", value_parser = BoolishValueParser::new(), action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    pub is_forced_new: bool,
    /// Members that may be learners at a time.
    #[arg(long = "max-learners", env = "ETCD_MAX_LEARNERS", value_name = "N")]
    #[arg(default_value_t = rusd_state::members::LEARNERS_MAX)]
    pub learners_max: usize,
}
