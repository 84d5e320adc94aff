//! `--auto-compaction-mode` and `--auto-compaction-retention`.

use std::time::Duration;

use super::{ConfigError, duration};

/// What compacts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Keeps what is younger.
    Periodic(Duration),
    /// Keeps as many of the newest revisions.
    Revisions(i64),
}

/// Reads the two flags. A retention of zero is none; a plain number of `periodic` is in hours.
pub(super) fn parse(mode: &str, retention: &str) -> Result<Option<AutoCompaction>, ConfigError> {
    let number = retention.parse::<u32>().ok();
    match (mode, number) {
        ("periodic" | "revision", Some(0)) => Ok(None),
        ("revision", Some(revisions)) => Ok(Some(AutoCompaction::Revisions(revisions.into()))),
        ("periodic", Some(hours)) => {
            Ok(Some(AutoCompaction::Periodic(Duration::from_hours(1) * hours)))
        }
        ("periodic", None) => Ok(Some(AutoCompaction::Periodic(duration(retention)?))),
        ("revision", None) => Err(ConfigError::RetainedRevisions(retention.to_owned())),
        _ => Err(ConfigError::AutoCompactionMode(mode.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_number_is_hours_or_revisions() {
        let periodic = |duration| Ok(Some(AutoCompaction::Periodic(duration)));
        for (mode, retention, expected) in [
            ("periodic", "0", Ok(None)),
            ("revision", "0", Ok(None)),
            ("periodic", "2", periodic(Duration::from_hours(2))),
            ("periodic", "90s", periodic(Duration::from_secs(90))),
            ("revision", "1000", Ok(Some(AutoCompaction::Revisions(1000)))),
            ("revision", "5m", Err(ConfigError::RetainedRevisions("5m".into()))),
            ("periodic", "x", Err(ConfigError::Duration("x".into()))),
            ("hourly", "1", Err(ConfigError::AutoCompactionMode("hourly".into()))),
        ] {
            assert_eq!(parse(mode, retention), expected, "{mode} {retention}");
        }
    }
}
