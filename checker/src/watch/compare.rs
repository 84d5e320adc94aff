//! A watch held against what happened, revision by revision.

use crate::findings::{Broken, Findings};
use crate::history::WatchLine;
use crate::history::record::{Event, WatchRequest};
use crate::model::keyspace::Change;
use crate::render;
use crate::verdict::{Named, Rule};

use super::follow::Watch;
use super::happened::{Due, Happened};
use super::told::{Arrived, Told, digest_of, says};

/// Revisions that are wrong after which a watch is looked at no further.
const WRONG_MAX: usize = 50;

impl<'h> Watch<'h> {
    /// Compares with what happened, revision by revision.
    pub(super) fn check_against(
        &self,
        happened: &mut Happened<'_>,
        compactions: &[i64],
        findings: &mut Findings,
    ) {
        let replayed = happened.replayed;
        let due = happened.to(self.request);
        let mut due = &due[due.partition_point(|due| due.revision < self.start)..];
        let mut events = self.events.as_slice();
        let first = events.partition_point(|own| {
            own.told.revision() < self.start || own.told.revision() <= replayed.first
        });
        events = &events[first..];
        let mut wrong_so_far = 0;
        loop {
            let next_due = due.first().map_or(i64::MAX, |due| due.revision);
            let next_event = events.first().map_or(i64::MAX, |own| own.told.revision());
            let revision = next_due.min(next_event);
            if revision > replayed.done || wrong_so_far == WRONG_MAX {
                return;
            }
            // A revision has few changes: counting them beats searching for where they end.
            let due_now = due.iter().take_while(|due| due.revision <= revision).count();
            let came = events.iter().take_while(|own| own.told.revision() <= revision).count();
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

    /// The common case, looked at first: at these revisions exactly what was due came, in order, as
    /// far as the watch has come. Then nothing is wrong there.
    pub(super) fn is_as_it_happened(&self, happened: &mut Happened<'_>) -> bool {
        let (from, to) = happened.revisions.clone().into_inner();
        let from = from.max(self.start);
        let due = happened.to(self.request);
        let due = &due[due.partition_point(|due| due.revision < from)..];
        let mut due = due.iter().filter(|due| self.wants(due.change));
        let first = self.events.partition_point(|own| own.told.revision() < from);
        for own in &self.events[first..] {
            let revision = own.told.revision();
            if revision > to {
                break;
            }
            let is_due = due.next().is_some_and(|due| {
                due.revision == revision && is_as_due(self.request, revision, due.change, own.told)
            });
            if !is_due {
                return false;
            }
        }
        due.next().is_none_or(|due| due.revision > self.reached)
    }

    /// Compares the events of one revision with what was due.
    pub(crate) fn compare(
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
        // An event told in short that is none of those due may be any of them, with other content.
        let is_due = |own: &Arrived<'_>| due.iter().any(|change| is_of(own.told, change));
        let unclear = came.iter().any(|own| matches!(own.told, Told::Short { .. }) && !is_due(own));
        for change in &due {
            let came = unclear || came.iter().any(|own| is_of(own.told, change));
            if revision <= self.reached && !came {
                return Some(self.missing(revision, change));
            }
        }
        for arrived in came {
            let change = due.iter().find(|change| is_of(arrived.told, change)).copied();
            let wrong = match arrived.told {
                Told::Whole(event) => self.compare_event(arrived.line, event, change, compactions),
                Told::Short { .. } => self.compare_short(*arrived, change, &due, compactions),
            };
            if wrong.is_some() {
                return wrong;
            }
        }
        let expected = due.iter().filter(|change| came.iter().any(|own| is_of(own.told, change)));
        if !expected.zip(came).all(|(change, own)| is_of(own.told, change)) {
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
                self.wants(due.change)
                    && is_as_due(self.request, due.revision, due.change, arrived.told)
            })
    }

    fn wants(&self, change: &Change) -> bool {
        wants(self.request, change)
    }

    fn missing(&self, revision: i64, change: &Change) -> (Rule, Broken) {
        let arrived = self.events.first().map(|own| own.told.revision());
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
        let after = self.events.partition_point(|own| own.told.revision() <= revision);
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
        line: &WatchLine,
        event: &Event,
        change: Option<&Change>,
        compactions: &[i64],
    ) -> Option<(Rule, Broken)> {
        let wrong = |rule, expected: String, got: String| {
            Some((rule, Broken { operations: vec![render::watch(line)], expected, got }))
        };
        let Some(change) = change else {
            let text = format!(
                "no event: nothing happened to {} at revision {}",
                render::short(&event.kv.key),
                event.kv.mod_revision
            );
            return wrong(Rule::WatchContent, text, render::event(event));
        };
        if !says(event, change) {
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

    /// As [`Self::compare_event`], of an event told in short; `due` are all changes of its revision.
    fn compare_short(
        &self,
        arrived: Arrived<'_>,
        change: Option<&Change>,
        due: &[&Change],
        compactions: &[i64],
    ) -> Option<(Rule, Broken)> {
        let revision = arrived.told.revision();
        let wrong = |rule, expected: String| {
            let operations = vec![render::watch(arrived.line)];
            Some((rule, Broken { operations, expected, got: arrived.told.show() }))
        };
        let Some(change) = change else {
            let expected = match due {
                [] => format!("no event: nothing happened at revision {revision}"),
                due => render::list(due, |change| show(change)),
            };
            return wrong(Rule::WatchContent, expected);
        };
        let with_before = arrived.told.digest() == digest_of(revision, change, true);
        // etcd leaves out what it can no longer read.
        let may_lack = !self.request.prev_kv || compactions.iter().any(|to| *to >= revision);
        let is_right =
            change.before.is_none() || if with_before { self.request.prev_kv } else { may_lack };
        if is_right {
            return None;
        }
        let asked = if self.request.prev_kv { "with" } else { "without" };
        let expected = format!("{}, {asked} the key-value before", show(change));
        wrong(Rule::WatchPrevKv, expected)
    }

    /// A watch on everything has an event for every revision, whatever it was. This needs no
    /// replay, so it holds beyond the last certain revision too.
    pub(super) fn check_every_revision(&self, certain: i64, findings: &mut Findings) {
        let from = self.start.max(certain.saturating_add(1));
        let skip = self.events.partition_point(|own| own.told.revision() < from);
        let mut next = from;
        for arrived in &self.events[skip..] {
            let revision = arrived.told.revision();
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

/// Whether a watch of this request is to be told of a change of its span.
pub(crate) fn wants(request: &WatchRequest, change: &Change) -> bool {
    if change.after.is_some() { !request.no_put } else { !request.no_delete }
}

/// Whether an event says all of a change of `revision` that was asked for.
pub(crate) fn is_as_due(
    request: &WatchRequest,
    revision: i64,
    change: &Change,
    told: Told<'_>,
) -> bool {
    let event = match told {
        Told::Whole(event) => event,
        Told::Short { digest, .. } => {
            return digest == digest_of(revision, change, request.prev_kv);
        }
    };
    let same_before = match (&change.before, &event.prev_kv) {
        (Some(before), Some(prev)) => before.is(prev) && prev.key == change.key,
        (_, None) => !request.prev_kv || change.before.is_none(),
        (None, Some(_)) => false,
    };
    says(event, change) && same_before && event.kv.key == change.key
}

/// Whether an event is about a change's key; one told in short is if it says what the change was.
fn is_of(told: Told<'_>, change: &Change) -> bool {
    match told {
        Told::Whole(event) => event.kv.key == change.key,
        Told::Short { revision, digest } => {
            [false, true].iter().any(|before| digest == digest_of(revision, change, *before))
        }
    }
}

fn show(change: &Change) -> String {
    match &change.after {
        Some(after) => format!("put {}", render::key_value(&after.key_value(&change.key))),
        None => format!("delete {}", render::short(&change.key)),
    }
}
