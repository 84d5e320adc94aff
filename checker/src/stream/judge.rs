//! The check of a stream: takes records one by one, and knows the first violation when it is there.
//!
//! Here: what comes in, and what goes out. What is done at each revision is in `replay`.

use std::collections::{BTreeSet, VecDeque};

use crate::findings::Broken;
use crate::history::ending::Ending;
use crate::history::error::InputError;
use crate::history::lint::{OperationLint, WatchLint, lint_final, lint_header};
use crate::history::record::{
    FORMAT_VERSION, FinalState, Header, NemesisPhase, Outcome, Record, Request, WatchBody,
    WatchResponse,
};
use crate::history::{FinalLine, OperationLine, WatchLine};
use crate::model::keyspace::Change;
use crate::model::refusal::Refusal;
use crate::model::validate::validate;
use crate::render;
use crate::verdict::{Counts, Engine, Named, Report, Rule, Timing, Verdict, Violation};

use super::bounds::{Bounds, Caller, Clash, Seer};
use super::left::Left;
use super::makers::Makers;
use super::past::Past;
use super::watches::{Settled, Watches};

/// How much a stream's check may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamOptions {
    /// Revisions below the newest that answers and events may still be about.
    pub revisions_kept: usize,
    /// Records that may wait for a revision, and revisions that may be ahead of the replay.
    pub waiting_max: usize,
    /// Operations of unknown outcome that are remembered, and revisions that nobody has claimed.
    pub unknown_max: usize,
    /// Records to wait for the write of a revision of which a watch has told.
    pub patience: u64,
}

impl Default for StreamOptions {
    fn default() -> StreamOptions {
        StreamOptions {
            revisions_kept: 500_000,
            waiting_max: 200_000,
            unknown_max: 100_000,
            patience: 1_000,
        }
    }
}

/// What a stream's check holds, in entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Revisions of the window.
    pub revisions: usize,
    /// Changes of the window.
    pub changes: usize,
    /// Live keys, and those deleted in the window.
    pub keys: usize,
    /// Records that wait.
    pub waiting: usize,
    /// Operations of unknown outcome, and revisions that nobody has claimed.
    pub unknown: usize,
    /// Entries for watches.
    pub watches: usize,
}

impl Held {
    /// All of them.
    pub fn total(&self) -> usize {
        let Held { revisions, changes, keys, waiting, unknown, watches } = self;
        revisions + changes + keys + waiting + unknown + watches
    }
}

/// What waits for a revision to be replayed.
#[derive(Debug)]
pub(super) enum Waiting {
    Operation(Box<OperationLine>),
    Final(Box<FinalLine>),
    Watch(u64),
}

/// A revision that is not replayed.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    pub(super) writer: Option<Box<OperationLine>>,
    pub(super) waiting: Vec<Waiting>,
}

/// What a member held at the end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) named: Named,
    pub(super) revision: i64,
    return_ns: u64,
    pub(super) hash: Option<u32>,
}

/// A watch that was cancelled for a compaction.
#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) created: Named,
    pub(super) canceled: Named,
    pub(super) due: i64,
    pub(super) compact_revision: i64,
}

/// Events that only a compaction excuses, and cancels, that are held for the end.
const EXCUSES_MAX: usize = 10_000;

/// A history as it comes.
///
/// ```
/// use rusd_checker::stream::{Stream, StreamOptions};
/// use rusd_checker::synthetic::Run;
///
/// let mut run = Run::new(7);
/// let mut stream = Stream::begin(run.header(), StreamOptions::default())?;
/// for (line, record) in (2..).zip(run.records(1_000)) {
///     stream.take(line, record)?;
///     assert_eq!(stream.violation(), None);
/// }
/// // Leases are left to the check of the whole history.
/// assert_eq!(stream.finish().verdict.name(), "unknown");
/// # Ok::<(), rusd_checker::InputError>(())
/// ```
#[derive(Debug)]
pub struct Stream {
    pub(super) options: StreamOptions,
    pub(super) first: i64,
    ending: Ending,
    operations: OperationLint,
    watch_lint: WatchLint,
    pub(super) past: Past,
    pub(super) bounds: Bounds,
    /// Of `past.done() + 1` to the newest revision.
    pub(super) ahead: VecDeque<Ahead>,
    pub(super) waiting: usize,
    pub(super) makers: Makers,
    pub(super) watches: Watches,
    pub(super) finals: Vec<Ended>,
    /// Latest arrival of a watch's end that came after the final states, as its client said.
    closed_ns: u64,
    pub(super) compactions: BTreeSet<i64>,
    pub(super) cancels: Vec<Cancel>,
    pub(super) excused: Vec<(i64, (Rule, Broken))>,
    pub(super) left: Left,
    pub(super) found: Option<Violation>,
    pub(super) records: u64,
    /// When it was first seen that a watch tells of the next revision.
    pub(super) told_since: Option<u64>,
    pub(super) changes: Vec<Change>,
    pub(super) report: Report,
}

