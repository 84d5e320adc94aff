//! When a search ends before it knows: its steps are used up, or somebody has cancelled it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Tells searches to stop; clones are one token.
///
/// ```
/// use rusd_checker::search::Cancel;
///
/// let token = Cancel::new();
/// let elsewhere = token.clone();
/// elsewhere.cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Not cancelled.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Searches that hold this token stop soon, as unknown.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Steps between two looks at what others share.
const STEPS_AT_ONCE: u64 = 1024;

/// Steps for the searches of all parts of a history together.
pub(crate) struct Budget<'c> {
    cancel: &'c Cancel,
    allowed: u64,
    left: AtomicU64,
}

/// Why a search ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// All steps are used up.
    Steps,
    /// The token was cancelled.
    Cancelled,
    /// Another part has made the answer, whatever comes of this one.
    Needless,
}

impl<'c> Budget<'c> {
    /// So many steps.
    pub(crate) fn new(allowed: u64, cancel: &'c Cancel) -> Budget<'c> {
        Budget { cancel, allowed, left: AtomicU64::new(allowed) }
    }

    /// The reason, for people.
    pub(crate) fn explain(&self, stop: Stop) -> String {
        match stop {
            Stop::Steps => format!("no answer within {} steps", self.allowed),
            Stop::Cancelled => "cancelled".into(),
            Stop::Needless => "not needed".into(),
        }
    }

    fn take(&self) -> Result<u64, Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let take = |left: u64| left.checked_sub(STEPS_AT_ONCE.min(left));
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .expect("no more is taken than there is");
        if before == 0 { Err(Stop::Steps) } else { Ok(before.min(STEPS_AT_ONCE)) }
    }
}

/// The limit of one search.
pub(crate) struct Limit<'b> {
    budget: &'b Budget<'b>,
    is_needless: &'b dyn Fn() -> bool,
    in_hand: u64,
    steps: u64,
}

impl<'b> Limit<'b> {
    /// Takes its steps from `budget`, and ends when `is_needless` says so.
    pub(crate) fn new(budget: &'b Budget<'b>, is_needless: &'b dyn Fn() -> bool) -> Limit<'b> {
        Limit { budget, is_needless, in_hand: 0, steps: 0 }
    }

    /// One more step.
    pub(crate) fn step(&mut self) -> Result<(), Stop> {
        if self.in_hand == 0 {
            if (self.is_needless)() {
                return Err(Stop::Needless);
            }
            self.in_hand = self.budget.take()?;
        }
        self.in_hand -= 1;
        self.steps += 1;
        Ok(())
    }

    /// Steps that were made.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_share_the_steps() {
        let token = Cancel::new();
        let budget = Budget::new(1500, &token);
        let never = || false;
        let mut first = Limit::new(&budget, &never);
        assert_eq!(first.step(), Ok(()));
        let mut second = Limit::new(&budget, &never);
        let mut made = 0;
        while second.step().is_ok() {
            made += 1;
        }
        assert_eq!((made, second.steps()), (1500 - STEPS_AT_ONCE, 1500 - STEPS_AT_ONCE));
        assert_eq!(second.step(), Err(Stop::Steps));
        assert_eq!(first.step(), Ok(()), "what it has in hand it may use");
    }

    #[test]
    fn others_can_end_a_search() {
        let token = Cancel::new();
        let budget = Budget::new(u64::MAX, &token);
        let needless = || true;
        assert_eq!(Limit::new(&budget, &needless).step(), Err(Stop::Needless));
        token.cancel();
        let never = || false;
        assert_eq!(Limit::new(&budget, &never).step(), Err(Stop::Cancelled));
    }
}
