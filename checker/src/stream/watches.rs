//! Watches, held against what happened as soon as both are known.
//!
//! A response is judged by itself when it arrives (order, filter, nothing of the future), and its
//! events are compared with the changes of their revisions once those are replayed. Until then they
//! are held, and tell what happened where nobody else does.
//!
//! Invariant: the events that are held are of revisions above `compared`.

use std::collections::{BTreeMap, VecDeque};

use crate::findings::{Broken, Findings};
use crate::history::WatchLine;
use crate::history::record::{Event, EventKind, WatchBody, WatchRequest};
use crate::history::text::Text;
use crate::linear::pins::first_watched;
use crate::model::keyspace::{Change, Span};
use crate::render;
use crate::verdict::{Named, Rule};
use crate::watch::compare::{is_as_due, wants};
use crate::watch::follow::Watch;
use crate::watch::happened::Due;
use crate::watch::told::{Arrived, Told};

use super::past::Past;

/// A rule that a watch broke.
pub(super) type Breach = (Rule, Broken);

/// A response whose events are not all compared.
#[derive(Debug)]
struct Piece {
    line: WatchLine,
    /// Of events told in short: revision and digest of each.
    short: Vec<(i64, u32)>,
    /// Events that are compared.
    next: usize,
}

impl Piece {
    fn len(&self) -> usize {
        match &self.line.response.body {
            WatchBody::Events { events, .. } => events.len(),
            _ => self.short.len(),
        }
    }

    fn told(&self, place: usize) -> Told<'_> {
        if let WatchBody::Events { events, .. } = &self.line.response.body {
            return Told::Whole(&events[place]);
        }
        let (revision, digest) = self.short[place];
        Told::Short { revision, digest }
    }

    /// The revision of the first event that is not compared.
    fn revision(&self) -> Option<i64> {
        (self.next < self.len()).then(|| self.told(self.next).revision())
    }

    /// Places of the events of a revision.
    fn places(&self, revision: i64) -> std::ops::Range<usize> {
        let mut end = self.next;
        while end < self.len() && self.told(end).revision() == revision {
            end += 1;
        }
        self.next..end
    }
}

/// An event of the last revision that arrived, as much as tells it from others.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    Key(Text),
    Digest(u32),
}

/// A watch that was created.
#[derive(Debug)]
struct Watching {
    created: WatchLine,
    /// First revision whose events are due.
    start: i64,
    /// Last revision whose events must all have arrived.
    reached: i64,
    /// Last revision that was compared.
    compared: i64,
    held: VecDeque<Piece>,
    /// Revision of the last event.
    last: i64,
    last_line: u64,
    of_last: Vec<Identity>,
    /// The response before was a fragment.
    may_continue: bool,
    /// The line that ended it.
    ended: Option<u64>,
}

/// The revisions at which something happened in a span, ascending, and how many watch it.
#[derive(Debug, Default)]
struct Feed {
    revisions: VecDeque<i64>,
    users: usize,
}

/// What became of an answer to `settle`.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) breach: Option<Breach>,
    /// Revisions that were due had left the window.
    pub(super) is_late: bool,
    /// Wrong unless there was a compaction at or above this revision.
    pub(super) excused: Vec<(i64, Breach)>,
}

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    open: BTreeMap<u64, Watching>,
    /// Watches that have ended and are compared, with the line that ended them.
    ended: BTreeMap<u64, u64>,
    /// Open watches on everything.
    on_everything: Vec<u64>,
    keys: BTreeMap<Text, Feed>,
    spans: BTreeMap<(Text, Text), Feed>,
    held: usize,
}

impl Watches {
    /// Responses that are held, and everything else.
    pub(super) fn held(&self) -> (usize, usize) {
        let feeds = self.keys.values().chain(self.spans.values());
        let fed: usize = feeds.map(|feed| feed.revisions.len()).sum();
        (self.held, self.open.len() + self.ended.len() + fed)
    }

