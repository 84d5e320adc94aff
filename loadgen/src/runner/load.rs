//! The middle of a run: load, and the faults meanwhile.
//!
//! The load begins with the warm-up; faults begin with the part that is measured, and the cool-down
//! comes after it.

mod warm_up;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::metering::Metering;
use super::progress::Progress;
use super::{Run, RunError, Started};
use crate::clock::nanos;
use crate::driver::{self, Effort, PRELOAD_RETRY, Part, Preload, PreloadError, Shared, Source};
use crate::generator::{Generator, Seen};
use crate::keys::KeySpace;
use crate::nemesis::{Nemesis, schedule};
use crate::pacing::{self, Share, Timetable};
use crate::report::hlog::{self, When};
use crate::report::{LATENCY_LOG, Phase, recovery};
use crate::stats::{Distributions, Stats, Summary, seconds};

/// Time to connect, before the first operation of a timetable is due.
const LEAD: Duration = Duration::from_millis(100);

impl Run {
    pub(super) async fn load(&mut self, started: &mut Started) -> Result<(), RunError> {
        let run = u32::try_from(super::start::distinct() & 0xffff_ffff).expect("32 bits");
        let workload = &self.settings.workload;
        let keys = KeySpace::new(&workload.keys);
        let seen = Arc::new(Seen::new(keys, &workload.lists, started.first_revision, run));
        if workload.preload {
            self.phase(Phase::Preloading)?;
            self.preload(started, &seen).await?;
        }
        self.phase(Phase::Loading)?;
        self.offer(started, &seen).await
    }

    /// The threads, each with its share of connections and clients.
    fn parts(
        &self,
        started: &Started,
        seen: &Arc<Seen>,
        source: impl Fn(Share) -> Source,
    ) -> Vec<Part> {
        let workload = &self.settings.workload;
        let count = |number: u32| usize::try_from(number).expect("u32 fits usize");
        let clients = workload.clients_in_flight();
        let connections = workload.connections.as_ref().unwrap_or(&workload.clients);
        let connections = count((*connections.get_ref()).min(clients));
        let threads = count(*workload.threads.get_ref()).min(connections);
        let homes = Homes { connections, threads, pin: self.settings.overrides.pin.map(count) };
        let part = |index: usize| {
            let of = u64::try_from(threads).expect("threads are few");
            let share = Share { index: u64::try_from(index).expect("threads are few"), of };
            let lanes = homes.of_thread(index);
            let follow = started.cluster.follow();
            Part { index, follow, lanes, clients: Vec::new(), source: source(share) }
        };
        let mut parts: Vec<Part> = (0..threads).map(part).collect();
        let seed = self.settings.seed;
        for client in 0..clients {
            let connection = count(client) % connections;
            let generator = Generator::new(workload, seed, u64::from(client), Arc::clone(seen));
            parts[connection % threads].clients.push((connection / threads, generator));
        }
        parts
    }

    fn shared(&self, started: &Started, stop: CancellationToken) -> Shared {
        Shared {
            clock: self.clock,
            recorder: started.recorder.clone(),
            stats: Arc::new(Stats::default()),
            request_timeout: *self.settings.workload.request_timeout.get_ref(),
            overflow: self.settings.workload.pacing.overflow(),
            stop,
        }
    }

    async fn preload(&mut self, started: &Started, seen: &Arc<Seen>) -> Result<(), RunError> {
        let count = seen.keys().count();
        self.live.step(&format!("putting {count} keys"));
        let began_ns = self.clock.now_ns();
        let shared = self.shared(started, self.interrupt.clone());
        let place = |number: u64| usize::try_from(number).expect("threads are few");
        let parts = self.parts(started, seen, |share| {
            let indexes = (place(share.index)..count).step_by(place(share.of));
            Source::Preload(Preload::new(indexes, PRELOAD_RETRY))
        });
        work(&shared, parts)?.await?;
        self.report.preload_s = Some(seconds(self.clock.now_ns() - began_ns));
        Ok(())
    }

