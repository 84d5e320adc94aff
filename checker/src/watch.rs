//! The promises of a watch, each with a name of its own:
//!
//! - *created*: nothing comes before the response that says so;
//! - *ordered*, *unique*, *atomic*: by revision, once, and all events of a revision together;
//! - *complete*, *resumable*: nothing is missing from the start to where the watch has come;
//! - *filter*, *content*, *prev-kv*: what was asked for, as it happened;
//! - *no-future*, *compacted-cancel*, *closed*.
//!
//! Events tell what happened, never when: an event's arrival says nothing about the operation
//! that made it. A watch has come to a revision if an event or progress response says so, or if
//! the client closed it after everything was to have arrived.

use std::collections::HashMap;
use std::rc::Rc;

use crate::findings::{Broken, Findings};
use crate::history::record::{Event, EventKind, Outcome, Request, WatchBody, WatchRequest};
use crate::history::text::Text;
use crate::history::{History, WatchLine};
use crate::linear::pins::{Watches, first_watched};
use crate::linear::revision::Replayed;
use crate::model::keyspace::{Change, Span};
use crate::render;
use crate::verdict::{Named, Rule};

/// Responses from which on more threads pay.
const LARGE: usize = 20_000;

/// Checks every watch. Without a replay, only what watches say about themselves.
pub(crate) fn check(
    history: &History,
    watches: &Watches<'_>,
    replayed: Option<&Replayed>,
    findings: &mut Findings,
) {
    let rules = Rules { history, watches, replayed, compactions: compactions(history) };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(watches.by_id.len()).max(1);
    if threads == 1 || history.watches.len() < LARGE {
        rules.check_some(0, 1, findings);
        return;
    }
    let among: Vec<Findings> = std::thread::scope(|scope| {
        let rules = &rules;
        let checking: Vec<_> = (0..threads)
            .map(|thread| {
                let mut own = findings.empty();
                scope.spawn(move || {
                    rules.check_some(thread, threads, &mut own);
                    own
                })
            })
            .collect();
        checking.into_iter().map(|own| own.join().expect("checking does not panic")).collect()
    });
    for own in among {
        findings.merge(own);
    }
}

/// Compactions that happened, or may have.
fn compactions(history: &History) -> Vec<i64> {
    let requests = history.operations.iter().filter_map(|line| {
        match (&line.operation.request, &line.operation.outcome) {
            (_, Outcome::Fail(_)) => None,
            (Request::Compact(compact), _) => Some(compact.revision),
            _ => None,
        }
    });
    requests.collect()
}

/// What all watches are held against.
struct Rules<'a, 'h> {
    history: &'h History,
    watches: &'a Watches<'h>,
    replayed: Option<&'a Replayed>,
    compactions: Vec<i64>,
}

impl Rules<'_, '_> {
    /// Checks every `step`th watch from the one at `first`.
    fn check_some(&self, first: usize, step: usize, findings: &mut Findings) {
        let mut happened = self.replayed.map(Happened::new);
        for (_, lines) in self.watches.by_id.iter().skip(first).step_by(step) {
            let Some(watch) = Watch::follow(self.history, lines, findings) else { continue };
            watch.check_cancel(self.history, &self.compactions, findings);
            if let Some(happened) = &mut happened {
                watch.check_against(happened, &self.compactions, findings);
            }
            if self.watches.see_all(watch.request) {
                let first = self.history.header.first_revision;
                let certain = self.replayed.map_or(first, |own| own.certain);
                watch.check_every_revision(certain, findings);
            }
        }
    }
}

/// Revisions that are wrong after which a watch is looked at no further.
const WRONG_MAX: usize = 50;

/// An event, with the response that brought it.
#[derive(Debug, Clone, Copy)]
struct Arrived<'h> {
    line: &'h WatchLine,
    event: &'h Event,
}

/// A watch, as far as it tells of itself.
struct Watch<'h> {
    created: &'h WatchLine,
    request: &'h WatchRequest,
    /// First revision whose events are due.
    start: i64,
    /// Last revision whose events must all have arrived.
    reached: i64,
    /// Who says so.
    reached_by: &'h WatchLine,
    /// By revision; within one, as they arrived.
    events: Vec<Arrived<'h>>,
    canceled: Option<(&'h WatchLine, i64)>,
}

