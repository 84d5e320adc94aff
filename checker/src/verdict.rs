//! What the checker says of a history.
//!
//! Three answers and no fourth: [`Verdict::Valid`] means every promise was checked and kept,
//! [`Verdict::Invalid`] means no correct store can have behaved like this, and
//! [`Verdict::Unknown`] means that deciding took more search than was allowed. Giving up is never
//! `Valid`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::record::{Operation, Outcome, Request, WatchBody};

/// A promise that can be broken. The identifiers are stable: scripts compare them.
///
/// The order is the order of blame: when several rules break, the first is the likeliest cause and
/// the others its consequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rule {
    /// The writes of one transaction took effect at one revision.
    #[serde(rename = "txn/atomic")]
    TxnAtomic,
    /// Nothing is told before somebody asks for it to be written.
    #[serde(rename = "linearizable/future-read")]
    FutureRead,
    /// An acknowledged write stays.
    #[serde(rename = "linearizable/lost-write")]
    LostWrite,
    /// A linearizable read sees every write that ended before it began.
    #[serde(rename = "linearizable/stale-read")]
    StaleRead,
    /// A write comes after everything that ended before it began.
    #[serde(rename = "linearizable/real-time-order")]
    RealTimeOrder,
    /// A revision belongs to one write.
    #[serde(rename = "revision/duplicate")]
    RevisionDuplicate,
    /// Every revision has an operation that can have made it.
    #[serde(rename = "revision/gap")]
    RevisionGap,
    /// Revisions and unknown outcomes together have an order that explains every answer.
    #[serde(rename = "linearizable/no-order")]
    NoOrder,
    /// A transaction takes the branch that its compares choose.
    #[serde(rename = "txn/branch")]
    TxnBranch,
    /// An answer says what the store held at its revision.
    #[serde(rename = "content/response")]
    ContentResponse,
    /// A refusal has a reason in the state of the store.
    #[serde(rename = "content/refusal")]
    ContentRefusal,
    /// History below the compact revision cannot be read.
    #[serde(rename = "content/compacted")]
    ContentCompacted,
    /// A lease lives for its time to live after its grant and each renewal.
    #[serde(rename = "lease/early-expiry")]
    LeaseEarlyExpiry,
    /// A lease exists from its grant to its end, and takes its keys with it.
    #[serde(rename = "lease/lifecycle")]
    LeaseLifecycle,
    /// The first response of a watch says that it was created.
    #[serde(rename = "watch/created")]
    WatchCreated,
    /// Events arrive in order of revision, and of operation within one.
    #[serde(rename = "watch/ordered")]
    WatchOrdered,
    /// No event arrives twice.
    #[serde(rename = "watch/unique")]
    WatchUnique,
    /// The events of one revision arrive together.
    #[serde(rename = "watch/atomic")]
    WatchAtomic,
    /// No event is missing up to where the watch has come.
    #[serde(rename = "watch/complete")]
    WatchComplete,
    /// What a progress response says has arrived does not come later.
    #[serde(rename = "watch/bookmarkable")]
    WatchBookmarkable,
    /// A resumed watch goes on where it was asked to.
    #[serde(rename = "watch/resumable")]
    WatchResumable,
    /// Only events that were asked for arrive.
    #[serde(rename = "watch/filter")]
    WatchFilter,
    /// An event says what happened.
    #[serde(rename = "watch/content")]
    WatchContent,
    /// An event's previous key-value is the one before.
    #[serde(rename = "watch/prev-kv")]
    WatchPrevKv,
    /// No event is newer than its response's revision.
    #[serde(rename = "watch/no-future")]
    WatchNoFuture,
    /// A watch is cancelled as compacted only if its start is.
    #[serde(rename = "watch/compacted-cancel")]
    WatchCompactedCancel,
    /// A watch that has ended is silent.
    #[serde(rename = "watch/closed")]
    WatchClosed,
    /// A member ends with the state that the history leads to.
    #[serde(rename = "final/state")]
    FinalState,
    /// Members at one revision have one hash.
    #[serde(rename = "final/hash")]
    FinalHash,
    /// A lease that nobody renews ends, and its keys with it.
    #[serde(rename = "lease/late-expiry")]
    LeaseLateExpiry,
    /// All that tells of one key at one mod revision tells the same.
    #[serde(rename = "content/agreement")]
    ContentAgreement,
}

