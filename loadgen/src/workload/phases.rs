//! What comes before and after the part of a load that is measured.
//!
//! Order: the store is filled (`preload`), the load warms up, is measured for `duration`, and cools
//! down. Faults belong to the measured part. What is not measured is recorded and judged too.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::units;

/// What is not measured before and after the load.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phases {
    /// Before: a length, or `"steady"`.
    pub warm_up: WarmUp,
    /// Longest warm-up, if it lasts until the load is steady.
    #[serde(deserialize_with = "units::optional_spanned_duration")]
    pub warm_up_max: Option<Spanned<Duration>>,
    /// After.
    #[serde(deserialize_with = "units::duration")]
    pub cool_down: Duration,
}

/// How long a load warms up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmUp {
    /// So long.
    Lasts(Duration),
    /// Until throughput and median latency stay where they are from second to second.
    Steady,
}

impl Default for WarmUp {
    fn default() -> Self {
        WarmUp::Lasts(Duration::ZERO)
    }
}

impl<'de> Deserialize<'de> for WarmUp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "steady" {
            return Ok(WarmUp::Steady);
        }
        let lasts = units::parse_duration(&text);
        lasts
            .map(WarmUp::Lasts)
            .map_err(|error| D::Error::custom(format!("{error}, or \"steady\"")))
    }
}

impl Phases {
    /// How long a load may take to become steady.
    pub fn warm_up_max(&self) -> Duration {
        self.warm_up_max.as_ref().map_or(Duration::from_secs(30), |max| *max.get_ref())
    }
}