impl<'h> Watch<'h> {
    /// Follows a watch through its responses; `None` if it was never created.
    fn follow(
        history: &'h History,
        lines: &[&'h WatchLine],
        findings: &mut Findings,
    ) -> Option<Watch<'h>> {
        let mut lines = lines.iter().copied();
        let (created, request) = loop {
            let line = lines.next()?;
            match &line.response.body {
                WatchBody::Created(request) => break (line, request),
                WatchBody::Events { .. } => findings.add(Rule::WatchCreated, || Broken {
                    operations: vec![render::watch(line)],
                    expected: "created, before any event".into(),
                    got: "events".into(),
                }),
                WatchBody::Progress | WatchBody::Canceled { .. } | WatchBody::Closed { .. } => {}
            }
        };
        let start = first_watched(request, created.response.revision);
        let mut watch = Watch {
            created,
            request,
            start,
            reached: start.saturating_sub(1),
            reached_by: created,
            events: Vec::new(),
            canceled: None,
        };
        let mut order = Order { last: i64::MIN, last_line: created, may_continue: false };
        let mut ended: Option<&WatchLine> = None;
        for line in lines {
            if let Some(end) = ended {
                findings.add(Rule::WatchClosed, || Broken {
                    operations: vec![render::watch(end), render::watch(line)],
                    expected: "silence after the end".into(),
                    got: "another response".into(),
                });
                break;
            }
            if watch.take(history, line, &mut order, findings) {
                ended = Some(line);
            }
        }
        Some(watch)
    }

    /// Takes a response; whether it ended the watch.
    fn take(
        &mut self,
        history: &History,
        line: &'h WatchLine,
        order: &mut Order<'h>,
        findings: &mut Findings,
    ) -> bool {
        match &line.response.body {
            WatchBody::Created(_) => {}
            WatchBody::Progress => self.reach(line.response.revision, line),
            WatchBody::Events { events, fragment } => {
                for event in events {
                    self.check_event(line, event, findings);
                    if order.accepts(line, event, findings) {
                        self.events.push(Arrived { line, event });
                    }
                }
                if let Some(last) = events.last() {
                    self.reach(last.kv.mod_revision.saturating_sub(i64::from(*fragment)), line);
                }
                order.may_continue = *fragment;
            }
            WatchBody::Canceled { compact_revision, .. } => {
                if *compact_revision > 0 {
                    self.canceled = Some((line, *compact_revision));
                }
                return true;
            }
            WatchBody::Closed { by_client } => {
                if *by_client {
                    self.reach_final(history, line);
                }
                return true;
            }
        }
        false
    }

    fn reach(&mut self, revision: i64, by: &'h WatchLine) {
        if revision > self.reached {
            self.reached = revision;
            self.reached_by = by;
        }
    }

    /// Closed after the final states were read: it must have come up to them.
    fn reach_final(&mut self, history: &History, by: &'h WatchLine) {
        let before = history
            .finals
            .iter()
            .filter(|line| line.state.return_ns <= by.response.arrived_ns)
            .map(|line| line.state.revision);
        if let Some(revision) = before.max() {
            self.reach(revision, by);
        }
    }

    /// What can be said of an event by itself.
    fn check_event(&self, line: &WatchLine, event: &Event, findings: &mut Findings) {
        let span = Span::new(&self.request.key, &self.request.range_end);
        let filtered = match event.kind {
            EventKind::Put => self.request.no_put,
            EventKind::Delete => self.request.no_delete,
        };
        let early = event.kv.mod_revision < self.start;
        if !span.contains(&event.kv.key) || filtered || early {
            findings.add(Rule::WatchFilter, || Broken {
                operations: vec![render::watch(self.created), render::watch(line)],
                expected: format!(
                    "events of {} from revision {}, without those filtered out",
                    render::span(&self.request.key, &self.request.range_end),
                    self.start
                ),
                got: render::event(event),
            });
        }
        if event.kv.mod_revision > line.response.revision {
            findings.add(Rule::WatchNoFuture, || Broken {
                operations: vec![render::watch(line)],
                expected: format!(
                    "events up to the response's revision {}",
                    line.response.revision
                ),
                got: render::event(event),
            });
        }
        if event.prev_kv.is_some() && !self.request.prev_kv {
            findings.add(Rule::WatchPrevKv, || Broken {
                operations: vec![render::watch(self.created), render::watch(line)],
                expected: "no previous key-value, for none was asked for".into(),
                got: render::event(event),
            });
        }
    }

