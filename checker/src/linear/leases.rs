//! What the history says of each lease: grants, renewals, and when it can have run out at the
//! earliest.
//!
//! Only sound claims. A server counts the time to live from when it handles a grant or renewal,
//! which is after the call; so `call + ttl` is the earliest end. A renewal counts only where it
//! certainly came before the end: an answered keep-alive may have met a leader that had not yet
//! applied the end.

use std::collections::BTreeMap;

use super::timeline::{Rank, Timeline};
use crate::history::record::{Outcome, Request, ResponseBody};
use crate::history::{History, OperationLine};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// A grant or renewal.
#[derive(Debug, Clone, Copy)]
struct Renewal {
    call_ns: u64,
    /// `None` if the answer never came.
    return_ns: Option<u64>,
    ttl_seconds: i64,
}

impl Renewal {
    fn earliest_end(&self) -> u64 {
        let ttl = u64::try_from(self.ttl_seconds).unwrap_or(0);
        self.call_ns.saturating_add(ttl.saturating_mul(NS_PER_SECOND))
    }
}

/// One lease id.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    grants: Vec<Renewal>,
    keep_alives: Vec<Renewal>,
    /// It was there before the first operation, or may have been.
    pub(crate) is_foreign: bool,
}

impl Lease {
    /// How often it was granted, at most.
    pub(crate) fn grants(&self) -> usize {
        self.grants.len()
    }

    /// When it can have run out, if nothing is known of renewals; `None` if it was never granted.
    pub(crate) fn earliest_end(&self) -> Option<u64> {
        if self.is_foreign {
            return Some(0);
        }
        self.grants.iter().map(Renewal::earliest_end).min()
    }
}

/// All leases of a history.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    by_id: BTreeMap<i64, Lease>,
}

impl Leases {
    /// Collects them, from the operations that may be about them.
    pub(crate) fn collect<'h>(
        history: &History,
        operations: impl Iterator<Item = &'h OperationLine>,
    ) -> Leases {
        let mut leases = Leases::default();
        for kv in history.header.initial.iter().filter(|kv| kv.lease != 0) {
            leases.by_id.entry(kv.lease).or_default().is_foreign = true;
        }
        for line in operations {
            let operation = &line.operation;
            let (call_ns, return_ns) = (operation.call_ns, operation.return_ns);
            match (&operation.request, &operation.outcome) {
                (Request::LeaseGrant(grant), Outcome::Ok(response)) => {
                    let ttl_seconds = match response.body {
                        ResponseBody::LeaseGrant { ttl } => ttl,
                        _ => grant.ttl,
                    };
                    let renewal = Renewal { call_ns, return_ns, ttl_seconds };
                    leases.by_id.entry(grant.id).or_default().grants.push(renewal);
                }
                (Request::LeaseGrant(grant), Outcome::Unknown(_)) => {
                    let renewal = Renewal { call_ns, return_ns: None, ttl_seconds: grant.ttl };
                    leases.by_id.entry(grant.id).or_default().grants.push(renewal);
                }
                (Request::LeaseKeepAlive(lease), Outcome::Ok(response)) => {
                    if let ResponseBody::LeaseKeepAlive { ttl } = response.body
                        && ttl > 0
                    {
                        let renewal = Renewal { call_ns, return_ns, ttl_seconds: ttl };
                        leases.by_id.entry(lease.id).or_default().keep_alives.push(renewal);
                    }
                }
                _ => {}
            }
        }
        leases
    }

    /// All leases that were granted, or renewed, or there from the beginning; ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.by_id.iter().map(|(id, lease)| (*id, lease))
    }

    /// One lease.
    pub(crate) fn get(&self, id: i64) -> Option<&Lease> {
        self.by_id.get(&id)
    }

    /// Whether the lease can have run out at this revision; or else since when it could have.
    pub(crate) fn may_end(
        &self,
        id: i64,
        rank: Rank,
        timeline: &Timeline<'_>,
    ) -> Result<(), Option<u64>> {
        let lease = self.by_id.get(&id).ok_or(None)?;
        let mut earliest = lease.earliest_end().ok_or(None)?;
        if lease.grants.len() == 1 && !lease.is_foreign {
            for renewal in &lease.keep_alives {
                let before = renewal.return_ns.is_some_and(|ns| ns <= timeline.lower[rank]);
                if before {
                    earliest = earliest.max(renewal.earliest_end());
                }
            }
        }
        if earliest <= timeline.upper[rank] { Ok(()) } else { Err(Some(earliest)) }
    }
}
