//! The flags about corruption: how often the members' histories are compared.

use std::time::Duration;

use clap::Args;

use super::{ConfigError, Features, duration_or_none};

/// How often the members' histories are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckTimes {
    /// Between two comparisons of the newest state. None: never.
    pub newest: Option<Duration>,
    /// Between two comparisons of what compactions found. None: never.
    pub compactions: Option<Duration>,
}

/// As they are given.
#[derive(Debug, Args)]
pub(super) struct CorruptionFlags {
    /// Time between comparisons of the members' newest state; 0 is never.
    #[arg(long, env = "ETCD_CORRUPT_CHECK_TIME", default_value = "0s", value_name = "DURATION")]
    corrupt_check_time: String,
    /// Time between comparisons of what compactions found, with the feature gate for it.
    #[arg(long, env = "ETCD_COMPACT_HASH_CHECK_TIME", default_value = "1m")]
    #[arg(value_name = "DURATION")]
    compact_hash_check_time: String,
}

impl CorruptionFlags {
    /// Checked.
    pub(super) fn checked(&self, features: Features) -> Result<CheckTimes, ConfigError> {
        let compactions: Option<Duration> = duration_or_none(&self.compact_hash_check_time)?;
        if compactions.is_none() {
            return Err(ConfigError::ZeroCompactHashCheckTime);
        }
        Ok(CheckTimes {
            newest: duration_or_none(&self.corrupt_check_time)?,
            compactions: compactions.filter(|_| features.compact_hash_check),
        })
    }
}
