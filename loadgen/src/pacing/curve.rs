//! Rates that change: how many operations are due up to a time, and the reverse.

use std::f64::consts::TAU;
use std::time::Duration;

use crate::workload::{Pacing, PacingMode};

/// Nearer than this to a place is there.
const NEAR: f64 = 1e-6;
/// Longest time that is looked for a place, in seconds: longer than any run.
const TIME_S_MAX: f64 = 1e7;

/// A rate over time. Rates are operations per second; times are seconds since the start.
#[derive(Debug, Clone, PartialEq)]
pub enum Curve {
    /// From one rate to another, evenly; then the last one.
    Ramp {
        /// At the start.
        from: f64,
        /// At the end.
        to: f64,
        /// How long that takes.
        over_s: f64,
    },
    /// From one rate to another in equal steps; then the last one.
    Steps {
        /// Of the first step.
        from: f64,
        /// From each step to the next.
        rise: f64,
        /// Length of a step.
        step_s: f64,
        /// How many.
        steps: f64,
    },
    /// Around a rate, up and down.
    Sine {
        /// In the middle.
        mean: f64,
        /// How far from there, at most the mean.
        amplitude: f64,
        /// From a height to the next.
        period_s: f64,
    },
}

impl Curve {
    /// The curve of a ramp, of steps or of a wave, for a load of `lasts`.
    pub fn new(pacing: &Pacing, lasts: Duration) -> Curve {
        let number = |field: &Option<toml::Spanned<u32>>| {
            field.as_ref().map_or(0.0, |number| f64::from(*number.get_ref()))
        };
        let (from, to) = (number(&pacing.rate), number(&pacing.to));
        let every_s = pacing.every.as_ref().map(|every| every.get_ref().as_secs_f64());
        match pacing.mode() {
            PacingMode::Step => {
                let steps = number(&pacing.steps);
                let step_s = every_s.unwrap_or(lasts.as_secs_f64() / steps);
                Curve::Steps { from, rise: (to - from) / (steps - 1.0), step_s, steps }
            }
            PacingMode::Sine => {
                let amplitude = number(&pacing.amplitude);
                let period_s = every_s.unwrap_or(lasts.as_secs_f64());
                Curve::Sine { mean: from, amplitude, period_s }
            }
            _ => Curve::Ramp { from, to, over_s: lasts.as_secs_f64() },
        }
    }

    /// The rate at a time.
    pub fn rate(&self, at_s: f64) -> f64 {
        match self {
            Curve::Ramp { from, to, over_s } => from + (to - from) * (at_s / over_s).min(1.0),
            Curve::Steps { from, rise, step_s, steps } => {
                from + rise * (at_s / step_s).floor().min(steps - 1.0)
            }
            Curve::Sine { mean, amplitude, period_s } => {
                mean + amplitude * (TAU * at_s / period_s).sin()
            }
        }
    }

    /// How many operations are due up to a time: the integral of the rate.
    pub fn due_until(&self, at_s: f64) -> f64 {
        match self {
            Curve::Ramp { from, to, over_s } => {
                let rising = at_s.min(*over_s);
                let slope = (to - from) / over_s;
                (from + slope * rising / 2.0) * rising + to * (at_s - rising)
            }
            Curve::Steps { from, rise, step_s, steps } => {
                let whole = (at_s / step_s).floor().min(steps - 1.0);
                let before = step_s * (from * whole + rise * whole * (whole - 1.0) / 2.0);
                before + (from + rise * whole) * (at_s - whole * step_s)
            }
            Curve::Sine { mean, amplitude, period_s } => {
                let turns = TAU * at_s / period_s;
                mean * at_s + amplitude * period_s / TAU * (1.0 - turns.cos())
            }
        }
    }

    /// When the operation at `place` (from 0) is due, not before `from_s`; `None` if it never is.
    ///
    /// The count never falls, so the place is between two times that are halved towards each other;
    /// where the rate leads straight there, in two or three steps (Newton's).
    pub fn time_of(&self, place: f64, from_s: f64) -> Option<f64> {
        let (mut low, mut high) = (from_s, from_s.max(1.0));
        while self.due_until(high) < place {
            high *= 2.0;
            if high > TIME_S_MAX {
                return None;
            }
        }
        let mut at = low;
        for _ in 0..100 {
            let missing = place - self.due_until(at);
            if missing.abs() < NEAR || high - low < 1e-9 {
                break;
            }
            if missing > 0.0 {
                low = at;
            } else {
                high = at;
            }
            let straight = at + missing / self.rate(at);
            let is_between = straight > low && straight < high;
            at = if is_between { straight } else { f64::midpoint(low, high) };
        }
        Some(at)
    }
}
