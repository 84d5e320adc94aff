//! Looks at what the members use while load is offered.
//!
//! The system is asked every second. Members' own metrics, which cost them something, are asked for
//! at both ends only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::report::members::{MemberUse, Meter, UsePoint};
use crate::stats::{Stats, seconds};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// The meters of a run's members.
#[derive(Debug, Clone)]
pub(super) struct Meters {
    cluster: Arc<Cluster>,
    clock: Clock,
    by_member: Arc<Mutex<BTreeMap<u32, Meter>>>,
}

/// Meters that are read every second.
pub(super) struct Metering {
    meters: Meters,
    stop: CancellationToken,
    task: JoinHandle<()>,
    stats: Arc<Stats>,
    /// Operations that were answered before.
    answered_before: u64,
}

impl Metering {
    /// Begins to count what the members use.
    pub(super) async fn start(cluster: Arc<Cluster>, clock: Clock, stats: Arc<Stats>) -> Metering {
        let meters = Meters { cluster, clock, by_member: Arc::default() };
        meters.look_closely().await;
        let answered_before = stats.counts().ok;
        let stop = CancellationToken::new();
        let (looking, stopped) = (meters.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut second = tokio::time::interval(EVERY);
            second.tick().await;
            loop {
                tokio::select! {
                    biased;
                    () = stopped.cancelled() => return,
                    _ = second.tick() => looking.look(),
                }
            }
        });
        Metering { meters, stop, task, stats, answered_before }
    }

    /// The meters, to look at meanwhile.
    pub(super) fn meters(&self) -> Meters {
        self.meters.clone()
    }

    /// Takes a last look. What was answered in between counts, measured or not, since the members
    /// worked for all of it.
    pub(super) async fn end(self) -> Vec<MemberUse> {
        self.stop.cancel();
        self.task.await.expect("looking does not panic");
        self.meters.look_closely().await;
        let answered = self.stats.counts().ok.saturating_sub(self.answered_before);
        let meters = std::mem::take(&mut *self.meters.by_member.lock().expect("no holder panics"));
        meters.into_values().map(|meter| meter.finish(answered)).collect()
    }
}

impl Meters {
    /// The last look at each member.
    pub(super) fn latest(&self) -> Vec<(u32, Option<UsePoint>)> {
        let meters = self.by_member.lock().expect("no holder panics");
        meters.values().map(|meter| (meter.member(), meter.latest().copied())).collect()
    }

    fn look(&self) {
        for seat in self.cluster.roster().seats() {
            self.take(seat.member, self.cluster.usage(seat.member));
        }
    }

    async fn look_closely(&self) {
        for seat in self.cluster.roster().seats() {
            self.take(seat.member, self.cluster.usage_with_metrics(seat.member).await);
        }
    }

    fn take(&self, member: u32, usage: crate::cluster::usage::Usage) {
        let at_s = seconds(self.clock.now_ns());
        let mut meters = self.by_member.lock().expect("no holder panics");
        if let Some(meter) = meters.get_mut(&member) {
            meter.look(at_s, usage);
        } else {
            let endpoint = self.cluster.endpoint(member);
            meters.insert(member, Meter::new(member, endpoint, at_s, usage));
        }
    }
}