impl Stream {
    /// Begins with the first line of a history.
    pub fn begin(header: Header, options: StreamOptions) -> Result<Stream, InputError> {
        if header.version != FORMAT_VERSION {
            let reason = format!(
                "format version {}, but this checker reads version {FORMAT_VERSION}",
                header.version
            );
            return Err(InputError::malformed(1, reason));
        }
        lint_header(&header)?;
        let past = Past::new(header.first_revision, &header.initial);
        let first = header.first_revision;
        let report = Report {
            verdict: Verdict::Valid,
            engine: Engine::Revision,
            workload: header.workload.clone(),
            system: header.system.clone(),
            seed: header.seed,
            counts: Counts::default(),
            timing: Timing::default(),
        };
        let mut ending = Ending::default();
        ending.see(1, &Record::Header(header))?;
        Ok(Stream {
            options,
            first,
            ending,
            operations: OperationLint::default(),
            watch_lint: WatchLint::default(),
            past,
            bounds: Bounds::new(first),
            ahead: VecDeque::new(),
            waiting: 0,
            makers: Makers::default(),
            watches: Watches::default(),
            finals: Vec::new(),
            closed_ns: 0,
            compactions: BTreeSet::new(),
            cancels: Vec::new(),
            excused: Vec::new(),
            left: Left::default(),
            found: None,
            records: 0,
            told_since: None,
            changes: Vec::new(),
            report,
        })
    }

    /// Takes the next record, of this line. After a violation nothing more is looked at.
    pub fn take(&mut self, line: u64, record: Record) -> Result<(), InputError> {
        self.ending.see(line, &record)?;
        if self.found.is_some() {
            return Ok(());
        }
        self.records += 1;
        match record {
            Record::Header(_) => return Err(InputError::malformed(line, "a second header")),
            Record::Op(operation) => {
                self.operations.see(line, &operation)?;
                self.report.counts.add_operation(&operation);
                self.take_operation(OperationLine { line, operation });
            }
            Record::Watch(response) => {
                self.watch_lint.see(line, &response)?;
                self.report.counts.add_response(&response.body);
                self.take_response(WatchLine { line, response });
            }
            Record::Final(state) => {
                let line = FinalLine { line, state };
                lint_final(&line)?;
                self.report.counts.finals += 1;
                self.take_final(line);
            }
            Record::Nemesis(nemesis) => {
                let begins = nemesis.phase == NemesisPhase::Start;
                self.report.counts.faults += u64::from(begins);
            }
            Record::End(_) => {}
        }
        self.advance(self.options.patience);
        Ok(())
    }

    /// Nothing more has come for a while: no need to wait for the writes of revisions of which a
    /// watch has told.
    pub fn settle(&mut self) {
        self.advance(0);
    }

    /// The first violation that was seen.
    pub fn violation(&self) -> Option<&Violation> {
        self.found.as_ref()
    }

    /// Whether the end of the history has come.
    pub fn has_ended(&self) -> bool {
        self.ending.check().is_ok()
    }

    /// What is held now.
    pub fn held(&self) -> Held {
        let (revisions, changes, keys) = self.past.held();
        let (pieces, watches) = self.watches.held();
        Held {
            revisions: revisions.max(self.bounds.len()),
            changes,
            keys,
            waiting: self.waiting + pieces,
            unknown: self.makers.held() + self.excused.len() + self.cancels.len(),
            watches,
        }
    }

    /// The whole history has come: the answer.
    pub fn finish(mut self) -> Report {
        self.settle();
        self.end();
        self.report()
    }

    /// Nothing more comes, and it was not all: at best unknown.
    pub fn cut_off(mut self) -> Report {
        self.settle();
        self.left.is_cut_off = true;
        self.report()
    }

    fn report(mut self) -> Report {
        self.report.counts.revisions = (self.first, self.bounds.newest());
        let reasons = self.left.reasons();
        self.report.verdict = if let Some(violation) = self.found {
            Verdict::Invalid { violations: vec![violation], omitted: 0 }
        } else if reasons.is_empty() {
            Verdict::Valid
        } else {
            Verdict::Unknown { reason: reasons.join("; ") }
        };
        self.report
    }

