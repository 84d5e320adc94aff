//! The flags about the cluster: who may change it, and how much of the log is kept for members that
//! are behind.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

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
