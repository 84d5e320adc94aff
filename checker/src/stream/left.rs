//! What a stream's check does not decide, and so the reasons why it does not say `Valid`.

use crate::history::record::{Operation, Outcome, Put, Request, Txn, TxnOp};

/// What was there and was not judged.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Operations that are about a lease.
    leases: u64,
    /// Compactions that may have been done.
    compactions: u64,
    /// Refusals for which the store must have had a reason.
    pub(super) refusals: u64,
    /// Answers and events about revisions that had left the window.
    pub(super) late: u64,
    /// Revisions too far ahead of what was replayed.
    pub(super) far: u64,
    /// Events without the key-value before, which a compaction would excuse, too many to be held.
    pub(super) excuses: u64,
    /// Where the replay ended before its time, and why.
    pub(super) lost: Option<String>,
    /// Nothing more of the history came, and its end had not come.
    pub(super) is_cut_off: bool,
    /// Who made some revisions depends on what has left the window.
    pub(super) makers: bool,
}

impl Left {
    /// Takes note of an operation.
    pub(super) fn see(&mut self, operation: &Operation) {
        let refused = matches!(operation.outcome, Outcome::Fail(_));
        match &operation.request {
            Request::Put(put) => self.leases += u64::from(put.lease != 0),
            Request::Txn(txn) => self.leases += u64::from(attaches(txn)),
            Request::LeaseGrant(_) | Request::LeaseRevoke(_) | Request::LeaseKeepAlive(_) => {
                self.leases += 1;
            }
            Request::Compact(_) => self.compactions += u64::from(!refused),
            Request::Range(_) | Request::DeleteRange(_) => {}
        }
    }

    /// A revision is taken for the end of a lease.
    pub(super) fn note_lease_end(&mut self) {
        self.leases += 1;
    }

    /// Whether history may have been compacted.
    pub(super) fn may_be_compacted(&self) -> bool {
        self.compactions > 0
    }

    /// Whether a lease may have ended.
    pub(super) fn has_leases(&self) -> bool {
        self.leases > 0
    }

    /// Why it is not known that the history is valid; none if it is.
    pub(super) fn reasons(&self) -> Vec<String> {
        let counted = [
            (self.leases, "operations on leases"),
            (self.compactions, "compactions"),
            (self.refusals, "refusals"),
        ];
        let counted: Vec<String> = counted
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let mut reasons = Vec::new();
        if !counted.is_empty() {
            reasons.push(format!("left to the check of the whole history: {}", counted.join(", ")));
        }
        reasons.extend(self.lost.clone());
        let beyond = self.late + self.far + self.excuses;
        if beyond > 0 {
            reasons.push(format!("{beyond} answers and events came too late, or too far ahead"));
        }
        if self.makers {
            reasons.push("who made some revisions depends on what was no longer held".into());
        }
        if self.is_cut_off {
            reasons.push("the end of the history did not come".into());
        }
        reasons
    }
}

fn attaches(txn: &Txn) -> bool {
    let attaches = |put: &Put| put.lease != 0;
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::Put(put) => attaches(put),
        TxnOp::Txn(txn) => self::attaches(txn),
        TxnOp::Range(_) | TxnOp::DeleteRange(_) => false,
    })
}
