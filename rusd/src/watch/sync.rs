//! The watchers of one stream, as a value: a stream's task steps it, and does the waiting.
//!
//! In a turn: [`WatchSet::collect`] what the hub delivered; when [`WatchSet::wanted_scan`] asks,
//! scan the history and [`WatchSet::feed`] it. One scan at a time serves all the watchers of the
//! stream that are behind, each from where it is; whose turn it is goes round.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rusd_state::event::Event;
use rusd_state::view::EventScan;

use super::hub::{Core, Delivery, Interest, Subscription, Wake};
use super::watcher::{Drained, Options, Watcher};

/// Revisions taken from one watcher before it is the next one's turn.
const REVISIONS_PER_TURN_MAX: usize = if cfg!(test) { 2 } else { 1000 };

/// Of so few revisions that the hub delivered, each makes a response of its own, as in etcd; of
/// more, one response has them all, for the sake of a client that is late.
const REVISIONS_ALONE_MAX: usize = if cfg!(test) { 1 } else { 16 };
/// The most revisions in one response, as in etcd.
const REVISIONS_TOGETHER_MAX: usize = 1000;

/// The watchers of one stream.
#[derive(Debug)]
pub(crate) struct WatchSet {
    core: Arc<Core>,
    wake: Arc<Wake>,
    watchers: BTreeMap<i64, Watcher>,
    /// Ids of watchers that a compaction cut off. As in etcd, they are taken until the client
    /// cancels them.
    compacted: BTreeSet<i64>,
    next_id: i64,
    /// Have something, or may have.
    ready: VecDeque<i64>,
    /// Need the history. Invariant: exactly the watchers that are not synced.
    behind: BTreeSet<i64>,
    /// Whose turn the last scan was.
    last_scanned: i64,
    /// The newest revision that the client has heard of.
    last_revision: i64,
}

/// What a client wants to watch.
#[derive(Debug, Clone)]
pub(crate) struct Creation {
    /// 0: the stream chooses.
    pub(crate) watch_id: i64,
    /// Keys.
    pub(crate) interest: Interest,
    /// Filters and the like.
    pub(crate) options: Options,
    /// The first revision of interest.
    pub(crate) start: i64,
    /// The newest revision when it was asked for. Up to it the history is told, even if the hub has
    /// not got that far: the past comes together, as in etcd.
    pub(crate) newest: i64,
}

/// A watcher of the stream has this id already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DuplicateId;

/// What one watcher has to tell its client.
#[derive(Debug)]
pub(crate) struct Output {
    /// Whose.
    pub(crate) watch_id: i64,
    /// What its client asked for.
    pub(crate) options: Options,
    /// Whole revisions in order, never empty.
    pub(crate) deliveries: Vec<Delivery>,
}

impl Output {
    /// The events that the client wants, in order.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        let picked = self.deliveries.iter().flat_map(|delivery| {
            let list = &delivery.events.list;
            delivery.picks.as_slice().iter().map(move |position| &list[*position])
        });
        picked.filter(|event| self.options.wants(event))
    }
}

/// A part of the history to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScanRequest {
    /// The first revision.
    pub(crate) from: i64,
    /// Some watcher wants the values before the events.
    pub(crate) with_prev: bool,
}

impl WatchSet {
    /// No watchers yet.
    pub(crate) fn new(core: Arc<Core>) -> Self {
        WatchSet {
            core,
            wake: Arc::default(),
            watchers: BTreeMap::new(),
            compacted: BTreeSet::new(),
            next_id: 0,
            ready: VecDeque::new(),
            behind: BTreeSet::new(),
            last_scanned: -1,
            last_revision: 0,
        }
    }

    /// Told when there is something to collect.
    pub(crate) fn wake(&self) -> Arc<Wake> {
        Arc::clone(&self.wake)
    }

    /// Adds a watcher and returns its id.
    pub(crate) fn create(&mut self, creation: Creation) -> Result<i64, DuplicateId> {
        let watch_id = match creation.watch_id {
            0 => self.unused_id(),
            chosen if self.is_taken(chosen) => return Err(DuplicateId),
            chosen => chosen,
        };
        let subscription = Subscription::new(&self.core, &self.wake, watch_id, creation.interest);
        let Creation { options, start, newest, .. } = creation;
        let watcher = Watcher::new(subscription, options, start, newest);
        self.watchers.insert(watch_id, watcher);
        self.sort_in(watch_id);
        Ok(watch_id)
    }