    /// Takes a response; says how far the watch has come, if that is further than before.
    pub(super) fn take(
        &mut self,
        line: WatchLine,
        past: &Past,
        final_revision: impl Fn(u64) -> Option<i64>,
    ) -> Result<Option<i64>, Breach> {
        let id = line.response.watch;
        if let Some(end) = self.ended.get(&id).copied() {
            return Err(after_the_end(end, &line));
        }
        if let WatchBody::Created(request) = &line.response.body {
            self.create(id, request.clone(), line, past);
            return Ok(None);
        }
        let Some(watching) = self.open.get_mut(&id) else {
            return match &line.response.body {
                WatchBody::Events { .. } | WatchBody::Digests(_) => Err((
                    Rule::WatchCreated,
                    Broken {
                        operations: vec![render::watch(&line)],
                        expected: "created, before any event".into(),
                        got: "events".into(),
                    },
                )),
                _ => Ok(None),
            };
        };
        if let Some(end) = watching.ended {
            return Err(after_the_end(end, &line));
        }
        let before = watching.reached;
        match &line.response.body {
            WatchBody::Created(_) => {}
            WatchBody::Progress => watching.reached = before.max(line.response.revision),
            WatchBody::Events { .. } | WatchBody::Digests(_) => {
                let piece = watching.arrive(line)?;
                if piece.len() > 0 {
                    watching.held.push_back(piece);
                    self.held += 1;
                }
            }
            WatchBody::Canceled { .. } => watching.ended = Some(line.line),
            WatchBody::Closed { by_client } => {
                watching.ended = Some(line.line);
                let last = if *by_client { final_revision(line.response.arrived_ns) } else { None };
                watching.reached = before.max(last.unwrap_or(before));
            }
        }
        Ok((watching.reached > before || watching.ended.is_some()).then_some(watching.reached))
    }

    fn create(&mut self, id: u64, request: WatchRequest, line: WatchLine, past: &Past) {
        let start = first_watched(&request, line.response.revision);
        let span = Span::new(&request.key, &request.range_end);
        if span.is_everything() {
            self.on_everything.push(id);
        } else if let Some(key) = span.single() {
            let feed = self.keys.entry(key.clone()).or_default();
            if feed.users == 0 {
                feed.revisions = past.changes_of(key, past.base()).collect();
                feed.revisions.make_contiguous().reverse();
            }
            feed.users += 1;
        } else {
            let feed = self.spans.entry((request.key.clone(), request.range_end.clone()));
            let feed = feed.or_default();
            if feed.users == 0 {
                let touches = |revision: &i64| {
                    past.changes(*revision).any(|change| span.contains(&change.key))
                };
                feed.revisions = (past.base() + 1..=past.done()).filter(touches).collect();
            }
            feed.users += 1;
        }
        let before = start.saturating_sub(1);
        self.open.insert(
            id,
            Watching {
                last_line: line.line,
                created: line,
                start,
                reached: before,
                compared: before,
                held: VecDeque::new(),
                last: i64::MIN,
                of_last: Vec::new(),
                may_continue: false,
                ended: None,
            },
        );
    }

