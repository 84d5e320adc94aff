//! Where each operation lies among the revisions, and when each revision can have been made.
//!
//! Ranks count revisions from the first: rank 0 is the state before the first operation.
//!
//! Invariant: `lower[k]` and `upper[k]` come only from operations whose place is certain, so they
//! hold whatever fills the gaps.

use super::brief::{Brief, Briefs};
use crate::findings::{Broken, Findings};
use crate::history::record::{Request, ResponseBody, Txn, TxnOp, TxnOpResponse, TxnResponse};
use crate::history::{History, OperationLine};
use crate::render;
use crate::verdict::{Named, Rule};

/// A revision, counted from the first one of the history.
pub(crate) type Rank = usize;

/// Where an operation lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It made this revision.
    Write(Rank),
    /// After this revision, before the next.
    Slot(Rank),
    /// A lease revoke: it made this revision, or found nothing to delete after it.
    Revoke(Rank),
    /// Its answer says no revision.
    Floating,
}

/// What an answer tells of the revision in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tells {
    /// There is no answer.
    Nothing,
    /// That it made it.
    Write,
    /// That it came after it.
    Look,
    /// That a revoke made it, or came after it.
    Revoke,
    /// That it was there: a keep-alive has no place.
    Renewal,
}

impl Tells {
    /// What an answer tells.
    pub(crate) fn of(body: &ResponseBody) -> Tells {
        match body {
            ResponseBody::LeaseKeepAlive { .. } => Tells::Renewal,
            ResponseBody::LeaseRevoke => Tells::Revoke,
            _ if writes(body) => Tells::Write,
            _ => Tells::Look,
        }
    }

    /// The place of an operation whose answer tells this of a rank.
    pub(crate) fn place(self, rank: Rank) -> Place {
        match self {
            Tells::Nothing | Tells::Renewal => Place::Floating,
            Tells::Write => Place::Write(rank),
            Tells::Look => Place::Slot(rank),
            Tells::Revoke => Place::Revoke(rank),
        }
    }
}

/// The operation or final state that gave a bound. Operations first, then final states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Witness(u32);

const NOBODY: u32 = u32::MAX;

/// The places and the times.
#[derive(Debug)]
pub(crate) struct Timeline<'h> {
    pub(crate) history: &'h History,
    pub(crate) briefs: &'h Briefs<'h>,
    /// Revision of rank 0.
    pub(crate) first: i64,
    /// Highest rank that anything tells of.
    pub(crate) top: Rank,
    /// Ranks from this one on are contested: the store went back. Equals `top + 1` otherwise.
    pub(crate) cut: Rank,
    /// By rank: index of the operation, or `NOBODY`.
    writers: Vec<u32>,
    /// By rank, up to `top + 1`: not made before this time.
    pub(crate) lower: Vec<u64>,
    /// By rank, up to `top + 1`: made not after this time.
    pub(crate) upper: Vec<u64>,
    upper_by: Vec<Witness>,
    /// Writes that were acknowledged and then lost, with their ranks.
    lost: Vec<(usize, Rank)>,
}

