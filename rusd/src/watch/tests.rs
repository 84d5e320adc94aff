//! Watches against a plain list of all that happened: whatever the order in which revisions are
//! published, dispatched, collected and read from the history, every watcher gets what it covers,
//! once and in order, and every promise holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::Sender;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusd_proto::mvccpb::KeyValue;
use rusd_state::event::{EntryKind, Event, Prev};
use rusd_state::mvcc::revision::Revision;
use rusd_state::view::EventScan;

use super::hub::{Core, Delivery, Dispatcher, Interest, RevisionEvents};
use super::progress::Promises;
use super::range_index::{RangeEnd, RangeIndex};
use super::sync::{Creation, DuplicateId, Output, ScanRequest, WatchSet};
use super::watcher::Options;
use crate::plant::Plant;

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const FIRST_REVISION: i64 = 2;

/// An event as a client sees it.
type Seen = (i64, EntryKind, Bytes, bool);

/// All revisions so far, as the store has them.
#[derive(Default)]
struct Past {
    revisions: Vec<RevisionEvents>,
    compact: i64,
}

impl Past {
    fn revision(&self) -> i64 {
        FIRST_REVISION - 1 + i64::try_from(self.revisions.len()).unwrap()
    }

    fn scan(&self, request: ScanRequest, revisions_max: usize) -> Result<EventScan, i64> {
        if request.from < self.compact {
            return Err(self.compact);
        }
        assert!(request.from <= self.revision(), "only what has happened is scanned");
        let skipped = usize::try_from(request.from - FIRST_REVISION).unwrap_or(0);
        let part = self.revisions.iter().skip(skipped).take(revisions_max);
        let part: Vec<RevisionEvents> = part.map(|events| read(events, request)).collect();
        let next_revision = part.last().expect("not empty").revision + 1;
        Ok(EventScan { revisions: part, next_revision })
    }

    /// What a watcher must have got of everything before `end`.
    fn expected(&self, watcher: &Watching, end: i64) -> Vec<Seen> {
        let covered = self
            .revisions
            .iter()
            .filter(|events| (watcher.creation.start..end).contains(&events.revision));
        let seen = covered.flat_map(|events| {
            let deliveries = Delivery::covered(events, &watcher.creation.interest);
            deliveries.into_iter().flat_map(|delivery| seen(&delivery, watcher.creation.options))
        });
        seen.collect()
    }
}

/// The history has every previous value that the scan asks for.
fn read(events: &RevisionEvents, request: ScanRequest) -> RevisionEvents {
    let list = events.list.iter().map(|event| {
        let prev = match &event.prev {
            Prev::Absent => Prev::Absent,
            _ if request.with_prev => Prev::Known(Arc::default()),
            _ => Prev::Absent,
        };
        Event { prev, ..event.clone() }
    });
    RevisionEvents { revision: events.revision, list: list.collect() }
}

fn seen(delivery: &Delivery, options: Options) -> Vec<Seen> {
    let picks = delivery.picks.as_slice().iter().map(|at| &delivery.events.list[*at]);
    let wanted = picks.filter(|event| options.wants(event));
    let revision = delivery.events.revision;
    wanted
        .map(|event| {
            // A stored one counts as there here: `expected` looks at the original events.
            let has_prev = options.with_prev && event.prev != Prev::Absent;
            (revision, event.kind, event.kv.key.clone(), has_prev)
        })
        .collect()
}

/// A watcher and what its client has got.
struct Watching {
    creation: Creation,
    got: Vec<Seen>,
    /// Everything up to here was promised.
    promised: i64,
}

/// One stream with its client.
struct Client {
    set: WatchSet,
    promises: Promises,
    /// The newest revision when it last asked for a promise.
    asked_at: i64,
    watchers: BTreeMap<i64, Watching>,
    scan: Option<(ScanRequest, Result<EventScan, i64>)>,
    compacted: Vec<(Watching, i64)>,
    /// Ids of compacted watchers that were not cancelled.
    cut_off: BTreeSet<i64>,
}

