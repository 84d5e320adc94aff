//! Clients and watches, as tasks: they ask members through their doors, and everything that they
//! saw goes into the history.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusd_checker::history::record::{
    Header, Operation, Outcome, Record, WatchBody, WatchRequest, WatchResponse,
};
use rusd_loadgen::client::etcd::WatchStream;
use rusd_loadgen::client::{convert, failure};
use rusd_loadgen::generator::{Ask, Generator, Seen};
use rusd_loadgen::keys::KeySpace;
use rusd_proto::etcdserverpb as pb;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::doors::{Door, Doors};
use crate::plan::Plan;

/// How long a client waits for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause before a member is asked again that was not there.
const RETRY: Duration = Duration::from_millis(40);
/// How often a watch asks how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_millis(300);
/// How often it asks in vain before it is made anew.
const UNANSWERED_MAX: u32 = 20;
/// What a member without a vote says of what it does not serve.
const LEARNER: &str = "etcdserver: rpc not supported for learner";
/// Longest way of a request to a member, and of its answer back, in milliseconds.
const WAY_MS_MAX: u64 = 3;

/// What was recorded.
#[derive(Debug, Clone)]
pub struct History {
    records: Arc<Mutex<Vec<Record>>>,
    origin: Instant,
}

impl History {
    /// An empty history that begins now.
    pub fn new(header: Header) -> History {
        let records = Arc::new(Mutex::new(vec![Record::Header(header)]));
        History { records, origin: Instant::now() }
    }

    /// Nanoseconds since it began.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).expect("schedules are short")
    }

    /// Adds what has just ended.
    pub fn push(&self, record: Record) {
        self.records.lock().push(record);
    }

    /// Everything so far.
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().clone()
    }
}

/// What all clients share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The way to the members.
    pub doors: Doors,
    /// Where everything goes.
    pub history: History,
    /// Set when the load ends.
    pub stop: CancellationToken,
}

/// Starts the clients of a plan.
pub fn start(plan: &Plan, shared: &Shared) -> Vec<tokio::task::JoinHandle<()>> {
    let seen = Arc::new(Seen::new(KeySpace::new(&plan.workload.keys), &plan.workload.lists, 1, 1));
    let client = |index: usize| {
        let stream = u64::try_from(index).expect("clients are few");
        let generator = Generator::new(&plan.workload, plan.seed, stream, Arc::clone(&seen));
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        rng.set_stream(1000 + stream);
        let home = index % plan.members;
        let client =
            Client { home, generator, rng, think_ms: plan.think_ms, shared: shared.clone() };
        tokio::spawn(client.run())
    };
    (0..plan.clients).map(client).collect()
}

struct Client {
    home: usize,
    generator: Generator,
    rng: ChaCha8Rng,
    think_ms: u64,
    shared: Shared,
}

impl Client {
    async fn run(mut self) {
        let mut member = self.home;
        let mut door: Option<Door> = None;
        while !self.shared.stop.is_cancelled() {
            self.sleep(self.think_ms).await;
            self.shared.doors.going_on(member).await;
            if door.as_ref().is_none_or(|door| door.gone.is_cancelled()) {
                door = self.shared.doors.reach(member).await;
            }
            let Some(reached) = &door else {
                member = (member + 1) % self.shared.doors.count();
                tokio::time::sleep(RETRY).await;
                continue;
            };
            let reached = reached.clone();
            if !self.ask(member, &reached).await {
                (member, door) = ((member + 1) % self.shared.doors.count(), None);
            } else if self.rng.random_bool(0.05) && member != self.home {
                (member, door) = (self.home, None);
            }
        }
    }

    async fn sleep(&mut self, ms_max: u64) {
        let ms = self.rng.random_range(0..=ms_max);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Whether the member answered.
    async fn ask(&mut self, member: usize, door: &Door) -> bool {
        let (kind, Ask::Store(request)) = self.generator.next_ask() else {
            unreachable!("a plan asks for nothing but the store");
        };
        let process = self.generator.process();
        let call_ns = self.shared.history.now_ns();
        let ways = [0, 1].map(|_| self.rng.random_range(0..=WAY_MS_MAX));
        let doors = self.shared.doors.clone();
        let asking = async {
            tokio::time::sleep(Duration::from_millis(ways[0])).await;
            let answer = door.client.execute(&request).await;
            doors.going_on(member).await;
            tokio::time::sleep(Duration::from_millis(ways[1])).await;
            answer
        };
        let asking = door.gone.run_until_cancelled(asking);
        let (outcome, is_well) = match tokio::time::timeout(REQUEST_TIMEOUT, asking).await {
            Ok(Some(Ok(response))) => (Outcome::Ok(response), true),
            Ok(Some(Err(status))) => {
                let is_well = failure::is_refusal(&status) && status.message() != LEARNER;
                (failure::outcome(&request, &status), is_well)
            }
            Ok(None) => (failure::outcome(&request, &Status::unavailable("gone")), false),
            Err(_elapsed) => (failure::timed_out(&request), false),
        };
        self.generator.observe(kind, &request, &outcome);
        let history = &self.shared.history;
        let is_known = !matches!(outcome, Outcome::Unknown(_));
        let return_ns = is_known.then(|| history.now_ns());
        let member = u32::try_from(member).expect("members are few");
        history.push(Record::Op(Operation {
            process,
            member,
            call_ns,
            return_ns,
            request,
            outcome,
        }));
        is_well
    }
}

/// A watch on all keys of one member, which goes on after every break.
pub struct Watcher {
    /// Index of the member.
    pub member: usize,
    /// Everything up to this revision has arrived.
    pub reached: watch::Receiver<i64>,
    /// The task.
    pub task: tokio::task::JoinHandle<()>,
    /// Set for it to end.
    ending: watch::Sender<Option<Ending>>,
}

/// How a watch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Everything has arrived.
    Complete,
    /// The member is none any more, or has no vote.
    Abandoned,
}