    /// Offers load for the declared time, and breaks things meanwhile.
    async fn offer(&mut self, started: &mut Started, seen: &Arc<Seen>) -> Result<(), RunError> {
        let workload = &self.settings.workload;
        let duration = *workload.duration.get_ref();
        let timetable = schedule::timetable(workload, self.settings.seed);
        self.live.step(&format!(
            "offering load for {duration:?} with {} clients, {} faults, {} watches (seed {})",
            workload.clients_in_flight(),
            timetable.len(),
            started.watches.len(),
            self.settings.seed,
        ));
        let stop = self.interrupt.child_token();
        let shared = self.shared(started, stop.clone());
        let times_ns = pacing::times(&workload.pacing)?;
        let start_ns = self.clock.now_ns() + nanos(LEAD);
        let whole = duration + self.longest_warm_up() + workload.phases.cool_down;
        let parts = self.parts(started, seen, |share| {
            let (times_ns, seed) = (Arc::clone(&times_ns), self.settings.seed);
            let table = &workload.pacing;
            Source::Load(Timetable::new(table, times_ns, whole, start_ns, share, seed))
        });
        shared.stats.measure(u64::MAX..u64::MAX);
        let working = work(&shared, parts)?;
        tokio::time::sleep_until(self.clock.instant(start_ns)).await;
        self.warm_up(&shared.stats).await;
        let cpu_before = started.cluster.cpu_seconds();
        let measured_ns = self.clock.now_ns();
        let load_ns = measured_ns..measured_ns + nanos(duration);
        shared.stats.measure(load_ns.clone());
        let stats = Arc::clone(&shared.stats);
        let metering = Metering::start(Arc::clone(&started.cluster), self.clock, stats).await;
        let (cluster, recorder) = (Arc::clone(&started.cluster), started.recorder.clone());
        let nemesis = Nemesis::new(cluster, recorder, self.clock, self.settings.seed);
        let newcomers = self.watch_newcomers(started);
        let measured = stop.child_token();
        let faults = tokio::spawn(Arc::new(nemesis).run(timetable, load_ns, measured.clone()));
        let progress = Progress::new(&shared, metering.meters(), started, measured_ns);
        self.wait(&progress, measured_ns, duration).await;
        measured.cancel();
        let elapsed = Duration::from_nanos(self.clock.now_ns() - measured_ns);
        self.report.set_faults(faults.await.expect("the nemesis does not panic"));
        started.watches.extend(newcomers.end().await);
        self.cool_down().await;
        let offered = Duration::from_nanos(self.clock.now_ns() - start_ns);
        stop.cancel();
        let efforts = working.await?;
        self.live.load_ended();
        tokio::time::sleep(self.settings.workload.settle).await;
        let cpu = cpu_before.zip(started.cluster.cpu_seconds());
        // A process that ended took its count with it.
        let whole =
            !self.settings.workload.every_fault().any(|f| f.kind.get_ref().ends_processes());
        self.report.members_cpu_s = cpu.filter(|_| whole).map(|(before, after)| after - before);
        self.report.members = metering.end().await;
        let mut load = shared.stats.summary(elapsed);
        load.effort = Some(Effort::summary(&efforts, offered, load.response_us.p50));
        self.keep_load(load, measured_ns);
        let when = self.when(measured_ns, elapsed);
        self.keep_distributions(&shared.stats.distributions(), when);
        self.report.interrupted = self.interrupt.is_cancelled();
        Ok(())
    }

    /// Keeps what was measured from `measured_ns` on.
    fn keep_load(&mut self, load: Summary, measured_ns: u64) {
        let start_s = seconds(measured_ns);
        self.report.load_start_s = start_s;
        self.report.recoveries = recovery::recoveries(&load, start_s, &self.report.faults);
        self.report.set_load(load);
    }

    /// When a load was that is measured from `measured_ns` on, by the wall clock.
    fn when(&self, measured_ns: u64, elapsed: Duration) -> When {
        let since_origin = Duration::from_nanos(self.clock.now_ns());
        let origin = SystemTime::now().checked_sub(since_origin).unwrap_or(SystemTime::UNIX_EPOCH);
        When { origin, load_start: Duration::from_nanos(measured_ns), elapsed }
    }

    /// Keeps curves, and the log of latencies.
    fn keep_distributions(&mut self, distributions: &Distributions, when: When) {
        self.report.curves = distributions.curves();
        let path = self.folder.join(LATENCY_LOG);
        let log = hlog::render(distributions, when);
        if let Err(error) = log.and_then(|log| std::fs::write(&path, log)) {
            self.report.incident(format!("{}: {error}", path.display()));
        }
    }

    /// Waits until the load is to end, and tells how it goes on.
    async fn wait(&self, progress: &Progress<'_>, start_ns: u64, duration: Duration) {
        let end = self.clock.instant(start_ns + nanos(duration));
        let mut second = tokio::time::interval(Duration::from_secs(1));
        let mut elapsed_s = 0_u64;
        second.tick().await;
        loop {
            tokio::select! {
                biased;
                () = self.cut_short() => return,
                () = tokio::time::sleep_until(end) => return,
                _ = second.tick() => {
                    elapsed_s += 1;
                    self.live.tick(elapsed_s, || progress.frame(self.clock.now_ns()));
                }
            }
        }
    }
}

/// Where connections belong.
struct Homes {
    connections: usize,
    threads: usize,
    /// The one member that all of them belong to, instead of being spread.
    pin: Option<usize>,
}

impl Homes {
    /// The home of each connection of a thread: every n-th of them is its own.
    fn of_thread(&self, index: usize) -> Vec<usize> {
        let places = (index..self.connections).step_by(self.threads);
        places.map(|place| self.pin.unwrap_or(place)).collect()
    }
}

/// Puts the threads to work; the future is done when all of them are, whatever came of the others.
fn work(
    shared: &Shared,
    parts: Vec<Part>,
) -> Result<impl Future<Output = Result<Vec<Effort>, PreloadError>> + use<>, RunError> {
    let mut working = Vec::new();
    for part in parts {
        working.push(driver::start(shared.clone(), part).map_err(RunError::Thread)?);
    }
    let waiting = tokio::task::spawn_blocking(|| {
        let ended: Vec<_> = working.into_iter().map(driver::Working::join).collect();
        ended.into_iter().collect()
    });
    Ok(async { waiting.await.expect("it only waits") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_unless_they_are_pinned() {
        let mut homes = Homes { connections: 5, threads: 2, pin: None };
        assert_eq!((homes.of_thread(0), homes.of_thread(1)), (vec![0, 2, 4], vec![1, 3]));
        homes.pin = Some(0);
        assert_eq!((homes.of_thread(0), homes.of_thread(1)), (vec![0; 3], vec![0; 2]));
    }
}
