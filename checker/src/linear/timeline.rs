//! Where each operation lies among the revisions, and when each revision can have been made.
//!
//! Ranks count revisions from the first: rank 0 is the state before the first operation.
//!
//! Invariant: `lower[k]` and `upper[k]` come only from operations whose place is certain, so they
//! hold whatever fills the gaps.

use crate::findings::{Broken, Findings};
use crate::history::record::{
    Operation, Outcome, Request, Response, ResponseBody, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
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

/// The operation or final state that gave a bound. Operations first, then final states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Witness(u32);

const NOBODY: u32 = u32::MAX;

/// The places and the times.
#[derive(Debug)]
pub(crate) struct Timeline<'h> {
    pub(crate) history: &'h History,
    /// Revision of rank 0.
    pub(crate) first: i64,
    /// Highest rank that anything tells of.
    pub(crate) top: Rank,
    /// Ranks from this one on are contested: the store went back. Equals `top + 1` otherwise.
    pub(crate) cut: Rank,
    /// By operation.
    pub(crate) places: Vec<Place>,
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
    /// Places every operation. Notes what contradicts real time or claims a revision twice.
    /// `None` if the revisions are so far apart that nothing can be made of them.
    pub(crate) fn new(history: &'h History, findings: &mut Findings) -> Option<Timeline<'h>> {
        let first = history.header.first_revision;
        let last = last_revision(history);
        if !plausible(history, last, findings) {
            return None;
        }
        let top = usize::try_from(last - first).expect("plausible revisions are not far apart");
        let mut timeline = Timeline {
            history,
            first,
            top,
            cut: top + 1,
            places: Vec::with_capacity(history.operations.len()),
            writers: vec![NOBODY; top + 1],
            lower: vec![0; top + 2],
            upper: vec![u64::MAX; top + 2],
            upper_by: vec![Witness(NOBODY); top + 2],
            lost: Vec::new(),
        };
        let duplicates = timeline.place(findings);
        timeline.bound();
        timeline.check_lost(&duplicates, findings);
        timeline.check_real_time(findings);
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

    /// Gives every operation its place; returns the ranks with more than one writer, each with
    /// the writer that was there first and the one that came.
    fn place(&mut self, findings: &mut Findings) -> Vec<(Rank, usize, usize)> {
        let mut duplicates = Vec::new();
        for (index, line) in self.history.operations.iter().enumerate() {
            let mut place = match &line.operation.outcome {
                Outcome::Ok(response) => self.place_of(&line.operation, response),
                Outcome::Fail(_) | Outcome::Unknown(_) => Place::Floating,
            };
            if let Place::Write(rank) = place {
                if rank == 0 {
                    let first = self.first;
                    findings.add(Rule::RevisionDuplicate, || Broken {
                        operations: vec![render::operation(line)],
                        expected: format!("a write above revision {first}, which was there before"),
                        got: format!("revision {first}"),
                    });
                    place = Place::Slot(0);
                } else if let Some(earlier) = self.writer(rank) {
                    duplicates.push((rank, earlier, index));
                } else {
                    self.writers[rank] = narrow(index);
                }
            }
            self.places.push(place);
        }
        duplicates
    }

    fn place_of(&self, operation: &Operation, response: &Response) -> Place {
        match self.rank(response.revision) {
            Some(rank) => place_at(rank, operation, response),
            None => Place::Floating,
        }
    }

    /// When each revision can have been made: after every call at or before it, and before every
    /// return at or after it.
    fn bound(&mut self) {
        let mut after = vec![0_u64; self.top + 2];
        let operations = self.history.operations.iter().enumerate();
        for ((index, line), place) in operations.zip(&self.places) {
            let operation = &line.operation;
            let returned = operation.return_ns.unwrap_or(u64::MAX);
            let fresh = !may_be_stale(&operation.request);
            let rank = match *place {
                Place::Floating => match self.seen_by_keep_alive(operation) {
                    Some(rank) => rank,
                    None => continue,
                },
                Place::Write(rank) => {
                    self.lower[rank] = self.lower[rank].max(operation.call_ns);
                    rank
                }
                Place::Slot(rank) | Place::Revoke(rank) => {
                    if fresh {
                        after[rank + 1] = after[rank + 1].max(operation.call_ns);
                    }
                    rank
                }
            };
            if returned < self.upper[rank] {
                self.upper[rank] = returned;
                self.upper_by[rank] = Witness(narrow(index));
            }
        }
        for (index, line) in self.history.finals.iter().enumerate() {
            let Some(rank) = self.rank(line.state.revision) else { continue };
            after[rank + 1] = after[rank + 1].max(line.state.call_ns);
            if line.state.return_ns < self.upper[rank] {
                self.upper[rank] = line.state.return_ns;
                self.upper_by[rank] = Witness(narrow(self.history.operations.len() + index));
            }
        }
        let mut latest = 0;
        for (lower, after) in self.lower.iter_mut().zip(after) {
            latest = latest.max(*lower).max(after);
            *lower = latest;
        }
        for rank in (0..=self.top).rev() {
            if self.upper[rank + 1] < self.upper[rank] {
                self.upper[rank] = self.upper[rank + 1];
                self.upper_by[rank] = self.upper_by[rank + 1];
            }
        }
    }

    /// A keep-alive's answer has no place, but the revision in it was there before it returned.
    fn seen_by_keep_alive(&self, operation: &Operation) -> Option<Rank> {
        match (&operation.request, &operation.outcome) {
            (Request::LeaseKeepAlive(_), Outcome::Ok(response)) => self.rank(response.revision),
            _ => None,
        }
    }

    /// Finds writes after which the store went back, and cuts the ranks that are contested.
    fn check_lost(&mut self, duplicates: &[(Rank, usize, usize)], findings: &mut Findings) {
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
        self.check_lost_by_order(findings);
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
    fn check_lost_by_order(&mut self, findings: &mut Findings) {
        let mut lost = Vec::new();
        let mut cut = self.cut;
        for (index, line) in self.history.operations.iter().enumerate() {
            let Some(rank) = self.written_rank(index) else { continue };
            if line.operation.call_ns <= self.upper[rank] || self.is_duplicate(rank, index) {
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
        let called = finals.iter().map(|line| line.state.call_ns).min().unwrap_or(0);
        let mut lost = Vec::new();
        for (index, line) in self.history.operations.iter().enumerate() {
            let Some(rank) = self.written_rank(index) else { continue };
            let ended = line.operation.return_ns.is_some_and(|returned| returned < called);
            if !ended || self.revision(rank) <= best.state.revision {
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
    fn check_real_time(&self, findings: &mut Findings) {
        for (index, line) in self.history.operations.iter().enumerate() {
            let operation = &line.operation;
            let Outcome::Ok(response) = &operation.outcome else { continue };
            let rank = match self.places[index] {
                Place::Slot(rank) | Place::Revoke(rank) => Some(rank),
                Place::Floating if response.revision < self.first => None,
                Place::Write(_) | Place::Floating => continue,
            };
            if may_be_stale(&operation.request)
                || matches!(operation.request, Request::LeaseKeepAlive(_))
            {
                continue;
            }
            // Nothing lies above a revision that is too low for any rank but rank 0.
            let next = rank.map_or(0, |rank| rank + 1);
            if operation.call_ns <= self.upper[next] && rank.is_some() {
                continue;
            }
            let rule =
                if reads(&operation.request) { Rule::StaleRead } else { Rule::RealTimeOrder };
            let named = render::operation(line);
            self.add_stale(rule, next, operation.call_ns, named, findings);
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
        let operations = self.history.operations.iter();
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
        match self.places[index] {
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
        match self.places[index] {
            Place::Write(rank) | Place::Slot(rank) | Place::Revoke(rank) => rank,
            Place::Floating => 0,
        }
    }
}

/// The place of an operation whose answer tells of this rank.
pub(crate) fn place_at(rank: Rank, operation: &Operation, response: &Response) -> Place {
    match &response.body {
        ResponseBody::LeaseKeepAlive { .. } => Place::Floating,
        ResponseBody::LeaseRevoke => Place::Revoke(rank),
        _ if writes(&response.body) => Place::Write(rank),
        _ => {
            debug_assert!(!matches!(operation.request, Request::Put(_)), "a put writes");
            Place::Slot(rank)
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

/// The highest revision that any answer tells of.
fn last_revision(history: &History) -> i64 {
    use crate::history::record::WatchBody;

    let mut last = history.header.first_revision;
    for line in &history.operations {
        if let Outcome::Ok(response) = &line.operation.outcome {
            last = last.max(response.revision);
        }
    }
    for line in &history.finals {
        last = last.max(line.state.revision);
    }
    for line in &history.watches {
        match &line.response.body {
            WatchBody::Closed { .. } => {}
            WatchBody::Events { events, .. } => {
                last = last.max(line.response.revision);
                // Events rise, and none is newer than its response; else a watch rule is broken.
                last = events.last().map_or(last, |event| last.max(event.kv.mod_revision));
            }
            WatchBody::Digests(short) => {
                last = last.max(line.response.revision);
                last = short.revisions().map_or(last, |(_, newest)| last.max(newest));
            }
            WatchBody::Created(_) | WatchBody::Progress | WatchBody::Canceled { .. } => {
                last = last.max(line.response.revision);
            }
        }
    }
    last
}

/// Every revision needs something that made it.
fn plausible(history: &History, last: i64, findings: &mut Findings) -> bool {
    let mut makers = 0_i64;
    let mut highest: Option<&OperationLine> = None;
    let mut highest_revision = i64::MIN;
    for line in &history.operations {
        let operation = &line.operation;
        let makes = match (&operation.request, &operation.outcome) {
            (_, Outcome::Fail(_)) => false,
            // A grant may be followed by an expiry.
            (Request::LeaseGrant(_) | Request::LeaseRevoke(_), _) | (_, Outcome::Unknown(_)) => {
                true
            }
            (_, Outcome::Ok(response)) => writes(&response.body),
        };
        makers += i64::from(makes);
        if let Outcome::Ok(response) = &operation.outcome
            && response.revision > highest_revision
        {
            highest_revision = response.revision;
            highest = Some(line);
        }
    }
    makers += i64::try_from(history.header.initial.len()).expect("initial keys are few");
    if last.saturating_sub(history.header.first_revision) <= makers {
        return true;
    }
    findings.add(Rule::RevisionGap, || Broken {
        operations: highest.map(render::operation).into_iter().collect(),
        expected: format!(
            "at most {makers} revisions after {}: so many operations can have written",
            history.header.first_revision
        ),
        got: format!("revision {last}"),
    });
    // A few too many can still be replayed, which tells which ones.
    last.saturating_sub(history.header.first_revision) <= makers.saturating_add(UNEXPLAINED_MAX)
}

/// Operations of a lease that a violation names.
const LEASE_OPERATIONS_NAMED_MAX: usize = 4;

/// Revisions beyond the number of writers that are still replayed.
const UNEXPLAINED_MAX: i64 = 100_000;

fn narrow(index: usize) -> u32 {
    u32::try_from(index).ok().filter(|index| *index != NOBODY).expect("under 4 billion operations")
}