impl Client {
    fn new(core: &Arc<Core>) -> Self {
        Client {
            set: WatchSet::new(Arc::clone(core)),
            promises: Promises::default(),
            asked_at: 0,
            watchers: BTreeMap::new(),
            scan: None,
            compacted: Vec::new(),
            cut_off: BTreeSet::new(),
        }
    }

    fn create(&mut self, creation: Creation) -> Result<i64, DuplicateId> {
        let watch_id = self.set.create(creation.clone())?;
        let watching = Watching { creation, got: Vec::new(), promised: 0 };
        assert!(self.watchers.insert(watch_id, watching).is_none(), "ids are unique");
        Ok(watch_id)
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for Output { watch_id, options, deliveries } in outputs {
            let watching = self.watchers.get_mut(&watch_id).expect("only watchers get events");
            for delivery in deliveries {
                let revision = delivery.events.revision;
                assert!(revision > watching.promised, "{revision} came after it was promised");
                let all_known =
                    |at: &usize| !matches!(delivery.events.list[*at].prev, Prev::Stored(_));
                assert!(!options.with_prev || delivery.picks.as_slice().iter().all(all_known));
                watching.got.extend(seen(&delivery, options));
            }
        }
    }

    fn request(&mut self, past: &Past) {
        let revision = past.revision();
        let starts_later = |watching: &Watching| watching.creation.options.start_asked > revision;
        let is_barred = self.watchers.is_empty()
            || !self.cut_off.is_empty()
            || self.watchers.values().any(starts_later);
        assert_eq!(self.set.may_promise(revision), !is_barred);
        if !is_barred {
            self.asked_at = revision;
            self.promises.request(revision);
        }
    }

    /// What a stream's task does in a turn, but for the scan.
    fn hand_out(&mut self, core: &Core, past: &Past) {
        let through = core.dispatched();
        let limit = if self.promises.is_any() { through } else { i64::MAX };
        let mut outputs = Vec::new();
        self.set.collect(limit, &mut outputs);
        for output in &outputs {
            self.promises.has_got_events(output.watch_id);
        }
        self.take(outputs);
        for watch_id in self.promises.keep(&self.set, through) {
            assert!(
                watch_id != -1 || through >= self.asked_at,
                "the answer is older than the question"
            );
            for (id, watching) in &mut self.watchers {
                if watch_id == -1 || watch_id == *id {
                    let expected = past.expected(watching, through + 1);
                    assert_eq!(watching.got, expected, "promised up to {through}");
                    watching.promised = through;
                }
            }
        }
    }

    /// Everything that was dispatched is handed out.
    fn settle(&mut self, core: &Core, past: &Past) {
        for turn in 0.. {
            assert!(turn < 100_000, "the stream does not come to rest");
            self.hand_out(core, past);
            self.start_scan(past, 4);
            let is_scanning = self.scan.is_some();
            self.finish_scan();
            if !is_scanning && !self.set.has_more() {
                break;
            }
        }
    }

    fn start_scan(&mut self, past: &Past, revisions_max: usize) {
        if self.scan.is_none()
            && let Some(request) = self.set.wanted_scan()
        {
            self.scan = Some((request, past.scan(request, revisions_max)));
        }
    }

    fn finish_scan(&mut self) {
        match self.scan.take() {
            None => {}
            Some((request, Ok(scan))) => {
                let mut outputs = Vec::new();
                self.set.feed(request, &scan, &mut outputs);
                self.take(outputs);
            }
            Some((_, Err(compact))) => {
                for watch_id in self.set.compacted(compact) {
                    let watching = self.watchers.remove(&watch_id).expect("it was there");
                    self.promises.remove(watch_id);
                    self.compacted.push((watching, compact));
                    self.cut_off.insert(watch_id);
                }
            }
        }
    }
}