impl<'h> Timeline<'h> {
    /// Places every operation, where nothing tells of a revision above `last`. Notes what contradicts
    /// real time or claims a revision twice. `None` if the revisions are so far apart that nothing can
    /// be made of them.
    pub(crate) fn new(
        briefs: &'h Briefs<'h>,
        last: i64,
        findings: &mut Findings,
    ) -> Option<Timeline<'h>> {
        let history = briefs.history;
        let first = history.header.first_revision;
        if !plausible(briefs, last, findings) {
            return None;
        }
        let top = usize::try_from(last - first).expect("plausible revisions are not far apart");
        let mut timeline = Timeline {
            history,
            briefs,
            first,
            top,
            cut: top + 1,
            writers: vec![NOBODY; top + 1],
            lower: vec![0; top + 2],
            upper: vec![u64::MAX; top + 2],
            upper_by: vec![Witness(NOBODY); top + 2],
            lost: Vec::new(),
        };
        let duplicates = timeline.place_all(findings);
        timeline.bound();
        let suspects = timeline.suspects();
        timeline.check_lost(&duplicates, &suspects, findings);
        timeline.check_real_time(&suspects, findings);
        Some(timeline)
    }

    /// The revision of a rank.
    pub(crate) fn revision(&self, rank: Rank) -> i64 {
        self.first.saturating_add(i64::try_from(rank).expect("ranks are few"))
    }

    /// The rank of a revision, if it lies in the history.
    pub(crate) fn rank(&self, revision: i64) -> Option<Rank> {
        usize::try_from(revision.checked_sub(self.first)?).ok().filter(|rank| *rank <= self.top)
    }

    /// The operation that is known to have made this revision.
    pub(crate) fn writer(&self, rank: Rank) -> Option<usize> {
        let writer = self.writers[rank];
        (writer != NOBODY).then(|| usize::try_from(writer).expect("u32 fits usize"))
    }

    /// Revisions that no operation with a known outcome made.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = Rank> {
        (1..=self.top).filter(|rank| self.writers[*rank] == NOBODY)
    }

    /// Whether this revision is a gap.
    pub(crate) fn is_gap(&self, rank: Rank) -> bool {
        rank > 0 && self.writers[rank] == NOBODY
    }

    /// An operation of the history.
    pub(crate) fn operation(&self, index: usize) -> &'h OperationLine {
        &self.history.operations[index]
    }

    /// The line that a witness stands for.
    fn name(&self, witness: Witness) -> Option<Named> {
        let index = usize::try_from(witness.0).ok().filter(|_| witness.0 != NOBODY)?;
        let operations = &self.history.operations;
        if let Some(line) = operations.get(index) {
            return Some(render::operation(line));
        }
        self.history.finals.get(index - operations.len()).map(render::final_state)
    }

    /// Where an operation lies.
    pub(crate) fn place(&self, index: usize) -> Place {
        self.place_of(&self.briefs.list[index])
    }

    fn place_of(&self, brief: &Brief) -> Place {
        match self.rank(brief.revision).map(|rank| brief.tells.place(rank)) {
            // What was there before was made by nobody.
            Some(Place::Write(0)) => Place::Slot(0),
            Some(place) => place,
            None => Place::Floating,
        }
    }

    /// Gives every revision its writer, and notes when each was asked for and seen; returns the ranks
    /// with more than one writer, each with the writer that was there first and the one that came.
    fn place_all(&mut self, findings: &mut Findings) -> Vec<(Rank, usize, usize)> {
        let mut duplicates = Vec::new();
        for (index, brief) in self.briefs.list.iter().enumerate() {
            // Without an answer there is no revision.
            let Some(rank) = self.rank(brief.revision) else { continue };
            match brief.tells {
                Tells::Nothing => continue,
                Tells::Renewal => {}
                Tells::Write if rank > 0 => {
                    match self.writer(rank) {
                        Some(earlier) => duplicates.push((rank, earlier, index)),
                        None => self.writers[rank] = narrow(index),
                    }
                    self.lower[rank] = self.lower[rank].max(brief.call_ns);
                }
                Tells::Write | Tells::Look | Tells::Revoke => {
                    if brief.tells == Tells::Write {
                        self.add_written_before(index, findings);
                    }
                    if !brief.is_stale {
                        self.lower[rank + 1] = self.lower[rank + 1].max(brief.call_ns);
                    }
                }
            }
            if brief.return_ns < self.upper[rank] {
                self.upper[rank] = brief.return_ns;
                self.upper_by[rank] = Witness(narrow(index));
            }
        }
        duplicates
    }

    fn add_written_before(&self, index: usize, findings: &mut Findings) {
        let first = self.first;
        findings.add(Rule::RevisionDuplicate, || Broken {
            operations: vec![self.named(index)],
            expected: format!("a write above revision {first}, which was there before"),
            got: format!("revision {first}"),
        });
    }

    /// When each revision can have been made: after every call at or before it, and before every
    /// return at or after it.
    fn bound(&mut self) {
        for (index, line) in self.history.finals.iter().enumerate() {
            let Some(rank) = self.rank(line.state.revision) else { continue };
            self.lower[rank + 1] = self.lower[rank + 1].max(line.state.call_ns);
            if line.state.return_ns < self.upper[rank] {
                self.upper[rank] = line.state.return_ns;
                self.upper_by[rank] = Witness(narrow(self.history.operations.len() + index));
            }
        }
        let mut latest = 0;
        for lower in &mut self.lower {
            latest = latest.max(*lower);
            *lower = latest;
        }
        for rank in (0..=self.top).rev() {
            if self.upper[rank + 1] < self.upper[rank] {
                self.upper[rank] = self.upper[rank + 1];
                self.upper_by[rank] = self.upper_by[rank + 1];
            }
        }
    }

    /// Operations that were called when something had been seen that should not have been there yet,
    /// or that are answered from before the first revision; ascending.
    fn suspects(&self) -> Vec<usize> {
        let is_suspect = |brief: &Brief| {
            let answered = !matches!(brief.tells, Tells::Nothing | Tells::Renewal);
            let Some(rank) = self.rank(brief.revision) else {
                return answered && brief.revision < self.first;
            };
            let made = brief.tells == Tells::Write && rank > 0;
            let next = if made { rank } else { rank + 1 };
            answered && (made || !brief.is_stale) && brief.call_ns > self.upper[next]
        };
        let suspects = self.briefs.list.iter().enumerate().filter(|(_, brief)| is_suspect(brief));
        suspects.map(|(index, _)| index).collect()
    }

    /// Finds writes after which the store went back, and cuts the ranks that are contested.
    fn check_lost(
        &mut self,
        duplicates: &[(Rank, usize, usize)],
        suspects: &[usize],
        findings: &mut Findings,
    ) {
        for &(rank, one, other) in duplicates {
            self.cut = self.cut.min(rank);
            let Some((earlier, later)) = self.ended_before(one, other) else {
                self.add_duplicate(rank, one, other, findings);
                continue;
            };
            self.lost.push((earlier, rank));
            let revision = self.revision(rank);
            findings.add(Rule::LostWrite, || Broken {
                operations: vec![self.named(earlier), self.named(later)],
                expected: format!("the acknowledged write keeps revision {revision}"),
                got: format!("a write that began after it ended took revision {revision} again"),
            });
        }
        self.check_lost_by_order(suspects, findings);
        self.check_lost_at_end(findings);
    }

    fn add_duplicate(&self, rank: Rank, one: usize, other: usize, findings: &mut Findings) {
        findings.add(Rule::RevisionDuplicate, || Broken {
            operations: vec![self.named(one), self.named(other)],
            expected: "each write has a revision of its own".into(),
            got: format!("both have revision {}", self.revision(rank)),
        });
    }

    /// A write took a revision not above one that had been seen before it began.
    fn check_lost_by_order(&mut self, suspects: &[usize], findings: &mut Findings) {
        let mut lost = Vec::new();
        let mut cut = self.cut;
        for &index in suspects {
            let Some(rank) = self.written_rank(index) else { continue };
            if self.is_duplicate(rank, index) {
                continue;
            }
            cut = cut.min(rank);
            let witness = self.upper_by[rank];
            if let Some(earlier) = self.witness_operation(witness) {
                lost.push((earlier, self.seen_rank(earlier)));
            }
            findings.add(Rule::LostWrite, || Broken {
                operations: self.name(witness).into_iter().chain([self.named(index)]).collect(),
                expected: "a write gets a higher revision than all that was seen before it".into(),
                got: format!("the later write got revision {}", self.revision(rank)),
            });
        }
        self.cut = cut;
        self.lost.extend(lost);
    }

    /// At the end no member holds the revision of an acknowledged write.
    fn check_lost_at_end(&mut self, findings: &mut Findings) {
        let finals = &self.history.finals;
        let Some(best) = finals.iter().max_by_key(|line| line.state.revision) else { return };
        if best.state.revision >= self.revision(self.top) {
            return;
        }
        let called = finals.iter().map(|line| line.state.call_ns).min().unwrap_or(0);
        let mut lost = Vec::new();
        for (index, brief) in self.briefs.list.iter().enumerate() {
            let Some(rank) = self.written_rank(index) else { continue };
            if brief.return_ns >= called || self.revision(rank) <= best.state.revision {
                continue;
            }
            lost.push((index, rank));
            findings.add(Rule::LostWrite, || Broken {
                operations: vec![self.named(index), render::final_state(best)],
                expected: format!("the members end at revision {} or above", self.revision(rank)),
                got: format!("none is above {}", best.state.revision),
            });
        }
        self.lost.extend(lost);
    }

    /// Real time: nothing may lie before what had been seen when it began.
    fn check_real_time(&self, suspects: &[usize], findings: &mut Findings) {
        for &index in suspects {
            let line = self.operation(index);
            let operation = &line.operation;
            let rank = match self.place(index) {
                Place::Slot(rank) | Place::Revoke(rank) => Some(rank),
                Place::Floating => None,
                Place::Write(_) => continue,
            };
            if may_be_stale(&operation.request) {
                continue;
            }
            // Nothing lies above a revision that is too low for any rank but rank 0.
            let next = rank.map_or(0, |rank| rank + 1);
            let rule =
                if reads(&operation.request) { Rule::StaleRead } else { Rule::RealTimeOrder };
            self.add_stale(rule, next, operation.call_ns, render::operation(line), findings);
        }
        for line in &self.history.finals {
            let Some(rank) = self.rank(line.state.revision) else { continue };
            if line.state.call_ns > self.upper[rank + 1] {
                let named = render::final_state(line);
                self.add_stale(Rule::StaleRead, rank + 1, line.state.call_ns, named, findings);
            }
        }
    }

    fn add_stale(
        &self,
        rule: Rule,
        next: Rank,
        call_ns: u64,
        named: Named,
        findings: &mut Findings,
    ) {
        let follows_from_loss = self.lost.iter().any(|(index, rank)| {
            let returned = self.operation(*index).operation.return_ns;
            *rank >= next && returned.is_some_and(|returned| returned < call_ns)
        });
        if follows_from_loss {
            return;
        }
        let witness = self.upper_by[next];
        findings.add(rule, || Broken {
            operations: self.name(witness).into_iter().chain([named]).collect(),
            expected: format!(
                "revision {} or above, which was seen before it began",
                self.revision(next)
            ),
            got: "an answer from before that revision".into(),
        });
    }

    /// The grants and renewals of a lease: at most a handful, the last ones.
    pub(crate) fn lease_operations(&self, lease: i64) -> Vec<Named> {
        let of_lease = |request: &Request| match request {
            Request::LeaseGrant(grant) => grant.id == lease,
            Request::LeaseKeepAlive(id) | Request::LeaseRevoke(id) => id.id == lease,
            _ => false,
        };
        let operations = self.briefs.special().map(|(_, line)| line);
        let named = operations.filter(|line| of_lease(&line.operation.request));
        let mut named: Vec<Named> = named.map(render::operation).collect();
        named.drain(..named.len().saturating_sub(LEASE_OPERATIONS_NAMED_MAX));
        named
    }

    pub(crate) fn named(&self, index: usize) -> Named {
        render::operation(self.operation(index))
    }

    fn ended_before(&self, one: usize, other: usize) -> Option<(usize, usize)> {
        let times = |index| {
            let operation = &self.operation(index).operation;
            (operation.call_ns, operation.return_ns.unwrap_or(u64::MAX))
        };
        if times(one).1 < times(other).0 {
            Some((one, other))
        } else if times(other).1 < times(one).0 {
            Some((other, one))
        } else {
            None
        }
    }

    /// The rank that an operation with a known outcome wrote; also of a second writer.
    fn written_rank(&self, index: usize) -> Option<Rank> {
        match self.place(index) {
            Place::Write(rank) => Some(rank),
            Place::Slot(_) | Place::Revoke(_) | Place::Floating => None,
        }
    }

    fn is_duplicate(&self, rank: Rank, index: usize) -> bool {
        self.writer(rank) != Some(index)
    }

    fn witness_operation(&self, witness: Witness) -> Option<usize> {
        let index = usize::try_from(witness.0).ok()?;
        (index < self.history.operations.len()).then_some(index)
    }

    fn seen_rank(&self, index: usize) -> Rank {
        match self.place(index) {
            Place::Write(rank) | Place::Slot(rank) | Place::Revoke(rank) => rank,
            Place::Floating => 0,
        }
    }
}

