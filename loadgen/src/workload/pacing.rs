//! When operations start.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::units;

/// When operations start. Rates are operations per second of all clients together.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pacing {
    /// Closed loop, or which open one. If absent: `constant` if there is a rate, else `closed`.
    pub mode: Option<Spanned<PacingMode>>,
    /// The rate; at the start of `ramp` and `step`, in the middle of `sine`, between the bursts of
    /// `burst`.
    pub rate: Option<Spanned<u32>>,
    /// The rate at the end of `ramp` and `step`.
    pub to: Option<Spanned<u32>>,
    /// How many rates `step` has, the first and the last included.
    pub steps: Option<Spanned<u32>>,
    /// How far `sine` goes from its rate, up and down.
    pub amplitude: Option<Spanned<u32>>,
    /// Operations of one burst.
    pub size: Option<Spanned<u32>>,
    /// Length of a step, of a wave, or from burst to burst.
    #[serde(deserialize_with = "units::optional_spanned_duration")]
    pub every: Option<Spanned<Duration>>,
    /// Times of `trace`: a file beside the workload, with a time in seconds on each line.
    pub file: Option<Spanned<PathBuf>>,
    /// Operations in flight at most, in an open loop; as many as `clients` if absent.
    pub max_in_flight: Option<Spanned<u32>>,
    /// What becomes of an operation that is due while so many are in flight.
    pub overflow: Option<Spanned<Overflow>>,
}

/// Closed loop, or which open one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PacingMode {
    /// A client starts the next operation when the last one has ended.
    Closed,
    /// Operations are due at a constant rate, whether or not the last ones have ended. Latency
    /// counts from when an operation was due, as in all modes that follow.
    Constant,
    /// Operations are due at random, as if many independent users asked.
    Poisson,
    /// The rate goes evenly from one to another.
    Ramp,
    /// The rate goes from one to another in equal steps.
    Step,
    /// The rate goes up and down.
    Sine,
    /// Many operations are due at once, again and again.
    Burst,
    /// Operations are due at the times in a file.
    Trace,
}

/// What becomes of an operation that is due while as many are in flight as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// It starts late.
    #[default]
    Wait,
    /// It is never sent, and counted as dropped.
    Drop,
}

impl Pacing {
    /// Closed loop, or which open one.
    pub fn mode(&self) -> PacingMode {
        match (&self.mode, &self.rate) {
            (Some(mode), _) => *mode.get_ref(),
            (None, Some(_)) => PacingMode::Constant,
            (None, None) => PacingMode::Closed,
        }
    }

    /// What becomes of operations that are too many.
    pub fn overflow(&self) -> Overflow {
        self.overflow.as_ref().map_or(Overflow::Wait, |overflow| *overflow.get_ref())
    }
}

impl PacingMode {
    /// Name in workload files.
    pub fn name(self) -> &'static str {
        match self {
            PacingMode::Closed => "closed",
            PacingMode::Constant => "constant",
            PacingMode::Poisson => "poisson",
            PacingMode::Ramp => "ramp",
            PacingMode::Step => "step",
            PacingMode::Sine => "sine",
            PacingMode::Burst => "burst",
            PacingMode::Trace => "trace",
        }
    }
}
