//! Makes a schedule that fails smaller, while it fails in the same way.
//!
//! Everything is tried by running it: faults are left out, in ever smaller groups; then they last
//! shorter; clients are left out, and the load ends sooner. The seed stays, and so does the rest of
//! the plan.

use std::fmt::Write as _;

use crate::faults::Planned;
use crate::plan::Plan;
use crate::plants::Plant;
use crate::schedule::{Layer, Outcome, Settings};
use crate::world::Violation;

/// Runs that shrinking may take.
const RUNS_MAX: u32 = 400;
/// What is left of the load after the violation, in milliseconds.
const LOAD_AFTER_MS: u64 = 100;

/// A schedule that fails.
#[derive(Debug)]
pub struct Failing {
    plan: Plan,
    layer: Layer,
    plant: Option<Plant>,
    faults: Vec<(u64, Planned)>,
    violation: Violation,
    /// Runs that are left.
    runs: u32,
}

impl Failing {
    /// What `outcome` says, if it failed and its faults are known: of a panic they may not be.
    pub fn of(
        plan: &Plan,
        layer: Layer,
        plant: Option<Plant>,
        outcome: Outcome,
    ) -> Option<Failing> {
        let Outcome { violation, faults, .. } = outcome;
        if faults.is_empty() {
            return None;
        }
        let (plan, violation) = (plan.clone(), violation?);
        Some(Failing { plan, layer, plant, faults, violation, runs: RUNS_MAX })
    }

    /// As small as it gets.
    #[must_use]
    pub fn shrunk(mut self) -> Failing {
        self.leave_out_faults();
        self.leave_out_clients();
        self.shorten_faults();
        self.end_sooner();
        self.leave_out_faults();
        self
    }

    /// In words.
    pub fn describe(&self) -> String {
        let Plan { seed, members, newcomers, clients, load_ms, think_ms, .. } = &self.plan;
        let mut text = format!(
            "seed {seed}, {} faults left, {clients} clients for {load_ms} ms, pauses up to \
             {think_ms} ms, {members} members and {newcomers} that may be added\n",
            self.faults.len()
        );
        for (at_ms, planned) in &self.faults {
            writeln!(text, "{at_ms} ms: {planned}").expect("a string takes everything");
        }
        write!(text, "then: {}", self.violation).expect("a string takes everything");
        text
    }

    /// Faults that are left.
    pub fn faults(&self) -> usize {
        self.faults.len()
    }

    /// Halves first, then quarters, down to single ones.
    fn leave_out_faults(&mut self) {
        let mut size = self.faults.len();
        while size > 0 {
            let mut from = 0;
            while from < self.faults.len() {
                let until = (from + size).min(self.faults.len());
                let mut fewer = self.faults.clone();
                fewer.drain(from..until);
                if !self.take(self.plan.clone(), fewer) {
                    from = until;
                }
            }
            size /= 2;
        }
    }

    fn leave_out_clients(&mut self) {
        while self.plan.clients > 0 {
            let mut plan = self.plan.clone();
            plan.clients -= 1;
            if !self.take(plan, self.faults.clone()) {
                break;
            }
        }
    }

    fn shorten_faults(&mut self) {
        for position in 0..self.faults.len() {
            while self.faults[position].1.for_ms > 1 {
                let mut shorter = self.faults.clone();
                shorter[position].1.for_ms /= 2;
                if !self.take(self.plan.clone(), shorter) {
                    break;
                }
            }
        }
    }

    fn end_sooner(&mut self) {
        let last = self.faults.last().map_or(0, |(at_ms, _)| *at_ms);
        let mut load_ms = last + LOAD_AFTER_MS;
        while load_ms < self.plan.load_ms {
            let plan = Plan { load_ms, ..self.plan.clone() };
            if self.take(plan, self.faults.clone()) {
                break;
            }
            load_ms *= 2;
        }
    }

    /// Runs a smaller one, and goes on with it if it fails in the same way.
    fn take(&mut self, plan: Plan, faults: Vec<(u64, Planned)>) -> bool {
        let Some(left) = self.runs.checked_sub(1) else { return false };
        self.runs = left;
        let settings =
            Settings { plant: self.plant, faults: Some(faults.clone()), ..Settings::default() };
        match (self.layer)(&plan, &settings).violation {
            Some(violation) if violation.kind() == self.violation.kind() => {
                (self.plan, self.faults, self.violation) = (plan, faults, violation);
                true
            }
            _ => false,
        }
    }
}