/// Whether an answer tells of a write.
pub(crate) fn writes(body: &ResponseBody) -> bool {
    match body {
        ResponseBody::Put(_) => true,
        ResponseBody::DeleteRange(delete) => delete.deleted > 0,
        ResponseBody::Txn(txn) => txn_writes(txn),
        ResponseBody::Range(_)
        | ResponseBody::LeaseGrant { .. }
        | ResponseBody::LeaseRevoke
        | ResponseBody::LeaseKeepAlive { .. }
        | ResponseBody::Compact => false,
    }
}

fn txn_writes(txn: &TxnResponse) -> bool {
    txn.responses.iter().any(|response| match response {
        TxnOpResponse::Put(_) => true,
        TxnOpResponse::DeleteRange(delete) => delete.deleted > 0,
        TxnOpResponse::Txn(txn) => txn_writes(txn),
        TxnOpResponse::Range(_) => false,
    })
}

/// Whether the request asks for no more than what the asked member has.
pub(crate) fn may_be_stale(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.serializable,
        // etcd skips the read barrier if every operation is a serializable range.
        Request::Txn(Txn { success, failure, .. }) => success
            .iter()
            .chain(failure)
            .all(|op| matches!(op, TxnOp::Range(range) if range.serializable)),
        _ => false,
    }
}