    fn check_cancel(&self, history: &History, compactions: &[i64], findings: &mut Findings) {
        let Some((line, revision)) = self.canceled else { return };
        let newest = self.events.last().map_or(0, |arrived| arrived.event.kv.mod_revision);
        let due = self.start.max(newest.saturating_add(1));
        let known = compactions.contains(&revision) || revision <= history.header.first_revision;
        if due < revision && known {
            return;
        }
        findings.add(Rule::WatchCompactedCancel, || Broken {
            operations: vec![render::watch(self.created), render::watch(line)],
            expected: if known {
                format!("no cancel: events from {due} on are not compacted")
            } else {
                "a compact revision that was asked for".into()
            },
            got: format!("canceled because of a compaction at {revision}"),
        });
    }

    /// Compares with what happened, revision by revision.
    fn check_against(
        &self,
        happened: &mut Happened<'_>,
        compactions: &[i64],
        findings: &mut Findings,
    ) {
        let replayed = happened.replayed;
        let due = happened.of(self.request);
        let mut due = &due[due.partition_point(|due| due.revision < self.start)..];
        let mut events = self.events.as_slice();
        let first = events.partition_point(|own| {
            own.event.kv.mod_revision < self.start || own.event.kv.mod_revision <= replayed.first
        });
        events = &events[first..];
        let mut wrong_so_far = 0;
        loop {
            let next_due = due.first().map_or(i64::MAX, |due| due.revision);
            let next_event = events.first().map_or(i64::MAX, |own| own.event.kv.mod_revision);
            let revision = next_due.min(next_event);
            if revision > replayed.done || wrong_so_far == WRONG_MAX {
                return;
            }
            // A revision has few changes: counting them beats searching for where they end.
            let due_now = due.iter().take_while(|due| due.revision <= revision).count();
            let came =
                events.iter().take_while(|own| own.event.kv.mod_revision <= revision).count();
            let wrong = self.compare(revision, &due[..due_now], &events[..came], compactions);
            if let Some((rule, broken)) = wrong {
                wrong_so_far += 1;
                if revision <= replayed.certain {
                    findings.add(rule, || broken);
                } else if !findings.any() {
                    findings.undecided(format!(
                        "watch {} disagrees at revision {revision}, but what happened there is not \
                         certain",
                        self.created.response.watch
                    ));
                    return;
                }
            }
            due = &due[due_now..];
            events = &events[came..];
        }
    }