    /// A revision was replayed.
    pub(super) fn happened<'c>(
        &mut self,
        revision: i64,
        changes: impl Iterator<Item = &'c Change>,
    ) {
        if self.keys.is_empty() && self.spans.is_empty() {
            return;
        }
        let add = |feed: &mut Feed| {
            if feed.revisions.back() != Some(&revision) {
                feed.revisions.push_back(revision);
            }
        };
        for change in changes {
            if let Some(feed) = self.keys.get_mut(&change.key) {
                add(feed);
            }
            for ((key, range_end), feed) in &mut self.spans {
                if Span::new(key, range_end).contains(&change.key) {
                    add(feed);
                }
            }
        }
    }

    /// Revisions up to this one leave the window.
    pub(super) fn forget(&mut self, base: i64) {
        for feed in self.keys.values_mut().chain(self.spans.values_mut()) {
            while feed.revisions.front().is_some_and(|revision| *revision <= base) {
                feed.revisions.pop_front();
            }
        }
    }

    /// What happened at a revision, told by a watch on everything that has passed it: `None` if none
    /// has; nothing if it saw nothing.
    pub(super) fn told_of(&self, revision: i64) -> Option<Vec<&Event>> {
        let mut has_passed = false;
        for id in &self.on_everything {
            let watching = &self.open[id];
            let request = watching.request();
            if request.no_put || request.no_delete || watching.reached < revision {
                continue;
            }
            if watching.held.iter().any(|piece| !piece.short.is_empty()) {
                continue;
            }
            let mut told = Vec::new();
            for piece in &watching.held {
                let WatchBody::Events { events, .. } = &piece.line.response.body else { continue };
                let events = &events[piece.next..];
                let start = events.partition_point(|event| event.kv.mod_revision < revision);
                let of_it = events[start..].iter();
                told.extend(of_it.take_while(|event| event.kv.mod_revision == revision));
            }
            if !told.is_empty() {
                return Some(told);
            }
            has_passed |= watching.start <= revision;
        }
        has_passed.then(Vec::new)
    }

    /// Compares a watch as far as it and the replay have come.
    pub(super) fn settle(&mut self, id: u64, past: &Past, first: i64) -> Settled {
        let mut settled = Settled::default();
        let Some(watching) = self.open.get_mut(&id) else { return settled };
        let upto = watching.reached.min(past.done());
        let before = watching.held.len();
        watching.compared = watching.compared.max(first);
        if watching.compared < past.base() {
            settled.is_late |= watching.compared < upto;
            watching.compared = past.base();
        }
        watching.skip();
        let request = watching.request();
        let feed = if request.range_end.is_empty() {
            self.keys.get(&request.key)
        } else {
            let span = (request.key.clone(), request.range_end.clone());
            if self.spans.is_empty() { None } else { self.spans.get(&span) }
        };
        let feed = feed.map(|feed| &feed.revisions);
        while let Some(revision) = watching.next(feed).filter(|revision| *revision <= upto) {
            if let Some(breach) = watching.compare(revision, past) {
                let excuse = watching.compare_excused(revision, past);
                if breach.0 == Rule::WatchPrevKv && excuse.is_none() {
                    settled.excused.push((revision, breach));
                } else {
                    settled.breach = Some(breach);
                    return settled;
                }
            }
            watching.compared = revision;
            watching.skip();
        }
        watching.compared = watching.compared.max(upto);
        self.held -= before - watching.held.len();
        if watching.ended.is_some() && watching.compared >= watching.reached {
            let rest = watching.held.front().and_then(Piece::revision);
            if rest.is_none_or(|revision| revision <= past.done()) {
                settled.breach = watching.compare_rest(past);
                self.close(id);
            }
        }
        settled
    }

    /// Compares what is left of all watches when nothing more comes: revisions of which not all
    /// events may have arrived.
    pub(super) fn settle_all(&mut self, past: &Past, first: i64) -> Settled {
        let mut all = Settled::default();
        let open: Vec<u64> = self.open.keys().copied().collect();
        for id in open {
            let settled = self.settle(id, past, first);
            all.is_late |= settled.is_late;
            all.excused.extend(settled.excused);
            let left = || self.open.get(&id)?.compare_rest(past);
            all.breach = settled.breach.or_else(left);
            if all.breach.is_some() {
                return all;
            }
        }
        all
    }

    /// Lets go of what waits to be compared, of a watch or of all: it will not be.
    pub(super) fn give_up(&mut self, watch: Option<u64>) {
        match watch {
            Some(id) => {
                self.open.get_mut(&id).into_iter().for_each(|watching| watching.held.clear());
            }
            None => self.open.values_mut().for_each(|watching| watching.held.clear()),
        }
        self.held = 0;
    }

    /// A watch was cancelled for a compaction: what was due to it.
    pub(super) fn due_to(&self, id: u64) -> Option<(Named, i64)> {
        let watching = self.open.get(&id)?;
        let due = watching.start.max(watching.last.saturating_add(1));
        Some((render::watch(&watching.created), due))
    }

    fn close(&mut self, id: u64) {
        let Some(watching) = self.open.remove(&id) else { return };
        self.held -= watching.held.len();
        self.ended.insert(id, watching.ended.unwrap_or(0));
        self.on_everything.retain(|other| *other != id);
        let request = watching.request();
        if request.range_end.is_empty() {
            leave(&mut self.keys, &request.key);
        } else {
            leave(&mut self.spans, &(request.key.clone(), request.range_end.clone()));
        }
    }
}

