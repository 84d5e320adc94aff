//! A background watch: recorded, and resumed when its stream breaks.
//!
//! Each watch has a stream of its own, to one member, for the whole run. What it has received so
//! far it tells through a [`tokio::sync::watch`] channel, so that the end of the run can wait until
//! every watch has come up to the final revision. A slow watch takes only so many events in a second
//! while the load goes on; what it does not take, the member must keep for it.
//!
//! Invariants: a watch that goes on after a break starts at the revision after the last one that
//! arrived whole; between two responses nothing is assumed. And only a watch that has come up to
//! the final revision says that the client closed it, which claims that everything arrived.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusd_checker::history::record::{Event, Record, WatchBody, WatchRequest, WatchResponse};
use rusd_proto::etcdserverpb as pb;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::convert;
use crate::client::etcd::{Client, WatchStream};
use crate::clock::Clock;
use crate::cluster::roster::Follow;
use crate::recorder::Recorder;
use crate::workload::WatchTold;
use short::Short;

/// Pause before a broken stream is opened again.
const RETRY: Duration = Duration::from_millis(100);
/// How often a watch asks how far it has come, whatever else it is told meanwhile: an answer must not
/// overtake events.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// The same at the end of the run, when somebody waits for the answer.
const PROGRESS_EVERY_AT_END: Duration = Duration::from_millis(50);
/// What a slow watch may have received and not yet read: the least that HTTP/2 allows.
const SLOW_WINDOW_BYTES: u32 = 65_535;

/// What watches are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Watch.
    Running,
    /// The load has ended: come up to the final revision.
    Draining,
    /// Close.
    Closed {
        /// The final revision; `None` if it never became known.
        final_revision: Option<i64>,
    },
}

/// What every watch of a run shares.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Who is a member. A watch ends with its member.
    pub roster: Follow,
    /// The run's clock.
    pub clock: Clock,
    /// Where responses go.
    pub recorder: Recorder,
    /// Ids of watches.
    pub next_watch: Arc<AtomicU64>,
    /// What to do.
    pub phase: watch::Receiver<Phase>,
}

/// A watch to be started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Index of the member to watch.
    pub member: u32,
    /// What to ask for.
    pub request: WatchRequest,
    /// Take no more events than this in a second, while the load goes on.
    pub events_per_second_max: Option<u32>,
    /// How the history is to tell its events.
    pub told: WatchTold,
}

/// A running watch.
#[derive(Debug)]
pub struct Watcher {
    /// Index of the member that it watches.
    pub member: u32,
    /// Everything up to this revision has arrived.
    pub reached: watch::Receiver<i64>,
    /// The task.
    pub task: JoinHandle<()>,
}

struct Task {
    shared: Shared,
    member: u32,
    endpoint: String,
    /// The next creation.
    request: WatchRequest,
    id: u64,
    reached: watch::Sender<i64>,
    events_per_second_max: Option<u32>,
    /// What is still to be told, if events are told in short.
    short: Option<Short>,
}

/// Why one stream came to its end.
enum End {
    /// Closed by us.
    Closed,
    /// Broken, or cancelled by the server; go on.
    Broken,
}

/// Starts a watch; `None` if its member is gone.
pub fn start(shared: Shared, plan: Plan) -> Option<Watcher> {
    let Plan { member, request, events_per_second_max, told } = plan;
    let (sender, reached) = watch::channel(0);
    let id = shared.next_watch.fetch_add(1, Ordering::Relaxed);
    let short = (told == WatchTold::InShort).then(Short::default);
    let endpoint = shared.roster.borrow().seat(member)?.endpoint.clone();
    let task = Task {
        shared,
        member,
        endpoint,
        request,
        id,
        reached: sender,
        events_per_second_max,
        short,
    };
    Some(Watcher { member, reached, task: tokio::spawn(task.run()) })
}

impl Task {
    async fn run(mut self) {
        let mut phase = self.shared.phase.clone();
        let mut roster = self.shared.roster.clone();
        loop {
            // Cancel-safe: an unopened watch is in no record.
            let stream = tokio::select! {
                () = closed(&mut phase) => return,
                () = gone(&mut roster, self.member) => return,
                stream = self.open() => stream,
            };
            match self.follow(stream).await {
                End::Closed => return,
                End::Broken => {}
            }
        }
    }

