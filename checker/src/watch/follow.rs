//! One watch, followed through its responses: what it tells of itself, and what can be said of it
//! without knowing what happened.

use crate::findings::{Broken, Findings};
use crate::history::record::{Event, EventKind, WatchBody, WatchRequest};
use crate::history::{History, WatchLine};
use crate::linear::pins::first_watched;
use crate::model::keyspace::Span;
use crate::render;
use crate::verdict::Rule;

use super::order::Order;
use super::told::{Arrived, Told};

/// A watch, as far as it tells of itself.
#[derive(Debug)]
pub(crate) struct Watch<'h> {
    pub(crate) created: &'h WatchLine,
    pub(crate) request: &'h WatchRequest,
    /// First revision whose events are due.
    pub(crate) start: i64,
    /// Last revision whose events must all have arrived.
    pub(crate) reached: i64,
    /// Who says so.
    pub(crate) reached_by: &'h WatchLine,
    /// By revision; within one, as they arrived.
    pub(crate) events: Vec<Arrived<'h>>,
    pub(crate) canceled: Option<(&'h WatchLine, i64)>,
}

/// Follows a watch, response by response.
#[derive(Debug, Default)]
pub(crate) struct Follower<'h> {
    /// The watch, once it was created.
    watch: Option<(Watch<'h>, Order<'h>)>,
    ended: Option<&'h WatchLine>,
    /// It went on after its end: that is noted once.
    has_gone_on: bool,
}

impl<'h> Follower<'h> {
    /// The watch; `None` if it was never created.
    pub(super) fn watch(&self) -> Option<&Watch<'h>> {
        self.watch.as_ref().map(|(watch, _)| watch)
    }

    /// Takes the watch's next response.
    pub(super) fn take(
        &mut self,
        history: &'h History,
        line: &'h WatchLine,
        findings: &mut Findings,
    ) {
        if self.has_gone_on {
            return;
        }
        let Some((watch, order)) = &mut self.watch else {
            self.watch = Watch::created(line, findings).map(|watch| (watch, Order::new(line)));
            return;
        };
        if let Some(end) = self.ended {
            findings.add(Rule::WatchClosed, || Broken {
                operations: vec![render::watch(end), render::watch(line)],
                expected: "silence after the end".into(),
                got: "another response".into(),
            });
            self.has_gone_on = true;
        } else if watch.take(history, line, order, findings) {
            self.ended = Some(line);
        }
    }
}

impl<'h> Watch<'h> {
    /// The watch that a response tells to be there.
    fn created(line: &'h WatchLine, findings: &mut Findings) -> Option<Watch<'h>> {
        let request = match &line.response.body {
            WatchBody::Created(request) => request,
            WatchBody::Events { .. } | WatchBody::Digests(_) => {
                findings.add(Rule::WatchCreated, || Broken {
                    operations: vec![render::watch(line)],
                    expected: "created, before any event".into(),
                    got: "events".into(),
                });
                return None;
            }
            WatchBody::Progress | WatchBody::Canceled { .. } | WatchBody::Closed { .. } => {
                return None;
            }
        };
        let start = first_watched(request, line.response.revision);
        Some(Watch {
            created: line,
            request,
            start,
            reached: start.saturating_sub(1),
            reached_by: line,
            events: Vec::new(),
            canceled: None,
        })
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
            WatchBody::Progress => {
                order.promise(line);
                self.reach(line.response.revision, line);
            }
            WatchBody::Events { events, fragment } => {
                let newest = line.response.revision;
                for event in events {
                    self.check_event(line, event, findings);
                    self.take_event(line, newest, Told::Whole(event), order, findings);
                }
                self.end_response(line, *fragment, events.last().map(Told::Whole), order);
            }
            WatchBody::Digests(short) => {
                for response in short.responses() {
                    let told = |&(revision, digest)| Told::Short { revision, digest };
                    for told in response.events.iter().map(told) {
                        self.check_early(line, told, findings);
                        self.take_event(line, response.revision, told, order, findings);
                    }
                    let last = response.events.last().map(told);
                    self.end_response(line, response.fragment, last, order);
                }
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

    /// Takes an event of a response whose header tells of revision `newest`.
    fn take_event(
        &mut self,
        line: &'h WatchLine,
        newest: i64,
        told: Told<'h>,
        order: &mut Order<'h>,
        findings: &mut Findings,
    ) {
        if told.revision() > newest {
            findings.add(Rule::WatchNoFuture, || Broken {
                operations: vec![render::watch(line)],
                expected: format!("events up to the response's revision {newest}"),
                got: told.show(),
            });
        }
        if order.accepts(line, told, findings) {
            self.events.push(Arrived { line, told });
        }
    }

    fn end_response(
        &mut self,
        line: &'h WatchLine,
        fragment: bool,
        last: Option<Told<'h>>,
        order: &mut Order<'h>,
    ) {
        if let Some(last) = last {
            self.reach(last.revision().saturating_sub(i64::from(fragment)), line);
        }
        order.end_response(fragment);
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

    /// What can be said of an event told in short by itself; whether it was asked for shows when
    /// it is compared with what was due.
    pub(crate) fn check_early(&self, line: &WatchLine, told: Told<'_>, findings: &mut Findings) {
        if told.revision() < self.start {
            findings.add(Rule::WatchFilter, || Broken {
                operations: vec![render::watch(self.created), render::watch(line)],
                expected: format!("events from revision {}", self.start),
                got: told.show(),
            });
        }
    }

    /// What can be said of an event told in full by itself.
    pub(crate) fn check_event(&self, line: &WatchLine, event: &Event, findings: &mut Findings) {
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
        if event.prev_kv.is_some() && !self.request.prev_kv {
            findings.add(Rule::WatchPrevKv, || Broken {
                operations: vec![render::watch(self.created), render::watch(line)],
                expected: "no previous key-value, for none was asked for".into(),
                got: render::event(event),
            });
        }
    }

    pub(crate) fn check_cancel(
        &self,
        history: &History,
        compactions: &[i64],
        findings: &mut Findings,
    ) {
        let Some((line, revision)) = self.canceled else { return };
        let newest = self.events.last().map_or(0, |arrived| arrived.told.revision());
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
}