fn leave<K: Ord>(feeds: &mut BTreeMap<K, Feed>, key: &K) {
    if let Some(feed) = feeds.get_mut(key) {
        feed.users -= 1;
        if feed.users == 0 {
            feeds.remove(key);
        }
    }
}

fn after_the_end(end: u64, line: &WatchLine) -> Breach {
    let before = Named { line: end, text: format!("watch {} ended", line.response.watch) };
    let broken = Broken {
        operations: vec![before, render::watch(line)],
        expected: "silence after the end".into(),
        got: "another response".into(),
    };
    (Rule::WatchClosed, broken)
}

impl Watching {
    fn request(&self) -> &WatchRequest {
        match &self.created.response.body {
            WatchBody::Created(request) => request,
            _ => unreachable!("it was created by this line"),
        }
    }

    /// Judges a response with events by itself.
    fn arrive(&mut self, line: WatchLine) -> Result<Piece, Breach> {
        let mut short = Vec::new();
        match &line.response.body {
            WatchBody::Events { events, fragment } => {
                let newest = line.response.revision;
                for (place, event) in events.iter().enumerate() {
                    self.see(&line, newest, Told::Whole(event), place == 0)?;
                }
                self.end_response(*fragment, events.last().map(Told::Whole));
            }
            WatchBody::Digests(told) => {
                for response in told.responses() {
                    for (place, &(revision, digest)) in response.events.iter().enumerate() {
                        let told = Told::Short { revision, digest };
                        self.see(&line, response.revision, told, place == 0)?;
                    }
                    let last = response.events.last();
                    let last = last.map(|&(revision, digest)| Told::Short { revision, digest });
                    self.end_response(response.fragment, last);
                    short.extend(response.events);
                }
            }
            _ => {}
        }
        self.last_line = line.line;
        Ok(Piece { line, short, next: 0 })
    }

    fn end_response(&mut self, fragment: bool, last: Option<Told<'_>>) {
        if let Some(last) = last {
            self.reached = self.reached.max(last.revision().saturating_sub(i64::from(fragment)));
        }
        self.may_continue = fragment;
    }

    fn see(
        &mut self,
        line: &WatchLine,
        newest: i64,
        told: Told<'_>,
        is_first: bool,
    ) -> Result<(), Breach> {
        let revision = told.revision();
        self.see_alone(line, told)?;
        if revision > newest {
            let broken = Broken {
                operations: vec![render::watch(line)],
                expected: format!("events up to the response's revision {newest}"),
                got: told.show(),
            };
            return Err((Rule::WatchNoFuture, broken));
        }
        let identity = match told {
            Told::Whole(event) => Identity::Key(event.kv.key.clone()),
            Told::Short { digest, .. } => Identity::Digest(digest),
        };
        let broken = |rule, expected: &str| {
            let before = format!("watch {}: the response before", line.response.watch);
            let before = Named { line: self.last_line, text: before };
            let operations = vec![before, render::watch(line)];
            Err((rule, Broken { operations, expected: expected.to_owned(), got: told.show() }))
        };
        if revision < self.last {
            return broken(Rule::WatchOrdered, "revisions that rise");
        }
        if revision > self.last {
            self.of_last.clear();
        } else if self.of_last.contains(&identity) {
            return broken(Rule::WatchUnique, "each event once");
        } else if is_first && !self.may_continue {
            return broken(Rule::WatchAtomic, "all events of a revision together");
        }
        self.last = revision;
        self.of_last.push(identity);
        Ok(())
    }

    /// What can be said of an event by itself.
    fn see_alone(&self, line: &WatchLine, told: Told<'_>) -> Result<(), Breach> {
        let request = self.request();
        let is_wanted = match told {
            Told::Short { .. } => told.revision() >= self.start,
            Told::Whole(event) => {
                let filtered = match event.kind {
                    EventKind::Put => request.no_put,
                    EventKind::Delete => request.no_delete,
                };
                Span::new(&request.key, &request.range_end).contains(&event.kv.key)
                    && told.revision() >= self.start
                    && !filtered
                    && (request.prev_kv || event.prev_kv.is_none())
            }
        };
        if is_wanted {
            return Ok(());
        }
        let mut findings = Findings::new(1);
        let watch = self.as_watch(Vec::new());
        match told {
            Told::Whole(event) => watch.check_event(line, event, &mut findings),
            Told::Short { .. } => watch.check_early(line, told, &mut findings),
        }
        findings.into_first().map_or(Ok(()), Err)
    }