    /// Compares the events of one revision with what was due.
    fn compare(
        &self,
        revision: i64,
        due: &[Due<'_>],
        came: &[Arrived<'h>],
        compactions: &[i64],
    ) -> Option<(Rule, Broken)> {
        if self.is_as_due(due, came) {
            return None;
        }
        let due: Vec<&Change> =
            due.iter().map(|due| due.change).filter(|change| self.wants(change)).collect();
        for change in &due {
            if revision <= self.reached && !came.iter().any(|own| own.event.kv.key == change.key) {
                return Some(self.missing(revision, change));
            }
        }
        for arrived in came {
            let change = due.iter().find(|change| change.key == arrived.event.kv.key);
            if let Some(wrong) = self.compare_event(*arrived, change.copied(), compactions) {
                return Some(wrong);
            }
        }
        let order =
            due.iter().filter(|change| came.iter().any(|own| own.event.kv.key == change.key));
        if order.map(|change| &change.key).ne(came.iter().map(|own| &own.event.kv.key)) {
            let keys: Vec<String> = due.iter().map(|change| render::short(&change.key)).collect();
            return Some((
                Rule::WatchOrdered,
                Broken {
                    operations: came
                        .first()
                        .map(|own| render::watch(own.line))
                        .into_iter()
                        .collect(),
                    expected: format!("in operation order: {}", keys.join(", ")),
                    got: "another order".into(),
                },
            ));
        }
        None
    }

    /// The common case, looked at first: exactly what was due came.
    fn is_as_due(&self, due: &[Due<'_>], came: &[Arrived<'h>]) -> bool {
        due.len() == came.len()
            && due.iter().zip(came).all(|(due, arrived)| {
                let (change, event) = (due.change, arrived.event);
                let same = match (&change.after, event.kind) {
                    (Some(after), EventKind::Put) => after.is(&event.kv),
                    (None, EventKind::Delete) => true,
                    (Some(_), EventKind::Delete) | (None, EventKind::Put) => false,
                };
                let same_before = match (&change.before, &event.prev_kv) {
                    (Some(before), Some(prev)) => before.is(prev) && prev.key == change.key,
                    (_, None) => !self.request.prev_kv || change.before.is_none(),
                    (None, Some(_)) => false,
                };
                same && same_before && event.kv.key == change.key && self.wants(change)
            })
    }

    fn wants(&self, change: &Change) -> bool {
        if change.after.is_some() { !self.request.no_put } else { !self.request.no_delete }
    }

    fn missing(&self, revision: i64, change: &Change) -> (Rule, Broken) {
        let arrived = self.events.first().map(|own| own.event.kv.mod_revision);
        let at_start = arrived.is_none_or(|first| revision < first);
        let rule = if self.request.resumes.is_some() && at_start {
            Rule::WatchResumable
        } else {
            Rule::WatchComplete
        };
        (rule, self.missing_between(revision, &show(change)))
    }

    /// Names the responses between which something is missing.
    fn missing_between(&self, revision: i64, what: &str) -> Broken {
        let after = self.events.partition_point(|own| own.event.kv.mod_revision <= revision);
        let before = after.checked_sub(1).map_or(self.created, |index| self.events[index].line);
        let after = self.events.get(after).map_or(self.reached_by, |own| own.line);
        let mut operations: Vec<Named> = vec![render::watch(before)];
        if after.line != before.line {
            operations.push(render::watch(after));
        }
        Broken {
            operations,
            expected: format!("the event {what} of revision {revision}"),
            got: format!("nothing, though the watch has come to revision {}", self.reached),
        }
    }

    fn compare_event(
        &self,
        arrived: Arrived<'h>,
        change: Option<&Change>,
        compactions: &[i64],
    ) -> Option<(Rule, Broken)> {
        let event = arrived.event;
        let wrong = |rule, expected: String, got: String| {
            Some((rule, Broken { operations: vec![render::watch(arrived.line)], expected, got }))
        };
        let Some(change) = change else {
            let text = format!(
                "no event: nothing happened to {} at revision {}",
                render::short(&event.kv.key),
                event.kv.mod_revision
            );
            return wrong(Rule::WatchContent, text, render::event(event));
        };
        let same = match (&change.after, event.kind) {
            (Some(after), EventKind::Put) => after.is(&event.kv),
            (None, EventKind::Delete) => true,
            (Some(_), EventKind::Delete) | (None, EventKind::Put) => false,
        };
        if !same {
            return wrong(Rule::WatchContent, show(change), render::event(event));
        }
        if !self.request.prev_kv {
            return None;
        }
        let same = match (&change.before, &event.prev_kv) {
            (None, None) => true,
            (Some(before), Some(prev)) => prev.key == change.key && before.is(prev),
            // etcd leaves out what it can no longer read.
            (Some(_), None) => compactions.iter().any(|to| *to >= event.kv.mod_revision),
            (None, Some(_)) => false,
        };
        if same {
            return None;
        }
        let prev = |kv: Option<String>| kv.map_or("none".to_owned(), |kv| kv);
        let expected =
            change.before.as_ref().map(|own| render::key_value(&own.key_value(&change.key)));
        let got = event.prev_kv.as_ref().map(render::key_value);
        wrong(
            Rule::WatchPrevKv,
            format!("previous key-value: {}", prev(expected)),
            format!("previous key-value: {}", prev(got)),
        )
    }

    /// A watch on everything has an event for every revision, whatever it was. This needs no
    /// replay, so it holds beyond the last certain revision too.
    fn check_every_revision(&self, certain: i64, findings: &mut Findings) {
        let from = self.start.max(certain.saturating_add(1));
        let skip = self.events.partition_point(|own| own.event.kv.mod_revision < from);
        let mut next = from;
        for arrived in &self.events[skip..] {
            let revision = arrived.event.kv.mod_revision;
            if next < revision && next <= self.reached {
                findings.add(Rule::WatchComplete, || self.missing_between(next, "(unknown)"));
            }
            next = next.max(revision.saturating_add(1));
        }
        if next <= self.reached {
            findings.add(Rule::WatchComplete, || self.missing_between(next, "(unknown)"));
        }
    }
}

/// How far the events of a watch have come.
struct Order<'h> {
    last: i64,
    last_line: &'h WatchLine,
    /// The last response was a fragment.
    may_continue: bool,
}

impl<'h> Order<'h> {
    /// Whether an event is in order; if not, it is noted and left out of what follows.
    fn accepts(&mut self, line: &'h WatchLine, event: &Event, findings: &mut Findings) -> bool {
        let revision = event.kv.mod_revision;
        let other_response = line.line != self.last_line.line;
        let broken = |expected: &str| Broken {
            operations: vec![render::watch(self.last_line), render::watch(line)],
            expected: expected.to_owned(),
            got: render::event(event),
        };
        if revision < self.last {
            findings.add(Rule::WatchOrdered, || broken("revisions that rise"));
            return false;
        }
        let same = revision == self.last && other_response && !self.may_continue;
        let repeated = revision == self.last && self.is_repeated(line, event);
        if repeated {
            findings.add(Rule::WatchUnique, || broken("each event once"));
            return false;
        }
        if same {
            findings.add(Rule::WatchAtomic, || broken("all events of a revision together"));
        }
        self.last = revision;
        self.last_line = line;
        true
    }