    pub(super) fn blame(&mut self, rule: Rule, broken: Broken) {
        if self.found.is_none() {
            let Broken { operations, expected, got } = broken;
            self.found = Some(Violation { rule, operations, expected, got });
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.left.lost.is_some()
    }

    /// From here on nothing is compared with the keys any more.
    pub(super) fn lose(&mut self, why: String) {
        self.left.lost.get_or_insert(why);
        let bounds = &self.bounds;
        self.makers.leave_all(|revision| bounds.upper_ns(revision));
        self.ahead.clear();
        self.waiting = 0;
        self.watches.give_up(None);
    }

    /// Something tells of a revision: it is there. `false` if it is too far away to be held.
    pub(super) fn reveal(&mut self, revision: i64) -> bool {
        let newest = self.bounds.newest();
        if revision <= newest {
            return true;
        }
        let room = i64::try_from(self.options.waiting_max).unwrap_or(i64::MAX);
        if revision.saturating_sub(newest) > room {
            self.left.far += 1;
            return false;
        }
        self.bounds.extend(revision);
        let ahead = usize::try_from(revision - self.past.done()).unwrap_or(0);
        if self.is_lost() {
            self.forget(revision);
        } else if ahead > self.options.waiting_max {
            let next = self.past.done() + 1;
            self.lose(format!("nothing tells what revision {next} holds"));
        } else {
            self.ahead.resize_with(ahead, Ahead::default);
        }
        true
    }

    /// Lets go of what is too far below this revision.
    pub(super) fn forget(&mut self, revision: i64) {
        let kept = i64::try_from(self.options.revisions_kept).unwrap_or(i64::MAX);
        let base = revision - kept;
        if self.is_lost() {
            self.bounds.forget(base);
            return;
        }
        if base <= self.past.base() {
            return;
        }
        for leaves in self.past.base() + 1..=base {
            self.makers.leave(leaves, || self.bounds.upper_ns(leaves));
        }
        self.past.forget(base);
        self.bounds.forget(base);
        self.watches.forget(base);
    }

    fn take_operation(&mut self, line: OperationLine) {
        self.left.see(&line.operation);
        match &line.operation.outcome {
            Outcome::Ok(_) => self.take_answer(line),
            Outcome::Fail(failure) => {
                if let Some(refusal) = Refusal::of(failure) {
                    self.take_refusal(&line, refusal);
                }
            }
            Outcome::Unknown(_) => {
                self.note_compaction(&line.operation.request);
                self.makers.add_operation(line, &self.past, self.options.unknown_max);
            }
        }
    }

    pub(super) fn note_compaction(&mut self, request: &Request) {
        if let Request::Compact(compact) = request {
            self.compactions.insert(compact.revision);
        }
    }

    fn take_refusal(&mut self, line: &OperationLine, refusal: Refusal) {
        if !refusal.is_static() {
            self.left.refusals += 1;
            return;
        }
        // An open delete range confuses etcd's overlap check; only here does it matter.
        let request = &line.operation.request;
        if validate(request) != Err(refusal) && refusal != Refusal::DuplicateKey {
            let broken = Broken {
                operations: vec![render::operation(line)],
                expected: "no such refusal: nothing in the request gives a reason for it".into(),
                got: render::outcome(&line.operation.outcome),
            };
            self.blame(Rule::ContentRefusal, broken);
        }
    }

    fn take_final(&mut self, line: FinalLine) {
        let FinalState { call_ns, return_ns, revision, .. } = line.state;
        if self.closed_ns >= return_ns {
            // A watch that has ended since should have come up to it.
            self.left.late += 1;
        }
        let named = render::final_state(&line);
        let hash = line.state.hash;
        self.finals.push(Ended { named: named.clone(), revision, return_ns, hash });
        if revision >= self.first && self.reveal(revision) {
            let caller = Caller { line: line.line, call_ns, rule: Rule::StaleRead };
            let unseen = Some((revision + 1, caller));
            self.bound(revision, unseen, Some(return_ns), &|| named.clone());
            self.compare_final(line);
        }
    }

    fn take_response(&mut self, line: WatchLine) {
        let WatchResponse { watch, revision, arrived_ns, ref body, .. } = line.response;
        let revealed = match body {
            WatchBody::Closed { .. } => None,
            WatchBody::Events { events, .. } => {
                Some(events.last().map_or(revision, |event| revision.max(event.kv.mod_revision)))
            }
            WatchBody::Digests(short) => {
                Some(short.revisions().map_or(revision, |(_, newest)| revision.max(newest)))
            }
            WatchBody::Created(_) | WatchBody::Progress | WatchBody::Canceled { .. } => {
                Some(revision)
            }
        };
        if revealed.is_some_and(|revision| !self.reveal(revision)) {
            return;
        }
        let canceled = match body {
            WatchBody::Canceled { compact_revision, .. } if *compact_revision > 0 => {
                Some((render::watch(&line), *compact_revision))
            }
            WatchBody::Closed { by_client: true } => {
                self.closed_ns = self.closed_ns.max(arrived_ns);
                None
            }
            _ => None,
        };
        let finals = &self.finals;
        let final_revision = |arrived_ns| {
            let before = finals.iter().filter(|ended| ended.return_ns <= arrived_ns);
            before.map(|ended| ended.revision).max()
        };
        let reached = match self.watches.take(line, &self.past, final_revision) {
            Ok(reached) => reached,
            Err((rule, broken)) => return self.blame(rule, broken),
        };
        if let Some((canceled, compact_revision)) = canceled
            && let Some((created, due)) = self.watches.due_to(watch)
        {
            self.note_cancel(Cancel { created, canceled, due, compact_revision });
        }
        match reached {
            _ if self.is_lost() => self.watches.give_up(Some(watch)),
            None => {}
            Some(reached) if reached <= self.past.done() => self.settle_watch(watch),
            Some(reached) => self.wait(reached, Waiting::Watch(watch)),
        }
    }

    fn note_cancel(&mut self, cancel: Cancel) {
        if self.cancels.len() < EXCUSES_MAX {
            self.cancels.push(cancel);
        } else {
            self.left.excuses += 1;
        }
    }

    pub(super) fn settle_watch(&mut self, watch: u64) {
        let settled = self.watches.settle(watch, &self.past, self.first);
        self.take_settled(settled);
    }

    pub(super) fn take_settled(&mut self, settled: Settled) {
        let Settled { breach, is_late, excused } = settled;
        self.left.late += u64::from(is_late);
        let room = EXCUSES_MAX - self.excused.len();
        self.left.excuses += u64::try_from(excused.len().saturating_sub(room)).unwrap_or(u64::MAX);
        self.excused.extend(excused.into_iter().take(room));
        if let Some((rule, broken)) = breach {
            self.blame(rule, broken);
        }
    }

    /// Something waits for a revision above what was replayed.
    pub(super) fn wait(&mut self, revision: i64, what: Waiting) {
        let place = usize::try_from(revision - self.past.done() - 1).expect("above the replay");
        // A watch may have come to where it begins, beyond all that there is: nothing was due yet.
        if let Some(ahead) = self.ahead.get_mut(place) {
            ahead.waiting.push(what);
            self.count_waiting();
        }
    }

    pub(super) fn count_waiting(&mut self) {
        self.waiting += 1;
        if self.waiting > self.options.waiting_max {
            let next = self.past.done() + 1;
            self.lose(format!("too much waited for what revision {next} holds"));
        }
    }

    /// Notes between which times a revision was made: after a call that did not see it, and before
    /// a return that tells of it.
    pub(super) fn bound(
        &mut self,
        revision: i64,
        unseen: Option<(i64, Caller)>,
        return_ns: Option<u64>,
        named: &dyn Fn() -> Named,
    ) {
        let line = named;
        let clash = unseen.and_then(|(from, caller)| self.bounds.not_before(from, caller));
        if let Some(clash) = clash {
            let seer = Named { line: clash.seer.line, text: seen(&clash) };
            return self.clash(&clash, vec![seer, line()]);
        }
        let Some(return_ns) = return_ns.filter(|_| revision >= self.past.base()) else { return };
        let seer = Seer { line: self.ending.line(), return_ns };
        if let Some(clash) = self.bounds.not_after(revision, seer) {
            let caller = Named { line: clash.caller.line, text: called(&clash) };
            self.clash(&clash, vec![line(), caller]);
        }
    }

    fn clash(&mut self, clash: &Clash, operations: Vec<Named>) {
        let revision = clash.revision;
        let expected = match clash.caller.rule {
            Rule::LostWrite => "a write gets a higher revision than all that was seen before it",
            _ => "an answer from after what was seen before it began",
        };
        let got = format!("an answer from before revision {revision} or at it");
        self.blame(clash.caller.rule, Broken { operations, expected: expected.into(), got });
    }
}

fn seen(clash: &Clash) -> String {
    let Seer { return_ns, .. } = clash.seer;
    format!("had seen revision {} by {}", clash.revision, render::seconds(return_ns))
}

fn called(clash: &Clash) -> String {
    let Caller { call_ns, .. } = clash.caller;
    format!("called at {}, answered from before it", render::seconds(call_ns))
}