impl Rule {
    /// Every rule, in the order of blame.
    pub const ALL: [Rule; 31] = [
        Rule::TxnAtomic,
        Rule::FutureRead,
        Rule::LostWrite,
        Rule::StaleRead,
        Rule::RealTimeOrder,
        Rule::RevisionDuplicate,
        Rule::RevisionGap,
        Rule::NoOrder,
        Rule::TxnBranch,
        Rule::ContentResponse,
        Rule::ContentRefusal,
        Rule::ContentCompacted,
        Rule::LeaseEarlyExpiry,
        Rule::LeaseLifecycle,
        Rule::WatchCreated,
        Rule::WatchOrdered,
        Rule::WatchUnique,
        Rule::WatchAtomic,
        Rule::WatchComplete,
        Rule::WatchBookmarkable,
        Rule::WatchResumable,
        Rule::WatchFilter,
        Rule::WatchContent,
        Rule::WatchPrevKv,
        Rule::WatchNoFuture,
        Rule::WatchCompactedCancel,
        Rule::WatchClosed,
        Rule::FinalState,
        Rule::FinalHash,
        Rule::LeaseLateExpiry,
        Rule::ContentAgreement,
    ];

    /// The stable identifier: "linearizable/stale-read".
    pub fn id(self) -> &'static str {
        match self {
            Rule::TxnAtomic => "txn/atomic",
            Rule::FutureRead => "linearizable/future-read",
            Rule::LostWrite => "linearizable/lost-write",
            Rule::StaleRead => "linearizable/stale-read",
            Rule::RealTimeOrder => "linearizable/real-time-order",
            Rule::RevisionDuplicate => "revision/duplicate",
            Rule::RevisionGap => "revision/gap",
            Rule::NoOrder => "linearizable/no-order",
            Rule::TxnBranch => "txn/branch",
            Rule::ContentResponse => "content/response",
            Rule::ContentRefusal => "content/refusal",
            Rule::ContentCompacted => "content/compacted",
            Rule::LeaseEarlyExpiry => "lease/early-expiry",
            Rule::LeaseLifecycle => "lease/lifecycle",
            Rule::WatchCreated => "watch/created",
            Rule::WatchOrdered => "watch/ordered",
            Rule::WatchUnique => "watch/unique",
            Rule::WatchAtomic => "watch/atomic",
            Rule::WatchComplete => "watch/complete",
            Rule::WatchBookmarkable => "watch/bookmarkable",
            Rule::WatchResumable => "watch/resumable",
            Rule::WatchFilter => "watch/filter",
            Rule::WatchContent => "watch/content",
            Rule::WatchPrevKv => "watch/prev-kv",
            Rule::WatchNoFuture => "watch/no-future",
            Rule::WatchCompactedCancel => "watch/compacted-cancel",
            Rule::WatchClosed => "watch/closed",
            Rule::FinalState => "final/state",
            Rule::FinalHash => "final/hash",
            Rule::LeaseLateExpiry => "lease/late-expiry",
            Rule::ContentAgreement => "content/agreement",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A line of the history that a violation names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Line in the file.
    pub line: u64,
    /// What it says, in short.
    pub text: String,
}

/// A rule that broke, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The lines that together break it.
    pub operations: Vec<Named>,
    /// What a correct store would have done.
    pub expected: String,
    /// What this one did.
    pub got: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Every rule was checked and held.
    Valid,
    /// No correct store can have done this. The likeliest cause comes first.
    Invalid {
        /// Rules that broke: at most a handful for each rule.
        violations: Vec<Violation>,
        /// Violations found but not listed.
        omitted: u64,
    },
    /// The search was cut short; neither is proven.
    Unknown {
        /// What could not be decided, and what it would take.
        reason: String,
    },
}

impl Verdict {
    /// 0 valid, 1 invalid, 2 unknown. (3 is bad input, which has no verdict.)
    pub fn exit_code(&self) -> u8 {
        match self {
            Verdict::Valid => 0,
            Verdict::Invalid { .. } => 1,
            Verdict::Unknown { .. } => 2,
        }
    }

    /// "valid", "invalid" or "unknown".
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Invalid { .. } => "invalid",
            Verdict::Unknown { .. } => "unknown",
        }
    }

    /// The violations; none unless invalid.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Verdict::Invalid { violations, .. } => violations,
            Verdict::Valid | Verdict::Unknown { .. } => &[],
        }
    }

    /// Whether `rule` is among the broken ones.
    pub fn breaks(&self, rule: Rule) -> bool {
        self.violations().iter().any(|violation| violation.rule == rule)
    }

    /// The rule to blame: of the first violation.
    pub fn rule(&self) -> Option<Rule> {
        self.violations().first().map(|violation| violation.rule)
    }
}

