//! The middle of a run: load, and the faults meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Run, RunError, Started};
use crate::client::link::Link;
use crate::clock::nanos;
use crate::generator::{Generator, Seen};
use crate::keys::KeySpace;
use crate::nemesis::{Nemesis, schedule};
use crate::pacing::Pacer;
use crate::report::Phase;
use crate::stats::{Stats, seconds};
use crate::worker::{PRELOAD_RETRY, Shared, Worker};
use crate::workload::Pacing;

impl Run {
    pub(super) async fn load(&mut self, started: &mut Started) -> Result<(), RunError> {
        let run = u32::try_from(super::start::distinct() & 0xffff_ffff).expect("32 bits");
        let keys = KeySpace::new(&self.settings.workload.keys);
        let seen = Arc::new(Seen::new(keys, started.first_revision, run));
        let links = self.links(started);
        if self.settings.workload.preload {
            self.phase(Phase::Preloading)?;
            self.preload(started, &seen, &links).await?;
        }
        self.phase(Phase::Loading)?;
        self.offer(started, &seen, &links).await;
        Ok(())
    }

    fn links(&self, started: &Started) -> Vec<Arc<Link>> {
        let workload = &self.settings.workload;
        let clients = *workload.clients.get_ref();
        let connections = workload.connections.as_ref().map_or(clients, |c| *c.get_ref());
        let count = usize::try_from(connections.min(clients)).expect("u32 fits usize");
        let follow = || started.cluster.follow();
        (0..count).map(|home| Arc::new(Link::new(follow(), home))).collect()
    }

    fn workers(&self, shared: &Arc<Shared>, seen: &Arc<Seen>, links: &[Arc<Link>]) -> Vec<Worker> {
        let workload = &self.settings.workload;
        let clients = *workload.clients.get_ref();
        (0..clients)
            .map(|client| {
                let index = usize::try_from(client).expect("u32 fits usize");
                let seed = self.settings.seed;
                let generator = Generator::new(workload, seed, u64::from(client), Arc::clone(seen));
                let link = Arc::clone(&links[index % links.len()]);
                Worker { index, generator, link, shared: Arc::clone(shared) }
            })
            .collect()
    }

    fn shared(&self, started: &Started, pacing: &Pacing, stop: CancellationToken) -> Arc<Shared> {
        Arc::new(Shared {
            clock: self.clock,
            recorder: started.recorder.clone(),
            stats: Stats::default(),
            pacer: Pacer::new(pacing, self.clock.now_ns()),
            request_timeout: *self.settings.workload.request_timeout.get_ref(),
            stop,
        })
    }

    async fn preload(
        &mut self,
        started: &Started,
        seen: &Arc<Seen>,
        links: &[Arc<Link>],
    ) -> Result<(), RunError> {
        let count = seen.keys().count();
        self.live.step(&format!("putting {count} keys"));
        let began_ns = self.clock.now_ns();
        let shared = self.shared(started, &Pacing::default(), self.interrupt.clone());
        let workers = self.workers(&shared, seen, links);
        let step = workers.len();
        let mut loading = JoinSet::new();
        for (first, mut worker) in workers.into_iter().enumerate() {
            let keys = (first..count).step_by(step);
            loading.spawn(async move { worker.preload(keys, PRELOAD_RETRY).await });
        }
        // Every worker is waited for, whatever came of the others: what it asked is recorded.
        let mut result = Ok(());
        while let Some(ended) = loading.join_next().await {
            result = result.and(ended.expect("a worker does not panic"));
        }
        self.report.preload_s = Some(seconds(self.clock.now_ns() - began_ns));
        Ok(result?)
    }

    /// Offers load for the declared time, and breaks things meanwhile.
    async fn offer(&mut self, started: &mut Started, seen: &Arc<Seen>, links: &[Arc<Link>]) {
        let workload = &self.settings.workload;
        let duration = *workload.duration.get_ref();
        let timetable = schedule::timetable(workload, self.settings.seed);
        self.live.step(&format!(
            "offering load for {duration:?} with {} clients, {} faults, {} watches (seed {})",
            workload.clients.get_ref(),
            timetable.len(),
            started.watches.len(),
            self.settings.seed,
        ));
        let stop = self.interrupt.child_token();
        let cpu_before = started.cluster.cpu_seconds();
        let shared = self.shared(started, &workload.pacing, stop.clone());
        let start_ns = self.clock.now_ns();
        let mut working = JoinSet::new();
        for worker in self.workers(&shared, seen, links) {
            working.spawn(worker.run());
        }
        let recorder = started.recorder.clone();
        let cluster = Arc::clone(&started.cluster);
        let nemesis = Nemesis::new(cluster, recorder, self.clock, self.settings.seed);
        let load_ns = start_ns..start_ns + nanos(duration);
        let newcomers = self.watch_newcomers(started);
        let faults = tokio::spawn(Arc::new(nemesis).run(timetable, load_ns, stop.clone()));
        self.wait(&shared, start_ns, duration).await;
        stop.cancel();
        let stopped_ns = self.clock.now_ns();
        let elapsed = Duration::from_nanos(stopped_ns - start_ns);
        self.report.set_faults(faults.await.expect("the nemesis does not panic"));
        started.watches.extend(newcomers.end().await);
        while let Some(ended) = working.join_next().await {
            ended.expect("a worker does not panic");
        }
        self.live.load_ended();
        tokio::time::sleep(self.settings.workload.settle).await;
        let cpu = cpu_before.zip(started.cluster.cpu_seconds());
        // A process that ended took its count with it.
        let goes_on = ["pause", "partition", "move_leader"];
        let whole = self.report.faults.iter().all(|window| goes_on.contains(&window.fault));
        self.report.members_cpu_s = cpu.filter(|_| whole).map(|(before, after)| after - before);
        self.report.load_start_s = seconds(start_ns);
        let due = shared.pacer.due_until(stopped_ns);
        self.report.set_load(shared.stats.summary(elapsed, due));
        self.report.interrupted = self.interrupt.is_cancelled();
    }

    /// Waits until the load is to end, and tells how it goes on.
    async fn wait(&self, shared: &Shared, start_ns: u64, duration: Duration) {
        let end = self.clock.instant(start_ns + nanos(duration));
        let mut second = tokio::time::interval(Duration::from_secs(1));
        let mut elapsed_s = 0;
        second.tick().await;
        loop {
            tokio::select! {
                biased;
                () = self.interrupt.cancelled() => return,
                () = tokio::time::sleep_until(end) => return,
                _ = second.tick() => {
                    elapsed_s += 1;
                    self.live.tick(elapsed_s, shared.stats.counts());
                }
            }
        }
    }
}
