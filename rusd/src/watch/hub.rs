//! The hub: hands every revision's events to those who watch its keys.
//!
//! A `Dispatcher` is the hub's loop as a value, stepped by its thread or by a test. It writes
//! only to the subscribers' channels and never waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use rusd_state::event::Events;
use rusd_state::view::View;
use tokio::sync::{Notify, Semaphore};

use super::range_index::{RangeEnd, RangeIndex};
use crate::plant::Plant;

/// One revision's events as the applier hands them on.
pub type RevisionEvents = Events;

/// Revisions between the applier and the hub. Full: the applier waits; the hub never does, so it
/// soon catches up.
const REVISIONS_QUEUED_MAX: usize = 4096;
/// Deliveries waiting for one watcher. Full: the watcher is lost, and catches up from the history.
/// Few in tests, so that watchers do get lost.
const DELIVERIES_QUEUED_MAX: usize = if cfg!(test) { 3 } else { 128 };
/// Scans of the history at one time, over all streams; more wait.
const SCANS_AT_ONCE_MAX: usize = 4;
/// With [`Plant::DropWatchEvent`], every so many events one is dropped.
const PLANT_DROPS_EVERY: u64 = 1000;

/// Where watches begin. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(crate) core: Arc<Core>,
    pub(crate) view: View,
    pub(crate) scans: Arc<Semaphore>,
    /// A bug planted on purpose.
    pub(crate) plant: Option<Plant>,
}

impl Hub {
    /// A hub, its loop for a thread to run, and where the applier sends revisions.
    /// `first_revision` is the first one that will be sent; send every later one too, in order,
    /// each after it is visible in `view`. The loop ends when all senders are gone.
    pub fn new(
        view: View,
        first_revision: i64,
        plant: Option<Plant>,
    ) -> (Hub, Dispatcher, Sender<RevisionEvents>) {
        let (dispatcher, revisions) = Dispatcher::new(first_revision, plant);
        let core = Arc::clone(&dispatcher.core);
        let scans = Arc::new(Semaphore::new(SCANS_AT_ONCE_MAX));
        (Hub { core, view, scans, plant }, dispatcher, revisions)
    }

    /// Watchers there are.
    pub fn watchers(&self) -> usize {
        self.core.subscribers.load(Ordering::Relaxed)
    }

    /// How often a watcher was too slow and had to catch up from the history.
    pub fn times_lost(&self) -> u64 {
        self.core.times_lost()
    }
}

/// What the hub's thread and the streams share.
#[derive(Debug)]
pub(crate) struct Core {
    keys: DashMap<Bytes, Vec<Arc<Subscriber>>>,
    ranges: RwLock<RangeIndex<Arc<Subscriber>>>,
    /// The revision whose watchers are being looked for. Written before the first look.
    dispatching: AtomicI64,
    /// The last revision that all its watchers have got. Invariant: at most `dispatching`.
    dispatched: AtomicI64,
    next_subscriber: AtomicU64,
    subscribers: AtomicUsize,
    times_lost: AtomicU64,
}

/// What a watcher watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Interest {
    /// One key.
    Key(Bytes),
    /// All keys from the first up to the end.
    Range(Bytes, RangeEnd),
}

impl Interest {
    /// It covers this key.
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        match self {
            Interest::Key(one) => one == key,
            Interest::Range(start, end) => start <= key && end.is_after(key),
        }
    }
}

/// One revision, for one watcher.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// All events of the revision.
    pub(crate) events: Events,
    /// Those that the watcher's interest covers.
    pub(crate) picks: Picks,
}

/// Positions in a revision's events, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Picks {
    /// One of them.
    One(usize),
    /// Several of them.
    Many(Box<[usize]>),
}

impl Picks {
    fn of(mut positions: Vec<usize>) -> Picks {
        match positions.as_slice() {
            [_] => Picks::One(positions.remove(0)),
            _ => Picks::Many(positions.into()),
        }
    }

    /// The positions.
    pub(crate) fn as_slice(&self) -> &[usize] {
        match self {
            Picks::One(position) => std::slice::from_ref(position),
            Picks::Many(positions) => positions,
        }
    }
}

impl Delivery {
    /// What `interest` covers of a revision; `None` if nothing.
    pub(crate) fn covered(events: &Events, interest: &Interest) -> Option<Delivery> {
        let covered = |position: &usize| interest.covers(&events.list[*position].kv.key);
        let positions: Vec<usize> = (0..events.list.len()).filter(covered).collect();
        let is_any = !positions.is_empty();
        is_any.then(|| Delivery { events: events.clone(), picks: Picks::of(positions) })
    }
}