struct World {
    random: StdRng,
    past: Past,
    dispatcher: Dispatcher,
    revisions: Sender<RevisionEvents>,
    clients: Vec<Client>,
    cancelled: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let (dispatcher, revisions) = Dispatcher::new(FIRST_REVISION, None);
        let clients = (0..3).map(|_| Client::new(&dispatcher.core)).collect();
        let random = StdRng::seed_from_u64(seed);
        World { random, past: Past::default(), dispatcher, revisions, clients, cancelled: 0 }
    }

    fn publish(&mut self) {
        let revision = self.past.revision() + 1;
        let count = if self.random.random_bool(0.7) { 1 } else { self.random.random_range(2..4) };
        let list = (0..count).map(|_| event(&mut self.random, revision)).collect();
        let events = RevisionEvents { revision, list };
        self.past.revisions.push(events.clone());
        self.revisions.send(events).unwrap();
    }

    fn creation(&mut self) -> Creation {
        let random = &mut self.random;
        let key = Bytes::from_static(KEYS[random.random_range(0..KEYS.len())].as_bytes());
        let interest = match random.random_range(0..3) {
            0 => Interest::Key(key),
            1 => Interest::Range(key, RangeEnd::Unbounded),
            _ => Interest::Range(key.clone(), RangeEnd::Before([&key[..], b"~"].concat().into())),
        };
        let revision = self.past.revision();
        let start_asked = match random.random_range(0..4) {
            0 => random.random_range(1..=revision + 3),
            _ => 0,
        };
        let start = if start_asked == 0 { revision + 1 } else { start_asked };
        let options = Options {
            no_put: random.random_bool(0.2),
            no_delete: random.random_bool(0.2),
            with_prev: random.random_bool(0.3),
            start_asked,
        };
        let watch_id = if random.random_bool(0.1) { random.random_range(0..5) } else { 0 };
        Creation { watch_id, interest, options, start, newest: revision }
    }

    fn act(&mut self) {
        let at = self.random.random_range(0..self.clients.len());
        match self.random.random_range(0..100) {
            0..30 => self.publish(),
            30..55 => drop(self.dispatcher.step()),
            55..60 => {
                let creation = self.creation();
                let chosen = creation.watch_id;
                let is_taken = self.clients[at].watchers.contains_key(&chosen)
                    || self.clients[at].cut_off.contains(&chosen);
                match self.clients[at].create(creation) {
                    Ok(watch_id) => {
                        if self.random.random_bool(0.3) {
                            self.clients[at].promises.add(watch_id);
                        }
                    }
                    Err(DuplicateId) => assert!(chosen != 0 && is_taken),
                }
            }
            60..62 => self.cancel(at),
            62..65 => self.clients[at].request(&self.past),
            65..67 => self.clients[at].promises.tick(),
            67..69 if self.past.revision() > 20 => {
                self.past.compact = self.past.compact.max(self.past.revision() - 15);
            }
            67..80 => {
                let revisions_max = self.random.random_range(1..6);
                self.clients[at].start_scan(&self.past, revisions_max);
            }
            80..88 => self.clients[at].finish_scan(),
            _ => self.clients[at].hand_out(&self.dispatcher.core, &self.past),
        }
    }

    fn cancel(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if let Some(watch_id) = client.cut_off.pop_first() {
            assert!(client.set.cancel(watch_id), "its id was taken");
            return;
        }
        let Some((watch_id, watching)) = client.watchers.pop_first() else { return };
        assert!(client.set.cancel(watch_id));
        assert!(!client.set.cancel(watch_id), "it is gone");
        client.promises.remove(watch_id);
        let got = watching.got.len();
        let all = self.past.expected(&watching, self.past.revision() + 1);
        assert_eq!(watching.got, all[..got], "a cancelled watcher got a beginning");
        self.cancelled += 1;
    }

    /// Everything comes to rest.
    fn settle(&mut self) {
        while self.dispatcher.step() {}
        for client in &mut self.clients {
            client.request(&self.past);
            client.settle(&self.dispatcher.core, &self.past);
        }
    }

    fn check(&self) {
        let end = self.past.revision() + 1;
        for client in &self.clients {
            for watching in client.watchers.values() {
                assert_eq!(watching.got, self.past.expected(watching, end));
            }
            for (watching, compact) in &client.compacted {
                let all = self.past.expected(watching, end);
                assert_eq!(watching.got, all[..watching.got.len()]);
                let next = all.get(watching.got.len()).map_or(watching.creation.start, |s| s.0);
                assert!(watching.creation.start < *compact, "{next} is not compacted");
            }
            let is_started =
                |watching: &Watching| watching.creation.options.start_asked <= self.past.revision();
            if !client.watchers.is_empty() && client.watchers.values().all(is_started) {
                assert!(!client.promises.is_any(), "at rest, every promise is kept");
            }
        }
    }
}