    /// Whether the same key has had an event of this revision in the last response, or earlier in
    /// this one.
    fn is_repeated(&self, line: &WatchLine, event: &Event) -> bool {
        let same = |other: &&Event| {
            other.kv.key == event.kv.key && other.kv.mod_revision == event.kv.mod_revision
        };
        let within = |line: &WatchLine| match &line.response.body {
            WatchBody::Events { events, .. } => {
                events.iter().take_while(|other| !std::ptr::eq(*other, event)).any(|own| same(&own))
            }
            _ => false,
        };
        within(line) || (line.line != self.last_line.line && within(self.last_line))
    }
}

fn show(change: &Change) -> String {
    match &change.after {
        Some(after) => format!("put {}", render::key_value(&after.key_value(&change.key))),
        None => format!("delete {}", render::short(&change.key)),
    }
}

/// A change that a watch is due.
#[derive(Debug, Clone, Copy)]
struct Due<'r> {
    revision: i64,
    change: &'r Change,
}

/// What happened, by what is watched. Many watches share a span.
struct Happened<'r> {
    replayed: &'r Replayed,
    by_key: Option<HashMap<&'r Text, Rc<Vec<Due<'r>>>>>,
    by_span: HashMap<(Text, Text), Rc<Vec<Due<'r>>>>,
}

impl<'r> Happened<'r> {
    fn new(replayed: &'r Replayed) -> Happened<'r> {
        Happened { replayed, by_key: None, by_span: HashMap::new() }
    }

    fn of(&mut self, request: &WatchRequest) -> Rc<Vec<Due<'r>>> {
        let span = Span::new(&request.key, &request.range_end);
        let replayed = self.replayed;
        if let Some(key) = span.single() {
            let by_key = self.by_key.get_or_insert_with(|| index_by_key(replayed));
            return by_key.get(key).cloned().unwrap_or_default();
        }
        let key = (request.key.clone(), request.range_end.clone());
        let list = self.by_span.entry(key).or_insert_with(|| {
            Rc::new(all(replayed).filter(|due| span.contains(&due.change.key)).collect())
        });
        Rc::clone(list)
    }
}

fn all(replayed: &Replayed) -> impl Iterator<Item = Due<'_>> {
    (replayed.first + 1..=replayed.done).flat_map(|revision| {
        replayed.at(revision).iter().map(move |change| Due { revision, change })
    })
}

fn index_by_key(replayed: &Replayed) -> HashMap<&Text, Rc<Vec<Due<'_>>>> {
    let mut lists: HashMap<&Text, Vec<Due<'_>>> = HashMap::new();
    for due in all(replayed) {
        lists.entry(&due.change.key).or_default().push(due);
    }
    lists.into_iter().map(|(key, list)| (key, Rc::new(list))).collect()
}