/// A watcher as the hub sees it.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// Unique, rising.
    id: u64,
    /// The watcher's id in its stream.
    watch_id: i64,
    deliveries: Sender<Delivery>,
    /// Something was not delivered: nothing more is, until the watcher clears this.
    is_lost: AtomicBool,
    /// It is in the stream's list already.
    is_listed: AtomicBool,
    stream: Arc<Wake>,
}

/// How a stream learns which of its watchers have something.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    listed: Mutex<Vec<i64>>,
    /// Told after the list has grown.
    pub(crate) notify: Notify,
}

impl Wake {
    /// The watchers that have something, in the order in which they got it.
    pub(crate) fn take(&self) -> Vec<i64> {
        std::mem::take(&mut *self.listed.lock())
    }
}

impl Subscriber {
    /// Delivers, or marks the watcher as lost. Tells whether it was lost just now.
    fn offer(&self, delivery: impl FnOnce() -> Delivery) -> bool {
        if self.is_lost.load(Ordering::SeqCst) {
            return false;
        }
        // The receiver may be gone already; then nobody misses anything.
        let is_full = self.deliveries.try_send(delivery()).is_err_and(|error| error.is_full());
        if is_full {
            self.is_lost.store(true, Ordering::SeqCst);
        }
        if !self.is_listed.swap(true, Ordering::AcqRel) {
            self.stream.listed.lock().push(self.watch_id);
            self.stream.notify.notify_one();
        }
        is_full
    }
}

/// A place in the hub, given up when dropped. Starts out lost: see [`join`](Self::join).
#[derive(Debug)]
pub(crate) struct Subscription {
    core: Arc<Core>,
    interest: Interest,
    subscriber: Arc<Subscriber>,
    deliveries: Receiver<Delivery>,
}

impl Subscription {
    /// Makes `interest` known under `watch_id`, which is unique within `stream`.
    pub(crate) fn new(
        core: &Arc<Core>,
        stream: &Arc<Wake>,
        watch_id: i64,
        interest: Interest,
    ) -> Self {
        let (sender, deliveries) = crossbeam_channel::bounded(DELIVERIES_QUEUED_MAX);
        let subscriber = Arc::new(Subscriber {
            id: core.next_subscriber.fetch_add(1, Ordering::Relaxed),
            watch_id,
            deliveries: sender,
            is_lost: AtomicBool::new(true),
            is_listed: AtomicBool::new(false),
            stream: Arc::clone(stream),
        });
        let member = Arc::clone(&subscriber);
        match &interest {
            Interest::Key(key) => core.keys.entry(key.clone()).or_default().push(member),
            Interest::Range(start, end) => {
                core.ranges.write().insert(start.clone(), end.clone(), member);
            }
        }
        core.subscribers.fetch_add(1, Ordering::Relaxed);
        Subscription { core: Arc::clone(core), interest, subscriber, deliveries }
    }

    /// Lets deliveries come again and returns a revision: all later ones will be delivered, or the
    /// subscription is lost again; earlier ones may be. What was delivered before is thrown away.
    pub(crate) fn join(&self) -> i64 {
        self.lose();
        while self.deliveries.try_recv().is_ok() {}
        // In this order: a dispatch that starts after the read will see the cleared mark.
        self.subscriber.is_lost.store(false, Ordering::SeqCst);
        self.core.dispatching.load(Ordering::SeqCst)
    }

    /// Stops deliveries until the next [`join`](Self::join).
    pub(crate) fn lose(&self) {
        self.subscriber.is_lost.store(true, Ordering::SeqCst);
    }

    /// Something was not delivered.
    pub(crate) fn is_lost(&self) -> bool {
        self.subscriber.is_lost.load(Ordering::SeqCst)
    }

    /// Call before [`next`](Self::next): what is delivered from now on is listed again.
    pub(crate) fn unlist(&self) {
        self.subscriber.is_listed.swap(false, Ordering::AcqRel);
    }

    /// The next delivery, if there is one.
    pub(crate) fn next(&self) -> Option<Delivery> {
        self.deliveries.try_recv().ok()
    }

    /// What is watched.
    pub(crate) fn interest(&self) -> &Interest {
        &self.interest
    }

