//! The replay of a stream: revision by revision, as far as it is known what they hold.
//!
//! Invariant: whatever waits for a revision is looked at when that revision is the last replayed.

use std::mem::take;

use crate::findings::Broken;
use crate::history::record::{Event, EventKind, Outcome, Request};
use crate::history::{FinalLine, OperationLine};
use crate::linear::answer;
use crate::linear::checks::{Look, each_look};
use crate::linear::timeline::{Place, Tells, may_be_stale, reads};
use crate::model::keyspace::{Change, Stored};
use crate::render;
use crate::verdict::{Named, Rule};

use super::bounds::Caller;
use super::judge::{Stream, Waiting};
use super::makers::Explained;
use super::past::Looked;
use super::spans;

impl Stream {
    pub(super) fn take_answer(&mut self, line: OperationLine) {
        let operation = &line.operation;
        let Outcome::Ok(response) = &operation.outcome else { return };
        let revision = response.revision;
        self.note_compaction(&operation.request);
        let place = match usize::try_from(revision.saturating_sub(self.first)) {
            Ok(rank) => Tells::of(&response.body).place(rank),
            Err(_) => return self.take_too_old(&line, revision),
        };
        if !self.reveal(revision) {
            return;
        }
        self.bound_operation(&line, place, revision);
        if self.is_lost() && matches!(place, Place::Write(_)) {
            self.makers.claim(revision);
        }
        if self.found.is_some() || self.is_lost() {
            return;
        }
        match place {
            Place::Write(0) => {
                let first = self.first;
                self.blame(
                    Rule::RevisionDuplicate,
                    Broken {
                        operations: vec![render::operation(&line)],
                        expected: format!("a write above revision {first}, which was there before"),
                        got: format!("revision {first}"),
                    },
                );
            }
            Place::Write(_) => self.take_write(line, revision),
            Place::Slot(_) | Place::Revoke(_) | Place::Floating => self.take_look(line, place),
        }
    }

    /// An answer from before the first revision.
    fn take_too_old(&mut self, line: &OperationLine, revision: i64) {
        let request = &line.operation.request;
        if may_be_stale(request) || matches!(request, Request::LeaseKeepAlive(_)) {
            return;
        }
        let rule = if reads(request) { Rule::StaleRead } else { Rule::RealTimeOrder };
        let broken = Broken {
            operations: vec![render::operation(line)],
            expected: format!("revision {} or above, which was seen before it began", self.first),
            got: format!("an answer from revision {revision}"),
        };
        self.blame(rule, broken);
    }

    fn bound_operation(&mut self, line: &OperationLine, place: Place, revision: i64) {
        let operation = &line.operation;
        let call = |rule| Caller { line: line.line, call_ns: operation.call_ns, rule };
        let unseen = match place {
            Place::Write(0) | Place::Floating => None,
            Place::Write(_) => Some((revision, call(Rule::LostWrite))),
            Place::Slot(_) | Place::Revoke(_) if may_be_stale(&operation.request) => None,
            Place::Slot(_) | Place::Revoke(_) => {
                let reads = reads(&operation.request);
                let rule = if reads { Rule::StaleRead } else { Rule::RealTimeOrder };
                Some((revision + 1, call(rule)))
            }
        };
        let tells = match place {
            Place::Floating => matches!(operation.request, Request::LeaseKeepAlive(_)),
            Place::Write(_) | Place::Slot(_) | Place::Revoke(_) => true,
        };
        let returned = operation.return_ns.filter(|_| tells);
        if unseen.is_some() && revision < self.past.base() && !self.is_lost() {
            self.left.late += 1;
        }
        self.bound(revision, unseen, returned, &|| render::operation(line));
    }