    fn unused_id(&mut self) -> i64 {
        while self.is_taken(self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn is_taken(&self, watch_id: i64) -> bool {
        self.watchers.contains_key(&watch_id) || self.compacted.contains(&watch_id)
    }

    /// Removes a watcher, if there is one.
    pub(crate) fn cancel(&mut self, watch_id: i64) -> bool {
        self.behind.remove(&watch_id);
        self.watchers.remove(&watch_id).is_some() || self.compacted.remove(&watch_id)
    }

    /// Appends what the hub has delivered up to the revision `through`. One turn of every watcher
    /// that has something; see [`has_more`](Self::has_more).
    pub(crate) fn collect(&mut self, through: i64, out: &mut Vec<Output>) {
        self.ready.extend(self.wake.take());
        for watch_id in std::mem::take(&mut self.ready) {
            let Some(watcher) = self.watchers.get_mut(&watch_id) else { continue };
            let mut deliveries = Vec::new();
            match watcher.drain(through, REVISIONS_PER_TURN_MAX, &mut deliveries) {
                Drained::Empty => {}
                Drained::Through | Drained::Limited => self.ready.push_back(watch_id),
                Drained::Behind => self.sort_in(watch_id),
            }
            let is_late = deliveries.len() > REVISIONS_ALONE_MAX;
            let together = if is_late { REVISIONS_TOGETHER_MAX } else { 1 };
            self.put_out(watch_id, deliveries, together, out);
        }
    }

    /// Another [`collect`](Self::collect) will find something.
    pub(crate) fn has_more(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What to read for the watchers that are behind.
    pub(crate) fn wanted_scan(&mut self) -> Option<ScanRequest> {
        let mut after_last = self.behind.range(self.last_scanned.saturating_add(1)..);
        let watch_id = *after_last.next().or_else(|| self.behind.first())?;
        self.last_scanned = watch_id;
        let with_prev = self.behind.iter().any(|id| self.watchers[id].options().with_prev);
        Some(ScanRequest { from: self.watchers[&watch_id].next(), with_prev })
    }

    /// Appends what the watchers that are behind need of what was read.
    pub(crate) fn feed(&mut self, request: ScanRequest, scan: &EventScan, out: &mut Vec<Output>) {
        for watch_id in self.behind.iter().copied().collect::<Vec<i64>>() {
            let watcher = self.watchers.get_mut(&watch_id).expect("behind are watchers");
            if watcher.options().with_prev && !request.with_prev {
                continue;
            }
            let mut deliveries = Vec::new();
            watcher.feed(request.from, scan, &mut deliveries);
            self.sort_in(watch_id);
            self.put_out(watch_id, deliveries, REVISIONS_TOGETHER_MAX, out);
        }
    }

    /// Cuts off the watchers that need what was compacted, and returns their ids.
    pub(crate) fn compacted(&mut self, compact_revision: i64) -> Vec<i64> {
        let needs_it = |id: &&i64| self.watchers[*id].next() < compact_revision;
        let gone: Vec<i64> = self.behind.iter().filter(needs_it).copied().collect();
        for watch_id in &gone {
            self.cancel(*watch_id);
        }
        self.compacted.extend(&gone);
        gone
    }

    /// Whether a promise of progress for all watchers, asked for when `revision` was the newest, can
    /// be made at all: as in etcd, not while one of them starts in the future, or was cut off by a
    /// compaction and not cancelled.
    pub(crate) fn may_promise(&self, revision: i64) -> bool {
        let starts_later = |watcher: &Watcher| revision < watcher.options().start_asked;
        !self.watchers.is_empty()
            && self.compacted.is_empty()
            && !self.watchers.values().any(starts_later)
    }

    /// The client has got everything that it watches up to `through`, and was told of nothing later.
    /// Ask when everything up to there was collected just now.
    ///
    /// `through` must be a revision that the hub had dispatched before that.
    pub(crate) fn is_complete(&self, through: i64) -> bool {
        let is_collected = |id: &i64| self.is_collected(*id, through);
        self.last_revision <= through && self.watchers.keys().all(is_collected)
    }

    /// The same for one watcher, which must exist.
    pub(crate) fn is_watcher_complete(&self, watch_id: i64, through: i64) -> bool {
        self.last_revision <= through && self.is_collected(watch_id, through)
    }

    /// A watcher, which must exist, starts later than this.
    pub(crate) fn starts_after(&self, watch_id: i64, revision: i64) -> bool {
        revision < self.watchers[&watch_id].options().start_asked
    }

    fn is_collected(&self, watch_id: i64, through: i64) -> bool {
        let watcher = &self.watchers[&watch_id];
        watcher.is_synced() && (!self.ready.contains(&watch_id) || watcher.holds_after(through))
    }

    /// The client was told of this revision: no promise may say less from now on.
    pub(crate) fn has_told(&mut self, revision: i64) {
        self.last_revision = self.last_revision.max(revision);
    }

    /// Keeps `behind` right. Who is synced just now may have deliveries that came meanwhile.
    fn sort_in(&mut self, watch_id: i64) {
        if !self.watchers[&watch_id].is_synced() {
            self.behind.insert(watch_id);
        } else if self.behind.remove(&watch_id) {
            self.ready.push_back(watch_id);
        }
    }

    /// Appends responses of at most `together` revisions each.
    fn put_out(
        &mut self,
        watch_id: i64,
        mut deliveries: Vec<Delivery>,
        together: usize,
        out: &mut Vec<Output>,
    ) {
        let options = self.watchers[&watch_id].options();
        deliveries.retain(|delivery| {
            let mut picks = delivery.picks.as_slice().iter();
            picks.any(|position| options.wants(&delivery.events.list[*position]))
        });
        let Some(last) = deliveries.last() else { return };
        self.has_told(last.events.revision);
        let mut left = deliveries.into_iter().peekable();
        while left.peek().is_some() {
            let deliveries = left.by_ref().take(together).collect();
            out.push(Output { watch_id, options, deliveries });
        }
    }
}