/// How a verdict was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// The revision-guided check.
    #[default]
    Auto,
    /// The revision-guided check: revisions are the order, unknown outcomes are their gaps.
    Revision,
    /// stateright's search, for small histories. Watches, final states and times to live are
    /// checked as by the revision engine.
    Stateright,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Auto => "auto",
            Engine::Revision => "revision",
            Engine::Stateright => "stateright",
        })
    }
}

/// What was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Operations of all kinds.
    pub operations: u64,
    /// Puts.
    pub puts: u64,
    /// Ranges.
    pub ranges: u64,
    /// Delete ranges.
    pub delete_ranges: u64,
    /// Transactions.
    pub txns: u64,
    /// Lease grants, revokes and keep-alives.
    pub lease_operations: u64,
    /// Compactions.
    pub compactions: u64,
    /// Operations that were refused.
    pub failed: u64,
    /// Operations whose outcome is unknown.
    pub unknown: u64,
    /// Revisions that operations with a known outcome do not explain.
    pub gaps: u64,
    /// Gaps of which an event or a read told something.
    pub gaps_pinned: u64,
    /// Gaps of which nothing is known.
    pub gaps_unpinned: u64,
    /// Watches.
    pub watches: u64,
    /// Puts and deletes of single keys that happened: the events of a watch that sees everything.
    #[serde(default)]
    pub changes: u64,
    /// Watch events.
    pub events: u64,
    /// Watches that the server ended because what they were due was compacted.
    #[serde(default)]
    pub watches_compacted: u64,
    /// Faults begun.
    pub faults: u64,
    /// Final states.
    pub finals: u64,
    /// Hashes of final states that were compared with another's.
    #[serde(default)]
    pub hashes_compared: u64,
    /// First and last revision of the history.
    pub revisions: (i64, i64),
}

impl Counts {
    /// Counts an operation.
    pub(crate) fn add_operation(&mut self, operation: &Operation) {
        self.operations += 1;
        match operation.request {
            Request::Put(_) => self.puts += 1,
            Request::Range(_) => self.ranges += 1,
            Request::DeleteRange(_) => self.delete_ranges += 1,
            Request::Txn(_) => self.txns += 1,
            Request::LeaseGrant(_) | Request::LeaseRevoke(_) | Request::LeaseKeepAlive(_) => {
                self.lease_operations += 1;
            }
            Request::Compact(_) => self.compactions += 1,
        }
        match operation.outcome {
            Outcome::Ok(_) => {}
            Outcome::Fail(_) => self.failed += 1,
            Outcome::Unknown(_) => self.unknown += 1,
        }
    }

    /// Counts a response of a watch.
    pub(crate) fn add_response(&mut self, body: &WatchBody) {
        let wide = |count| u64::try_from(count).expect("usize fits u64");
        match body {
            WatchBody::Created(_) => self.watches += 1,
            WatchBody::Events { events, .. } => self.events += wide(events.len()),
            WatchBody::Digests(short) => self.events += wide(short.count()),
            WatchBody::Canceled { compact_revision, .. } if *compact_revision > 0 => {
                self.watches_compacted += 1;
            }
            WatchBody::Progress | WatchBody::Canceled { .. } | WatchBody::Closed { .. } => {}
        }
    }

    /// Adds what was counted in another part of the history.
    pub(crate) fn add(&mut self, other: &Counts) {
        self.operations += other.operations;
        self.puts += other.puts;
        self.ranges += other.ranges;
        self.delete_ranges += other.delete_ranges;
        self.txns += other.txns;
        self.lease_operations += other.lease_operations;
        self.compactions += other.compactions;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.watches += other.watches;
        self.events += other.events;
        self.watches_compacted += other.watches_compacted;
    }
}

/// Where the time went.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// Reading and linting the file.
    pub parse_seconds: f64,
    /// Judging it.
    pub check_seconds: f64,
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The answer.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How it was reached.
    pub engine: Engine,
    /// Of which workload.
    pub workload: String,
    /// Of which system.
    pub system: String,
    /// Seed of the run.
    pub seed: u64,
    /// What was checked.
    pub counts: Counts,
    /// Where the time went.
    pub timing: Timing,
}