/// Whether a request only reads.
pub(crate) fn reads(request: &Request) -> bool {
    match request {
        Request::Range(_) => true,
        Request::Txn(txn) => {
            txn.success.iter().chain(&txn.failure).all(|op| matches!(op, TxnOp::Range(_)))
        }
        _ => false,
    }
}

/// Every revision needs something that made it.
fn plausible(briefs: &Briefs<'_>, last: i64, findings: &mut Findings) -> bool {
    let header = &briefs.history.header;
    let initial = i64::try_from(header.initial.len()).expect("initial keys are few");
    let makers = briefs.makers + initial;
    if last.saturating_sub(header.first_revision) <= makers {
        return true;
    }
    let highest = briefs.highest.map(|index| &briefs.history.operations[index]);
    findings.add(Rule::RevisionGap, || Broken {
        operations: highest.map(render::operation).into_iter().collect(),
        expected: format!(
            "at most {makers} revisions after {}: so many operations can have written",
            header.first_revision
        ),
        got: format!("revision {last}"),
    });
    // A few too many can still be replayed, which tells which ones.
    last.saturating_sub(header.first_revision) <= makers.saturating_add(UNEXPLAINED_MAX)
}

/// Operations of a lease that a violation names.
const LEASE_OPERATIONS_NAMED_MAX: usize = 4;

/// Revisions beyond the number of writers that are still replayed.
const UNEXPLAINED_MAX: i64 = 100_000;

fn narrow(index: usize) -> u32 {
    u32::try_from(index).ok().filter(|index| *index != NOBODY).expect("under 4 billion operations")
}