impl Watcher {
    /// Ends it. Abandoned, it has no claim to what it has not seen.
    pub fn end(&self, is_abandoned: bool) {
        let ending = if is_abandoned { Ending::Abandoned } else { Ending::Complete };
        self.ending.send_replace(Some(ending));
    }
}

/// Starts a watch on all keys of a member.
pub fn start_watch(plan: &Plan, member: usize, shared: &Shared) -> Watcher {
    let (key, range_end) = KeySpace::new(&plan.workload.keys).whole();
    let request = WatchRequest {
        key,
        range_end,
        start_revision: 1,
        prev_kv: member == 0,
        no_put: false,
        no_delete: false,
        resumes: None,
    };
    let (sender, reached) = watch::channel(0);
    let (ending, ending_out) = watch::channel(None);
    let following = Following {
        member,
        request,
        id: u64::try_from(member).expect("members are few"),
        reached: sender,
        shared: shared.clone(),
        ending: ending_out,
    };
    Watcher { member, reached, task: tokio::spawn(following.run()), ending }
}

struct Following {
    member: usize,
    /// The next creation.
    request: WatchRequest,
    id: u64,
    reached: watch::Sender<i64>,
    shared: Shared,
    /// Told when the watch is to end.
    ending: watch::Receiver<Option<Ending>>,
}

/// Distance between the ids of a member's watches.
const IDS_APART: u64 = 1000;

impl Following {
    async fn run(mut self) {
        while self.ending.borrow().is_none() {
            let Some(door) = self.shared.doors.reach(self.member).await else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            let opening = door.client.watch(convert::watch_create(&self.request));
            let opening = door.gone.run_until_cancelled(opening);
            if let Ok(Some(Ok(stream))) = tokio::time::timeout(REQUEST_TIMEOUT, opening).await {
                self.follow(stream, &door).await;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn follow(&mut self, mut stream: WatchStream, door: &Door) {
        let (mut is_created, mut unanswered) = (false, 0);
        loop {
            let received = tokio::select! {
                biased;
                ending = self.ending.wait_for(Option::is_some) => {
                    Err(ending.is_ok_and(|ending| *ending == Some(Ending::Abandoned)))
                }
                () = door.gone.cancelled() => Ok(None),
                received = stream.responses.message() => Ok(Some(received)),
                () = tokio::time::sleep(PROGRESS_EVERY), if unanswered < UNANSWERED_MAX => {
                    stream.ask_progress();
                    unanswered += 1;
                    continue;
                }
                () = tokio::time::sleep(PROGRESS_EVERY) => Ok(None),
            };
            unanswered = 0;
            let received = match received {
                Ok(received) => received,
                Err(is_abandoned) => {
                    if is_created {
                        self.record(0, WatchBody::Closed { by_client: !is_abandoned });
                    }
                    return;
                }
            };
            self.shared.doors.going_on(self.member).await;
            match received {
                Some(Ok(Some(response))) if !door.gone.is_cancelled() => {
                    if !self.take(response, &mut is_created) {
                        return;
                    }
                }
                _ => {
                    if is_created {
                        self.record(0, WatchBody::Closed { by_client: false });
                        self.go_on(Some(self.id));
                    }
                    return;
                }
            }
        }
    }

    fn go_on(&mut self, resumes: Option<u64>) {
        let reached = *self.reached.borrow();
        if reached > 0 {
            self.request.start_revision = self.request.start_revision.max(reached + 1);
        }
        self.request.resumes = resumes;
        self.id += IDS_APART;
    }

    /// Whether the stream goes on.
    fn take(&mut self, response: pb::WatchResponse, is_created: &mut bool) -> bool {
        let revision = convert::revision(response.header.as_ref());
        if response.canceled {
            let compact_revision = response.compact_revision;
            let reason = response.cancel_reason;
            self.record(revision, WatchBody::Canceled { reason, compact_revision });
            self.go_on((compact_revision == 0).then_some(self.id));
            if compact_revision > 0 {
                self.request.start_revision = compact_revision;
            }
            return false;
        }
        if response.created {
            *is_created = true;
            self.record(revision, WatchBody::Created(self.request.clone()));
        } else if response.events.is_empty() {
            self.record(revision, WatchBody::Progress);
            self.advance(revision);
        } else {
            let fragment = response.fragment;
            let events: Vec<_> = response.events.into_iter().map(convert::event).collect();
            let last = events.last().map_or(0, |event| event.kv.mod_revision);
            self.record(revision, WatchBody::Events { events, fragment });
            self.advance(if fragment { last - 1 } else { last });
        }
        true
    }

    fn advance(&self, revision: i64) {
        self.reached.send_modify(|reached| *reached = revision.max(*reached));
    }

    fn record(&self, revision: i64, body: WatchBody) {
        let history = &self.shared.history;
        let member = u32::try_from(self.member).expect("members are few");
        let arrived_ns = history.now_ns();
        let response = WatchResponse { watch: self.id, member, arrived_ns, revision, body };
        history.push(Record::Watch(response));
    }
}