    fn take_write(&mut self, line: OperationLine, revision: i64) {
        let done = self.past.done();
        if revision == done + 1 {
            let is_claimed = self.ahead.front().is_some_and(|ahead| ahead.writer.is_some());
            if !is_claimed {
                return self.apply(&line);
            }
        }
        if revision > done {
            let place = usize::try_from(revision - done - 1).expect("above the replay");
            let writer = &mut self.ahead[place].writer;
            if let Some(other) = writer {
                let other = render::operation(other);
                return self.taken_twice(revision, other, &line);
            }
            *writer = Some(Box::new(line));
            self.count_waiting();
        } else if revision <= self.past.base() {
            self.makers.claim(revision);
            self.left.late += 1;
        } else if let Some(other) = self.past.writer(revision) {
            let other = Named { line: other, text: format!("the write of revision {revision}") };
            self.taken_twice(revision, other, &line);
        } else {
            self.claim(&line, revision);
        }
    }

    fn taken_twice(&mut self, revision: i64, other: Named, line: &OperationLine) {
        let broken = Broken {
            operations: vec![other, render::operation(line)],
            expected: "each write has a revision of its own".into(),
            got: format!("both have revision {revision}"),
        };
        self.blame(Rule::RevisionDuplicate, broken);
    }

    /// The write of a revision that was replayed from what a watch told of it.
    fn claim(&mut self, line: &OperationLine, revision: i64) {
        let operation = &line.operation;
        let Outcome::Ok(response) = &operation.outcome else { return };
        let mut keys = self.past.copy_at(spans::of(&operation.request), revision - 1);
        let mut changes = Vec::new();
        let written =
            answer::write(&mut keys, &operation.request, &response.body, revision, &mut changes);
        if let Err(wrong) = written {
            return self.blame(wrong.rule, wrong.broken(line));
        }
        if !changes.iter().eq(self.past.changes(revision)) {
            let told: Vec<&Change> = self.past.changes(revision).collect();
            let broken = Broken {
                operations: vec![render::operation(line)],
                expected: format!("events of revision {revision} that say what it did"),
                got: render::list(&told, |change| change_of(change)),
            };
            return self.blame(Rule::WatchContent, broken);
        }
        self.makers.claim(revision);
        self.past.set_writer(revision, line.line);
        self.look(line, Place::Write(1));
    }

    /// An answer that says what the keys were.
    fn take_look(&mut self, line: OperationLine, place: Place) {
        let mut latest = i64::MIN;
        each_look(&line.operation, place, &mut |look| {
            if let Look::At(revision, _) = look {
                latest = latest.max(revision);
            }
        });
        if latest > self.past.done() {
            self.wait(latest, Waiting::Operation(Box::new(line)));
        } else {
            self.look(&line, place);
        }
    }

    /// Holds an answer against the keys, at all revisions that it is about.
    fn look(&mut self, line: &OperationLine, place: Place) {
        let mut wrong = None;
        let mut late = 0;
        each_look(&line.operation, place, &mut |look| {
            let (revision, check) = match look {
                _ if wrong.is_some() => return,
                Look::Future(future) => {
                    wrong = Some((Rule::ContentResponse, future.broken(line)));
                    return;
                }
                Look::At(revision, _) if revision < self.first => return,
                Look::At(revision, check) => (revision, check),
            };
            match self.past.look(revision, check) {
                Looked::Right => {}
                Looked::Wrong(found) => wrong = Some((found.rule, found.broken(line))),
                Looked::Late => late += 1,
            }
        });
        self.left.late += late;
        if let Some((rule, broken)) = wrong {
            self.blame(rule, broken);
        }
    }

    pub(super) fn compare_final(&mut self, line: FinalLine) {
        if self.found.is_some() || self.is_lost() {
            return;
        }
        let revision = line.state.revision;
        if revision > self.past.done() {
            return self.wait(revision, Waiting::Final(Box::new(line)));
        }
        if revision < self.past.base() {
            self.left.late += 1;
            return;
        }
        let broken = if revision == self.past.done() {
            answer::final_state(&self.past.keys, &line)
        } else {
            answer::final_state(&self.past.all_at(revision), &line)
        };
        if let Some(broken) = broken {
            self.blame(Rule::FinalState, broken);
        }
    }

