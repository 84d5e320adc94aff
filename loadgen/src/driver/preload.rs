//! Filling a store before the load: each key is put once, with several attempts.

use std::collections::VecDeque;
use std::time::Duration;

use rusd_checker::history::record::{Failure, Outcome};

use crate::clock::nanos;
use crate::pacing::Due;

/// How often a key is put before a store counts as impossible to fill.
const ATTEMPTS_MAX: u32 = 20;
/// Pause between two attempts, in a run.
pub const RETRY: Duration = Duration::from_millis(200);
/// Longest time without any connection meanwhile.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(30);

/// A key that could not be put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key {index} could not be put: {last}")]
pub struct PreloadError {
    /// Index of the key.
    pub index: usize,
    /// What came of the last attempt.
    pub last: String,
}

/// One attempt to put a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) index: usize,
    before: u32,
}

/// Keys to be put.
#[derive(Debug)]
pub struct Preload {
    first: VecDeque<usize>,
    /// Attempts that wait, and until when.
    again: VecDeque<(u64, Attempt)>,
    retry_ns: u64,
    failed: Option<PreloadError>,
}

impl Preload {
    /// The keys of these indexes, whose attempts are `retry` apart.
    pub fn new(indexes: impl Iterator<Item = usize>, retry: Duration) -> Preload {
        let (first, again) = (indexes.collect(), VecDeque::new());
        Preload { first, again, retry_ns: nanos(retry), failed: None }
    }

    pub(super) fn next(&self) -> Due {
        match (&self.failed, self.first.front(), self.again.front()) {
            (None, Some(_), _) => Due::Free,
            (None, None, Some((at_ns, _))) => Due::At(*at_ns),
            (Some(_), ..) | (None, None, None) => Due::Never,
        }
    }

    /// The attempt that is due.
    pub(super) fn take(&mut self) -> Option<Attempt> {
        match self.first.pop_front() {
            Some(index) => Some(Attempt { index, before: 0 }),
            None => self.again.pop_front().map(|(_, attempt)| attempt),
        }
    }

    /// Learns what came of one.
    pub(super) fn ended(&mut self, attempt: Attempt, outcome: &Outcome, now_ns: u64) {
        let (Outcome::Fail(Failure { code, message })
        | Outcome::Unknown(Failure { code, message })) = outcome
        else {
            return;
        };
        let before = attempt.before + 1;
        if before == ATTEMPTS_MAX {
            self.fail(attempt.index, format!("{code}: {message}"));
        } else {
            self.again.push_back((now_ns + self.retry_ns, Attempt { before, ..attempt }));
        }
    }

    /// Nobody lets us connect.
    pub(super) fn cut_off(&mut self) {
        let next = self.first.front().copied();
        let index = next.or(self.again.front().map(|(_, attempt)| attempt.index));
        self.fail(index.unwrap_or(0), format!("no member lets us connect in {CONNECT_MAX:?}"));
    }

    fn fail(&mut self, index: usize, last: String) {
        self.failed.get_or_insert(PreloadError { index, last });
    }

    pub(super) fn result(&self) -> Result<(), PreloadError> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}