fn event(random: &mut StdRng, revision: i64) -> Event {
    let key = KEYS[random.random_range(0..KEYS.len())];
    let kv = KeyValue { key: key.into(), mod_revision: revision, ..KeyValue::default() };
    let kind = if random.random_bool(0.3) { EntryKind::Delete } else { EntryKind::Put };
    let prev = match random.random_range(0..3) {
        0 => Prev::Absent,
        1 => Prev::Known(Arc::default()),
        _ => Prev::Stored(Revision { main: revision - 1, sub: 0 }),
    };
    Event { kind, kv: Arc::new(kv), prev }
}

#[test]
fn every_interleaving_delivers_every_event_once_and_in_order() {
    let (mut lost, mut compacted, mut cancelled) = (0, 0, 0);
    for seed in 0..300 {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.act();
        }
        world.settle();
        world.check();
        lost += world.dispatcher.core.times_lost();
        compacted += world.clients.iter().map(|client| client.compacted.len()).sum::<usize>();
        cancelled += world.cancelled;
    }
    assert!(lost > 100 && compacted > 10 && cancelled > 100, "{lost} {compacted} {cancelled}");
}

#[test]
fn a_running_hub_loses_nothing_while_watchers_come_and_go() {
    const REVISIONS: i64 = 20_000;
    let (mut dispatcher, revisions) = Dispatcher::new(FIRST_REVISION, None);
    let core = Arc::clone(&dispatcher.core);
    let mut random = StdRng::seed_from_u64(1);
    let mut past = Past::default();
    for revision in FIRST_REVISION..FIRST_REVISION + REVISIONS {
        let list = [event(&mut random, revision)].into();
        past.revisions.push(RevisionEvents { revision, list });
    }
    let published = past.revisions.clone();
    let publishing = std::thread::spawn(move || {
        for events in published {
            revisions.send(events).unwrap();
            dispatcher.step();
        }
    });
    let mut client = Client::new(&core);
    // Everything is in the past already, so any revision that was dispatched can be scanned.
    while core.dispatched() < past.revision() || client.set.has_more() || client.scan.is_some() {
        if client.watchers.len() < 20 {
            let start = core.dispatched() + random.random_range(-3..3);
            let interest = if random.random_bool(0.5) {
                Interest::Key(KEYS[random.random_range(0..KEYS.len())].into())
            } else {
                Interest::Range("a".into(), RangeEnd::Unbounded)
            };
            let start = start.max(FIRST_REVISION);
            let options = Options::default();
            client.create(Creation { watch_id: 0, interest, options, start, newest: 0 }).unwrap();
        } else if random.random_bool(0.01) {
            let (watch_id, watching) = client.watchers.pop_first().unwrap();
            client.set.cancel(watch_id);
            let all = past.expected(&watching, past.revision() + 1);
            assert_eq!(watching.got, all[..watching.got.len()]);
        }
        client.hand_out(&core, &past);
        client.start_scan(&past, 100);
        client.finish_scan();
    }
    publishing.join().unwrap();
    client.settle(&core, &past);
    for watching in client.watchers.values() {
        let last = past.revision() + 1;
        assert_eq!(watching.got.len(), past.expected(watching, last).len());
        assert_eq!(watching.got, past.expected(watching, last));
    }
}

