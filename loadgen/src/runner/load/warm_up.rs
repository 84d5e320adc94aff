//! The part of a load before it is measured, and the one after.

use std::time::Duration;

use super::super::Run;
use crate::stats::{Stats, approximate};
use crate::workload::WarmUp;

/// From look to look whether a load is steady.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many looks in a row must be alike.
const LOOKS_ALIKE: usize = 4;
/// And differ by this part at most.
const DIFFERENCE_MAX: f64 = 0.1;

impl Run {
    /// How long the warm-up may last.
    pub(super) fn longest_warm_up(&self) -> Duration {
        let phases = &self.settings.workload.phases;
        match phases.warm_up {
            WarmUp::Lasts(lasts) => lasts,
            WarmUp::Steady => phases.warm_up_max(),
        }
    }

    /// Waits until the load is warm. One that never becomes steady is an incident.
    pub(super) async fn warm_up(&mut self, stats: &Stats) {
        let max = self.longest_warm_up();
        if max.is_zero() {
            return;
        }
        let is_steady_wanted = self.settings.workload.phases.warm_up == WarmUp::Steady;
        self.live.step(&format!("warming up for {max:?} at most"));
        let waited = async {
            if is_steady_wanted { until_steady(stats).await } else { std::future::pending().await }
        };
        let waited = tokio::select! {
            () = self.cut_short() => return,
            waited = tokio::time::timeout(max, waited) => waited,
        };
        if is_steady_wanted && waited.is_err() {
            self.report.incident(format!("the load did not become steady in {max:?}"));
        }
    }

    /// Goes on with the load for a while, unmeasured.
    pub(super) async fn cool_down(&self) {
        let lasts = self.settings.workload.phases.cool_down;
        tokio::select! {
            () = self.cut_short() => {}
            () = tokio::time::sleep(lasts) => {}
        }
    }
}

async fn until_steady(stats: &Stats) {
    let mut looks = Vec::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        looks.push(stats.lately());
        if is_steady(&looks) {
            return;
        }
    }
}

/// Whether the last looks (operations and median latency) are alike.
fn is_steady(looks: &[(u64, u64)]) -> bool {
    let Some(last) = looks.len().checked_sub(LOOKS_ALIKE).map(|first| &looks[first..]) else {
        return false;
    };
    let are_alike = |of: fn(&(u64, u64)) -> u64| {
        let least = last.iter().map(of).min().unwrap_or(0);
        let most = last.iter().map(of).max().unwrap_or(0);
        least > 0 && approximate(most - least) <= approximate(most) * DIFFERENCE_MAX
    };
    are_alike(|look| look.0) && are_alike(|look| look.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_steady_when_throughput_and_latency_stay_where_they_are() {
        let steady = [(1000, 300), (980, 310), (1010, 305), (1000, 290)];
        assert!(is_steady(&steady));
        assert!(is_steady(&[&[(100, 9000)][..], &steady].concat()));
        assert!(!is_steady(&steady[..3]));
        assert!(!is_steady(&[(500, 300), (800, 300), (900, 300), (950, 300)]));
        assert!(!is_steady(&[(1000, 900), (1000, 600), (1000, 400), (1000, 350)]));
        assert!(!is_steady(&[(0, 0); 4]));
    }
}