    /// Goes on as far as it is known what happened; waits `patience` records for the write of a
    /// revision of which a watch has told.
    pub(super) fn advance(&mut self, patience: u64) {
        while self.found.is_none() && !self.is_lost() {
            let Some(next) = self.ahead.front_mut() else { return };
            if let Some(writer) = next.writer.take() {
                self.waiting -= 1;
                self.apply(&writer);
            } else if !self.fill(patience) {
                return;
            }
        }
    }

    /// Does the write that made the next revision.
    fn apply(&mut self, line: &OperationLine) {
        let operation = &line.operation;
        let Outcome::Ok(response) = &operation.outcome else { return };
        let revision = self.past.done() + 1;
        let mut changes = take(&mut self.changes);
        let written = answer::write(
            &mut self.past.keys,
            &operation.request,
            &response.body,
            revision,
            &mut changes,
        );
        self.changes = changes;
        if let Err(wrong) = written {
            return self.blame(wrong.rule, wrong.broken(line));
        }
        self.pass(Some(line.line));
        if matches!(operation.request, Request::Txn(_)) {
            self.look(line, Place::Write(1));
        }
    }

    /// Fills the next revision from what a watch tells of it, if one does.
    fn fill(&mut self, patience: u64) -> bool {
        let revision = self.past.done() + 1;
        // What was told once stays told, so while there is patience nothing need be looked at again.
        if self.told_since.is_some_and(|since| self.records - since < patience) {
            return false;
        }
        let Some(told) = self.watches.told_of(revision).filter(|told| !told.is_empty()) else {
            return false;
        };
        let since = *self.told_since.get_or_insert(self.records);
        if self.records - since < patience {
            return false;
        }
        let mut changes = Vec::with_capacity(told.len());
        let mut odd = None;
        for event in told {
            match change(event, self.past.keys.get(&event.kv.key), revision) {
                Some(change) => changes.push(change),
                None => odd = odd.or_else(|| Some(render::event(event))),
            }
        }
        if let Some(got) = odd {
            let broken = Broken {
                operations: Vec::new(),
                expected: format!("at revision {revision} something that can be done to the keys"),
                got,
            };
            self.blame(Rule::RevisionGap, broken);
            return true;
        }
        let (keys, held_max) = (&mut self.past.keys, self.options.unknown_max);
        if self.makers.add_gap(revision, changes.clone(), keys, held_max) {
            self.left.note_lease_end();
        }
        keys.redo(&changes);
        self.changes = changes;
        self.pass(None);
        true
    }

    /// The next revision was made: the keys have it, and `changes` says how.
    fn pass(&mut self, writer: Option<u64>) {
        self.told_since = None;
        self.report.counts.changes += u64::try_from(self.changes.len()).expect("usize fits u64");
        self.report.counts.gaps += u64::from(writer.is_none());
        self.report.counts.gaps_pinned += u64::from(writer.is_none());
        self.past.push(&mut self.changes, writer);
        let revision = self.past.done();
        self.watches.happened(revision, self.past.changes(revision));
        let waiting = self.ahead.pop_front().map(|ahead| ahead.waiting).unwrap_or_default();
        for waiting in waiting {
            self.waiting -= 1;
            match waiting {
                Waiting::Operation(line) => {
                    let place = match &line.operation.outcome {
                        Outcome::Ok(response) => Tells::of(&response.body).place(1),
                        _ => Place::Floating,
                    };
                    self.look(&line, place);
                }
                Waiting::Final(line) => self.compare_final(*line),
                Waiting::Watch(watch) => self.settle_watch(watch),
            }
        }
        self.forget(revision);
    }

    /// What can only be said when nothing more comes.
    pub(super) fn end(&mut self) {
        if self.found.is_some() {
            return;
        }
        self.end_of_gaps();
        if !self.is_lost() {
            let settled = self.watches.settle_all(&self.past, self.first);
            self.take_settled(settled);
        }
        self.end_of_excuses();
        self.end_of_hashes();
    }