#[test]
fn a_planted_bug_drops_one_event_in_a_thousand() {
    let (mut dispatcher, revisions) = Dispatcher::new(FIRST_REVISION, Some(Plant::DropWatchEvent));
    let core = Arc::clone(&dispatcher.core);
    let mut client = Client::new(&core);
    let interest = Interest::Range("a".into(), RangeEnd::Unbounded);
    let options = Options::default();
    client
        .create(Creation { watch_id: 0, interest, options, start: FIRST_REVISION, newest: 0 })
        .unwrap();
    let (mut random, past) = (StdRng::seed_from_u64(1), Past::default());
    for revision in FIRST_REVISION..FIRST_REVISION + 3000 {
        let list = [event(&mut random, revision)].into();
        revisions.send(RevisionEvents { revision, list }).unwrap();
        assert!(dispatcher.step());
        client.hand_out(&core, &past);
    }
    assert_eq!(client.watchers[&0].got.len(), 2997);
}

/// The key was quiet while the store was compacted far beyond the watch's last event, and the value
/// before its next event is in the engine only. The watch has missed nothing, and is not cancelled.
#[test]
fn a_quiet_watch_outlives_a_compaction() {
    let mut random = StdRng::seed_from_u64(1);
    let (mut dispatcher, revisions) = Dispatcher::new(FIRST_REVISION, None);
    let mut past = Past::default();
    let mut client = Client::new(&dispatcher.core);
    let options = Options { with_prev: true, ..Options::default() };
    let interest = Interest::Key("a".into());
    client
        .create(Creation { watch_id: 0, interest, options, start: FIRST_REVISION, newest: 0 })
        .unwrap();
    for (revision, key) in
        (FIRST_REVISION..FIRST_REVISION + 50).zip(std::iter::repeat_n("b", 49).chain(["a"]))
    {
        let mut event = event(&mut random, revision);
        let kv = KeyValue { key: key.into(), mod_revision: revision, ..KeyValue::default() };
        event.kv = Arc::new(kv);
        event.prev = Prev::Stored(Revision::first_of(revision - 1));
        let events = RevisionEvents { revision, list: [event].into() };
        past.revisions.push(events.clone());
        past.compact = revision - 1;
        revisions.send(events).unwrap();
        assert!(dispatcher.step());
        client.settle(&dispatcher.core, &past);
    }
    assert!(client.compacted.is_empty(), "cancelled as compacted");
    assert_eq!(client.watchers[&0].got.len(), 1);
}

/// The hub had not come to what was there when the watch was created, so it delivered the past piece
/// by piece, and with values before that a compaction had taken meanwhile.
#[test]
fn the_past_comes_from_the_history_though_the_hub_is_late() {
    let mut random = StdRng::seed_from_u64(1);
    let (mut dispatcher, revisions) = Dispatcher::new(FIRST_REVISION, None);
    let mut past = Past::default();
    let mut client = Client::new(&dispatcher.core);
    for revision in FIRST_REVISION..FIRST_REVISION + 3 {
        let events = RevisionEvents { revision, list: [event(&mut random, revision)].into() };
        past.revisions.push(events.clone());
        revisions.send(events).unwrap();
    }
    let interest = Interest::Range("a".into(), RangeEnd::Unbounded);
    let (options, start, newest) = (Options::default(), FIRST_REVISION, past.revision());
    client.create(Creation { watch_id: 0, interest, options, start, newest }).unwrap();
    while dispatcher.step() {}
    let mut outputs = Vec::new();
    client.set.collect(i64::MAX, &mut outputs);
    assert!(outputs.is_empty(), "the hub told of the past");
    client.start_scan(&past, 100);
    client.finish_scan();
    assert_eq!(client.watchers[&0].got.len(), 3);
    client.settle(&dispatcher.core, &past);
    assert_eq!(client.watchers[&0].got.len(), 3);
}