    /// The watch as the whole check sees it, with events of one revision.
    fn as_watch<'w>(&'w self, events: Vec<Arrived<'w>>) -> Watch<'w> {
        Watch {
            created: &self.created,
            request: self.request(),
            start: self.start,
            reached: self.reached,
            reached_by: events.last().map_or(&self.created, |arrived| arrived.line),
            events,
            canceled: None,
        }
    }

    /// Lets go of events that were compared.
    fn skip(&mut self) {
        while let Some(piece) = self.held.front_mut() {
            while piece.revision().is_some_and(|revision| revision <= self.compared) {
                piece.next += 1;
            }
            if piece.next < piece.len() {
                return;
            }
            self.held.pop_front();
        }
    }

    /// The next revision to compare: `feed` says where something happened, else it is everywhere.
    fn next(&self, feed: Option<&VecDeque<i64>>) -> Option<i64> {
        let due = match feed {
            None => Some(self.compared.saturating_add(1)),
            Some(revisions) => {
                let next = revisions.partition_point(|revision| *revision <= self.compared);
                revisions.get(next).copied()
            }
        };
        let came = self.held.front().and_then(Piece::revision);
        match (due, came) {
            (Some(due), Some(came)) => Some(due.min(came)),
            (due, came) => due.or(came),
        }
    }

    /// Compares the events of a revision that was replayed with what was due.
    fn compare(&self, revision: i64, past: &Past) -> Option<Breach> {
        if self.is_as_due(revision, past) {
            return None;
        }
        self.compare_slowly(revision, past, &[])
    }

    /// The same, if everything had been compacted.
    fn compare_excused(&self, revision: i64, past: &Past) -> Option<Breach> {
        self.compare_slowly(revision, past, &[i64::MAX])
    }

    fn compare_slowly(&self, revision: i64, past: &Past, compactions: &[i64]) -> Option<Breach> {
        let request = self.request();
        let span = Span::new(&request.key, &request.range_end);
        let due: Vec<Due<'_>> = past
            .changes(revision)
            .filter(|change| span.contains(&change.key))
            .map(|change| Due { revision, change })
            .collect();
        let came = self.came(revision);
        self.as_watch(came.clone()).compare(revision, &due, &came, compactions)
    }

    /// The events of a revision that have arrived, if it is the first that is not compared.
    fn came<'w>(&'w self, revision: i64) -> Vec<Arrived<'w>> {
        let arrived = |piece: &'w Piece| {
            let told = move |place| Arrived { line: &piece.line, told: piece.told(place) };
            piece.places(revision).map(told)
        };
        self.held.iter().flat_map(arrived).collect()
    }

    /// The common case: exactly what was due is in one response.
    fn is_as_due(&self, revision: i64, past: &Past) -> bool {
        let request = self.request();
        let span = Span::new(&request.key, &request.range_end);
        let mut due =
            past.changes(revision).filter(|own| span.contains(&own.key) && wants(request, own));
        let Some(piece) = self.held.front() else { return due.next().is_none() };
        let mut places = piece.places(revision);
        let same = due.by_ref().all(|change| {
            places
                .next()
                .is_some_and(|place| is_as_due(request, revision, change, piece.told(place)))
        });
        let of_next = || self.held.get(1).and_then(Piece::revision);
        let continues = places.end == piece.len() && of_next() == Some(revision);
        same && places.next().is_none() && !continues
    }

    /// What arrived of a revision whose other events may come no more.
    fn compare_rest(&self, past: &Past) -> Option<Breach> {
        let revision = self.held.front().and_then(Piece::revision)?;
        if revision > past.done() {
            return None;
        }
        self.compare_slowly(revision, past, &[i64::MAX])
    }
}