    fn end_of_gaps(&mut self) {
        let next = self.past.done() + 1;
        if !self.is_lost() && !self.ahead.is_empty() {
            let upper_ns = self.bounds.upper_ns(next);
            let nobody = !self.left.has_leases()
                && !self.past.keys.has_leases()
                && !self.makers.any_called_by(upper_ns);
            if nobody || self.watches.told_of(next).is_some() {
                return self.unexplained(next);
            }
            self.lose(format!("nothing tells what revision {next} holds"));
        }
        let bounds = &self.bounds;
        match self.makers.explain(|revision| bounds.upper_ns(revision)) {
            Explained::Yes => {}
            Explained::Perhaps => self.left.makers = true,
            Explained::No(revision) => self.unexplained(revision),
        }
    }

    fn unexplained(&mut self, revision: i64) {
        let changes = self.makers.changes(revision).unwrap_or_default();
        let got = if changes.is_empty() {
            format!("revision {revision} exists, and nothing tells what it holds")
        } else {
            format!("revision {revision} holds {}", render::list(changes, change_of))
        };
        let broken = Broken {
            operations: Vec::new(),
            expected: "an operation of unknown outcome, or the end of a lease, that explains it"
                .into(),
            got,
        };
        self.blame(Rule::RevisionGap, broken);
    }

    /// Watches that say less because of a compaction.
    fn end_of_excuses(&mut self) {
        let newest = self.compactions.last().copied().unwrap_or(i64::MIN);
        let excused = take(&mut self.excused);
        if let Some((_, (rule, broken))) = excused.into_iter().find(|own| own.0 > newest) {
            self.blame(rule, broken);
        }
        for cancel in take(&mut self.cancels) {
            let to = cancel.compact_revision;
            let known = self.compactions.contains(&to) || to <= self.first;
            if cancel.due < to && known {
                continue;
            }
            let broken = Broken {
                operations: vec![cancel.created, cancel.canceled],
                expected: if known {
                    format!("no cancel: events from {} on are not compacted", cancel.due)
                } else {
                    "a compact revision that was asked for".into()
                },
                got: format!("canceled because of a compaction at {to}"),
            };
            self.blame(Rule::WatchCompactedCancel, broken);
        }
    }

    /// Members at one revision have one hash, unless a compaction may have come between.
    fn end_of_hashes(&mut self) {
        if self.left.may_be_compacted() {
            return;
        }
        for (place, ended) in self.finals.iter().enumerate() {
            let Some(got) = ended.hash else { continue };
            let mut before =
                self.finals[..place].iter().filter(|own| own.revision == ended.revision);
            let Some((first, hash)) = before.find_map(|own| Some((own, own.hash?))) else {
                continue;
            };
            if hash == got {
                continue;
            }
            let broken = Broken {
                operations: vec![first.named.clone(), ended.named.clone()],
                expected: format!("hash {hash} at revision {}", ended.revision),
                got: format!("hash {got}"),
            };
            return self.blame(Rule::FinalHash, broken);
        }
    }
}

/// The change that an event tells of, if it can have been done to the key as it was before.
fn change(event: &Event, before: Option<&Stored>, revision: i64) -> Option<Change> {
    let after = match event.kind {
        EventKind::Put => {
            let (create, version) = before.map_or((revision, 1), |stored| {
                (stored.create_revision, stored.version.saturating_add(1))
            });
            if event.kv.create_revision != create || event.kv.version != version {
                return None;
            }
            Some(Stored::from(&event.kv))
        }
        EventKind::Delete => {
            before?;
            None
        }
    };
    Some(Change { key: event.kv.key.clone(), before: before.cloned(), after })
}

fn change_of(change: &Change) -> String {
    match &change.after {
        Some(after) => format!("put {}", render::key_value(&after.key_value(&change.key))),
        None => format!("delete {}", render::short(&change.key)),
    }
}