#[test]
fn nothing_is_left_behind_when_watchers_go() {
    let (dispatcher, _revisions) = Dispatcher::new(FIRST_REVISION, None);
    let mut client = Client::new(&dispatcher.core);
    let range = Interest::Range("a".into(), RangeEnd::Before("b".into()));
    for interest in [Interest::Key("a".into()), Interest::Key("a".into()), range] {
        let options = Options::default();
        client.create(Creation { watch_id: 0, interest, options, start: 1, newest: 0 }).unwrap();
    }
    assert_eq!(dispatcher.core.counts(), (3, 1, false));
    drop(client);
    assert_eq!(dispatcher.core.counts(), (0, 0, true));
}

#[test]
fn the_interval_index_agrees_with_a_list() {
    let mut random = StdRng::seed_from_u64(7);
    let mut key = {
        let mut random = StdRng::seed_from_u64(8);
        move || -> Bytes {
            let length = random.random_range(1..3);
            (0..length).map(|_| random.random_range(b'a'..b'h')).collect::<Vec<u8>>().into()
        }
    };
    let mut index = RangeIndex::default();
    let mut list: Vec<(Bytes, RangeEnd, u32)> = Vec::new();
    for number in 0..3000 {
        if list.len() > 60 || (!list.is_empty() && random.random_bool(0.4)) {
            let (start, end, gone) = list.swap_remove(random.random_range(0..list.len()));
            index.remove(&start, &end, |member| *member == gone);
        } else {
            let start = key();
            let end =
                if random.random_bool(0.1) { RangeEnd::Unbounded } else { RangeEnd::Before(key()) };
            index.insert(start.clone(), end.clone(), number);
            list.push((start, end, number));
        }
        let asked = key();
        let mut found = Vec::new();
        index.covering(&asked, |member| found.push(*member));
        found.sort_unstable();
        let covers =
            |(start, end, _): &&(Bytes, RangeEnd, u32)| *start <= asked && end.is_after(&asked);
        let mut expected: Vec<u32> = list.iter().filter(covers).map(|(_, _, n)| *n).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "at {number}");
        assert_eq!(index.covers(&asked), !expected.is_empty());
    }
    for (start, end, gone) in list {
        index.remove(&start, &end, |member| *member == gone);
    }
    assert!(index.is_empty());
}

#[test]
fn a_promise_never_says_less_than_the_client_has_got() {
    let (mut dispatcher, revisions) = Dispatcher::new(FIRST_REVISION, None);
    let mut client = Client::new(&dispatcher.core);
    let interest = Interest::Range("a".into(), RangeEnd::Unbounded);
    let options = Options::default();
    client
        .create(Creation { watch_id: 0, interest, options, start: FIRST_REVISION, newest: 0 })
        .unwrap();
    let mut random = StdRng::seed_from_u64(1);
    for revision in [2, 3] {
        let list = [event(&mut random, revision)].into();
        revisions.send(RevisionEvents { revision, list }).unwrap();
        assert!(dispatcher.step());
    }
    // As if revision 3 were still being dispatched: its delivery is there, and is held back.
    let mut outputs = Vec::new();
    client.set.collect(2, &mut outputs);
    assert_eq!(outputs.len(), 1);
    assert!(client.set.is_complete(2));
    client.set.collect(i64::MAX, &mut outputs);
    assert_eq!(outputs[1].deliveries[0].events.revision, 3);
    assert!(!client.set.is_complete(2));
    assert!(client.set.is_complete(3));
    // The store is ahead of the hub, and the client was told so when it created a watcher.
    client.set.has_told(5);
    assert!(!client.set.is_complete(3));
}