    async fn open(&self) -> WatchStream {
        let window = self.events_per_second_max.map(|_| SLOW_WINDOW_BYTES);
        loop {
            if let Ok(client) = Client::connect_through(&self.endpoint, window).await
                && let Ok(stream) = client.watch(convert::watch_create(&self.request)).await
            {
                return stream;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn follow(&mut self, mut stream: WatchStream) -> End {
        let mut created = false;
        let mut phase = self.shared.phase.clone();
        // A slow watch reads nothing before this.
        let mut rests_until = Instant::now();
        let mut asked = Instant::now();
        loop {
            let current = *phase.borrow_and_update();
            let ask_after = match current {
                Phase::Running => PROGRESS_EVERY,
                Phase::Draining => PROGRESS_EVERY_AT_END,
                Phase::Closed { final_revision } => {
                    if created {
                        let reached = *self.reached.borrow();
                        let by_client = final_revision.is_some_and(|last| reached >= last);
                        self.record(0, WatchBody::Closed { by_client }).await;
                    }
                    return End::Closed;
                }
            };
            if current == Phase::Running && Instant::now() < rests_until {
                tokio::select! {
                    _ = phase.changed() => {}
                    () = tokio::time::sleep_until(rests_until) => {}
                }
                continue;
            }
            // Cancel-safe: `message` keeps a half-read message in the stream.
            tokio::select! {
                biased;
                _ = phase.changed() => {}
                () = tokio::time::sleep_until(asked + ask_after) => {
                    asked = Instant::now();
                    stream.ask_progress();
                }
                message = stream.responses.message() => match message {
                    Ok(Some(response)) => {
                        rests_until = Instant::now() + self.rest_after(response.events.len());
                        if let Some(end) = self.take(response, &mut created).await {
                            return end;
                        }
                    }
                    Ok(None) | Err(_) => return self.broken(created).await,
                },
            }
        }
    }

    /// How long a watch does not read after so many events.
    fn rest_after(&self, events: usize) -> Duration {
        let events = u32::try_from(events).expect("a message has under 2^32 events");
        self.events_per_second_max
            .map_or(Duration::ZERO, |max| Duration::from_secs(1) * events / max)
    }

    async fn broken(&mut self, created: bool) -> End {
        if created {
            self.record(0, WatchBody::Closed { by_client: false }).await;
            self.resume(Some(self.id));
        }
        tokio::time::sleep(RETRY).await;
        End::Broken
    }

    /// Makes the next creation go on where this watch has come to.
    fn resume(&mut self, resumes: Option<u64>) {
        let reached = *self.reached.borrow();
        if reached > 0 {
            self.request.start_revision = self.request.start_revision.max(reached + 1);
        }
        self.request.resumes = resumes;
        self.id = self.shared.next_watch.fetch_add(1, Ordering::Relaxed);
    }

    async fn take(&mut self, response: pb::WatchResponse, created: &mut bool) -> Option<End> {
        let revision = convert::revision(response.header.as_ref());
        if response.created && !response.canceled {
            *created = true;
            self.record(revision, WatchBody::Created(self.request.clone())).await;
            if self.request.start_revision == 0 {
                self.reached.send_replace(revision);
            }
        } else if response.canceled {
            let compact_revision = response.compact_revision;
            let reason = response.cancel_reason;
            self.record(revision, WatchBody::Canceled { reason, compact_revision }).await;
            self.resume((compact_revision == 0).then_some(self.id));
            if compact_revision > 0 {
                // What was compacted is gone: a new watch, from the oldest revision there is.
                self.request.start_revision = compact_revision;
            }
            tokio::time::sleep(RETRY).await;
            return Some(End::Broken);
        } else if response.events.is_empty() {
            self.record(revision, WatchBody::Progress).await;
            self.advance(revision);
        } else {
            let fragment = response.fragment;
            let events: Vec<_> = response.events.into_iter().map(convert::event).collect();
            let last = events.last().map_or(0, |event| event.kv.mod_revision);
            self.record_events(revision, events, fragment).await;
            self.advance(if fragment { last - 1 } else { last });
        }
        None
    }

    fn advance(&self, revision: i64) {
        self.reached.send_if_modified(|reached| {
            let further = revision > *reached;
            *reached = (*reached).max(revision);
            further
        });
    }

    async fn record_events(&mut self, revision: i64, events: Vec<Event>, fragment: bool) {
        let Some(short) = &mut self.short else {
            return self.record(revision, WatchBody::Events { events, fragment }).await;
        };
        let arrived_ns = self.shared.clock.now_ns();
        if let Some(told) = short.take(revision, &events, fragment, arrived_ns) {
            self.record_at(told.arrived_ns, told.revision, told.body).await;
        }
    }

    async fn record(&mut self, revision: i64, body: WatchBody) {
        if let Some(told) = self.short.as_mut().and_then(Short::tell) {
            self.record_at(told.arrived_ns, told.revision, told.body).await;
        }
        self.record_at(self.shared.clock.now_ns(), revision, body).await;
    }

    async fn record_at(&self, arrived_ns: u64, revision: i64, body: WatchBody) {
        let (watch, member) = (self.id, self.member);
        let response = WatchResponse { watch, member, arrived_ns, revision, body };
        self.shared.recorder.record(Record::Watch(response)).await;
    }
}

async fn closed(phase: &mut watch::Receiver<Phase>) {
    // An error means that the sender is gone, and with it the run.
    drop(phase.wait_for(|phase| matches!(phase, Phase::Closed { .. })).await);
}

async fn gone(roster: &mut Follow, member: u32) {
    if roster.wait_for(|roster| roster.seat(member).is_none()).await.is_err() {
        // Nobody comes or goes any more.
        std::future::pending::<()>().await;
    }
}

mod short;
#[cfg(test)]
mod tests;