    /// The revision being dispatched.
    pub(crate) fn dispatching(&self) -> i64 {
        self.core.dispatching.load(Ordering::SeqCst)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let id = self.subscriber.id;
        match &self.interest {
            Interest::Key(key) => {
                if let dashmap::Entry::Occupied(mut watchers) = self.core.keys.entry(key.clone()) {
                    watchers.get_mut().retain(|subscriber| subscriber.id != id);
                    if watchers.get().is_empty() {
                        watchers.remove();
                    }
                }
            }
            Interest::Range(start, end) => {
                let is_it = |subscriber: &Arc<Subscriber>| subscriber.id == id;
                self.core.ranges.write().remove(start, end, is_it);
            }
        }
        self.core.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Core {
    fn new(last_revision: i64) -> Self {
        Core {
            keys: DashMap::new(),
            ranges: RwLock::new(RangeIndex::default()),
            dispatching: AtomicI64::new(last_revision),
            dispatched: AtomicI64::new(last_revision),
            next_subscriber: AtomicU64::new(0),
            subscribers: AtomicUsize::new(0),
            times_lost: AtomicU64::new(0),
        }
    }

    /// Every delivery up to this revision has been made, and its watcher is listed.
    pub(crate) fn dispatched(&self) -> i64 {
        self.dispatched.load(Ordering::SeqCst)
    }

    /// Subscribers, watched keys, and whether no range is watched.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize, bool) {
        let subscribers = self.subscribers.load(Ordering::Relaxed);
        (subscribers, self.keys.len(), self.ranges.read().is_empty())
    }

    /// How often a watcher was lost.
    pub(crate) fn times_lost(&self) -> u64 {
        self.times_lost.load(Ordering::Relaxed)
    }

    fn watchers_of(&self, key: &[u8], mut found: impl FnMut(&Arc<Subscriber>)) {
        if let Some(watchers) = self.keys.get(key) {
            watchers.iter().for_each(&mut found);
        }
        let ranges = self.ranges.read();
        if !ranges.is_empty() {
            ranges.covering(key, &mut found);
        }
    }
}

/// The hub's loop as a value.
#[derive(Debug)]
pub struct Dispatcher {
    pub(crate) core: Arc<Core>,
    revisions: Receiver<RevisionEvents>,
    plant: Option<Plant>,
    events_seen: u64,
}

impl Dispatcher {
    /// A hub that has dispatched what came before `first_revision`, and where to send the rest.
    pub(crate) fn new(
        first_revision: i64,
        plant: Option<Plant>,
    ) -> (Dispatcher, Sender<RevisionEvents>) {
        let (sender, revisions) = crossbeam_channel::bounded(REVISIONS_QUEUED_MAX);
        let core = Arc::new(Core::new(first_revision - 1));
        (Dispatcher { core, revisions, plant, events_seen: 0 }, sender)
    }

    /// Dispatches until all senders are gone.
    pub fn run(mut self) {
        while let Ok(events) = self.revisions.recv() {
            self.dispatch(&events);
        }
    }

    /// Dispatches one revision that waits, if there is one.
    pub fn step(&mut self) -> bool {
        let Ok(events) = self.revisions.try_recv() else { return false };
        self.dispatch(&events);
        true
    }

    fn dispatch(&mut self, events: &RevisionEvents) {
        let last = self.core.dispatched.load(Ordering::Relaxed);
        assert!(events.revision > last, "revision {} came after {last}", events.revision);
        self.core.dispatching.store(events.revision, Ordering::SeqCst);
        match events.list.len() {
            1 => self.dispatch_one(events),
            _ => self.dispatch_many(events),
        }
        self.core.dispatched.store(events.revision, Ordering::SeqCst);
    }

    fn dispatch_one(&mut self, events: &RevisionEvents) {
        if self.is_dropped() {
            return;
        }
        self.core.watchers_of(&events.list[0].kv.key, |subscriber| {
            self.offer(subscriber, || Delivery { events: events.clone(), picks: Picks::One(0) });
        });
    }

    /// A watcher gets all its events of a revision at once.
    fn dispatch_many(&mut self, events: &RevisionEvents) {
        let mut found: BTreeMap<u64, (Arc<Subscriber>, Vec<usize>)> = BTreeMap::new();
        for (position, event) in events.list.iter().enumerate() {
            if self.is_dropped() {
                continue;
            }
            self.core.watchers_of(&event.kv.key, |subscriber| {
                let positions = || (Arc::clone(subscriber), Vec::new());
                found.entry(subscriber.id).or_insert_with(positions).1.push(position);
            });
        }
        for (subscriber, positions) in found.into_values() {
            let delivery = || Delivery { events: events.clone(), picks: Picks::of(positions) };
            self.offer(&subscriber, delivery);
        }
    }

    fn offer(&self, subscriber: &Subscriber, delivery: impl FnOnce() -> Delivery) {
        if subscriber.offer(delivery) {
            self.core.times_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The planted bug strikes.
    fn is_dropped(&mut self) -> bool {
        self.events_seen += 1;
        self.plant == Some(Plant::DropWatchEvent)
            && self.events_seen.is_multiple_of(PLANT_DROPS_EVERY)
    }
}
